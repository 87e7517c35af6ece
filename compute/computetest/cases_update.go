package computetest

import (
	"fmt"
	"strings"

	"atelier/compute"
)

var _ = area("update", updateCases)

// variable is a variable that starts from x's values, which x, a parameter, has.
func variable(g *compute.Graph, name string, x *compute.Tensor) *compute.Tensor {
	return g.Param(name, &compute.Variable{Start: x.Src}, x.Shape()...)
}

// updateCases run each optimiser twice in a row, so that what the first leaves in every variable is seen in the second's result.
func updateCases() []Case {
	var cs []Case
	add := func(op, name string, states int, step func(v []*compute.Tensor, grad, scale, rate *compute.Tensor, k int)) {
		for _, n := range []int{1, 6, 1025} {
			in := []In{{Shape: []int{n}}, {Shape: []int{n}}, {Shape: []int{1}, Kind: Positive}}
			for i := range states + 1 {
				kind := Normal
				if i > 0 {
					kind = Positive
				}
				in = append(in, In{Shape: []int{n}, Kind: kind, Param: true})
			}
			tol := 0.0
			if strings.Contains(name, "centred true") { // the mean squared is taken off the mean of squares
				tol = 2e-4
			}
			cs = append(cs, Case{Op: op, Name: fmt.Sprint(name, " ", n), In: in, Tol: tol, Build: func(g *compute.Graph, in tensors) *compute.Tensor {
				var v tensors
				for i, x := range in[3:] {
					v = append(v, variable(g, fmt.Sprint("variable ", i), x))
				}
				for k := range 2 {
					rate := g.Const("rate", []float32{0.1, 0.1 / (0.1 * float32(k+1)), 0.3 * float32(k+1), 0}, 4)
					step(v, in[k], in[2], rate, k)
				}
				return v[0]
			}})
		}
	}
	for _, at := range []compute.AdamAttr{{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Decoupled: true}, {Beta1: 0.5, Beta2: 0.9, Eps: 1e-3, WeightDecay: 0.2}} {
		add("adam", fmt.Sprint("decoupled ", at.Decoupled), 2, func(v []*compute.Tensor, grad, scale, rate *compute.Tensor, _ int) {
			compute.Adam(v[0], v[1], v[2], grad, scale, rate, at)
		})
	}
	for _, at := range []compute.RMSPropAttr{{Alpha: 0.9, Eps: 1e-8}, {Alpha: 0.9, Eps: 1e-2, Centred: true, WeightDecay: 0.1}, {Alpha: 0.8, Eps: 1e-8, Momentum: 0.9}, {Alpha: 0.8, Eps: 1e-2, Momentum: 0.9, Centred: true}} {
		add("rmsprop", fmt.Sprint("momentum ", at.Momentum, " centred ", at.Centred), at.States(), func(v []*compute.Tensor, grad, scale, rate *compute.Tensor, _ int) {
			compute.RMSProp(v[0], v[1:], grad, scale, rate, at)
		})
	}
	for _, at := range []compute.SGDAttr{{WeightDecay: 0.1}, {Momentum: 0.9}, {Momentum: 0.9, Nesterov: true}} {
		add("sgd", fmt.Sprint("momentum ", at.Momentum, " nesterov ", at.Nesterov), 1, func(v []*compute.Tensor, grad, scale, rate *compute.Tensor, _ int) {
			compute.SGD(v[0], v[1], grad, scale, rate, at)
		})
	}
	add("accumulate", "average then sum", 0, func(v []*compute.Tensor, grad, _, rate *compute.Tensor, k int) {
		compute.Accumulate(v[0], grad, v[0].Graph().Const("coefficients", [][]float32{{0.9, 0.1, 0, 0}, {1, 1, 0, 0}}[k], 4))
	})
	add("accumulate", "assign", 0, func(v []*compute.Tensor, grad, _, _ *compute.Tensor, _ int) { compute.Assign(v[0], grad) })
	return cs
}
