package compute

import (
	"fmt"
	"math"
)

// Maps of pictures [B H W C] that are a matrix along each axis, or that pick pixels: resizing with other filters, pooling, and
// padding with the picture itself. They are made of products and of gathers, which bring their gradients.

// separable is x with rows mapped by a matrix [h H] and columns by one [w W].
func separable(x *Tensor, rows, columns [][]float64) *Tensor {
	b, h, w, c := x.shape[0], x.shape[1], x.shape[2], x.shape[3]
	y := MatMul(matrixConst(x.g, rows), Reshape(x, b, h, w*c), MatMulOpts{})
	y = MatMul(matrixConst(x.g, columns), Reshape(y, b, len(rows), w, c), MatMulOpts{})
	return Reshape(y, b, len(rows), len(columns), c)
}

func matrixConst(g *Graph, m [][]float64) *Tensor {
	var v []float32
	for _, row := range m {
		for _, w := range row {
			v = append(v, float32(w))
		}
	}
	return g.Const("weights of an axis", v, len(m), len(m[0]))
}

// checkPicture reports a poisoned stand-in for x where it is no picture or does not go to h×w.
func checkPicture(x *Tensor, h, w int) *Tensor {
	switch {
	case x.err != nil:
		return x
	case len(x.shape) != 4:
		return fail(opResizeBilinear, x, "x needs shape [B H W C], not %v", x.shape)
	case h < 1 || w < 1:
		return fail(opResizeBilinear, x, "%d×%d is no resolution", h, w)
	}
	return nil
}

// ResizeBicubic gives x [B H W C] resolution h×w by cubic convolution (Keys 1981) with the coefficient −0.75 and no
// antialiasing, as PyTorch's "bicubic": between pixel centres, or with alignCorners between corner pixels.
func ResizeBicubic(x *Tensor, h, w int, alignCorners bool) *Tensor {
	if bad := checkPicture(x, h, w); bad != nil {
		return bad
	}
	return separable(x, cubicWeights(x.shape[1], h, alignCorners), cubicWeights(x.shape[2], w, alignCorners))
}

func cubicWeights(from, to int, corners bool) [][]float64 {
	const a = -0.75
	kernel := func(d float64) float64 {
		switch d = math.Abs(d); {
		case d <= 1:
			return ((a+2)*d-(a+3))*d*d + 1
		case d < 2:
			return ((a*d-5*a)*d+8*a)*d - 4*a
		}
		return 0
	}
	m := zeros(to, from)
	for i := range to {
		at := (float64(i)+0.5)*float64(from)/float64(to) - 0.5
		if corners {
			at = float64(i) * float64(from-1) / float64(max(to-1, 1))
		}
		first := int(math.Floor(at)) - 1
		for k := first; k < first+4; k++ {
			m[i][min(max(k, 0), from-1)] += kernel(at - float64(k))
		}
	}
	return m
}

// ResizeAntialias gives x [B H W C] resolution h×w by linear interpolation over as many pixels as one of the result covers, as
// PyTorch's "bilinear" with antialiasing and as Pillow's.
func ResizeAntialias(x *Tensor, h, w int) *Tensor {
	if bad := checkPicture(x, h, w); bad != nil {
		return bad
	}
	return separable(x, triangleWeights(x.shape[1], h), triangleWeights(x.shape[2], w))
}

func triangleWeights(from, to int) [][]float64 {
	m, scale := zeros(to, from), float64(from)/float64(to)
	reach := math.Max(scale, 1)
	for i := range to {
		centre, sum := scale*(float64(i)+0.5), 0.0
		for k := max(int(centre-reach+0.5), 0); k < min(int(centre+reach+0.5), from); k++ {
			m[i][k] = math.Max(1-math.Abs((float64(k)-centre+0.5)/reach), 0)
			sum += m[i][k]
		}
		for k := range m[i] {
			m[i][k] /= sum
		}
	}
	return m
}

func zeros(rows, columns int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, columns)
	}
	return m
}

// PoolOpts are the settings of AvgPool2D and MaxPool2D.
type PoolOpts struct {
	Kernel, Stride [2]int // vertical, horizontal; a stride of 0 is the kernel's extent
	Pad            [2]int // on both sides
}

// places is the result's extent along an axis and where each of its windows begins, or what does not fit.
func (o PoolOpts) places(axis, extent int) (starts []int, err error) {
	k, stride, pad := o.Kernel[axis], o.Stride[axis], o.Pad[axis]
	if stride == 0 {
		stride = k
	}
	if k < 1 || stride < 1 || pad < 0 || 2*pad > k || extent+2*pad < k {
		return nil, fmt.Errorf("a window of %d with stride %d and padding %d does not fit %d pixels", k, stride, pad, extent)
	}
	for at := -pad; at+k <= extent+pad; at += stride {
		starts = append(starts, at)
	}
	return starts, nil
}

// AvgPool2D is the mean over windows of x [B H W C]; padding counts as zeros.
func AvgPool2D(x *Tensor, o PoolOpts) *Tensor {
	if bad := checkPicture(x, 1, 1); bad != nil {
		return bad
	}
	var m [2][][]float64
	for axis := range m {
		extent := x.shape[1+axis]
		starts, err := o.places(axis, extent)
		if err != nil {
			return fail(opMatMul, x, "%w", err)
		}
		m[axis] = zeros(len(starts), extent)
		for i, at := range starts {
			for k := max(at, 0); k < min(at+o.Kernel[axis], extent); k++ {
				m[axis][i][k] = 1 / float64(o.Kernel[axis])
			}
		}
	}
	return separable(x, m[0], m[1])
}

// AdaptiveAvgPool2D is the mean over h×w windows that cover x [B H W C], as even as whole pixels allow.
func AdaptiveAvgPool2D(x *Tensor, h, w int) *Tensor {
	if bad := checkPicture(x, h, w); bad != nil {
		return bad
	}
	axis := func(from, to int) [][]float64 {
		m := zeros(to, from)
		for i := range to {
			first, end := i*from/to, ceilDiv((i+1)*from, to)
			for k := first; k < end; k++ {
				m[i][k] = 1 / float64(end-first)
			}
		}
		return m
	}
	return separable(x, axis(x.shape[1], h), axis(x.shape[2], w))
}

// MaxPool2D is the largest element over windows of x [B H W C]; padding is never the largest.
func MaxPool2D(x *Tensor, o PoolOpts) *Tensor {
	if bad := checkPicture(x, 1, 1); bad != nil {
		return bad
	}
	for axis := range 2 {
		extent := x.Dim(1 + axis)
		starts, err := o.places(axis, extent)
		if err != nil {
			return fail(opMax, x, "%w", err)
		}
		var pick []int
		for _, at := range starts {
			for k := range o.Kernel[axis] {
				pick = append(pick, min(max(at+k, 0), extent-1)) // what is outside repeats an element of the window
			}
		}
		x = MaxOf(Gather(x, 1+axis, indexConst(x.g, pick, len(starts), o.Kernel[axis])), false, 2+axis)
	}
	return x
}

func indexConst(g *Graph, pick []int, shape ...int) *Tensor {
	v := make([]float32, len(pick))
	for i, p := range pick {
		v[i] = float32(p)
	}
	return g.Const("indices", v, shape...)
}

// PadReflect puts before and after elements round axis, mirrored at the outermost element, which is not repeated; there must be
// fewer than x has.
func PadReflect(x *Tensor, axis, before, after int) *Tensor {
	return padPicked(x, axis, before, after, func(i, n int) int {
		if i < 0 {
			return -i
		}
		if i >= n {
			return 2*(n-1) - i
		}
		return i
	})
}

// PadReplicate puts before and after copies of the outermost elements round axis.
func PadReplicate(x *Tensor, axis, before, after int) *Tensor {
	return padPicked(x, axis, before, after, func(i, n int) int { return min(max(i, 0), n-1) })
}

func padPicked(x *Tensor, axis, before, after int, pick func(i, n int) int) *Tensor {
	if x.err != nil {
		return x
	}
	a, err := x.shape.Axis(axis)
	if err != nil {
		return fail(opGather, x, "%w", err)
	}
	n := x.shape[a]
	if before < 0 || after < 0 {
		return fail(opGather, x, "padding %d and %d is negative; use Slice to remove elements", before, after)
	}
	var index []int
	for i := -before; i < n+after; i++ {
		index = append(index, pick(i, n))
	}
	return Gather(x, a, indexConst(x.g, index, len(index)))
}
