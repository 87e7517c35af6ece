package compute

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Block-quantised storage types: a run of 32 or 256 weights shares scales, and each weight keeps 2 to 8 bits. The layouts are
// those of GGUF files (ggml). A parameter of such a type keeps its blocks on the device, where the kernel of a matmul decodes
// them as it reads its second operand; nothing else reads them. Blocks run through the whole tensor in row-major order, so a
// row need not hold whole blocks.
//
// In files a block takes an even number of bytes. On devices it takes whole 32-bit words: two bytes of padding follow the
// scale where that is the block's only half float at the front, or end the block.
const (
	Q4_0 DType = iota + 2 // 32 × 4 bits · d
	Q4_1                  // 32 × 4 bits · d + m
	Q5_0                  // 32 × 5 bits · d
	Q5_1                  // 32 × 5 bits · d + m
	Q8_0                  // 32 × 8 bits · d
	Q2_K                  // 16 × 16 × 2 bits · 4-bit scales − 4-bit offsets
	Q3_K                  // 16 × 16 × 3 bits · 6-bit scales
	Q4_K                  // 8 × 32 × 4 bits · 6-bit scales − 6-bit offsets
	Q5_K                  // 8 × 32 × 5 bits · 6-bit scales − 6-bit offsets
	Q6_K                  // 16 × 16 × 6 bits · 8-bit scales
	Q8_K                  // 256 × 8 bits · d, which is a float32
)

// quantType is one block-quantised type.
type quantType struct {
	name     string
	elements int
	bytes    int // in files
}

var quantTypes = [...]quantType{
	{"Q4_0", 32, 18}, {"Q4_1", 32, 20}, {"Q5_0", 32, 22}, {"Q5_1", 32, 24},
	{"Q8_0", 32, 34}, {"Q2_K", 256, 84}, {"Q3_K", 256, 110}, {"Q4_K", 256, 144},
	{"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"Q8_K", 256, 292},
}

// Quantised lists the block-quantised types.
func Quantised() []DType {
	types := make([]DType, len(quantTypes))
	for i := range types {
		types[i] = Q4_0 + DType(i)
	}
	return types
}

func (d DType) quant() *quantType {
	if i := int(d) - int(Q4_0); i >= 0 && i < len(quantTypes) {
		return &quantTypes[i]
	}
	return nil
}

// Blocks reports whether the type is block-quantised.
func (d DType) Blocks() bool { return d.quant() != nil }

// Block is the smallest whole piece of the type as files hold it: how many elements, in how many bytes.
func (d DType) Block() (elements, bytes int) {
	if q := d.quant(); q != nil {
		return q.elements, q.bytes
	}
	return 1, d.Bytes()
}

// Stored is the bytes of n elements on a device, in whole blocks.
func (d DType) Stored(n int) int64 {
	if q := d.quant(); q != nil {
		return int64(ceilDiv(n, q.elements)) * int64(q.stored())
	}
	return int64(n) * int64(d.Bytes())
}

// stored is the bytes of a block on a device.
func (q *quantType) stored() int { return (q.bytes + 3) &^ 3 }

// front is how many bytes of a block come before the padding.
func (q *quantType) front() int {
	if q.elements == 32 {
		return 2
	}
	return q.bytes
}

// Pack widens whole blocks as files hold them, src, to those that devices hold, dst.
func (d DType) Pack(dst, src []byte) {
	q := d.quant()
	stored, front := q.stored(), q.front()
	if stored == q.bytes {
		copy(dst, src)
		return
	}
	for len(src) >= q.bytes && len(dst) >= stored {
		copy(dst, src[:front])
		dst[front], dst[front+1] = 0, 0
		copy(dst[front+2:], src[front:q.bytes])
		dst, src = dst[stored:], src[q.bytes:]
	}
}

// Decode gives the elements of file blocks, but for the first skip ones.
func (d DType) Decode(dst []float32, blocks []byte, skip int) {
	d.decode(dst, blocks, skip, d.quant().bytes)
}

// DecodeStored is Decode for blocks as devices hold them.
func (d DType) DecodeStored(dst []float32, blocks []byte, skip int) {
	d.decode(dst, blocks, skip, d.quant().stored())
}

func (d DType) decode(dst []float32, blocks []byte, skip, size int) {
	q := d.quant()
	blocks = blocks[skip/q.elements*size:]
	skip %= q.elements
	for len(dst) > 0 {
		if skip == 0 && len(dst) >= q.elements {
			d.decodeBlock(dst[:q.elements], blocks[:size])
			dst = dst[q.elements:]
		} else {
			var whole [256]float32
			d.decodeBlock(whole[:q.elements], blocks[:size])
			dst = dst[copy(dst, whole[skip:q.elements]):]
			skip = 0
		}
		blocks = blocks[size:]
	}
}

// decodeBlock is the definition of the types: the elements of one block, in float32 arithmetic of one rounding an operation, as
// the reference's. Fields are found from the front or from the end, so that blocks of both widths are read.
func (d DType) decodeBlock(y []float32, b []byte) {
	switch d { // not a table of functions, whose slices would escape to the heap
	case Q4_0:
		decodeQ4_0(y, b)
	case Q4_1:
		decodeQ4_1(y, b)
	case Q5_0:
		decodeQ5_0(y, b)
	case Q5_1:
		decodeQ5_1(y, b)
	case Q8_0:
		decodeQ8_0(y, b)
	case Q2_K:
		decodeQ2_K(y, b)
	case Q3_K:
		decodeQ3_K(y, b)
	case Q4_K:
		decodeQ4_K(y, b)
	case Q5_K:
		decodeQ5_K(y, b)
	case Q6_K:
		decodeQ6_K(y, b)
	case Q8_K:
		decodeQ8_K(y, b)
	}
}

func half(b []byte) float32 { return HalfFloat(binary.LittleEndian.Uint16(b)) }

func decodeQ4_0(y []float32, b []byte) {
	d, q := half(b), b[len(b)-16:]
	for i, v := range q {
		y[i], y[i+16] = d*float32(int(v&15)-8), d*float32(int(v>>4)-8)
	}
}

// The conversions keep compilers from fusing a product with a sum, which would round once where the reference rounds twice.
func decodeQ4_1(y []float32, b []byte) {
	d, m, q := half(b), half(b[2:]), b[4:20]
	for i, v := range q {
		y[i], y[i+16] = float32(d*float32(v&15))+m, float32(d*float32(v>>4))+m
	}
}

func decodeQ5_0(y []float32, b []byte) {
	d, high, q := half(b), binary.LittleEndian.Uint32(b[len(b)-20:]), b[len(b)-16:]
	for i, v := range q {
		y[i] = d * float32(int(v&15)|int(high>>i&1)<<4-16)
		y[i+16] = d * float32(int(v>>4)|int(high>>(i+16)&1)<<4-16)
	}
}

func decodeQ5_1(y []float32, b []byte) {
	d, m, high, q := half(b), half(b[2:]), binary.LittleEndian.Uint32(b[4:]), b[8:24]
	for i, v := range q {
		y[i] = float32(d*float32(int(v&15)|int(high>>i&1)<<4)) + m
		y[i+16] = float32(d*float32(int(v>>4)|int(high>>(i+16)&1)<<4)) + m
	}
}

func decodeQ8_0(y []float32, b []byte) {
	d, q := half(b), b[len(b)-32:]
	for i, v := range q {
		y[i] = d * float32(int8(v))
	}
}

// Q2_K: 16 bytes of scale (low half) and offset (high half), 64 bytes of quants, d, d of the offsets.
func decodeQ2_K(y []float32, b []byte) {
	d, dm := half(b[80:]), half(b[82:])
	for i := range y {
		s := b[i/16]
		q := b[16+i/128*32+i%32] >> (i % 128 / 32 * 2) & 3
		y[i] = float32(float32(d*float32(s&15))*float32(q)) - dm*float32(s>>4)
	}
}

// Q3_K: 32 bytes of high bits, 64 bytes of low bits, 12 bytes of scales, d.
func decodeQ3_K(y []float32, b []byte) {
	d, scales := half(b[108:]), b[96:108]
	for i := range y {
		g := i / 16
		s := scales[g%8]>>(g/8*4)&15 | scales[8+g%4]>>(g/4*2)&3<<4
		q := int(b[32+i/128*32+i%32]>>(i%128/32*2)&3) | int(b[i%32]>>(i/32)&1)<<2
		y[i] = d * float32(int(s)-32) * float32(q-4)
	}
}

// scaleAndOffset unpacks pair j of 8 from the 12 bytes of Q4_K and Q5_K.
func scaleAndOffset(s []byte, j int) (scale, offset float32) {
	if j < 4 {
		return float32(s[j] & 63), float32(s[j+4] & 63)
	}
	return float32(s[j+4]&15 | s[j-4]>>6<<4), float32(s[j+4]>>4 | s[j]>>6<<4)
}

// Q4_K: d, d of the offsets, 12 bytes of scales, 128 bytes of quants.
func decodeQ4_K(y []float32, b []byte) {
	d, dm := half(b), half(b[2:])
	for g := range 8 {
		s, m := scaleAndOffset(b[4:16], g)
		s, m = d*s, dm*m
		q := b[16+g/2*32:][:32]
		for i, v := range q {
			y[32*g+i] = float32(s*float32(v>>(g%2*4)&15)) - m
		}
	}
}

// Q5_K: d, d of the offsets, 12 bytes of scales, 32 bytes of high bits, 128 bytes of low bits.
func decodeQ5_K(y []float32, b []byte) {
	d, dm := half(b), half(b[2:])
	for g := range 8 {
		s, m := scaleAndOffset(b[4:16], g)
		s, m = d*s, dm*m
		q := b[48+g/2*32:][:32]
		for i, v := range q {
			y[32*g+i] = float32(s*float32(v>>(g%2*4)&15|b[16+i]>>g&1<<4)) - m
		}
	}
}

// Q6_K: 128 bytes of low bits, 64 bytes of high bits, 16 scales, d.
func decodeQ6_K(y []float32, b []byte) {
	d := half(b[208:])
	for i := range y {
		part, l := i%128/32, i%32
		low := b[i/128*64+part%2*32+l] >> (part / 2 * 4) & 15
		high := b[128+i/128*32+l] >> (part * 2) & 3
		y[i] = d * float32(int8(b[192+i/16])) * float32(int(low|high<<4)-32)
	}
}

// Q8_K: a float32 d, 256 quants, and sums of 16 that only products with other quantised numbers need.
func decodeQ8_K(y []float32, b []byte) {
	d := math.Float32frombits(binary.LittleEndian.Uint32(b))
	for i, v := range b[4:260] {
		y[i] = d * float32(int8(v))
	}
}

// QuantValues is a Source of blocks as files hold them.
type QuantValues struct {
	Data []byte
	Type DType
}

// DType is the block-quantised type.
func (v *QuantValues) DType() DType { return v.Type }

// Read decodes all blocks; it fails where they are not exactly those of dst.
func (v *QuantValues) Read(dst []float32) error {
	if err := v.check(len(dst)); err != nil {
		return err
	}
	v.Type.Decode(dst, v.Data, 0)
	return nil
}

// ReadRaw gives the blocks as devices hold them.
func (v *QuantValues) ReadRaw(dst []byte) error {
	elements, size := v.Type.Block()
	if err := v.check(len(v.Data) / size * elements); err != nil {
		return err
	}
	v.Type.Pack(dst, v.Data)
	return nil
}

func (v *QuantValues) check(n int) error {
	elements, size := v.Type.Block()
	if n%elements != 0 || n/elements*size != len(v.Data) {
		return fmt.Errorf("compute: parameter holds %d bytes of %v, which are not the blocks of %d values", len(v.Data), v.Type, n)
	}
	return nil
}
