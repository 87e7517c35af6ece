package train_test

import (
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/gpt"
	"atelier/models/nn"
	"atelier/models/train"
	"atelier/models/unet"
)

// stickerUNet is a denoiser of 6.17 million parameters, somewhat more than the 5.56 million that speeds are stated for.
func stickerUNet(b testing.TB) (*unet.Model, *nn.Scope) {
	s := nn.Initialise(1)
	m, err := unet.New(s, unet.Config{
		SampleSize: 64, InChannels: 4, OutChannels: 4, DownBlocks: []string{"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"},
		UpBlocks: []string{"CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}, MidBlock: "UNetMidBlock2DCrossAttn", Channels: []int{48, 96, 144},
		Layers: []int{1, 1, 1}, Heads: []int{4, 4, 4}, Transformers: []int{1, 1, 1}, UpTransformers: []int{1, 1, 1}, ContextDim: []int{128, 128, 128},
		Groups: 16, Eps: 1e-5, FlipSinToCos: true, DownsamplePadding: 1,
	})
	if err != nil {
		b.Fatal(err)
	}
	return m, s
}

func parameters(s *nn.Scope) (n int) {
	for _, p := range s.Params() {
		n += p.Shape.Size()
	}
	return n
}

// bench times steps on both devices, items a step.
func bench(b *testing.B, s *nn.Scope, loss train.Loss, items int, unit string) {
	goldentest.BenchmarkDevices(b, func(b *testing.B, dev compute.Device) {
		tr, err := train.New(dev, s.Params(), loss, train.Config{Optimiser: train.AdamW(1e-4), ClipNorm: 1})
		if err != nil {
			b.Fatal(err)
		}
		defer tr.Close()
		if err := tr.Prepare(b.Context()); err != nil {
			b.Fatal(err)
		}
		feed := map[string][]float32{}
		for _, x := range tr.Plan().Inputs {
			v := make([]float32, x.Shape().Size())
			for i := range v {
				v[i] = float32(i%7) / 7
			}
			feed[x.Name()] = v
		}
		step := func() {
			if _, err := tr.Step(b.Context(), feed); err != nil {
				b.Fatal(err)
			}
		}
		step() // warms up: the device chooses the forms of its launches
		b.Logf("%d parameters, %.0f GFLOP a step, slots of %s", parameters(s), tr.Plan().FLOPs()/1e9, compute.FormatBytes(tr.Plan().SlotBytes()))
		for b.Loop() {
			step()
		}
		_, peak := dev.Memory()
		b.ReportMetric(float64(items*b.N)/b.Elapsed().Seconds(), unit+"/s")
		b.ReportMetric(float64(peak)/1e6, "MB")
	})
}

func BenchmarkUNet(b *testing.B) {
	m, s := stickerUNet(b)
	const batch = 16
	bench(b, s, func(p train.Pass) *compute.Tensor {
		g := p.Graph
		y := m.Forward(g.Input("x", batch, 64, 64, 4), g.Input("t", batch), g.Input("ctx", batch, 16, 128), nil)
		return nn.MSE(y, g.Input("noise", batch, 64, 64, 4))
	}, batch, "images")
}

func BenchmarkGPT(b *testing.B) {
	s := nn.Initialise(1)
	m, err := gpt.New(s, gpt.Config{BlockSize: 256, VocabSize: 512, Layers: 6, Heads: 8, Width: 256, Bias: true})
	if err != nil {
		b.Fatal(err)
	}
	const batch = 16
	bench(b, s, func(p train.Pass) *compute.Tensor {
		ids := p.Graph.Input("x", batch, 256)
		return nn.CrossEntropy(m.Forward(ids, p.DropoutKey()), p.Graph.Input("y", batch, 256), 0)
	}, batch*256, "tokens")
}
