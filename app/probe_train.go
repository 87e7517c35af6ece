package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"atelier/app/engine"
	"atelier/app/library"
	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/parity"
	"atelier/models/train"
)

// scheduleFlags choose a schedule of learning rates.
type scheduleFlags struct {
	Warmup int     `help:"Steps over which the rate rises from zero."`
	Cycles float64 `help:"Waves of cosine (0.5), falls of cosine_with_restarts (1)."`
	Power  float64 `help:"Power of polynomial (1)."`
	End    float64 `help:"Last rate of polynomial (1e-7)."`
	LR     float64 `name:"lr" default:"0.001" help:"Learning rate."`
}

func (f *scheduleFlags) schedule(kind string, steps int) train.Schedule {
	return train.Schedule{Kind: kind, Warmup: f.Warmup, Steps: steps, Cycles: f.Cycles, Power: f.Power, End: f.End}
}

// probeDevice opens the device of a probe; close the engine after use.
func probeDevice(choice string) (*engine.Engine, error) {
	return engine.Open(engine.Options{Choice: choice})
}

// checkOut says before any work is done which results could not be written.
func checkOut(paths ...string) error {
	for _, p := range paths {
		if p == "" {
			continue
		}
		if err := library.CheckFolder(filepath.Dir(p)); err != nil {
			return err
		}
	}
	return nil
}

// writeTensors writes results with the device that they are of; "" writes none.
func writeTensors(path string, ts []checkpoint.Tensor, dev compute.Device) error {
	if path == "" {
		return nil
	}
	return checkpoint.Write(path, ts, map[string]string{"device": dev.Name()})
}

type probeTrainCmd struct {
	scheduleFlags

	Model   string   `arg:"" help:"The network: a denoiser in the names of diffusers, or a nanoGPT; one safetensors file."`
	Batches string   `required:"" placeholder:"FILE" help:"Batches: stepN.latents, .noise, .timesteps and .ctx, or stepN.x and .y; N counts from 0."`
	Config  string   `placeholder:"FILE" help:"The network's config.json; otherwise the one beside it, or its shapes."`
	Heads   int      `default:"8" help:"Attention heads of a denoiser without a config.json."`
	Groups  int      `default:"32" help:"Groups of its group norms."`
	Noise   string   `placeholder:"FILE" help:"scheduler_config.json, by which latents become noisy; otherwise Stable Diffusion's."`
	LoRA    string   `name:"lora" placeholder:"FILE" help:"Train the adapters in this file, the network frozen."`
	Alpha   float64  `help:"Their alpha; 0 is their rank."`
	Grads   string   `placeholder:"FILE" help:"Write the gradients of the first batch, before clipping."`
	After   string   `placeholder:"FILE" help:"Write the parameters after the last step."`
	Kind    string   `name:"optimizer" aliases:"optimiser" enum:"adamw,adam,rmsprop,sgd" default:"adamw" help:"adamw, adam, rmsprop or sgd."`
	Decay   *float64 `name:"weight-decay" help:"0.01 for adamw, 0 for others."`
	Beta1   float64  `default:"0.9" help:"Of Adam."`
	Beta2   float64  `default:"0.999" help:"Of Adam."`
	Eps     float64  `default:"1e-8" help:"Of Adam and RMSprop."`
	Mean    float64  `name:"smoothing" default:"0.99" help:"RMSprop's alpha."`
	Moment  float64  `name:"momentum" help:"Of RMSprop and SGD."`
	Centred bool     `aliases:"centered" help:"Centred RMSprop."`
	Look    bool     `name:"nesterov" help:"Nesterov's momentum, of SGD."`

	Clip       float64 `help:"Clip the length of all gradients together; 0 does not."`
	Accumulate int     `default:"1" help:"Batches that make a step."`
	EMA        float64 `name:"ema" help:"Decay of the parameters' average, which is then what is written."`
	Schedule   string  `default:"constant" help:"constant, constant_with_warmup, linear, cosine, cosine_with_restarts or polynomial."`
	Steps      int     `help:"At which the schedule has ended."`
	Device     string  `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
	JSON       bool    `name:"json" help:"Print one JSON object."`
}

// optimiser is what the flags say, with PyTorch's defaults.
func (c *probeTrainCmd) optimiser() train.Optimiser {
	o := train.Optimiser{Kind: c.Kind, Rate: c.LR, Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps, Alpha: c.Mean, Momentum: c.Moment, Centred: c.Centred, Nesterov: c.Look}
	if c.Kind == "adamw" {
		o.WeightDecay = train.AdamW(c.LR).WeightDecay
	}
	if c.Decay != nil {
		o.WeightDecay = *c.Decay
	}
	return o
}

// run opens the files; close gives them back.
func (c *probeTrainCmd) run() (r parity.Run, close func(), err error) {
	var opened []checkpoint.Tensors
	close = func() {
		for _, t := range opened {
			t.Close()
		}
	}
	open := func(path string) (t checkpoint.Tensors) {
		if path == "" || err != nil {
			return nil
		}
		if t, err = checkpoint.Open(path); err == nil {
			opened = append(opened, t)
		}
		return t
	}
	text := func(path string) (data []byte) {
		if path != "" && err == nil {
			data, err = os.ReadFile(path)
		}
		return data
	}
	if beside := filepath.Join(filepath.Dir(c.Model), "config.json"); c.Config == "" {
		if _, missing := os.Stat(beside); !errors.Is(missing, fs.ErrNotExist) {
			c.Config = beside
		}
	}
	r = parity.Run{
		Model: open(c.Model), Batches: open(c.Batches), Config: text(c.Config), Scheduler: text(c.Noise), Alpha: c.Alpha,
		Overrides: fmt.Appendf(nil, `{"num_attention_heads": %d, "norm_num_groups": %d}`, c.Heads, c.Groups),
		Train:     train.Config{Optimiser: c.optimiser(), Schedule: c.schedule(c.Schedule, c.Steps), ClipNorm: c.Clip, Accumulate: c.Accumulate, EMADecay: c.EMA},
	}
	if c.LoRA != "" {
		r.LoRA = open(c.LoRA)
	}
	return r, close, err
}

// Run trains and writes what came of it.
func (c *probeTrainCmd) Run(ctx context.Context) error {
	r, close, err := c.run()
	defer close()
	if err = cmp.Or(err, checkOut(c.Grads, c.After)); err != nil {
		return err
	}
	e, err := probeDevice(c.Device)
	if err != nil {
		return err
	}
	defer e.Close()
	out, err := parity.Train(ctx, e.Device, r)
	if err != nil {
		return err
	}
	if err := errors.Join(writeTensors(c.Grads, out.Grads, e.Device), writeTensors(c.After, out.After, e.Device)); err != nil {
		return err
	}
	var all struct {
		Loss     []float64 `json:"loss"`
		GradNorm []float64 `json:"grad_norm"`
		Rate     []float64 `json:"lr"`
		Device   string    `json:"device"`
	}
	all.Device = e.Device.Name()
	for _, s := range out.Steps {
		all.Loss, all.GradNorm, all.Rate = append(all.Loss, s.Loss), append(all.GradNorm, s.GradNorm), append(all.Rate, s.Rate)
		if !c.JSON {
			fmt.Printf("step %d: loss %.9g, gradients %.9g long, learning rate %g\n", s.Step, s.Loss, s.GradNorm, s.Rate)
		}
	}
	if c.JSON {
		return printJSON(all)
	}
	return nil
}

type probeOpsCmd struct {
	Tensors  string `arg:"" help:"Inputs: <op>/<input> and <op>/dy of every op, a safetensors file."`
	Manifest string `arg:"" help:"The ops with their attributes, a JSON file."`
	Out      string `required:"" placeholder:"FILE" help:"Results, a safetensors file: <op>/y and <op>/d_<input>."`
	Device   string `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
}

// Run computes the ops, and writes those that could be.
func (c *probeOpsCmd) Run(ctx context.Context) error {
	manifest, err := os.ReadFile(c.Manifest)
	if err != nil {
		return err
	}
	return probeFile(c.Tensors, c.Out, c.Device, func(dev compute.Device, in checkpoint.Tensors) ([]checkpoint.Tensor, error) {
		return parity.Ops(ctx, dev, manifest, in)
	})
}

// probeFile computes one file from another. What could be computed is written even where some could not.
func probeFile(in, out, device string, run func(dev compute.Device, in checkpoint.Tensors) ([]checkpoint.Tensor, error)) error {
	if err := checkOut(out); err != nil {
		return err
	}
	t, err := checkpoint.Open(in)
	if err != nil {
		return err
	}
	defer t.Close()
	e, err := probeDevice(device)
	if err != nil {
		return err
	}
	defer e.Close()
	got, err := run(e.Device, t)
	if len(got) == 0 {
		return err
	}
	return errors.Join(err, writeTensors(out, got, e.Device))
}

type probeRNNCmd struct {
	Tensors string `arg:"" help:"Inputs: in.x, in.dy and in.param.weight_ih_l0 and on, of an LSTM, GRU or RNN as PyTorch has them; a safetensors file."`
	Out     string `required:"" placeholder:"FILE" help:"Results, a safetensors file: y, h_n, c_n, d_x and grad.<parameter>."`
	Prefix  string `default:"out." help:"Before the names of results."`
	Device  string `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
}

// Run computes the network.
func (c *probeRNNCmd) Run(ctx context.Context) error {
	return probeFile(c.Tensors, c.Out, c.Device, func(dev compute.Device, in checkpoint.Tensors) ([]checkpoint.Tensor, error) {
		out, err := parity.Recurrent(ctx, dev, in)
		for i := range out {
			out[i].Name = c.Prefix + out[i].Name
		}
		return out, err
	})
}

type probeScheduleCmd struct {
	scheduleFlags

	Kind  string `arg:"" help:"constant, constant_with_warmup, linear, cosine, cosine_with_restarts or polynomial."`
	Steps int    `required:"" help:"At which the schedule has ended."`
	Count int    `help:"Steps to print; 0 prints as many as the schedule has."`
}

// Run prints one multiplier a line.
func (c *probeScheduleCmd) Run() error {
	s := c.schedule(c.Kind, c.Steps)
	if err := s.Check(c.LR); err != nil {
		return err
	}
	count := c.Count
	if count <= 0 {
		count = c.Steps
	}
	for i := range count {
		fmt.Println(strconv.FormatFloat(s.Multiplier(i, c.LR), 'g', -1, 64))
	}
	return nil
}
