package compute_test

import (
	"testing"

	"atelier/compute"
)

func TestConv2D(t *testing.T) { checkOps(t, "conv2d") }

func TestConv2DShared(t *testing.T) { checkShared(t, "conv2d") }

func TestConv2DMistakes(t *testing.T) {
	conv := func(x, w []int, o compute.ConvOpts) func(g *compute.Graph) *compute.Tensor {
		return func(g *compute.Graph) *compute.Tensor {
			return compute.Conv2D(g.Input("x", x...), g.Input("w", w...), o)
		}
	}
	wantMistake(t, "conv2d: a convolution takes x [B H W C] and w [Co Kh Kw C], not [4 4 8] and [8 3 3 8]", conv([]int{4, 4, 8}, []int{8, 3, 3, 8}, compute.ConvOpts{}))
	wantMistake(t, "conv2d: the kernel [8 3 3 4] reads 4 channels in each of 1 groups, but x [1 4 4 8] has 8 in all", conv([]int{1, 4, 4, 8}, []int{8, 3, 3, 4}, compute.ConvOpts{}))
	wantMistake(t, "conv2d: 3 groups do not divide 8 channels in and 8 out", conv([]int{1, 4, 4, 8}, []int{8, 3, 3, 8}, compute.ConvOpts{Groups: 3}))
	wantMistake(t, "conv2d: a 5×5 kernel does not fit 4×4 pixels", conv([]int{1, 4, 4, 8}, []int{8, 5, 5, 8}, compute.ConvOpts{}))
	wantMistake(t, "conv2d: padding -1 is negative on side 2", conv([]int{1, 4, 4, 8}, []int{8, 3, 3, 8}, compute.ConvOpts{Pad: [4]int{0, 0, -1, 0}}))
	wantMistake(t, "conv2d: stride [-1 1] and dilation [1 1] must be positive", conv([]int{1, 4, 4, 8}, []int{8, 3, 3, 8}, compute.ConvOpts{Stride: [2]int{-1, 1}}))
	wantMistake(t, "conv2d: bias [4] does not fit the result [1 2 2 8]: it must be [8] or [1 8]", func(g *compute.Graph) *compute.Tensor {
		return compute.Conv2D(g.Input("x", 1, 4, 4, 8), g.Input("w", 8, 3, 3, 8), compute.ConvOpts{Bias: g.Input("b", 4)})
	})
	wantMistake(t, "conv2d: a 1-D convolution takes x [B T C] and w [Co K C], not [1 4 4 8] and [8 3 8]", func(g *compute.Graph) *compute.Tensor {
		return compute.Conv1D(g.Input("x", 1, 4, 4, 8), g.Input("w", 8, 3, 8), compute.ConvOpts{})
	})
}
