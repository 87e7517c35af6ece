package train_test

import (
	"errors"
	"math"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/goldentest"
	"atelier/models/nn"
	"atelier/models/train"
	"atelier/models/unet"
)

// TestUNetKeepsLess: with only the blocks' results kept, or what crosses the cuts between stretches, a U-Net's gradients are the same to the bit, and the plan is smaller.
func TestUNetKeepsLess(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		var grads [3]map[string][]float32
		var bytes [3]int64
		for k, keep := range []string{"everything", "blocks", "cuts"} {
			s := nn.Initialise(4)
			m, err := unet.New(s, unetConfig())
			if err != nil {
				t.Fatal(err)
			}
			g, feed := compute.NewGraph(), map[string][]float32{"t": {10, 900}}
			for name, n := range map[string]int{"x": 2 * 32 * 32 * 4, "noise": 2 * 32 * 32 * 4, "ctx": 2 * 5 * 12} {
				for i := range n {
					feed[name] = append(feed[name], float32(math.Sin(float64(i*len(name)))))
				}
			}
			watch := func(_ string, x *compute.Tensor) {
				if keep == "blocks" {
					g.Keep(x)
				}
			}
			y := m.Forward(g.Input("x", 2, 32, 32, 4), g.Input("t", 2), g.Input("ctx", 2, 5, 12), watch)
			loss := nn.MSE(y, g.Input("noise", 2, 32, 32, 4))
			if keep == "cuts" {
				g.KeepStretches(loss, 8)
			}
			var wrt []*compute.Tensor
			for _, p := range s.Params() {
				wrt = append(wrt, p.InGraph(g))
			}
			for i, d := range compute.Grad(loss, wrt...) {
				g.Output(s.Params()[i].Name, compute.SumSquares(d, false))
			}
			plan, err := g.Compile(dev.Limits())
			if err != nil {
				t.Fatal(err)
			}
			bytes[k] = plan.SlotBytes()
			grads[k] = goldentest.RunFlat(t, dev, g, feed)
		}
		for name, v := range grads[0] {
			if a, b := grads[1][name][0], grads[2][name][0]; a != v[0] || b != v[0] {
				t.Errorf("%s: %v and %v, want %v", name, a, b, v[0])
			}
		}
		if max(bytes[1], bytes[2])*10 > bytes[0]*9 {
			t.Errorf("slots of %d and %d bytes, %d with all activations kept", bytes[1], bytes[2], bytes[0])
		}
		t.Logf("slots of %s, %s with the blocks' results alone, %s with what crosses cuts", compute.FormatBytes(bytes[0]), compute.FormatBytes(bytes[1]), compute.FormatBytes(bytes[2]))
	})
}

// TestShortMemory: where activations do not fit the device, stretches of the forward pass are computed twice, and the weights come out the
// same to the bit; where nothing helps, the error says what is missing.
func TestShortMemory(t *testing.T) {
	run := func(limit int64) (w map[string][]float32, peak int64, stretches int, err error) {
		dev := host.New(host.Options{MemoryLimit: limit})
		defer dev.Close()
		s := nn.Initialise(3)
		var layers []*nn.Conv2D
		var norms []*nn.GroupNorm
		for i := range 16 {
			layers = append(layers, nn.NewConv2D(s.At("conv", i), 8, 8, 3, 1, nn.Same(1)))
			norms = append(norms, nn.NewGroupNorm(s.At("norm", i), 8, 2, 1e-5))
		}
		tr, err := train.New(dev, s.Params(), func(p train.Pass) *compute.Tensor {
			x := p.Graph.Input("x", 2, 16, 16, 8)
			for i, l := range layers {
				x = compute.Add(x, l.Forward(norms[i].Forward(x, compute.ActSiLU)))
			}
			return compute.Mean(compute.Square(x), false)
		}, train.Config{Optimiser: train.AdamW(1e-2), ClipNorm: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		for i := range 3 {
			x := make([]float32, 2*16*16*8)
			for k := range x {
				x[k] = float32(math.Sin(float64(k*(i+3)) * 0.37))
			}
			if _, err := tr.Step(t.Context(), map[string][]float32{"x": x}); err != nil {
				return nil, 0, tr.Stretches(), err
			}
		}
		_, peak = dev.Memory()
		return weights(t, tr, false), peak, tr.Stretches(), nil
	}
	want, peak, stretches, err := run(0)
	if err != nil || stretches != 0 {
		t.Fatalf("%d stretches, error %v", stretches, err)
	}
	got, less, stretches, err := run(peak * 6 / 10)
	if err != nil || stretches < 2 || less > peak*6/10 {
		t.Fatalf("%d stretches, %d bytes of %d, error %v", stretches, less, peak, err)
	}
	if d := apart(got, want); d != 0 || len(got) != len(want) {
		t.Errorf("the weights are %v apart", d)
	}
	t.Logf("%s instead of %s, in %d stretches", compute.FormatBytes(less), compute.FormatBytes(peak), stretches)
	var full *compute.MemoryError
	if _, _, _, err = run(peak / 20); !errors.As(err, &full) {
		t.Errorf("error %v", err)
	}
}
