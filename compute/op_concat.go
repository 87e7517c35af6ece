package compute

import "fmt"

// ConcatAttr is the axis along which the operands follow one another.
type ConcatAttr struct{ Axis int }

// Concat joins tensors that agree on all other axes along axis.
func Concat(axis int, xs ...*Tensor) *Tensor {
	at := &ConcatAttr{axis}
	if len(xs) > 0 && xs[0] != nil && xs[0].err == nil {
		if len(xs) == 1 {
			return xs[0]
		}
		a, err := xs[0].shape.Axis(axis)
		if err != nil {
			return fail(opConcat, xs[0], "%w", err)
		}
		at.Axis = a
	}
	return newNode(opConcat, at, xs...)
}

var opConcat = register(&Op{
	Name: "concat",
	Shape: func(n *Tensor) (Shape, error) {
		a := n.Attr.(*ConcatAttr).Axis
		s := append(Shape(nil), n.In[0].shape...)
		for _, x := range n.In[1:] {
			t := append(Shape(nil), x.shape...)
			if len(t) == len(s) {
				s[a], t[a] = s[a]+t[a], s[a]+t[a]
			}
			if !s.Equal(t) {
				return nil, fmt.Errorf("%v and %v differ on another axis than %d", n.In[0].shape, x.shape, a)
			}
		}
		return s, nil
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		_, inner := span(n.shape, n.Attr.(*ConcatAttr).Axis)
		width := n.shape[n.Attr.(*ConcatAttr).Axis] * inner
		first := 0
		for k, x := range n.In {
			part := x.shape[n.Attr.(*ConcatAttr).Axis] * inner
			for row := lo / width; row*width < hi; row++ {
				at := row*width + first
				from, to := max(at, lo), min(at+part, hi)
				if from < to {
					copy(out[from:to], in[k][row*part+from-at:])
				}
			}
			first += part
		}
	},
	Lower: concatLower,
})

func init() {
	opConcat.VJP = func(n, dy *Tensor) []*Tensor {
		a := n.Attr.(*ConcatAttr).Axis
		out, first := make([]*Tensor, len(n.In)), 0
		for k, x := range n.In {
			out[k] = Slice(dy, a, first, first+x.shape[a])
			first += x.shape[a]
		}
		return out
	}
}

// concatLower copies each operand to its place; all launches write the same result.
func concatLower(n *Tensor, lw *Lowering) []Launch {
	a := n.Attr.(*ConcatAttr).Axis
	_, inner := span(n.shape, a)
	defines, width := map[string]string{}, 4
	for _, x := range n.In {
		if x.shape[a]*inner%4 != 0 {
			width = 1
		}
	}
	if width == 4 {
		defines["QUAD"] = "1"
	}
	var launches []Launch
	first := 0
	for _, x := range n.In {
		part, count := x.shape[a]*inner/width, x.shape.Size()/width
		launches = append(launches, Launch{
			Shader:  "concat",
			Defines: defines,
			Reads:   []Operand{Read("X", x, width)},
			Writes:  []Operand{Write(n)},
			Uniforms: []Uniform{Int("count", count), Int("part", part), Int("first", first),
				Int("row", n.shape[a]*inner/width)},
			Groups: lw.Grid(ceilDiv(count, 256)),
		})
		first += part
	}
	return launches
}
