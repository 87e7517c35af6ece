// Package clip is the text encoder of CLIP (Radford et al. 2021), as Stable Diffusion reads prompts with it.
package clip

import (
	"encoding/json"
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Config is what a text encoder's config.json says.
type Config struct {
	VocabSize        int     `json:"vocab_size"`
	HiddenSize       int     `json:"hidden_size"`
	IntermediateSize int     `json:"intermediate_size"`
	Layers           int     `json:"num_hidden_layers"`
	Heads            int     `json:"num_attention_heads"`
	MaxPositions     int     `json:"max_position_embeddings"`
	Activation       string  `json:"hidden_act"` // quick_gelu or gelu
	Eps              float64 `json:"layer_norm_eps"`
	EOS              int     `json:"eos_token_id"`
	ProjectionDim    int     `json:"projection_dim"`
}

// ParseConfig reads config.json; what it leaves out has the values of CLIPTextConfig.
func ParseConfig(data []byte) (Config, error) {
	c := Config{VocabSize: 49408, HiddenSize: 512, IntermediateSize: 2048, Layers: 12, Heads: 8, MaxPositions: 77,
		Activation: "quick_gelu", Eps: 1e-5, EOS: 49407, ProjectionDim: 512}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("the text encoder's config.json cannot be read: %w", err)
	}
	return c, c.check()
}

// Infer takes the configuration of an encoder from the shapes of its tensors. Heads, which no tensor tells, are 64 wide, as
// in every CLIP; encoders too narrow for that have two. The activation is CLIP's, or,
// in the widths of OpenCLIP's encoders, theirs. Whatever overrides, JSON in the form of
// config.json, says goes before both; nil says nothing.
func Infer(s *nn.Scope, overrides []byte) (Config, error) {
	t := s.At("text_model")
	c := Config{Activation: "quick_gelu", Eps: 1e-5, EOS: legacyEOS}
	if token := t.Shape("embeddings.token_embedding.weight"); len(token) == 2 {
		c.VocabSize, c.HiddenSize = token[0], token[1]
	}
	if position := t.Shape("embeddings.position_embedding.weight"); len(position) == 2 {
		c.MaxPositions = position[0]
	}
	for c.Layers < mostLayers && t.Shape(fmt.Sprintf("encoder.layers.%d.layer_norm1.weight", c.Layers)) != nil {
		c.Layers++
	}
	if fc1 := t.Shape("encoder.layers.0.mlp.fc1.weight"); len(fc1) == 2 {
		c.IntermediateSize = fc1[0]
	}
	if p := s.Shape("text_projection.weight"); len(p) == 2 {
		c.ProjectionDim = p[0]
	} else if p := s.Shape(openProjection); len(p) == 2 {
		c.ProjectionDim = p[1]
	}
	const headDim, narrowHeads = 64, 2
	if c.Heads = narrowHeads; c.HiddenSize >= 2*headDim {
		c.Heads = c.HiddenSize / headDim
	}
	if c.HiddenSize == openH || c.HiddenSize == openBigG {
		c.Activation = "gelu"
	}
	if overrides != nil {
		if err := json.Unmarshal(overrides, &c); err != nil {
			return c, fmt.Errorf("what is said about the text encoder cannot be read: %w", err)
		}
	}
	if c.VocabSize == 0 || c.MaxPositions == 0 || c.Layers == 0 || c.IntermediateSize == 0 {
		return c, fmt.Errorf("the text encoder is not whole: of its token embedding, position embedding and layers, some are missing or have another number of axes")
	}
	return c, c.check()
}

const mostLayers = 256

// Widths of the text encoders of OpenCLIP ViT-H and ViT-bigG.
const openH, openBigG = 1024, 1280

func (c *Config) check() error {
	for _, field := range []struct {
		name    string
		v, most int
	}{{"vocab_size", c.VocabSize, 1 << 22}, {"hidden_size", c.HiddenSize, 1 << 16}, {"intermediate_size", c.IntermediateSize, 1 << 18},
		{"num_hidden_layers", c.Layers, mostLayers}, {"num_attention_heads", c.Heads, 1 << 10}, {"max_position_embeddings", c.MaxPositions, 1 << 16}} {
		if field.v <= 0 || field.v > field.most {
			return fmt.Errorf("the text encoder has %s = %d; a number from 1 to %d is wanted", field.name, field.v, field.most)
		}
	}
	if c.HiddenSize%c.Heads != 0 {
		return fmt.Errorf("the text encoder has hidden_size %d, which %d heads do not divide", c.HiddenSize, c.Heads)
	}
	if _, ok := activations[c.Activation]; !ok {
		return fmt.Errorf("the text encoder has hidden_act %q; quick_gelu and gelu are known", c.Activation)
	}
	return nil
}

var activations = map[string]compute.Act{"quick_gelu": compute.ActQuickGELU, "gelu": compute.ActGELU}

// Model is a text encoder with its weights.
type Model struct {
	Config
	token      *nn.Embedding
	extra      *nn.Embedding // token with the rows of Extend; nil without
	position   *nn.Param     // [MaxPositions HiddenSize]
	layers     []*layer
	final      *nn.LayerNorm
	projection *projection // nil in encoders without one
}

// projection takes the pooled state to the space that pictures share.
type projection struct {
	weight *nn.Param
	transB bool // the weight is [ProjectionDim HiddenSize], as in transformers, and not the other way round, as in OpenCLIP
}

// openProjection is the projection's name in OpenCLIP's layout.
const openProjection = "text_projection"

type layer struct {
	norm1, norm2 *nn.LayerNorm
	q, k, v, out *nn.Linear
	fc1, fc2     *nn.Linear
}

// New takes the encoder's tensors from s and reports all that do not fit.
func New(s *nn.Scope, c Config) (*Model, error) {
	t := s.At("text_model")
	m := &Model{
		Config:   c,
		token:    nn.NewEmbedding(t.At("embeddings", "token_embedding"), c.VocabSize, c.HiddenSize),
		position: t.At("embeddings", "position_embedding").Param("weight", nn.NormalInit(0.02), c.MaxPositions, c.HiddenSize),
		final:    nn.NewLayerNorm(t.At("final_layer_norm"), c.HiddenSize, c.Eps),
	}
	for i := range c.Layers {
		l := t.At("encoder", "layers", i)
		linear := func(name string, in, out int) *nn.Linear { return nn.NewLinear(l.At(name), in, out, true) }
		m.layers = append(m.layers, &layer{
			norm1: nn.NewLayerNorm(l.At("layer_norm1"), c.HiddenSize, c.Eps),
			norm2: nn.NewLayerNorm(l.At("layer_norm2"), c.HiddenSize, c.Eps),
			q:     linear("self_attn.q_proj", c.HiddenSize, c.HiddenSize),
			k:     linear("self_attn.k_proj", c.HiddenSize, c.HiddenSize),
			v:     linear("self_attn.v_proj", c.HiddenSize, c.HiddenSize),
			out:   linear("self_attn.out_proj", c.HiddenSize, c.HiddenSize),
			fc1:   linear("mlp.fc1", c.HiddenSize, c.IntermediateSize),
			fc2:   linear("mlp.fc2", c.IntermediateSize, c.HiddenSize),
		})
	}
	switch init := nn.UniformInit(c.HiddenSize); {
	case s.Shape("text_projection.weight") != nil:
		m.projection = &projection{s.Param("text_projection.weight", init, c.ProjectionDim, c.HiddenSize), true}
	case s.Shape(openProjection) != nil:
		m.projection = &projection{s.Param(openProjection, init, c.HiddenSize, c.ProjectionDim), false}
	}
	return m, s.Finish("position_ids")
}

// Extend adds rows of HiddenSize values to the token embedding, whose ids follow on from the vocabulary, in place of those
// that were added before: the learned vectors of textual inversion (Gal et al. 2022). No values take them away. Graphs that
// were recorded before keep what they had.
func (m *Model) Extend(values []float32) error {
	if m.extra = nil; len(values) == 0 {
		return nil
	}
	table, err := m.token.Table.WithAppended(values)
	if err != nil {
		return fmt.Errorf("the text encoder has vectors of %d numbers, and the embedding has %d numbers in all: it was made for another family: %w", m.HiddenSize, len(values), err)
	}
	m.extra = &nn.Embedding{Table: table}
	return nil
}

// Tokens is the number of ids that the encoder knows, with those of Extend.
func (m *Model) Tokens() int {
	if m.extra != nil {
		return m.extra.Table.Shape[0]
	}
	return m.VocabSize
}

// Output is everything that an encoder answers.
type Output struct {
	HiddenStates []*compute.Tensor // [B T C]: the embeddings, then after each layer, before the final norm
	Last         *compute.Tensor   // [B T C] after the final norm: last_hidden_state
	Pooled       *compute.Tensor   // [B C]: Last at the row that pool selects; nil where pool is
	Projected    *compute.Tensor   // [B ProjectionDim], or nil without a projection
}

// Forward encodes ids [B T], T ≤ MaxPositions. pool [B 1 T] holds one row each from PoolRow; nil skips pooling.
func (m *Model) Forward(ids, pool *compute.Tensor) Output { return m.Encode(m.Words(ids), pool) }

// Words looks up the vectors of ids [B T], [B T C].
func (m *Model) Words(ids *compute.Tensor) *compute.Tensor {
	if m.extra != nil {
		return m.extra.Forward(ids)
	}
	return m.token.Forward(ids)
}

// Encode is Forward for words [B T C] that were looked up, or learned beside the vocabulary.
func (m *Model) Encode(words, pool *compute.Tensor) Output {
	position := m.position.In(words)
	if t := words.Dim(1); t < m.MaxPositions {
		position = compute.Slice(position, 0, 0, t)
	}
	x := compute.Add(words, position)
	out := Output{HiddenStates: []*compute.Tensor{x}}
	for _, l := range m.layers {
		x = l.forward(x, m.Heads, activations[m.Activation])
		out.HiddenStates = append(out.HiddenStates, x)
	}
	out.Last = m.Final(x)
	if pool != nil {
		out.Pooled = compute.Reshape(compute.MatMul(pool, out.Last, compute.MatMulOpts{}), words.Dim(0), m.HiddenSize)
		if m.projection != nil {
			p := m.projection
			out.Projected = compute.MatMul(out.Pooled, p.weight.In(out.Pooled), compute.MatMulOpts{TransB: p.transB})
		}
	}
	return out
}

// Final is the norm after the last layer; "clip skip" applies it to an earlier hidden state.
func (m *Model) Final(x *compute.Tensor) *compute.Tensor { return m.final.Forward(x) }

func (l *layer) forward(x *compute.Tensor, heads int, act compute.Act) *compute.Tensor {
	h := l.norm1.Forward(x)
	a := compute.Attention(l.q.Forward(h), l.k.Forward(h), l.v.Forward(h), compute.AttentionOpts{Heads: heads, Causal: true})
	x = l.out.Fused(a, compute.ActNone, x)
	return l.fc2.Fused(l.fc1.Fused(l.norm2.Forward(x), act, nil), compute.ActNone, x)
}

// legacyEOS is the end-of-text id of configurations written before transformers 4.24, whatever the vocabulary's real one.
const legacyEOS = 2

// PoolRow fills row, one element per id, with 1 at the token whose state stands for the text, else 0: the first
// end-of-text token, or, where the configuration has the legacy id 2, the largest id.
func (m *Model) PoolRow(ids, row []float32) {
	at := 0
	for i, id := range ids {
		row[i] = 0
		if m.EOS == legacyEOS && id > ids[at] || m.EOS != legacyEOS && ids[at] != float32(m.EOS) && id == float32(m.EOS) {
			at = i
		}
	}
	if len(row) > 0 {
		row[at] = 1
	}
}
