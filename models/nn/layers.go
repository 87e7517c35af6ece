package nn

import "atelier/compute"

// Linear is y = x·Wᵀ + b over the last axis; 1×1 convolutions of checkpoints are Linear layers too.
type Linear struct {
	Weight *Param // [out in]
	Bias   *Param // [out], or nil
}

// NewLinear takes weight and, where wanted, bias from s.
func NewLinear(s *Scope, in, out int, bias bool) *Linear {
	l := &Linear{Weight: s.Matrix("weight", UniformInit(in), out, in)}
	if bias {
		l.Bias = s.Param("bias", UniformInit(in), out)
	}
	return l
}

// NewPointwise takes a 1×1 convolution, in checkpoints [out in 1 1], as a Linear with bias.
func NewPointwise(s *Scope, in, out int) *Linear {
	return &Linear{
		Weight: s.matrix("weight", UniformInit(in), out, in, 1, 1),
		Bias:   s.Param("bias", UniformInit(in), out),
	}
}

// Forward maps x [… in] to [… out].
func (l *Linear) Forward(x *compute.Tensor) *compute.Tensor {
	return l.Fused(x, compute.ActNone, nil)
}

// Fused is act(x·Wᵀ + b) + residual; a nil residual adds nothing.
func (l *Linear) Fused(x *compute.Tensor, act compute.Act, residual *compute.Tensor) *compute.Tensor {
	o := compute.MatMulOpts{TransB: true, Act: act, Residual: residual}
	if l.Bias != nil {
		o.Bias = l.Bias.In(x)
	}
	return compute.MatMul(x, l.Weight.In(x), o)
}

// Conv2D is a convolution over B H W C with a square kernel.
type Conv2D struct {
	Weight *Param // [Co K K Ci]
	Bias   *Param // [Co], or nil
	stride int
	pad    [4]int
}

// NewConv2D takes a convolution with a k×k kernel, the stride, and padding at the top, bottom, left and right.
func NewConv2D(s *Scope, in, out, k, stride int, pad [4]int) *Conv2D {
	return &Conv2D{
		Weight: s.Kernel("weight", out, in, k, k), Bias: s.Param("bias", UniformInit(in*k*k), out),
		stride: stride, pad: pad,
	}
}

// NewConv2DWithoutBias takes a convolution that has a weight only.
func NewConv2DWithoutBias(s *Scope, in, out, k, stride int, pad [4]int) *Conv2D {
	return &Conv2D{Weight: s.Kernel("weight", out, in, k, k), stride: stride, pad: pad}
}

// Same pads all sides by n.
func Same(n int) [4]int { return [4]int{n, n, n, n} }

// Forward maps x [B H W Ci] to [B Ho Wo Co].
func (c *Conv2D) Forward(x *compute.Tensor) *compute.Tensor { return c.Fused(x, nil, nil) }

// Fused adds bias (the layer's own where nil; [Co] or one row for each picture, [B Co]) and residual, where not nil.
func (c *Conv2D) Fused(x, bias, residual *compute.Tensor) *compute.Tensor {
	if bias == nil && c.Bias != nil {
		bias = c.Bias.In(x)
	}
	return compute.Conv2D(x, c.Weight.In(x), compute.ConvOpts{
		Stride: [2]int{c.stride, c.stride}, Pad: c.pad, Bias: bias, Residual: residual,
	})
}

// GroupNorm normalises over space and groups of channels (Wu & He 2018), then applies gain, offset and an activation.
type GroupNorm struct {
	Gamma, Beta *Param // [C]
	groups      int
	eps         float64
}

// NewGroupNorm takes weight and bias from s.
func NewGroupNorm(s *Scope, channels, groups int, eps float64) *GroupNorm {
	return &GroupNorm{s.Param("weight", ConstInit(1), channels), s.Param("bias", ConstInit(0), channels), groups, eps}
}

// Forward normalises x [B … C].
func (n *GroupNorm) Forward(x *compute.Tensor, act compute.Act) *compute.Tensor {
	return compute.GroupNorm(x, n.Gamma.In(x), n.Beta.In(x), n.groups, n.eps, act)
}

// LayerNorm normalises over the last axis (Ba et al. 2016).
type LayerNorm struct {
	Gamma, Beta *Param // [C]
	eps         float64
}

// NewLayerNorm takes weight and bias from s.
func NewLayerNorm(s *Scope, channels int, eps float64) *LayerNorm {
	return &LayerNorm{s.Param("weight", ConstInit(1), channels), s.Param("bias", ConstInit(0), channels), eps}
}

// Forward normalises x [… C].
func (n *LayerNorm) Forward(x *compute.Tensor) *compute.Tensor {
	return compute.LayerNorm(x, n.Gamma.In(x), n.Beta.In(x), n.eps)
}

// Embedding is a table of vectors.
type Embedding struct {
	Table *Param // [rows channels]
}

// NewEmbedding takes the table, weight, from s.
func NewEmbedding(s *Scope, rows, channels int) *Embedding {
	return &Embedding{s.Param("weight", NormalInit(0.02), rows, channels)}
}

// Forward maps ids […] to […, channels].
func (e *Embedding) Forward(ids *compute.Tensor) *compute.Tensor {
	return compute.Embedding(e.Table.In(ids), ids)
}
