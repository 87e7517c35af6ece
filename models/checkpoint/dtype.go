package checkpoint

import (
	"math"

	"atelier/compute"
)

// DType is an element type under its safetensors name, such as "F16".
type DType string

// The element types that safetensors and PyTorch files hold; all are little-endian.
const (
	Bool   DType = "BOOL"
	U8     DType = "U8"
	I8     DType = "I8"
	F8E4M3 DType = "F8_E4M3" // 1-4-3 bits, bias 7, no infinities (Micikevicius et al. 2022)
	F8E5M2 DType = "F8_E5M2" // 1-5-2 bits, the top byte of an F16
	U16    DType = "U16"
	I16    DType = "I16"
	F16    DType = "F16"
	BF16   DType = "BF16"
	U32    DType = "U32"
	I32    DType = "I32"
	F32    DType = "F32"
	U64    DType = "U64"
	I64    DType = "I64"
	F64    DType = "F64"
)

// Size is the number of bytes in one element, 0 for an unknown or a quantised type.
func (d DType) Size() int {
	switch d {
	case Bool, U8, I8, F8E4M3, F8E5M2:
		return 1
	case U16, I16, F16, BF16:
		return 2
	case U32, I32, F32:
		return 4
	case U64, I64, F64:
		return 8
	}
	return 0
}

// Quantised types, which GGUF files hold: blocks of numbers that share scales (see compute.DType).
const (
	Q4_0 DType = "Q4_0"
	Q4_1 DType = "Q4_1"
	Q5_0 DType = "Q5_0"
	Q5_1 DType = "Q5_1"
	Q8_0 DType = "Q8_0"
	Q2_K DType = "Q2_K"
	Q3_K DType = "Q3_K"
	Q4_K DType = "Q4_K"
	Q5_K DType = "Q5_K"
	Q6_K DType = "Q6_K"
	Q8_K DType = "Q8_K"
)

// Quantised is the compute type of a quantised type, F32 for others.
func (d DType) Quantised() compute.DType {
	for _, q := range compute.Quantised() {
		if q.String() == string(d) {
			return q
		}
	}
	return compute.F32
}

// Block is the smallest whole piece of a type: how many elements it holds, in how many bytes; 0, 0 for an unknown type.
func (d DType) Block() (elements, bytes int) {
	if n := d.Size(); n > 0 {
		return 1, n
	}
	if q := d.Quantised(); q != compute.F32 {
		return q.Block()
	}
	return 0, 0
}

// BFloatToFloat widens a bfloat16; every value is exact in float32.
func BFloatToFloat(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// e4m3ToFloat widens the 8-bit float of F8E4M3.
func e4m3ToFloat(b byte) float32 {
	exp, frac := int(b>>3)&15, float64(b&7)
	v := math.Ldexp(8+frac, exp-10)
	switch {
	case b&0x7f == 0x7f:
		v = math.NaN()
	case exp == 0:
		v = math.Ldexp(frac, -9)
	}
	if b&0x80 != 0 {
		v = -v
	}
	return float32(v)
}
