package compute_test

import (
	"testing"

	"atelier/compute"
)

func TestTrainingOps(t *testing.T) {
	checkOps(t, "cross_entropy", "cross_entropy_grad", "dropout", "cumsum", "detach", "sum_squares", "erf", "elu", "round")
}

// TestDropoutShare: about as many zeros as wanted, others where the site or the stream differs, the mean kept.
func TestDropoutShare(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	const n = 40000
	for _, dev := range devs {
		draw := func(stream uint32, site int) []float32 {
			g := compute.NewGraph()
			x := g.Const("x", ones(n), n)
			return runOn(t, dev, g, compute.Dropout(x, g.Input("key", compute.RandomKeySize), 0.2, site), map[string][]float32{"key": compute.RandomKey(1, stream)})
		}
		first := draw(1, 0)
		zeros := 0
		for _, v := range first {
			switch v {
			case 0:
				zeros++
			case 1.25:
			default:
				t.Fatalf("%s: an element is %v", dev.Name(), v)
			}
		}
		if zeros < n/5-300 || zeros > n/5+300 { // nearly four standard deviations
			t.Errorf("%s: %d of %d are zero", dev.Name(), zeros, n)
		}
		for _, other := range [][]float32{draw(2, 0), draw(1, 1)} {
			same := 0
			for i, v := range other {
				if v == first[i] {
					same++
				}
			}
			if same < n*67/100 || same > n*69/100 { // 0.8² + 0.2²
				t.Errorf("%s: %d of %d agree between streams or sites", dev.Name(), same, n)
			}
		}
	}
}

func ones(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

func TestTrainingOpMistakes(t *testing.T) {
	for want, build := range map[string]func(g *compute.Graph) *compute.Tensor{
		"want targets [2]": func(g *compute.Graph) *compute.Tensor {
			return compute.CrossEntropy(g.Input("x", 2, 3), g.Input("t", 3), 0)
		},
		"under 1": func(g *compute.Graph) *compute.Tensor { return compute.Dropout(g.Input("x", 2), g.Input("k", 8), 1, 0) },
		"a key needs": func(g *compute.Graph) *compute.Tensor {
			return compute.Dropout(g.Input("x", 2), g.Input("k", 2), 0.5, 0)
		},
		"axis 2": func(g *compute.Graph) *compute.Tensor { return compute.CumSum(g.Input("x", 2, 3), 2) },
		"no resolution": func(g *compute.Graph) *compute.Tensor {
			return compute.ResizeBicubic(g.Input("x", 1, 2, 2, 1), 0, 3, false)
		},
		"does not fit 2": func(g *compute.Graph) *compute.Tensor {
			return compute.AvgPool2D(g.Input("x", 1, 2, 2, 1), compute.PoolOpts{Kernel: [2]int{3, 3}})
		},
		"[B H W C]": func(g *compute.Graph) *compute.Tensor {
			return compute.MaxPool2D(g.Input("x", 2, 2), compute.PoolOpts{})
		},
		"is negative":      func(g *compute.Graph) *compute.Tensor { return compute.PadReplicate(g.Input("x", 2, 2), 0, -1, 0) },
		"not one of the 3": func(g *compute.Graph) *compute.Tensor { return compute.PadReflect(g.Input("x", 3), 0, 3, 0) },
	} {
		wantMistake(t, want, build)
	}
}

func TestFusedGradients(t *testing.T) {
	checkOps(t, "group_norm_grad", "group_norm_moments", "layer_norm_grad", "layer_norm_grad_gain", "rms_norm_grad", "rms_norm_grad_gain", "attention_grad")
}
