package computetest

import (
	"fmt"
	"strings"

	"atelier/compute"
)

var _ = area("elementwise", elementwiseCases)

// tensors is short for operand lists.
type tensors = []*compute.Tensor

// sizes straddle the texel, the workgroup and the elements of one workgroup of the elementwise shaders.
var sizes = []int{1, 3, 63, 64, 65, 257, 1025}

func elementwiseCases() []Case {
	var cs []Case
	cs = append(cs, unaryCases()...)
	cs = append(cs, binaryCases()...)
	cs = append(cs, gatedCases()...)
	cs = append(cs, castCases()...)
	cs = append(cs, randomCases()...)
	cs = append(cs, timestepCases()...)
	return cs
}

// unaryKinds lists each unary op with operand values inside its domain and clear of its kinks.
var unaryKinds = []struct {
	op    string
	build func(x *compute.Tensor) *compute.Tensor
	in    In
	grad  bool
}{
	{"neg", compute.Neg, In{}, true},
	{"abs", compute.Abs, In{Kind: Away}, true},
	{"square", compute.Square, In{}, true},
	{"sqrt", compute.Sqrt, In{Kind: Positive}, true},
	{"rsqrt", compute.Rsqrt, In{Kind: Positive}, true},
	{"exp", compute.Exp, In{}, true},
	{"log", compute.Log, In{Kind: Positive}, true},
	{"sin", compute.Sin, In{Scale: 3}, true},
	{"cos", compute.Cos, In{Scale: 3}, true},
	{"tanh", compute.Tanh, In{}, true},
	{"sigmoid", compute.Sigmoid, In{Scale: 3}, true},
	{"relu", compute.ReLU, In{Kind: Away}, true},
	{"silu", compute.SiLU, In{Scale: 2}, true},
	{"gelu", compute.GELU, In{}, true},
	{"gelu_tanh", compute.GELUTanh, In{}, true},
	{"quick_gelu", compute.QuickGELU, In{}, true},
	{"softplus", compute.Softplus, In{Scale: 3}, true},
	{"erf", compute.Erf, In{}, true},
	{"round", compute.Round, In{Scale: 5}, false},
	{"elu", func(x *compute.Tensor) *compute.Tensor { return compute.ELU(x, 0.75) }, In{Kind: Away}, true},
	{"floor", compute.Floor, In{Scale: 5}, false},
	{"reciprocal", compute.Reciprocal, In{Kind: Away}, true},
	{"affine", func(x *compute.Tensor) *compute.Tensor { return compute.Affine(x, -1.5, 0.25) }, In{}, true},
	{"clamp", func(x *compute.Tensor) *compute.Tensor { return compute.Clamp(x, -0.125, 2.0) }, In{Kind: Away}, true},
	{"leaky_relu", func(x *compute.Tensor) *compute.Tensor { return compute.LeakyReLU(x, 0.2) }, In{Kind: Away}, true},
}

// derivativeKinds are the ops that only gradients make: they are reached through the op that they are the derivative of.
var derivativeKinds = []struct {
	op, of string
}{
	{"sign", "abs"}, {"step", "relu"}, {"silu_grad", "silu"}, {"gelu_grad", "gelu"}, {"gelu_tanh_grad", "gelu_tanh"},
	{"quick_gelu_grad", "quick_gelu"}, {"clamp_grad", "clamp"},
}

func unaryCases() []Case {
	var cs []Case
	builders := map[string]func(x *compute.Tensor) *compute.Tensor{}
	for _, k := range unaryKinds {
		builders[k.op] = k.build
		for _, n := range sizes {
			in := k.in
			in.Shape = []int{n}
			cs = append(cs, Case{Op: k.op, Name: fmt.Sprint(n), In: []In{in}, Grad: k.grad && n < 100,
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return k.build(in[0]) }})
		}
		if k.op == "silu" || k.op == "gelu" {
			cs = append(cs, Case{Op: k.op, Name: "1x64x64x320", In: []In{{Shape: []int{1, 64, 64, 320}, Param: true}}, Bench: true,
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return k.build(in[0]) }})
		}
	}
	for _, k := range derivativeKinds {
		for _, n := range []int{1, 65, 1025} {
			kind := Normal
			if k.op == "sign" || k.op == "step" {
				kind = Away
			}
			cs = append(cs, Case{Op: k.op, Name: fmt.Sprint(n), In: []In{{Shape: []int{n}, Kind: kind}}, Grad: n < 100 && (k.of == "silu" || strings.Contains(k.of, "gelu")),
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
					return compute.Grad(compute.Sum(builders[k.of](in[0]), false), in[0])[0]
				}})
		}
	}
	return append(cs, Case{Op: "silu", Name: "half", In: []In{{Shape: []int{7, 13}, F16: true}},
		Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.SiLU(in[0]) }})
}

// binaryKinds lists each binary op with the values of its operands.
var binaryKinds = []struct {
	op    string
	build func(a, b *compute.Tensor) *compute.Tensor
	a, b  Kind
	grad  bool
	tol   float64
}{
	{"add", compute.Add, Normal, Normal, true, 0},
	{"sub", compute.Sub, Normal, Normal, true, 0},
	{"mul", compute.Mul, Normal, Normal, true, 0},
	{"div", compute.Div, Normal, Positive, true, 0},
	{"minimum", compute.Minimum, Distinct, Away, true, 0},
	{"maximum", compute.Maximum, Distinct, Away, true, 0},
	{"pow", compute.Pow, Positive, Normal, true, 1e-4},
	{"less", compute.Less, Normal, Normal, false, 0},
	{"equal", compute.Equal, Index(3), Index(3), false, 0},
	{"prelu", compute.PReLU, Away, Positive, true, 0},
}

// broadcasts are operand shapes: the same; a channel vector; one element; interleaved axes; and more than three merged axes.
var broadcasts = [][2][]int{
	{{1}, {1}}, {{3}, {3}}, {{257}, {257}}, {{5, 65}, {5, 65}}, {{1025}, {1}},
	{{3, 7, 64}, {64}}, {{3, 7, 63}, {63}}, {{4, 1, 64}, {1, 5, 64}}, {{2, 3, 5}, {2, 1, 5}}, {{2, 65, 8}, {2, 65, 1}},
	{{2, 3, 2, 3, 2, 4}, {2, 1, 2, 1, 2, 1}}, {{3, 2, 3, 2, 3}, {3, 1, 3, 1, 3}},
}

func binaryCases() []Case {
	var cs []Case
	for _, k := range binaryKinds {
		build := func(_ *compute.Graph, in tensors) *compute.Tensor { return k.build(in[0], in[1]) }
		for _, s := range broadcasts {
			n := max(compute.Shape(s[0]).Size(), compute.Shape(s[1]).Size())
			if both, _ := compute.Broadcast(s[0], s[1]); k.op == "prelu" && !both.Equal(s[0]) { // slopes stretch to x, never x to slopes
				continue
			}
			cs = append(cs, Case{Op: k.op, Name: fmt.Sprint(s[0], s[1]), Build: build, Grad: k.grad && n < 100, Tol: k.tol,
				In: []In{{Shape: s[0], Kind: k.a}, {Shape: s[1], Kind: k.b}}})
		}
		if k.op != "prelu" { // the other way round: the first operand stretches
			cs = append(cs, Case{Op: k.op, Name: "first stretches", Build: build, Grad: k.grad, Tol: k.tol,
				In: []In{{Shape: []int{4, 1}, Kind: k.a}, {Shape: []int{3, 4, 5}, Kind: k.b}}})
		}
	}
	add := func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Add(in[0], in[1]) }
	big := []int{1, 64, 64, 320}
	return append(cs,
		Case{Op: "add", Name: "1x64x64x320", Build: add, Bench: true, In: []In{{Shape: big, Param: true}, {Shape: big, Param: true}}},
		Case{Op: "add", Name: "1x64x64x320 channels", Build: add, Bench: true, In: []In{{Shape: big, Param: true}, {Shape: []int{320}, Param: true}}})
}

func gatedCases() []Case {
	var cs []Case
	for _, act := range []compute.Act{compute.ActNone, compute.ActSiLU, compute.ActGELU, compute.ActGELUTanh, compute.ActSigmoid} {
		for _, s := range [][]int{{1, 2}, {3, 6}, {2, 5, 128}, {3, 130}} {
			cs = append(cs, Case{Op: "glu", Name: fmt.Sprint(act, s), In: []In{{Shape: s}}, Grad: compute.Shape(s).Size() < 500,
				Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.GLU(in[0], act) }})
		}
	}
	return append(cs, Case{Op: "glu", Name: "4096x2560", In: []In{{Shape: []int{4096, 2560}, Param: true}}, Bench: true,
		Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.GLU(in[0], compute.ActGELU) }})
}

func castCases() []Case {
	var cs []Case
	for _, n := range sizes {
		cs = append(cs, Case{Op: "cast", Name: fmt.Sprint("to half and back ", n), In: []In{{Shape: []int{n}}}, Tol: 1e-30,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.Cast(compute.Cast(in[0], compute.F16), compute.F32)
			}})
	}
	return append(cs,
		Case{Op: "cast", Name: "subnormal halves", In: []In{{Shape: []int{999}, Scale: 1e-6}}, Tol: 1e-30,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.Cast(compute.Cast(in[0], compute.F16), compute.F32)
			}},
		Case{Op: "cast", Name: "overflow", In: []In{{Shape: []int{999}, Scale: 60000}}, Tol: 1e-30,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.Cast(compute.Cast(in[0], compute.F16), compute.F32)
			}},
		Case{Op: "cast", Name: "widen a half parameter", In: []In{{Shape: []int{7, 5}, F16: true}}, Tol: 1e-30,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Cast(in[0], compute.F32) }},
		Case{Op: "cast", Name: "half result", In: []In{{Shape: []int{65}}}, Tol: 1e-30,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor { return compute.Cast(in[0], compute.F16) }})
}

func randomCases() []Case {
	var cs []Case
	for _, n := range sizes {
		for _, seed := range []uint64{1, 0xfedcba9876543210} {
			key := func(g *compute.Graph) *compute.Tensor {
				return g.Const("key", compute.RandomKey(seed, 7), compute.RandomKeySize)
			}
			cs = append(cs,
				Case{Op: "random_normal", Name: fmt.Sprint(seed, " ", n), Build: func(g *compute.Graph, _ tensors) *compute.Tensor { return compute.RandomNormal(key(g), n) }},
				Case{Op: "random_uniform", Name: fmt.Sprint(seed, " ", n), Tol: 2e-7, Build: func(g *compute.Graph, _ tensors) *compute.Tensor { return compute.RandomUniform(key(g), n) }})
		}
	}
	return append(cs, Case{Op: "random_normal", Name: "100003", Build: func(g *compute.Graph, _ tensors) *compute.Tensor {
		return compute.RandomNormal(g.Const("key", compute.RandomKey(42, 0), compute.RandomKeySize), 100003)
	}})
}

func timestepCases() []Case {
	var cs []Case
	for _, c := range []struct {
		name     string
		b, dim   int
		o        compute.TimestepOpts
		t        Kind
		tol      float64
		gradient bool
	}{
		{"stable diffusion", 2, 320, compute.TimestepOpts{FlipSinToCos: true}, Index(1000), 1e-4, false},
		{"sine first, odd", 3, 33, compute.TimestepOpts{Shift: 1}, Index(1000), 1e-4, false},
		{"scaled", 65, 4, compute.TimestepOpts{Scale: 1000, MaxPeriod: 100}, Uniform, 1e-4, false},
		{"one row", 1, 2, compute.TimestepOpts{}, Uniform, 0, true},
		{"gradient", 5, 7, compute.TimestepOpts{FlipSinToCos: true, MaxPeriod: 10}, Normal, 0, true},
	} {
		cs = append(cs, Case{Op: "timestep_embedding", Name: c.name, In: []In{{Shape: []int{c.b}, Kind: c.t}}, Tol: c.tol, Grad: c.gradient,
			Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
				return compute.TimestepEmbedding(in[0], c.dim, c.o)
			}})
	}
	return cs
}
