package compute

import "math"

// HalfFloat widens the bits of an IEEE 754 binary16; every half is exact in float32.
func HalfFloat(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exp {
	case 0: // zero and subnormals: frac · 2⁻²⁴
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(v))
	case 31: // infinity, or NaN with its payload
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// HalfBits rounds to the nearest IEEE 754 binary16, ties to even; 65520 and beyond become infinity, NaN stays NaN.
func HalfBits(f float32) uint16 {
	b := math.Float32bits(f)
	sign, abs := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN: keep the top of the payload, and keep it a NaN
		return sign | 0x7e00 | uint16(abs>>13)&0x3ff
	case abs >= 0x477ff000: // ≥ 65520 rounds away from the largest half, 65504
		return sign | 0x7c00
	case abs < 0x38800000: // below 2⁻¹⁴: subnormal, in units of 2⁻²⁴
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(abs))*(1<<24)))
	}
	// Rebias, then round the 13 dropped bits; a carry moves into the exponent as it should.
	abs -= 112 << 23
	return sign | uint16((abs+0xfff+(abs>>13)&1)>>13)
}
