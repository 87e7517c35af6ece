// Package flow is normalising flows: networks that can be run both ways, and that give every picture its exact probability. This one
// is Glow (Kingma & Dhariwal 2018), whose steps are RealNVP's couplings (Dinh et al. 2017) between learned mixtures of channels.
package flow

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"atelier/compute"
	"atelier/models/nn"
)

// Class is the class name of such models in configurations.
const Class = "Glow"

// Config is the sizes of a flow.
type Config struct {
	Size       int      `json:"size"`        // pixels along a side, a multiple of 2^Levels
	Pixels     int      `json:"pixels"`      // channels of pictures
	Levels     int      `json:"levels"`      // of detail; after each but the last, half of the channels is done
	Steps      int      `json:"steps"`       // at each level
	Hidden     int      `json:"hidden"`      // channels within a coupling
	Labels     int      `json:"labels"`      // kinds of pictures that may be asked for; 0 for none
	LabelNames []string `json:"label_names"` // what each label is called, in order; empty without labels
}

// ParseConfig reads a config.json.
func ParseConfig(data []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("flow: the configuration cannot be understood: %w", err)
	}
	return c, c.Check()
}

// Check says what is wrong with the sizes.
func (c *Config) Check() error {
	switch {
	case c.Levels < 1 || c.Levels > 8 || c.Steps < 1 || c.Steps > 128 || c.Hidden < 1 || c.Hidden > 4096:
		return fmt.Errorf("flow: %d levels of %d steps with %d channels are not within 8, 128 and 4096", c.Levels, c.Steps, c.Hidden)
	case c.Size < 1<<c.Levels || c.Size > 1024 || c.Size%(1<<c.Levels) != 0:
		return fmt.Errorf("flow: pictures of %d pixels a side cannot be halved %d times", c.Size, c.Levels)
	case c.Pixels != 1 && c.Pixels != 3 && c.Pixels != 4:
		return fmt.Errorf("flow: pictures have 1, 3 or 4 channels, not %d", c.Pixels)
	case c.Labels < 0 || c.Labels > 1<<16 || len(c.LabelNames) > 0 && len(c.LabelNames) != c.Labels:
		return fmt.Errorf("flow: %d labels with %d names cannot be", c.Labels, len(c.LabelNames))
	}
	return nil
}

// Model is a flow.
type Model struct {
	Config
	levels [][]*step
}

// step is a scaling of each channel, a mixture of them, and a coupling.
type step struct {
	channels      int
	scale, offset *nn.Param // [C]: (x + offset)·exp(scale)
	lower, upper  *nn.Param // [C C], of which the triangles beside the diagonal count
	diagonal      *nn.Param // [C], its logarithm
	in, mid, out  *nn.Conv2D
	amount        *nn.Param // [2·C/2] by which the coupling's network counts; it starts at 0
	labels        *nn.Embedding
}

// New takes a flow's tensors from s.
func New(s *nn.Scope, c Config) (*Model, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	m := &Model{Config: c}
	channels := c.Pixels
	for l := range c.Levels {
		channels *= 4
		var steps []*step
		for k := range c.Steps {
			steps = append(steps, newStep(s.At("levels", l, "steps", k), channels, c))
		}
		m.levels = append(m.levels, steps)
		if l < c.Levels-1 {
			channels /= 2
		}
	}
	return m, s.Finish()
}

func newStep(s *nn.Scope, c int, config Config) *step {
	half := c / 2
	st := &step{
		channels: c,
		scale:    s.Param("norm.scale", nn.ConstInit(0), c), offset: s.Param("norm.offset", nn.ConstInit(0), c),
		lower: s.Param("mix.lower", nn.NormalInit(0.02), c, c), upper: s.Param("mix.upper", nn.NormalInit(0.02), c, c),
		diagonal: s.Param("mix.diagonal", nn.ConstInit(0), c),
		in:       nn.NewConv2D(s.At("coupling", 0), half, config.Hidden, 3, 1, nn.Same(1)),
		mid:      nn.NewConv2D(s.At("coupling", 1), config.Hidden, config.Hidden, 1, 1, nn.Same(0)),
		out:      nn.NewConv2D(s.At("coupling", 2), config.Hidden, 2*(c-half), 3, 1, nn.Same(1)),
		amount:   s.Param("coupling.amount", nn.ConstInit(0), 2*(c-half)),
	}
	if config.Labels > 0 {
		st.labels = &nn.Embedding{Table: s.Param("coupling.label_embedding.weight", nn.NormalInit(0.05), config.Labels, config.Hidden)}
	}
	return st
}

// Forward maps pictures x [B Size Size Pixels], and with labels label [B], to what is normally distributed, one tensor for each level, and to the
// logarithm of the determinant of the map's Jacobian, [B].
func (m *Model) Forward(x, label *compute.Tensor) (z []*compute.Tensor, logdet *compute.Tensor) {
	return m.forward(x, label, func(*step, *compute.Tensor) {})
}

// Starts are the values of scales and offsets by which every channel of pictures x and labels label, as Forward takes them, is of zero
// mean and unit variance after each scaling: what training best begins with (Kingma & Dhariwal 2018, §3.1). Nothing else may be recorded
// in the graph, where they take the parameters' places.
func (m *Model) Starts(x, label *compute.Tensor) map[*nn.Param]*compute.Tensor {
	starts := map[*nn.Param]*compute.Tensor{}
	m.forward(x, label, func(s *step, x *compute.Tensor) {
		starts[s.offset] = compute.Neg(compute.Mean(x, false, 0, 1, 2))
		deviation := compute.Sqrt(compute.Mean(compute.Square(compute.Add(x, starts[s.offset])), false, 0, 1, 2))
		starts[s.scale] = compute.Neg(compute.Log(compute.Affine(deviation, 1, leastDeviation)))
		for _, p := range []*nn.Param{s.offset, s.scale} {
			x.Graph().Bind(p.Source, starts[p])
		}
	})
	return starts
}

// leastDeviation is added to deviations, since a channel may be the same everywhere.
const leastDeviation = 1e-6

// forward is Forward with something done before each step.
func (m *Model) forward(x, label *compute.Tensor, before func(*step, *compute.Tensor)) (z []*compute.Tensor, logdet *compute.Tensor) {
	b := x.Dim(0)
	logdet = x.Graph().Const("no volume yet", make([]float32, b), b)
	for l, steps := range m.levels {
		x = compute.PixelUnshuffle(x, 2)
		for i, s := range steps {
			var d *compute.Tensor
			before(s, x)
			x, d = s.forward(x, label, i)
			logdet = compute.Add(logdet, d)
		}
		if l < len(m.levels)-1 {
			c := x.Dim(-1)
			z = append(z, compute.Slice(x, 3, c/2, c))
			x = compute.Slice(x, 3, 0, c/2)
		}
	}
	return append(z, x), logdet
}

// forward is one step and its log determinant [B].
func (s *step) forward(x, label *compute.Tensor, index int) (y, logdet *compute.Tensor) {
	b, pixels := x.Dim(0), float64(x.Dim(1)*x.Dim(2))
	x = compute.Mul(compute.Add(x, s.offset.In(x)), compute.Exp(s.scale.In(x)))
	x = compute.MatMul(x, s.mixture(x, index), compute.MatMulOpts{TransB: true})
	same := compute.Affine(compute.Add(compute.Sum(s.scale.In(x), false), compute.Sum(s.diagonal.In(x), false)), pixels, 0)
	half := s.channels / 2
	kept, changed := compute.Slice(x, 3, 0, half), compute.Slice(x, 3, half, s.channels)
	logScale, shift := s.coupling(kept, label)
	changed = compute.Mul(compute.Add(changed, shift), compute.Exp(logScale))
	own := compute.Sum(compute.Reshape(logScale, b, -1), false, 1)
	return compute.Concat(3, kept, changed), compute.Add(own, same)
}

// coupling gives the logarithm of the scale, at most 0, and the shift of the other half of the channels.
func (s *step) coupling(kept, label *compute.Tensor) (logScale, shift *compute.Tensor) {
	var bias *compute.Tensor
	h := s.in.Forward(kept)
	if s.labels != nil {
		bias = compute.Reshape(s.labels.Forward(label), kept.Dim(0), 1, 1, -1)
		h = compute.Add(h, bias)
	}
	h = compute.ReLU(s.mid.Forward(compute.ReLU(h)))
	y := compute.Mul(s.out.Forward(h), s.amount.In(kept))
	n := s.channels - s.channels/2
	raw := compute.Affine(compute.Slice(y, 3, 0, n), 1, 2)
	return compute.Neg(compute.Softplus(compute.Neg(raw))), compute.Slice(y, 3, n, 2*n) // log sigmoid(raw)
}

// order is the fixed permutation of a step's channels, an even number: reversed, and every second time also shuffled like cards.
func order(channels, index int) []int {
	p := make([]int, channels)
	for i := range p {
		p[i] = channels - 1 - i
		if index%2 == 1 {
			p[i] = (p[i]*2 + p[i]*2/channels) % channels
		}
	}
	return p
}

// mixture is the matrix [C C] that mixes channels, P·L·(U + diag(exp(diagonal))): its determinant is the diagonal's.
func (s *step) mixture(x *compute.Tensor, index int) *compute.Tensor {
	g, c := x.Graph(), s.channels
	lowerMask, upperMask, eye, perm := make([]float32, c*c), make([]float32, c*c), make([]float32, c*c), make([]float32, c*c)
	for i := range c {
		eye[i*c+i] = 1
		for j := range i {
			lowerMask[i*c+j], upperMask[j*c+i] = 1, 1
		}
	}
	for i, from := range order(c, index) {
		perm[i*c+from] = 1
	}
	one := g.Const("identity", eye, c, c)
	l := compute.Add(compute.Mul(s.lower.In(x), g.Const("below the diagonal", lowerMask, c, c)), one)
	u := compute.Add(compute.Mul(s.upper.In(x), g.Const("above the diagonal", upperMask, c, c)), compute.Mul(compute.Exp(s.diagonal.In(x)), one))
	return compute.MatMul(g.Const("permutation", perm, c, c), compute.MatMul(l, u, compute.MatMulOpts{}), compute.MatMulOpts{})
}

// Inverse maps what Forward gives, and with labels label [B], back to pictures. The mixtures are inverted here, from the parameters' values as
// their Sources read them now, so a graph with it is of one moment of a training.
func (m *Model) Inverse(z []*compute.Tensor, label *compute.Tensor) (*compute.Tensor, error) {
	if len(z) != m.Levels {
		return nil, fmt.Errorf("flow: %d tensors for %d levels", len(z), m.Levels)
	}
	x := z[m.Levels-1]
	for l := m.Levels - 1; l >= 0; l-- {
		if l < m.Levels-1 {
			x = compute.Concat(3, x, z[l])
		}
		for i := m.Steps - 1; i >= 0; i-- {
			var err error
			if x, err = m.levels[l][i].inverse(x, label, i); err != nil {
				return nil, err
			}
		}
		x = compute.PixelShuffle(x, 2)
	}
	return x, nil
}

func (s *step) inverse(y, label *compute.Tensor, index int) (*compute.Tensor, error) {
	half := s.channels / 2
	kept, changed := compute.Slice(y, 3, 0, half), compute.Slice(y, 3, half, s.channels)
	logScale, shift := s.coupling(kept, label)
	changed = compute.Sub(compute.Mul(changed, compute.Exp(compute.Neg(logScale))), shift)
	x := compute.Concat(3, kept, changed)
	w, err := s.inverseMixture(index)
	if err != nil {
		return nil, err
	}
	x = compute.MatMul(x, y.Graph().Const("inverse mixture", w, s.channels, s.channels), compute.MatMulOpts{TransB: true})
	return compute.Sub(compute.Mul(x, compute.Exp(compute.Neg(s.scale.In(y)))), s.offset.In(y)), nil
}

// inverseMixture is mixture's inverse, in float64: U⁻¹·L⁻¹·Pᵀ by substitution.
func (s *step) inverseMixture(index int) ([]float32, error) {
	c := s.channels
	lower, upper, diagonal := make([]float32, c*c), make([]float32, c*c), make([]float32, c)
	for p, to := range map[*nn.Param][]float32{s.lower: lower, s.upper: upper, s.diagonal: diagonal} {
		if err := p.Source.Read(to); err != nil {
			return nil, err
		}
	}
	out := make([]float32, c*c)
	column := make([]float64, c)
	for j, to := range inverseOrder(order(c, index)) {
		clear(column)
		column[j] = 1
		for i := range c { // L
			for k := range i {
				column[i] -= float64(lower[i*c+k]) * column[k]
			}
		}
		for i := c - 1; i >= 0; i-- { // U
			for k := i + 1; k < c; k++ {
				column[i] -= float64(upper[i*c+k]) * column[k]
			}
			column[i] /= math.Exp(float64(diagonal[i]))
		}
		for i, v := range column {
			if out[i*c+to] = float32(v); math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, errors.New("flow: a mixture of channels cannot be inverted; the weights are damaged or their training failed")
			}
		}
	}
	return out, nil
}

// inverseOrder tells for each channel before the permutation its place after it.
func inverseOrder(p []int) []int {
	inv := make([]int, len(p))
	for i, from := range p {
		inv[from] = i
	}
	return inv
}

// Shapes are the shapes of Forward's results for b pictures.
func (m *Model) Shapes(b int) [][]int {
	var out [][]int
	size, c := m.Size, m.Pixels
	for l := range m.Levels {
		size, c = size/2, 4*c
		if l < m.Levels-1 {
			c /= 2
		}
		out = append(out, []int{b, size, size, c})
	}
	return out
}

// Dequantise spreads pictures of 256 values, x [B H W C] in [−1, 1], evenly over their steps by noise of the same shape in [0, 1), into
// [−½, ½): what a density can be given for (Theis et al. 2016).
func Dequantise(x, noise *compute.Tensor) *compute.Tensor {
	return compute.Affine(compute.Add(compute.Affine(x, 127.5, 127.5), noise), 1.0/256, -0.5)
}

// Quantised turns what Inverse gives back into pictures in [−1, 1].
func Quantised(x *compute.Tensor) *compute.Tensor {
	return compute.Clamp(compute.Affine(compute.Floor(compute.Affine(compute.Clamp(x, -0.5, 0.5), 256, 128)), 1/127.5, -1), -1, 1)
}

// Bits is what a number of each picture costs in bits, [B]: the negative log likelihood of pictures of which Forward gave z and logdet
// after Dequantise, over the count of their numbers ("bits per dimension").
func (m *Model) Bits(z []*compute.Tensor, logdet *compute.Tensor) *compute.Tensor {
	nats := compute.Neg(logdet)
	for _, t := range z {
		nats = compute.Add(nats, compute.Affine(compute.SumSquares(compute.Reshape(t, t.Dim(0), -1), false, 1), 0.5, 0))
	}
	return compute.Affine(nats, 1/(float64(m.Size*m.Size*m.Pixels)*math.Ln2), 8+0.5*math.Log2(2*math.Pi))
}
