package compute

import (
	"fmt"
	"math"
)

// TimestepOpts are the variants of the sinusoidal embedding. Zero values mean 10,000 for MaxPeriod and 1 for Scale.
type TimestepOpts struct {
	FlipSinToCos bool    // cosines first
	Shift        float64 // the exponents divide by half the dimension minus this
	MaxPeriod    float64
	Scale        float64 // multiplies the angles
}

// TimestepEmbeddingAttr is the order and number of columns. Operands: t [B] and the frequencies [dim/2].
type TimestepEmbeddingAttr struct {
	Dim          int
	FlipSinToCos bool
}

// TimestepEmbedding is the sinusoidal embedding of t [B] as [B dim] (Vaswani et al., 2017; Ho et al., 2020): sin(t·f) then
// cos(t·f) for f_k = Scale·MaxPeriod^(−k/(dim/2 − Shift)); an odd dim ends with a zero column. As get_timestep_embedding
// in diffusers.
func TimestepEmbedding(t *Tensor, dim int, o TimestepOpts) *Tensor {
	half := dim / 2
	if half < 1 || float64(half) <= o.Shift {
		return fail(opTimestepEmbedding, t, "%d columns are too few for a shift of %v", dim, o.Shift)
	}
	if o.MaxPeriod == 0 {
		o.MaxPeriod = 10000
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	freqs := make([]float32, half)
	for k := range freqs {
		exponent := float32(-math.Log(o.MaxPeriod)) * float32(k) / float32(float64(half)-o.Shift) // every step rounded, as in training
		freqs[k] = float32(float64(float32(math.Exp(float64(exponent)))) * o.Scale)
	}
	if t.err != nil {
		return newNode(opTimestepEmbedding, nil, t)
	}
	return newNode(opTimestepEmbedding, &TimestepEmbeddingAttr{dim, o.FlipSinToCos}, t, t.g.Const("timestep frequencies", freqs, half))
}

var opTimestepEmbedding = register(&Op{
	Name: "timestep_embedding",
	Shape: func(n *Tensor) (Shape, error) {
		if t := n.In[0].shape; len(t) != 1 {
			return nil, fmt.Errorf("timesteps need shape [B], not %v", t)
		}
		return Shape{n.In[0].shape[0], n.Attr.(*TimestepEmbeddingAttr).Dim}, nil
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		at := n.Attr.(*TimestepEmbeddingAttr)
		half := at.Dim / 2
		for i := lo; i < hi; i++ {
			k := i % at.Dim
			if k >= 2*half {
				out[i] = 0
				continue
			}
			angle := float64(in[0][i/at.Dim] * in[1][k%half])
			if (k < half) != at.FlipSinToCos {
				out[i] = float32(math.Sin(angle))
			} else {
				out[i] = float32(math.Cos(angle))
			}
		}
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		at := n.Attr.(*TimestepEmbeddingAttr)
		return []Launch{{
			Shader: "timestep_embedding",
			Reads:  []Operand{Read("T", n.In[0], 1), Read("Freqs", n.In[1], 1)},
			Writes: []Operand{Write(n)},
			Uniforms: []Uniform{Int("count", n.shape.Size()), Int("dim", at.Dim),
				Int("flip", int(truth(at.FlipSinToCos)))},
			Groups: lw.Grid(ceilDiv(n.shape.Size(), 64)),
		}}
	},
})

func init() {
	opTimestepEmbedding.VJP = func(n, dy *Tensor) []*Tensor {
		at, t, freqs := n.Attr.(*TimestepEmbeddingAttr), n.In[0], n.In[1]
		half := at.Dim / 2
		angle := Mul(Reshape(t, -1, 1), freqs)
		dsin, dcos := Slice(dy, -1, 0, half), Slice(dy, -1, half, 2*half)
		if at.FlipSinToCos {
			dsin, dcos = dcos, dsin
		}
		dangle := Sub(Mul(dsin, Cos(angle)), Mul(dcos, Sin(angle)))
		return []*Tensor{Sum(Mul(dangle, freqs), false, -1), nil}
	}
}
