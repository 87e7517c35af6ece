package compute

import (
	"fmt"
	"math"
)

// ResizeAttr is the settings of a resize node and of its gradient: the resolution of the result.
type ResizeAttr struct {
	H, W         int
	AlignCorners bool // bilinear only

	nearest bool
}

// ResizeNearest gives x [B H W C] resolution h×w; pixel i of the result is pixel ⌊i·H/h⌋ of x, as PyTorch's "nearest".
func ResizeNearest(x *Tensor, h, w int) *Tensor {
	return newNode(opResizeNearest, &ResizeAttr{H: h, W: w, nearest: true}, x)
}

// ResizeBilinear gives x [B H W C] resolution h×w by linear interpolation without antialiasing, as PyTorch's "bilinear":
// between pixel centres, or with alignCorners between corner pixels.
func ResizeBilinear(x *Tensor, h, w int, alignCorners bool) *Tensor {
	return newNode(opResizeBilinear, &ResizeAttr{H: h, W: w, AlignCorners: alignCorners}, x)
}

var (
	opResizeNearest  = register(&Op{Name: "resize_nearest", Shape: resizeShape, Ref: resizeRef, Lower: resizeLower})
	opResizeBilinear = register(&Op{Name: "resize_bilinear", Shape: resizeShape, Ref: resizeRef, Lower: resizeLower})
	// The gradients take dy [B h w C] back to [B H W C]: each pixel collects what it was spread over.
	opResizeNearestGrad  = register(&Op{Name: "resize_nearest_grad", Shape: resizeShape, Ref: resizeGradRef, Lower: resizeGradLower})
	opResizeBilinearGrad = register(&Op{Name: "resize_bilinear_grad", Shape: resizeShape, Ref: resizeGradRef, Lower: resizeGradLower})
)

func resizeShape(n *Tensor) (Shape, error) {
	at, x := n.Attr.(*ResizeAttr), n.In[0].shape
	if len(x) != 4 {
		return nil, fmt.Errorf("x needs shape [B H W C], not %v", x)
	}
	return Shape{x[0], at.H, at.W, x[3]}, nil
}

// resizeAxis maps pixels of an axis of extent to back to an axis of extent from. PyTorch computes in float32, and so do
// the definition and the shaders: a rounding there can move a nearest pixel.
type resizeAxis struct {
	from, to      int
	scale, offset float32 // source = scale·i + offset
	nearest       bool
}

func newResizeAxis(at *ResizeAttr, from, to int) resizeAxis {
	a := resizeAxis{from: from, to: to, scale: float32(from) / float32(to), nearest: at.nearest}
	switch {
	case at.nearest:
	case at.AlignCorners && to > 1:
		a.scale = float32(from-1) / float32(to-1)
	case at.AlignCorners:
		a.scale = 0
	default:
		a.offset = 0.5*a.scale - 0.5
	}
	return a
}

// NearestSources lists, for the result's pixels along axis 1 or 2 of a resize_nearest node, the pixel that each is a copy of.
func NearestSources(n *Tensor, axis int) []int {
	a := newResizeAxis(n.Attr.(*ResizeAttr), n.In[0].shape[axis], n.shape[axis])
	out := make([]int, n.shape[axis])
	for i := range out {
		out[i], _, _ = a.source(i)
	}
	return out
}

// source gives the two pixels that result pixel i lies between, and the weight of the second.
func (a resizeAxis) source(i int) (i0, i1 int, w1 float64) {
	s := a.scale * float32(i)
	if a.nearest {
		i0 = min(int(math.Floor(float64(s))), a.from-1)
		return i0, i0, 0
	}
	s = max(s+a.offset, 0)
	i0 = min(int(s), a.from-1)
	return i0, min(i0+1, a.from-1), float64(s) - float64(i0)
}

// weight is how much of pixel p is in result pixel i.
func (a resizeAxis) weight(i, p int) float64 {
	i0, i1, w1 := a.source(i)
	w := 0.0
	if i0 == p {
		w += 1 - w1
	}
	if i1 == p {
		w += w1
	}
	return w
}

// reach bounds the result pixels that pixel p can be part of: first ≤ i < end, generously.
func (a resizeAxis) reach(p int) (first, end int) {
	if a.scale == 0 {
		return 0, a.to
	}
	first = int((float64(p)-1-float64(a.offset))/float64(a.scale)) - 1
	end = int((float64(p)+1-float64(a.offset))/float64(a.scale)) + 2
	if p == 0 {
		first = 0
	}
	if p == a.from-1 {
		end = a.to
	}
	return max(first, 0), min(end, a.to)
}

// resizeAxes are the vertical and horizontal maps of a resize between two shapes.
func resizeAxes(n *Tensor, before, after Shape) (v, h resizeAxis) {
	at := n.Attr.(*ResizeAttr)
	return newResizeAxis(at, before[1], after[1]), newResizeAxis(at, before[2], after[2])
}

func resizeRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	x, c := n.In[0].shape, n.shape[3]
	v, h := resizeAxes(n, x, n.shape)
	for i := lo; i < hi; {
		pixel, k := i/c, i%c
		y0, y1, wy := v.source(pixel / n.shape[2] % n.shape[1])
		x0, x1, wx := h.source(pixel % n.shape[2])
		top := pixel / (n.shape[1] * n.shape[2]) * x[1]
		at := func(row, col int) []float32 { return in[0][((top+row)*x[2]+col)*c:] }
		p00, p01, p10, p11 := at(y0, x0), at(y0, x1), at(y1, x0), at(y1, x1)
		for ; k < c && i < hi; i, k = i+1, k+1 {
			if v.nearest {
				out[i] = p00[k]
				continue
			}
			upper := float64(p00[k])*(1-wx) + float64(p01[k])*wx
			lower := float64(p10[k])*(1-wx) + float64(p11[k])*wx
			out[i] = float32(upper*(1-wy) + lower*wy)
		}
	}
}

func resizeGradRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	dy, c := n.In[0].shape, n.shape[3]
	v, h := resizeAxes(n, n.shape, dy)
	for i := lo; i < hi; i++ {
		pixel := i / c
		py, px := pixel/n.shape[2]%n.shape[1], pixel%n.shape[2]
		top := pixel / (n.shape[1] * n.shape[2]) * dy[1]
		y0, y1 := v.reach(py)
		x0, x1 := h.reach(px)
		sum := 0.0
		for y := y0; y < y1; y++ {
			wy := v.weight(y, py)
			for x := x0; x < x1 && wy != 0; x++ {
				sum += wy * h.weight(x, px) * float64(in[0][((top+y)*dy[2]+x)*c+i%c])
			}
		}
		out[i] = float32(sum)
	}
}

func init() {
	pair := func(op, grad *Op) {
		back := func(to *Op) func(n, dy *Tensor) []*Tensor {
			return func(n, dy *Tensor) []*Tensor {
				x := n.In[0].shape
				at := *n.Attr.(*ResizeAttr)
				at.H, at.W = x[1], x[2]
				return []*Tensor{newNode(to, &at, dy)}
			}
		}
		op.VJP, grad.VJP = back(grad), back(op)
	}
	pair(opResizeNearest, opResizeNearestGrad)
	pair(opResizeBilinear, opResizeBilinearGrad)
}

// uniforms of one axis; suffix is v or h.
func (a resizeAxis) uniforms(suffix string) []Uniform {
	return []Uniform{Int("from_"+suffix, a.from), Int("to_"+suffix, a.to), Float("scale_"+suffix, a.scale), Float("offset_"+suffix, a.offset)}
}

func resizeLower(n *Tensor, lw *Lowering) []Launch {
	v, h := resizeAxes(n, n.In[0].shape, n.shape)
	return resizeLaunch(n, lw, "resize", v, h)
}

func resizeGradLower(n *Tensor, lw *Lowering) []Launch {
	v, h := resizeAxes(n, n.shape, n.In[0].shape)
	return resizeLaunch(n, lw, "resize_grad", v, h)
}

func resizeLaunch(n *Tensor, lw *Lowering, shader string, v, h resizeAxis) []Launch {
	defines, columns := map[string]string{}, n.shape[3]
	if v.nearest {
		defines["NEAREST"] = "1"
	}
	if columns%4 == 0 {
		columns /= 4
	}
	u := append(v.uniforms("v"), h.uniforms("h")...)
	return []Launch{elementwise(n, lw, shader, n.shape[3]%4 == 0, defines, []Operand{{Name: "X", T: n.In[0]}},
		append(u, Int("columns", columns))...)}
}
