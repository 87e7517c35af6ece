package vector

import (
	"math"
	"math/rand/v2"
	"testing"
)

// sizes straddle the widths of vectors and the blocks of functions of several passes.
var sizes = []int{0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, block - 1, block, block + 5}

func normal(n int, scale float64) []float32 {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * scale)
	}
	return v
}

// near wants got[i] within tol of f(i), relative to the larger of 1 and its size.
func near(t *testing.T, what string, got []float32, tol float64, f func(i int) float64) {
	t.Helper()
	for i, g := range got {
		w := f(i)
		if math.IsNaN(w) != math.IsNaN(float64(g)) || math.Abs(float64(g)-w) > tol*math.Max(1, math.Abs(w)) {
			t.Fatalf("%s of %d: index %d: got %g, want %g", what, len(got), i, g, w)
		}
	}
}

func TestFunctions(t *testing.T) {
	for _, n := range sizes {
		x, z, m, y := normal(n, 3), normal(n, 2), normal(n, 1), make([]float32, n)
		at := func(v []float32, i int) float64 { return float64(v[i]) }
		total := float64(Exp(y, x, 0.5, -1))
		near(t, "exp", y, 3e-7, func(i int) float64 { return math.Exp(0.5*at(x, i) - 1) })
		sum := 0.0
		for _, v := range y {
			sum += float64(v)
		}
		near(t, "sum of exp", []float32{float32(total)}, 1e-5, func(int) float64 { return sum })
		SiLU(y, x, 1.702)
		near(t, "silu", y, 1e-6, func(i int) float64 { return at(x, i) / (1 + math.Exp(-1.702*at(x, i))) })
		GELU(y, x)
		near(t, "gelu", y, 1e-6, func(i int) float64 { return at(x, i) * 0.5 * (1 + math.Erf(at(x, i)/math.Sqrt2)) })
		SwishGrad(y, x, 1.702)
		near(t, "derivative of swish", y, 1e-6, func(i int) float64 {
			s := 1 / (1 + math.Exp(-1.702*at(x, i)))
			return s + 1.702*at(x, i)*s*(1-s)
		})
		GELUGrad(y, x)
		near(t, "derivative of gelu", y, 1e-6, func(i int) float64 {
			v := at(x, i)
			return 0.5*(1+math.Erf(v/math.Sqrt2)) + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi)
		})
		Sub(y, x, z)
		near(t, "sub", y, 0, func(i int) float64 { return float64(x[i] - z[i]) })
		dot := 0.0
		for i := range x {
			dot += at(x, i) * at(z, i)
		}
		near(t, "dot", []float32{Dot(x, z)}, 1e-4, func(int) float64 { return dot })
		Add(y, x, z)
		near(t, "add", y, 0, func(i int) float64 { return float64(x[i] + z[i]) })
		Mul(y, x, z)
		near(t, "mul", y, 0, func(i int) float64 { return float64(x[i] * z[i]) })
		ScaleShift(y, x, z, m)
		near(t, "scale and shift", y, 1e-6, func(i int) float64 { return at(x, i)*at(z, i) + at(m, i) })
		Standardise(y, x, 0.5, 2)
		near(t, "standardise", y, 1e-6, func(i int) float64 { return (at(x, i) - 0.5) * 2 })
		if n > 0 {
			rows := append(append(append([]float32(nil), x...), z...), x...)
			sums := make([]float32, n)
			Moments(sums, y, rows, m)
			near(t, "sums", sums, 1e-6, func(i int) float64 { return 2*at(x, i) + at(z, i) - 3*at(m, i) })
			near(t, "sums of squares", y, 1e-6, func(i int) float64 {
				d, e := at(x, i)-at(m, i), at(z, i)-at(m, i)
				return 2*d*d + e*e
			})
		}
		copy(y, x)
		Scale(y, 0.3)
		near(t, "scale", y, 0, func(i int) float64 { return float64(x[i] * 0.3) })
		sum, squares, top := 0.0, 0.0, math.Inf(-1)
		for _, v := range x {
			sum, squares, top = sum+float64(v), squares+(float64(v)-0.2)*(float64(v)-0.2), math.Max(top, float64(v))
		}
		near(t, "sum", []float32{Sum(x)}, 1e-4, func(int) float64 { return sum })
		near(t, "sum of squares", []float32{SumSquares(x, 0.2)}, 1e-5, func(int) float64 { return squares })
		if got := Max(x); float64(got) != top {
			t.Errorf("the largest of %d is %g, not %g", n, got, top)
		}
	}
}

// Values at the ends of the range come out as they do in plain Go, NaN as NaN.
func TestExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, -inf, -1000, -104, -88, 88, 200, 1000, nan, 1e-30, -1e-30, 30, -30, 5, -5, 1, 2, 3, -1, -2}
	y := make([]float32, len(x))
	Exp(y, x, 1, 0)
	for i, v := range x {
		w := math.Exp(float64(v))
		if g := float64(y[i]); math.IsNaN(w) != math.IsNaN(g) || w > 3e38 && !math.IsInf(g, 1) || w < 3e38 && math.Abs(g-w) > 2e-6*w+1.2e-38 {
			t.Errorf("exp(%g) is %g, not %g", v, g, w)
		}
	}
	x[7] = inf
	GELU(y, x)
	if !math.IsNaN(float64(y[8])) || y[7] != inf || y[11] != 30 || y[12] != 0 {
		t.Errorf("gelu of NaN, infinity, 30 and -30: %v %v %v %v", y[8], y[7], y[11], y[12])
	}
	hidden := []float32{-inf, -inf, -inf}
	Softmax(hidden, 2)
	near(t, "softmax of nothing", hidden, 0, func(int) float64 { return 0 })
	broken := make([]float32, 32) // a NaN among hidden keys is not taken for one
	for i := range broken {
		broken[i] = -inf
	}
	broken[0] = nan
	Softmax(broken, 2)
	near(t, "softmax with NaN", broken, 0, func(int) float64 { return math.NaN() })
	some := []float32{-inf, 1, 1}
	Softmax(some, 2)
	near(t, "softmax", some, 1e-6, func(i int) float64 { return []float64{0, 0.5, 0.5}[i] })
}

// Every binary16 number.
func TestWiden(t *testing.T) {
	h, y, want := make([]uint16, 1<<16+3), make([]float32, 1<<16+3), make([]float32, 1<<16+3)
	for i := range h {
		h[i] = uint16(i)
	}
	Widen(y, h)
	plainWiden(want, h)
	for i := range h {
		e, f, sign := h[i]>>10&31, float64(h[i]&1023), 1-2*float64(h[i]>>15)
		exact := sign * math.Ldexp(1+f/1024, int(e)-15)
		switch {
		case e == 0:
			exact = sign * math.Ldexp(f/1024, -14)
		case e == 31 && f == 0:
			exact = math.Inf(int(sign))
		case e == 31:
			exact = math.NaN()
		}
		for _, got := range []float32{y[i], want[i]} {
			if g := float64(got); g != exact && !(math.IsNaN(exact) && math.IsNaN(g)) {
				t.Fatalf("%04x is %g, not %g", h[i], g, exact)
			}
		}
	}
}

func TestTile(t *testing.T) {
	for _, columns := range []int{Columns, HalfColumns} {
		for _, k := range []int{1, 2, 5, 64, 257} {
			for _, add := range []bool{false, true} {
				a, b, pitch := normal(Rows*k, 1), normal(k*columns, 1), columns+3
				c := normal(Rows*pitch, 1)
				want := append([]float32(nil), c...)
				left := &Left{}
				for r := range left {
					left[r] = &a[r*k]
				}
				Tile(k, left, b, c, pitch, columns, add)
				for r := range Rows {
					for j := range columns {
						sum := 0.0
						if add {
							sum = float64(want[r*pitch+j])
						}
						for i := range k {
							sum += float64(a[r*k+i]) * float64(b[i*columns+j])
						}
						if got := float64(c[r*pitch+j]); math.Abs(got-sum) > 1e-5*math.Sqrt(float64(k)) {
							t.Fatalf("%s: k %d, %d columns, add %v: [%d %d] is %g, not %g", Name(), k, columns, add, r, j, got, sum)
						}
					}
					for j := columns; j < pitch; j++ {
						if c[r*pitch+j] != want[r*pitch+j] {
							t.Fatalf("k %d, %d columns: wrote beyond row %d", k, columns, r)
						}
					}
				}
				plain := append([]float32(nil), want...)
				plainTile(k, left, b, plain, pitch, columns, add)
				near(t, "tile against plain", c, 1e-5, func(i int) float64 { return float64(plain[i]) })
			}
		}
	}
}

var sink float32

func BenchmarkPeak(b *testing.B) {
	for b.Loop() {
		sink += Peak(1000)
	}
	b.ReportMetric(1000*PeakFLOPs*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkTile(b *testing.B) {
	const k = 320
	x, w, c := normal(Rows*k, 1), normal(k*Columns, 1), make([]float32, Rows*Columns)
	left := &Left{}
	for r := range left {
		left[r] = &x[r*k]
	}
	for b.Loop() {
		Tile(k, left, w, c, Columns, Columns, true)
	}
	b.ReportMetric(2*k*Rows*Columns*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
