package computetest

import (
	"fmt"

	"atelier/compute"
)

var _ = area("layout", layoutCases)

func layoutCases() []Case {
	var cs []Case
	cs = append(cs, reshapeCases()...)
	cs = append(cs, gatherCases()...)
	cs = append(cs, concatCases()...)
	cs = append(cs, sliceCases()...)
	cs = append(cs, permuteCases()...)
	cs = append(cs, resizeCases()...)
	cs = append(cs, shuffleCases()...)
	return cs
}

// exact is for ops that only move values.
const exact = 1e-30

func reshapeCases() []Case {
	return []Case{
		{Op: "reshape", Name: "of a result", In: []In{{Shape: []int{3, 4, 5}}}, Grad: true, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Reshape(compute.Neg(in[0]), 5, -1) }},
		{Op: "reshape", Name: "of a parameter", In: []In{{Shape: []int{63}, Param: true}}, Grad: true, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Neg(compute.Reshape(in[0], 7, 9)) }},
		{Op: "reshape", Name: "as an output", In: []In{{Shape: []int{65, 1}}}, Grad: true, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Reshape(in[0], 5, 13) }},
	}
}

func gatherCases() []Case {
	var cs []Case
	for _, c := range []struct{ v, c, ids int }{{1, 1, 1}, {3, 4, 5}, {65, 63, 7}, {257, 64, 65}, {10, 3, 257}} {
		in := []In{{Shape: []int{c.v, c.c}}, {Shape: []int{c.ids}, Kind: Index(c.v)}}
		cs = append(cs,
			Case{Op: "embedding", Name: fmt.Sprint(c.v, c.c, c.ids), In: in, Grad: c.v < 50, Tol: exact,
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Embedding(in[0], in[1]) }},
			Case{Op: "gather_grad", Name: fmt.Sprint(c.v, c.c, c.ids), In: append([]In{{Shape: []int{c.ids, c.c}}}, in...), Grad: c.v < 50,
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
					return compute.Grad(compute.Sum(compute.Mul(compute.Embedding(in[1], in[2]), in[0]), false), in[1])[0]
				}})
	}
	for i := range cs { // the result of gather_grad depends on its table's shape alone
		if cs[i].Op == "gather_grad" {
			cs[i].In[1].NoGrad = true
		}
	}
	for _, c := range []struct {
		x    []int
		axis int
		ids  []int
	}{{[]int{5}, 0, []int{3}}, {[]int{2, 5, 3}, 1, []int{4}}, {[]int{2, 5, 8}, 1, []int{2, 2}}, {[]int{3, 7}, -1, []int{65}}} {
		axis := (c.axis + len(c.x)) % len(c.x)
		cs = append(cs, Case{Op: "gather", Name: fmt.Sprint(c.x, c.axis, c.ids), Grad: true, Tol: exact,
			In:    []In{{Shape: c.x}, {Shape: c.ids, Kind: Index(c.x[axis])}},
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Gather(in[0], c.axis, in[1]) }})
	}
	return append(cs,
		Case{Op: "gather", Name: "clamped", In: []In{{Shape: []int{4, 3}}, {Shape: []int{9}, Scale: 5}}, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.Gather(in[0], 0, compute.Floor(in[1]))
			}},
		Case{Op: "embedding", Name: "half", In: []In{{Shape: []int{50, 12}, F16: true}, {Shape: []int{2, 9}, Kind: Index(50)}}, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Embedding(in[0], in[1]) }})
}

func concatCases() []Case {
	var cs []Case
	for _, c := range []struct {
		axis   int
		shapes [][]int
	}{
		{0, [][]int{{1}, {3}}}, {-1, [][]int{{2, 4}, {2, 8}}}, {-1, [][]int{{3, 63}, {3, 1}, {3, 65}}}, {1, [][]int{{2, 3, 8}, {2, 5, 8}}},
		{0, [][]int{{257, 5}, {1, 5}}}, {-1, [][]int{{2, 9, 9, 4}, {2, 9, 9, 4}, {2, 9, 9, 1}}},
	} {
		var in []In
		n := 0
		for _, s := range c.shapes {
			in = append(in, In{Shape: s})
			n += compute.Shape(s).Size()
		}
		cs = append(cs, Case{Op: "concat", Name: fmt.Sprint(c.axis, c.shapes), In: in, Grad: n < 500, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Concat(c.axis, in...) }})
	}
	return append(cs,
		Case{Op: "concat", Name: "the same twice", In: []In{{Shape: []int{3, 4}}}, Grad: true, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Concat(1, in[0], in[0]) }},
		Case{Op: "concat", Name: "1x64x64 320+320", In: []In{{Shape: []int{4096, 320}, Param: true}, {Shape: []int{4096, 320}, Param: true}}, Bench: true, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Concat(-1, in...) }})
}

func sliceCases() []Case {
	var cs []Case
	for _, c := range []struct {
		shape            []int
		axis, start, end int
	}{
		{[]int{3}, 0, 1, 2}, {[]int{5, 64}, 1, 4, 36}, {[]int{5, 64}, 1, 3, 60}, {[]int{5, 63}, 0, -2, 5}, {[]int{2, 65, 8}, 1, 1, 65}, {[]int{2, 9, 3}, -2, 0, -1},
	} {
		cs = append(cs, Case{Op: "slice", Name: fmt.Sprint(c.shape, c.axis, c.start, c.end), In: []In{{Shape: c.shape}}, Grad: compute.Shape(c.shape).Size() < 400, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.Slice(in[0], c.axis, c.start, c.end)
			}})
	}
	for _, c := range []struct{ shape, before, after []int }{
		{[]int{1}, []int{1}, []int{1}}, {[]int{3, 5}, []int{0, 2}, []int{1, 0}}, {[]int{2, 4, 5, 8}, []int{0, 0, 0, 0}, []int{0, 1, 1, 0}},
		{[]int{2, 4, 5, 3}, []int{0, 1, 2, 0}, []int{0, 3, 0, 0}}, {[]int{65, 64}, []int{0, 4}, []int{0, 8}}, {[]int{2, 2, 2, 2, 2, 2}, []int{1, 0, 1, 0, 1, 0}, []int{0, 1, 0, 1, 0, 1}},
		{[]int{2, 3}, []int{0, 0}, []int{0, 0}},
	} {
		cs = append(cs, Case{Op: "pad", Name: fmt.Sprint(c.shape, c.before, c.after), In: []In{{Shape: c.shape}}, Grad: compute.Shape(c.shape).Size() < 400, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Pad(in[0], c.before, c.after, -1.5) }})
	}
	return cs
}

func permuteCases() []Case {
	var cs []Case
	for _, c := range []struct{ shape, axes []int }{
		{[]int{3, 5}, []int{1, 0}}, {[]int{65, 64}, []int{1, 0}}, {[]int{2, 9, 8}, []int{1, 0, 2}}, {[]int{2, 3, 5, 4}, []int{0, 3, 1, 2}},
		{[]int{2, 4, 5, 3}, []int{0, 2, 3, 1}}, {[]int{2, 3, 4, 5, 6}, []int{4, 2, 0, 3, 1}}, {[]int{2, 3, 2, 3, 2, 3}, []int{5, 3, 1, 4, 2, 0}}, {[]int{1, 257, 1}, []int{2, 0, 1}},
	} {
		cs = append(cs, Case{Op: "permute", Name: fmt.Sprint(c.shape, c.axes), In: []In{{Shape: c.shape}}, Grad: compute.Shape(c.shape).Size() < 400, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Permute(in[0], c.axes...) }})
	}
	for _, c := range []struct{ from, to []int }{
		{[]int{1}, []int{65}}, {[]int{64}, []int{3, 64}}, {[]int{63, 1}, []int{2, 63, 5}}, {[]int{3, 1, 4}, []int{3, 7, 4}}, {[]int{5, 1}, []int{5, 8}},
	} {
		cs = append(cs, Case{Op: "broadcast", Name: fmt.Sprint(c.from, c.to), In: []In{{Shape: c.from}}, Grad: true, Tol: exact,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.BroadcastTo(in[0], c.to...) }})
	}
	return append(cs, Case{Op: "permute", Name: "1x64x64x320 to channels first", In: []In{{Shape: []int{4096, 320}, Param: true}}, Bench: true, Tol: exact,
		Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Permute(in[0], 1, 0) }})
}

func resizeCases() []Case {
	var cs []Case
	for _, c := range []struct{ b, h, w, c, to, tw int }{
		{1, 1, 1, 1, 1, 1}, {1, 1, 3, 4, 3, 1}, {2, 4, 5, 3, 8, 10}, {1, 7, 9, 8, 5, 4}, {2, 3, 3, 4, 7, 11}, {1, 63, 65, 4, 64, 63},
	} {
		in, grad, name := In{Shape: []int{c.b, c.h, c.w, c.c}}, c.h < 10, fmt.Sprint(c)
		back := []In{{Shape: []int{c.b, c.to, c.tw, c.c}}, {Shape: in.Shape, NoGrad: true}}
		collect := func(f func(x *compute.Tensor) *compute.Tensor) func(*compute.Graph, tensors) *compute.Tensor {
			return func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.Grad(compute.Sum(compute.Mul(f(in[1]), in[0]), false), in[1])[0]
			}
		}
		nearest := func(x *compute.Tensor) *compute.Tensor { return compute.ResizeNearest(x, c.to, c.tw) }
		cs = append(cs,
			Case{Op: "resize_nearest", Name: name, In: []In{in}, Grad: grad, Tol: exact, Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return nearest(in[0]) }},
			Case{Op: "resize_nearest_grad", Name: name, In: back, Grad: grad, Build: collect(nearest)})
		for _, corners := range []bool{false, true} {
			linear := func(x *compute.Tensor) *compute.Tensor { return compute.ResizeBilinear(x, c.to, c.tw, corners) }
			cs = append(cs,
				Case{Op: "resize_bilinear", Name: fmt.Sprint(name, corners), In: []In{in}, Grad: grad, Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return linear(in[0]) }},
				Case{Op: "resize_bilinear_grad", Name: fmt.Sprint(name, corners), In: back, Grad: grad, Build: collect(linear)})
		}
	}
	return append(cs, Case{Op: "resize_nearest", Name: "32x32x320 doubled", In: []In{{Shape: []int{1, 32, 32, 320}, Param: true}}, Bench: true, Tol: exact,
		Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.ResizeNearest(in[0], 64, 64) }})
}

func shuffleCases() []Case {
	var cs []Case
	for _, c := range []struct{ b, h, w, c, r int }{{1, 1, 1, 1, 1}, {1, 2, 3, 1, 2}, {2, 3, 2, 4, 2}, {1, 5, 3, 3, 3}, {1, 9, 7, 16, 2}} {
		grad := c.b*c.h*c.w*c.c < 100
		cs = append(cs,
			Case{Op: "pixel_shuffle", Name: fmt.Sprint(c), In: []In{{Shape: []int{c.b, c.h, c.w, c.c * c.r * c.r}}}, Grad: grad, Tol: exact,
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.PixelShuffle(in[0], c.r) }},
			Case{Op: "pixel_unshuffle", Name: fmt.Sprint(c), In: []In{{Shape: []int{c.b, c.h * c.r, c.w * c.r, c.c}}}, Grad: grad, Tol: exact,
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.PixelUnshuffle(in[0], c.r) }})
	}
	return cs
}
