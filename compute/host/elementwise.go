package host

import (
	"atelier/compute"
	"atelier/compute/host/vector"
)

// elementGrain is the least number of elements worth a core's attention.
const elementGrain = 4096

// acts are the unary ops that are activations.
var acts = map[string]compute.Act{
	"silu": compute.ActSiLU, "gelu": compute.ActGELU, "quick_gelu": compute.ActQuickGELU, "relu": compute.ActReLU,
}

// elementRange gives what computes a range of an elementwise node's elements: the quick way where there is one, else the definition.
func elementRange(s step) func(lo, hi int) {
	n := s.node
	switch op := n.Op.Name; op {
	case "affine":
		return affine(s)
	case "add":
		if do := binary(s, vector.Add); do != nil {
			return do
		}
	case "mul":
		if do := binary(s, vector.Mul); do != nil {
			return do
		}
	default:
		if act, ok := acts[op]; ok {
			return func(lo, hi int) { activate(s.out[lo:hi], s.in[0][lo:hi], act) }
		}
	}
	return func(lo, hi int) { n.Op.Ref(n, s.in, s.out, lo, hi) }
}

// affine gives y = a·x + b.
func affine(s step) func(lo, hi int) {
	at := s.node.Attr.(*compute.UnaryAttr)
	a, b := float32(at.A), float32(at.B)
	return func(lo, hi int) {
		x, y := s.in[0][lo:hi], s.out[lo:hi]
		for i, v := range x {
			y[i] = a*v + b
		}
	}
}

// binary gives a sum or product of operands of the same shape, or of rows and one row for all; nil for other shapes.
func binary(s step, do func(y, a, b []float32)) func(lo, hi int) {
	a, b := s.in[0], s.in[1]
	shape, as, bs := s.node.Shape(), s.node.In[0].Shape(), s.node.In[1].Shape()
	switch {
	case as.Equal(shape) && bs.Equal(shape):
		return func(lo, hi int) { do(s.out[lo:hi], a[lo:hi], b[lo:hi]) }
	case as.Equal(shape) && bs.Size() == shape.Last() && bs.Last() == shape.Last():
		c := shape.Last()
		return func(lo, hi int) {
			for i := lo; i < hi; {
				from := i % c
				n := min(c-from, hi-i)
				do(s.out[i:i+n], a[i:i+n], b[from:from+n])
				i += n
			}
		}
	}
	return nil
}

// glu gives a gated linear unit: each row's value times its activated gate.
func (e *executable) glu(s step) func() error {
	act, c := s.node.Attr.(*compute.GLUAttr).Act, s.node.Shape().Last()
	return e.each(len(s.out)/c, max(elementGrain/c, 1), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			value, gate, y := s.in[0][r*2*c:][:c], s.in[0][r*2*c+c:][:c], s.out[r*c:][:c]
			activate(y, gate, act)
			vector.Mul(y, y, value)
		}
	})
}
