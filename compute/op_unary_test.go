package compute_test

import (
	"math"
	"testing"

	"atelier/compute"
)

func TestUnary(t *testing.T) {
	checkOps(t, "neg", "abs", "square", "sqrt", "rsqrt", "exp", "log", "sin", "cos", "tanh", "sigmoid", "relu", "silu", "gelu",
		"gelu_tanh", "quick_gelu", "softplus", "floor", "reciprocal", "affine", "clamp", "leaky_relu",
		"sign", "step", "silu_grad", "gelu_grad", "gelu_tanh_grad", "quick_gelu_grad", "clamp_grad")
}

// TestUnaryExtremes holds devices to the definition on infinities, zeros and large arguments, and NaN to NaN.
func TestUnaryExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, 1e-6, -1e-6, 30, -30, 100, -100, inf, nan, 1e-20}
	kinds := map[string]func(*compute.Tensor) *compute.Tensor{
		"silu": compute.SiLU, "gelu": compute.GELU, "gelu_tanh": compute.GELUTanh, "quick_gelu": compute.QuickGELU,
		"softplus": compute.Softplus, "sigmoid": compute.Sigmoid, "tanh": compute.Tanh, "relu": compute.ReLU, "abs": compute.Abs,
		"clamp":      func(x *compute.Tensor) *compute.Tensor { return compute.Clamp(x, -1, 1) },
		"leaky_relu": func(x *compute.Tensor) *compute.Tensor { return compute.LeakyReLU(x, 0.1) },
	}
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	for name, build := range kinds {
		var want []float32
		for _, dev := range []compute.Device{devs[1], devs[0]} {
			g := compute.NewGraph()
			got := runOn(t, dev, g, build(g.Input("x", len(x))), map[string][]float32{"x": x})
			if want == nil {
				want = got
				if !math.IsNaN(float64(got[8])) {
					t.Errorf("%s on %s: NaN gives %v", name, dev.Name(), got[8])
				}
				continue
			}
			for i := range x {
				g, w := float64(got[i]), float64(want[i])
				if math.IsNaN(g) != math.IsNaN(w) || g != w && !math.IsNaN(w) && !(math.Abs(g-w) <= 2e-6*math.Max(1, math.Abs(w))) {
					t.Errorf("%s on %s: %v gives %v, not %v", name, dev.Name(), x[i], g, w)
				}
			}
		}
	}
}

// TestSineFarOut: angles of a thousand radians keep their digits.
func TestSineFarOut(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{999, -999, 314.15927, 6283.1855, 12345.678}
	for _, dev := range devs {
		g := compute.NewGraph()
		in := g.Input("x", len(x))
		got := runOn(t, dev, g, compute.Concat(0, compute.Sin(in), compute.Cos(in)), map[string][]float32{"x": x})
		for i, v := range x {
			if s, c := math.Sin(float64(v)), math.Cos(float64(v)); math.Abs(float64(got[i])-s) > 1e-5 || math.Abs(float64(got[i+len(x)])-c) > 1e-5 {
				t.Errorf("%s: sin and cos of %v are %v and %v, not %v and %v", dev.Name(), v, got[i], got[i+len(x)], s, c)
			}
		}
	}
}

func TestUnaryMistakes(t *testing.T) {
	wantMistake(t, "clamp: the range 2 to 1 is empty", func(g *compute.Graph) *compute.Tensor {
		return compute.Clamp(g.Input("x", 3), 2, 1)
	})
}
