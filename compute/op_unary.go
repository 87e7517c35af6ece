package compute

import "math"

// UnaryAttr holds the two numbers of the kinds that have settings: Affine (scale, offset), Clamp (lo, hi) and
// LeakyReLU (slope).
type UnaryAttr struct{ A, B float64 }

// unaryOp registers y[i] = f(x[i]). glsl is the shader function of that definition, for a vec4.
func unaryOp(name, glsl string, f func(x, a, b float64) float64) *Op {
	return register(&Op{
		Name:        name,
		Shape:       func(n *Tensor) (Shape, error) { return n.In[0].shape, nil },
		Elementwise: true,
		Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
			at := n.Attr.(*UnaryAttr)
			for i, x := range in[0][lo:hi] {
				out[lo+i] = float32(f(float64(x), at.A, at.B))
			}
		},
		Lower: func(n *Tensor, lw *Lowering) []Launch { return unaryLower(n, lw, glsl) },
	})
}

// step is 1 where x > 0, and NaN where x is.
func step(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x <= 0:
		return 0
	}
	return x
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// swishGrad is the derivative of x·sigmoid(k·x).
func swishGrad(x, k float64) float64 {
	s := sigmoid(k * x)
	return s + k*x*s*(1-s)
}

func geluGrad(x float64) float64 {
	return 0.5*(1+math.Erf(x/math.Sqrt2)) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

func geluTanhGrad(x float64) float64 {
	c := math.Sqrt(2 / math.Pi)
	t := math.Tanh(c * (x + 0.044715*x*x*x))
	return 0.5*(1+t) + 0.5*x*(1-t*t)*c*(1+3*0.044715*x*x)
}

var (
	opNeg        = unaryOp("neg", "neg", func(x, _, _ float64) float64 { return -x })
	opAbs        = unaryOp("abs", "abs", func(x, _, _ float64) float64 { return math.Abs(x) })
	opSquare     = unaryOp("square", "square", func(x, _, _ float64) float64 { return x * x })
	opSqrt       = unaryOp("sqrt", "sqrt", func(x, _, _ float64) float64 { return math.Sqrt(x) })
	opRsqrt      = unaryOp("rsqrt", "rsqrt", func(x, _, _ float64) float64 { return 1 / math.Sqrt(x) })
	opExp        = unaryOp("exp", "exp", func(x, _, _ float64) float64 { return math.Exp(x) })
	opLog        = unaryOp("log", "log", func(x, _, _ float64) float64 { return math.Log(x) })
	opSin        = unaryOp("sin", "sine", func(x, _, _ float64) float64 { return math.Sin(x) })
	opCos        = unaryOp("cos", "cosine", func(x, _, _ float64) float64 { return math.Cos(x) })
	opTanh       = unaryOp("tanh", "act_tanh", func(x, _, _ float64) float64 { return ActTanh.Eval(x) })
	opSigmoid    = unaryOp("sigmoid", "act_sigmoid", func(x, _, _ float64) float64 { return ActSigmoid.Eval(x) })
	opReLU       = unaryOp("relu", "act_relu", func(x, _, _ float64) float64 { return ActReLU.Eval(x) })
	opSiLU       = unaryOp("silu", "act_silu", func(x, _, _ float64) float64 { return ActSiLU.Eval(x) })
	opGELU       = unaryOp("gelu", "act_gelu", func(x, _, _ float64) float64 { return ActGELU.Eval(x) })
	opGELUTanh   = unaryOp("gelu_tanh", "act_gelu_tanh", func(x, _, _ float64) float64 { return ActGELUTanh.Eval(x) })
	opQuickGELU  = unaryOp("quick_gelu", "act_quick_gelu", func(x, _, _ float64) float64 { return ActQuickGELU.Eval(x) })
	opSoftplus   = unaryOp("softplus", "softplus", func(x, _, _ float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) })
	opErf        = unaryOp("erf", "erf", func(x, _, _ float64) float64 { return math.Erf(x) })
	opRound      = unaryOp("round", "roundEven", func(x, _, _ float64) float64 { return math.RoundToEven(x) })
	opELU        = unaryOp("elu", "elu", func(x, a, _ float64) float64 { return math.Max(x, 0) + a*math.Expm1(math.Min(x, 0)) })
	opFloor      = unaryOp("floor", "floor", func(x, _, _ float64) float64 { return math.Floor(x) })
	opReciprocal = unaryOp("reciprocal", "reciprocal", func(x, _, _ float64) float64 { return 1 / x })
	opAffine     = unaryOp("affine", "affine", func(x, a, b float64) float64 { return a*x + b })
	opClamp      = unaryOp("clamp", "clamp_range", func(x, a, b float64) float64 { return math.Min(math.Max(x, a), b) })
	opLeakyReLU  = unaryOp("leaky_relu", "leaky_relu", func(x, a, _ float64) float64 { return math.Max(x, 0) + a*math.Min(x, 0) })

	// Derivatives that gradients multiply by. Most have no gradients of their own.
	opSign          = unaryOp("sign", "sign_of", func(x, _, _ float64) float64 { return step(x) - step(-x) })
	opStep          = unaryOp("step", "step_of", func(x, _, _ float64) float64 { return step(x) })
	opSiLUGrad      = unaryOp("silu_grad", "silu_grad", func(x, _, _ float64) float64 { return swishGrad(x, 1) })
	opGELUGrad      = unaryOp("gelu_grad", "gelu_grad", func(x, _, _ float64) float64 { return geluGrad(x) })
	opGELUTanhGrad  = unaryOp("gelu_tanh_grad", "gelu_tanh_grad", func(x, _, _ float64) float64 { return geluTanhGrad(x) })
	opQuickGELUGrad = unaryOp("quick_gelu_grad", "quick_gelu_grad", func(x, _, _ float64) float64 { return swishGrad(x, 1.702) })
	opClampGrad     = unaryOp("clamp_grad", "clamp_grad", func(x, a, b float64) float64 { return within(x, a, b) })
)

// within is 1 where lo ≤ x ≤ hi.
func within(x, lo, hi float64) float64 {
	if x < lo || x > hi {
		return 0
	}
	return 1
}

func unary(op *Op, x *Tensor) *Tensor { return newNode(op, &UnaryAttr{}, x) }

// Neg is −x.
func Neg(x *Tensor) *Tensor { return unary(opNeg, x) }

// Abs is |x|.
func Abs(x *Tensor) *Tensor { return unary(opAbs, x) }

// Square is x².
func Square(x *Tensor) *Tensor { return unary(opSquare, x) }

// Sqrt is √x, NaN where x is negative.
func Sqrt(x *Tensor) *Tensor { return unary(opSqrt, x) }

// Rsqrt is 1/√x.
func Rsqrt(x *Tensor) *Tensor { return unary(opRsqrt, x) }

// Exp is eˣ.
func Exp(x *Tensor) *Tensor { return unary(opExp, x) }

// Log is the natural logarithm, NaN where x is negative.
func Log(x *Tensor) *Tensor { return unary(opLog, x) }

// Sin is the sine of x radians.
func Sin(x *Tensor) *Tensor { return unary(opSin, x) }

// Cos is the cosine of x radians.
func Cos(x *Tensor) *Tensor { return unary(opCos, x) }

// Tanh is the hyperbolic tangent.
func Tanh(x *Tensor) *Tensor { return unary(opTanh, x) }

// Sigmoid is 1/(1 + e⁻ˣ).
func Sigmoid(x *Tensor) *Tensor { return unary(opSigmoid, x) }

// ReLU is max(x, 0).
func ReLU(x *Tensor) *Tensor { return unary(opReLU, x) }

// SiLU is x·sigmoid(x), also called swish.
func SiLU(x *Tensor) *Tensor { return unary(opSiLU, x) }

// GELU is x·Φ(x) with the error function.
func GELU(x *Tensor) *Tensor { return unary(opGELU, x) }

// GELUTanh is GELU's tanh approximation.
func GELUTanh(x *Tensor) *Tensor { return unary(opGELUTanh, x) }

// QuickGELU is x·sigmoid(1.702x), CLIP's first GELU.
func QuickGELU(x *Tensor) *Tensor { return unary(opQuickGELU, x) }

// Softplus is log(1 + eˣ).
func Softplus(x *Tensor) *Tensor { return unary(opSoftplus, x) }

// Floor is the largest whole number that is not above x; its gradient is zero.
func Floor(x *Tensor) *Tensor { return unary(opFloor, x) }

// Round is the whole number nearest to x, the even one of two; its gradient is zero.
func Round(x *Tensor) *Tensor { return unary(opRound, x) }

// Erf is the error function, to 1.5e-7.
func Erf(x *Tensor) *Tensor { return unary(opErf, x) }

// ELU is x where x > 0, else alpha·(eˣ − 1) (Clevert et al. 2016).
func ELU(x *Tensor, alpha float64) *Tensor { return newNode(opELU, &UnaryAttr{A: alpha}, x) }

// Mish is x·tanh(softplus(x)) (Misra 2019).
func Mish(x *Tensor) *Tensor { return Mul(x, Tanh(Softplus(x))) }

// HardSwish is x·min(max(x + 3, 0), 6)/6 (Howard et al. 2019).
func HardSwish(x *Tensor) *Tensor { return Mul(x, Affine(Clamp(Affine(x, 1, 3), 0, 6), 1.0/6, 0)) }

// Snake is x + sin²(alpha·x)/alpha (Ziyin et al. 2020), alpha broadcast to x, as 1e-9 above it where it divides.
func Snake(x, alpha *Tensor) *Tensor {
	return Add(x, Div(Square(Sin(Mul(x, alpha))), Affine(alpha, 1, 1e-9)))
}

// Reciprocal is 1/x.
func Reciprocal(x *Tensor) *Tensor { return unary(opReciprocal, x) }

// Affine is scale·x + offset.
func Affine(x *Tensor, scale, offset float64) *Tensor {
	return newNode(opAffine, &UnaryAttr{scale, offset}, x)
}

// Clamp limits x to [lo, hi].
func Clamp(x *Tensor, lo, hi float64) *Tensor {
	if lo > hi {
		return fail(opClamp, x, "the range %v to %v is empty", lo, hi)
	}
	return newNode(opClamp, &UnaryAttr{lo, hi}, x)
}

// LeakyReLU is x where x > 0, else slope·x.
func LeakyReLU(x *Tensor, slope float64) *Tensor {
	return newNode(opLeakyReLU, &UnaryAttr{A: slope}, x)
}

// init gives each kind the factor that multiplies dy; the result n itself serves where that is cheapest.
func init() {
	times := func(op *Op, d func(x, y *Tensor, at *UnaryAttr) *Tensor) {
		op.VJP = func(n, dy *Tensor) []*Tensor {
			return []*Tensor{Mul(dy, d(n.In[0], n, n.Attr.(*UnaryAttr)))}
		}
	}
	times(opAbs, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return unary(opSign, x) })
	times(opSquare, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return Affine(x, 2, 0) })
	times(opSqrt, func(_, y *Tensor, _ *UnaryAttr) *Tensor { return Affine(Reciprocal(y), 0.5, 0) })
	times(opRsqrt, func(_, y *Tensor, _ *UnaryAttr) *Tensor { return Affine(Mul(y, Square(y)), -0.5, 0) })
	times(opExp, func(_, y *Tensor, _ *UnaryAttr) *Tensor { return y })
	times(opLog, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return Reciprocal(x) })
	times(opSin, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return Cos(x) })
	times(opCos, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return Neg(Sin(x)) })
	times(opTanh, func(_, y *Tensor, _ *UnaryAttr) *Tensor { return Affine(Square(y), -1, 1) })
	times(opSigmoid, func(_, y *Tensor, _ *UnaryAttr) *Tensor { return Mul(y, Affine(y, -1, 1)) })
	times(opReLU, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return unary(opStep, x) })
	times(opSiLU, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return unary(opSiLUGrad, x) })
	times(opGELU, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return unary(opGELUGrad, x) })
	times(opGELUTanh, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return unary(opGELUTanhGrad, x) })
	times(opQuickGELU, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return unary(opQuickGELUGrad, x) })
	times(opSoftplus, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return Sigmoid(x) })
	times(opReciprocal, func(_, y *Tensor, _ *UnaryAttr) *Tensor { return Neg(Square(y)) })
	times(opClamp, func(x, _ *Tensor, at *UnaryAttr) *Tensor { return newNode(opClampGrad, at, x) })
	times(opLeakyReLU, func(x, _ *Tensor, at *UnaryAttr) *Tensor { return Affine(unary(opStep, x), 1-at.A, at.A) })
	opNeg.VJP = func(_, dy *Tensor) []*Tensor { return []*Tensor{Neg(dy)} }
	opAffine.VJP = func(n, dy *Tensor) []*Tensor { return []*Tensor{Affine(dy, n.Attr.(*UnaryAttr).A, 0)} }
	times(opErf, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { return Affine(Exp(Neg(Square(x))), 2/math.SqrtPi, 0) })
	times(opELU, func(x, y *Tensor, at *UnaryAttr) *Tensor {
		above := unary(opStep, x)
		return Add(above, Mul(Affine(above, -1, 1), Affine(y, 1, at.A)))
	})
	// Constant between jumps. Gradients of gradients, such as a penalty of their length, come through step and sign.
	swish := func(k float64) func(x, _ *Tensor, _ *UnaryAttr) *Tensor {
		return func(x, _ *Tensor, _ *UnaryAttr) *Tensor { // k·s·(1 − s)·(2 + k·x·(1 − 2s)), s = sigmoid(k·x)
			s := Sigmoid(Affine(x, k, 0))
			bend := Affine(Mul(x, Affine(s, -2, 1)), k, 2)
			return Affine(Mul(Mul(s, Affine(s, -1, 1)), bend), k, 0)
		}
	}
	times(opSiLUGrad, swish(1))
	times(opQuickGELUGrad, swish(1.702))
	times(opGELUGrad, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { // the normal density times 2 − x²
		square := Square(x)
		return Mul(Affine(Exp(Affine(square, -0.5, 0)), 1/math.Sqrt(2*math.Pi), 0), Affine(square, -1, 2))
	})
	times(opGELUTanhGrad, func(x, _ *Tensor, _ *UnaryAttr) *Tensor { // (1 − t²)·(u′ + x·u″/2 − x·t·u′²), t = tanh(u)
		c, square := math.Sqrt(2/math.Pi), Square(x)
		t := Tanh(Affine(Mul(x, Affine(square, 0.044715, 1)), c, 0))
		slope := Affine(square, 3*0.044715*c, c)
		bend := Sub(Add(slope, Affine(square, 3*0.044715*c, 0)), Mul(Mul(x, t), Square(slope)))
		return Mul(Affine(Square(t), -1, 1), bend)
	})
	for _, op := range []*Op{opFloor, opRound, opStep, opSign} {
		op.VJP = func(_, _ *Tensor) []*Tensor { return []*Tensor{nil} }
	}
}

func unaryLower(n *Tensor, lw *Lowering, glsl string) []Launch {
	at := n.Attr.(*UnaryAttr)
	return []Launch{elementwise(n, lw, "unary", true, map[string]string{"F": glsl}, []Operand{{Name: "X", T: n.In[0]}},
		Float("a", float32(at.A)), Float("b", float32(at.B)))}
}
