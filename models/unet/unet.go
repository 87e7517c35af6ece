// Package unet is the denoiser of latent diffusion (Rombach et al. 2022): a U-shaped convolutional network with attention to
// a text's states, in the parameter layout of UNet2DConditionModel.
package unet

import (
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Model is a denoiser with its weights.
type Model struct {
	Config
	convIn, convOut *nn.Conv2D
	embedding       *embedding
	down, up        []*level
	mid             *level // nil where there is none
	normOut         *nn.GroupNorm
}

// level is one resolution: resnets, each followed by an attention where the block has them, then perhaps a resampler.
type level struct {
	resnets    []*resnet
	attentions []*transformer
	resample   *nn.Conv2D
}

// New takes the denoiser's tensors from s and reports all that do not fit.
func New(s *nn.Scope, c Config) (*Model, error) {
	first := c.Channels[0]
	timeDim := 4 * first
	m := &Model{
		Config:    c,
		convIn:    nn.NewConv2D(s.At("conv_in"), c.InChannels, first, 3, 1, nn.Same(1)),
		embedding: newEmbedding(s, &c),
	}
	n := len(c.Channels)
	var skips []int
	m.down, m.mid, skips = newEncoder(s, &c)
	prev := c.Channels[n-1]
	for i := range n {
		d := n - 1 - i // the down block at this resolution
		ch, b, l := c.Channels[d], s.At("up_blocks", i), &level{}
		for j := range c.Layers[d] + 1 {
			skip := skips[len(skips)-1]
			skips = skips[:len(skips)-1]
			l.resnets = append(l.resnets, newResnet(b.At("resnets", j), prev+skip, ch, timeDim, &c))
			if c.UpBlocks[i] == crossUpBlock {
				l.attentions = append(l.attentions, newTransformer(b.At("attentions", j), ch, c.ContextDim[d], c.Heads[d], c.UpTransformers[i], &c))
			}
			prev = ch
		}
		if i < n-1 {
			l.resample = nn.NewConv2D(b.At("upsamplers", 0, "conv"), ch, ch, 3, 1, nn.Same(1))
		}
		m.up = append(m.up, l)
	}
	m.normOut = nn.NewGroupNorm(s.At("conv_norm_out"), first, c.Groups, c.Eps)
	m.convOut = nn.NewConv2D(s.At("conv_out"), first, c.OutChannels, 3, 1, nn.Same(1))
	return m, s.Finish()
}

// newEncoder takes the way down and the middle, and gives the channels of every skip, conv_in's first.
func newEncoder(s *nn.Scope, c *Config) (down []*level, middle *level, skips []int) {
	n, first := len(c.Channels), c.Channels[0]
	timeDim, prev := 4*first, first
	skips = []int{first}
	for i, ch := range c.Channels {
		b, l := s.At("down_blocks", i), &level{}
		for j := range c.Layers[i] {
			l.resnets = append(l.resnets, newResnet(b.At("resnets", j), prev, ch, timeDim, c))
			if c.DownBlocks[i] == crossDownBlock {
				l.attentions = append(l.attentions, newTransformer(b.At("attentions", j), ch, c.ContextDim[i], c.Heads[i], c.Transformers[i], c))
			}
			prev = ch
			skips = append(skips, ch)
		}
		if i < n-1 {
			pad := [4]int{0, 1, 0, 1}
			if c.DownsamplePadding == 1 {
				pad = nn.Same(1)
			}
			l.resample = nn.NewConv2D(b.At("downsamplers", 0, "conv"), ch, ch, 3, 2, pad)
			skips = append(skips, ch)
		}
		down = append(down, l)
	}
	if last := n - 1; c.MidBlock != "" {
		b := s.At("mid_block")
		middle = &level{
			resnets:    []*resnet{newResnet(b.At("resnets", 0), prev, prev, timeDim, c), newResnet(b.At("resnets", 1), prev, prev, timeDim, c)},
			attentions: []*transformer{newTransformer(b.At("attentions", 0), prev, c.ContextDim[last], c.Heads[last], c.Transformers[last], c)},
		}
	}
	return down, middle, skips
}

// Watch receives intermediate results under the names of the modules that made them, such as "down_blocks.0.resnets.1".
type Watch func(name string, t *compute.Tensor)

// Inputs are what a denoiser reads. Those that its configuration does not ask for are ignored.
type Inputs struct {
	Sample   *compute.Tensor // noisy latents [B H W InChannels]
	Timestep *compute.Tensor // [B]
	Context  *compute.Tensor // a text's states [B S D]

	Pooled   *compute.Tensor // with TextTime: the pooled text [B AdditionDim−n·SizeDim]
	Sizes    *compute.Tensor // with TextTime: n sizes and places in pixels [B n]
	Guidance *compute.Tensor // with GuidanceDim: from GuidanceEmbedding [B GuidanceDim]; nil adds nothing
	Class    *compute.Tensor // with Class: [B], or [B ClassDim] where it is projected, or [B 4·Channels[0]] as it is

	Down []*compute.Tensor // a ControlNet's residuals, added to the skips, or nil
	Mid  *compute.Tensor   // likewise, to the middle
}

// Forward predicts from noisy latents sample [B H W InChannels], timesteps [B] and a text's states context [B S D] what the
// model was trained to predict (noise or velocity), [B H W OutChannels]. watch may be nil.
func (m *Model) Forward(sample, timestep, context *compute.Tensor, watch Watch) *compute.Tensor {
	return m.Predict(Inputs{Sample: sample, Timestep: timestep, Context: context}, watch)
}

// Predict is Forward with everything that conditions a denoiser.
func (m *Model) Predict(in Inputs, watch Watch) *compute.Tensor {
	if watch == nil {
		watch = func(string, *compute.Tensor) {}
	}
	t := m.embedding.forward(in, &m.Config, watch)
	x := in.Sample
	if m.CenterInput {
		x = compute.Affine(x, 2, -1)
	}
	x = m.convIn.Forward(x)
	watch("conv_in", x)
	x, skips := encode(x, t, in.Context, m.down, m.mid, watch)
	if in.Mid != nil {
		x = compute.Add(x, in.Mid)
	}
	for i, r := range in.Down {
		skips[i] = compute.Add(skips[i], r)
	}
	context := in.Context
	for i, l := range m.up {
		name := fmt.Sprintf("up_blocks.%d", i)
		for j := range l.resnets {
			skip := skips[len(skips)-1]
			skips = skips[:len(skips)-1]
			x = l.layer(name, j, compute.Concat(-1, x, skip), t, context, watch)
		}
		if l.resample != nil {
			// To the size of the skip that comes next, which is not twice this one where a halving rounded up.
			next := skips[len(skips)-1]
			x = l.resample.Forward(compute.ResizeNearest(x, next.Dim(1), next.Dim(2)))
		}
		watch(name, x)
	}
	return m.convOut.Forward(m.normOut.Forward(x, compute.ActSiLU))
}

// encode walks down and through the middle; the skips begin with x.
func encode(x, t, context *compute.Tensor, down []*level, middle *level, watch Watch) (*compute.Tensor, []*compute.Tensor) {
	skips := []*compute.Tensor{x}
	for i, l := range down {
		name := fmt.Sprintf("down_blocks.%d", i)
		for j := range l.resnets {
			x = l.layer(name, j, x, t, context, watch)
			skips = append(skips, x)
		}
		if l.resample != nil {
			x = l.resample.Forward(x)
			skips = append(skips, x)
		}
		watch(name, x)
	}
	if middle != nil {
		x = middle.resnets[0].forward(x, t)
		x = middle.attentions[0].forward(x, context)
		x = middle.resnets[1].forward(x, t)
		watch("mid_block", x)
	}
	return x, skips
}

// layer is resnet j of a block and its attention.
func (l *level) layer(name string, j int, x, t, context *compute.Tensor, watch Watch) *compute.Tensor {
	x = l.resnets[j].forward(x, t)
	watch(fmt.Sprintf("%s.resnets.%d", name, j), x)
	if l.attentions != nil {
		x = l.attentions[j].forward(x, context)
		watch(fmt.Sprintf("%s.attentions.%d", name, j), x)
	}
	return x
}
