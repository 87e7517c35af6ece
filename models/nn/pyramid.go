package nn

import (
	"fmt"

	"atelier/compute"
)

// Pyramid is the sizes of a network between a vector and a small square picture: convolutions at 4 × 4, 8 × 8 and so on, twice
// as large each time. Generators and encoders of vectors share it.
type Pyramid struct {
	Size     int   `json:"size"`     // pixels along a side: 4 doubled len(Channels) − 1 times
	Channels []int `json:"channels"` // at 4 × 4 first
	Pixels   int   `json:"pixels"`   // channels of pictures
	Latent   int   `json:"latent"`   // length of the vector
	Style    int   `json:"style"`    // length of the style that a generator makes of it
	Labels   int   `json:"labels"`   // kinds of pictures that may be asked for; 0 for none
}

// Limits of a pyramid: beyond these a configuration is a mistake.
const mostLevels, mostWidth, mostLabels = 9, 4096, 1 << 16

// Check says what is wrong with the sizes.
func (p *Pyramid) Check() error {
	n := len(p.Channels)
	switch {
	case n < 1 || n > mostLevels || p.Size != 4<<(n-1):
		return fmt.Errorf("a pyramid of %d levels makes pictures of %d × %d pixels, not %d × %d", n, 4<<max(min(n, mostLevels)-1, 0), 4<<max(min(n, mostLevels)-1, 0), p.Size, p.Size)
	case p.Pixels != 1 && p.Pixels != 3 && p.Pixels != 4:
		return fmt.Errorf("pictures have 1, 3 or 4 channels, not %d", p.Pixels)
	case p.Latent < 1 || p.Latent > mostWidth || p.Style < 1 || p.Style > mostWidth:
		return fmt.Errorf("a vector of %d numbers and a style of %d are not within 1 to %d", p.Latent, p.Style, mostWidth)
	case p.Labels < 0 || p.Labels > mostLabels:
		return fmt.Errorf("%d labels are not within 0 to %d", p.Labels, mostLabels)
	}
	for _, c := range p.Channels {
		if c < 1 || c > mostWidth {
			return fmt.Errorf("a level of %d channels is not within 1 to %d", c, mostWidth)
		}
	}
	return nil
}

// leak is the slope of leaky ReLUs below 0, and gain what follows them, which keeps the variance of activations where weights
// start from UniformInit: 1/(3·fanIn), of which a leaky ReLU leaves 0.52.
const leak, gain = 0.2, 2.4

func leaky(x *compute.Tensor) *compute.Tensor {
	return compute.Affine(compute.LeakyReLU(x, leak), gain, 0)
}

// StyleDecoder makes pictures of vectors: a small network turns the vector and the label into a style, and every convolution's result,
// normalised channel by channel, is scaled and shifted by the style (adaptive instance normalisation; Karras et al. 2019,
// without its noise).
type StyleDecoder struct {
	Pyramid
	labels     *Embedding // nil without labels
	map1, map2 *Linear
	start      *Param // [4 4 C]
	levels     []*styledLevel
	out        *Conv2D
}

type styledLevel struct {
	conv  [2]*Conv2D
	style [2]*Linear // [style] → scale and shift of each channel
}

// NewStyleDecoder takes label_embedding, mapping.0, mapping.1, start, levels.N.conv.K, levels.N.style.K and out from s.
func NewStyleDecoder(s *Scope, p Pyramid) *StyleDecoder {
	d := &StyleDecoder{Pyramid: p}
	in := p.Latent
	if p.Labels > 0 {
		d.labels = &Embedding{s.Param("label_embedding.weight", NormalInit(1), p.Labels, p.Latent)}
		in *= 2
	}
	d.map1, d.map2 = NewLinear(s.At("mapping", 0), in, p.Style, true), NewLinear(s.At("mapping", 1), p.Style, p.Style, true)
	before := p.Channels[0]
	d.start = s.Param("start", NormalInit(1), 4, 4, before)
	for i, c := range p.Channels {
		l := &styledLevel{}
		for k := range l.conv {
			from := c
			if k == 0 {
				from = before
			}
			at := s.At("levels", i)
			l.conv[k] = NewConv2D(at.At("conv", k), from, c, 3, 1, Same(1))
			l.style[k] = NewLinear(at.At("style", k), p.Style, 2*c, true)
		}
		d.levels, before = append(d.levels, l), c
	}
	d.out = NewConv2D(s.At("out"), before, p.Pixels, 1, 1, Same(0))
	return d
}

// Forward maps z [B Latent] and, with labels, label [B] to pictures [B Size Size Pixels], whose range is the caller's to give.
func (d *StyleDecoder) Forward(z, label *compute.Tensor) *compute.Tensor {
	if d.labels != nil {
		z = compute.Concat(1, z, d.labels.Forward(label))
	}
	w := leaky(d.map2.Forward(leaky(d.map1.Forward(z))))
	b := z.Dim(0)
	x := compute.BroadcastTo(d.start.In(z), b, 4, 4, d.Channels[0])
	for i, l := range d.levels {
		if i > 0 {
			x = compute.ResizeNearest(x, 2*x.Dim(1), 2*x.Dim(2))
		}
		for k, conv := range l.conv {
			c := d.Channels[i]
			x = compute.InstanceNorm(compute.LeakyReLU(conv.Forward(x), leak), nil, nil, 1e-5)
			style := compute.Reshape(l.style[k].Forward(w), b, 1, 1, 2*c)
			x = compute.Add(compute.Mul(x, compute.Affine(compute.Slice(style, 3, 0, c), 1, 1)), compute.Slice(style, 3, c, 2*c))
		}
	}
	return d.out.Forward(x)
}

// PyramidEncoder makes vectors of pictures: convolutions and leaky ReLUs alone, so that gradients of its gradients exist.
type PyramidEncoder struct {
	Pyramid
	in, fc *layerPair
	levels []*layerPair
}

// layerPair is a convolution and what follows it, or a matrix.
type layerPair struct {
	conv, down *Conv2D
	linear     *Linear
}

// NewPyramidEncoder takes in, levels.N.conv, levels.N.down and features from s.
func NewPyramidEncoder(s *Scope, p Pyramid) *PyramidEncoder {
	e := &PyramidEncoder{Pyramid: p}
	n := len(p.Channels)
	e.in = &layerPair{conv: NewConv2D(s.At("in"), p.Pixels, p.Channels[n-1], 3, 1, Same(1))}
	for i := n - 1; i > 0; i-- {
		at := s.At("levels", i)
		e.levels = append(e.levels, &layerPair{
			conv: NewConv2D(at.At("conv"), p.Channels[i], p.Channels[i], 3, 1, Same(1)),
			down: NewConv2D(at.At("down"), p.Channels[i], p.Channels[i-1], 3, 2, Same(1)),
		})
	}
	e.fc = &layerPair{linear: NewLinear(s.At("features"), 16*p.Channels[0], e.Features(), true)}
	return e
}

// Features is the length of the vectors.
func (e *PyramidEncoder) Features() int { return 2 * e.Channels[0] }

// Forward maps pictures [B Size Size Pixels] to vectors [B Features].
func (e *PyramidEncoder) Forward(x *compute.Tensor) *compute.Tensor {
	h := leaky(e.in.conv.Forward(x))
	for _, l := range e.levels {
		h = leaky(l.down.Forward(leaky(l.conv.Forward(h))))
	}
	return leaky(e.fc.linear.Forward(compute.Reshape(h, x.Dim(0), 16*e.Channels[0])))
}
