package gan

import (
	"encoding/json"
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// StyleConfig is the sizes of a generator of small pictures.
type StyleConfig struct {
	nn.Pyramid
	LabelNames []string `json:"label_names"` // what each label is called, in order; empty without labels
}

// StyleClass is the class name of such generators in configurations.
const StyleClass = "StyleGenerator"

// ParseStyleConfig reads a config.json.
func ParseStyleConfig(data []byte) (StyleConfig, error) {
	var c StyleConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("gan: the generator's configuration cannot be understood: %w", err)
	}
	if len(c.LabelNames) > 0 && len(c.LabelNames) != c.Labels {
		return c, fmt.Errorf("gan: the generator's configuration names %d labels and has %d", len(c.LabelNames), c.Labels)
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("gan: the generator's configuration cannot be: %w", err)
	}
	return c, nil
}

// Generator makes pictures of noise.
type Generator struct {
	StyleConfig
	decoder *nn.StyleDecoder
}

// NewGenerator takes a generator's tensors from s.
func NewGenerator(s *nn.Scope, c StyleConfig) (*Generator, error) {
	g := &Generator{c, nn.NewStyleDecoder(s, c.Pyramid)}
	return g, s.Finish()
}

// Forward maps noise z [B Latent] and, with labels, label [B] to pictures [B Size Size Pixels] in (−1, 1); with four channels they
// are premultiplied by alpha.
func (g *Generator) Forward(z, label *compute.Tensor) *compute.Tensor {
	return compute.Tanh(g.decoder.Forward(z, label))
}

// Discriminator tells real pictures from a generator's: positive means real.
type Discriminator struct {
	encoder *nn.PyramidEncoder
	score   *nn.Linear
	labels  *nn.Param // [Labels Features], nil without labels
}

// NewDiscriminator takes a discriminator's tensors from s.
func NewDiscriminator(s *nn.Scope, p nn.Pyramid) (*Discriminator, error) {
	d := &Discriminator{encoder: nn.NewPyramidEncoder(s, p)}
	d.score = nn.NewLinear(s.At("score"), d.encoder.Features(), 1, true)
	if p.Labels > 0 {
		d.labels = s.Param("label_embedding.weight", nn.NormalInit(0.02), p.Labels, d.encoder.Features())
	}
	return d, s.Finish()
}

// Forward maps pictures x [B Size Size Pixels] and, with labels, label [B] to scores [B 1]; a label's share is its vector's product with the
// picture's (Miyato & Koyama 2018).
func (d *Discriminator) Forward(x, label *compute.Tensor) *compute.Tensor {
	h := d.encoder.Forward(x)
	y := d.score.Forward(h)
	if d.labels != nil {
		own := compute.Embedding(d.labels.In(x), label)
		y = compute.Add(y, compute.Sum(compute.Mul(h, own), true, 1))
	}
	return y
}

// DiscriminatorLoss is the non-saturating loss of scores [B 1] of real and of made pictures (Goodfellow et al. 2014).
func DiscriminatorLoss(real, made *compute.Tensor) *compute.Tensor {
	return compute.Add(compute.Mean(compute.Softplus(compute.Neg(real)), false), compute.Mean(compute.Softplus(made), false))
}

// GeneratorLoss is the non-saturating loss of scores [B 1] of made pictures.
func GeneratorLoss(made *compute.Tensor) *compute.Tensor {
	return compute.Mean(compute.Softplus(compute.Neg(made)), false)
}

// R1 is the mean squared length of the gradient of scores [B 1] by the real pictures x [B …] that they are of, halved: what the
// discriminator is penalised by, times γ (Mescheder et al. 2018).
func R1(score, x *compute.Tensor) *compute.Tensor {
	d := compute.Grad(compute.Sum(score, false), x)[0]
	return compute.Affine(compute.SumSquares(d, false), 0.5/float64(x.Dim(0)), 0)
}
