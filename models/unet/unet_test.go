package unet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

func load(t *testing.T) *Model {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "sd15/model/unet/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(nn.Load("unet", goldentest.Open(t, "sd15/model/unet/diffusion_pytorch_model.safetensors")), c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rows is the first n rows of v.
func rows(v goldentest.Tensor, n int) goldentest.Tensor {
	return goldentest.Tensor{Shape: append([]int{n}, v.Shape[1:]...), Data: v.Data[:n*len(v.Data)/v.Shape[0]]}
}

// TestGolden is the case sd15-unet: sample, activations, whole and fractional timesteps, and an odd size.
func TestGolden(t *testing.T) {
	m, c := load(t), goldentest.Load(t, "sd15-unet")
	in, want := goldentest.Read(t, "sd15/unet.in.safetensors"), goldentest.Read(t, "sd15/unet.out.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		run := func(sample, timestep, context goldentest.Tensor, watch bool) map[string]goldentest.Tensor {
			g, feed := compute.NewGraph(), map[string][]float32{}
			var w Watch
			if watch {
				w = func(name string, x *compute.Tensor) {
					if _, ok := want["act."+name]; ok {
						g.Output("act."+name, x)
					}
				}
			}
			x, ts, ctx := goldentest.Input(g, feed, "sample", sample), goldentest.Input(g, feed, "timestep", timestep), goldentest.Input(g, feed, "context", context)
			g.Output("sample", m.Forward(x, ts, ctx, w))
			return goldentest.Run(t, dev, g, feed)
		}
		at := func(v float32) goldentest.Tensor { return goldentest.Tensor{Shape: []int{1}, Data: []float32{v}} }
		context := in["encoder_hidden_states"]
		got := run(in["sample"], in["timestep"], context, true)
		got["sample_t_int_999"] = run(rows(in["sample"], 1), at(999), rows(context, 1), false)["sample"]
		got["sample_t_float_333.25"] = run(rows(in["sample"], 1), at(333.25), rows(context, 1), false)["sample"]
		got["sample_odd"] = run(in["sample_odd"], at(500), rows(context, 1), false)["sample"]
		if len(got) != len(want) {
			t.Errorf("%d results, and there are %d goldens", len(got), len(want))
		}
		goldentest.Compare(t, c, got, want)
	})
}

// TestLinearProjection checks that a model with linear projections takes the same numbers as one with 1×1 convolutions.
func TestLinearProjection(t *testing.T) {
	c := load(t).Config
	c.LinearProjection = true
	if _, err := New(nn.Load("unet", goldentest.Open(t, "sd15/model/unet/diffusion_pytorch_model.safetensors")), c); err != nil {
		t.Error(err)
	}
}

// TestListForms checks the settings that may be a number or a list, and that missing ones have their defaults.
func TestListForms(t *testing.T) {
	c, err := ParseConfig([]byte(`{"block_out_channels": [32, 64], "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
		"up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "layers_per_block": [1, 2], "attention_head_dim": [2, 4],
		"transformer_layers_per_block": [1, 3], "cross_attention_dim": 24, "use_linear_projection": true, "sample_size": [16, 24]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]int{"layers": c.Layers, "heads": c.Heads, "context": c.ContextDim, "up transformers": c.UpTransformers, "sample size": {c.SampleSize}} {
		want := map[string]string{"layers": "[1 2]", "heads": "[2 4]", "context": "[24 24]", "up transformers": "[3 1]", "sample size": "[16]"}[name]
		if compute.Shape(got).String() != want {
			t.Errorf("%s = %v, want %s", name, got, want)
		}
	}
	s := nn.Initialise(1)
	m, err := New(s, c)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range s.Params() {
		names = append(names, p.Name)
	}
	all := strings.Join(names, "\n")
	for _, want := range []string{"down_blocks.1.attentions.1.transformer_blocks.2.ff.net.0.proj.weight", "up_blocks.0.resnets.2.conv_shortcut.weight", "up_blocks.1.resnets.1.conv1.weight", "mid_block.attentions.0.transformer_blocks.2.attn2.to_k.weight"} {
		if !strings.Contains(all, want) {
			t.Errorf("there is no parameter %s", want)
		}
	}
	for _, no := range []string{"up_blocks.1.attentions", "down_blocks.0.attentions", "down_blocks.1.resnets.2", "down_blocks.1.downsamplers"} {
		if strings.Contains(all, no) {
			t.Errorf("there are parameters %s", no)
		}
	}
	g := compute.NewGraph()
	y := m.Forward(g.Input("x", 1, 7, 5, 4), g.Input("t", 1), g.Input("c", 1, 3, 24), nil)
	if y.Err() != nil || !y.Shape().Equal(compute.Shape{1, 7, 5, 4}) {
		t.Errorf("result %v", y)
	}
}

func TestConfigErrors(t *testing.T) {
	for bad, want := range map[string]string{
		`{`:                                       "config.json",
		`{"addition_embed_type": "text_time"}`:    "addition_embed_type",
		`{"block_out_channels": [32]}`:            "as many of each",
		`{"layers_per_block": [1, 2, 3]}`:         "layers_per_block has 3 entries for 4",
		`{"attention_head_dim": "many"}`:          "neither a whole number",
		`{"mid_block_type": "UNetMidBlock2D"}`:    "UNetMidBlock2D",
		`{"layers_per_block": 65}`:                "layers_per_block",
		`{"norm_num_groups": 0}`:                  "norm_num_groups",
		`{"down_block_types": ["A","A","A","A"]}`: `"A"`,
	} {
		if _, err := ParseConfig([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v; %q is wanted in it", bad, err, want)
		}
	}
}
