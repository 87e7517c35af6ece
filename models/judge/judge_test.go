package judge

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"atelier/models/diffusion"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*max(1, math.Abs(want))) {
		t.Errorf("%s is %.15g, want %.15g", what, got, want)
	}
}

func matrix(n, d int, f func(i, j float64) float64) Features {
	m := Features{N: n, D: d}
	for i := range n {
		for j := range d {
			m.X = append(m.X, float32(f(float64(i), float64(j))))
		}
	}
	return m
}

// realSet and madeSet are the features that the numbers below were computed from in numpy, by other routes: eigenvalues of Σ₁Σ₂,
// the singular values of the centred data's product where there are fewer rows than columns, full kernel and distance matrices.
func realSet(n, d int) Features {
	return matrix(n, d, func(i, j float64) float64 { return math.Sin(i*1.7 + j*0.9 + 0.3*i*j) })
}

func madeSet(n, d int) Features {
	return matrix(n, d, func(i, j float64) float64 { return math.Sin(i*1.1+j*1.3+0.2*i*j) + 0.3*math.Cos(j) })
}

func TestFIDAgainstNumpy(t *testing.T) {
	got, err := FID(realSet(40, 6), madeSet(50, 6))
	must(t, err)
	near(t, "FID", got, 0.33811113359512124, 1e-11)
	got, err = FID(realSet(5, 12), madeSet(7, 12))
	must(t, err)
	near(t, "FID of fewer rows than columns", got, 7.009822434844438, 1e-10)
	got, err = FID(realSet(40, 6), realSet(40, 6))
	must(t, err)
	near(t, "FID with itself", got, 0, 1e-12)
}

func TestFrechetInClosedForm(t *testing.T) {
	// diagonal: Σ (√a − √b)² + |Δμ|²
	g := func(mean []float64, variances ...float64) Gaussian {
		d := len(mean)
		c := make([]float64, d*d)
		for i, v := range variances {
			c[i*d+i] = v
		}
		return Gaussian{mean, c}
	}
	got, err := Frechet(g([]float64{0, 0, 1}, 4, 9, 0), g([]float64{1, 2, 1}, 1, 16, 25))
	must(t, err)
	near(t, "distance", got, 1+4+1+1+25, 1e-12)
	// a point and a Gaussian
	got, err = Frechet(g([]float64{3, 0}), g([]float64{0, 0}, 2, 5))
	must(t, err)
	near(t, "distance from a point", got, 9+7, 1e-12)
	// turned by 30°: Σ₂ = Q Σ₁ Qᵀ with Σ₁ = diag(4, 1). tr √(Σ₁Σ₂) = √(tr Σ₁Σ₂ + 2 √det(Σ₁Σ₂)); tr Σ₁Σ₂ = 4(4c²+s²) + (4s²+c²)
	c, s := math.Cos(math.Pi/6), math.Sin(math.Pi/6)
	turned := Gaussian{[]float64{0, 0}, []float64{4*c*c + s*s, 3 * c * s, 3 * c * s, 4*s*s + c*c}}
	got, err = Frechet(g([]float64{0, 0}, 4, 1), turned)
	must(t, err)
	near(t, "distance of a turned one", got, 10-2*math.Sqrt(4*(4*c*c+s*s)+4*s*s+c*c+2*4), 1e-12)
}

func TestMoments(t *testing.T) {
	g, err := Moments(Features{3, 2, []float32{0, 1, 2, 5, 4, 3}})
	must(t, err)
	for i, want := range []float64{2, 3} {
		near(t, "mean", g.Mean[i], want, 1e-15)
	}
	for i, want := range []float64{4, 2, 2, 4} {
		near(t, "covariance", g.Cov[i], want, 1e-14)
	}
}

func TestKIDAgainstNumpy(t *testing.T) {
	got, err := KID(t.Context(), realSet(40, 6), Features{40, 6, madeSet(50, 6).X[:240]}, KIDOptions{})
	must(t, err)
	near(t, "KID of everything", got.Mean, 0.034736935553089765, 1e-10)
	near(t, "its deviation", got.Deviation, 0, 0)
	// subsets scatter round the value of all rows: the estimate is unbiased
	real, made := realSet(40, 6), madeSet(50, 6)
	got, err = KID(t.Context(), real, made, KIDOptions{Subsets: 4000, Size: 20, Seed: 3})
	must(t, err)
	if bound := 4 * got.Deviation / math.Sqrt(4000); math.Abs(got.Mean-0.06158034837751902) > bound || got.Deviation < 0.02 || got.Deviation > 0.3 {
		t.Errorf("KID over subsets is %+v, want about 0.0616 within %v", got, bound)
	}
	again, err := KID(t.Context(), real, made, KIDOptions{Subsets: 4000, Size: 20, Seed: 3})
	must(t, err)
	other, err := KID(t.Context(), real, made, KIDOptions{Subsets: 4000, Size: 20, Seed: 4})
	must(t, err)
	if again != got || other == got {
		t.Errorf("%+v, again %+v, with another seed %+v", got, again, other)
	}
}

func TestSubsetsAreWithoutReplacement(t *testing.T) {
	counts := make([]int, 10)
	for stream := range uint32(2000) {
		seen := map[int]bool{}
		for _, r := range subset(1, stream, 10, 4) {
			seen[r] = true
			counts[r]++
		}
		if len(seen) != 4 {
			t.Fatalf("%d different rows", len(seen))
		}
	}
	for r, n := range counts {
		if n < 700 || n > 900 {
			t.Errorf("row %d was drawn %d times, want about 800", r, n)
		}
	}
}

func TestPrecisionRecallAgainstNumpy(t *testing.T) {
	m, err := PrecisionRecall(t.Context(), realSet(40, 6), madeSet(50, 6), 1)
	must(t, err)
	near(t, "precision", m.Precision, 0.66, 1e-12)
	near(t, "recall", m.Recall, 0.175, 1e-12)
	m, err = PrecisionRecall(t.Context(), realSet(40, 6), madeSet(50, 6), 0)
	must(t, err)
	if m != (Manifold{1, 1, 3}) {
		t.Errorf("%+v", m)
	}
}

func TestPrecisionRecallOfModesMissed(t *testing.T) {
	// real: two clusters; made: dense in one of them only, so all made lie among real, and half of real among made
	line := func(n int, from, step float64) []float32 {
		var x []float32
		for i := range n {
			x = append(x, float32(from+step*float64(i)))
		}
		return x
	}
	real := Features{20, 1, append(line(10, 0, 1), line(10, 100, 1)...)}
	made := Features{19, 1, line(19, 0, 0.5)}
	m, err := PrecisionRecall(t.Context(), real, made, 3)
	must(t, err)
	near(t, "precision", m.Precision, 1, 0)
	near(t, "recall", m.Recall, 0.5, 0)
}

func TestNearest(t *testing.T) {
	n, err := Nearest(t.Context(), Features{3, 6, madeSet(50, 6).X[:18]}, realSet(40, 6), 0)
	must(t, err)
	near(t, "typical distance", n.Typical, 0.7635931002137494, 1e-7)
	for i, want := range []struct {
		train    int
		distance float64
	}{{35, 0.77796285}, {1, 0.62143565}, {12, 0.55470619}} {
		if m := n.Matches[i]; m.Train != want.train || m.Memorised {
			t.Errorf("%+v, want %+v", m, want)
		}
		near(t, "distance", n.Matches[i].Distance, want.distance, 1e-7)
		near(t, "ratio", n.Matches[i].Ratio, want.distance/n.Typical, 1e-7)
	}
	train := realSet(40, 6)
	copied := Features{2, 6, append(append([]float32(nil), train.Row(7)...), make([]float32, 6)...)}
	for i, z := range diffusion.Noise(1, 0, 6) {
		copied.X[i] += 0.02 * z
		copied.X[6+i] = 10 * z
	}
	n, err = Nearest(t.Context(), copied, train, 0)
	must(t, err)
	if m := n.Matches; m[0].Train != 7 || !m[0].Memorised || m[1].Memorised || n.Memorised != 1 || n.Threshold != 0.5 {
		t.Errorf("%+v", n)
	}
}

func TestCopiesInTheTrainingSetDoNotCount(t *testing.T) {
	train := Features{5, 1, []float32{0, 0, 0, 10, 14}}
	n, err := Nearest(t.Context(), Features{1, 1, []float32{9}}, train, 0)
	must(t, err)
	if n.Typical != 4 || n.Matches[0].Ratio != 0.25 {
		t.Errorf("%+v", n)
	}
	if _, err := Nearest(t.Context(), train, Features{2, 1, []float32{1, 1}}, 0); err == nil || !strings.Contains(err.Error(), "have a copy") {
		t.Errorf("%v", err)
	}
}

func wave(f func(x, y float64) float64) Picture {
	p := Picture{H: 20, W: 24, C: 1}
	for y := range 20 {
		for x := range 24 {
			p.X = append(p.X, float32(f(float64(x), float64(y))))
		}
	}
	return p
}

func TestSSIMAndPSNRAgainstNumpy(t *testing.T) {
	a := wave(func(x, y float64) float64 { return 127 + 100*math.Sin(0.5*x)*math.Cos(0.3*y) })
	b := wave(func(x, y float64) float64 {
		return 127 + 100*math.Sin(0.5*x)*math.Cos(0.3*y) + 10*math.Sin(1.7*x+2.3*y)
	})
	got, err := SSIM(a, b, 255)
	must(t, err)
	near(t, "SSIM", got, 0.9800828916101092, 1e-10)
	got, err = PSNR(a, b, 255)
	must(t, err)
	near(t, "PSNR", got, 31.14130000649672, 1e-10)
	if got, err := SSIM(a, a, 255); err != nil || math.Abs(got-1) > 1e-12 {
		t.Errorf("SSIM with itself is %v, %v", got, err)
	}
	if got, err := PSNR(a, a, 255); err != nil || !math.IsInf(got, 1) {
		t.Errorf("PSNR with itself is %v, %v", got, err)
	}
	// channels count alike, and the range scales out
	two := func(p, q Picture, scale float64) Picture {
		m := Picture{H: p.H, W: p.W, C: 2}
		for i := range p.X {
			m.X = append(m.X, float32(float64(p.X[i])*scale), float32(float64(q.X[i])*scale))
		}
		return m
	}
	got, err = SSIM(two(a, a, 2.0/255), two(b, a, 2.0/255), 2)
	must(t, err)
	near(t, "SSIM of two channels", got, (1+0.9800828916101092)/2, 1e-6)
}

// TestSSIMOfFlatPictures has no structure: what is left is the luminance term.
func TestSSIMOfFlatPictures(t *testing.T) {
	got, err := SSIM(wave(func(x, y float64) float64 { return 100 }), wave(func(x, y float64) float64 { return 150 }), 255)
	must(t, err)
	c1 := 2.55 * 2.55
	near(t, "SSIM", got, (2*100*150+c1)/(100*100+150*150+c1), 1e-9)
	got, err = PSNR(wave(func(x, y float64) float64 { return 0 }), wave(func(x, y float64) float64 { return 0.5 }), 1)
	must(t, err)
	near(t, "PSNR", got, 20*math.Log10(2), 1e-12)
}

func TestWrongInputIsRefused(t *testing.T) {
	ctx := t.Context()
	good, nan := realSet(10, 3), realSet(10, 3)
	nan.X[7] = float32(math.NaN())
	for _, f := range []Features{{1, 3, good.X[:3]}, {10, 4, make([]float32, 40)}, {10, 3, good.X[:29]}, nan, {}} {
		_, err1 := FID(good, f)
		_, err2 := KID(ctx, f, good, KIDOptions{})
		_, err3 := PrecisionRecall(ctx, good, f, 0)
		_, err4 := Nearest(ctx, good, f, 0)
		if err1 == nil || err2 == nil || err3 == nil || err4 == nil {
			t.Errorf("%d × %d is taken: %v, %v, %v, %v", f.N, f.D, err1, err2, err3, err4)
		}
	}
	if _, err := SSIM(Picture{10, 20, 1, make([]float32, 200)}, Picture{10, 20, 1, make([]float32, 200)}, 1); err == nil || !strings.Contains(err.Error(), "at least 11 × 11") {
		t.Errorf("%v", err)
	}
	if _, err := PSNR(Picture{1, 2, 1, make([]float32, 2)}, Picture{2, 1, 1, make([]float32, 2)}, 1); err == nil {
		t.Error("pictures of two sizes are compared")
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := KID(stopped, good, good, KIDOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
