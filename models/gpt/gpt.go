// Package gpt is a decoder-only transformer (Radford et al. 2019) in the parameter layout of nanoGPT: linear layers [out in],
// and one table for reading tokens and for writing them.
package gpt

import (
	"encoding/json"
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Config is the settings of a model, in the names of nanoGPT's.
type Config struct {
	BlockSize int     `json:"block_size"` // positions
	VocabSize int     `json:"vocab_size"`
	Layers    int     `json:"n_layer"`
	Heads     int     `json:"n_head"`
	Width     int     `json:"n_embd"`
	Bias      bool    `json:"bias"`
	Dropout   float64 `json:"dropout"` // in training
	// Approximate takes GELU's tanh form, as checkpoints of GPT-2 do.
	Approximate bool `json:"approximate_gelu"`
}

// limit bounds the settings of a file that nobody has looked at.
const limit = 1 << 20

// ParseConfig reads a config.json.
func ParseConfig(data []byte) (Config, error) {
	c := Config{Bias: true}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("gpt: config.json cannot be read: %w", err)
	}
	return c, c.check()
}

func (c *Config) check() error {
	for _, f := range []struct { // in order, so that one file always gives one error
		name  string
		value int
	}{{"block_size", c.BlockSize}, {"vocab_size", c.VocabSize}, {"n_layer", c.Layers}, {"n_head", c.Heads}, {"n_embd", c.Width}} {
		if f.value < 1 || f.value > limit {
			return fmt.Errorf("gpt: %s is %d; it must be from 1 to %d", f.name, f.value, limit)
		}
	}
	if c.Width%c.Heads != 0 {
		return fmt.Errorf("gpt: n_embd %d does not divide into %d heads", c.Width, c.Heads)
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		return fmt.Errorf("gpt: dropout is %v; it must be at least 0 and under 1", c.Dropout)
	}
	return nil
}

// Model is a transformer with its weights.
type Model struct {
	Config
	tokens   *nn.Embedding
	position *nn.Param // [BlockSize Width]
	blocks   []*block
	final    norm
}

type block struct {
	norm1, norm2     norm
	qkv, out         *nn.Linear
	expand, contract *nn.Linear
}

// norm is a layer norm whose offset may be missing.
type norm struct{ gamma, beta *nn.Param }

const eps = 1e-5

func newNorm(s *nn.Scope, width int, bias bool) norm {
	n := norm{gamma: s.Param("weight", nn.ConstInit(1), width)}
	if bias {
		n.beta = s.Param("bias", nn.ConstInit(0), width)
	}
	return n
}

func (n norm) forward(x *compute.Tensor) *compute.Tensor {
	if n.beta == nil {
		return compute.LayerNorm(x, n.gamma.In(x), nil, eps)
	}
	return compute.LayerNorm(x, n.gamma.In(x), n.beta.In(x), eps)
}

// New takes the model's tensors from s and reports all that do not fit. A lm_head.weight in a checkpoint is the table again.
func New(s *nn.Scope, c Config) (*Model, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t := s.At("transformer")
	m := &Model{
		Config:   c,
		tokens:   nn.NewEmbedding(t.At("wte"), c.VocabSize, c.Width),
		position: t.At("wpe").Param("weight", nn.NormalInit(0.02), c.BlockSize, c.Width),
	}
	for i := range c.Layers {
		b := t.At("h", i)
		m.blocks = append(m.blocks, &block{
			norm1:    newNorm(b.At("ln_1"), c.Width, c.Bias),
			qkv:      nn.NewLinear(b.At("attn", "c_attn"), c.Width, 3*c.Width, c.Bias),
			out:      nn.NewLinear(b.At("attn", "c_proj"), c.Width, c.Width, c.Bias),
			norm2:    newNorm(b.At("ln_2"), c.Width, c.Bias),
			expand:   nn.NewLinear(b.At("mlp", "c_fc"), c.Width, 4*c.Width, c.Bias),
			contract: nn.NewLinear(b.At("mlp", "c_proj"), 4*c.Width, c.Width, c.Bias),
		})
	}
	m.final = newNorm(t.At("ln_f"), c.Width, c.Bias)
	return m, s.Finish("lm_head.weight", "attn.bias", "attn.masked_bias")
}

// Forward gives the logits [B T VocabSize] of the token after each of ids [B T], T ≤ BlockSize. key draws what dropout leaves
// out; nil is no dropout.
func (m *Model) Forward(ids, key *compute.Tensor) *compute.Tensor {
	position := m.position.In(ids)
	if t := ids.Dim(-1); t < m.BlockSize {
		position = compute.Slice(position, 0, 0, t)
	}
	site := 0
	drop := func(x *compute.Tensor) *compute.Tensor {
		if key == nil || m.Dropout == 0 {
			return x
		}
		site++
		return compute.Dropout(x, key, m.Dropout, site-1)
	}
	x := drop(compute.Add(m.tokens.Forward(ids), position))
	for _, b := range m.blocks {
		x = b.forward(x, m, drop)
	}
	return compute.MatMul(m.final.forward(x), m.tokens.Table.In(x), compute.MatMulOpts{TransB: true})
}

func (b *block) forward(x *compute.Tensor, m *Model, drop func(*compute.Tensor) *compute.Tensor) *compute.Tensor {
	c := m.Width
	qkv := b.qkv.Forward(b.norm1.forward(x))
	q, k, v := compute.Slice(qkv, -1, 0, c), compute.Slice(qkv, -1, c, 2*c), compute.Slice(qkv, -1, 2*c, 3*c)
	a := compute.Attention(q, k, v, compute.AttentionOpts{Heads: m.Heads, Causal: true})
	x = compute.Add(x, drop(b.out.Forward(a)))
	gelu := compute.GELU
	if m.Approximate {
		gelu = compute.GELUTanh
	}
	return compute.Add(x, drop(b.contract.Forward(gelu(b.expand.Forward(b.norm2.forward(x))))))
}
