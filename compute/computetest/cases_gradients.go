package computetest

import (
	"fmt"

	"atelier/compute"
)

var _ = area("gradients", gradientCases)

// gradientCases reach the ops that only gradients make, through the op that they belong to.
func gradientCases() []Case {
	var cs []Case
	// through is a case for op: the gradient of one operand of what build makes, for a gradient of the result that is the last operand.
	through := func(op, name string, wrt int, in []In, build func(in tensors) *compute.Tensor) {
		size := 0
		for _, x := range in {
			size += compute.Shape(x.Shape).Size()
		}
		cs = append(cs, Case{Op: op, Name: name, In: in, Tol: 1e-4, Grad: size < 500, Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
			y := build(in)
			return compute.Grad(compute.Sum(compute.Mul(y, in[len(in)-1]), false), in[wrt])[0]
		}})
	}
	for _, s := range [][]int{{2, 5, 6}, {1, 16, 16, 48}, {3, 70, 8}, {2, 33, 31, 12}} {
		for _, act := range []compute.Act{compute.ActNone, compute.ActSiLU, compute.ActGELU} {
			c := []int{s[len(s)-1]}
			in := []In{{Shape: s, Scale: 2}, {Shape: c}, {Shape: c}, {Shape: s}}
			build := func(in tensors) *compute.Tensor { return compute.GroupNorm(in[0], in[1], in[2], 2, 1e-5, act) }
			through("group_norm_grad", fmt.Sprint(s, " ", act), 0, in, build)
			through("group_norm_moments", fmt.Sprint(s, " ", act, " gamma"), 1, in, build)
			through("group_norm_moments", fmt.Sprint(s, " ", act, " beta"), 2, in, build)
		}
		through("group_norm_grad", fmt.Sprint(s, " plain"), 0, []In{{Shape: s}, {Shape: s}}, func(in tensors) *compute.Tensor {
			return compute.GroupNorm(compute.Affine(in[0], 1, 50), nil, nil, 2, 1e-5, compute.ActNone)
		})
	}
	for _, s := range [][]int{{1, 3}, {5, 64}, {300, 65}, {17, 257}} {
		c := []int{s[1]}
		for _, wrt := range []int{0, 1} {
			op := []string{"_grad", "_grad_gain"}[wrt]
			through("layer_norm"+op, fmt.Sprint(s), wrt, []In{{Shape: s}, {Shape: c}, {Shape: c}, {Shape: s}}, func(in tensors) *compute.Tensor {
				return compute.LayerNorm(in[0], in[1], in[2], 1e-5)
			})
			through("rms_norm"+op, fmt.Sprint(s), wrt, []In{{Shape: s}, {Shape: c}, {Shape: s}}, func(in tensors) *compute.Tensor {
				return compute.RMSNorm(in[0], in[1], 1e-5)
			})
		}
		through("layer_norm_grad", fmt.Sprint(s, " plain"), 0, []In{{Shape: s}, {Shape: s}}, func(in tensors) *compute.Tensor {
			return compute.LayerNorm(in[0], nil, nil, 1e-5)
		})
	}
	for _, s := range [][]int{{1}, {3, 3}, {2, 4, 8}, {5, 63}, {65, 64}, {17, 257}, {3, 1028}} {
		through("softmax_grad", fmt.Sprint(s), 0, []In{{Shape: s, Scale: 2}, {Shape: s}}, func(in tensors) *compute.Tensor {
			return compute.Softmax(in[0])
		})
	}
	for _, c := range []struct {
		b, h, hk, tq, tk, d int
		causal              bool
		mask                []int
	}{
		{1, 1, 1, 1, 1, 4, false, nil}, {2, 2, 2, 70, 33, 8, false, nil}, {1, 4, 2, 65, 130, 24, true, nil}, {2, 2, 1, 40, 40, 12, true, nil},
		{1, 2, 2, 33, 65, 16, false, []int{1, 2, 33, 65}}, {2, 3, 3, 9, 200, 32, false, []int{2, 1, 1, 200}}, {1, 2, 2, 12, 7, 64, true, nil},
		{1, 1, 1, 9, 11, 128, false, nil},
	} {
		q, k := []int{c.b, c.tq, c.h * c.d}, []int{c.b, c.tk, c.hk * c.d}
		in := []In{{Shape: q}, {Shape: k}, {Shape: k}}
		if c.mask != nil {
			in = append(in, In{Shape: c.mask})
		}
		in = append(in, In{Shape: q})
		for wrt, name := range []string{"q", "k", "v"} {
			through("attention_grad", fmt.Sprint(c, " ", name), wrt, in, func(in tensors) *compute.Tensor {
				o := compute.AttentionOpts{Heads: c.h, KVHeads: c.hk, Causal: c.causal}
				if c.mask != nil {
					o.Mask = in[3]
				}
				return compute.Attention(in[0], in[1], in[2], o)
			})
		}
	}
	return cs
}
