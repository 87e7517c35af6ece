package compute_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"atelier/compute"
)

func TestGroupNorm(t *testing.T) { checkOps(t, "group_norm") }

func TestRowNorms(t *testing.T) { checkOps(t, "layer_norm", "rms_norm") }

func TestSoftmax(t *testing.T) { checkOps(t, "softmax", "softmax_grad") }

func TestNormMistakes(t *testing.T) {
	wantMistake(t, "group_norm: 6 channels do not divide into 4 groups", func(g *compute.Graph) *compute.Tensor {
		return compute.GroupNorm(g.Input("x", 1, 6), nil, nil, 4, 1e-5, compute.ActNone)
	})
	wantMistake(t, "group_norm: scale and shift need shape [6], not [3]", func(g *compute.Graph) *compute.Tensor {
		return compute.GroupNorm(g.Input("x", 1, 6), g.Input("g", 6), g.Input("b", 3), 2, 1e-5, compute.ActNone)
	})
	wantMistake(t, "group_norm: x needs a batch and a channel axis, not [6]", func(g *compute.Graph) *compute.Tensor {
		return compute.GroupNorm(g.Input("x", 6), nil, nil, 2, 1e-5, compute.ActNone)
	})
	wantMistake(t, "layer_norm: scale and shift need shape [4], not [1 4]", func(g *compute.Graph) *compute.Tensor {
		return compute.LayerNorm(g.Input("x", 2, 4), g.Input("g", 1, 4), nil, 1e-5)
	})
	wantMistake(t, "rms_norm: scale and shift need shape [4], not [2]", func(g *compute.Graph) *compute.Tensor {
		return compute.RMSNorm(g.Input("x", 2, 4), g.Input("g", 2), 1e-5)
	})
}

// TestGroupNormFactors holds the factors of a picture in bands of uneven height to group norm of the whole, also where the mean is
// far above the deviation and the bands differ by more than either has.
func TestGroupNormFactors(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	const b, h, w, c, groups = 2, 97, 3, 8, 4
	r := rand.New(rand.NewPCG(8, 9))
	feed := map[string][]float32{"x": make([]float32, b*h*w*c), "gamma": make([]float32, c), "beta": make([]float32, c)}
	for i := range feed["x"] {
		feed["x"][i] = float32(200 + r.NormFloat64() + 3*math.Sin(float64(i/(w*c)%h)/20))
	}
	for i := range c {
		feed["gamma"][i], feed["beta"][i] = float32(r.NormFloat64()), float32(r.NormFloat64())
	}
	for _, dev := range devs {
		g := compute.NewGraph()
		x, gamma, beta := g.Input("x", b, h, w, c), g.Input("gamma", c), g.Input("beta", c)
		scale, shift := compute.GroupNormFactors([]*compute.Tensor{compute.Slice(x, 1, 0, 70), compute.Slice(x, 1, 70, 71), compute.Slice(x, 1, 71, h)}, gamma, beta, groups, 1e-5)
		g.Output("bands", compute.Add(compute.Mul(x, scale), shift))
		g.Output("whole", compute.GroupNorm(x, gamma, beta, groups, 1e-5, compute.ActNone))
		plan, err := g.Compile(dev.Limits())
		if err != nil {
			t.Fatal(err)
		}
		exe, err := dev.Load(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string][]float32{"bands": make([]float32, b*h*w*c), "whole": make([]float32, b*h*w*c)}
		err = exe.Run(t.Context(), feed, out)
		exe.Close()
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range out["whole"] {
			if got := out["bands"][i]; !(math.Abs(float64(got-want)) < 2e-4) {
				t.Fatalf("%s: element %d is %g in bands, %g in the whole", dev.Name(), i, got, want)
			}
		}
	}
}
