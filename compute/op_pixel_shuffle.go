package compute

import "fmt"

// PixelShuffleAttr is the factor between the two resolutions.
type PixelShuffleAttr struct{ Factor int }

// PixelShuffle spreads channels over space (Shi et al., 2016): x [B H W C·r²] gives [B rH rW C], where channel
// c·r² + i·r + j goes to row i and column j of each r×r square, PyTorch's order.
func PixelShuffle(x *Tensor, r int) *Tensor { return newNode(opPixelShuffle, &PixelShuffleAttr{r}, x) }

// PixelUnshuffle is PixelShuffle's inverse: x [B rH rW C] gives [B H W C·r²].
func PixelUnshuffle(x *Tensor, r int) *Tensor {
	return newNode(opPixelUnshuffle, &PixelShuffleAttr{r}, x)
}

var (
	opPixelShuffle = register(&Op{
		Name: "pixel_shuffle",
		Shape: func(n *Tensor) (Shape, error) {
			r, x := n.Attr.(*PixelShuffleAttr).Factor, n.In[0].shape
			if len(x) != 4 || r <= 0 || x[3]%(r*r) != 0 {
				return nil, fmt.Errorf("%v is not [B H W C·r²] for r = %d", x, r)
			}
			return Shape{x[0], x[1] * r, x[2] * r, x[3] / (r * r)}, nil
		},
		Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
			copyStrided(pixelShuffleSteps(n), in[0], out, lo, hi)
		},
		Lower: func(n *Tensor, lw *Lowering) []Launch {
			return []Launch{stridedCopy(n, lw, 0, pixelShuffleSteps(n))}
		},
	})
	opPixelUnshuffle = register(&Op{
		Name: "pixel_unshuffle",
		Shape: func(n *Tensor) (Shape, error) {
			r, x := n.Attr.(*PixelShuffleAttr).Factor, n.In[0].shape
			if len(x) != 4 || r <= 0 || x[1]%r != 0 || x[2]%r != 0 {
				return nil, fmt.Errorf("%v is not [B rH rW C] for r = %d", x, r)
			}
			return Shape{x[0], x[1] / r, x[2] / r, x[3] * r * r}, nil
		},
		Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
			copyStrided(pixelUnshuffleSteps(n), in[0], out, lo, hi)
		},
		Lower: func(n *Tensor, lw *Lowering) []Launch {
			return []Launch{stridedCopy(n, lw, 0, pixelUnshuffleSteps(n))}
		},
	})
)

// pixelShuffleSteps walks the result [B H r W r C] over the operand [B H W C r r].
func pixelShuffleSteps(n *Tensor) strided {
	r, x := n.Attr.(*PixelShuffleAttr).Factor, n.In[0].shape
	b, h, w, c := x[0], x[1], x[2], x[3]/(r*r)
	return newStrided(Shape{b, h, r, w, r, c}, []int{h * w * x[3], w * x[3], r, x[3], 1, r * r})
}

// pixelUnshuffleSteps walks the result [B H W C r r] over the operand [B H r W r C].
func pixelUnshuffleSteps(n *Tensor) strided {
	r, y := n.Attr.(*PixelShuffleAttr).Factor, n.shape
	b, h, w, c := y[0], y[1], y[2], y[3]/(r*r)
	row := w * r * c
	return newStrided(Shape{b, h, w, c, r, r}, []int{h * r * row, r * row, r * c, 1, row, c})
}

func init() {
	opPixelShuffle.VJP = func(n, dy *Tensor) []*Tensor {
		return []*Tensor{PixelUnshuffle(dy, n.Attr.(*PixelShuffleAttr).Factor)}
	}
	opPixelUnshuffle.VJP = func(n, dy *Tensor) []*Tensor {
		return []*Tensor{PixelShuffle(dy, n.Attr.(*PixelShuffleAttr).Factor)}
	}
}
