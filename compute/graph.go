package compute

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Graph records nodes in order of creation, which is a topological order.
type Graph struct {
	nodes   []*Tensor
	outputs []Output
	updates []*Tensor // nodes that change variables, in order
	params  map[Source]*Tensor
	bound   map[Source]*Tensor // what stands for a parameter
	kept    map[*Tensor]bool   // what the backward pass does not compute again
	err     error              // first failure

	sharing bool               // nodes like one in made are that one
	made    map[string]*Tensor // by op, settings and operands
}

// Output is a tensor that a plan's caller reads back under a name.
type Output struct {
	Name string
	T    *Tensor
}

// NewGraph is an empty graph.
func NewGraph() *Graph {
	return &Graph{params: map[Source]*Tensor{}, bound: map[Source]*Tensor{}, kept: map[*Tensor]bool{}}
}

// Input is a float32 tensor that each run supplies under its name.
func (g *Graph) Input(name string, shape ...int) *Tensor {
	t := &Tensor{Op: opInput, g: g, shape: Shape(shape), name: name, at: callerLine()}
	for _, n := range g.nodes {
		if n.Op == opInput && n.name == name {
			return g.poison(t, fmt.Errorf("input %q is declared twice", name))
		}
	}
	return g.add(t, Shape(shape).check())
}

// Param is a tensor whose values come from src; the same src and shape give the same node.
func (g *Graph) Param(name string, src Source, shape ...int) *Tensor {
	if t, ok := g.bound[src]; ok {
		if t.err == nil && !t.shape.Equal(shape) {
			bad := &Tensor{Op: opParam, g: g, shape: Shape(shape), name: name, at: callerLine()}
			return g.poison(bad, fmt.Errorf("%v stands for parameter %q, which is %v here", t.shape, name, Shape(shape)))
		}
		return t
	}
	if t, ok := g.params[src]; ok && t.shape.Equal(shape) {
		return t
	}
	t := &Tensor{Op: opParam, g: g, shape: Shape(shape), dtype: src.DType(), name: name, Src: src, at: callerLine()}
	g.params[src] = t
	return g.add(t, Shape(shape).check())
}

// Const is a parameter from values.
func (g *Graph) Const(name string, values []float32, shape ...int) *Tensor {
	if s := Shape(shape); s.check() == nil && s.Size() != len(values) {
		t := &Tensor{Op: opParam, g: g, name: name, at: callerLine()}
		return g.poison(t, fmt.Errorf("constant %q has %d values for %v", name, len(values), s))
	}
	return g.Param(name, &Values{Data: values}, shape...)
}

// Output makes t readable under name after a run.
func (g *Graph) Output(name string, t *Tensor) {
	g.outputs = append(g.outputs, Output{name, t})
}

// Err is the first failure recorded.
func (g *Graph) Err() error { return g.err }

func (g *Graph) add(t *Tensor, err error) *Tensor {
	if err != nil {
		return g.poison(t, err)
	}
	t.id = len(g.nodes)
	g.nodes = append(g.nodes, t)
	return t
}

func (g *Graph) poison(t *Tensor, err error) *Tensor {
	t.err = fmt.Errorf("compute: %s: %w (%s)", t.Op.Name, err, t.at)
	t.shape = nil
	if g != nil && g.err == nil {
		g.err = t.err
	}
	return t
}

// newNode records op over operands. A poisoned operand poisons the result with the operand's own error.
func newNode(op *Op, attr any, in ...*Tensor) *Tensor {
	t := &Tensor{Op: op, In: in, Attr: attr, at: callerLine()}
	for _, x := range in {
		if x == nil {
			t.err = fmt.Errorf("compute: %s: an operand is missing (%s)", op.Name, t.at)
			return t
		}
		if t.g == nil {
			t.g = x.g
		}
		if x.err != nil {
			t.err = x.err
			return t
		}
	}
	if t.g == nil {
		t.err = fmt.Errorf("compute: %s: an op needs at least one operand (%s)", op.Name, t.at)
		return t
	}
	for i, x := range in {
		if x.g != t.g {
			return t.g.poison(t, fmt.Errorf("operands belong to different graphs"))
		}
		if x.dtype.Blocks() && !(op.ReadsBlocks && i == 1) {
			return t.g.poison(t, fmt.Errorf("operand %d is %v, which only the second operand of a matmul may be", i+1, x.dtype))
		}
	}
	shape, err := op.Shape(t)
	if err == nil {
		err = shape.check()
	}
	t.shape = shape
	if op == opReshape || op == opDetach { // views
		t.dtype = in[0].dtype
	}
	if err == nil {
		if have := t.g.shared(t); have != nil {
			return have
		}
	}
	return t.g.add(t, err)
}

// fail is a poisoned node for builders that find a mistake before a node exists.
func fail(op *Op, x *Tensor, format string, args ...any) *Tensor {
	t := &Tensor{Op: op, g: x.g, at: callerLine()}
	if x.err != nil {
		t.err = x.err
		return t
	}
	return x.g.poison(t, fmt.Errorf(format, args...))
}

// Reshape gives x's elements another shape; one extent may be −1.
func Reshape(x *Tensor, shape ...int) *Tensor {
	if x.err != nil {
		return newNode(opReshape, nil, x)
	}
	s, known, hole := append(Shape(nil), shape...), 1, -1
	for i, d := range s {
		if d == -1 && hole < 0 {
			hole = i
		} else {
			known *= d
		}
	}
	if hole >= 0 && known > 0 {
		s[hole] = x.shape.Size() / known
	}
	if s.Size() != x.shape.Size() {
		return fail(opReshape, x, "%v does not hold the elements of %v", Shape(shape), x.shape)
	}
	if s.Equal(x.shape) {
		return x
	}
	return newNode(opReshape, &ReshapeAttr{s}, x)
}

// callerLine is the first frame outside this package and the layers of package nn: where the model's equation stands.
func callerLine() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "atelier/compute.") && !strings.HasPrefix(f.Function, "atelier/models/nn.") {
			return filepath.Join(filepath.Base(filepath.Dir(f.File)), filepath.Base(f.File)) + fmt.Sprintf(":%d", f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}
