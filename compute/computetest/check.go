package computetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"atelier/compute"
)

// defaultTolerance is for ops whose float32 result should be good to a few roundings.
const defaultTolerance = 2e-5

// Reference evaluates tensors by their ops' definitions; feed holds the inputs of each run by name. Variables have the values
// that the graph's updates leave.
func Reference(ts []*compute.Tensor, feed map[string][]float32) ([][]float32, error) {
	done := map[*compute.Tensor][]float32{}
	var eval func(t *compute.Tensor) ([]float32, error)
	eval = func(t *compute.Tensor) ([]float32, error) {
		if v, ok := done[t]; ok || t.Err() != nil {
			return v, t.Err()
		}
		v := make([]float32, t.Shape().Size())
		switch {
		case t.IsInput():
			copy(v, feed[t.Name()])
		case t.IsParam():
			if err := t.Src.Read(v); err != nil {
				return nil, err
			}
		default:
			in := make([][]float32, len(t.In))
			for i, x := range t.In {
				var err error
				if in[i], err = eval(x); err != nil {
					return nil, err
				}
			}
			compute.EvalRef(t, in, v)
		}
		done[t] = v
		return v, nil
	}
	out := make([][]float32, len(ts))
	for i, t := range ts {
		var err error
		if out[i], err = eval(t); err != nil {
			return nil, err
		}
	}
	if len(ts) > 0 {
		return out, update(ts[0].Graph(), eval)
	}
	return out, nil
}

// update runs the updates of g on the variables that eval holds, once every other operand is known.
func update(g *compute.Graph, eval func(t *compute.Tensor) ([]float32, error)) error {
	if g == nil {
		return nil
	}
	var operands [][][]float32
	for _, u := range g.Updates() {
		in := make([][]float32, len(u.In))
		for i, x := range u.In {
			var err error
			if in[i], err = eval(x); err != nil {
				return err
			}
		}
		operands = append(operands, in)
	}
	for i, u := range g.Updates() {
		compute.EvalRef(u, operands[i], nil)
	}
	return nil
}

// run compiles g for dev, replays it once and reads the tensors that are its outputs.
func run(ctx context.Context, dev compute.Device, g *compute.Graph, ts []*compute.Tensor, feed map[string][]float32) ([][]float32, error) {
	out := map[string][]float32{}
	results := make([][]float32, len(ts))
	for i, t := range ts {
		if t.Err() != nil {
			return nil, t.Err()
		}
		name := fmt.Sprintf("out%d", i)
		g.Output(name, t)
		results[i] = make([]float32, t.Shape().Size())
		out[name] = results[i]
	}
	plan, err := g.Compile(dev.Limits())
	if err != nil {
		return nil, err
	}
	exe, err := dev.Load(ctx, plan)
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	fed := map[string][]float32{}
	for _, t := range plan.Inputs { // a graph may not need all of its inputs
		fed[t.Name()] = feed[t.Name()]
	}
	return results, exe.Run(ctx, fed, out)
}

// CheckDevice computes the case on dev and compares the result with the op's definition. The error names the first element
// that differs by more than the case's tolerance, and is then a *Difference.
func CheckDevice(ctx context.Context, dev compute.Device, c Case) error {
	g, _, y, feed := c.graph(false)
	got, err := run(ctx, dev, g, []*compute.Tensor{y}, feed)
	if err != nil {
		return fmt.Errorf("%v: %w", &c, err)
	}
	want, err := Reference([]*compute.Tensor{y}, feed)
	if err != nil {
		return fmt.Errorf("%v: %w", &c, err)
	}
	tol := c.Tol
	if tol == 0 {
		tol = defaultTolerance
	}
	if err := Compare(got[0], want[0], tol); err != nil {
		return fmt.Errorf("%v %v: %w", &c, y.Shape(), err)
	}
	return nil
}

// Difference says where a result is not what the definition gives. Any other error of CheckDevice means that the device could
// not run the case at all, which says nothing of its kernels.
type Difference struct {
	Index             int
	Got, Want         float64
	Relative, Allowed float64 // of the largest magnitude
}

func (d *Difference) Error() string {
	return fmt.Sprintf("element %d is %g, its definition gives %g (difference %.2g of the largest, %.2g is allowed)", d.Index, d.Got, d.Want, d.Relative, d.Allowed)
}

// Compare names the first element of got that differs from want by more than tol times the largest finite magnitude of want.
// NaN matches only NaN, and an infinity only itself.
func Compare(got, want []float32, tol float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d values instead of %d", len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		if a := math.Abs(float64(w)); a > largest && !math.IsInf(a, 0) {
			largest = a
		}
	}
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		if math.IsNaN(g) != math.IsNaN(w) || g != w && !math.IsNaN(w) && !(math.Abs(g-w) <= tol*largest) {
			return &Difference{Index: i, Got: g, Want: w, Relative: math.Abs(g-w) / largest, Allowed: tol}
		}
	}
	return nil
}

const (
	gradTolerance  = 5e-3 // of the gradient's scale
	gradElements   = 6    // single elements that are varied for each operand
	gradDirections = 2    // and random directions that move all elements at once
)

// CheckGrad compares gradients computed on dev with finite differences of the definition. The loss is a random projection of the
// result, summed in float64.
func CheckGrad(ctx context.Context, dev compute.Device, c Case) error {
	g, in, y, feed := c.graph(true)
	if y.Err() != nil {
		return fmt.Errorf("%v: %w", &c, y.Err())
	}
	r := rand.New(rand.NewPCG(7, 11))
	weights := make([]float32, y.Shape().Size())
	for i := range weights {
		weights[i] = float32(r.NormFloat64())
	}
	loss := compute.Sum(compute.Mul(y, g.Const("projection", weights, y.Shape()...)), false)
	var wrt []*compute.Tensor
	var which []int
	for i, spec := range c.In {
		if spec.Kind <= 0 && !spec.NoGrad {
			wrt, which = append(wrt, in[i]), append(which, i)
		}
	}
	if len(wrt) == 0 {
		return fmt.Errorf("%v: no operand to differentiate by", &c)
	}
	grads, err := run(ctx, dev, g, compute.Grad(loss, wrt...), feed)
	if err != nil {
		return fmt.Errorf("%v: gradient: %w", &c, err)
	}
	for k, got := range grads {
		if err := checkOperand(c.In[which[k]], wrt[k].Name(), y, feed, weights, got, r); err != nil {
			return fmt.Errorf("%v: gradient of operand %d: %w", &c, which[k], err)
		}
	}
	return nil
}

// checkOperand varies one operand along single elements and random directions.
func checkOperand(spec In, name string, y *compute.Tensor, feed map[string][]float32, weights, grad []float32, r *rand.Rand) error {
	most, norm := 0.0, 0.0
	for _, v := range grad {
		most = math.Max(most, math.Abs(float64(v)))
		norm += float64(v) * float64(v)
		if math.IsNaN(float64(v)) {
			return fmt.Errorf("NaN")
		}
	}
	step := 0.01
	if spec.Scale != 0 {
		step *= spec.Scale
	}
	for trial := range gradElements + gradDirections {
		direction, scale := make([]float32, len(grad)), math.Sqrt(norm)
		what := "a random direction"
		if trial < gradElements {
			i := r.IntN(len(grad))
			direction[i], scale, what = 1, most, fmt.Sprintf("element %d", i)
		} else {
			for i := range direction {
				direction[i] = float32(1 - 2*r.IntN(2))
			}
		}
		want, err := derivative(y, feed, name, direction, step, weights)
		if err != nil {
			return err
		}
		got := 0.0
		for i, d := range direction {
			got += float64(d) * float64(grad[i])
		}
		if !(math.Abs(got-want) <= gradTolerance*math.Max(scale, math.Max(math.Abs(want), 1e-6))) {
			return fmt.Errorf("along %s %g, finite differences give %g (scale %g)", what, got, want, scale)
		}
	}
	return nil
}

// derivative is the five-point central difference of the projection along a direction of one input.
func derivative(y *compute.Tensor, feed map[string][]float32, name string, direction []float32, h float64, weights []float32) (float64, error) {
	at := func(t float64) (float64, error) {
		moved := map[string][]float32{}
		for k, v := range feed {
			moved[k] = v
		}
		v := append([]float32(nil), feed[name]...)
		for i, d := range direction {
			v[i] += float32(t * float64(d))
		}
		moved[name] = v
		out, err := Reference([]*compute.Tensor{y}, moved)
		if err != nil {
			return 0, err
		}
		sum := 0.0
		for i, w := range weights {
			sum += float64(w) * float64(out[0][i])
		}
		return sum, nil
	}
	total := 0.0
	for _, p := range []struct{ t, weight float64 }{{-2, 1}, {-1, -8}, {1, 8}, {2, -1}} {
		f, err := at(p.t * h)
		if err != nil {
			return 0, err
		}
		total += p.weight * f
	}
	return total / (12 * h), nil
}
