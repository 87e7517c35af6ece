package compute

import (
	"fmt"
	"math"
	"math/bits"
)

// RandomAttr is the shape to fill.
type RandomAttr struct{ Shape Shape }

// RandomKeySize is the number of elements of a key tensor.
const RandomKeySize = 8

// RandomKey is the value of a key tensor for RandomNormal and RandomUniform: the seed's four 16-bit digits, the stream's
// two, all lowest first, and two zeros; float32 holds each exactly.
func RandomKey(seed uint64, stream uint32) []float32 {
	key := make([]float32, RandomKeySize)
	for i := range 4 {
		key[i] = float32(seed >> (16 * i) & 0xffff)
	}
	key[4], key[5] = float32(stream&0xffff), float32(stream>>16)
	return key
}

// RandomNormal fills shape with standard normals from key [8] (see RandomKey): Philox4x32-10 (Salmon et al., 2011), whose
// block i gives elements 4i … 4i+3 by Box and Muller's transform of words (0, 1) and (2, 3). Equal keys give equal noise,
// whatever the shape and device, up to float rounding.
func RandomNormal(key *Tensor, shape ...int) *Tensor {
	return newNode(opRandomNormal, &RandomAttr{append(Shape(nil), shape...)}, key)
}

// RandomUniform fills shape with numbers in (0, 1) from key [8]: the words of the same blocks as RandomNormal's.
func RandomUniform(key *Tensor, shape ...int) *Tensor {
	return newNode(opRandomUniform, &RandomAttr{append(Shape(nil), shape...)}, key)
}

var (
	opRandomNormal  = register(&Op{Name: "random_normal", Shape: randomShape, Ref: randomRef, Lower: randomLower})
	opRandomUniform = register(&Op{Name: "random_uniform", Shape: randomShape, Ref: randomRef, Lower: randomLower})
)

func randomShape(n *Tensor) (Shape, error) {
	if k := n.In[0].shape; !k.Equal(Shape{RandomKeySize}) {
		return nil, fmt.Errorf("a key needs shape [%d], not %v", RandomKeySize, k)
	}
	return n.Attr.(*RandomAttr).Shape, nil
}

// keyWords are the seed and the stream that a key's digits spell.
func keyWords(digits []float32) (key [2]uint32, stream uint32) {
	word := func(i int) uint32 { return uint32(digits[2*i]) | uint32(digits[2*i+1])<<16 }
	return [2]uint32{word(0), word(1)}, word(2)
}

// philox is Philox4x32 with ten rounds.
func philox(c [4]uint32, k [2]uint32) [4]uint32 {
	for range 10 {
		h0, l0 := bits.Mul32(0xd2511f53, c[0])
		h1, l1 := bits.Mul32(0xcd9e8d57, c[2])
		c = [4]uint32{h1 ^ c[1] ^ k[0], l1, h0 ^ c[3] ^ k[1], l0}
		k[0], k[1] = k[0]+0x9e3779b9, k[1]+0xbb67ae85
	}
	return c
}

// openUnit maps a word to the middle of its share of (0, 1).
func openUnit(x uint32) float64 { return (float64(x) + 0.5) / (1 << 32) }

func randomRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	key, stream := keyWords(in[0])
	for block := lo / 4; block*4 < hi; block++ {
		w := philox([4]uint32{uint32(block), uint32(uint64(block) >> 32), stream, 0}, key)
		for i := max(lo, block*4); i < min(hi, block*4+4); i++ {
			k := i % 4
			if n.Op.Name == "random_uniform" {
				out[i] = float32(openUnit(w[k]))
				continue
			}
			radius, angle := math.Sqrt(-2*math.Log(openUnit(w[k&2]))), 2*math.Pi*openUnit(w[k|1])
			if k&1 == 0 {
				out[i] = float32(radius * math.Cos(angle))
			} else {
				out[i] = float32(radius * math.Sin(angle))
			}
		}
	}
}

func randomLower(n *Tensor, lw *Lowering) []Launch {
	defines := map[string]string{}
	if n.Op.Name == "random_normal" {
		defines["NORMAL"] = "1"
	}
	blocks := ceilDiv(n.shape.Size(), 4)
	return []Launch{{
		Shader:   "random",
		Defines:  defines,
		Reads:    []Operand{Read("Key", n.In[0], 4)},
		Writes:   []Operand{Write(n)},
		Uniforms: []Uniform{Int("blocks", blocks)},
		Groups:   lw.Grid(ceilDiv(blocks, 64)),
	}}
}
