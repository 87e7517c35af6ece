package train_test

import (
	"context"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/lora"
	"atelier/models/nn"
	"atelier/models/train"
)

// net is a small network with a kernel, a norm and dropout, for pictures [2 6 6 3].
type net struct {
	scope *nn.Scope
	conv  *nn.Conv2D
	norm  *nn.GroupNorm
	out   *nn.Linear
}

func newNet() *net {
	s := nn.Initialise(5)
	return &net{s, nn.NewConv2D(s.At("conv"), 3, 8, 3, 1, nn.Same(1)), nn.NewGroupNorm(s.At("norm"), 8, 2, 1e-5), nn.NewLinear(s.At("out"), 8, 3, true)}
}

func (n *net) loss(p train.Pass) *compute.Tensor {
	x := p.Graph.Input("x", 2, 6, 6, 3)
	h := n.norm.Forward(n.conv.Forward(x), compute.ActSiLU)
	if key := p.DropoutKey(); key != nil {
		h = compute.Dropout(h, key, 0.1, 0)
	}
	y := n.out.Forward(h)
	p.Graph.Output("mean", compute.Mean(y, false))
	return nn.MSE(y, p.Graph.Input("y", 2, 6, 6, 3))
}

// batch is values that depend on i.
func batch(i int) map[string][]float32 {
	x, y := make([]float32, 2*6*6*3), make([]float32, 2*6*6*3)
	for k := range x {
		x[k] = float32(math.Sin(float64(k*(i+3)) * 0.37))
		y[k] = float32(math.Cos(float64(k) * 0.11))
	}
	return map[string][]float32{"x": x, "y": y}
}

// steps makes n steps from the trainer's present one on, each from as many batches as wanted.
func steps(t *testing.T, tr *train.Trainer, n, batches int) (last train.Report) {
	t.Helper()
	for range n {
		var bs []map[string][]float32
		for k := range batches {
			bs = append(bs, batch(tr.Steps()*batches+k))
		}
		var err error
		if last, err = tr.Step(t.Context(), bs...); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func newTrainer(t *testing.T, dev compute.Device, n *net, c train.Config) *train.Trainer {
	t.Helper()
	tr, err := train.New(dev, n.scope.Params(), n.loss, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// weights are a trainer's parameters by name.
func weights(t *testing.T, tr *train.Trainer, averaged bool) map[string][]float32 {
	t.Helper()
	ts, err := tr.Weights(t.Context(), averaged)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	for _, w := range ts {
		v, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		out[w.Name] = v
	}
	return out
}

// apart is the largest difference between two sets of parameters.
func apart(a, b map[string][]float32) float64 {
	most := 0.0
	for name, v := range a {
		for i := range v {
			most = math.Max(most, math.Abs(float64(v[i])-float64(b[name][i])))
		}
	}
	return most
}

var centred = train.Optimiser{Kind: "rmsprop", Rate: 1e-3, Alpha: 0.9, Eps: 1e-6, Momentum: 0.5, Centred: true}

// TestResumeIsExact: three steps, a save, and three more in another trainer are six steps, to the bit, with everything switched on.
func TestResumeIsExact(t *testing.T) {
	adam := train.AdamW(3e-3)
	for name, c := range map[string]train.Config{
		"adamw":   {Optimiser: adam, Schedule: train.Schedule{Kind: "cosine", Warmup: 2, Steps: 8}, ClipNorm: 0.5, Accumulate: 2, EMADecay: 0.9, EMAWarmup: true, Seed: 7, Decays: train.Matrices},
		"rmsprop": {Optimiser: centred, Half: true, Seed: 8},
		"sgd":     {Optimiser: train.Optimiser{Kind: "sgd", Rate: 0.1, Momentum: 0.9, Nesterov: true}, EMADecay: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
				batches := max(c.Accumulate, 1)
				whole := newTrainer(t, dev, newNet(), c)
				want := steps(t, whole, 6, batches)
				first := newTrainer(t, dev, newNet(), c)
				steps(t, first, 3, batches)
				path := filepath.Join(t.TempDir(), "state.safetensors")
				if err := first.Save(t.Context(), path, map[string]string{"recipe": "a net"}); err != nil {
					t.Fatal(err)
				}
				resumed := newNet()
				second := newTrainer(t, dev, resumed, c)
				extra, err := second.Restore(path)
				if err != nil {
					t.Fatal(err)
				}
				if len(extra) != 1 || extra["recipe"] != "a net" || second.Steps() != 3 {
					t.Errorf("restored %v after %d steps", extra, second.Steps())
				}
				got := steps(t, second, 3, batches)
				if got.Loss != want.Loss || got.GradNorm != want.GradNorm || got.Rate != want.Rate || got.Step != 6 {
					t.Errorf("the resumed step is %+v, want %+v", got, want)
				}
				if d := apart(weights(t, second, false), weights(t, whole, false)); d != 0 {
					t.Errorf("parameters are %v apart", d)
				}
				if c.EMADecay > 0 {
					if d := apart(weights(t, second, true), weights(t, whole, true)); d != 0 {
						t.Errorf("averages are %v apart", d)
					}
				}
				second.Close() // the file is closed since the first step, and with the device's memory goes what was trained
				if err := resumed.out.Bias.Source.Read(make([]float32, 3)); err == nil || !strings.Contains(err.Error(), "has been closed") {
					t.Errorf("a closed trainer's parameter reads with error %v", err)
				}
			})
		})
	}
}

// TestAccumulation: two batches of a step give the mean of their gradients, as one plain step along it shows.
func TestAccumulation(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		still := func(p train.Pass, n *net) *compute.Tensor { return n.loss(train.Pass{Graph: p.Graph, Key: p.Key}) } // no dropout
		run := func(c train.Config, batches ...map[string][]float32) (before, after map[string][]float32, r train.Report) {
			n := newNet()
			tr, err := train.New(dev, n.scope.Params(), func(p train.Pass) *compute.Tensor { return still(p, n) }, c)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			before = weights(t, tr, false)
			if r, err = tr.Step(t.Context(), batches...); err != nil {
				t.Fatal(err)
			}
			return before, weights(t, tr, false), r
		}
		sgd := train.SGD(0.5)
		start, a, ra := run(train.Config{Optimiser: sgd}, batch(0))
		_, b, rb := run(train.Config{Optimiser: sgd}, batch(1))
		_, both, r := run(train.Config{Optimiser: sgd, Accumulate: 2}, batch(0), batch(1))
		if math.Abs(r.Loss-(ra.Loss+rb.Loss)/2) > 1e-6 {
			t.Errorf("loss %v of %v and %v", r.Loss, ra.Loss, rb.Loss)
		}
		norm := 0.0
		for name, v := range both {
			for i := range v {
				want := (a[name][i] + b[name][i]) / 2
				if math.Abs(float64(v[i]-want)) > 1e-6 {
					t.Fatalf("%s[%d] is %v, want %v", name, i, v[i], want)
				}
				norm += math.Pow(float64(start[name][i]-v[i])/0.5, 2)
			}
		}
		if norm = math.Sqrt(norm); math.Abs(norm-r.GradNorm) > 1e-4*norm {
			t.Errorf("norm %v, the change says %v", r.GradNorm, norm)
		}
		_, clipped, rc := run(train.Config{Optimiser: sgd, Accumulate: 2, ClipNorm: r.GradNorm / 4}, batch(0), batch(1))
		if rc.GradNorm != r.GradNorm {
			t.Errorf("norm before clipping %v, without clipping %v", rc.GradNorm, r.GradNorm)
		}
		for name, v := range clipped {
			for i := range v {
				if want := start[name][i] + (both[name][i]-start[name][i])/4; math.Abs(float64(v[i]-want)) > 1e-6 {
					t.Fatalf("clipped %s[%d] is %v, want %v", name, i, v[i], want)
				}
			}
		}
	})
}

// TestTraining: the loss falls under every optimiser; averages lag; outputs, evaluation and release work; a second plan on the
// device sees the present values.
func TestTraining(t *testing.T) {
	nesterov := train.SGD(0.3)
	nesterov.Momentum, nesterov.Nesterov = 0.8, true
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for _, o := range []train.Optimiser{train.AdamW(0.02), train.Adam(0.02), train.RMSProp(0.01), {Kind: "rmsprop", Rate: 3e-3, Alpha: 0.9, Eps: 1e-4, Momentum: 0.5, Centred: true}, nesterov} {
			n := newNet()
			tr := newTrainer(t, dev, n, train.Config{Optimiser: o, EMADecay: 0.95, Seed: 3})
			first, err := tr.Evaluate(t.Context(), batch(0), false, 1)
			if err != nil {
				t.Fatal(err)
			}
			r := steps(t, tr, 60, 1)
			if !(r.Loss < 0.8*first) || r.Rate != o.Rate || len(r.Outputs["mean"]) != 1 || r.Step != 60 {
				t.Errorf("%s: from %v to %+v", o.Kind, first, r)
			}
			last, err := tr.Evaluate(t.Context(), batch(0), false, 1)
			if err != nil {
				t.Fatal(err)
			}
			averaged, err := tr.Evaluate(t.Context(), batch(0), true, 1)
			if err != nil {
				t.Fatal(err)
			}
			if !(last < 0.8*first) || averaged == last || !(averaged < first) {
				t.Errorf("%s: evaluated at %v, then %v, averages %v", o.Kind, first, last, averaged)
			}
			g := compute.NewGraph()
			g.Output("w", n.conv.Weight.InGraph(g))
			present := goldentest.RunFlat(t, dev, g, nil)["w"]
			averages := weights(t, tr, true)
			if err := tr.Release(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			kept := n.conv.Weight.Source.(*compute.Values).Data
			stored := n.conv.Weight.Tensor("conv.weight", kept)
			v, _ := stored.Float32s()
			if d := apart(map[string][]float32{"w": v}, map[string][]float32{"w": averages["conv.weight"]}); d != 0 {
				t.Errorf("%s: released averages are %v off", o.Kind, d)
			}
			if present[5] == kept[5] {
				t.Errorf("%s: averages are the present values", o.Kind)
			}
		}
	})
}

// TestHalf: half-precision copies are what the forward pass reads, yet changes too small for a half add up in the masters.
func TestHalf(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		w := nn.NewParam("w", []float32{1}, 1)
		loss := func(p train.Pass) *compute.Tensor {
			v := w.InGraph(p.Graph)
			p.Graph.Output("seen", compute.Cast(v, compute.F32))
			return compute.Sum(v, false)
		}
		tr, err := train.New(dev, []*nn.Param{w}, loss, train.Config{Optimiser: train.SGD(1e-4), Half: true})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		var seen float32
		for range 21 {
			r, err := tr.Step(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			seen = r.Outputs["seen"][0]
		}
		if half := compute.HalfFloat(compute.HalfBits(0.998)); seen != half {
			t.Errorf("after 20 steps the forward pass sees %v, want %v", seen, half)
		}
		if v := weights(t, tr, false)["w"][0]; math.Abs(float64(v)-0.9979) > 1e-6 {
			t.Errorf("the master is %v", v)
		}
	})
}

// TestTwoTrainers is a game: each trainer's loss reads the other's parameters as they are now.
func TestTwoTrainers(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		a, b := nn.NewParam("a", []float32{1}, 1), nn.NewParam("b", []float32{0.5}, 1)
		make := func(own, other *nn.Param, sign float64) *train.Trainer {
			tr, err := train.New(dev, []*nn.Param{own}, func(p train.Pass) *compute.Tensor {
				return compute.Affine(compute.Mul(own.InGraph(p.Graph), other.InGraph(p.Graph)), sign, 0)
			}, train.Config{Optimiser: train.SGD(0.5)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(tr.Close)
			return tr
		}
		down, up := make(a, b, 1), make(b, a, -1)
		for range 2 {
			for _, tr := range []*train.Trainer{down, up} {
				if _, err := tr.Step(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		// a −= b/2, b += a/2, twice
		wantA, wantB := 1.0, 0.5
		for range 2 {
			wantA -= wantB / 2
			wantB += wantA / 2
		}
		if v := weights(t, down, false)["a"][0]; float64(v) != wantA {
			t.Errorf("a = %v, want %v", v, wantA)
		}
		if v := weights(t, up, false)["b"][0]; float64(v) != wantB {
			t.Errorf("b = %v, want %v", v, wantB)
		}
	})
}

// TestMemoryIsGivenBack: a closed trainer leaves nothing on the device.
func TestMemoryIsGivenBack(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		tr := newTrainer(t, dev, newNet(), train.Config{Optimiser: train.AdamW(1e-3), EMADecay: 0.9, Accumulate: 2})
		steps(t, tr, 1, 2)
		if _, err := tr.Evaluate(t.Context(), batch(0), true, 0); err != nil {
			t.Fatal(err)
		}
		weights(t, tr, false)
		if used, _ := dev.Memory(); used == 0 || tr.Plan().SlotBytes() == 0 {
			t.Error("a trainer takes no memory")
		}
		tr.Close()
		if used, _ := dev.Memory(); used != 0 {
			t.Errorf("%d bytes are still held", used)
		}
	})
}

// TestNothingGrows: hundreds of steps, evaluations and saves hold no more memory than a few.
func TestNothingGrows(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		tr := newTrainer(t, dev, newNet(), train.Config{Optimiser: train.AdamW(1e-3), EMADecay: 0.9, ClipNorm: 1})
		path := filepath.Join(t.TempDir(), "state.safetensors")
		round := func() (heap uint64, device int64) {
			steps(t, tr, 150, 1)
			if _, err := tr.Evaluate(t.Context(), batch(0), true, 1); err != nil {
				t.Fatal(err)
			}
			if err := tr.Save(t.Context(), path, nil); err != nil {
				t.Fatal(err)
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			device, _ = dev.Memory()
			return m.HeapAlloc, device
		}
		round()
		heap, device := round()
		laterHeap, laterDevice := round()
		if laterHeap > heap+256<<10 || laterDevice != device {
			t.Errorf("after 300 steps %d bytes on the heap and %d on the device, after 450 %d and %d", heap, device, laterHeap, laterDevice)
		}
	})
}

// checkApplied wants a saved LoRA, added to a model's weights as pictures are made with it, to give the loss that it was trained to.
func checkApplied(t *testing.T, dev compute.Device, adapters *lora.File, want float64) {
	t.Helper()
	n := newNet()
	warnings, err := lora.Apply([]lora.Network{{Name: "unet", Params: n.scope.Params()}}, []lora.Use{{File: adapters, UNet: 1}})
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	g := compute.NewGraph()
	g.Output("loss", n.loss(train.Pass{Graph: g}))
	if got := float64(goldentest.RunFlat(t, dev, g, batch(0))["loss"][0]); math.Abs(got-want) > 1e-5 {
		t.Errorf("with the saved LoRA the loss is %v, it was trained to %v", got, want)
	}
}

func TestKohyaLayout(t *testing.T) {
	n := newNet()
	adapter, err := train.NewLoRA(n.scope.Params(), []string{"conv", "out"}, 2, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		tr, err := train.New(dev, adapter.Params(), func(p train.Pass) *compute.Tensor {
			adapter.Bind(p.Graph)
			return n.loss(p)
		}, train.Config{Optimiser: train.AdamW(0.05)})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		before, err := tr.Evaluate(t.Context(), batch(0), false, 0)
		if err != nil {
			t.Fatal(err)
		}
		steps(t, tr, 30, 1)
		after, err := tr.Evaluate(t.Context(), batch(0), false, 0)
		if err != nil || !(after < 0.8*before) {
			t.Errorf("the loss went from %v to %v, error %v", before, after, err)
		}
		ws, err := tr.Weights(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		ts, err := adapter.Kohya(train.PartUNet, ws)
		if err != nil {
			t.Fatal(err)
		}
		meta := adapter.Metadata(train.LoRAInfo{Title: "A style", BaseVersion: "sd_v1", Architecture: "stable-diffusion-v1", Width: 64, Height: 48, Steps: 30,
			Optimiser: train.AdamW(0.05), Tags: map[string]map[string]int{"set": {"red": 3}}, Finished: time.Unix(1700000000, 5e8), Trigger: "astyle"})
		path := filepath.Join(t.TempDir(), "lora.safetensors")
		if err := checkpoint.Write(path, ts, meta); err != nil {
			t.Fatal(err)
		}
		adapters, file, err := lora.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		checkApplied(t, dev, adapters, after)
		got := map[string]compute.Shape{}
		for _, name := range file.Names() {
			v, _ := file.Get(name)
			got[name] = v.Shape
		}
		for name, want := range map[string]compute.Shape{
			"lora_unet_conv.lora_down.weight": {2, 3, 3, 3}, "lora_unet_conv.lora_up.weight": {8, 2, 1, 1}, "lora_unet_conv.alpha": {},
			"lora_unet_out.lora_down.weight": {2, 8}, "lora_unet_out.lora_up.weight": {3, 2}, "lora_unet_out.alpha": {},
		} {
			if !got[name].Equal(want) {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		if len(got) != 6 {
			t.Errorf("%d tensors", len(got))
		}
		for key, want := range map[string]string{
			"ss_network_module": "networks.lora", "ss_network_dim": "2", "ss_network_alpha": "1", "ss_resolution": "(64, 48)", "ss_learning_rate": "0.05",
			"ss_tag_frequency": `{"set":{"red":3}}`, "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "stable-diffusion-v1/lora",
			"modelspec.title": "A style", "modelspec.resolution": "64x48", "modelspec.date": "2023-11-14T22:13:20Z", "ss_training_finished_at": "1700000000.500",
			"modelspec.trigger_phrase": "astyle", "ss_lr_scheduler": "constant",
		} {
			if have := file.Metadata()[key]; have != want {
				t.Errorf("%s is %q, want %q", key, have, want)
			}
		}
	})
}

func TestMistakes(t *testing.T) {
	n := newNet()
	for want, c := range map[string]train.Config{
		"learning rate of 0":   {Optimiser: train.AdamW(0)},
		`no optimiser "lion"`:  {Optimiser: train.Optimiser{Kind: "lion", Rate: 1}},
		"betas":                {Optimiser: train.Optimiser{Kind: "adam", Rate: 1, Beta1: 1}},
		"looks ahead":          {Optimiser: train.Optimiser{Kind: "sgd", Rate: 1, Nesterov: true}},
		"momentum 1":           {Optimiser: train.Optimiser{Kind: "sgd", Rate: 1, Momentum: 1}},
		`no schedule "cosign"`: {Optimiser: train.SGD(1), Schedule: train.Schedule{Kind: "cosign"}},
		"has no time":          {Optimiser: train.SGD(1), Schedule: train.Schedule{Kind: "linear", Warmup: 5, Steps: 5}},
		"not under the":        {Optimiser: train.SGD(1e-8), Schedule: train.Schedule{Kind: "polynomial", Steps: 5}},
		"none can be negative": {Optimiser: train.SGD(1), Accumulate: -1},
		"must be under 1":      {Optimiser: train.SGD(1), EMADecay: 1},
	} {
		if _, err := train.New(nil, n.scope.Params(), n.loss, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	for want, build := range map[string]func() error{
		"no parameters":    func() error { _, err := train.New(nil, nil, n.loss, train.Config{Optimiser: train.SGD(1)}); return err },
		"nothing to adapt": func() error { _, err := train.NewLoRA(n.scope.Params(), []string{"to_q"}, 4, 1, 0); return err },
		"rank 0":           func() error { _, err := train.NewLoRA(n.scope.Params(), []string{"out"}, 0, 1, 0); return err },
		"highest rank":     func() error { _, err := train.NewLoRA(n.scope.Params(), []string{"out"}, 4, 1, 0); return err },
		"lack the adapter": func() error {
			l, _ := train.NewLoRA(n.scope.Params(), []string{"out"}, 2, 1, 0)
			_, err := l.Kohya("lora_te", nil)
			return err
		},
		"two parameters are": func() error {
			_, err := train.New(nil, []*nn.Param{nn.NewParam("p", nil, 1), nn.NewParam("p", nil, 1)}, n.loss, train.Config{Optimiser: train.SGD(1)})
			return err
		},
	} {
		if err := build(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestRunMistakes(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		tr := newTrainer(t, dev, newNet(), train.Config{Optimiser: train.SGD(1)})
		wants := func(err error, want string) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v does not say %q", err, want)
			}
		}
		_, err := tr.Step(t.Context())
		wants(err, "made from 1 batches, and 0")
		_, err = tr.Step(t.Context(), map[string][]float32{"x": batch(0)["x"]})
		wants(err, `input "y"`)
		_, err = tr.Evaluate(t.Context(), batch(0), true, 0)
		wants(err, "no averages")
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := tr.Step(cancelled, batch(0)); err == nil || tr.Steps() != 0 {
			t.Errorf("a cancelled step gives %v", err)
		}
		path := filepath.Join(t.TempDir(), "s.safetensors")
		if err := tr.Save(t.Context(), path, nil); err != nil {
			t.Fatal(err)
		}
		_, err = tr.Restore(path)
		wants(err, "before the first step")
		_, err = newTrainer(t, dev, newNet(), train.Config{Optimiser: train.AdamW(1)}).Restore(path)
		wants(err, `its optimiser is "sgd", and this training's is "adamw"`)
		other := newNet()
		other.scope.Param("more", nn.ConstInit(0), 2)
		_, err = newTrainer(t, dev, other, train.Config{Optimiser: train.SGD(1)}).Restore(path)
		wants(err, `has no "weights.more"`)
		_, err = newTrainer(t, dev, newNet(), train.Config{Optimiser: train.SGD(1)}).Restore(filepath.Join(t.TempDir(), "none"))
		wants(err, "none")
		b := batch(0)
		b["x"][3] = float32(math.NaN())
		before := weights(t, tr, false)
		_, err = tr.Step(t.Context(), b)
		wants(err, "the loss is NaN and the gradients' length NaN at step 1")
		if d := apart(weights(t, tr, false), before); d != 0 {
			t.Errorf("a step without a loss moves parameters by %v", d)
		}
	})
}
