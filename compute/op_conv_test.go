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

func TestConvTranspose2D(t *testing.T) { checkOps(t, "conv_transpose2d") }

func TestConvTranspose2DShared(t *testing.T) { checkShared(t, "conv_transpose2d") }

func TestConv2DGradWeight(t *testing.T) { checkOps(t, "conv2d_grad_weight") }

func TestConv2DGradWeightShared(t *testing.T) { checkShared(t, "conv2d_grad_weight") }

func TestConvTranspose2DMistakes(t *testing.T) {
	wantMistake(t, "conv_transpose2d: output padding [2 0] must be smaller than the stride [2 2]", func(g *compute.Graph) *compute.Tensor {
		return compute.ConvTranspose2D(g.Input("x", 1, 4, 4, 8), g.Input("w", 8, 3, 3, 8), compute.ConvTransposeOpts{Stride: [2]int{2, 2}, OutputPad: [2]int{2, 0}})
	})
	wantMistake(t, "conv_transpose2d: padding [2 2 2 2] crops the whole result of [1 1 1 8]", func(g *compute.Graph) *compute.Tensor {
		return compute.ConvTranspose2D(g.Input("x", 1, 1, 1, 8), g.Input("w", 8, 3, 3, 8), compute.ConvTransposeOpts{Pad: [4]int{2, 2, 2, 2}})
	})
	wantMistake(t, "conv_transpose2d: bias [4] must be [8]", func(g *compute.Graph) *compute.Tensor {
		return compute.ConvTranspose2D(g.Input("x", 1, 4, 4, 8), g.Input("w", 8, 3, 3, 8), compute.ConvTransposeOpts{Bias: g.Input("b", 4)})
	})
	wantMistake(t, "conv2d_grad_weight: the convolution of [1 4 4 8] gives 2×2, but its gradient is [1 3 3 4]", func(g *compute.Graph) *compute.Tensor {
		return compute.Conv2DGradWeight(g.Input("x", 1, 4, 4, 8), g.Input("dy", 1, 3, 3, 4), 3, 3, compute.ConvOpts{})
	})
}
