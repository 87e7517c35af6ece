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
	case k == 0 || !narrow:
		plainTile(k, a, b, c, pitch, columns, add)
	case wide && columns == Columns:
		tile512(k, a, pb, pc, pitch, add)
	case wide:
		tile512Half(k, a, pb, pc, pitch, add)
	default:
		for row := 0; row < Rows; row += 4 {
			for n := 0; n < columns; n += HalfColumns {
				tile256(k, (*[4]*float32)(a[row:]), &b[n], &c[row*pitch+n], pitch, 4*columns, add)
			}
		}
		leave()
	}
}

// leave clears the upper halves of the vector registers. Every function here ends its vector part with it: with halves in use,
// the processor's next scalar arithmetic, which Go encodes as SSE, takes some 130 ns on several processors.
func leave() {
	if narrow {
		archsimd.ClearAVXUpperBits()
	}
}

type f32x8 = archsimd.Float32x8

func load(p []float32) f32x8 { return archsimd.LoadFloat32x8Slice(p) }

func total(v f32x8) float32 {
	var s [8]float32
	v.Store(&s)
	return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]))
}

// Exp is y = exp(scale·x + shift), to 3e-7 of itself, for x below +∞; it returns the sum of y. Results too small for a normal
// number may be 0.
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
	if wide && len(x) >= 16 {
		full := len(x) &^ 15
		exps512(y[:full], x[:full], scale, shift)
		sum := Sum(y[:full])
		if full == len(x) {
			return sum
		}
		return sum + exps(y[full:], x[full:], scale, shift)
	}
	var sum f32x8
	a, b := archsimd.BroadcastFloat32x8(scale), archsimd.BroadcastFloat32x8(shift)
	for ; len(x) >= 8 && len(y) >= 8; x, y = x[8:], y[8:] {
		v := load(x).MulAdd(a, b)
		small := v.Less(archsimd.BroadcastFloat32x8(expLow))
		v = archsimd.BroadcastFloat32x8(expLow).Merge(v, small) // not Max: the compiler swaps its operands, and with them what becomes of NaN
		v = archsimd.BroadcastFloat32x8(expHigh).Merge(v, v.Greater(archsimd.BroadcastFloat32x8(expHigh)))
		n := v.Mul(archsimd.BroadcastFloat32x8(log2e)).RoundToEven()
		r := n.MulAdd(archsimd.BroadcastFloat32x8(-ln2), v)
		p := r.MulAdd(archsimd.BroadcastFloat32x8(1.0/720), archsimd.BroadcastFloat32x8(1.0/120))
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
	all := total(sum)
	leave()
	return all
}

// ref16 and ref8 are a vector's elements from i on; the caller has checked that they are there.
func ref16(s []float32, i int) *[16]float32 {
	return (*[16]float32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), 4*i))
}

func ref8(s []float32, i int) *[8]float32 {
	return (*[8]float32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), 4*i))
}

func load16(s []float32, i int) archsimd.Float32x16 { return archsimd.LoadFloat32x16(ref16(s, i)) }
func load8(s []float32, i int) f32x8                { return archsimd.LoadFloat32x8(ref8(s, i)) }

// exps512 is exps on vectors twice as wide, whose constants are held outside the loop: the compiler makes them again in each
// round otherwise. Scaling by 2ⁿ gives 0 and infinity where they are due, but NaN for infinity itself.
func exps512(y, x []float32, scale, shift float32) {
	a, b, low := archsimd.BroadcastFloat32x16(scale), archsimd.BroadcastFloat32x16(shift), archsimd.BroadcastFloat32x16(expZero)
	l2e, negLn2 := archsimd.BroadcastFloat32x16(log2e), archsimd.BroadcastFloat32x16(-ln2)
	c6, c5, c4 := archsimd.BroadcastFloat32x16(1.0/720), archsimd.BroadcastFloat32x16(1.0/120), archsimd.BroadcastFloat32x16(1.0/24)
	c3, c2, one := archsimd.BroadcastFloat32x16(1.0/6), archsimd.BroadcastFloat32x16(0.5), archsimd.BroadcastFloat32x16(1)
	for i, end := 0, min(len(x), len(y))-16; i <= end; i += 16 {
		v := load16(x, i).MulAdd(a, b)
		v = low.Merge(v, v.Less(low)) // not Max, as in exps
		n := v.Mul(l2e).RoundToEvenScaled(0)
		r := n.MulAdd(negLn2, v)
		r.MulAdd(c6, c5).MulAdd(r, c4).MulAdd(r, c3).MulAdd(r, c2).MulAdd(r, one).MulAdd(r, one).Scale(n).Store(ref16(y, i))
	}
	leave()
}

// silus is SiLU of x·scale + shift for as many whole vectors as there are, and their number of elements: exps512 and a division
// in one pass. One more constant would spill registers, and take three times as long.
func silus(y, x, scale, shift []float32, k float32) int {
	if !wide {
		return 0
	}
	a := archsimd.BroadcastFloat32x16(-k)
	low, high := archsimd.BroadcastFloat32x16(expZero), archsimd.BroadcastFloat32x16(expHigh)
	l2e, negLn2 := archsimd.BroadcastFloat32x16(log2e), archsimd.BroadcastFloat32x16(-ln2)
	c6, c5, c4 := archsimd.BroadcastFloat32x16(1.0/720), archsimd.BroadcastFloat32x16(1.0/120), archsimd.BroadcastFloat32x16(1.0/24)
	c3, c2, one := archsimd.BroadcastFloat32x16(1.0/6), archsimd.BroadcastFloat32x16(0.5), archsimd.BroadcastFloat32x16(1)
	i, end := 0, min(len(x), len(y), len(scale), len(shift))-16
	for ; i <= end; i += 16 {
		x := load16(x, i).MulAdd(load16(scale, i), load16(shift, i))
		v := low.Max(high.Min(x.Mul(a)))
		n := v.Mul(l2e).RoundToEvenScaled(0)
		r := n.MulAdd(negLn2, v)
		d := r.MulAdd(c6, c5).MulAdd(r, c4).MulAdd(r, c3).MulAdd(r, c2).MulAdd(r, one).MulAdd(r, one).Scale(n).Add(one)
		x.Div(d).Store(ref16(y, i))
	}
	leave()
	return i
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
		leave()
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
	leave()
	plainScale(y, s)
}

// Add is y = a + b.
func Add(y, a, b []float32) {
	n, i := len(a), 0
	y, b = y[:n], b[:n]
	if wide {
		for ; i <= n-16; i += 16 {
			load16(a, i).Add(load16(b, i)).Store(ref16(y, i))
		}
	}
	if narrow {
		for ; i <= n-8; i += 8 {
			load8(a, i).Add(load8(b, i)).Store(ref8(y, i))
		}
	}
	leave()
	plainAdd(y[i:], a[i:], b[i:])
}

// Mul is y = a·b.
func Mul(y, a, b []float32) {
	n, i := len(a), 0
	y, b = y[:n], b[:n]
	if wide {
		for ; i <= n-16; i += 16 {
			load16(a, i).Mul(load16(b, i)).Store(ref16(y, i))
		}
	}
	if narrow {
		for ; i <= n-8; i += 8 {
			load8(a, i).Mul(load8(b, i)).Store(ref8(y, i))
		}
	}
	leave()
	plainMul(y[i:], a[i:], b[i:])
}

// Sub is y = a − b.
func Sub(y, a, b []float32) {
	n, i := len(a), 0
	y, b = y[:n], b[:n]
	if wide {
		for ; i <= n-16; i += 16 {
			load16(a, i).Sub(load16(b, i)).Store(ref16(y, i))
		}
	}
	if narrow {
		for ; i <= n-8; i += 8 {
			load8(a, i).Sub(load8(b, i)).Store(ref8(y, i))
		}
	}
	leave()
	plainSub(y[i:], a[i:], b[i:])
}

// Dot is the sum of a·b.
func Dot(a, b []float32) float32 {
	n, i, sum := len(a), 0, float32(0)
	b = b[:n]
	if narrow {
		var u, v f32x8 // two chains
		for ; i <= n-16; i += 16 {
			u, v = load8(a, i).MulAdd(load8(b, i), u), load8(a, i+8).MulAdd(load8(b, i+8), v)
		}
		sum = total(u.Add(v))
		leave()
	}
	return sum + plainDot(a[i:], b[i:])
}

// swishGrad is the derivative of x·sigmoid(k·x) where e = exp(−k·x).
func swishGrad(y, x, e []float32, k float32) {
	n, i := len(x), 0
	y, e = y[:n], e[:n]
	if narrow {
		one, f := archsimd.BroadcastFloat32x8(1), archsimd.BroadcastFloat32x8(k)
		for ; i <= n-8; i += 8 {
			s := one.Div(load8(e, i).Add(one))
			one.Sub(s).Mul(s).Mul(load8(x, i).Mul(f)).Add(s).Store(ref8(y, i))
		}
	}
	leave()
	plainSwishGrad(y[i:], x[i:], e[i:], k)
}

// geluGrad is the derivative of x·Φ(x) where e = exp(−x²/2).
func geluGrad(y, x, e []float32) {
	n, i := len(x), 0
	y, e = y[:n], e[:n]
	if narrow {
		one, half, zero := archsimd.BroadcastFloat32x8(1), archsimd.BroadcastFloat32x8(0.5), archsimd.BroadcastFloat32x8(0)
		scale, far, peak := archsimd.BroadcastFloat32x8(erfP/math.Sqrt2), archsimd.BroadcastFloat32x8(geluFar), archsimd.BroadcastFloat32x8(normalPeak)
		a5, a4, a3 := archsimd.BroadcastFloat32x8(erfA5), archsimd.BroadcastFloat32x8(erfA4), archsimd.BroadcastFloat32x8(erfA3)
		a2, a1 := archsimd.BroadcastFloat32x8(erfA2), archsimd.BroadcastFloat32x8(erfA1)
		for ; i <= n-8; i += 8 {
			v, d := load8(x, i), load8(e, i)
			t := one.Div(v.Max(zero.Sub(v)).MulAdd(scale, one))
			low := t.MulAdd(a5, a4).MulAdd(t, a3).MulAdd(t, a2).MulAdd(t, a1).Mul(t).Mul(d).Mul(half) // Φ(−|x|)
			cdf := one.Sub(low).Merge(low, v.Greater(zero))
			far.Min(zero.Sub(far).Max(v)).Mul(d).MulAdd(peak, cdf).Store(ref8(y, i))
		}
	}
	leave()
	plainGELUGrad(y[i:], x[i:], e[i:])
}

// ScaleShift is y = x·scale + shift.
func ScaleShift(y, x, scale, shift []float32) {
	n, i := len(x), 0
	y, scale, shift = y[:n], scale[:n], shift[:n]
	if wide {
		for ; i <= n-16; i += 16 {
			load16(x, i).MulAdd(load16(scale, i), load16(shift, i)).Store(ref16(y, i))
		}
	}
	if narrow {
		for ; i <= n-8; i += 8 {
			load8(x, i).MulAdd(load8(scale, i), load8(shift, i)).Store(ref8(y, i))
		}
	}
	leave()
	plainScaleShift(y[i:], x[i:], scale[i:], shift[i:])
}

// Moments is the sums and the sums of squares of x − shift over rows of x, by column.
func Moments(sum, squares, x, shift []float32) {
	c := len(shift)
	rows := len(x) / c
	sum, squares = sum[:c], squares[:c]
	i := 0
	if wide {
		for ; i <= c-48; i += 48 { // three vectors a row: whole stretches of a row reach the cache in one go
			var s0, q0, s1, q1, s2, q2 archsimd.Float32x16
			m0, m1, m2 := load16(shift, i), load16(shift, i+16), load16(shift, i+32)
			for at := i; at < rows*c; at += c {
				d0, d1, d2 := load16(x, at).Sub(m0), load16(x, at+16).Sub(m1), load16(x, at+32).Sub(m2)
				s0, q0 = s0.Add(d0), d0.MulAdd(d0, q0)
				s1, q1 = s1.Add(d1), d1.MulAdd(d1, q1)
				s2, q2 = s2.Add(d2), d2.MulAdd(d2, q2)
			}
			s0.Store(ref16(sum, i))
			q0.Store(ref16(squares, i))
			s1.Store(ref16(sum, i+16))
			q1.Store(ref16(squares, i+16))
			s2.Store(ref16(sum, i+32))
			q2.Store(ref16(squares, i+32))
		}
		for ; i <= c-16; i += 16 {
			var s, q archsimd.Float32x16
			m := load16(shift, i)
			for at := i; at < rows*c; at += c {
				d := load16(x, at).Sub(m)
				s, q = s.Add(d), d.MulAdd(d, q)
			}
			s.Store(ref16(sum, i))
			q.Store(ref16(squares, i))
		}
	}
	if narrow {
		for ; i <= c-8; i += 8 {
			var s, q f32x8
			m := load8(shift, i)
			for at := i; at < rows*c; at += c {
				d := load8(x, at).Sub(m)
				s, q = s.Add(d), d.MulAdd(d, q)
			}
			s.Store(ref8(sum, i))
			q.Store(ref8(squares, i))
		}
	}
	leave()
	plainMoments(sum, squares, x, shift, i)
}

// Sum adds the elements up.
func Sum(x []float32) float32 {
	i, sum := 0, float32(0)
	if narrow {
		var u, v f32x8 // two chains
		for ; i <= len(x)-16; i += 16 {
			u, v = u.Add(load8(x, i)), v.Add(load8(x, i+8))
		}
		sum = total(u.Add(v))
		leave()
	}
	return sum + plainSum(x[i:])
}

// SumSquares adds up (x − mean)².
func SumSquares(x []float32, mean float32) float32 {
	i, sum := 0, float32(0)
	if narrow {
		var u, v f32x8
		m := archsimd.BroadcastFloat32x8(mean)
		for ; i <= len(x)-16; i += 16 {
			d, e := load8(x, i).Sub(m), load8(x, i+8).Sub(m)
			u, v = d.MulAdd(d, u), e.MulAdd(e, v)
		}
		sum = total(u.Add(v))
		leave()
	}
	return sum + plainSumSquares(x[i:], mean)
}

// Widen gives the values of binary16 numbers.
func Widen(y []float32, h []uint16) {
	n, i := len(h), 0
	y = y[:n]
	if wide {
		magnitude, sign := archsimd.BroadcastUint32x16(0x7fff), archsimd.BroadcastUint32x16(0x8000)
		up, special := archsimd.BroadcastFloat32x16(0x1p112), archsimd.BroadcastInt32x16(0x7bff)
		exponent := archsimd.BroadcastInt32x16(0x7f800000)
		for ; i <= n-16; i += 16 {
			bits := archsimd.LoadUint16x16((*[16]uint16)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(h)), 2*i))).ExtendToUint32()
			m := bits.And(magnitude)
			v := m.ShiftAllLeft(13).AsFloat32x16().Mul(up).AsInt32x16()
			v = v.Or(exponent.Masked(m.AsInt32x16().Greater(special))) // infinity and NaN
			v.Or(bits.And(sign).ShiftAllLeft(16).AsInt32x16()).AsFloat32x16().Store(ref16(y, i))
		}
	}
	if narrow {
		magnitude, sign := archsimd.BroadcastUint32x8(0x7fff), archsimd.BroadcastUint32x8(0x8000)
		up, special := archsimd.BroadcastFloat32x8(0x1p112), archsimd.BroadcastInt32x8(0x7bff)
		exponent := archsimd.BroadcastInt32x8(0x7f800000)
		for ; i <= n-8; i += 8 {
			bits := archsimd.LoadUint16x8Slice(h[i:]).ExtendToUint32()
			m := bits.And(magnitude)
			v := m.ShiftAllLeft(13).AsFloat32x8().Mul(up).AsInt32x8()
			v = v.Or(m.AsInt32x8().Greater(special).ToInt32x8().And(exponent)) // infinity and NaN
			v.Or(bits.And(sign).ShiftAllLeft(16).AsInt32x8()).AsFloat32x8().Store(ref8(y, i))
		}
	}
	leave()
	plainWiden(y[i:], h[i:])
}

// divideOnePlus is y = x/(1 + e).
func divideOnePlus(y, x, e []float32) {
	if wide {
		one, i := archsimd.BroadcastFloat32x16(1), 0
		for ; i+16 <= len(x) && i+16 <= len(y) && i+16 <= len(e); i += 16 {
			d := archsimd.LoadFloat32x16((*[16]float32)(unsafe.Pointer(&e[i]))).Add(one)
			archsimd.LoadFloat32x16((*[16]float32)(unsafe.Pointer(&x[i]))).Div(d).Store((*[16]float32)(unsafe.Pointer(&y[i])))
		}
		x, y, e = x[i:], y[i:], e[i:]
	}
	if narrow {
		one := archsimd.BroadcastFloat32x8(1)
		for ; len(y) >= 8 && len(x) >= 8 && len(e) >= 8; y, x, e = y[8:], x[8:], e[8:] {
			load(x).Div(one.Add(load(e))).StoreSlice(y)
		}
	}
	leave()
	plainDivideOnePlus(y, x, e)
}

// gelu is y = x·Φ(x) where e = exp(−x²/2).
func gelu(y, x, e []float32) {
	if narrow {
		one, half := archsimd.BroadcastFloat32x8(1), archsimd.BroadcastFloat32x8(0.5)
		scale, zero, far := archsimd.BroadcastFloat32x8(erfP/math.Sqrt2), archsimd.BroadcastFloat32x8(0), archsimd.BroadcastFloat32x8(geluFar)
		a5, a4, a3 := archsimd.BroadcastFloat32x8(erfA5), archsimd.BroadcastFloat32x8(erfA4), archsimd.BroadcastFloat32x8(erfA3)
		a2, a1 := archsimd.BroadcastFloat32x8(erfA2), archsimd.BroadcastFloat32x8(erfA1)
		for ; len(y) >= 8 && len(x) >= 8 && len(e) >= 8; y, x, e = y[8:], x[8:], e[8:] {
			v := load(x)
			t := one.Div(v.Max(zero.Sub(v)).MulAdd(scale, one))
			p := t.MulAdd(a5, a4).MulAdd(t, a3).MulAdd(t, a2).MulAdd(t, a1)
			tail := p.Mul(t).Mul(load(e)).Mul(half).Mul(far.Min(zero.Sub(far).Max(v)))              // x·(1 − erf|z|)/2, 0 where x is far out
			load(e).MulAdd(zero, zero.Max(v).Sub(zero.Max(tail)).Add(zero.Min(tail))).StoreSlice(y) // 0·e is NaN where x is
		}
	}
	leave()
	plainGELU(y, x, e)
}

// Standardise is y = (x − mean)·scale.
func Standardise(y, x []float32, mean, scale float32) {
	n, i := len(x), 0
	y = y[:n]
	if wide {
		m, k := archsimd.BroadcastFloat32x16(mean), archsimd.BroadcastFloat32x16(scale)
		for ; i <= n-16; i += 16 {
			load16(x, i).Sub(m).Mul(k).Store(ref16(y, i))
		}
	}
	if narrow {
		m, k := archsimd.BroadcastFloat32x8(mean), archsimd.BroadcastFloat32x8(scale)
		for ; i <= n-8; i += 8 {
			load8(x, i).Sub(m).Mul(k).Store(ref8(y, i))
		}
	}
	leave()
	plainStandardise(y[i:], x[i:], mean, scale)
}

// Peak does rounds of PeakFLOPs operations on registers.
func Peak(rounds int) float32 {
	defer leave()
	switch {
	case wide:
		return peak512(rounds)
	case narrow:
		return peak256(4 * rounds)
	}
	return plainPeak(rounds)
}
