package unet

import (
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Control is a ControlNet (Zhang et al. 2023): a copy of a denoiser's way down and middle that also reads a picture, and
// whose results, through convolutions that began as zeros, are added to those of the denoiser.
type Control struct {
	Config
	convIn    *nn.Conv2D
	embedding *embedding
	hint      *hint
	down      []*level
	mid       *level
	zeros     []*nn.Linear // 1×1 convolutions, one for each skip
	zeroMid   *nn.Linear
}

// hint brings a control picture to the size of latents: convolutions, every second of which halves.
type hint struct{ convs []*nn.Conv2D }

// controlDefaults are the values of ControlNetModel.
func controlDefaults() file {
	f := defaults()
	f.HintChannels, f.HintIn = ints{16, 32, 96, 256}, 3
	return f
}

// ParseControlConfig reads the config.json of a ControlNet; what it leaves out has the values of ControlNetModel.
func ParseControlConfig(data []byte) (Config, error) {
	f := controlDefaults()
	f.UpBlocks = nil
	return parse(f, data, "ControlNet")
}

// InferControl takes a ControlNet's configuration from the shapes of its tensors, as Infer does.
func InferControl(s *nn.Scope, h Hints) (Config, error) {
	f := controlDefaults()
	if in := s.Shape("controlnet_cond_embedding.conv_in.weight"); len(in) == 4 {
		f.HintIn, f.HintChannels = in[1], ints{in[0]}
	}
	for k := 1; len(f.HintChannels) < 16; k += 2 {
		conv := s.Shape(fmt.Sprintf("controlnet_cond_embedding.blocks.%d.weight", k))
		if len(conv) != 4 {
			break
		}
		f.HintChannels = append(f.HintChannels, conv[0])
	}
	return infer(s, h, f, "ControlNet")
}

// NewControl takes a ControlNet's tensors from s and reports all that do not fit.
func NewControl(s *nn.Scope, c Config) (*Control, error) {
	m := &Control{
		Config:    c,
		convIn:    nn.NewConv2D(s.At("conv_in"), c.InChannels, c.Channels[0], 3, 1, nn.Same(1)),
		embedding: newEmbedding(s, &c),
		hint:      newHint(s.At("controlnet_cond_embedding"), &c),
	}
	var skips []int
	m.down, m.mid, skips = newEncoder(s, &c)
	for i, ch := range skips {
		m.zeros = append(m.zeros, nn.NewLinear(s.At("controlnet_down_blocks", i), ch, ch, true))
	}
	last := c.Channels[len(c.Channels)-1]
	m.zeroMid = nn.NewLinear(s.At("controlnet_mid_block"), last, last, true)
	return m, s.Finish()
}

func newHint(s *nn.Scope, c *Config) *hint {
	prev := c.HintChannels[0]
	h := &hint{convs: []*nn.Conv2D{nn.NewConv2D(s.At("conv_in"), c.HintIn, prev, 3, 1, nn.Same(1))}}
	for i, ch := range c.HintChannels[1:] {
		h.convs = append(h.convs,
			nn.NewConv2D(s.At("blocks", 2*i), prev, prev, 3, 1, nn.Same(1)),
			nn.NewConv2D(s.At("blocks", 2*i+1), prev, ch, 3, 2, nn.Same(1)))
		prev = ch
	}
	h.convs = append(h.convs, nn.NewConv2D(s.At("conv_out"), prev, c.Channels[0], 3, 1, nn.Same(1)))
	return h
}

// forward maps a picture x [B H·f W·f HintIn] to [B H W Channels[0]].
func (h *hint) forward(x *compute.Tensor) *compute.Tensor {
	last := len(h.convs) - 1
	for _, conv := range h.convs[:last] {
		x = compute.SiLU(conv.Forward(x))
	}
	return h.convs[last].Forward(x)
}

// Factor is the pixels of the control picture for each latent along an axis.
func (m *Control) Factor() int { return 1 << (len(m.HintChannels) - 1) }

// Forward gives the residuals for a denoiser that reads the same inputs: one for each of its skips, and one for its middle.
// picture [B H·f W·f HintIn], values in [0, 1], is what they follow. scale [1], or nil for 1, multiplies them.
func (m *Control) Forward(in Inputs, picture, scale *compute.Tensor, watch Watch) (down []*compute.Tensor, middle *compute.Tensor) {
	if watch == nil {
		watch = func(string, *compute.Tensor) {}
	}
	t := m.embedding.forward(in, &m.Config, watch)
	hint := m.hint.forward(picture)
	watch("controlnet_cond_embedding", hint)
	x := m.convIn.Fused(in.Sample, nil, hint)
	x, skips := encode(x, t, in.Context, m.down, m.mid, watch)
	scaled := func(x *compute.Tensor) *compute.Tensor {
		if scale == nil {
			return x
		}
		return compute.Mul(x, scale)
	}
	for i, skip := range skips {
		down = append(down, scaled(m.zeros[i].Forward(skip)))
	}
	return down, scaled(m.zeroMid.Forward(x))
}
