package compute_test

import (
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
