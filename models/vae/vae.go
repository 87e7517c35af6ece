// Package vae is the autoencoder of latent diffusion (Rombach et al. 2022), in the parameter layout of AutoencoderKL:
// pictures to the mean and log variance of latents, and latents to pictures.
package vae

import (
	"encoding/json"
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Config is what an autoencoder's config.json says.
type Config struct {
	InChannels     int      `json:"in_channels"`  // of pictures: 3 for RGB, 4 for premultiplied RGBA
	OutChannels    int      `json:"out_channels"` // likewise
	LatentChannels int      `json:"latent_channels"`
	Channels       []int    `json:"block_out_channels"`
	Layers         int      `json:"layers_per_block"` // resnets of an encoder block; decoder blocks have one more
	Groups         int      `json:"norm_num_groups"`
	ScalingFactor  float64  `json:"scaling_factor"` // latents · ScalingFactor have unit variance
	ShiftFactor    *float64 `json:"shift_factor"`   // subtracted before scaling, where not nil
	QuantConv      bool     `json:"use_quant_conv"`
	PostQuantConv  bool     `json:"use_post_quant_conv"`
	MidAttention   bool     `json:"mid_block_add_attention"`
	Activation     string   `json:"act_fn"`
	DownBlocks     []string `json:"down_block_types"`
	UpBlocks       []string `json:"up_block_types"`
	SampleSize     int      `json:"sample_size"`
}

// eps is what every group norm of the autoencoder adds to the variance.
const eps = 1e-6

// ParseConfig reads config.json; what it leaves out has the values of AutoencoderKL, which the first Stable Diffusion
// repositories relied on for scaling_factor.
func ParseConfig(data []byte) (Config, error) {
	c := Config{InChannels: 3, OutChannels: 3, LatentChannels: 4, Channels: []int{64}, Layers: 1, Groups: 32, ScalingFactor: 0.18215,
		QuantConv: true, PostQuantConv: true, MidAttention: true, Activation: "silu"}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("the autoencoder's config.json cannot be read: %w", err)
	}
	return c, c.check()
}

func (c *Config) check() error {
	switch {
	case c.InChannels <= 0, c.OutChannels <= 0, c.LatentChannels <= 0, c.Layers <= 0, c.Layers > 64, c.Groups <= 0, len(c.Channels) == 0, len(c.Channels) > 16:
		return fmt.Errorf("the autoencoder's configuration does not make a network: it has %d channels in, %d out, %d latent, %d blocks of %d layers", c.InChannels, c.OutChannels, c.LatentChannels, len(c.Channels), c.Layers)
	case c.ScalingFactor == 0:
		return fmt.Errorf("the autoencoder's configuration has scaling_factor 0")
	case c.Activation != "silu" && c.Activation != "swish":
		return fmt.Errorf("the autoencoder's configuration has act_fn %q; silu is known", c.Activation)
	}
	for _, ch := range c.Channels {
		if ch <= 0 || ch%c.Groups != 0 {
			return fmt.Errorf("the autoencoder's configuration has a block of %d channels, which norm_num_groups %d does not divide", ch, c.Groups)
		}
	}
	for _, t := range append(append([]string(nil), c.DownBlocks...), c.UpBlocks...) {
		if t != "DownEncoderBlock2D" && t != "UpDecoderBlock2D" {
			return fmt.Errorf("the autoencoder's configuration has a block of type %q; DownEncoderBlock2D and UpDecoderBlock2D are known", t)
		}
	}
	return nil
}

// Factor is how many pixels a latent stands for along each axis.
func (c *Config) Factor() int { return 1 << (len(c.Channels) - 1) }

// Shift is the shift factor, 0 where the configuration has none.
func (c *Config) Shift() float64 {
	if c.ShiftFactor == nil {
		return 0
	}
	return *c.ShiftFactor
}

// Model is an autoencoder with its weights.
type Model struct {
	Config
	encoder, decoder *coder
	quant, postQuant *nn.Linear // nil where absent
	bandBytes        int        // of a band of what is computed on the way
}

// Within is the model on a device that stores results of so many bytes; 0 is no limit.
func (m *Model) Within(bytes int64) *Model {
	own := *m
	if bytes > 0 {
		own.bandBytes = int(min(bytes/2, nn.BandBytes)) // half, for a band is read with the rows beyond its edges
	}
	return &own
}

// coder is the encoder or the decoder.
type coder struct {
	in, out *nn.Conv2D
	levels  []*level
	mid     *mid
	norm    *nn.GroupNorm
}

type level struct {
	resnets  []*resnet
	resample *nn.Conv2D // nil at the last
}

type mid struct {
	first, second *resnet
	attention     *attention // nil where absent
}

// New takes the autoencoder's tensors from s and reports all that do not fit.
func New(s *nn.Scope, c Config) (*Model, error) {
	m := &Model{Config: c, bandBytes: nn.BandBytes, encoder: newEncoder(s.At("encoder"), &c), decoder: newDecoder(s.At("decoder"), &c)}
	if c.QuantConv {
		m.quant = nn.NewPointwise(s.At("quant_conv"), 2*c.LatentChannels, 2*c.LatentChannels)
	}
	if c.PostQuantConv {
		m.postQuant = nn.NewPointwise(s.At("post_quant_conv"), c.LatentChannels, c.LatentChannels)
	}
	return m, s.Finish()
}

func newEncoder(s *nn.Scope, c *Config) *coder {
	prev, last := c.Channels[0], len(c.Channels)-1
	e := &coder{in: nn.NewConv2D(s.At("conv_in"), c.InChannels, prev, 3, 1, nn.Same(1))}
	for i, ch := range c.Channels {
		b, l := s.At("down_blocks", i), &level{}
		for j := range c.Layers {
			l.resnets = append(l.resnets, newResnet(b.At("resnets", j), prev, ch, c.Groups))
			prev = ch
		}
		if i < last {
			l.resample = nn.NewConv2D(b.At("downsamplers", 0, "conv"), ch, ch, 3, 2, [4]int{0, 1, 0, 1})
		}
		e.levels = append(e.levels, l)
	}
	e.mid = newMid(s.At("mid_block"), prev, c)
	e.norm = nn.NewGroupNorm(s.At("conv_norm_out"), prev, c.Groups, eps)
	e.out = nn.NewConv2D(s.At("conv_out"), prev, 2*c.LatentChannels, 3, 1, nn.Same(1))
	return e
}

func newDecoder(s *nn.Scope, c *Config) *coder {
	last := len(c.Channels) - 1
	prev := c.Channels[last]
	d := &coder{in: nn.NewConv2D(s.At("conv_in"), c.LatentChannels, prev, 3, 1, nn.Same(1)), mid: newMid(s.At("mid_block"), prev, c)}
	for i := range c.Channels {
		b, l, ch := s.At("up_blocks", i), &level{}, c.Channels[last-i]
		for j := range c.Layers + 1 {
			l.resnets = append(l.resnets, newResnet(b.At("resnets", j), prev, ch, c.Groups))
			prev = ch
		}
		if i < last {
			l.resample = nn.NewConv2D(b.At("upsamplers", 0, "conv"), ch, ch, 3, 1, nn.Same(1))
		}
		d.levels = append(d.levels, l)
	}
	d.norm = nn.NewGroupNorm(s.At("conv_norm_out"), prev, c.Groups, eps)
	d.out = nn.NewConv2D(s.At("conv_out"), prev, c.OutChannels, 3, 1, nn.Same(1))
	return d
}

// Encode maps pictures x [B H W InChannels], values in [−1, 1], to the mean and the log variance, clamped to [−30, 20], of
// their latents, [B H/f W/f LatentChannels] each, before scaling.
func (m *Model) Encode(x *compute.Tensor) (mean, logvar *compute.Tensor) {
	x = m.encoder.finish(m.encoder.shrink(nn.Whole(x, m.bandBytes)))
	if m.quant != nil {
		x = m.quant.Forward(x)
	}
	z := m.LatentChannels
	return compute.Slice(x, -1, 0, z), compute.Clamp(compute.Slice(x, -1, z, 2*z), -30, 20)
}

// Features describes pictures x, as Encode takes them, by C numbers each for comparing sets of pictures: the mean over all places of
// what the encoder's mid block gives, [B C].
func (m *Model) Features(x *compute.Tensor) *compute.Tensor {
	return compute.Mean(m.encoder.shrink(nn.Whole(x, m.bandBytes)).Join(), false, 1, 2)
}

// Decode maps latents z [B h w LatentChannels], already divided by the scaling factor, to pictures [B h·f w·f OutChannels],
// roughly in [−1, 1].
func (m *Model) Decode(z *compute.Tensor) *compute.Tensor {
	if m.postQuant != nil {
		z = m.postQuant.Forward(z)
	}
	x := m.decoder.mid.forward(nn.Whole(z, m.bandBytes).Conv(m.decoder.in, 1, nil))
	for _, l := range m.decoder.levels {
		for _, r := range l.resnets {
			x = r.forward(x)
		}
		if l.resample != nil {
			x = x.Conv(l.resample, 2, nil)
		}
	}
	return m.decoder.finish(x)
}

// shrink is the encoder up to and with its mid block.
func (c *coder) shrink(x nn.Bands) nn.Bands {
	x = x.Conv(c.in, 1, nil)
	for _, l := range c.levels {
		for _, r := range l.resnets {
			x = r.forward(x)
		}
		if l.resample != nil {
			x = x.Conv(l.resample, 1, nil)
		}
	}
	return c.mid.forward(x)
}

func (c *coder) finish(x nn.Bands) *compute.Tensor {
	return x.Norm(c.norm, compute.ActSiLU).Conv(c.out, 1, nil).Join()
}

type resnet struct {
	norm1, norm2 *nn.GroupNorm
	conv1, conv2 *nn.Conv2D
	shortcut     *nn.Linear // nil where the channel counts agree
}

func newResnet(s *nn.Scope, in, out, groups int) *resnet {
	r := &resnet{
		norm1: nn.NewGroupNorm(s.At("norm1"), in, groups, eps), conv1: nn.NewConv2D(s.At("conv1"), in, out, 3, 1, nn.Same(1)),
		norm2: nn.NewGroupNorm(s.At("norm2"), out, groups, eps), conv2: nn.NewConv2D(s.At("conv2"), out, out, 3, 1, nn.Same(1)),
	}
	if in != out {
		r.shortcut = nn.NewPointwise(s.At("conv_shortcut"), in, out)
	}
	return r
}

func (r *resnet) forward(x nn.Bands) nn.Bands {
	h := x.Norm(r.norm1, compute.ActSiLU).Conv(r.conv1, 1, nil)
	if r.shortcut != nil {
		x = x.Each(r.shortcut.Forward)
	}
	return h.Norm(r.norm2, compute.ActSiLU).Conv(r.conv2, 1, &x)
}

// attention is self-attention with one head over all pixels.
type attention struct {
	norm         *nn.GroupNorm
	q, k, v, out *nn.Linear
}

// newAttention knows today's names and those of repositories from 2022.
func newAttention(s *nn.Scope, ch, groups int) *attention {
	linear := func(names ...string) *nn.Linear {
		return nn.NewLinear(s.At(s.First(names...)), ch, ch, true)
	}
	return &attention{
		norm: nn.NewGroupNorm(s.At("group_norm"), ch, groups, eps),
		q:    linear("to_q", "query"), k: linear("to_k", "key"), v: linear("to_v", "value"), out: linear("to_out.0", "proj_attn"),
	}
}

func (a *attention) forward(x *compute.Tensor) *compute.Tensor {
	b, h, w, c := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	rows := compute.Reshape(x, b, h*w, c)
	y := compute.Reshape(a.norm.Forward(x, compute.ActNone), b, h*w, c)
	y = compute.Attention(a.q.Forward(y), a.k.Forward(y), a.v.Forward(y), compute.AttentionOpts{Heads: 1})
	return compute.Reshape(a.out.Fused(y, compute.ActNone, rows), b, h, w, c)
}

func newMid(s *nn.Scope, ch int, c *Config) *mid {
	m := &mid{first: newResnet(s.At("resnets", 0), ch, ch, c.Groups), second: newResnet(s.At("resnets", 1), ch, ch, c.Groups)}
	if c.MidAttention {
		m.attention = newAttention(s.At("attentions", 0), ch, c.Groups)
	}
	return m
}

func (m *mid) forward(x nn.Bands) nn.Bands {
	x = m.first.forward(x)
	if m.attention != nil { // between all places
		x = x.Together(m.attention.forward)
	}
	return m.second.forward(x)
}
