// Package cvae is variational autoencoders between a vector and a small picture, given what the picture is of (Kingma & Welling 2014,
// Sohn et al. 2015): the vector holds how a thing looks, the label what it is.
package cvae

import (
	"encoding/json"
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Class is the class name of such models in configurations.
const Class = "ConditionalVAE"

// Config is the sizes of a model.
type Config struct {
	nn.Pyramid
	LabelNames []string `json:"label_names"` // what each label is called, in order; empty without labels
}

// ParseConfig reads a config.json.
func ParseConfig(data []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("cvae: the configuration cannot be understood: %w", err)
	}
	if len(c.LabelNames) > 0 && len(c.LabelNames) != c.Labels {
		return c, fmt.Errorf("cvae: the configuration names %d labels and has %d", len(c.LabelNames), c.Labels)
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("cvae: the configuration cannot be: %w", err)
	}
	return c, nil
}

// Model is both halves.
type Model struct {
	Config
	encoder *nn.PyramidEncoder
	labels  *nn.Param // [Labels Features], nil without labels
	moments *nn.Linear
	decoder *nn.StyleDecoder
}

// New takes a model's tensors from s.
func New(s *nn.Scope, c Config) (*Model, error) {
	m := &Model{Config: c}
	e := s.At("encoder")
	m.encoder = nn.NewPyramidEncoder(e, c.Pyramid)
	if c.Labels > 0 {
		m.labels = e.Param("label_embedding.weight", nn.NormalInit(1), c.Labels, m.encoder.Features())
	}
	m.moments = nn.NewLinear(e.At("moments"), m.encoder.Features(), 2*c.Latent, true)
	m.decoder = nn.NewStyleDecoder(s.At("decoder"), c.Pyramid)
	return m, s.Finish()
}

// Encode maps pictures x [B Size Size Pixels] in [−1, 1] and, with labels, label [B] to the mean and the logarithm of the variance
// of their vectors, [B Latent] both.
func (m *Model) Encode(x, label *compute.Tensor) (mean, logvar *compute.Tensor) {
	h := m.encoder.Forward(x)
	if m.labels != nil {
		h = compute.Add(h, compute.Embedding(m.labels.In(x), label))
	}
	y := m.moments.Forward(h)
	return compute.Slice(y, 1, 0, m.Latent), compute.Clamp(compute.Slice(y, 1, m.Latent, 2*m.Latent), -12, 8)
}

// Forward maps vectors z [B Latent] and, with labels, label [B] to pictures [B Size Size Pixels] in (−1, 1); with four channels they are
// premultiplied by alpha.
func (m *Model) Forward(z, label *compute.Tensor) *compute.Tensor {
	return compute.Tanh(m.decoder.Forward(z, label))
}

// Sample is a vector drawn by key from the normal distribution with these moments.
func Sample(mean, logvar, key *compute.Tensor) *compute.Tensor {
	noise := compute.RandomNormal(key, mean.Shape()...)
	return compute.Add(mean, compute.Mul(compute.Exp(compute.Affine(logvar, 0.5, 0)), noise))
}

// Loss is the evidence bound's two parts for pictures x and what became of them y: the squared error, summed over a picture, and the
// divergence of the vectors' distributions from the standard normal one; both the mean over pictures, each counted by its weight [B].
func Loss(x, y, mean, logvar, weight *compute.Tensor) (reconstruction, divergence *compute.Tensor) {
	b := x.Dim(0)
	error := compute.SumSquares(compute.Reshape(compute.Sub(x, y), b, -1), false, 1)
	terms := compute.Sub(compute.Add(compute.Square(mean), compute.Exp(logvar)), compute.Affine(logvar, 1, 1))
	counted := func(each *compute.Tensor) *compute.Tensor { return compute.Mean(compute.Mul(each, weight), false) }
	return counted(error), compute.Affine(counted(compute.Sum(terms, false, 1)), 0.5, 0)
}
