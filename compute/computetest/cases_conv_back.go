package computetest

import (
	"fmt"

	"atelier/compute"
)

func convTransposeCases() []Case {
	var cs []Case
	add := func(grad bool, x []int, co, kh, kw int, o compute.ConvTransposeOpts, bias bool) {
		in := []In{{Shape: x}, {Shape: []int{co, kh, kw, x[3] / max(o.Groups, 1)}}}
		if bias {
			in = append(in, In{Shape: []int{co}})
		}
		cs = append(cs, Case{Op: "conv_transpose2d", Name: fmt.Sprintf("%v by %v stride %v dilation %v pad %v more %v groups %d bias %v",
			x, in[1].Shape, o.Stride, o.Dilation, o.Pad, o.OutputPad, o.Groups, bias), In: in, Grad: grad,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				o := o
				if bias {
					o.Bias = in[2]
				}
				return compute.ConvTranspose2D(in[0], in[1], o)
			}})
	}
	two := [2]int{2, 2}
	add(true, []int{1, 3, 3, 2}, 3, 3, 3, compute.ConvTransposeOpts{}, true)
	add(true, []int{2, 3, 4, 4}, 4, 4, 4, compute.ConvTransposeOpts{Stride: two, Pad: [4]int{1, 1, 1, 1}}, true)
	add(true, []int{1, 4, 3, 4}, 8, 3, 3, compute.ConvTransposeOpts{Stride: two, Pad: [4]int{1, 1, 1, 1}, OutputPad: [2]int{1, 1}, Groups: 2}, false)
	add(true, []int{1, 3, 4, 3}, 6, 2, 3, compute.ConvTransposeOpts{Stride: [2]int{3, 1}, Dilation: [2]int{2, 2}, Pad: [4]int{0, 1, 2, 0}, OutputPad: [2]int{2, 0}, Groups: 3}, true)
	add(false, []int{2, 9, 7, 16}, 20, 5, 3, compute.ConvTransposeOpts{Stride: [2]int{2, 3}, Dilation: [2]int{1, 2}, Pad: [4]int{2, 1, 3, 0}}, true)
	add(false, []int{1, 1, 1, 64}, 17, 4, 4, compute.ConvTransposeOpts{}, false)
	add(false, []int{1, 16, 16, 12}, 65, 4, 4, compute.ConvTransposeOpts{Stride: two, Pad: [4]int{1, 1, 1, 1}}, true)
	add(false, []int{1, 4, 4, 512}, 4, 4, 4, compute.ConvTransposeOpts{Stride: two, Pad: [4]int{1, 1, 1, 1}}, true) // inner axis split
	return append(cs, Case{Op: "conv_transpose2d", Name: "1-D [2 9 6] by [4 5 6] stride 3", Grad: true,
		In: []In{{Shape: []int{2, 9, 6}}, {Shape: []int{4, 5, 6}}, {Shape: []int{4}}},
		Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
			return compute.ConvTranspose1D(in[0], in[1], compute.ConvTransposeOpts{Stride: [2]int{0, 3}, OutputPad: [2]int{0, 2}, Pad: [4]int{0, 0, 2, 1}, Bias: in[2]})
		}})
}

func convGradCases() []Case {
	var cs []Case
	add := func(grad bool, x []int, co, kh, kw int, o compute.ConvOpts) {
		g := compute.NewGraph()
		y := compute.Conv2D(g.Input("x", x...), g.Input("w", co, kh, kw, x[3]/max(o.Groups, 1)), o)
		cs = append(cs, Case{Op: "conv2d_grad_weight", Grad: grad,
			Name: fmt.Sprintf("%v by %d×%d to %d stride %v dilation %v pad %v groups %d", x, kh, kw, co, o.Stride, o.Dilation, o.Pad, o.Groups),
			In:   []In{{Shape: x}, {Shape: y.Shape()}},
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.Conv2DGradWeight(in[0], in[1], kh, kw, o)
			}})
	}
	add(true, []int{2, 4, 5, 3}, 2, 3, 3, same(1))
	add(true, []int{1, 5, 6, 4}, 8, 3, 2, compute.ConvOpts{Stride: [2]int{2, 1}, Pad: [4]int{1, 0, 0, 1}, Groups: 2})
	add(true, []int{1, 8, 9, 4}, 4, 2, 3, compute.ConvOpts{Stride: [2]int{2, 3}, Dilation: [2]int{2, 1}, Pad: [4]int{0, 1, 2, 0}})
	add(false, []int{2, 16, 15, 20}, 36, 3, 3, same(1))
	add(false, []int{1, 9, 9, 6}, 12, 5, 5, compute.ConvOpts{Pad: [4]int{2, 2, 2, 2}, Groups: 3})
	add(false, []int{1, 33, 31, 65}, 7, 1, 1, compute.ConvOpts{})
	return cs
}
