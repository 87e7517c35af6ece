package ldm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"atelier/models/checkpoint"
)

// memory is a checkpoint of small tensors whose numbers count up.
type memory map[string][]int

func (m memory) Names() (names []string) {
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
func (m memory) Get(name string) (checkpoint.Tensor, bool) {
	shape, ok := m[name]
	if !ok {
		return checkpoint.Tensor{}, false
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i)
	}
	return checkpoint.NewF32(name, shape, x), true
}
func (m memory) Metadata() map[string]string { return map[string]string{"a": "b"} }
func (m memory) Close() error                { panic("the checkpoint is closed by one of its views") }

// TestUNetNames holds names of Stable Diffusion's denoiser against those of its diffusers repository.
func TestUNetNames(t *testing.T) {
	sd, xl := UNetTable(4, 2), UNetTable(3, 2)
	for _, c := range []struct {
		table               *Table
		original, diffusers string
	}{
		{sd, "input_blocks.0.0.weight", "conv_in.weight"},
		{sd, "time_embed.2.bias", "time_embedding.linear_2.bias"},
		{sd, "input_blocks.1.0.in_layers.0.weight", "down_blocks.0.resnets.0.norm1.weight"},
		{sd, "input_blocks.2.1.transformer_blocks.0.attn1.to_out.0.weight", "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0.weight"},
		{sd, "input_blocks.6.0.op.weight", "down_blocks.1.downsamplers.0.conv.weight"},
		{sd, "input_blocks.11.0.out_layers.3.bias", "down_blocks.3.resnets.1.conv2.bias"},
		{sd, "middle_block.1.proj_in.weight", "mid_block.attentions.0.proj_in.weight"},
		{sd, "middle_block.2.emb_layers.1.weight", "mid_block.resnets.1.time_emb_proj.weight"},
		{sd, "output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"},
		{sd, "output_blocks.5.2.conv.weight", "up_blocks.1.upsamplers.0.conv.weight"},
		{sd, "output_blocks.11.0.skip_connection.weight", "up_blocks.3.resnets.2.conv_shortcut.weight"},
		{sd, "out.2.weight", "conv_out.weight"},
		{xl, "label_emb.0.2.weight", "add_embedding.linear_2.weight"},
		{xl, "output_blocks.2.2.conv.bias", "up_blocks.0.upsamplers.0.conv.bias"},
		{xl, "output_blocks.8.0.in_layers.2.weight", "up_blocks.2.resnets.2.conv1.weight"},
		{sd, "no.such.module", "no.such.module"},
	} {
		if got := c.table.Diffusers(c.original); got != c.diffusers {
			t.Errorf("%s is %s, want %s", c.original, got, c.diffusers)
		}
		if got := c.table.Originals(c.diffusers); !slices.Contains(got, c.original) {
			t.Errorf("%s is one of %q, want %s", c.diffusers, got, c.original)
		}
	}
}

func TestVAENames(t *testing.T) {
	table := VAETable(4)
	for original, diffusers := range map[string]string{
		"decoder.up.3.block.0.conv1.weight":        "decoder.up_blocks.0.resnets.0.conv1.weight",
		"decoder.up.1.upsample.conv.bias":          "decoder.up_blocks.2.upsamplers.0.conv.bias",
		"decoder.up.0.block.0.nin_shortcut.weight": "decoder.up_blocks.3.resnets.0.conv_shortcut.weight",
		"encoder.down.2.downsample.conv.weight":    "encoder.down_blocks.2.downsamplers.0.conv.weight",
		"encoder.mid.attn_1.norm.weight":           "encoder.mid_block.attentions.0.group_norm.weight",
		"decoder.mid.attn_1.proj_out.bias":         "decoder.mid_block.attentions.0.to_out.0.bias",
		"decoder.mid.block_2.norm2.weight":         "decoder.mid_block.resnets.1.norm2.weight",
		"encoder.norm_out.weight":                  "encoder.conv_norm_out.weight",
		"quant_conv.weight":                        "quant_conv.weight",
	} {
		if got := table.Diffusers(original); got != diffusers {
			t.Errorf("%s is %s, want %s", original, got, diffusers)
		}
	}
}

// found names the parts of a checkpoint.
func found(c Contents) string {
	var list []string
	for name, here := range map[string]bool{"unet": c.UNet != nil, "vae": c.VAE != nil, "control": c.ControlNet != nil, "text": c.Text != nil, "text2": c.Text2 != nil} {
		if here {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestOpen tells files of all kinds by their names.
func TestOpen(t *testing.T) {
	one := []int{1}
	for _, c := range []struct {
		names []string
		want  string
		rest  []string
	}{
		{[]string{"model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.encoder.conv_in.weight", "cond_stage_model.transformer.text_model.x", "betas", "model_ema.decay", "odd"}, "text unet vae", []string{"odd"}},
		{[]string{"model.diffusion_model.out.0.weight", "conditioner.embedders.0.transformer.text_model.x", "conditioner.embedders.1.model.ln_final.weight", "v_pred", "ztsnr"}, "text text2 unet", nil},
		{[]string{"input_blocks.0.0.weight", "anything.else"}, "unet", nil},
		{[]string{"down_blocks.0.resnets.0.conv1.weight"}, "unet", nil},
		{[]string{"control_model.input_hint_block.0.weight"}, "control", nil},
		{[]string{"input_hint_block.0.weight", "input_blocks.0.0.weight"}, "control", nil},
		{[]string{"controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"}, "control", nil},
		{[]string{"decoder.up.0.block.0.conv1.weight", "loss.logvar"}, "vae", nil},
		{[]string{"encoder.down_blocks.0.resnets.0.conv1.weight"}, "vae", nil},
		{[]string{"text_model.encoder.layers.0.self_attn.q_proj.weight"}, "text", nil},
		{[]string{"transformer.resblocks.0.attn.in_proj_weight"}, "text", nil},
		{[]string{"something"}, "", []string{"something"}},
	} {
		m := memory{}
		for _, n := range c.names {
			m[n] = one
		}
		got := Open(m)
		if found(got) != c.want || !slices.Equal(got.Rest, c.rest) || got.Empty() != (c.want == "") {
			t.Errorf("%q holds %q with the rest %q, want %q and %q", c.names, found(got), got.Rest, c.want, c.rest)
		}
		if marked := slices.Contains(c.names, "v_pred"); got.Marked("v_pred") != marked || got.Marked("ztsnr") != marked {
			t.Errorf("%q: marks", c.names)
		}
	}
}

// TestOpenCLIP splits fused projections by rows and drops the layer that Stable Diffusion 2 does not read.
func TestOpenCLIP(t *testing.T) {
	m := memory{}
	for l := range 24 {
		at := fmt.Sprintf("cond_stage_model.model.transformer.resblocks.%d.", l)
		m[at+"ln_1.weight"] = []int{1024}
		m[at+"attn.in_proj_weight"], m[at+"attn.in_proj_bias"] = []int{6, 2}, []int{6}
		m[at+"attn.out_proj.weight"], m[at+"mlp.c_fc.weight"] = []int{2, 2}, []int{8, 2}
	}
	for _, n := range []string{"ln_final.weight", "positional_embedding", "token_embedding.weight", "text_projection", "logit_scale", "attn_mask"} {
		m["cond_stage_model.model."+n] = []int{1024}
	}
	c := Open(m)
	if c.Text == nil || c.Text.Kind != OpenCLIP {
		t.Fatalf("%+v", c)
	}
	const layer = "text_model.encoder.layers.3.self_attn."
	for i, name := range []string{"q_proj", "k_proj", "v_proj"} {
		w, ok := c.Text.Get(layer + name + ".weight")
		if !ok || !slices.Equal(w.Shape, []int{2, 2}) {
			t.Fatalf("%s is %v", name, w.Shape)
		}
		x, err := w.Float32s()
		if want := float32(4 * i); err != nil || !slices.Equal(x, []float32{want, want + 1, want + 2, want + 3}) {
			t.Errorf("%s holds %v", name, x)
		}
		if b, _ := c.Text.Get(layer + name + ".bias"); !slices.Equal(b.Shape, []int{2}) {
			t.Errorf("the bias of %s is %v", name, b.Shape)
		}
		if got := c.Text.Original(layer + name + ".weight"); got != "cond_stage_model.model.transformer.resblocks.3.attn.in_proj_weight" {
			t.Errorf("%s comes from %s", name, got)
		}
	}
	for _, n := range []string{"text_model.final_layer_norm.weight", "text_model.embeddings.position_embedding.weight", "text_model.embeddings.token_embedding.weight", "text_model.encoder.layers.22.mlp.fc1.weight"} {
		if _, ok := c.Text.Get(n); !ok {
			t.Errorf("there is no %s", n)
		}
	}
	for _, n := range c.Text.Names() {
		if strings.Contains(n, "layers.23") || strings.Contains(n, "resblocks") || n == "text_projection" || n == "logit_scale" {
			t.Errorf("there is %s", n)
		}
	}
	if c.Text.Metadata()["a"] != "b" || c.Text.Close() != nil {
		t.Error("the view's metadata or end")
	}
	m["cond_stage_model.model.transformer.resblocks.3.attn.in_proj_weight"] = []int{5, 2}
	if w, _ := Open(m).Text.Get(layer + "k_proj.weight"); !slices.Equal(w.Shape, []int{5, 2}) {
		t.Errorf("rows that are no three parts give %v", w.Shape)
	}
}

// TestBuffersOfOneNetwork checks that a file of one network may hold what training left there.
func TestBuffersOfOneNetwork(t *testing.T) {
	m := memory{"decoder.up.0.block.0.conv1.weight": {1}, "loss.logvar": {1}, "model_ema.decay": {1}, "global_step": {1}}
	if names := Open(m).VAE.Names(); !slices.Equal(names, []string{"decoder.up_blocks.0.resnets.0.conv1.weight"}) {
		t.Errorf("the autoencoder holds %q", names)
	}
}

// FuzzOpen gives any names to Open: whatever it finds, its views hold only what the checkpoint holds.
func FuzzOpen(f *testing.F) {
	f.Add("model.diffusion_model.input_blocks.1.0.op.weight\ncond_stage_model.model.transformer.resblocks.0.ln_1.weight\nfirst_stage_model.decoder.up.9.block.0")
	f.Add("input_blocks.1.0.in_layers.0.weight\ninput_blocks.0.0.weight")
	f.Fuzz(func(t *testing.T, names string) {
		m := memory{}
		for _, n := range strings.Split(names, "\n") {
			m[n] = []int{3}
		}
		c := Open(m)
		views := []*View{c.UNet, c.VAE, c.ControlNet}
		for _, x := range []*Text{c.Text, c.Text2} {
			if x != nil {
				views = append(views, x.View)
			}
		}
		for _, v := range views {
			if v == nil {
				continue
			}
			for _, n := range v.Names() {
				if _, ok := v.Get(n); !ok {
					t.Fatalf("%q is named and not there", n)
				}
			}
		}
	})
}
