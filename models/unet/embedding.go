package unet

import (
	"math"

	"atelier/compute"
	"atelier/models/nn"
)

// embedding makes the vector that every resnet reads: the timestep's, with whatever else conditions the network added.
type embedding struct {
	time1, time2   *nn.Linear
	guidance       *nn.Linear // or nil
	add1, add2     *nn.Linear // or nil
	class          *nn.Embedding
	class1, class2 *nn.Linear // or nil
}

func newEmbedding(s *nn.Scope, c *Config) *embedding {
	first := c.Channels[0]
	dim := 4 * first
	time, class := s.At("time_embedding"), s.At("class_embedding")
	e := &embedding{time1: nn.NewLinear(time.At("linear_1"), first, dim, true), time2: nn.NewLinear(time.At("linear_2"), dim, dim, true)}
	if c.GuidanceDim > 0 {
		e.guidance = nn.NewLinear(time.At("cond_proj"), c.GuidanceDim, first, false)
	}
	if c.TextTime {
		e.add1 = nn.NewLinear(s.At("add_embedding", "linear_1"), c.AdditionDim, dim, true)
		e.add2 = nn.NewLinear(s.At("add_embedding", "linear_2"), dim, dim, true)
	}
	switch c.Class {
	case ClassTable:
		e.class = nn.NewEmbedding(class, c.ClassCount, dim)
	case ClassTimestep:
		e.class1, e.class2 = nn.NewLinear(class.At("linear_1"), first, dim, true), nn.NewLinear(class.At("linear_2"), dim, dim, true)
	case ClassProjection:
		e.class1, e.class2 = nn.NewLinear(class.At("linear_1"), c.ClassDim, dim, true), nn.NewLinear(class.At("linear_2"), dim, dim, true)
	case ClassSimpleLinear:
		e.class1 = nn.NewLinear(class, c.ClassDim, dim, true)
	}
	return e
}

// sinusoid embeds numbers t [n] in dim columns.
func (c *Config) sinusoid(t *compute.Tensor, dim int) *compute.Tensor {
	return compute.TimestepEmbedding(t, dim, compute.TimestepOpts{FlipSinToCos: c.FlipSinToCos, Shift: c.FreqShift, MaxPeriod: 10000, Scale: 1})
}

// forward gives silu of the embedding, [B 4·Channels[0]].
func (e *embedding) forward(in Inputs, c *Config, watch Watch) *compute.Tensor {
	t := c.sinusoid(in.Timestep, c.Channels[0])
	watch("time_proj", t)
	if e.guidance != nil && in.Guidance != nil {
		t = e.guidance.Fused(in.Guidance, compute.ActNone, t)
	}
	t = e.time2.Forward(e.time1.Fused(t, compute.ActSiLU, nil))
	watch("time_embedding", t)
	if label := e.label(in.Class, c); label != nil {
		t = compute.Add(t, label)
	}
	if e.add1 != nil {
		b, n := in.Sizes.Dim(0), in.Sizes.Dim(1)
		sizes := compute.Reshape(c.sinusoid(compute.Reshape(in.Sizes, b*n), c.SizeDim), b, n*c.SizeDim)
		t = e.add2.Fused(e.add1.Fused(compute.Concat(-1, in.Pooled, sizes), compute.ActSiLU, nil), compute.ActNone, t)
	}
	return compute.SiLU(t)
}

// label embeds class labels; nil where the network has none.
func (e *embedding) label(class *compute.Tensor, c *Config) *compute.Tensor {
	switch c.Class {
	case ClassTable:
		return e.class.Forward(class)
	case ClassTimestep:
		class = c.sinusoid(class, c.Channels[0])
	case ClassSimpleLinear:
		return e.class1.Forward(class)
	case ClassIdentity:
		return class
	case NoClass:
		return nil
	}
	return e.class2.Forward(e.class1.Fused(class, compute.ActSiLU, nil))
}

// Sizes is how many sizes and places a network with TextTime reads beside pooled text of so many columns.
func (c *Config) Sizes(pooled int) int { return (c.AdditionDim - pooled) / c.SizeDim }

// GuidanceEmbedding embeds a guidance scale in dim columns, as latent consistency models are trained with (Luo et al. 2023):
// sines, then cosines, of 1000·(scale − 1) times frequencies from 1 down to 1/10,000.
func GuidanceEmbedding(scale float64, dim int) []float32 {
	out, half := make([]float32, dim), dim/2
	w := float32(scale-1) * 1000
	for k := range half {
		step := float32(-math.Log(10000) / float64(max(half-1, 1)))
		angle := w * float32(math.Exp(float64(float32(k)*step)))
		out[k], out[half+k] = float32(math.Sin(float64(angle))), float32(math.Cos(float64(angle)))
	}
	return out
}
