// Package computetest holds one list of cases for every op, used four ways: a device against the op's definition,
// gradients against finite differences, benchmarks, and the self-check at the first run on a new device.
package computetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"atelier/compute"
)

// Kind says how an operand's values are drawn.
type Kind int

// Kinds of operand values. Index(max) draws whole numbers.
const (
	Normal   Kind = 0  // standard normal
	Uniform  Kind = -1 // in [−1, 1)
	Positive Kind = -2 // in [0.5, 2), for logarithms, divisors and scales
	Away     Kind = -3 // magnitude in [0.25, 1.5), either sign: clear of a kink at zero
	Distinct Kind = -4 // evenly spaced over [−2, 2] in random order: no ties for max and sorting kinks
)

// Index draws whole numbers in [0, max).
func Index(max int) Kind { return Kind(max) }

// In is an operand of a case.
type In struct {
	Shape  []int
	Kind   Kind
	Scale  float64       // multiplies the drawn values; 0 means 1
	Param  bool          // a parameter, uploaded with the plan, rather than an input of each run
	F16    bool          // a parameter stored as half
	Blocks compute.DType // a parameter of random blocks of this block-quantised type; Kind and Scale don't matter
	NoGrad bool          // the op gives this operand no gradient
}

// Case is one op at one size.
type Case struct {
	Op    string // compute.Op.Name of the op under test
	Name  string // tells the op's cases apart
	In    []In
	Build func(g *compute.Graph, in []*compute.Tensor) *compute.Tensor
	Tol   float64 // largest difference between device and definition, relative to max|definition|; 0 means 2e-5
	Grad  bool    // gradients of all operands but Index ones are checked by finite differences
	Bench bool    // timed by the benchmark
}

// String is "op/name".
func (c *Case) String() string { return c.Op + "/" + c.Name }

// areas holds the case lists of the files cases_<area>.go, registered in package initialisation only.
var areas = map[string]func() []Case{}

// area registers a file's cases: var _ = area("norms", normCases).
func area(name string, cases func() []Case) bool {
	areas[name] = cases
	return true
}

// Cases lists all cases, op by op in the order of their names.
func Cases() []Case {
	var all []Case
	for _, cases := range areas {
		all = append(all, cases()...)
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].Op != all[j].Op {
			return all[i].Op < all[j].Op
		}
		return all[i].Name < all[j].Name
	})
	return all
}

// Of lists the cases of one op.
func Of(op string) []Case {
	var cs []Case
	for _, c := range Cases() {
		if c.Op == op {
			cs = append(cs, c)
		}
	}
	return cs
}

// values draws the operand's elements; the same case and operand always get the same ones.
func (in In) values(r *rand.Rand) []float32 {
	n := compute.Shape(in.Shape).Size()
	v := make([]float32, n)
	order := []int(nil)
	if in.Kind == Distinct {
		order = r.Perm(n)
	}
	scale := in.Scale
	if scale == 0 {
		scale = 1
	}
	for i := range v {
		x := 0.0
		switch in.Kind {
		case Normal:
			x = r.NormFloat64()
		case Uniform:
			x = 2*r.Float64() - 1
		case Positive:
			x = 0.5 + 1.5*r.Float64()
		case Away:
			x = math.Copysign(0.25+1.25*r.Float64(), r.Float64()-0.5)
		case Distinct:
			x = 4*(float64(order[i])+0.5)/float64(n) - 2
		default:
			x = float64(r.IntN(int(in.Kind)))
		}
		v[i] = float32(x * scale)
		if in.F16 {
			v[i] = compute.HalfFloat(compute.HalfBits(v[i]))
		}
	}
	return v
}

// graph records the case. Operands that are inputs of each run are named in0, in1, …; asInputs makes all of them so.
func (c *Case) graph(asInputs bool) (g *compute.Graph, in []*compute.Tensor, y *compute.Tensor, feed map[string][]float32) {
	g, feed = compute.NewGraph(), map[string][]float32{}
	for i, spec := range c.In {
		r := rand.New(rand.NewPCG(uint64(i)+1, uint64(len(c.Name))<<8|uint64(len(c.In))))
		if spec.Blocks.Blocks() {
			in = append(in, g.Param(fmt.Sprintf("in%d", i), blockValues(r, spec.Blocks, compute.Shape(spec.Shape).Size()), spec.Shape...))
			continue
		}
		v, name := spec.values(r), fmt.Sprintf("in%d", i)
		if (spec.Param || spec.F16) && !asInputs {
			t := compute.F32
			if spec.F16 {
				t = compute.F16
			}
			in = append(in, g.Param(name, &compute.Values{Data: v, Type: t}, spec.Shape...))
			continue
		}
		in = append(in, g.Input(name, spec.Shape...))
		feed[name] = v
	}
	return g, in, c.Build(g, in), feed
}

// Tensor records the case in a graph of its own and gives the result, or the error of an op that refuses its operands.
func (c *Case) Tensor() (*compute.Tensor, error) {
	_, _, y, _ := c.graph(false)
	return y, y.Err()
}
