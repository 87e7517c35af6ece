package compute

import "math"

// GatherAttr is the axis that indices select from.
type GatherAttr struct{ Axis int }

// Gather selects slices of x along axis: idx, whole numbers of any shape, takes that axis's place in the result. Indices
// outside the axis clamp to it; constant indices are checked here.
func Gather(x *Tensor, axis int, idx *Tensor) *Tensor { return gather(opGather, x, axis, idx) }

// Embedding looks up rows: table [V C] and ids […] give [… C].
func Embedding(table, ids *Tensor) *Tensor {
	if table.err == nil && len(table.shape) != 2 {
		return fail(opEmbedding, table, "a table needs shape [vocabulary, channels], not %v", table.shape)
	}
	return gather(opEmbedding, table, 0, ids)
}

var (
	opGather    = register(&Op{Name: "gather", Shape: gatherShape, Ref: gatherRef, Lower: gatherLower})
	opEmbedding = register(&Op{Name: "embedding", Shape: gatherShape, Ref: gatherRef, Lower: gatherLower})
	// opGatherGrad adds the slices of dy up where their indices agree: operands dy, idx.
	opGatherGrad = register(&Op{
		Name:  "gather_grad",
		Shape: func(n *Tensor) (Shape, error) { return n.Attr.(*GatherGradAttr).Shape, nil },
		Ref:   gatherGradRef,
		Lower: gatherGradLower,
	})
)

// GatherGradAttr is the axis and the shape of the tensor that was gathered from.
type GatherGradAttr struct {
	Axis  int
	Shape Shape
}

func gather(op *Op, x *Tensor, axis int, idx *Tensor) *Tensor {
	if x.err != nil || idx.err != nil {
		return newNode(op, nil, x, idx)
	}
	a, err := x.shape.Axis(axis)
	if err != nil {
		return fail(op, x, "%w", err)
	}
	if v, ok := idx.Src.(*Values); ok {
		for _, id := range v.Data {
			if id < 0 || id >= float32(x.shape[a]) || float64(id) != math.Trunc(float64(id)) {
				return fail(op, x, "index %v is not one of the %d on axis %d of %v", id, x.shape[a], a, x.shape)
			}
		}
	}
	return newNode(op, &GatherAttr{a}, x, idx)
}

func gatherShape(n *Tensor) (Shape, error) {
	a, x := n.Attr.(*GatherAttr).Axis, n.In[0].shape
	s := append(Shape(nil), x[:a]...)
	s = append(s, n.In[1].shape...)
	return append(s, x[a+1:]...), nil
}

// clampIndex is the slice that id selects among n.
func clampIndex(id float32, n int) int {
	switch {
	case !(id > 0):
		return 0
	case id >= float32(n):
		return n - 1
	}
	return int(id)
}

func gatherRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	a, x := n.Attr.(*GatherAttr).Axis, n.In[0].shape
	_, inner := span(x, a)
	ids := len(in[1])
	for i := lo; i < hi; i++ {
		row := i / inner
		id := clampIndex(in[1][row%ids], x[a])
		out[i] = in[0][(row/ids*x[a]+id)*inner+i%inner]
	}
}

func gatherGradRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at := n.Attr.(*GatherGradAttr)
	_, inner := span(at.Shape, at.Axis)
	ids, count := len(in[1]), at.Shape[at.Axis]
	for i := lo; i < hi; i++ {
		row, sum := i/inner, 0.0
		for k, id := range in[1] {
			if clampIndex(id, count) == row%count {
				sum += float64(in[0][(row/count*ids+k)*inner+i%inner])
			}
		}
		out[i] = float32(sum)
	}
}

func init() {
	vjp := func(n, dy *Tensor) []*Tensor {
		at := &GatherGradAttr{n.Attr.(*GatherAttr).Axis, n.In[0].shape}
		return []*Tensor{newNode(opGatherGrad, at, dy, n.In[1]), nil}
	}
	opGather.VJP, opEmbedding.VJP = vjp, vjp
	opGatherGrad.VJP = func(n, dy *Tensor) []*Tensor {
		return []*Tensor{Gather(dy, n.Attr.(*GatherGradAttr).Axis, n.In[1]), nil}
	}
}

func gatherLower(n *Tensor, lw *Lowering) []Launch {
	a := n.Attr.(*GatherAttr).Axis
	_, inner := span(n.In[0].shape, a)
	quad := inner%4 == 0
	if quad {
		inner /= 4
	}
	return []Launch{elementwise(n, lw, "gather", quad, nil,
		[]Operand{{Name: "X", T: n.In[0]}, Read("Index", n.In[1], 1)},
		Int("inner", inner), Int("ids", n.In[1].shape.Size()), Int("extent", n.In[0].shape[a]))}
}

func gatherGradLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*GatherGradAttr)
	_, inner := span(at.Shape, at.Axis)
	quad := inner%4 == 0
	if quad {
		inner /= 4
	}
	return []Launch{elementwise(n, lw, "gather_grad", quad, nil,
		[]Operand{{Name: "DY", T: n.In[0]}, Read("Index", n.In[1], 1)},
		Int("inner", inner), Int("ids", n.In[1].shape.Size()), Int("extent", at.Shape[at.Axis]))}
}
