package compute

// SliceAttr is the stretch start ≤ i < end of an axis, resolved.
type SliceAttr struct{ Axis, Start, End int }

// Slice keeps start ≤ i < end of an axis. Negative bounds count from the axis's end, as in Python.
func Slice(x *Tensor, axis, start, end int) *Tensor {
	if x.err != nil {
		return newNode(opSlice, nil, x)
	}
	a, err := x.shape.Axis(axis)
	if err != nil {
		return fail(opSlice, x, "%w", err)
	}
	d, from, to := x.shape[a], start, end
	if from < 0 {
		from += d
	}
	if to < 0 {
		to += d
	}
	if from < 0 || to > d || from >= to {
		return fail(opSlice, x, "[%d, %d) is not a stretch of axis %d of %v", start, end, a, x.shape)
	}
	if to-from == d {
		return x
	}
	return newNode(opSlice, &SliceAttr{a, from, to}, x)
}

var opSlice = register(&Op{
	Name: "slice",
	Shape: func(n *Tensor) (Shape, error) {
		at, s := n.Attr.(*SliceAttr), append(Shape(nil), n.In[0].shape...)
		s[at.Axis] = at.End - at.Start
		return s, nil
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		at := n.Attr.(*SliceAttr)
		first := at.Start * n.In[0].shape.Strides()[at.Axis]
		copyStrided(newStrided(n.shape, n.In[0].shape.Strides()), in[0][first:], out, lo, hi)
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		at, steps := n.Attr.(*SliceAttr), n.In[0].shape.Strides()
		return []Launch{stridedLaunch(n, lw, at.Start*steps[at.Axis], steps)}
	},
})

// copyStrided gathers results lo ≤ i < hi of one operand.
func copyStrided(s strided, x, out []float32, lo, hi int) {
	step := s.inner(0)
	s.runs(lo, hi, func(i, n int, off []int) {
		if step == 1 {
			copy(out[i:i+n], x[off[0]:])
			return
		}
		for k := range n {
			out[i+k] = x[off[0]+k*step]
		}
	})
}

func init() {
	opSlice.VJP = func(n, dy *Tensor) []*Tensor {
		at, r := n.Attr.(*SliceAttr), len(n.shape)
		before, after := make([]int, r), make([]int, r)
		before[at.Axis], after[at.Axis] = at.Start, n.In[0].shape[at.Axis]-at.End
		return []*Tensor{Pad(dy, before, after, 0)}
	}
}
