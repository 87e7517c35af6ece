package computetest

import (
	"fmt"

	"atelier/compute"
)

var _ = area("loss", lossCases)

// lossCases are ops that only training needs, and what is made of others for it.
func lossCases() []Case {
	var cs []Case
	for _, s := range [][]int{{1, 3}, {5, 6}, {2, 3, 8}, {65, 65}, {9, 1028}} {
		for _, smoothing := range []float64{0, 0.1} {
			rows := s[:len(s)-1]
			in := []In{{Shape: s, Scale: 2}, {Shape: rows, Kind: Index(s[len(s)-1])}}
			loss := func(in tensors) *compute.Tensor {
				return compute.CrossEntropy(in[0], compute.Affine(in[1], 1, -1), smoothing) // the first class is ignored
			}
			name := fmt.Sprint(s, " smoothing ", smoothing)
			cs = append(cs,
				Case{Op: "cross_entropy", Name: name, In: in, Grad: compute.Shape(s).Size() < 100, Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return loss(in) }},
				Case{Op: "cross_entropy_grad", Name: name, In: append(in, In{Shape: rows}), Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
					return compute.Grad(compute.Sum(compute.Mul(loss(in), in[2]), false), in[0])[0]
				}})
		}
	}
	for _, s := range [][]int{{1}, {7}, {5, 65}, {3, 4, 257}} {
		cs = append(cs, Case{Op: "dropout", Name: fmt.Sprint(s), In: []In{{Shape: s}}, Grad: true, Build: func(g *compute.Graph, in tensors) *compute.Tensor {
			key := g.Const("key", compute.RandomKey(0xfedcba9876543210, 3), compute.RandomKeySize)
			return compute.Dropout(compute.Dropout(in[0], key, 0.25, 0), key, 0.5, 1)
		}})
	}
	for _, c := range []struct {
		shape []int
		axis  int
	}{{[]int{1}, 0}, {[]int{2, 9}, 1}, {[]int{65, 3}, 0}, {[]int{3, 257, 5}, 1}, {[]int{2, 3, 1025}, -1}} {
		cs = append(cs, Case{Op: "cumsum", Name: fmt.Sprint(c.shape, " along ", c.axis), In: []In{{Shape: c.shape}}, Grad: compute.Shape(c.shape).Size() < 200,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.CumSum(in[0], c.axis) }})
	}
	return append(cs, Case{Op: "detach", Name: "straight through", In: []In{{Shape: []int{3, 5}}}, Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
		x := in[0]
		return compute.Add(x, compute.Detach(compute.Sub(compute.Round(x), x)))
	}})
}
