// Package ldm reads checkpoints in the layout of the original latent diffusion code (Rombach et al. 2022), which keep a whole
// model in one file, as if each network had the parameter layout of diffusers or transformers, which this program's
// families are written in. Only names change, and fused matrices are seen as their parts; no number is copied.
package ldm

import (
	"slices"
	"strings"

	"atelier/models/checkpoint"
)

// View is one network of a checkpoint under other names. Its tensors are those of the checkpoint, which stays open for as
// long as the view is read: Close of a view does nothing.
type View struct {
	base   checkpoint.Tensors
	names  []string
	where  map[string]piece
	table  *Table // or nil
	prefix string // before every original name
}

// piece is a tensor of the checkpoint, or one of several equal parts of its rows.
type piece struct {
	name     string
	part, of int // of is 0 for the whole
}

// NewView names tensors of a checkpoint: names maps what each is to be called to what it is called there.
func NewView(base checkpoint.Tensors, names map[string]string) *View {
	v := &View{base: base, where: map[string]piece{}}
	for name, old := range names {
		v.where[name] = piece{name: old}
	}
	v.sort()
	return v
}

func (v *View) sort() {
	v.names = v.names[:0]
	for name := range v.where {
		v.names = append(v.names, name)
	}
	slices.Sort(v.names)
}

// Names lists the new names, sorted.
func (v *View) Names() []string { return v.names }

// Get finds a tensor by its new name.
func (v *View) Get(name string) (checkpoint.Tensor, bool) {
	p, ok := v.where[name]
	if !ok {
		return checkpoint.Tensor{}, false
	}
	t, ok := v.base.Get(p.name)
	if !ok {
		return t, false
	}
	t.Name = name
	if p.of == 0 {
		return t, true
	}
	if cut, ok := t.Part(p.part, p.of); ok {
		return cut, true
	}
	return t, true // of a shape that will not fit, which the network says
}

// Metadata is the checkpoint's.
func (v *View) Metadata() map[string]string { return v.base.Metadata() }

// Close does nothing: the checkpoint belongs to whoever opened it.
func (v *View) Close() error { return nil }

// Original is what the checkpoint calls a tensor of the view, or would call one that it lacks.
func (v *View) Original(name string) string {
	if p, ok := v.where[name]; ok {
		return p.name
	}
	if v.table != nil {
		name = v.table.Originals(name)[0]
	}
	return v.prefix + name
}

// Kind says how a text encoder is stored.
type Kind int

// A text encoder has the parameters of transformers' CLIPTextModel or those of OpenCLIP, whose networks compute other
// activations.
const (
	Transformers Kind = iota
	OpenCLIP
)

// Text is a text encoder within a checkpoint.
type Text struct {
	*View
	Kind Kind
}

// Contents is the networks that a checkpoint holds, each nil where it does not.
type Contents struct {
	UNet, VAE, ControlNet *View
	Text, Text2           *Text
	Rest                  []string // tensors that belong to none of them and are no known buffers

	marks map[string]bool
}

// Marked reports whether the checkpoint has a tensor of this name that stands for a fact about it: some files of Stable
// Diffusion XL say so that they predict v ("v_pred") and were trained with no signal at the end ("ztsnr").
func (c *Contents) Marked(name string) bool { return c.marks[name] }

// Empty reports whether no network was found.
func (c *Contents) Empty() bool {
	return c.UNet == nil && c.VAE == nil && c.ControlNet == nil && c.Text == nil && c.Text2 == nil
}

// prefixes are where checkpoints of several networks keep each. The layouts of diffusers and transformers are known under
// the first-level names of a pipeline's folders.
var prefixes = []struct{ prefix, part string }{
	{"model.diffusion_model.", "unet"}, {"unet.", "unet"},
	{"first_stage_model.", "vae"}, {"vae.", "vae"},
	{"control_model.", "controlnet"},
	{"cond_stage_model.transformer.", "text"}, {"cond_stage_model.model.", "open text"},
	{"conditioner.embedders.0.transformer.", "text"}, {"conditioner.embedders.0.model.", "open text"},
	{"conditioner.embedders.1.model.", "open text2"}, {"conditioner.embedders.1.transformer.", "text2"},
	{"text_encoder.", "text"}, {"text_encoder_2.", "text2"},
}

// buffers are what checkpoints hold beside networks: noise schedules, training state and averages of the weights. A name
// begins with one of them.
var buffers = []string{
	"model_ema.", "betas", "alphas_cumprod", "sqrt_", "log_one_minus_alphas_cumprod", "posterior_", "denoiser.", "lvlb_weights", "logvar",
	"scale_factor", "first_stage_model.loss.", "loss.", "cond_stage_model.logit_scale", "cond_stage_model.text_projection", "v_pred", "ztsnr", "edm_",
	"global_step", "epoch", "optimizer_states", "callbacks", "lr_schedulers", "pytorch-lightning_version", "state_dict", "noise_augmentor",
	"depth_model.", "embedding_manager.", "cond_stage_model.transformer.vision_model.",
}

// Open finds the networks of a checkpoint, whole or a single one without a prefix.
func Open(t checkpoint.Tensors) Contents {
	found := map[string][]string{} // part → names, with what to cut off first
	cut := map[string]string{}
	c := Contents{marks: map[string]bool{}}
	for _, name := range t.Names() {
		if part, prefix := partOf(name); part != "" {
			if p, ok := cut[part]; !ok || p == prefix {
				cut[part] = prefix
				found[part] = append(found[part], name)
				continue
			}
		}
		if name == "v_pred" || name == "ztsnr" {
			c.marks[name] = true
		}
		if !hasPrefix(name, buffers) {
			c.Rest = append(c.Rest, name)
		}
	}
	if len(found) == 0 {
		if part := bare(t); part != "" {
			cut[part] = ""
			for _, name := range t.Names() {
				if !hasPrefix(name, buffers) {
					found[part] = append(found[part], name)
				}
			}
			if p := "model."; part == "open text" && allBegin(found[part], p) {
				cut[part] = p
			}
			c.Rest = nil
		}
	}
	for part, names := range found {
		c.add(t, part, cut[part], names)
	}
	return c
}

func partOf(name string) (part, prefix string) {
	if hasPrefix(name, buffers) {
		return "", ""
	}
	for _, p := range prefixes {
		if strings.HasPrefix(name, p.prefix) {
			return p.part, p.prefix
		}
	}
	return "", ""
}

func hasPrefix(name string, list []string) bool {
	for _, p := range list {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func allBegin(names []string, prefix string) bool {
	for _, n := range names {
		if !strings.HasPrefix(n, prefix) {
			return false
		}
	}
	return true
}

// bare is the part that a checkpoint of one network is, by the names that only it has; "" for none that is known.
func bare(t checkpoint.Tensors) string {
	for _, k := range []struct{ name, part string }{
		{"input_hint_block.0.weight", "controlnet"}, {"controlnet_cond_embedding.conv_in.weight", "controlnet"},
		{"input_blocks.0.0.weight", "unet"}, {"down_blocks.0.resnets.0.conv1.weight", "unet"},
		{"decoder.up.0.block.0.conv1.weight", "vae"}, {"encoder.down.0.block.0.conv1.weight", "vae"},
		{"decoder.up_blocks.0.resnets.0.conv1.weight", "vae"}, {"encoder.down_blocks.0.resnets.0.conv1.weight", "vae"},
		{"text_model.encoder.layers.0.self_attn.q_proj.weight", "text"}, {"encoder.layers.0.self_attn.q_proj.weight", "text"},
		{"transformer.resblocks.0.attn.in_proj_weight", "open text"}, {"model.transformer.resblocks.0.attn.in_proj_weight", "open text"},
	} {
		if _, ok := t.Get(k.name); ok {
			return k.part
		}
	}
	return ""
}

// add makes the view of a part; prefix is cut off its names before they are translated.
func (c *Contents) add(t checkpoint.Tensors, part, prefix string, names []string) {
	own := map[string]string{} // the network's own name → the checkpoint's
	for _, n := range names {
		own[strings.TrimPrefix(n, prefix)] = n
	}
	switch part {
	case "unet":
		c.UNet = translated(t, own, prefix, UNetTable(blocks(own, "input_blocks")))
	case "controlnet":
		c.ControlNet = translated(t, own, prefix, ControlTable(blocks(own, "input_blocks")))
	case "vae":
		c.VAE = translated(t, own, prefix, VAETable(levels(own)))
	case "text":
		c.Text = &Text{newText(t, own, prefix), Transformers}
	case "text2":
		c.Text2 = &Text{newText(t, own, prefix), Transformers}
	case "open text":
		c.Text = &Text{newOpenText(t, own, prefix), OpenCLIP}
	case "open text2":
		c.Text2 = &Text{newOpenText(t, own, prefix), OpenCLIP}
	}
}

// translated is a network under the names that a table gives it; one that has those names already keeps them.
func translated(t checkpoint.Tensors, own map[string]string, prefix string, table *Table) *View {
	names, changed := make(map[string]string, len(own)), false
	for name, old := range own {
		to := table.Diffusers(name)
		names[to], changed = old, changed || to != name
	}
	v := NewView(t, names)
	if v.prefix = prefix; changed {
		v.table = table
	}
	return v
}
