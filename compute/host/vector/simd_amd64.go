//go:build goexperiment.simd && amd64

package vector

import (
	"math"
	"simd/archsimd"
	"unsafe"
)

// Name says what the functions run on.
func Name() string {
	switch {
	case wide:
		return "AVX-512"
	case narrow:
		return "AVX2"
	}
	return "plain Go"
}

// Tile is c = a·b for a tile of Rows × columns: a is Rows rows of k elements, b is packed [k columns], c has pitch elements
// between rows. With add the products come on top of c. columns is Columns or HalfColumns.
func Tile(k int, a *Left, b, c []float32, pitch, columns int, add bool) {
	_, _ = b[:k*columns], c[:(Rows-1)*pitch+columns]
	pb, pc := unsafe.SliceData(b), unsafe.SliceData(c)
	switch {
	case wide && columns == Columns:
		tile512(k, a, pb, pc, pitch, 4*columns, add)
	case wide:
		tile512Half(k, a, pb, pc, pitch, 4*columns, add)
	case narrow:
		for n := 0; n < columns; n += HalfColumns {
			tile256(k, a, &b[n], &c[n], pitch, 4*columns, add)
		}
	default:
		plainTile(k, a, b, c, pitch, columns, add)
	}
}

type f32x8 = archsimd.Float32x8

func load(p []float32) f32x8 { return archsimd.LoadFloat32x8Slice(p) }

func total(v f32x8) float32 {
	var s [8]float32
	v.Store(&s)
	return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]))
}

// Exp is y = exp(scale·x + shift), to 2e-7 of itself; it returns the sum of y. Results too small for a normal number are 0.
func Exp(y, x []float32, scale, shift float32) float32 {
	y = y[:len(x)]
	if !narrow {
		return plainExp(y, x, scale, shift)
	}
	full := len(x) &^ 7
	sum := exps(y[:full], x[:full], scale, shift)
	if rest := x[full:]; len(rest) > 0 {
		var in [8]float32
		for i := copy(in[:], rest); i < 8; i++ {
			in[i] = rest[0]
		}
		exps(in[:], in[:], scale, shift)
		for _, e := range in[:copy(y[full:], in[:])] {
			sum += e
		}
	}
	return sum
}

// exps is Exp of whole vectors: with n the nearest integer to x/ln 2 and r what is left, eˣ = 2ⁿ·eʳ.
func exps(y, x []float32, scale, shift float32) float32 {
	var sum f32x8
	a, b := archsimd.BroadcastFloat32x8(scale), archsimd.BroadcastFloat32x8(shift)
	for ; len(x) >= 8 && len(y) >= 8; x, y = x[8:], y[8:] {
		v := load(x).MulAdd(a, b)
		small := v.Less(archsimd.BroadcastFloat32x8(expLow))
		v = archsimd.BroadcastFloat32x8(expLow).Max(archsimd.BroadcastFloat32x8(expHigh).Min(v)) // of two the last where one is NaN
		n := v.Mul(archsimd.BroadcastFloat32x8(log2e)).RoundToEven()
		r := n.MulAdd(archsimd.BroadcastFloat32x8(-ln2High), v)
		r = n.MulAdd(archsimd.BroadcastFloat32x8(-ln2Low), r)
		p := r.MulAdd(archsimd.BroadcastFloat32x8(1.0/5040), archsimd.BroadcastFloat32x8(1.0/720))
		p = p.MulAdd(r, archsimd.BroadcastFloat32x8(1.0/120))
		p = p.MulAdd(r, archsimd.BroadcastFloat32x8(1.0/24))
		p = p.MulAdd(r, archsimd.BroadcastFloat32x8(1.0/6))
		p = p.MulAdd(r, archsimd.BroadcastFloat32x8(0.5))
		p = p.MulAdd(r, archsimd.BroadcastFloat32x8(1))
		p = p.MulAdd(r, archsimd.BroadcastFloat32x8(1))
		two := n.ConvertToInt32().Add(archsimd.BroadcastInt32x8(127)).ShiftAllLeft(23).AsFloat32x8()
		e := p.Mul(two).AsInt32x8().AndNot(small.ToInt32x8()).AsFloat32x8()
		e.StoreSlice(y)
		sum = sum.Add(e)
	}
	return total(sum)
}

// Max is the largest element, −∞ for none.
func Max(x []float32) float32 {
	top := float32(math.Inf(-1))
	if narrow && len(x) >= 8 {
		v := load(x)
		for ; len(x) >= 8; x = x[8:] {
			v = v.Max(load(x))
		}
		var s [8]float32
		v.Store(&s)
		top = plainMax(s[:])
	}
	return max(top, plainMax(x))
}

// Scale multiplies y by s.
func Scale(y []float32, s float32) {
	if narrow {
		v := archsimd.BroadcastFloat32x8(s)
		for ; len(y) >= 8; y = y[8:] {
			load(y).Mul(v).StoreSlice(y)
		}
	}
	plainScale(y, s)
}

// Add is y = a + b.
func Add(y, a, b []float32) {
	if narrow {
		for ; len(y) >= 8 && len(a) >= 8 && len(b) >= 8; y, a, b = y[8:], a[8:], b[8:] {
			load(a).Add(load(b)).StoreSlice(y)
		}
	}
	plainAdd(y, a, b)
}

// Mul is y = a·b.
func Mul(y, a, b []float32) {
	if narrow {
		for ; len(y) >= 8 && len(a) >= 8 && len(b) >= 8; y, a, b = y[8:], a[8:], b[8:] {
			load(a).Mul(load(b)).StoreSlice(y)
		}
	}
	plainMul(y, a, b)
}

// ScaleShift is y = x·scale + shift.
func ScaleShift(y, x, scale, shift []float32) {
	if narrow {
		for ; len(y) >= 8 && len(x) >= 8 && len(scale) >= 8 && len(shift) >= 8; y, x, scale, shift = y[8:], x[8:], scale[8:], shift[8:] {
			load(x).MulAdd(load(scale), load(shift)).StoreSlice(y)
		}
	}
	plainScaleShift(y, x, scale, shift)
}

// AddSquares is sum += (x − mean)².
func AddSquares(sum, x, mean []float32) {
	if narrow {
		for ; len(sum) >= 8 && len(x) >= 8 && len(mean) >= 8; sum, x, mean = sum[8:], x[8:], mean[8:] {
			d := load(x).Sub(load(mean))
			d.MulAdd(d, load(sum)).StoreSlice(sum)
		}
	}
	plainAddSquares(sum, x, mean)
}

// Sum adds the elements up.
func Sum(x []float32) float32 {
	sum := float32(0)
	if narrow {
		var v f32x8
		for ; len(x) >= 8; x = x[8:] {
			v = v.Add(load(x))
		}
		sum = total(v)
	}
	return sum + plainSum(x)
}

// SumSquares adds up (x − mean)².
func SumSquares(x []float32, mean float32) float32 {
	sum := float32(0)
	if narrow {
		var v f32x8
		m := archsimd.BroadcastFloat32x8(mean)
		for ; len(x) >= 8; x = x[8:] {
			d := load(x).Sub(m)
			v = d.MulAdd(d, v)
		}
		sum = total(v)
	}
	return sum + plainSumSquares(x, mean)
}

// Widen gives the values of binary16 numbers.
func Widen(y []float32, h []uint16) {
	if narrow {
		magnitude, sign := archsimd.BroadcastUint32x8(0x7fff), archsimd.BroadcastUint32x8(0x8000)
		up, special := archsimd.BroadcastFloat32x8(0x1p112), archsimd.BroadcastInt32x8(0x7bff)
		exponent := archsimd.BroadcastInt32x8(0x7f800000)
		for ; len(h) >= 8 && len(y) >= 8; y, h = y[8:], h[8:] {
			bits := archsimd.LoadUint16x8Slice(h).ExtendToUint32()
			m := bits.And(magnitude)
			v := m.ShiftAllLeft(13).AsFloat32x8().Mul(up).AsInt32x8()
			v = v.Or(m.AsInt32x8().Greater(special).ToInt32x8().And(exponent)) // infinity and NaN
			v.Or(bits.And(sign).ShiftAllLeft(16).AsInt32x8()).AsFloat32x8().StoreSlice(y)
		}
	}
	plainWiden(y, h)
}

// divideOnePlus is y = x/(1 + e).
func divideOnePlus(y, x, e []float32) {
	if narrow {
		one := archsimd.BroadcastFloat32x8(1)
		for ; len(y) >= 8 && len(x) >= 8 && len(e) >= 8; y, x, e = y[8:], x[8:], e[8:] {
			load(x).Div(one.Add(load(e))).StoreSlice(y)
		}
	}
	plainDivideOnePlus(y, x, e)
}

// gelu is y = x·Φ(x) where e = exp(−x²/2).
func gelu(y, x, e []float32) {
	if narrow {
		one, half := archsimd.BroadcastFloat32x8(1), archsimd.BroadcastFloat32x8(0.5)
		scale, zero, far := archsimd.BroadcastFloat32x8(erfP/math.Sqrt2), archsimd.BroadcastFloat32x8(0), archsimd.BroadcastFloat32x8(geluFar)
		for ; len(y) >= 8 && len(x) >= 8 && len(e) >= 8; y, x, e = y[8:], x[8:], e[8:] {
			v := load(x)
			t := one.Div(v.Max(zero.Sub(v)).MulAdd(scale, one))
			p := t.MulAdd(archsimd.BroadcastFloat32x8(erfA5), archsimd.BroadcastFloat32x8(erfA4))
			p = p.MulAdd(t, archsimd.BroadcastFloat32x8(erfA3))
			p = p.MulAdd(t, archsimd.BroadcastFloat32x8(erfA2))
			p = p.MulAdd(t, archsimd.BroadcastFloat32x8(erfA1))
			tail := p.Mul(t).Mul(load(e)).Mul(half).Mul(far.Min(zero.Sub(far).Max(v))) // x·(1 − erf|z|)/2, 0 where x is far out
			zero.Max(v).Sub(zero.Max(tail)).Add(zero.Min(tail)).StoreSlice(y)
		}
	}
	plainGELU(y, x, e)
}

// Standardise is y = (x − mean)·scale.
func Standardise(y, x []float32, mean, scale float32) {
	if narrow {
		m, k := archsimd.BroadcastFloat32x8(mean), archsimd.BroadcastFloat32x8(scale)
		for ; len(y) >= 8 && len(x) >= 8; y, x = y[8:], x[8:] {
			load(x).Sub(m).Mul(k).StoreSlice(y)
		}
	}
	plainStandardise(y, x, mean, scale)
}
