package vae

import (
	"encoding/json"
	"fmt"

	"atelier/models/nn"
)

// Infer takes an autoencoder's configuration from the shapes of its tensors. The scaling factor, which no tensor tells, is
// that of Stable Diffusion 1 and 2 unless overrides, JSON in the form of config.json, says another; nil says nothing.
func Infer(s *nn.Scope, overrides []byte) (Config, error) {
	c := Config{Groups: 32, ScalingFactor: 0.18215, Activation: "silu"}
	e, d := s.At("encoder"), s.At("decoder")
	if in := e.Shape("conv_in.weight"); len(in) == 4 {
		c.InChannels = in[1]
	}
	if in, out := d.Shape("conv_in.weight"), d.Shape("conv_out.weight"); len(in) == 4 && len(out) == 4 {
		c.LatentChannels, c.OutChannels = in[1], out[0]
	}
	const most = 16
	for i := range most {
		conv := e.Shape(fmt.Sprintf("down_blocks.%d.resnets.0.conv1.weight", i))
		if len(conv) != 4 {
			break
		}
		c.Channels = append(c.Channels, conv[0])
	}
	for c.Layers < most && e.Shape(fmt.Sprintf("down_blocks.0.resnets.%d.conv1.weight", c.Layers)) != nil {
		c.Layers++
	}
	c.QuantConv = s.Has("quant_conv.weight")
	c.PostQuantConv = s.Has("post_quant_conv.weight")
	c.MidAttention = d.Has("mid_block.attentions.0.group_norm.weight")
	if len(c.Channels) == 0 || c.InChannels == 0 || c.LatentChannels == 0 {
		return c, fmt.Errorf("the autoencoder is not one that this program knows: of its encoder's and decoder's first and last convolutions and blocks, some are missing or have another number of axes")
	}
	if overrides != nil {
		if err := json.Unmarshal(overrides, &c); err != nil {
			return c, fmt.Errorf("what is said about the autoencoder cannot be read: %w", err)
		}
	}
	return c, c.check()
}
