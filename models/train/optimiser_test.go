package train_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
	"atelier/models/train"
)

// TestOptimisersAsPyTorch makes six steps of torch.optim's rules (PyTorch 1.13) from given gradients, with and without clipping
// to a length of 1: variants that the golden runs do not reach.
func TestOptimisersAsPyTorch(t *testing.T) {
	golden := goldentest.Read(t, "../train/testdata/optimisers.safetensors")
	rules := map[string]train.Optimiser{
		"adamw":      {Kind: "adamw", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1},
		"adamw_b":    {Kind: "adamw", Beta1: 0.5, Beta2: 0.9, Eps: 1e-3},
		"adam":       {Kind: "adam", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8},
		"adam_wd":    {Kind: "adam", Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1},
		"rmsprop":    {Kind: "rmsprop", Alpha: 0.99, Eps: 1e-8},
		"rmsprop_c":  {Kind: "rmsprop", Alpha: 0.99, Eps: 1e-8, Centred: true},
		"rmsprop_cm": {Kind: "rmsprop", Alpha: 0.9, Eps: 1e-5, Centred: true, Momentum: 0.9, WeightDecay: 0.1},
		"rmsprop_wd": {Kind: "rmsprop", Alpha: 0.99, Eps: 1e-8, WeightDecay: 0.1},
		"sgd":        {Kind: "sgd"},
		"sgd_m":      {Kind: "sgd", Momentum: 0.9},
		"sgd_n":      {Kind: "sgd", Momentum: 0.9, Nesterov: true},
		"sgd_nwd":    {Kind: "sgd", Momentum: 0.9, Nesterov: true, WeightDecay: 0.1},
		"sgd_wd":     {Kind: "sgd", WeightDecay: 0.1},
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for name, o := range rules {
			o.Rate = 1e-2
			for clip := range 2 {
				t.Run(fmt.Sprint(name, " clip ", clip), func(t *testing.T) {
					for i, got := range sixSteps(t, dev, train.Config{Optimiser: o, ClipNorm: float64(clip)}, golden) {
						want := golden[fmt.Sprintf("%s.%d.%d", name, clip, i)].Data
						for k, v := range got {
							if d := math.Abs(float64(v - want[k])); !(d < 3e-6) {
								t.Errorf("parameter %d is off by %.3g at %d", i, d, k)
								break
							}
						}
					}
				})
			}
		}
	})
}

// sixSteps trains two parameters whose gradients are the golden's.
func sixSteps(t *testing.T, dev compute.Device, c train.Config, golden map[string]goldentest.Tensor) (values [][]float32) {
	s := nn.Initialise(1)
	for i := range 2 {
		p := golden[fmt.Sprint("p", i)]
		s.Param(fmt.Sprint("p", i), func(_ *rand.Rand, dst []float32) { copy(dst, p.Data) }, p.Shape...)
	}
	tr, err := train.New(dev, s.Params(), func(p train.Pass) (loss *compute.Tensor) {
		for i, w := range s.Params() {
			slope := p.Graph.Input(fmt.Sprint("g", i), w.Shape...)
			part := compute.Sum(compute.Mul(w.InGraph(p.Graph), slope), false)
			if i > 0 {
				part = compute.Add(loss, part)
			}
			loss = part
		}
		return loss
	}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for k := range 6 {
		batch := map[string][]float32{}
		for i := range 2 {
			batch[fmt.Sprint("g", i)] = golden[fmt.Sprintf("g%d.%d", k, i)].Data
		}
		if _, err := tr.Step(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	weights, err := tr.Weights(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range weights {
		v, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	return values
}
