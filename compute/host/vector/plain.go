// Package vector is the arithmetic that the host device spends its time in, on the widest registers of the processor: AVX-512
// or AVX2 by simd/archsimd where the program was built with GOEXPERIMENT=simd, plain Go everywhere else. The functions of this
// file are the plain ones, which the others agree with to rounding.
//
// Slices of one call have the same length unless said otherwise; y may be any of the operands.
package vector

import "math"

const (
	// Rows and Columns are the extent of a tile of a product.
	Rows, Columns = 8, 32
	// HalfColumns is the extent of a narrow tile.
	HalfColumns = 16
)

// Left is where a tile's rows of the left operand begin.
type Left [Rows]*float32

func plainTile(k int, a *Left, b, c []float32, pitch, columns int, add bool) {
	var sum [Rows][Columns]float32
	for r := range Rows {
		row := slice(a[r], k)
		s := sum[r][:columns]
		if add {
			copy(s, c[r*pitch:])
		}
		for i, v := range row {
			for j, w := range b[i*columns:][:columns] {
				s[j] += v * w
			}
		}
		copy(c[r*pitch:][:columns], s)
	}
}

// The coefficients of exp(r) for |r| ≤ ln 2 / 2 are Taylor's: the next term is 1.2e-7. ln 2 in one piece costs as much again
// at the ends of the range.
const (
	log2e   = 1.44269504088896341
	ln2     = 0.693147180559945309
	expLow  = -87.33654 // below it results are not normal numbers
	expZero = -104      // below it they are 0
	expHigh = 89        // above it they are infinite
)

func plainExp(y, x []float32, scale, shift float32) float32 {
	sum := float32(0)
	for i, v := range x {
		e := float32(math.Exp(float64(scale*v + shift)))
		y[i] = e
		sum += e
	}
	return sum
}

func plainMax(x []float32) float32 {
	top := float32(math.Inf(-1))
	for _, v := range x {
		top = max(top, v)
	}
	return top
}

func plainScale(y []float32, s float32) {
	for i := range y {
		y[i] *= s
	}
}

func plainDivideOnePlus(y, x, e []float32) {
	for i, v := range x {
		y[i] = v / (1 + e[i])
	}
}

func plainAdd(y, a, b []float32) {
	for i, v := range a {
		y[i] = v + b[i]
	}
}

func plainMul(y, a, b []float32) {
	for i, v := range a {
		y[i] = v * b[i]
	}
}

func plainScaleShift(y, x, scale, shift []float32) {
	for i, v := range x {
		y[i] = v*scale[i] + shift[i]
	}
}

// plainMoments does columns from first on.
func plainMoments(sum, squares, x, shift []float32, first int) {
	clear(sum[first:])
	clear(squares[first:])
	for c := len(shift); len(x) >= c; x = x[c:] {
		for i := first; i < c; i++ {
			d := x[i] - shift[i]
			sum[i] += d
			squares[i] += d * d
		}
	}
}

func plainSum(x []float32) float32 {
	sum := float32(0)
	for _, v := range x {
		sum += v
	}
	return sum
}

func plainSumSquares(x []float32, mean float32) float32 {
	sum := float32(0)
	for _, v := range x {
		sum += (v - mean) * (v - mean)
	}
	return sum
}

func plainWiden(y []float32, h []uint16) {
	for i, bits := range h {
		y[i] = half(bits)
	}
}

func plainSub(y, a, b []float32) {
	for i, v := range a {
		y[i] = v - b[i]
	}
}

func plainDot(a, b []float32) float32 {
	sum := float32(0)
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

func plainSwishGrad(y, x, e []float32, k float32) {
	for i, v := range x {
		s := 1 / (1 + e[i])
		y[i] = s + k*v*s*(1-s)
	}
}

func plainGELUGrad(y, x, e []float32) {
	for i, v := range x {
		z := float32(math.Abs(float64(v))) * (1 / math.Sqrt2)
		t := 1 / (1 + erfP*z)
		cdf := 0.5 * ((((erfA5*t+erfA4)*t+erfA3)*t+erfA2)*t + erfA1) * t * e[i] // of −|x|
		if v > 0 {
			cdf = 1 - cdf
		}
		y[i] = cdf + min(max(v, -geluFar), geluFar)*e[i]*normalPeak
	}
}

// normalPeak is the normal density at zero.
const normalPeak = 0.3989422804014327

// half is the value of a binary16 number: its exponent and fraction moved into place are 2⁻¹¹² of it.
func half(bits uint16) float32 {
	magnitude := uint32(bits&0x7fff) << 13
	v := math.Float32frombits(magnitude) * 0x1p112
	if magnitude >= 0x7c00<<13 { // infinity and NaN
		v = math.Float32frombits(magnitude | 0x7f800000)
	}
	return math.Float32frombits(math.Float32bits(v) | uint32(bits&0x8000)<<16)
}

// geluFar is an x beyond which Φ is 0 or 1.
const geluFar = 30

// Abramowitz & Stegun 7.1.26: erf(z) = 1 − (a1 t + … + a5 t⁵)·exp(−z²) for z ≥ 0, t = 1/(1 + p z), to 1.5e-7.
const (
	erfP  = 0.3275911
	erfA1 = 0.254829592
	erfA2 = -0.284496736
	erfA3 = 1.421413741
	erfA4 = -1.453152027
	erfA5 = 1.061405429
)

func plainGELU(y, x, e []float32) {
	for i, v := range x {
		z := float32(math.Abs(float64(v))) * (1 / math.Sqrt2)
		t := 1 / (1 + erfP*z)
		tail := ((((erfA5*t+erfA4)*t+erfA3)*t+erfA2)*t + erfA1) * t * e[i] // 1 − erf|z|
		tail *= 0.5 * min(max(v, -geluFar), geluFar)
		if v < 0 {
			y[i] = tail
		} else {
			y[i] = v - tail
		}
	}
}

func plainStandardise(y, x []float32, mean, scale float32) {
	for i, v := range x {
		y[i] = (v - mean) * scale
	}
}

// PeakFLOPs is the operations of a round of Peak, a multiply-add counted as two: 24 chains of 16 elements.
const PeakFLOPs = 24 * 16 * 2

func plainPeak(rounds int) float32 {
	x0, x1, x2, x3, x4, x5 := float32(0), float32(1), float32(2), float32(3), float32(4), float32(5)
	for range rounds * 64 {
		x0, x1, x2, x3, x4, x5 = x0*0.999+0.999, x1*0.999+0.999, x2*0.999+0.999, x3*0.999+0.999, x4*0.999+0.999, x5*0.999+0.999
	}
	return x0 + x1 + x2 + x3 + x4 + x5
}
