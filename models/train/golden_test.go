package train_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/gpt"
	"atelier/models/nn"
	"atelier/models/train"
	"atelier/models/unet"
)

// unetConfig is the settings of training/unet.
func unetConfig() unet.Config {
	return unet.Config{
		SampleSize: 8, InChannels: 4, OutChannels: 4, DownBlocks: []string{"CrossAttnDownBlock2D", "DownBlock2D"},
		UpBlocks: []string{"UpBlock2D", "CrossAttnUpBlock2D"}, MidBlock: "UNetMidBlock2DCrossAttn", Channels: []int{16, 32}, Layers: []int{1, 1},
		Heads: []int{2, 2}, Transformers: []int{1, 1}, UpTransformers: []int{1, 1}, ContextDim: []int{12, 12}, Groups: 8, Eps: 1e-5,
		FlipSinToCos: true, DownsamplePadding: 1,
	}
}

// noisy is x_t of scaled_linear betas from 0.00085 to 0.012 over 1,000 steps.
func noisy(latents, noise goldentest.Tensor, timesteps []float32) []float32 {
	keep, product := make([]float64, 1000), 1.0
	for i := range keep {
		root := math.Sqrt(0.00085) + (math.Sqrt(0.012)-math.Sqrt(0.00085))*float64(i)/999
		product *= 1 - root*root
		keep[i] = product
	}
	out := make([]float32, len(latents.Data))
	for i := range out {
		k := keep[int(timesteps[i*len(timesteps)/len(out)])]
		out[i] = float32(math.Sqrt(k)*float64(latents.Data[i]) + math.Sqrt(1-k)*float64(noise.Data[i]))
	}
	return out
}

func lastAxis(v []float32, shape []int) []float32 {
	return nn.ChannelsLast(v, shape[0], shape[1], shape[2], shape[3])
}

// run is a training run that is compared with a golden one.
type run struct {
	id          string
	scope       []*nn.Param // trained
	loss        train.Loss
	batches     []map[string][]float32
	optimiser   train.Optimiser
	grads, want map[string]goldentest.Tensor
	rename      func(name string) string // of a parameter to that of its golden
}

// unetRun is a run on training/unet with the batches of a folder.
func unetRun(t *testing.T, id, folder string, optimiser train.Optimiser) (*run, *unet.Model, *nn.Scope) {
	s := nn.Load("unet", goldentest.Open(t, "training/unet/model.safetensors"))
	m, err := unet.New(s, unetConfig())
	if err != nil {
		t.Fatal(err)
	}
	after := "after3_" + optimiser.Kind
	r := &run{id: id, scope: s.Params(), optimiser: optimiser, rename: func(name string) string { return name },
		grads: goldentest.Read(t, folder+"/grads.safetensors"), want: goldentest.Read(t, folder+"/"+after+".safetensors")}
	all := goldentest.Read(t, folder+"/batches.safetensors")
	for i := range 3 {
		at := func(name string) goldentest.Tensor { return all[fmt.Sprintf("step%d.%s", i, name)] }
		lat, noise := at("latents"), at("noise")
		r.batches = append(r.batches, map[string][]float32{
			"x": lastAxis(noisy(lat, noise, at("timesteps").Data), lat.Shape), "noise": lastAxis(noise.Data, noise.Shape), "t": at("timesteps").Data, "ctx": at("ctx").Data,
		})
	}
	r.loss = func(p train.Pass) *compute.Tensor {
		g := p.Graph
		y := m.Forward(g.Input("x", 2, 8, 8, 4), g.Input("t", 2), g.Input("ctx", 2, 5, 12), nil)
		return nn.MSE(y, g.Input("noise", 2, 8, 8, 4))
	}
	return r, m, s
}

// check runs three steps and compares losses, norms of gradients, the first step's gradients, and the parameters at the end.
func (r *run) check(t *testing.T, dev compute.Device) {
	golden := goldentest.LoadTraining(t, r.id)
	trainer, err := train.New(dev, r.scope, r.loss, train.Config{Optimiser: r.optimiser})
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	r.checkGradients(t, dev, golden.Files["grads"])
	for i, batch := range r.batches {
		report, err := trainer.Step(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		s := golden.Scalars
		if math.Abs(report.Loss-s.Loss[i]) > 2e-5*s.Loss[i] || math.Abs(report.GradNorm-s.GradNorm[i]) > 5e-5*s.GradNorm[i] || report.Rate != s.Rate[i] {
			t.Errorf("step %d: loss %v, norm %v, rate %v; want %v, %v, %v", i, report.Loss, report.GradNorm, report.Rate, s.Loss[i], s.GradNorm[i], s.Rate[i])
		}
	}
	weights, err := trainer.Weights(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(weights) != len(r.want) {
		t.Errorf("%d parameters, and there are %d goldens", len(weights), len(r.want))
	}
	for _, w := range weights {
		name := r.rename(w.Name)
		want, ok := r.want[name]
		if !ok || !compute.Shape(w.Shape).Equal(want.Shape) {
			t.Errorf("%s %v has no golden of that shape", name, w.Shape)
			continue
		}
		got, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		atol := math.Max(golden.Files["after3"][name], 0.05*r.optimiser.Rate)
		for i, v := range got {
			if d := math.Abs(float64(v) - float64(want.Data[i])); !(d <= atol) && math.Abs(float64(r.grads[name].Data[i])) >= 1e-6 {
				t.Errorf("%s is off by %.3g at %d after three steps; %.3g is allowed", name, d, i, atol)
				break
			}
		}
	}
}

// checkGradients compares the gradients of the first batch.
func (r *run) checkGradients(t *testing.T, dev compute.Device, atol map[string]float64) {
	g := compute.NewGraph()
	loss := r.loss(train.Pass{Graph: g, Training: true})
	var wrt []*compute.Tensor
	for _, p := range r.scope {
		wrt = append(wrt, p.InGraph(g))
	}
	for i, d := range compute.Grad(loss, wrt...) {
		g.Output(r.scope[i].Name, d)
	}
	got := goldentest.RunFlat(t, dev, g, r.batches[0])
	for _, p := range r.scope {
		name := r.rename(p.Name)
		stored := p.Tensor(name, got[p.Name])
		values, err := stored.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		want, allowed := r.grads[name], atol[name]
		if allowed == 0 || !compute.Shape(stored.Shape).Equal(want.Shape) {
			t.Errorf("the gradient of %s %v has no golden of that shape", name, stored.Shape)
			continue
		}
		for i, v := range values {
			if d := math.Abs(float64(v) - float64(want.Data[i])); !(d <= allowed) {
				t.Errorf("the gradient of %s is off by %.3g at %d; %.3g is allowed", name, d, i, allowed)
				break
			}
		}
	}
}

// TestUNet is the cases train-unet-adamw and train-unet-rmsprop.
func TestUNet(t *testing.T) {
	momentum := train.RMSProp(1e-3)
	momentum.Momentum = 0.9
	for id, optimiser := range map[string]train.Optimiser{"train-unet-adamw": train.AdamW(1e-3), "train-unet-rmsprop": momentum} {
		t.Run(id, func(t *testing.T) {
			goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
				r, _, _ := unetRun(t, id, "training/unet", optimiser)
				r.check(t, dev)
			})
		})
	}
}

// TestUNetLoRA is the case train-unet-lora-adamw: peft's adapters of rank 4 and alpha 8, the model frozen.
func TestUNetLoRA(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		r, _, s := unetRun(t, "train-unet-lora-adamw", "training/unet_lora", train.AdamW(1e-3))
		lora, err := train.NewLoRA(s.Params(), train.AttentionProjections, 4, 8, 1)
		if err != nil {
			t.Fatal(err)
		}
		start := goldentest.Read(t, "training/unet_lora/lora.safetensors")
		r.scope = lora.Params()
		r.rename = func(name string) string {
			return strings.NewReplacer(".lora_down.", ".lora_A.default.", ".lora_up.", ".lora_B.default.").Replace(name)
		}
		for _, p := range r.scope {
			p.Source = &compute.Values{Data: start[r.rename(p.Name)].Data}
		}
		plain := r.loss
		r.loss = func(p train.Pass) *compute.Tensor {
			lora.Bind(p.Graph)
			return plain(p)
		}
		r.check(t, dev)
	})
}

// TestGPT is the case train-gpt-adamw, whose table is one parameter with two uses.
func TestGPT(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "training/gpt/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := gpt.ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	all := goldentest.Read(t, "training/gpt/batches.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		s := nn.Load("gpt", goldentest.Open(t, "training/gpt/model.safetensors"))
		m, err := gpt.New(s, c)
		if err != nil {
			t.Fatal(err)
		}
		r := &run{id: "train-gpt-adamw", scope: s.Params(), optimiser: train.AdamW(1e-3), rename: func(name string) string { return name },
			grads: goldentest.Read(t, "training/gpt/grads.safetensors"), want: goldentest.Read(t, "training/gpt/after3_adamw.safetensors")}
		for i := range 3 {
			r.batches = append(r.batches, map[string][]float32{"x": all[fmt.Sprintf("step%d.x", i)].Data, "y": all[fmt.Sprintf("step%d.y", i)].Data})
		}
		r.loss = func(p train.Pass) *compute.Tensor {
			return nn.CrossEntropy(m.Forward(p.Graph.Input("x", 4, 16), p.DropoutKey()), p.Graph.Input("y", 4, 16), 0)
		}
		r.check(t, dev)
	})
}

// TestSchedules is the case train-lr-schedules.
func TestSchedules(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "training/lr_schedules.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "note")
	for name, list := range all {
		var want []float64
		if err := json.Unmarshal(list, &want); err != nil {
			t.Fatal(err)
		}
		s := train.Schedule{Kind: name, Warmup: 4, Steps: 18}
		if kind, ok := strings.CutSuffix(name, "_2"); ok {
			s.Kind, s.Cycles = kind, 2
		}
		for step, w := range want {
			if got := s.Multiplier(step, 1); math.Abs(got-w) > 1e-6*math.Abs(w)+1e-12 {
				t.Errorf("%s: %v at step %d, want %v", name, got, step, w)
			}
		}
	}
}
