package host

import (
	"math"

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
	op := n.Op.Name
	if op == "affine" {
		return affine(s)
	}
	if act, ok := acts[op]; ok {
		return func(lo, hi int) { activate(s.out[lo:hi], s.in[0][lo:hi], act) }
	}
	if do, ok := unaries[op]; ok {
		return func(lo, hi int) { do(s.out[lo:hi], s.in[0][lo:hi]) }
	}
	if do, ok := binaries[op]; ok {
		return binary(s, do)
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

// unaries are the unary ops that need no more than a loop.
var unaries = map[string]func(y, x []float32){
	"silu_grad":       func(y, x []float32) { vector.SwishGrad(y, x, 1) },
	"quick_gelu_grad": func(y, x []float32) { vector.SwishGrad(y, x, 1.702) },
	"gelu_grad":       vector.GELUGrad,
	"square":          func(y, x []float32) { vector.Mul(y, x, x) },
	"exp":             func(y, x []float32) { vector.Exp(y, x, 1, 0) },
	"neg": func(y, x []float32) {
		for i, v := range x {
			y[i] = -v
		}
	},
	"abs": func(y, x []float32) {
		for i, v := range x {
			y[i] = math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
		}
	},
	"reciprocal": func(y, x []float32) {
		for i, v := range x {
			y[i] = 1 / v
		}
	},
	"sqrt": func(y, x []float32) {
		for i, v := range x {
			y[i] = float32(math.Sqrt(float64(v)))
		}
	},
	"step": func(y, x []float32) {
		for i, v := range x {
			switch {
			case v > 0:
				y[i] = 1
			case v <= 0:
				y[i] = 0
			default:
				y[i] = v
			}
		}
	},
}

// binaryLoop is an op of two operands: both in step, or one of them a single number.
type binaryLoop struct {
	both          func(y, a, b []float32)
	first, second func(y, x []float32, one float32) // the operand that is one
}

var binaries = map[string]binaryLoop{
	"add": {vector.Add, plus, plus},
	"sub": {vector.Sub, func(y, b []float32, a float32) {
		for i, v := range b {
			y[i] = a - v
		}
	}, func(y, a []float32, b float32) { plus(y, a, -b) }},
	"mul": {vector.Mul, times, times},
	"div": {func(y, a, b []float32) {
		for i, v := range a {
			y[i] = v / b[i]
		}
	}, func(y, b []float32, a float32) {
		for i, v := range b {
			y[i] = a / v
		}
	}, func(y, a []float32, b float32) {
		for i, v := range a {
			y[i] = v / b
		}
	}},
}

func plus(y, x []float32, one float32) {
	for i, v := range x {
		y[i] = v + one
	}
}

func times(y, x []float32, one float32) {
	for i, v := range x {
		y[i] = v * one
	}
}

// binary gives an op of two operands with broadcasting.
func binary(s step, do binaryLoop) func(lo, hi int) {
	a, b := s.in[0], s.in[1]
	shape, as, bs := s.node.Shape(), s.node.In[0].Shape(), s.node.In[1].Shape()
	switch {
	case as.Equal(shape) && bs.Equal(shape):
		return func(lo, hi int) { do.both(s.out[lo:hi], a[lo:hi], b[lo:hi]) }
	case as.Equal(shape) && bs.Size() == shape.Last() && bs.Last() == shape.Last():
		c := shape.Last()
		return func(lo, hi int) {
			for i := lo; i < hi; {
				from := i % c
				n := min(c-from, hi-i)
				do.both(s.out[i:i+n], a[i:i+n], b[from:from+n])
				i += n
			}
		}
	}
	return func(lo, hi int) {
		compute.BinaryRuns(s.node, lo, hi, func(i, n, at, bt, stepA, stepB int) {
			y := s.out[i:][:n]
			switch {
			case stepA == 1 && stepB == 1:
				do.both(y, a[at:][:n], b[bt:][:n])
			case stepB == 0 && stepA == 1:
				do.second(y, a[at:][:n], b[bt])
			case stepA == 0 && stepB == 1:
				do.first(y, b[bt:][:n], a[at])
			default: // both single: the innermost axis has one element
				for k := range y {
					do.both(y[k:k+1], a[at+k*stepA:][:1], b[bt+k*stepB:][:1])
				}
			}
		})
	}
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
