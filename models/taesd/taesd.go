// Package taesd is the tiny autoencoders (Bohan, TAESD and its family): small convolutional networks that know the latents of
// a large autoencoder, for looks at a picture while it forms. Parameters have the names of the original's sequence of
// modules ("1.conv.0.weight"), or those that diffusers' AutoencoderTiny gives them.
package taesd

import (
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Coder is an encoder or a decoder.
type Coder struct {
	In, Out int // channels
	Factor  int // pixels for each latent along an axis
	decodes bool
	modules []module
}

// module is a convolution, alone or in a residual block.
type module struct {
	conv     *nn.Conv2D // nil in a block
	block    *block
	resample bool // a convolution without a bias: it halves an encoder's picture, and follows a doubling in a decoder
	relu     bool // follows
}

// block is three convolutions round which the input is added. In the variant with a pool, what a bottleneck of 1×1
// convolutions with a group norm makes of the input is added to it first.
type block struct {
	convs   [3]*nn.Conv2D
	skip    *nn.Linear // nil where channels agree
	squeeze *nn.Linear // nil without a pool
	norm    *nn.GroupNorm
	expand  *nn.Linear
}

// Places are where checkpoints keep the two halves, by what their names begin with: "" for a file of one half.
type Places struct {
	Encoder, Decoder       string
	HasEncoder, HasDecoder bool
}

// Find looks for tiny autoencoders in a checkpoint.
func Find(s *nn.Scope) Places {
	var p Places
	for _, prefix := range []string{"encoder.layers", "encoder", "taesd_encoder", ""} {
		if at := s.At(prefix); !p.HasEncoder && at.Has("0.weight") && at.Has("1.conv.0.weight") {
			p.Encoder, p.HasEncoder = prefix, true
		}
	}
	for _, d := range []struct{ prefix, first, second string }{
		{"decoder.layers", "0.weight", "2.conv.0.weight"}, {"decoder", "1.weight", "3.conv.0.weight"},
		{"taesd_decoder", "1.weight", "3.conv.0.weight"}, {"", "1.weight", "3.conv.0.weight"},
	} {
		if at := s.At(d.prefix); !p.HasDecoder && at.Has(d.first) && at.Has(d.second) {
			p.Decoder, p.HasDecoder = d.prefix, true
		}
	}
	return p
}

// NewEncoder takes an encoder's tensors from s, and every size from their shapes. It leaves s to be finished by the caller,
// for a checkpoint may hold both halves.
func NewEncoder(s *nn.Scope) (*Coder, error) { return newCoder(s, false) }

// NewDecoder does the same for a decoder.
func NewDecoder(s *nn.Scope) (*Coder, error) { return newCoder(s, true) }

func newCoder(s *nn.Scope, decodes bool) (*Coder, error) {
	const most = 64 // modules, of which a known network has 20
	c := &Coder{Factor: 1, decodes: decodes}
	ch := 0
	for i := range most {
		at := s.At(i)
		shape, inner := at.Shape("weight"), at.Shape("conv.0.weight")
		switch {
		case len(shape) == 4:
			if c.In == 0 {
				c.In, ch = shape[1], shape[1]
			}
			m := module{resample: at.Shape("bias") == nil, relu: decodes && len(c.modules) == 0}
			stride := 1
			if m.resample {
				if c.Factor *= 2; !decodes {
					stride = 2
				}
			}
			m.conv = newConv(at, ch, shape[0], stride, !m.resample)
			ch = shape[0]
			c.modules = append(c.modules, m)
		case len(inner) == 4:
			c.modules = append(c.modules, module{block: newBlock(at, ch, inner[0])})
			ch = inner[0]
		}
	}
	if c.Out = ch; len(c.modules) < 3 || c.In < 1 || c.Out < 1 {
		return nil, fmt.Errorf("these weights are not a tiny autoencoder's: convolutions and blocks named by their place, 1.conv.0.weight and so on, are wanted, and %d are there", len(c.modules))
	}
	return c, nil
}

func newConv(s *nn.Scope, in, out, stride int, bias bool) *nn.Conv2D {
	if bias {
		return nn.NewConv2D(s, in, out, 3, stride, nn.Same(1))
	}
	return nn.NewConv2DWithoutBias(s, in, out, 3, stride, nn.Same(1))
}

func newBlock(s *nn.Scope, in, out int) *block {
	b := &block{}
	for i, ch := range [3]int{in, out, out} {
		b.convs[i] = nn.NewConv2D(s.At("conv", 2*i), ch, out, 3, 1, nn.Same(1))
	}
	if in != out {
		b.skip = nn.NewLinear(s.At("skip"), in, out, false)
	}
	const groups, eps = 4, 1e-5
	if w := s.Shape("pool.0.weight"); len(w) >= 2 {
		b.squeeze = nn.NewLinear(s.At("pool", 0), in, w[0], false)
		b.norm = nn.NewGroupNorm(s.At("pool", 1), w[0], groups, eps)
		b.expand = nn.NewLinear(s.At("pool", 3), w[0], in, false)
	}
	return b
}

// Forward maps pictures [B H W In] in [0, 1] to latents [B H/f W/f Out] of unit variance, or, a decoder, latents [B h w In]
// to pictures [B h·f w·f Out], roughly in [0, 1].
func (c *Coder) Forward(x *compute.Tensor) *compute.Tensor {
	if c.decodes {
		// The original's first module: latents beyond three deviations saturate.
		x = compute.Affine(compute.Tanh(compute.Affine(x, 1.0/3, 0)), 3, 0)
	}
	for _, m := range c.modules {
		switch {
		case m.block != nil:
			x = m.block.forward(x)
		case m.resample && c.decodes:
			x = m.conv.Forward(compute.ResizeNearest(x, 2*x.Dim(1), 2*x.Dim(2)))
		default:
			x = m.conv.Forward(x)
		}
		if m.relu {
			x = compute.ReLU(x)
		}
	}
	return x
}

func (b *block) forward(x *compute.Tensor) *compute.Tensor {
	if b.squeeze != nil {
		h := b.norm.Forward(b.squeeze.Forward(x), compute.ActReLU)
		x = b.expand.Fused(h, compute.ActNone, x)
	}
	h := compute.ReLU(b.convs[0].Forward(x))
	h = compute.ReLU(b.convs[1].Forward(h))
	if b.skip != nil {
		x = b.skip.Forward(x)
	}
	return compute.ReLU(b.convs[2].Fused(h, nil, x))
}
