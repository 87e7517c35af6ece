package compute

// CumSumAttr is the axis of a running sum, and whether it runs from the end.
type CumSumAttr struct {
	Axis    int
	Reverse bool
}

// CumSum is the running sum along axis: element i is the sum of elements 0 … i of x.
func CumSum(x *Tensor, axis int) *Tensor { return cumSum(x, axis, false) }

func cumSum(x *Tensor, axis int, reverse bool) *Tensor {
	if x.err != nil {
		return newNode(opCumSum, nil, x)
	}
	a, err := x.shape.Axis(axis)
	if err != nil {
		return fail(opCumSum, x, "%w", err)
	}
	return newNode(opCumSum, &CumSumAttr{a, reverse}, x)
}

var opCumSum = register(&Op{
	Name:  "cumsum",
	Shape: func(n *Tensor) (Shape, error) { return n.In[0].shape, nil },
	Units: func(n *Tensor) int { return n.shape.Size() / n.shape[n.Attr.(*CumSumAttr).Axis] },
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		at := n.Attr.(*CumSumAttr)
		_, inner := span(n.shape, at.Axis)
		extent, step := n.shape[at.Axis], inner
		for u := lo; u < hi; u++ {
			i, sum := u/inner*extent*inner+u%inner, 0.0
			if at.Reverse {
				i += (extent - 1) * inner
				step = -inner
			}
			for range extent {
				sum += float64(in[0][i])
				out[i] = float32(sum)
				i += step
			}
		}
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		at := n.Attr.(*CumSumAttr)
		outer, inner := span(n.shape, at.Axis)
		return []Launch{{
			Shader: "cumsum",
			Reads:  []Operand{Read("X", n.In[0], 1)},
			Writes: []Operand{Write(n)},
			Uniforms: []Uniform{Int("lines", outer*inner), Int("extent", n.shape[at.Axis]), Int("inner", inner),
				Int("reverse", int(truth(at.Reverse)))},
			Groups: lw.Grid(ceilDiv(outer*inner, 64)),
		}}
	},
})

func init() {
	opCumSum.VJP = func(n, dy *Tensor) []*Tensor {
		at := n.Attr.(*CumSumAttr)
		return []*Tensor{cumSum(dy, at.Axis, !at.Reverse)}
	}
}
