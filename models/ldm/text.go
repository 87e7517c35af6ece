package ldm

import (
	"fmt"
	"strings"

	"atelier/models/checkpoint"
)

// newText is a text encoder in the layout of transformers. Old files leave out the first level of its names.
func newText(t checkpoint.Tensors, own map[string]string, prefix string) *View {
	names := map[string]string{}
	for name, old := range own {
		if name == "logit_scale" { // of training
			continue
		}
		if strings.HasPrefix(name, "encoder.") || strings.HasPrefix(name, "embeddings.") || strings.HasPrefix(name, "final_layer_norm.") {
			name = "text_model." + name
		}
		names[name] = old
	}
	v := NewView(t, names)
	v.prefix = prefix
	return v
}

// openModules are the modules of a layer of OpenCLIP under transformers' names.
var openModules = [][2]string{
	{"ln_1", "layer_norm1"}, {"ln_2", "layer_norm2"}, {"attn.out_proj", "self_attn.out_proj"}, {"mlp.c_fc", "mlp.fc1"}, {"mlp.c_proj", "mlp.fc2"},
}

// openLayers is how many layers the text encoder of OpenCLIP ViT-H has. Stable Diffusion 2 reads the state before the last,
// so that files hold a layer that has no part in it; those converted from diffusers leave it out.
const openLayers = 24

// newOpenText is a text encoder in the layout of OpenCLIP (Ilharco et al. 2021): one matrix for queries, keys and values,
// and a projection stored [in out], which keeps the name "text_projection" without ".weight" to tell it from transformers'.
func newOpenText(t checkpoint.Tensors, own map[string]string, prefix string) *View {
	table := newTable()
	table.add("token_embedding", "text_model.embeddings.token_embedding")
	table.add("ln_final", "text_model.final_layer_norm")
	layers := 0
	for ; layers < most; layers++ {
		in := fmt.Sprintf("transformer.resblocks.%d", layers)
		if _, ok := own[in+".ln_1.weight"]; !ok {
			break
		}
		for _, m := range openModules {
			table.add(in+"."+m[0], fmt.Sprintf("text_model.encoder.layers.%d.%s", layers, m[1]))
		}
	}
	v := NewView(t, nil)
	v.table, v.prefix = table, prefix
	skip := ""
	if _, projected := own["text_projection.weight"]; layers == openLayers && !projected && width(t, own["ln_final.weight"]) == openWidth {
		skip = fmt.Sprintf("transformer.resblocks.%d.", layers-1)
	}
	for name, old := range own {
		switch layer, fused := strings.CutSuffix(name, ".attn.in_proj_weight"); {
		case skip != "" && strings.HasPrefix(name, skip):
		case fused:
			v.split(layer, "weight", old)
		case strings.HasSuffix(name, ".attn.in_proj_bias"):
			v.split(strings.TrimSuffix(name, ".attn.in_proj_bias"), "bias", old)
		case name == "positional_embedding":
			v.where["text_model.embeddings.position_embedding.weight"] = piece{name: old}
		case name == "logit_scale", name == "attn_mask": // of training, and of the order of tokens
		case name == "text_projection" && skip != "": // Stable Diffusion 2 has no use for it
		default:
			v.where[table.Diffusers(name)] = piece{name: old}
		}
	}
	v.sort()
	return v
}

// openWidth is the width of OpenCLIP ViT-H's text encoder.
const openWidth = 1024

func width(t checkpoint.Tensors, name string) int {
	v, _ := t.Get(name)
	if len(v.Shape) == 0 {
		return 0
	}
	return v.Shape[0]
}

// split sees the rows of a fused projection as those of queries, keys and values.
func (v *View) split(layer, leaf, old string) {
	layer = "text_model.encoder.layers." + strings.TrimPrefix(layer, "transformer.resblocks.")
	for i, name := range []string{"q_proj", "k_proj", "v_proj"} {
		v.where[fmt.Sprintf("%s.self_attn.%s.%s", layer, name, leaf)] = piece{name: old, part: i, of: 3}
	}
}
