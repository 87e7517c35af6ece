package compute

import "fmt"

// GLUAttr is the gate's activation.
type GLUAttr struct{ Act Act }

// GLU is the gated linear unit (Dauphin et al., 2017; Shazeer, 2020) of x [… 2H], value then gate: value·act(gate) [… H].
// GEGLU is act = ActGELU, SwiGLU is ActSiLU.
func GLU(x *Tensor, act Act) *Tensor { return newNode(opGLU, &GLUAttr{act}, x) }

var opGLU = register(&Op{
	Name: "glu",
	Shape: func(n *Tensor) (Shape, error) {
		s := append(Shape(nil), n.In[0].shape...)
		if s.Last()%2 != 0 {
			return nil, fmt.Errorf("the last extent of %v is odd and does not split into value and gate", s)
		}
		s[len(s)-1] /= 2
		return s, nil
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		act, h := n.Attr.(*GLUAttr).Act, n.shape.Last()
		for i := lo; i < hi; i++ {
			at := i/h*2*h + i%h
			out[i] = float32(float64(in[0][at]) * act.Eval(float64(in[0][at+h])))
		}
	},
	Lower: gluLower,
})

func init() {
	opGLU.VJP = func(n, dy *Tensor) []*Tensor {
		act, x, h := n.Attr.(*GLUAttr).Act, n.In[0], n.shape.Last()
		value, gate := Slice(x, -1, 0, h), Slice(x, -1, h, 2*h)
		return []*Tensor{Concat(-1, Mul(dy, act.Apply(gate)), act.grad(gate, Mul(dy, value)))}
	}
}

func gluLower(n *Tensor, lw *Lowering) []Launch {
	h := n.shape.Last()
	quad := h%4 == 0
	if quad {
		h /= 4
	}
	return []Launch{elementwise(n, lw, "glu", quad, map[string]string{"ACT": n.Attr.(*GLUAttr).Act.GLSL()},
		[]Operand{{Name: "X", T: n.In[0]}}, Int("hidden", h))}
}
