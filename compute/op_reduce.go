package compute

import (
	"fmt"
	"math"
	"slices"
)

// ReduceAttr is the settings of a sum, mean or max node.
type ReduceAttr struct {
	Axes []int // resolved, ascending
	Keep bool  // reduced axes stay, with extent 1
}

// Sum adds over axes (all, where none are given). keep leaves them with extent 1; the sum of everything is [1].
func Sum(x *Tensor, keep bool, axes ...int) *Tensor { return reduce(opSum, x, keep, axes) }

// Mean is the arithmetic mean over axes (all, where none are given).
func Mean(x *Tensor, keep bool, axes ...int) *Tensor { return reduce(opMean, x, keep, axes) }

// SumSquares adds up the squares over axes (all, where none are given).
func SumSquares(x *Tensor, keep bool, axes ...int) *Tensor {
	return reduce(opSumSquares, x, keep, axes)
}

// Variance is the mean squared distance from the mean over axes, with unbiased over one element less.
func Variance(x *Tensor, unbiased, keep bool, axes ...int) *Tensor {
	squares := SumSquares(Sub(x, Mean(x, true, axes...)), keep, axes...)
	if squares.err != nil {
		return squares
	}
	count := x.shape.Size() / squares.shape.Size()
	if unbiased {
		count--
	}
	return Affine(squares, 1/float64(count), 0)
}

// MaxOf is the largest element over axes (all, where none are given), NaN where one is NaN. Elements that tie for it share
// the gradient.
func MaxOf(x *Tensor, keep bool, axes ...int) *Tensor { return reduce(opMax, x, keep, axes) }

var (
	opSum  = register(&Op{Name: "sum", Shape: reduceShape, Ref: reduceRef, Lower: reduceLower})
	opMean = register(&Op{Name: "mean", Shape: reduceShape, Ref: reduceRef, Lower: reduceLower})
	// opSumSquares is the sum of squares, in one pass.
	opSumSquares = register(&Op{Name: "sum_squares", Shape: reduceShape, Ref: reduceRef, Lower: reduceLower})
	opMax        = register(&Op{Name: "max", Shape: reduceShape, Ref: reduceRef, Lower: reduceLower})
)

func reduce(op *Op, x *Tensor, keep bool, axes []int) *Tensor {
	at := &ReduceAttr{Keep: keep}
	for i := range x.shape {
		if len(axes) == 0 {
			at.Axes = append(at.Axes, i)
		}
	}
	if x.err == nil {
		for _, a := range axes {
			r, err := x.shape.Axis(a)
			if err == nil && slices.Contains(at.Axes, r) {
				err = fmt.Errorf("axis %d of %v is named twice", a, x.shape)
			}
			if err != nil {
				return fail(op, x, "%w", err)
			}
			at.Axes = append(at.Axes, r)
		}
	}
	slices.Sort(at.Axes)
	return newNode(op, at, x)
}

func reduceShape(n *Tensor) (Shape, error) {
	at, s := n.Attr.(*ReduceAttr), Shape{}
	for i, d := range n.In[0].shape {
		switch {
		case !slices.Contains(at.Axes, i):
			s = append(s, d)
		case at.Keep:
			s = append(s, 1)
		}
	}
	if len(s) == 0 {
		s = Shape{1}
	}
	return s, nil
}

// keptShape is the result's shape with every reduced axis as 1.
func keptShape(n *Tensor) Shape {
	s := append(Shape(nil), n.In[0].shape...)
	for _, a := range n.Attr.(*ReduceAttr).Axes {
		s[a] = 1
	}
	return s
}

func reduceRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, s := n.Attr.(*ReduceAttr), n.In[0].shape
	var keptDims, sumDims Shape
	var keptSteps, sumSteps []int
	for i, step := range s.Strides() {
		if slices.Contains(at.Axes, i) {
			sumDims, sumSteps = append(sumDims, s[i]), append(sumSteps, step)
		} else {
			keptDims, keptSteps = append(keptDims, s[i]), append(keptSteps, step)
		}
	}
	kept, summed := newStrided(keptDims, keptSteps), newStrided(sumDims, sumSteps)
	count := sumDims.Size()
	kept.runs(lo, hi, func(i, run int, off []int) {
		for k := range run {
			base := off[0] + k*kept.inner(0)
			acc := 0.0
			if n.Op.Name == "max" {
				acc = math.Inf(-1)
			}
			summed.runs(0, count, func(_, m int, o []int) {
				for j := range m {
					v := float64(in[0][base+o[0]+j*summed.inner(0)])
					switch n.Op.Name {
					case "max":
						acc = math.Max(acc, v)
					case "sum_squares":
						acc += v * v
					default:
						acc += v
					}
				}
			})
			if n.Op.Name == "mean" {
				acc /= float64(count)
			}
			out[i+k] = float32(acc)
		}
	})
}

func init() {
	spread := func(n, dy *Tensor) *Tensor {
		return BroadcastTo(Reshape(dy, keptShape(n)...), n.In[0].shape...)
	}
	opSum.VJP = func(n, dy *Tensor) []*Tensor { return []*Tensor{spread(n, dy)} }
	opSumSquares.VJP = func(n, dy *Tensor) []*Tensor {
		return []*Tensor{Mul(n.In[0], Affine(Reshape(dy, keptShape(n)...), 2, 0))}
	}
	opMean.VJP = func(n, dy *Tensor) []*Tensor {
		count := float64(n.In[0].shape.Size()) / float64(n.shape.Size())
		return []*Tensor{spread(n, Affine(dy, 1/count, 0))}
	}
	opMax.VJP = func(n, dy *Tensor) []*Tensor {
		x, axes := n.In[0], n.Attr.(*ReduceAttr).Axes
		kept := keptShape(n)
		winners := Equal(x, Reshape(n, kept...))
		share := Div(Reshape(dy, kept...), Sum(winners, true, axes...))
		return []*Tensor{Mul(winners, share)}
	}
}

// reduceLower reduces one stretch of adjacent axes after another, the outermost first, as [A R C] to [A C].
func reduceLower(n *Tensor, lw *Lowering) []Launch {
	axes, s := n.Attr.(*ReduceAttr).Axes, n.In[0].shape
	var dims []int
	var reduced []bool
	for i, d := range s {
		r := slices.Contains(axes, i)
		if k := len(dims) - 1; k >= 0 && reduced[k] == r {
			dims[k] *= d
		} else if d > 1 || len(dims) == 0 {
			dims, reduced = append(dims, d), append(reduced, r)
		}
	}
	scale := float32(1)
	if n.Op.Name == "mean" {
		scale = float32(float64(n.shape.Size()) / float64(s.Size()))
	}
	var launches []Launch
	from := Read("X", n.In[0], 1)
	for k := slices.Index(reduced, true); k >= 0; k = slices.Index(reduced, true) {
		v := reduceView{Shape(dims[:k]).Size(), dims[k], Shape(dims[k+1:]).Size()}
		dims, reduced = slices.Delete(dims, k, k+1), slices.Delete(reduced, k, k+1)
		if parts := v.parts(); parts > 1 {
			to := lw.Scratch(v.outer * parts * v.inner)
			launches = append(launches, v.launch(n, lw, from, to, parts, 1))
			from, v.length = ReadScratch("X", to, 1), parts
		}
		if !slices.Contains(reduced, true) {
			launches = append(launches, v.launch(n, lw, from, Write(n), 1, scale))
			break
		}
		to := lw.Scratch(v.outer * v.inner)
		launches = append(launches, v.launch(n, lw, from, to, 1, 1))
		from = ReadScratch("X", to, 1)
	}
	if len(launches) == 0 { // only axes of extent 1: a copy
		v := reduceView{s.Size(), 1, 1}
		launches = append(launches, v.launch(n, lw, from, Write(n), 1, scale))
	}
	return launches
}

// reduceView sees an operand as [outer length inner] and reduces the middle.
type reduceView struct{ outer, length, inner int }

// parts is into how many interleaved sums each result is split, so that few results still give work to many cores.
func (v reduceView) parts() int {
	return max(1, min(ceilDiv(4096, v.outer*v.inner), v.length/16, 256))
}

func (v reduceView) launch(n *Tensor, lw *Lowering, from, to Operand, parts int, scale float32) Launch {
	defines := map[string]string{}
	if n.Op.Name == "max" {
		defines["MAX"] = "1"
	}
	if n.Op.Name == "sum_squares" && from.T != nil { // what comes after adds sums
		defines["SQUARES"] = "1"
	}
	length, inner := v.length, v.inner
	switch {
	case inner == 1 && length%4 == 0: // four neighbours of one sum a texel
		defines["ROW"] = "1"
		from.Width = 4
		length /= 4
	case inner%4 == 0: // neighbours of four sums a texel
		defines["QUAD"] = "1"
		from.Width = 4
		inner /= 4
	}
	return Launch{
		Shader:   "reduce",
		Defines:  defines,
		Reads:    []Operand{from},
		Writes:   []Operand{to},
		Uniforms: []Uniform{Int("outer", v.outer), Int("extent", length), Int("inner", inner), Int("parts", parts), Float("scale", scale)},
		Groups:   lw.Grid(ceilDiv(v.outer*parts*inner, 64)),
	}
}
