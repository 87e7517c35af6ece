package compute

import "fmt"

// DropoutAttr is the settings of a dropout node.
type DropoutAttr struct {
	P    float64 // probability of a zero
	Site int     // tells the places apart at which a model draws from one key
}

// Dropout zeroes each element of x with probability p and multiplies the others by 1/(1−p) (Srivastava et al. 2014). What it
// zeroes depends on key [8] (see RandomKey), on site and on the element's index alone, so that the gradient draws it again, and
// two runs with one key agree, on any device.
func Dropout(x, key *Tensor, p float64, site int) *Tensor {
	if p == 0 && x.err == nil {
		return x
	}
	return newNode(opDropout, &DropoutAttr{p, site}, x, key)
}

var opDropout = register(&Op{
	Name: "dropout",
	Shape: func(n *Tensor) (Shape, error) {
		at := n.Attr.(*DropoutAttr)
		if k := n.In[1].shape; !k.Equal(Shape{RandomKeySize}) {
			return nil, fmt.Errorf("a key needs shape [%d], not %v", RandomKeySize, k)
		}
		if !(at.P > 0 && at.P < 1) {
			return nil, fmt.Errorf("a probability of dropping must be at least 0 and under 1, not %v", at.P)
		}
		return n.In[0].shape, nil
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		at := n.Attr.(*DropoutAttr)
		threshold, scale := dropThreshold(at.P), float32(1/(1-at.P))
		key, stream := keyWords(in[1])
		for block := lo / 4; block*4 < hi; block++ {
			w := philox([4]uint32{uint32(block), uint32(uint64(block) >> 32), stream, uint32(at.Site) + 1}, key)
			for i := max(lo, block*4); i < min(hi, block*4+4); i++ {
				out[i] = 0
				if w[i%4] >= threshold {
					out[i] = scale * in[0][i]
				}
			}
		}
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		at := n.Attr.(*DropoutAttr)
		return []Launch{elementwise(n, lw, "dropout", true, nil, []Operand{{Name: "X", T: n.In[0]}, Read("Key", n.In[1], 4)},
			Int("threshold", int(int32(dropThreshold(at.P)))), Int("site", at.Site+1), Float("scale", float32(1/(1-at.P))))}
	},
})

// dropThreshold is the word under which an element is dropped.
func dropThreshold(p float64) uint32 { return uint32(p * (1 << 32)) }

func init() {
	opDropout.VJP = func(n, dy *Tensor) []*Tensor { return []*Tensor{newNode(opDropout, n.Attr, dy, n.In[1]), nil} }
}
