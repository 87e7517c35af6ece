package vae

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

const weights = "sd15/model/vae/diffusion_pytorch_model.safetensors"

func config(t *testing.T) Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "sd15/model/vae/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGolden is the case sd15-vae.
func TestGolden(t *testing.T) {
	m, err := New(nn.Load("vae", goldentest.Open(t, weights)), config(t))
	if err != nil {
		t.Fatal(err)
	}
	check(t, m)
	check(t, m.Within(4096))
}

// TestBands holds coding in bands to be coding of the whole: pictures of uneven height, two at a time, and a plan that has no result
// as large as the whole's.
func TestBands(t *testing.T) {
	m, err := New(nn.Load("vae", goldentest.Open(t, weights)), config(t))
	if err != nil {
		t.Fatal(err)
	}
	const h, w, limit = 9, 6, 1 << 16
	f := m.Factor()
	random := func(r *rand.Rand, n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	r := rand.New(rand.NewPCG(2, 3))
	z := goldentest.Tensor{Shape: []int{2, m.LatentChannels, h, w}, Data: random(r, 2*m.LatentChannels*h*w)}
	x := goldentest.Tensor{Shape: []int{2, m.InChannels, h * f, w * f}, Data: random(r, 2*m.InChannels*h*f*w*f)}
	record := func(m *Model) (*compute.Graph, map[string][]float32) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		mean, logvar := m.Encode(goldentest.Input(g, feed, "x", x))
		g.Output("decode", m.Decode(goldentest.Input(g, feed, "z", z)))
		g.Output("mean", mean)
		g.Output("logvar", logvar)
		return g, feed
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := record(m)
		want := goldentest.Run(t, dev, g, feed)
		banded, _ := record(m.Within(limit))
		for name, got := range goldentest.Run(t, dev, banded, feed) {
			goldentest.Close(t, name, got, want[name], 2e-5)
		}
		largest := func(g *compute.Graph) (n int64) {
			plan, err := g.Compile(dev.Limits())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range plan.Steps {
				if s.Node.Op.Name == "conv2d" || s.Node.Op.Name == "mul" || s.Node.Op.Name == "group_norm" {
					n = max(n, s.Node.Bytes())
				}
			}
			return n
		}
		if whole, part := largest(g), largest(banded); part > limit || whole < 4*part {
			t.Errorf("the largest result of the whole takes %d bytes, in bands %d, allowed %d", whole, part, limit)
		}
	})
}

func check(t *testing.T, m *Model) {
	c := goldentest.Load(t, "sd15-vae")
	in, want := goldentest.Read(t, "sd15/vae.in.safetensors"), goldentest.Read(t, "sd15/vae.out.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		mean, logvar := m.Encode(goldentest.Input(g, feed, "image", in["image"]))
		std := compute.Exp(compute.Affine(logvar, 0.5, 0))
		sample := compute.Add(mean, compute.Mul(std, goldentest.Input(g, feed, "noise", in["noise"])))
		g.Output("mean", mean)
		g.Output("logvar", logvar)
		g.Output("std", std)
		g.Output("sample", sample)
		g.Output("latents_scaled", compute.Affine(sample, m.ScalingFactor, 0))
		g.Output("decode", m.Decode(goldentest.Input(g, feed, "z", in["z"])))
		goldentest.Compare(t, c, goldentest.Run(t, dev, g, feed), want)
	})
}

// renamed is a checkpoint whose attention weights have the names and shapes of 2022.
type renamed struct {
	checkpoint.Tensors
	names []string
	old   map[string]checkpoint.Tensor
}

func (r *renamed) Names() []string { return r.names }
func (r *renamed) Get(name string) (checkpoint.Tensor, bool) {
	t, ok := r.old[name]
	return t, ok
}

// TestOldNames loads the same numbers as query, key, value and proj_attn, with 4-D weights as single files have them.
func TestOldNames(t *testing.T) {
	now := goldentest.Open(t, weights)
	r := &renamed{Tensors: now, old: map[string]checkpoint.Tensor{}}
	renames := map[string]string{"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
	for _, name := range now.Names() {
		v, _ := now.Get(name)
		for a, b := range renames {
			for _, leaf := range []string{".weight", ".bias"} {
				prefix := "mid_block.attentions.0."
				for _, coder := range []string{"encoder.", "decoder."} {
					if name == coder+prefix+a+leaf {
						name = coder + prefix + b + leaf
						if leaf == ".weight" {
							v.Shape = append(append([]int(nil), v.Shape...), 1, 1)
						}
					}
				}
			}
		}
		r.old[name] = v
		r.names = append(r.names, name)
	}
	m, err := New(nn.Load("vae", r), config(t))
	if err != nil {
		t.Fatal(err)
	}
	check(t, m)
}

// TestAncientConfig checks the values that the first Stable Diffusion repositories left out.
func TestAncientConfig(t *testing.T) {
	c, err := ParseConfig([]byte(`{"block_out_channels": [32, 64], "latent_channels": 4, "layers_per_block": 2}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.ScalingFactor != 0.18215 || !c.QuantConv || !c.PostQuantConv || !c.MidAttention || c.Factor() != 2 || c.Shift() != 0 {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{`{`, `{"block_out_channels": []}`, `{"block_out_channels": [33]}`, `{"scaling_factor": 0}`, `{"norm_num_groups": 0}`, `{"up_block_types": ["AttnUpDecoderBlock2D"]}`} {
		if _, err := ParseConfig([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestFeatures compares the pooled features with the mean of the mid block's own output, which the golden case covers on its way to
// the latents.
func TestFeatures(t *testing.T) {
	m, err := New(nn.Load("vae", goldentest.Open(t, weights)), config(t))
	if err != nil {
		t.Fatal(err)
	}
	in := goldentest.Read(t, "sd15/vae.in.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		x := goldentest.Input(g, feed, "image", in["image"])
		g.Output("features", m.Features(x))
		g.Output("block", m.encoder.shrink(nn.Whole(x, nn.BandBytes)).Join())
		out := goldentest.Run(t, dev, g, feed)
		got, block := out["features"], out["block"] // B C h w
		if len(got.Shape) != 2 || got.Shape[0] != block.Shape[0] || got.Shape[1] != m.Channels[len(m.Channels)-1] || got.Shape[1] != block.Shape[1] {
			t.Fatalf("features %v of a block %v", got.Shape, block.Shape)
		}
		plane := block.Shape[2] * block.Shape[3]
		for i, v := range got.Data {
			sum := 0.0
			for _, b := range block.Data[i*plane : (i+1)*plane] {
				sum += float64(b)
			}
			if want := sum / float64(plane); math.Abs(float64(v)-want) > 1e-5*max(1, math.Abs(want)) {
				t.Errorf("feature %d is %v, want %v", i, v, want)
			}
		}
	})
}
