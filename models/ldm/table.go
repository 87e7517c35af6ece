package ldm

import (
	"fmt"
	"strings"
)

// Table translates the names of modules between the original layout and that of diffusers.
type Table struct {
	to   map[string]string
	from map[string][]string // what depends on the network's shape has several
}

func newTable() *Table { return &Table{map[string]string{}, map[string][]string{}} }

func (t *Table) add(original, diffusers string) {
	t.to[original] = diffusers
	t.from[diffusers] = append(t.from[diffusers], original)
}

// Diffusers is the name in the layout of diffusers; names that the table does not know stay as they are.
func (t *Table) Diffusers(name string) string {
	for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '.') {
		if other, ok := t.to[name[:end]]; ok {
			return other + name[end:]
		}
	}
	return name
}

// Originals is what networks in the original layout may call what is this name in that of diffusers.
func (t *Table) Originals(name string) []string {
	for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '.') {
		if others, ok := t.from[name[:end]]; ok {
			list := make([]string, len(others))
			for i, other := range others {
				list[i] = other + name[end:]
			}
			return list
		}
	}
	return []string{name}
}

// most bounds the blocks of a network that names are made for, more than any sound network has.
const most = 256

// blocks gives the resolutions of a U-shaped network in the original layout and the residual blocks at each, from where its
// downsamplers are.
func blocks(own map[string]string, list string) (levels, layers int) {
	levels = 1
	n := 0
	for k := 1; k < most; k++ {
		_, down := own[fmt.Sprintf("%s.%d.0.op.weight", list, k)]
		_, res := own[fmt.Sprintf("%s.%d.0.in_layers.0.weight", list, k)]
		switch {
		case down:
			levels++
			if layers == 0 {
				layers = n
			}
		case res:
			n++
		default:
			if layers == 0 {
				layers = n
			}
			return levels, max(layers, 1)
		}
	}
	return levels, max(layers, 1)
}

// UNetTable is the names of a denoiser with so many resolutions and residual blocks at each.
func UNetTable(levels, layers int) *Table {
	t := newTable()
	t.encoder(levels, layers)
	t.add("out.0", "conv_norm_out")
	t.add("out.2", "conv_out")
	for k := range levels * (layers + 1) {
		i, j := k/(layers+1), k%(layers+1)
		in, out := fmt.Sprintf("output_blocks.%d", k), fmt.Sprintf("up_blocks.%d", i)
		t.resnet(in+".0", fmt.Sprintf("%s.resnets.%d", out, j))
		t.add(in+".1", fmt.Sprintf("%s.attentions.%d", out, j))
		if j == layers && i < levels-1 {
			t.add(in+".1.conv", out+".upsamplers.0.conv") // of levels without attention
			t.add(in+".2.conv", out+".upsamplers.0.conv")
		}
	}
	return t
}

// ControlTable is the names of a ControlNet over such a denoiser.
func ControlTable(levels, layers int) *Table {
	t := newTable()
	t.encoder(levels, layers)
	for k := range levels * (layers + 1) {
		t.add(fmt.Sprintf("zero_convs.%d.0", k), fmt.Sprintf("controlnet_down_blocks.%d", k))
	}
	t.add("middle_block_out.0", "controlnet_mid_block")
	t.add("input_hint_block.0", "controlnet_cond_embedding.conv_in")
	for k := range 6 {
		t.add(fmt.Sprintf("input_hint_block.%d", 2*k+2), fmt.Sprintf("controlnet_cond_embedding.blocks.%d", k))
	}
	t.add("input_hint_block.14", "controlnet_cond_embedding.conv_out")
	return t
}

// encoder adds what a denoiser and a ControlNet have in common: embeddings, the way down and the middle.
func (t *Table) encoder(levels, layers int) {
	t.add("time_embed.0", "time_embedding.linear_1")
	t.add("time_embed.2", "time_embedding.linear_2")
	t.add("time_embed.cond_proj", "time_embedding.cond_proj")
	t.add("label_emb.0.0", "add_embedding.linear_1")
	t.add("label_emb.0.2", "add_embedding.linear_2")
	t.add("label_emb", "class_embedding")
	t.add("input_blocks.0.0", "conv_in")
	for k := range levels*(layers+1) - 1 {
		i, j := k/(layers+1), k%(layers+1)
		in, out := fmt.Sprintf("input_blocks.%d", k+1), fmt.Sprintf("down_blocks.%d", i)
		if j == layers {
			t.add(in+".0.op", out+".downsamplers.0.conv")
			continue
		}
		t.resnet(in+".0", fmt.Sprintf("%s.resnets.%d", out, j))
		t.add(in+".1", fmt.Sprintf("%s.attentions.%d", out, j))
	}
	t.resnet("middle_block.0", "mid_block.resnets.0")
	t.add("middle_block.1", "mid_block.attentions.0")
	t.resnet("middle_block.2", "mid_block.resnets.1")
}

// resnet adds the modules of a residual block of a denoiser.
func (t *Table) resnet(original, diffusers string) {
	for _, m := range [][2]string{
		{"in_layers.0", "norm1"}, {"in_layers.2", "conv1"}, {"emb_layers.1", "time_emb_proj"},
		{"out_layers.0", "norm2"}, {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"},
	} {
		t.add(original+"."+m[0], diffusers+"."+m[1])
	}
}

// levels counts the resolutions of an autoencoder in the original layout.
func levels(own map[string]string) int {
	n := 0
	for ; n < most; n++ {
		_, up := own[fmt.Sprintf("decoder.up.%d.block.0.conv1.weight", n)]
		_, down := own[fmt.Sprintf("encoder.down.%d.block.0.conv1.weight", n)]
		if !up && !down {
			break
		}
	}
	return n
}

// VAETable is the names of an autoencoder with so many resolutions. The original counts the decoder's from the picture,
// diffusers from the latents.
func VAETable(levels int) *Table {
	t := newTable()
	for i := range levels {
		down, up := fmt.Sprintf("encoder.down_blocks.%d", i), fmt.Sprintf("decoder.up_blocks.%d", levels-1-i)
		for j := range 8 {
			t.vaeResnet(fmt.Sprintf("encoder.down.%d.block.%d", i, j), fmt.Sprintf("%s.resnets.%d", down, j))
			t.vaeResnet(fmt.Sprintf("decoder.up.%d.block.%d", i, j), fmt.Sprintf("%s.resnets.%d", up, j))
		}
		t.add(fmt.Sprintf("encoder.down.%d.downsample.conv", i), down+".downsamplers.0.conv")
		t.add(fmt.Sprintf("decoder.up.%d.upsample.conv", i), up+".upsamplers.0.conv")
	}
	for _, coder := range []string{"encoder", "decoder"} {
		t.vaeResnet(coder+".mid.block_1", coder+".mid_block.resnets.0")
		t.vaeResnet(coder+".mid.block_2", coder+".mid_block.resnets.1")
		for _, m := range [][2]string{{"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}} {
			t.add(coder+".mid.attn_1."+m[0], coder+".mid_block.attentions.0."+m[1])
		}
		t.add(coder+".norm_out", coder+".conv_norm_out")
	}
	return t
}

// vaeResnet adds a residual block of an autoencoder, whose modules but one have the same names in both layouts.
func (t *Table) vaeResnet(original, diffusers string) {
	t.add(original, diffusers)
	t.add(original+".nin_shortcut", diffusers+".conv_shortcut")
}
