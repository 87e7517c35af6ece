package cvae

import (
	"math"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
	"atelier/models/train"
)

// A tiny model learns four pictures of two labels, and its decoder then gives them back.
func TestLearns(t *testing.T) {
	s := nn.Initialise(1)
	m, err := New(s, Config{Pyramid: nn.Pyramid{Size: 8, Channels: []int{8, 8}, Pixels: 1, Latent: 2, Style: 8, Labels: 2}})
	if err != nil {
		t.Fatal(err)
	}
	const b = 4
	x, label := make([]float32, b*64), []float32{0, 1, 0, 1}
	for i := range x {
		n, row, column := i/64, i/8%8, i%8
		on := [b]bool{row < 4, column < 4, row >= 4, column >= 4}[n]
		if x[i] = -0.9; on {
			x[i] = 0.9
		}
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		if dev.Limits().Shaders {
			return // the trainer is held against both devices where it lives
		}
		tr, err := train.New(dev, s.Params(), func(p train.Pass) *compute.Tensor {
			in, l := p.Graph.Input("x", b, 8, 8, 1), p.Graph.Input("label", b)
			mean, logvar := m.Encode(in, l)
			all := p.Graph.Const("all", []float32{1, 1, 1, 1}, b)
			rec, div := Loss(in, m.Forward(Sample(mean, logvar, p.Key), l), mean, logvar, all)
			p.Graph.Output("reconstruction", rec)
			return compute.Add(rec, compute.Affine(div, 0.01, 0))
		}, train.Config{Optimiser: train.Adam(3e-3)})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		first, last := 0.0, 0.0
		for i := range 300 {
			r, err := tr.Step(t.Context(), map[string][]float32{"x": x, "label": label})
			if err != nil {
				t.Fatal(err)
			}
			if last = r.Loss; i == 0 {
				first = last
			}
		}
		if !(last < first/10) || math.IsNaN(last) {
			t.Errorf("the loss went from %g to %g", first, last)
		}
	})
}

// TestLoss works the two parts out by hand: one of two pictures counts, and twice.
func TestLoss(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g := compute.NewGraph()
		rec, div := Loss(g.Input("x", 2, 1, 2, 1), g.Input("y", 2, 1, 2, 1), g.Input("mean", 2, 1), g.Input("logvar", 2, 1), g.Input("weight", 2))
		g.Output("reconstruction", rec)
		g.Output("divergence", div)
		out := goldentest.RunFlat(t, dev, g, map[string][]float32{"x": {1, 2, 9, 9}, "y": {0, 4, 0, 0}, "mean": {3, 9}, "logvar": {1, 9}, "weight": {2, 0}})
		for name, want := range map[string]float64{"reconstruction": 5, "divergence": (9 + math.E - 1 - 1) / 2} {
			if got := float64(out[name][0]); math.Abs(got-want) > 1e-5 {
				t.Errorf("%s is %g, not %g", name, got, want)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	for _, text := range []string{`[]`, `{"size":16,"channels":[4,4],"pixels":1,"latent":2,"style":4}`, `{"size":8,"channels":[4,4],"pixels":1,"latent":2,"style":4,"labels":1,"label_names":["a","b"]}`} {
		if _, err := ParseConfig([]byte(text)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}
