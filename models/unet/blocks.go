package unet

import (
	"atelier/compute"
	"atelier/models/nn"
)

// resnet is a residual block conditioned on the timestep: two convolutions, the second added to the (projected) input.
type resnet struct {
	norm1, norm2 *nn.GroupNorm
	conv1, conv2 *nn.Conv2D
	time         *nn.Linear
	shortcut     *nn.Linear // nil where the channel counts agree
}

func newResnet(s *nn.Scope, in, out, timeDim int, c *Config) *resnet {
	r := &resnet{
		norm1: nn.NewGroupNorm(s.At("norm1"), in, c.Groups, c.Eps),
		conv1: nn.NewConv2D(s.At("conv1"), in, out, 3, 1, nn.Same(1)),
		time:  nn.NewLinear(s.At("time_emb_proj"), timeDim, out, true),
		norm2: nn.NewGroupNorm(s.At("norm2"), out, c.Groups, c.Eps),
		conv2: nn.NewConv2D(s.At("conv2"), out, out, 3, 1, nn.Same(1)),
	}
	if in != out {
		r.shortcut = nn.NewPointwise(s.At("conv_shortcut"), in, out)
	}
	return r
}

// forward maps x [B H W Ci] to [B H W Co]; t [B T] is silu of the time embedding. The time's contribution is the same for
// every pixel, so it rides in the first convolution's bias.
func (r *resnet) forward(x, t *compute.Tensor) *compute.Tensor {
	bias := compute.Add(r.time.Forward(t), r.conv1.Bias.In(x))
	h := r.conv1.Fused(r.norm1.Forward(x, compute.ActSiLU), bias, nil)
	if r.shortcut != nil {
		x = r.shortcut.Forward(x)
	}
	return r.conv2.Fused(r.norm2.Forward(h, compute.ActSiLU), nil, x)
}

// attention is q·kᵀ attention with an output projection.
type attention struct {
	q, k, v, out *nn.Linear
	heads        int
}

func newAttention(s *nn.Scope, dim, context, heads int) *attention {
	return &attention{
		q: nn.NewLinear(s.At("to_q"), dim, dim, false), k: nn.NewLinear(s.At("to_k"), context, dim, false),
		v: nn.NewLinear(s.At("to_v"), context, dim, false), out: nn.NewLinear(s.At("to_out", 0), dim, dim, true),
		heads: heads,
	}
}

// forward lets x [B T C] attend to context [B S D] and adds residual [B T C].
func (a *attention) forward(x, context, residual *compute.Tensor) *compute.Tensor {
	h := compute.Attention(a.q.Forward(x), a.k.Forward(context), a.v.Forward(context), compute.AttentionOpts{Heads: a.heads})
	return a.out.Fused(h, compute.ActNone, residual)
}

// block is a transformer block: self-attention, attention to the text, gated feed-forward.
type block struct {
	norm1, norm2, norm3 *nn.LayerNorm
	self, cross         *attention
	gate, out           *nn.Linear
}

const layerNormEps = 1e-5

func newBlock(s *nn.Scope, dim, context, heads int) *block {
	return &block{
		norm1: nn.NewLayerNorm(s.At("norm1"), dim, layerNormEps), self: newAttention(s.At("attn1"), dim, dim, heads),
		norm2: nn.NewLayerNorm(s.At("norm2"), dim, layerNormEps), cross: newAttention(s.At("attn2"), dim, context, heads),
		norm3: nn.NewLayerNorm(s.At("norm3"), dim, layerNormEps),
		gate:  nn.NewLinear(s.At("ff", "net", 0, "proj"), dim, 8*dim, true), out: nn.NewLinear(s.At("ff", "net", 2), 4*dim, dim, true),
	}
}

func (b *block) forward(x, context *compute.Tensor) *compute.Tensor {
	h := b.norm1.Forward(x)
	x = b.self.forward(h, h, x)
	x = b.cross.forward(b.norm2.Forward(x), context, x)
	return b.out.Fused(compute.GLU(b.gate.Forward(b.norm3.Forward(x)), compute.ActGELU), compute.ActNone, x)
}

// transformer runs transformer blocks over the pixels of a feature map (Rombach et al. 2022).
type transformer struct {
	norm    *nn.GroupNorm
	in, out *nn.Linear
	blocks  []*block
}

const transformerNormEps = 1e-6

func newTransformer(s *nn.Scope, dim, context, heads, depth int, c *Config) *transformer {
	project := func(name string) *nn.Linear {
		if c.LinearProjection {
			return nn.NewLinear(s.At(name), dim, dim, true)
		}
		return nn.NewPointwise(s.At(name), dim, dim)
	}
	t := &transformer{norm: nn.NewGroupNorm(s.At("norm"), dim, c.Groups, transformerNormEps), in: project("proj_in"), out: project("proj_out")}
	for i := range depth {
		t.blocks = append(t.blocks, newBlock(s.At("transformer_blocks", i), dim, context, heads))
	}
	return t
}

// forward maps x [B H W C] to the same shape. The projections act on every pixel alone, so convolution weights and
// linear weights (use_linear_projection) come to the same thing.
func (t *transformer) forward(x, context *compute.Tensor) *compute.Tensor {
	b, h, w, c := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	y := t.in.Forward(compute.Reshape(t.norm.Forward(x, compute.ActNone), b, h*w, c))
	for _, bl := range t.blocks {
		y = bl.forward(y, context)
	}
	return compute.Reshape(t.out.Fused(y, compute.ActNone, compute.Reshape(x, b, h*w, c)), b, h, w, c)
}
