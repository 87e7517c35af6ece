package computetest

import (
	"fmt"

	"atelier/compute"
)

var _ = area("norm", normCases)

func normCases() []Case {
	var cs []Case
	cs = append(cs, groupNormCases()...)
	cs = append(cs, rowNormCases()...)
	cs = append(cs, softmaxCases()...)
	cs = append(cs, reduceCases()...)
	return cs
}

// offset moves values far from zero, where a careless variance loses its digits.
const offset = 200.0

func groupNormCases() []Case {
	var cs []Case
	affine := func(groups int, act compute.Act) func(*compute.Graph, tensors) *compute.Tensor {
		return func(_ *compute.Graph, in tensors) *compute.Tensor {
			return compute.GroupNorm(in[0], in[1], in[2], groups, 1e-5, act)
		}
	}
	for _, c := range []struct {
		shape  []int
		groups int
		act    compute.Act
		grad   bool
	}{
		{[]int{1, 1, 4}, 1, compute.ActNone, false},
		{[]int{1, 3, 3}, 1, compute.ActNone, true},
		{[]int{2, 5, 6}, 3, compute.ActSiLU, true},
		{[]int{2, 3, 3, 8}, 2, compute.ActSiLU, true},
		{[]int{2, 63, 8}, 4, compute.ActReLU, false},
		{[]int{3, 65, 12}, 4, compute.ActGELU, false},
		{[]int{2, 257, 64}, 32, compute.ActNone, false},
		{[]int{1, 9, 7, 30}, 5, compute.ActSiLU, false},
		{[]int{2, 64}, 8, compute.ActNone, false},
		{[]int{1, 2, 1280}, 32, compute.ActSiLU, false},
		{[]int{2, 9, 7, 64}, 8, compute.ActSiLU, false},
		{[]int{2, 16, 16, 64}, 32, compute.ActNone, false},
		{[]int{9, 300, 12}, 1, compute.ActSiLU, false},
		{[]int{2, 41, 41, 32}, 4, compute.ActNone, false},
	} {
		ch := []int{compute.Shape(c.shape).Last()}
		cs = append(cs, Case{Op: "group_norm", Name: fmt.Sprint(c.shape, " by ", c.groups, " ", c.act), Grad: c.grad,
			In: []In{{Shape: c.shape}, {Shape: ch, Param: true}, {Shape: ch, Param: true}}, Build: affine(c.groups, c.act)})
	}
	for _, s := range [][]int{{1, 64, 64, 320}, {2, 16, 16, 64}} {
		ch := []int{compute.Shape(s).Last()}
		cs = append(cs, Case{Op: "group_norm", Name: fmt.Sprint(s, " by 32 silu"), Bench: true, Build: affine(32, compute.ActSiLU),
			In: []In{{Shape: s, Param: true}, {Shape: ch, Param: true}, {Shape: ch, Param: true}}})
	}
	return append(cs,
		Case{Op: "group_norm", Name: "without scale and shift", In: []In{{Shape: []int{2, 9, 12}}}, Grad: true,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.GroupNorm(in[0], nil, nil, 3, 1e-5, compute.ActNone)
			}},
		Case{Op: "group_norm", Name: "large mean", In: []In{{Shape: []int{2, 257, 16}}}, Tol: 2e-4,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.GroupNorm(compute.Affine(in[0], 1, offset), nil, nil, 4, 1e-5, compute.ActNone)
			}},
		Case{Op: "group_norm", Name: "half", Build: affine(2, compute.ActNone),
			In: []In{{Shape: []int{2, 7, 8}}, {Shape: []int{8}, F16: true}, {Shape: []int{8}, F16: true}}})
}

func rowNormCases() []Case {
	var cs []Case
	for _, s := range [][]int{{1, 1, 4}, {3, 3}, {2, 63}, {5, 64}, {65, 65}, {17, 257}, {33, 768}} {
		ch, grad := []int{compute.Shape(s).Last()}, compute.Shape(s).Size() < 400 && s[0] > 1
		cs = append(cs,
			Case{Op: "layer_norm", Name: fmt.Sprint(s), Grad: grad, In: []In{{Shape: s}, {Shape: ch, Param: true}, {Shape: ch, Param: true}},
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
					return compute.LayerNorm(in[0], in[1], in[2], 1e-5)
				}},
			Case{Op: "layer_norm", Name: fmt.Sprint(s, " plain"), Grad: grad, In: []In{{Shape: s}},
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.LayerNorm(in[0], nil, nil, 1e-5) }},
			Case{Op: "rms_norm", Name: fmt.Sprint(s), Grad: grad, In: []In{{Shape: s}, {Shape: ch, Param: true}},
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.RMSNorm(in[0], in[1], 1e-6) }},
			Case{Op: "rms_norm", Name: fmt.Sprint(s, " plain"), Grad: grad, In: []In{{Shape: s}},
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.RMSNorm(in[0], nil, 1e-6) }})
	}
	return append(cs,
		Case{Op: "layer_norm", Name: "large mean", In: []In{{Shape: []int{20, 257}}}, Tol: 2e-4,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.LayerNorm(compute.Affine(in[0], 1, offset), nil, nil, 1e-5)
			}},
		Case{Op: "layer_norm", Name: "shift only", In: []In{{Shape: []int{4, 12}}, {Shape: []int{12}}}, Grad: true,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.LayerNorm(in[0], nil, in[1], 1e-5) }},
		Case{Op: "layer_norm", Name: "4096x320", In: []In{{Shape: []int{4096, 320}, Param: true}, {Shape: []int{320}, Param: true}, {Shape: []int{320}, Param: true}}, Bench: true,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.LayerNorm(in[0], in[1], in[2], 1e-5)
			}})
}

func softmaxCases() []Case {
	var cs []Case
	build := func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Softmax(in[0]) }
	for _, s := range [][]int{{1}, {3, 3}, {2, 4, 8}, {5, 63}, {65, 64}, {16, 77}, {1, 257}, {3, 1028}} {
		cs = append(cs, Case{Op: "softmax", Name: fmt.Sprint(s), In: []In{{Shape: s, Scale: 2}}, Grad: compute.Shape(s).Size() < 100, Build: build})
	}
	return append(cs,
		Case{Op: "softmax", Name: "huge", In: []In{{Shape: []int{20, 20}, Scale: 1e4}}, Build: build},
		Case{Op: "softmax", Name: "4096x1024", In: []In{{Shape: []int{4096, 1024}, Param: true}}, Build: build, Bench: true})
}

func reduceCases() []Case {
	var cs []Case
	kinds := []struct {
		op    string
		build func(*compute.Tensor, bool, ...int) *compute.Tensor
		kind  Kind
	}{{"sum", compute.Sum, Normal}, {"mean", compute.Mean, Normal}, {"max", compute.MaxOf, Distinct}, {"sum_squares", compute.SumSquares, Normal}}
	for _, k := range kinds {
		for _, c := range []struct {
			shape []int
			keep  bool
			axes  []int
		}{
			{[]int{1}, false, nil}, {[]int{3}, false, nil}, {[]int{63}, true, nil}, {[]int{257}, false, []int{0}},
			{[]int{5, 64}, false, []int{-1}}, {[]int{64, 5}, false, []int{0}}, {[]int{65, 12}, true, []int{0}},
			{[]int{3, 65, 4}, true, []int{1}}, {[]int{2, 3, 5, 7}, false, []int{1, 3}}, {[]int{2, 3, 4, 8}, true, []int{0, 2}},
			{[]int{1, 3, 1}, false, []int{0, 2}}, {[]int{2, 3, 2, 3, 2}, false, []int{0, 2, 4}}, {[]int{2, 1000, 8}, false, []int{1}},
			{[]int{7, 4099}, false, []int{1}}, {[]int{100003}, false, nil},
		} {
			cs = append(cs, Case{Op: k.op, Name: fmt.Sprint(c.shape, " over ", c.axes, " ", c.keep), Grad: compute.Shape(c.shape).Size() < 100,
				In: []In{{Shape: c.shape, Kind: k.kind}}, Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return k.build(in[0], c.keep, c.axes...) }})
		}
		cs = append(cs, Case{Op: k.op, Name: "1x64x64x320 over rows", Bench: true, In: []In{{Shape: []int{4096, 320}, Param: true}},
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return k.build(in[0], false, 0) }})
	}
	return cs
}
