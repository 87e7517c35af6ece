package compute

import "math"

// Act is an activation that matmul, conv and norm kernels apply to their result before it is stored.
type Act uint8

// Activations. GELU is the erf form, GELUTanh its tanh approximation, QuickGELU is x·sigmoid(1.702x) (CLIP).
const (
	ActNone Act = iota
	ActReLU
	ActSiLU
	ActGELU
	ActGELUTanh
	ActQuickGELU
	ActTanh
	ActSigmoid
)

var actNames = [...]string{"none", "relu", "silu", "gelu", "gelu_tanh", "quick_gelu", "tanh", "sigmoid"}

// String is the activation's name, which is also that of its function in shaders/include/activation.glsl after "act_".
func (a Act) String() string {
	if int(a) < len(actNames) {
		return actNames[a]
	}
	return "unknown"
}

// GLSL is the shader function that computes the activation of a float or a vec4.
func (a Act) GLSL() string { return "act_" + a.String() }

// Eval is the activation's definition.
func (a Act) Eval(x float64) float64 {
	switch a {
	case ActReLU:
		return math.Max(x, 0)
	case ActSiLU:
		return x / (1 + math.Exp(-x))
	case ActGELU:
		return 0.5 * x * (1 + math.Erf(x/math.Sqrt2))
	case ActGELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case ActQuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	case ActTanh:
		return math.Tanh(x)
	case ActSigmoid:
		return 1 / (1 + math.Exp(-x))
	}
	return x
}

// Apply is the activation as a node of its own, which carries the gradient.
func (a Act) Apply(x *Tensor) *Tensor {
	switch a {
	case ActReLU:
		return ReLU(x)
	case ActSiLU:
		return SiLU(x)
	case ActGELU:
		return GELU(x)
	case ActGELUTanh:
		return GELUTanh(x)
	case ActQuickGELU:
		return QuickGELU(x)
	case ActTanh:
		return Tanh(x)
	case ActSigmoid:
		return Sigmoid(x)
	}
	return x
}

// grad is the gradient with respect to pre, where a(pre) has gradient dy.
func (a Act) grad(pre, dy *Tensor) *Tensor {
	if a == ActNone || pre.err != nil {
		return dy
	}
	y := a.Apply(pre)
	return y.Op.VJP(y, dy)[0]
}

// Slope is the activation's derivative.
func (a Act) Slope(x float64) float64 {
	switch a {
	case ActReLU:
		return step(x)
	case ActSiLU:
		return swishGrad(x, 1)
	case ActGELU:
		return geluGrad(x)
	case ActGELUTanh:
		return geluTanhGrad(x)
	case ActQuickGELU:
		return swishGrad(x, 1.702)
	case ActTanh:
		return 1 - math.Tanh(x)*math.Tanh(x)
	case ActSigmoid:
		return sigmoid(x) * (1 - sigmoid(x))
	}
	return 1
}

// epilogueOperands are the bias and the residual of a product or a convolution, nil where absent.
func epilogueOperands(n *Tensor, hasBias, hasResidual bool) (bias, residual *Tensor) {
	rest := n.In[2:]
	if hasBias {
		bias, rest = rest[0], rest[1:]
	}
	if hasResidual {
		residual = rest[0]
	}
	return bias, residual
}
