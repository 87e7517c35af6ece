package unet

import (
	"math"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

// TestQuantised runs the denoiser with block-quantised weights and with the same values as float32: the results
// agree as far as float32 goes, and the weights take the memory of blocks.
func TestQuantised(t *testing.T) {
	c := load(t).Config
	blocks, decoded := goldentest.Quantised(t, goldentest.Open(t, "sd15/model/unet/diffusion_pytorch_model.safetensors"), compute.Q5_1, compute.Q4_K, compute.Q8_0)
	in := goldentest.Read(t, "sd15/unet.in.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		run := func(ts checkpoint.Tensors) (goldentest.Tensor, int64) {
			m, err := New(nn.Load("unet", ts), c)
			if err != nil {
				t.Fatal(err)
			}
			g, feed := compute.NewGraph(), map[string][]float32{}
			x, time, context := goldentest.Input(g, feed, "sample", in["sample"]), goldentest.Input(g, feed, "timestep", in["timestep"]), goldentest.Input(g, feed, "context", in["encoder_hidden_states"])
			g.Output("sample", m.Forward(x, time, context, nil))
			plan, err := g.Compile(dev.Limits())
			if err != nil {
				t.Fatal(err)
			}
			return goldentest.Run(t, dev, g, feed)["sample"], plan.ParamBytes()
		}
		got, small := run(blocks)
		want, large := run(decoded)
		most := 0.0
		for _, v := range want.Data {
			most = math.Max(most, math.Abs(float64(v)))
		}
		if most == 0 || math.IsNaN(most) || math.IsInf(most, 0) {
			t.Fatalf("the results reach %v", most)
		}
		goldentest.Close(t, "sample", got, want, 1e-4*most)
		if small > large*3/4 {
			t.Errorf("parameters take %s, decoded %s", compute.FormatBytes(small), compute.FormatBytes(large))
		}
	})
}
