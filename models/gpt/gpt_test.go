package gpt

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

func config(t *testing.T) Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "training/gpt/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGoldenLoss is the forward pass of the case train-gpt-adamw; its gradients and steps are package train's.
func TestGoldenLoss(t *testing.T) {
	batches, want := goldentest.Read(t, "training/gpt/batches.safetensors"), goldentest.LoadTraining(t, "train-gpt-adamw").Scalars.Loss[0]
	s := nn.Load("gpt", goldentest.Open(t, "training/gpt/model.safetensors"))
	m, err := New(s, config(t))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Params()); n != 28 {
		t.Errorf("%d parameters, and the table is one of 28", n)
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		logits := m.Forward(goldentest.Input(g, feed, "x", batches["step0.x"]), nil)
		g.Output("loss", nn.CrossEntropy(logits, goldentest.Input(g, feed, "y", batches["step0.y"]), 0))
		if got := float64(goldentest.Run(t, dev, g, feed)["loss"].Data[0]); math.Abs(got-want) > 1e-5 {
			t.Errorf("loss %v, want %v", got, want)
		}
	})
}

// TestCausal: a token changes what follows it and nothing before it; a model without offsets and dropout in training work too.
func TestCausal(t *testing.T) {
	m, err := New(nn.Initialise(1), Config{BlockSize: 8, VocabSize: 11, Layers: 2, Heads: 2, Width: 8, Dropout: 0.5, Approximate: true})
	if err != nil {
		t.Fatal(err)
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		logits := func(drop bool, ids ...float32) []float32 {
			g, feed := compute.NewGraph(), map[string][]float32{"ids": ids}
			var key *compute.Tensor
			if drop {
				key = g.Input("key", compute.RandomKeySize)
				feed["key"] = compute.RandomKey(1, 1)
			}
			g.Output("logits", m.Forward(g.Input("ids", 1, 5), key))
			return goldentest.Run(t, dev, g, feed)["logits"].Data
		}
		a, b, dropped := logits(false, 1, 2, 3, 4, 5), logits(false, 1, 2, 3, 9, 5), logits(true, 1, 2, 3, 4, 5)
		for i := range a {
			if same := a[i] == b[i]; same != (i < 3*11) {
				t.Errorf("logit %d: %v, %v with another fourth token", i, a[i], b[i])
			}
		}
		if dropped[0] == a[0] {
			t.Error("dropout changes nothing")
		}
	})
}

func TestConfigErrors(t *testing.T) {
	for bad, want := range map[string]string{
		`{`: "config.json",
		`{"block_size": 4, "vocab_size": 4, "n_layer": 1, "n_head": 3, "n_embd": 4}`:               "does not divide into 3 heads",
		`{"block_size": 4, "vocab_size": 4, "n_layer": 0, "n_head": 1, "n_embd": 4}`:               "n_layer is 0",
		`{"block_size": 4, "vocab_size": 9999999, "n_layer": 1, "n_head": 1, "n_embd": 4}`:         "vocab_size is 9999999",
		`{"block_size": 4, "vocab_size": 4, "n_layer": 1, "n_head": 1, "n_embd": 4, "dropout": 1}`: "dropout is 1",
	} {
		if _, err := ParseConfig([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v; %q is wanted in it", bad, err, want)
		}
	}
	if _, err := New(nn.Load("gpt", goldentest.Open(t, "training/lstm_1layer.safetensors")), config(t)); err == nil || !strings.Contains(err.Error(), "missing: transformer.wte.weight") {
		t.Errorf("another model's file gives %v", err)
	}
}
