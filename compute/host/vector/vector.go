package vector

import (
	"math"
	"unsafe"
)

// block is how many elements the functions of several passes take at a time: in the fastest cache.
const block = 256

// ones and zeros scale and shift by nothing.
var ones, zeros = func() (o, z [block]float32) {
	for i := range o {
		o[i] = 1
	}
	return o, z
}()

// SiLU is y = x·sigmoid(k·x): SiLU for k = 1, QuickGELU for k = 1.702.
func SiLU(y, x []float32, k float32) {
	for len(x) > 0 {
		n := min(len(x), block)
		ScaleShiftSiLU(y[:n], x[:n], ones[:n], zeros[:n], k)
		x, y = x[n:], y[n:]
	}
}

// ScaleShiftSiLU is SiLU of x·scale + shift.
func ScaleShiftSiLU(y, x, scale, shift []float32, k float32) {
	if done := silus(y, x, scale, shift, k); done < len(x) {
		passes(y[done:], x[done:], scale[done:], shift[done:], k)
	}
}

// passes is ScaleShiftSiLU in several passes.
func passes(y, x, scale, shift []float32, k float32) {
	var e [block]float32
	for len(x) > 0 {
		n := min(len(x), block)
		ScaleShift(y[:n], x[:n], scale[:n], shift[:n])
		Exp(e[:n], y[:n], -k, 0)
		divideOnePlus(y[:n], y[:n], e[:n])
		x, y, scale, shift = x[n:], y[n:], scale[n:], shift[n:]
	}
}

// GELU is y = x·Φ(x), Φ the normal distribution's, to 3e-7 of x.
func GELU(y, x []float32) {
	var e [block]float32
	for len(x) > 0 {
		n := min(len(x), block)
		Mul(e[:n], x[:n], x[:n])
		Exp(e[:n], e[:n], -0.5, 0)
		gelu(y[:n], x[:n], e[:n])
		x, y = x[n:], y[n:]
	}
}

// SwishGrad is the derivative of x·sigmoid(k·x).
func SwishGrad(y, x []float32, k float32) {
	var e [block]float32
	for len(x) > 0 {
		n := min(len(x), block)
		Exp(e[:n], x[:n], -k, 0)
		swishGrad(y[:n], x[:n], e[:n], k)
		x, y = x[n:], y[n:]
	}
}

// GELUGrad is the derivative of x·Φ(x), Φ the normal distribution's, to 3e-7.
func GELUGrad(y, x []float32) {
	var e [block]float32
	for len(x) > 0 {
		n := min(len(x), block)
		Mul(e[:n], x[:n], x[:n])
		Exp(e[:n], e[:n], -0.5, 0)
		geluGrad(y[:n], x[:n], e[:n])
		x, y = x[n:], y[n:]
	}
}

// Softmax turns x into exp(scale·x)/Σexp(scale·x); all 0 where every x is −∞.
func Softmax(x []float32, scale float32) {
	top := scale * Max(x)
	if math.IsInf(float64(top), -1) && !math.IsNaN(float64(Sum(x))) { // Max may pass over a NaN, a sum does not
		clear(x)
		return
	}
	Scale(x, 1/Exp(x, x, scale, -top))
}

// slice is n elements from p on.
func slice(p *float32, n int) []float32 { return unsafe.Slice(p, n) }
