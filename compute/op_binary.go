package compute

import (
	"math"
	"strconv"
)

// binaryOp registers y[i] = f(a[i], b[i]) under NumPy's broadcasting. glsl is the shader expression of a and b, vec4s.
func binaryOp(name, glsl string, f func(a, b float64) float64) *Op {
	return register(&Op{
		Name:        name,
		Shape:       binaryShape,
		Elementwise: true,
		Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
			s := binarySteps(n, n.shape)
			sa, sb := s.inner(0), s.inner(1)
			s.runs(lo, hi, func(i, count int, off []int) {
				a, b := off[0], off[1]
				for k := range count {
					out[i+k] = float32(f(float64(in[0][a]), float64(in[1][b])))
					a, b = a+sa, b+sb
				}
			})
		},
		Lower: func(n *Tensor, lw *Lowering) []Launch { return binaryLower(n, lw, glsl) },
	})
}

func binaryShape(n *Tensor) (Shape, error) {
	s, err := Broadcast(n.In[0].shape, n.In[1].shape)
	if err != nil {
		return nil, err
	}
	return s, binarySteps(n, s).check()
}

func binaryLower(n *Tensor, lw *Lowering, glsl string) []Launch {
	s := binarySteps(n, n.shape)
	defines := map[string]string{"F": glsl, "RANK": strconv.Itoa(s.rank())}
	flat := len(s.dims) == 1 && s.inner(0) == 1 && s.inner(1) == 1
	if flat {
		defines["RANK"] = "0"
	}
	return []Launch{elementwise(n, lw, "binary", flat || s.quads(0, 0) && s.quads(1, 0), defines,
		[]Operand{{Name: "A", T: n.In[0]}, {Name: "B", T: n.In[1]}}, s.uniforms("s", "t")...)}
}

// binarySteps walks the result beside both operands.
func binarySteps(n *Tensor, result Shape) strided {
	r := len(result)
	return newStrided(result, broadcastSteps(n.In[0].shape, r), broadcastSteps(n.In[1].shape, r))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var (
	opAdd     = binaryOp("add", "a + b", func(a, b float64) float64 { return a + b })
	opSub     = binaryOp("sub", "a - b", func(a, b float64) float64 { return a - b })
	opMul     = binaryOp("mul", "a * b", func(a, b float64) float64 { return a * b })
	opDiv     = binaryOp("div", "a / b", func(a, b float64) float64 { return a / b })
	opMinimum = binaryOp("minimum", "smaller(a, b)", math.Min)
	opMaximum = binaryOp("maximum", "larger(a, b)", math.Max)
	opPow     = binaryOp("pow", "power(a, b)", math.Pow)
	opLess    = binaryOp("less", "vec4(lessThan(a, b))", func(a, b float64) float64 { return truth(a < b) })
	opEqual   = binaryOp("equal", "vec4(equal(a, b))", func(a, b float64) float64 { return truth(a == b) })
	opPReLU   = binaryOp("prelu", "prelu(a, b)", func(a, b float64) float64 {
		if a < 0 {
			return a * b
		}
		return a
	})
)

// Add is a + b with broadcasting.
func Add(a, b *Tensor) *Tensor { return newNode(opAdd, nil, a, b) }

// Sub is a − b with broadcasting.
func Sub(a, b *Tensor) *Tensor { return newNode(opSub, nil, a, b) }

// Mul is a·b, element by element, with broadcasting.
func Mul(a, b *Tensor) *Tensor { return newNode(opMul, nil, a, b) }

// Div is a/b with broadcasting.
func Div(a, b *Tensor) *Tensor { return newNode(opDiv, nil, a, b) }

// Minimum is the smaller of a and b, NaN where either is; at a tie each gets half of the gradient.
func Minimum(a, b *Tensor) *Tensor { return newNode(opMinimum, nil, a, b) }

// Maximum is the larger of a and b, NaN where either is; at a tie each gets half of the gradient.
func Maximum(a, b *Tensor) *Tensor { return newNode(opMaximum, nil, a, b) }

// Pow is a to the power b; a negative a needs a whole b.
func Pow(a, b *Tensor) *Tensor { return newNode(opPow, nil, a, b) }

// Less is 1 where a < b, else 0. It has no gradient.
func Less(a, b *Tensor) *Tensor { return newNode(opLess, nil, a, b) }

// Equal is 1 where a = b, else 0. It has no gradient.
func Equal(a, b *Tensor) *Tensor { return newNode(opEqual, nil, a, b) }

// PReLU is x where x ≥ 0, else slope·x, with one slope [C] per channel or any shape that broadcasts to x's.
func PReLU(x, slope *Tensor) *Tensor {
	if x.err == nil && slope.err == nil {
		if s, err := Broadcast(x.shape, slope.shape); err != nil || !s.Equal(x.shape) {
			return fail(opPReLU, x, "slopes %v do not broadcast to %v", slope.shape, x.shape)
		}
	}
	return newNode(opPReLU, nil, x, slope)
}

// sumTo sums dy over the axes along which an operand of shape s was stretched: broadcasting's gradient.
func sumTo(dy *Tensor, s Shape) *Tensor {
	if dy.err != nil || dy.shape.Equal(s) {
		return dy
	}
	var axes []int
	lead := len(dy.shape) - len(s)
	for i, d := range dy.shape {
		if i < lead || s[i-lead] == 1 && d > 1 {
			axes = append(axes, i)
		}
	}
	if len(axes) == 0 {
		return Reshape(dy, s...)
	}
	return Reshape(Sum(dy, true, axes...), s...)
}

func init() {
	grads := func(op *Op, d func(n, a, b, dy *Tensor) (da, db *Tensor)) {
		op.VJP = func(n, dy *Tensor) []*Tensor {
			a, b := n.In[0], n.In[1]
			da, db := d(n, a, b, dy)
			return []*Tensor{sumTo(da, a.shape), sumTo(db, b.shape)}
		}
	}
	grads(opAdd, func(_, _, _, dy *Tensor) (*Tensor, *Tensor) { return dy, dy })
	grads(opSub, func(_, _, _, dy *Tensor) (*Tensor, *Tensor) { return dy, Neg(dy) })
	grads(opMul, func(_, a, b, dy *Tensor) (*Tensor, *Tensor) { return Mul(dy, b), Mul(dy, a) })
	grads(opDiv, func(n, _, b, dy *Tensor) (*Tensor, *Tensor) {
		da := Div(dy, b)
		return da, Neg(Mul(da, n))
	})
	grads(opMinimum, func(_, a, b, dy *Tensor) (*Tensor, *Tensor) {
		return Mul(dy, before(a, b)), Mul(dy, before(b, a))
	})
	grads(opMaximum, func(_, a, b, dy *Tensor) (*Tensor, *Tensor) {
		return Mul(dy, before(b, a)), Mul(dy, before(a, b))
	})
	grads(opPow, func(n, a, b, dy *Tensor) (*Tensor, *Tensor) {
		return Mul(dy, Mul(b, Pow(a, Affine(b, 1, -1)))), Mul(dy, Mul(n, Log(a)))
	})
	grads(opPReLU, func(_, x, slope, dy *Tensor) (*Tensor, *Tensor) {
		below := unary(opStep, Neg(x))
		return Mul(dy, Add(Affine(below, -1, 1), Mul(below, slope))), Mul(dy, Mul(below, x))
	})
}

// before is 1 where a < b, ½ where they are equal, else 0.
func before(a, b *Tensor) *Tensor { return Affine(Sub(Less(a, b), Less(b, a)), 0.5, 0.5) }
