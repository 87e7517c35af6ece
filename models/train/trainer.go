package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"atelier/compute"
	"atelier/models/nn"
)

// Config is the settings of a training run.
type Config struct {
	Optimiser  Optimiser
	Schedule   Schedule
	ClipNorm   float64 // bounds the length of all gradients together; 0 is no bound
	Accumulate int     // batches whose mean gradient makes a step; 0 means 1
	EMADecay   float64 // of the parameters' moving average; 0 is none
	EMAWarmup  bool    // the average starts short: its decay is at most (1 + step)/(10 + step)
	Half       bool    // the forward and backward passes read half-precision copies of the float32 parameters
	Seed       uint64  // of everything that is drawn
	// Variant says by which variant of the loss a batch is measured, counted from 0; nil means 0 always. Variants differ in what is
	// read off a Pass's, such as the size of pictures, and train the same parameters. Each has a plan of its own.
	Variant func(batch map[string][]float32) int
	// Decays says whether weight decay applies to a parameter; nil means to every one. Matrices spares vectors.
	Decays func(p *nn.Param) bool
}

func (c *Config) check() error {
	if c.Accumulate < 0 || !(c.ClipNorm >= 0) || !(c.EMADecay >= 0 && c.EMADecay < 1) {
		return fmt.Errorf("train: %d batches a step, gradients clipped at %v, an average that keeps %v: none can be negative, and the last must be under 1", c.Accumulate, c.ClipNorm, c.EMADecay)
	}
	if err := c.Optimiser.check(); err != nil {
		return err
	}
	return c.Schedule.Check(c.Optimiser.Rate)
}

// Pass is what a Loss records itself in.
type Pass struct {
	Graph *compute.Graph
	// Key [8] differs from batch to batch and is the same when training resumes: what noise and dropout are drawn from.
	Key *compute.Tensor
	// Variant is the one of Config.Variant that is recorded.
	Variant int
	// Training is false where the loss is only measured.
	Training bool
}

// DropoutKey is the key that dropout draws from, nil where nothing is to be dropped.
func (p Pass) DropoutKey() *compute.Tensor {
	if p.Training {
		return p.Key
	}
	return nil
}

// Loss declares its inputs in the graph, and records a forward pass and the loss [1]. It may name further outputs, which reports
// then carry, and say which activations to keep (compute.Graph.Keep).
type Loss func(p Pass) *compute.Tensor

// Names of a step's own inputs and outputs.
const (
	inKey, inRate, inEMA, inSum = "train.key", "train.rate", "train.average", "train.sum"
	outLoss, outNorm            = "train.loss", "train.norm"
)

// trained is one parameter with its state.
type trained struct {
	param  *nn.Param
	value  *compute.Variable
	states []*compute.Variable
	ema    *compute.Variable // nil without
	sum    *compute.Variable // of gradients, nil where a step is one batch
}

// Trainer trains parameters on one device. Its methods are called one at a time.
type Trainer struct {
	dev    compute.Device
	config Config
	loss   Loss
	params []*trained
	steps  int // done

	stretches int                // of the forward pass that are computed twice; 0 for none
	batch     map[int]*loaded    // of a step, by variant
	apply     *loaded            // nil where a step is one batch
	eval      [2]map[int]*loaded // without and with averages
	values    *loaded            // reads variables
	restored  *restored          // what variables start from until the device has them; nil without
}

// loaded is a plan on the device.
type loaded struct {
	plan *compute.Plan
	exe  compute.Executable
}

// New makes params trainable: from now on their Sources are variables. A parameter that is listed twice is trained once. Plans
// are built at the first step.
func New(dev compute.Device, params []*nn.Param, loss Loss, c Config) (*Trainer, error) {
	if c.Accumulate == 0 {
		c.Accumulate = 1
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(params) == 0 {
		return nil, errors.New("train: there are no parameters to train")
	}
	t := &Trainer{dev: dev, config: c, loss: loss}
	seen := map[*nn.Param]bool{}
	names := map[string]bool{}
	for _, p := range params {
		if seen[p] {
			continue
		}
		if seen[p] = true; names[p.Name] {
			return nil, fmt.Errorf("train: two parameters are called %q", p.Name)
		}
		names[p.Name] = true
		value, ok := p.Source.(*compute.Variable)
		if !ok {
			value = &compute.Variable{Start: p.Source}
		}
		p.Source = value
		one := &trained{param: p, value: value}
		for range c.Optimiser.states() {
			one.states = append(one.states, &compute.Variable{})
		}
		if c.EMADecay > 0 {
			one.ema = &compute.Variable{Start: value.Start}
		}
		if c.Accumulate > 1 {
			one.sum = &compute.Variable{}
		}
		t.params = append(t.params, one)
	}
	return t, nil
}

// Steps is how many steps have been done, those before a resume included.
func (t *Trainer) Steps() int { return t.steps }

// in is a variable in g.
func (p *trained) in(g *compute.Graph, name string, v *compute.Variable) *compute.Tensor {
	return g.Param(p.param.Name+name, v, p.param.Shape...)
}

// forward records the loss, and gives the parameters that gradients are wanted of.
func (t *Trainer) forward(g *compute.Graph, training, averaged bool, variant int) (loss *compute.Tensor, wrt []*compute.Tensor) {
	for _, p := range t.params {
		v := p.in(g, "", p.value)
		wrt = append(wrt, v)
		if averaged {
			v = p.in(g, " average", p.ema)
		}
		if t.config.Half {
			v = compute.Cast(v, compute.F16)
		}
		if v != wrt[len(wrt)-1] {
			g.Bind(p.value, v)
		}
	}
	loss = t.loss(Pass{Graph: g, Key: g.Input(inKey, compute.RandomKeySize), Variant: variant, Training: training})
	g.Output(outLoss, loss)
	return loss, wrt
}

// update records clipping, the optimiser and the averages, from the gradients of all batches of a step together.
func (t *Trainer) update(g *compute.Graph, values, grads []*compute.Tensor) {
	c := &t.config
	var squares *compute.Tensor
	for _, d := range grads {
		s := compute.SumSquares(d, false)
		if squares == nil {
			squares = s
		} else {
			squares = compute.Add(squares, s)
		}
	}
	share := 1 / float64(c.Accumulate)
	norm := compute.Affine(compute.Sqrt(squares), share, 0)
	g.Output(outNorm, norm)
	one := g.Const("one", []float32{1}, 1)
	scale := compute.Affine(one, share, 0)
	if c.ClipNorm > 0 {
		ratio := compute.Affine(compute.Reciprocal(compute.Affine(norm, 1, 1e-6)), c.ClipNorm, 0)
		scale = compute.Mul(scale, compute.Minimum(ratio, one))
	}
	// Where gradients are infinite or no numbers, neither is the scale, and nothing changes.
	scale = compute.Add(scale, compute.Sub(norm, norm))
	rate := g.Input(inRate, 4)
	for i, p := range t.params {
		var states []*compute.Tensor
		for k, s := range p.states {
			states = append(states, p.in(g, fmt.Sprint(" state ", k), s))
		}
		c.Optimiser.update(values[i], states, grads[i], scale, rate, c.Decays == nil || c.Decays(p.param))
	}
	if c.EMADecay > 0 {
		average := g.Input(inEMA, 4)
		for i, p := range t.params {
			compute.Accumulate(p.in(g, " average", p.ema), values[i], average)
		}
	}
}

// Prepare builds and loads the plans of a step of variant 0. Step does it where it has not been done.
func (t *Trainer) Prepare(ctx context.Context) error { return t.prepare(ctx, 0) }

// prepare builds and loads the plans of a step of a variant.
func (t *Trainer) prepare(ctx context.Context, variant int) error {
	if t.batch[variant] != nil {
		return nil
	}
	batch, err := t.load(ctx, t.record(variant))
	var full *compute.MemoryError
	for t.stretches < mostStretches && errors.As(err, &full) {
		t.stretches = max(2*t.stretches, 2)
		batch, err = t.load(ctx, t.record(variant))
	}
	if err != nil {
		return err
	}
	if t.config.Accumulate > 1 && t.apply == nil {
		g := compute.NewGraph()
		var values, sums []*compute.Tensor
		for _, p := range t.params {
			values, sums = append(values, p.in(g, "", p.value)), append(sums, p.in(g, " sum", p.sum))
		}
		t.update(g, values, sums)
		if t.apply, err = t.load(ctx, g); err != nil {
			batch.exe.Close()
			return err
		}
	}
	if t.batch == nil {
		t.batch = map[int]*loaded{}
	}
	t.batch[variant] = batch
	t.forget() // the device has what was restored
	return nil
}

// mostStretches bounds the attempts to save memory: beyond it, what is kept for them takes more than they save.
const mostStretches = 64

// record makes the graph of a batch.
func (t *Trainer) record(variant int) *compute.Graph {
	g := compute.NewGraph()
	loss, wrt := t.forward(g, true, false, variant)
	g.KeepStretches(loss, t.stretches)
	grads := compute.Grad(loss, wrt...)
	if t.config.Accumulate == 1 {
		t.update(g, wrt, grads)
		return g
	}
	coefficients := g.Input(inSum, 4)
	for i, p := range t.params {
		compute.Accumulate(p.in(g, " sum", p.sum), grads[i], coefficients)
	}
	return g
}

// Stretches is how many parts of the forward pass are computed twice, one at a time, since the device has no room for all of its activations
// (Chen et al. 2016); 0 where it has. It is known after Prepare.
func (t *Trainer) Stretches() int { return t.stretches }

// unload closes the plans of variants other than 0, which keeps the variables on the device, and reports whether there were any.
func (t *Trainer) unload() bool {
	any := false
	for _, plans := range []map[int]*loaded{t.batch, t.eval[0], t.eval[1]} {
		for v, l := range plans {
			if v != 0 {
				l.exe.Close()
				delete(plans, v)
				any = true
			}
		}
	}
	return any
}

// variant is that of a batch.
func (t *Trainer) variant(batch map[string][]float32) int {
	if t.config.Variant == nil {
		return 0
	}
	return t.config.Variant(batch)
}

// load compiles and loads a graph. Where the device has no room for it, the plans of other variants than 0 make room.
func (t *Trainer) load(ctx context.Context, g *compute.Graph) (*loaded, error) {
	plan, err := g.Compile(t.dev.Limits())
	if err != nil {
		return nil, err
	}
	exe, err := t.dev.Load(ctx, plan)
	var full *compute.MemoryError
	if errors.As(err, &full) && t.unload() {
		exe, err = t.dev.Load(ctx, plan)
	}
	if err != nil {
		return nil, err
	}
	return &loaded{plan, exe}, nil
}

// Plan is the plan of a batch of variant 0, nil before Prepare: its memory and arithmetic can be read off it.
func (t *Trainer) Plan() *compute.Plan {
	if t.batch[0] == nil {
		return nil
	}
	return t.batch[0].plan
}

// Report is what a step did.
type Report struct {
	Step     int     // counted from 1
	Loss     float64 // mean of the step's batches, before the change
	GradNorm float64 // length of all gradients together, before clipping
	Rate     float64 // the learning rate
	Outputs  map[string][]float32
}

// Step makes one step from as many batches as Config.Accumulate says, each the values of the loss's inputs by name. A step that
// ctx ends changes nothing, or the sums of gradients only, which the next step starts anew. A loss or gradients that are no numbers
// change nothing but the averages, and are an error.
func (t *Trainer) Step(ctx context.Context, batches ...map[string][]float32) (Report, error) {
	if len(batches) != t.config.Accumulate {
		return Report{}, fmt.Errorf("train: a step is made from %d batches, and %d are given", t.config.Accumulate, len(batches))
	}
	if err := t.Prepare(ctx); err != nil {
		return Report{}, err
	}
	rate := t.config.Optimiser.Rate * t.config.Schedule.Multiplier(t.steps, t.config.Optimiser.Rate)
	r := Report{Step: t.steps + 1, Rate: rate}
	scalars := map[string][]float32{inRate: t.config.Optimiser.rate(rate, r.Step), inEMA: t.average(r.Step)}
	for i, batch := range batches {
		scalars[inKey] = compute.RandomKey(t.config.Seed, uint32(t.steps*len(batches)+i))
		scalars[inSum] = []float32{float32(min(i, 1)), 1, 0, 0}
		v := t.variant(batch)
		if err := t.prepare(ctx, v); err != nil {
			return r, err
		}
		out, err := t.batch[v].run(ctx, batch, scalars)
		if err != nil {
			return r, err
		}
		r.take(out, len(batches))
	}
	if t.apply != nil {
		out, err := t.apply.run(ctx, nil, scalars)
		if err != nil {
			return r, err
		}
		r.take(out, len(batches))
	}
	t.steps++
	if v := r.Loss + r.GradNorm; math.IsNaN(v) || math.IsInf(v, 0) {
		return r, fmt.Errorf("train: the loss is %v and the gradients' length %v at step %d, so the step was not made: lower the learning rate or clip gradients, and look at the data", r.Loss, r.GradNorm, r.Step)
	}
	return r, nil
}

// average is the coefficients of the moving average at a step.
func (t *Trainer) average(step int) []float32 {
	d := t.config.EMADecay
	if t.config.EMAWarmup {
		d = math.Min(d, float64(1+step)/float64(10+step))
	}
	return []float32{float32(d), float32(1 - d), 0, 0}
}

// take adds a replay's outputs to the report.
func (r *Report) take(out map[string][]float32, batches int) {
	if r.Outputs == nil {
		r.Outputs = map[string][]float32{}
	}
	for name, v := range out {
		switch name {
		case outLoss:
			r.Loss += float64(v[0]) / float64(batches)
		case outNorm:
			r.GradNorm = float64(v[0])
		default:
			r.Outputs[name] = v
		}
	}
}

// run replays a plan on a batch and on those of the trainer's scalars that it has inputs for.
func (l *loaded) run(ctx context.Context, batch, scalars map[string][]float32) (map[string][]float32, error) {
	in, out := map[string][]float32{}, map[string][]float32{}
	for _, x := range l.plan.Inputs {
		if v, ok := scalars[x.Name()]; ok {
			in[x.Name()] = v
		} else if v, ok := batch[x.Name()]; ok {
			in[x.Name()] = v
		}
	}
	for _, o := range l.plan.Outputs {
		out[o.Name] = make([]float32, o.T.Shape().Size())
	}
	return out, l.exe.Run(ctx, in, out)
}

// Evaluate is the loss of a batch without a step: with the averages where averaged. What is drawn depends on draw, so that
// validation losses can be compared.
func (t *Trainer) Evaluate(ctx context.Context, batch map[string][]float32, averaged bool, draw uint32) (float64, error) {
	if averaged && t.config.EMADecay == 0 {
		return 0, errors.New("train: there are no averages to evaluate")
	}
	if err := t.Prepare(ctx); err != nil { // so that the device holds the present values
		return 0, err
	}
	at := &t.eval[0]
	if averaged {
		at = &t.eval[1]
	}
	v := t.variant(batch)
	if (*at)[v] == nil {
		g := compute.NewGraph()
		t.forward(g, false, averaged, v)
		l, err := t.load(ctx, g)
		if err != nil {
			return 0, err
		}
		if *at == nil {
			*at = map[int]*loaded{}
		}
		(*at)[v] = l
	}
	out, err := (*at)[v].run(ctx, batch, map[string][]float32{inKey: compute.RandomKey(^t.config.Seed, draw)})
	if err != nil {
		return 0, err
	}
	return float64(out[outLoss][0]), nil
}

// BindAverages makes the averages stand for the parameters in g, where there are averages: for samples.
func (t *Trainer) BindAverages(g *compute.Graph) {
	for _, p := range t.params {
		if p.ema != nil {
			g.Bind(p.value, p.in(g, " average", p.ema))
		}
	}
}

// Close gives the device's memory back. What was trained since the last Save is lost, but for what another plan still holds.
func (t *Trainer) Close() {
	for _, l := range slices.Concat(slices.Collect(maps.Values(t.batch)), slices.Collect(maps.Values(t.eval[0])), slices.Collect(maps.Values(t.eval[1])), []*loaded{t.apply, t.values}) {
		if l != nil {
			l.exe.Close()
		}
	}
	t.batch, t.apply, t.eval, t.values = nil, nil, [2]map[int]*loaded{}, nil
	t.forget()
}
