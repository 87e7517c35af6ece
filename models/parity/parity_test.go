package parity_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/parity"
	"atelier/models/train"
)

// values are tensors by name.
func values(t *testing.T, ts []checkpoint.Tensor) map[string]goldentest.Tensor {
	t.Helper()
	out := map[string]goldentest.Tensor{}
	for _, x := range ts {
		data, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		out[x.Name] = goldentest.Tensor{Shape: x.Shape, Data: data}
	}
	return out
}

func text(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTraining is the cases train-gpt-adamw, whose table is one parameter with two uses, train-unet-adamw, train-unet-rmsprop, and
// train-unet-lora-adamw, peft's adapters of rank 4 and alpha 8 to a frozen model.
func TestTraining(t *testing.T) {
	momentum := train.RMSProp(1e-3)
	momentum.Momentum = 0.9
	for id, c := range map[string]struct {
		model, folder string
		optimiser     train.Optimiser
	}{
		"train-gpt-adamw": {"gpt", "gpt", train.AdamW(1e-3)}, "train-unet-adamw": {"unet", "unet", train.AdamW(1e-3)}, "train-unet-rmsprop": {"unet", "unet", momentum},
		"train-unet-lora-adamw": {"unet", "unet_lora", train.AdamW(1e-3)},
	} {
		folder := "training/" + c.folder + "/"
		grads, after := goldentest.Read(t, folder+"grads.safetensors"), goldentest.Read(t, folder+"after3_"+c.optimiser.Kind+".safetensors")
		t.Run(id, func(t *testing.T) {
			goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
				r := parity.Run{Model: goldentest.Open(t, "training/"+c.model+"/model.safetensors"), Batches: goldentest.Open(t, folder+"batches.safetensors"), Train: train.Config{Optimiser: c.optimiser}}
				switch c.folder {
				case "gpt":
					r.Config = text(t, folder+"config.json")
				case "unet_lora":
					r.LoRA, r.Alpha = goldentest.Open(t, folder+"lora.safetensors"), 8
					fallthrough
				default:
					r.Overrides = []byte(`{"num_attention_heads": 2, "norm_num_groups": 8}`)
				}
				got, err := parity.Train(t.Context(), dev, r)
				if err != nil {
					t.Fatal(err)
				}
				golden := goldentest.LoadTraining(t, id)
				goldentest.Compare(t, goldentest.Case{Atol: golden.Files["grads"]}, values(t, got.Grads), grads)
				if len(got.Grads) != len(grads) || len(got.Steps) != 3 {
					t.Errorf("%d gradients, want %d; %d steps", len(got.Grads), len(grads), len(got.Steps))
				}
				for i, s := range got.Steps {
					want := golden.Scalars
					if math.Abs(s.Loss-want.Loss[i]) > 2e-5*want.Loss[i] || math.Abs(s.GradNorm-want.GradNorm[i]) > 5e-5*want.GradNorm[i] || s.Rate != want.Rate[i] {
						t.Errorf("step %d: loss %v, norm %v, rate %v; want %v, %v, %v", i, s.Loss, s.GradNorm, s.Rate, want.Loss[i], want.GradNorm[i], want.Rate[i])
					}
				}
				checkAfter(t, values(t, got.After), after, grads, golden.Files["after3"], c.optimiser.Rate)
			})
		})
	}
}

// checkAfter compares parameters, but where gradients are so small that the update is one rounding error by another.
func checkAfter(t *testing.T, got, want, grads map[string]goldentest.Tensor, atol map[string]float64, rate float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d parameters, and there are %d goldens", len(got), len(want))
	}
	for name, g := range got {
		w := want[name]
		if !slices.Equal(g.Shape, w.Shape) {
			t.Errorf("%s is %v, want %v", name, g.Shape, w.Shape)
			continue
		}
		most := math.Max(atol[name], 0.05*rate)
		for i, v := range g.Data {
			if d := math.Abs(float64(v) - float64(w.Data[i])); !(d <= most) && math.Abs(float64(grads[name].Data[i])) >= 1e-6 {
				t.Errorf("%s is off by %.3g at %d after three steps; %.3g is allowed", name, d, i, most)
				break
			}
		}
	}
}

// TestOps is the case train-ops: every fixture's results and gradients.
func TestOps(t *testing.T) {
	manifest := text(t, "training/ops.json")
	var fixtures []struct {
		Op      string             `json:"op"`
		Outputs []string           `json:"outputs"`
		Grads   []string           `json:"grads"`
		Atol    map[string]float64 `json:"atol"`
	}
	if err := json.Unmarshal(manifest, &fixtures); err != nil || len(fixtures) != 102 {
		t.Fatalf("%d fixtures, %v", len(fixtures), err)
	}
	atol, results := map[string]float64{}, 0
	for _, f := range fixtures {
		results += len(f.Outputs) + len(f.Grads)
		for name, v := range f.Atol {
			atol[f.Op+"/"+name] = v
		}
	}
	want := goldentest.Read(t, "training/ops.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		got, err := parity.Ops(t.Context(), dev, manifest, goldentest.Open(t, "training/ops.safetensors"))
		if err != nil || len(got) != results {
			t.Errorf("%d results, want %d; %v", len(got), results, err)
		}
		goldentest.Compare(t, goldentest.Case{Atol: atol}, values(t, got), want)
	})
}

// TestOpsThatFail: an op that is not known, or whose inputs do not fit, keeps no other from being computed.
func TestOpsThatFail(t *testing.T) {
	manifest := `[{"op": "act_silu", "inputs": {"x": []}, "outputs": ["y"], "grads": ["d_x"]}, {"op": "nothing_like_it", "inputs": {}, "outputs": ["y"], "grads": []},
		{"op": "linear", "inputs": {"x": []}, "outputs": ["y"], "grads": ["d_x"]}]`
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		got, err := parity.Ops(t.Context(), dev, []byte(manifest), goldentest.Open(t, "training/ops.safetensors"))
		if len(got) != 2 || err == nil || !strings.Contains(err.Error(), "nothing_like_it: this program has no such op") || !strings.Contains(err.Error(), "linear: ") {
			t.Errorf("%d results, %v", len(got), err)
		}
	})
}

// TestRecurrent is the case train-lstm-1layer, and other kinds and depths, made by torch.nn.LSTM, GRU and RNN (PyTorch 1.13) in the same
// way: outputs, last state and all gradients of sum(y·dy).
func TestRecurrent(t *testing.T) {
	for _, file := range []string{
		"training/lstm_1layer", "../rnn/testdata/lstm_2layers_both_ways", "../rnn/testdata/lstm_1layer_both_ways", "../rnn/testdata/lstm_3layers_nobias", "../rnn/testdata/gru_1layer",
		"../rnn/testdata/gru_2layers_both_ways", "../rnn/testdata/rnn_tanh_2layers",
	} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, atol := map[string]goldentest.Tensor{}, goldentest.LoadTraining(t, "train-lstm-1layer").Tensors
			if !strings.HasPrefix(file, "training/") {
				atol = map[string]float64{}
			}
			for name, v := range goldentest.Read(t, file+".safetensors") {
				name, isOut := strings.CutPrefix(name, "out.")
				if !isOut {
					continue
				}
				want[name] = v
				if !strings.HasPrefix(file, "training/") {
					for _, x := range v.Data {
						atol[name] = math.Max(atol[name], 2e-5*math.Abs(float64(x)))
					}
				}
			}
			goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
				got, err := parity.Recurrent(t.Context(), dev, goldentest.Open(t, file+".safetensors"))
				if err != nil || len(got) != len(want) {
					t.Fatalf("%d results, and there are %d goldens; %v", len(got), len(want), err)
				}
				goldentest.Compare(t, goldentest.Case{Atol: atol}, values(t, got), want)
			})
		})
	}
}
