package parity

import (
	"context"
	"fmt"
	"strings"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/diffusion"
	"atelier/models/gpt"
	"atelier/models/nn"
	"atelier/models/train"
	"atelier/models/unet"
)

// Run is some steps of training on given batches. Its model is a denoiser in the names of diffusers, trained by the squared error of the
// noise that it predicts, or a nanoGPT, trained by cross entropy.
type Run struct {
	Model     checkpoint.Tensors
	Config    []byte // of the model, a config.json; nil goes by the tensors, which say nothing of heads
	Overrides []byte // in the form of a denoiser's config.json, of what its tensors do not say
	// Batches holds stepN.x and stepN.y [B T] for a GPT, stepN.latents, stepN.noise, stepN.timesteps and stepN.ctx for a denoiser, N from 0.
	Batches   checkpoint.Tensors
	Scheduler []byte             // scheduler_config.json: how latents become noisy and what is predicted; nil is Stable Diffusion's
	LoRA      checkpoint.Tensors // nil trains the model; otherwise the adapters that are trained, in the names of peft or kohya's suffixes
	Alpha     float64            // of the adapters; 0 is their rank
	Train     train.Config
}

// Trained is what a run gave.
type Trained struct {
	Steps  []train.Report
	Grads  []checkpoint.Tensor // of the first batch, before clipping
	After  []checkpoint.Tensor // parameters after the last step
	Params []*nn.Param
}

// stableDiffusion is how Stable Diffusion 1's latents become noisy.
const stableDiffusion = `{"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}`

// model is what a run trains.
type model struct {
	scope *nn.Scope
	loss  train.Loss
	batch func(step int) (map[string][]float32, error)
	names map[string]string // of parameters in files, where they differ
	shape map[string][]int  // likewise
}

// Train makes a step for every batch, or for every Train.Accumulate of them.
func Train(ctx context.Context, dev compute.Device, r Run) (*Trained, error) {
	m, err := r.open()
	if err != nil {
		return nil, err
	}
	out := &Trained{Params: m.scope.Params()}
	if r.LoRA != nil {
		if err := m.adapt(&r, out); err != nil {
			return nil, err
		}
	}
	var batches []map[string][]float32
	for i := 0; hasStep(r.Batches, i); i++ {
		b, err := m.batch(i)
		if err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
	each := max(r.Train.Accumulate, 1)
	if len(batches) == 0 || len(batches)%each != 0 {
		return nil, fmt.Errorf("there are %d batches, step0.… and on, which do not make steps of %d", len(batches), each)
	}
	if err := m.gradients(ctx, dev, batches[0], out); err != nil {
		return nil, err
	}
	t, err := train.New(dev, out.Params, m.loss, r.Train)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	for i := 0; i < len(batches); i += each {
		report, err := t.Step(ctx, batches[i:i+each]...)
		if err != nil {
			return nil, err
		}
		out.Steps = append(out.Steps, report)
	}
	if out.After, err = t.Weights(ctx, r.Train.EMADecay > 0); err != nil {
		return nil, err
	}
	for i := range out.After {
		out.After[i] = m.stored(out.After[i])
	}
	return out, nil
}

func hasStep(t checkpoint.Tensors, i int) bool {
	for _, n := range t.Names() {
		if strings.HasPrefix(n, fmt.Sprintf("step%d.", i)) {
			return true
		}
	}
	return false
}

// stored is a parameter as its file names and shapes it.
func (m *model) stored(t checkpoint.Tensor) checkpoint.Tensor {
	if shape, ok := m.shape[t.Name]; ok {
		t.Name, t.Shape = m.names[t.Name], shape
	}
	return t
}

// gradients computes those of one batch.
func (m *model) gradients(ctx context.Context, dev compute.Device, batch map[string][]float32, out *Trained) error {
	g := compute.NewGraph()
	loss := m.loss(train.Pass{Graph: g, Training: true})
	var wrt []*compute.Tensor
	for _, p := range out.Params {
		wrt = append(wrt, p.InGraph(g))
	}
	for i, d := range compute.Grad(loss, wrt...) {
		g.Output(out.Params[i].Name, d)
	}
	raw, err := compute.Evaluate(ctx, dev, g, batch)
	if err != nil {
		return err
	}
	for _, p := range out.Params {
		out.Grads = append(out.Grads, m.stored(p.Tensor(p.Name, raw[p.Name])))
	}
	return nil
}

func (r *Run) open() (*model, error) {
	s := nn.Load("the model", r.Model)
	if s.Shape("transformer.wte.weight") != nil {
		return r.openGPT(s)
	}
	return r.openUNet(s)
}

func (r *Run) openGPT(s *nn.Scope) (*model, error) {
	if r.Config == nil {
		return nil, fmt.Errorf("the tensors of a GPT do not say how many heads it has; give its config.json")
	}
	c, err := gpt.ParseConfig(r.Config)
	if err != nil {
		return nil, err
	}
	c.Dropout = 0 // which would draw other units than another engine
	net, err := gpt.New(s, c)
	if err != nil {
		return nil, err
	}
	shape, _, err := read(r.Batches, "step0.x")
	if err != nil {
		return nil, err
	}
	return &model{scope: s, loss: func(p train.Pass) *compute.Tensor {
		return nn.CrossEntropy(net.Forward(p.Graph.Input("x", shape...), nil), p.Graph.Input("y", shape...), 0)
	}, batch: func(step int) (map[string][]float32, error) {
		_, x, err := read(r.Batches, fmt.Sprintf("step%d.x", step))
		if err != nil {
			return nil, err
		}
		_, y, err := read(r.Batches, fmt.Sprintf("step%d.y", step))
		return map[string][]float32{"x": x, "y": y}, err
	}}, nil
}

func (r *Run) openUNet(s *nn.Scope) (*model, error) {
	c, err := unet.Infer(s, unet.Hints{Overrides: r.Overrides})
	if r.Config != nil {
		c, err = unet.ParseConfig(r.Config)
	}
	if err != nil {
		return nil, err
	}
	net, err := unet.New(s, c)
	if err != nil {
		return nil, err
	}
	if r.Scheduler == nil {
		r.Scheduler = []byte(stableDiffusion)
	}
	config, err := diffusion.ParseConfig(r.Scheduler)
	if err != nil {
		return nil, err
	}
	forward, err := diffusion.NewForward(config)
	if err != nil {
		return nil, err
	}
	latents, _, err := read(r.Batches, "step0.latents")
	if err != nil {
		return nil, err
	}
	ctx, _, err := read(r.Batches, "step0.ctx")
	if err != nil {
		return nil, err
	}
	if len(latents) != 4 || len(ctx) != 3 {
		return nil, fmt.Errorf("step0.latents is %v and step0.ctx %v; 4 and 3 axes are wanted", latents, ctx)
	}
	return &model{scope: s, loss: func(p train.Pass) *compute.Tensor {
		in := func(name string) *compute.Tensor {
			return p.Graph.Input(name, latents[0], latents[2], latents[3], latents[1])
		}
		y := net.Forward(in("x"), p.Graph.Input("t", latents[0]), p.Graph.Input("ctx", ctx...), nil)
		return nn.MSE(y, in("target"))
	}, batch: func(step int) (map[string][]float32, error) { return r.noisy(step, latents, forward) }}, nil
}

// noisy is a denoiser's batch: the noisy latents and what is to be predicted of them.
func (r *Run) noisy(step int, shape []int, forward *diffusion.Forward) (map[string][]float32, error) {
	got := map[string][]float32{}
	for _, name := range []string{"latents", "noise", "timesteps", "ctx"} {
		_, data, err := read(r.Batches, fmt.Sprintf("step%d.%s", step, name))
		if err != nil {
			return nil, err
		}
		got[name] = data
	}
	latents, noise, steps := got["latents"], got["noise"], got["timesteps"]
	if len(latents) != compute.Shape(shape).Size() || len(noise) != len(latents) || len(steps) != shape[0] {
		return nil, fmt.Errorf("step%d has %d latents, %d of noise and %d timesteps; the first step's latents are %v", step, len(latents), len(noise), len(steps), shape)
	}
	x, target := make([]float32, len(latents)), make([]float32, len(latents))
	for i := range x {
		at := int(steps[i*len(steps)/len(x)])
		if at < 0 || at >= forward.Steps() {
			return nil, fmt.Errorf("step%d.timesteps holds %d, which is not within 0 to %d", step, at, forward.Steps()-1)
		}
		mix := forward.At(at)
		l, n := float64(latents[i]), float64(noise[i])
		x[i], target[i] = float32(mix.Signal*l+mix.Noise*n), float32(mix.OfNoise*n+mix.OfData*l)
	}
	last := func(v []float32) []float32 { return nn.ChannelsLast(v, shape[0], shape[1], shape[2], shape[3]) }
	return map[string][]float32{"x": last(x), "target": last(target), "t": steps, "ctx": got["ctx"]}, nil
}

// adapterNames are how files call the two halves of an adapter.
var adapterNames = [][2]string{
	{".lora_A.default.weight", ".lora_B.default.weight"}, {".lora_A.weight", ".lora_B.weight"}, {".lora_down.weight", ".lora_up.weight"},
}

// adapt freezes the model and trains the adapters of a file in place of it.
func (m *model) adapt(r *Run, out *Trained) error {
	var modules []string
	halves := map[string][2]checkpoint.Tensor{}
	rank := 0
	for _, name := range r.LoRA.Names() {
		for _, suffix := range adapterNames {
			stem, ok := strings.CutSuffix(name, suffix[0])
			up, both := r.LoRA.Get(stem + suffix[1])
			if !ok || !both {
				continue
			}
			down, _ := r.LoRA.Get(name)
			module := strings.TrimPrefix(stem, "base_model.model.")
			if len(down.Shape) < 2 || rank != 0 && down.Shape[0] != rank {
				return fmt.Errorf("%s is %v; every adapter must have one rank, which is %d in others", name, down.Shape, rank)
			}
			rank, modules, halves[module] = down.Shape[0], append(modules, module), [2]checkpoint.Tensor{down, up}
		}
	}
	alpha := r.Alpha
	if alpha == 0 {
		alpha = float64(rank)
	}
	lora, err := train.NewLoRA(out.Params, modules, max(rank, 1), alpha, 1)
	if err != nil {
		return err
	}
	if len(lora.Adapters) != len(modules) {
		return fmt.Errorf("the file has %d adapters, of which the model has the layers of %d", len(modules), len(lora.Adapters))
	}
	m.names, m.shape = map[string]string{}, map[string][]int{}
	for _, a := range lora.Adapters {
		for i, p := range []*nn.Param{a.Down, a.Up} {
			t := halves[a.Module][i]
			m.names[p.Name], m.shape[p.Name] = t.Name, t.Shape
			if t.Shape = p.Stored(); compute.Shape(t.Shape).Size() != compute.Shape(m.shape[p.Name]).Size() {
				return fmt.Errorf("%s is %v where %v is wanted", t.Name, m.shape[p.Name], t.Shape)
			}
			if p.Source, err = p.From(t); err != nil {
				return err
			}
		}
	}
	out.Params = lora.Params()
	plain := m.loss
	m.loss = func(p train.Pass) *compute.Tensor {
		lora.Bind(p.Graph)
		return plain(p)
	}
	return nil
}
