package compute

import "fmt"

// Variable is a Source whose values plans change: a trained parameter, a moment of its optimiser, a sum that goes on from
// replay to replay. A device keeps one copy of it for as long as any loaded plan reads or updates it, in float32, so that a
// plan that trains and one that draws samples work on the same values. To read it, run a plan with the variable as an output,
// which needs no other node; what the device held is lost when the last plan that uses it is closed.
type Variable struct {
	// Start gives the values that a device begins with; nil means zeros.
	Start Source
}

// DType is the storage type.
func (v *Variable) DType() DType { return F32 }

// Read gives the starting values.
func (v *Variable) Read(dst []float32) error {
	if v.Start == nil {
		clear(dst)
		return nil
	}
	return v.Start.Read(dst)
}

// IsVariable reports whether plans may change t's values.
func (t *Tensor) IsVariable() bool {
	_, ok := Root(t).Src.(*Variable)
	return ok
}

// Bind makes t stand wherever the graph's builders ask for the parameter with this Source from now on: a variable that is
// trained in its place, its half-precision copy, or a sum of frozen weights and an adapter. t must have the parameter's shape.
func (g *Graph) Bind(src Source, t *Tensor) { g.bound[src] = t }

// Updates lists the nodes that change variables, in the order in which they run.
func (g *Graph) Updates() []*Tensor { return append([]*Tensor(nil), g.updates...) }

// UpdatesOf is how many of n's operands, the first ones, n overwrites.
func UpdatesOf(n *Tensor) int {
	if n.Op.Updates == nil {
		return 0
	}
	return n.Op.Updates(n)
}

// newUpdate records a node that changes its first operands. It has no result and no slot, and is always needed.
func newUpdate(op *Op, attr any, in ...*Tensor) {
	n := newNode(op, attr, in...)
	if n.err != nil {
		if n.g != nil && n.g.err == nil {
			n.g.err = n.err
		}
		return
	}
	for i := range UpdatesOf(n) {
		if n.In[i].Op != opParam || !n.In[i].IsVariable() {
			n.g.poison(n, fmt.Errorf("operand %d is no variable of this graph, so it cannot change", i))
			return
		}
	}
	n.g.updates = append(n.g.updates, n)
}

// updateShape wants n's first operands, those that it changes and one more, to have one shape, which is also that of its
// independent pieces.
func updateShape(n *Tensor) (Shape, error) {
	s := n.In[0].shape
	for _, x := range n.In[:UpdatesOf(n)+1] {
		if !x.shape.Equal(s) {
			return nil, fmt.Errorf("%v and %v must have one shape", s, x.shape)
		}
	}
	return s, nil
}

// updateLaunch is a launch of a shader with include/update.glsl, which changes n's first operands texel by texel.
func updateLaunch(n *Tensor, lw *Lowering, shader string, defines map[string]string, reads []Operand, uniforms ...Uniform) []Launch {
	l := Launch{
		Shader:   shader,
		Defines:  defines,
		Reads:    reads,
		Uniforms: append(uniforms, Int("texels", ceilDiv(n.In[0].shape.Size(), 4))),
		Groups:   lw.Grid(ceilDiv(n.In[0].shape.Size(), elementsPerGroup)),
	}
	for _, v := range n.In[:UpdatesOf(n)] {
		l.Writes = append(l.Writes, Write(v))
	}
	return []Launch{l}
}
