// Package gan is the generators that enlarge pictures in one step.
package gan

import (
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Compact is the generator of Real-ESRGAN's "compact" line, SRVGGNetCompact (Wang et al. 2021): convolutions with
// parametric ReLUs at the small size, a pixel shuffle, and the enlarged input added.
type Compact struct {
	Channels int // of pictures
	Features int
	Scale    int // enlargement along each axis
	convs    []*nn.Conv2D
	slopes   []*nn.Param // after every convolution but the last; nil in generators with plain ReLUs
}

// NewCompact takes the generator's tensors, body.0, body.1, …, from s, and every size from their shapes. Convolutions are at
// even places; between them are slopes, or, in generators with plain ReLUs, nothing.
func NewCompact(s *nn.Scope) (*Compact, error) {
	const most = 1024
	body := s.At("body")
	first := body.Shape("0.weight")
	n := 0 // modules
	for k := range most {
		if body.Shape(fmt.Sprintf("%d.weight", k)) != nil {
			n = k + 1
		}
	}
	if len(first) != 4 || first[0] < 1 || first[1] < 1 || n%2 == 0 {
		return nil, fmt.Errorf("the upscaler's weights are not a compact generator's: body.0.weight, body.1.weight and so on are wanted, an odd number of them, and there are %d", n)
	}
	c := &Compact{Features: first[0], Channels: first[1]}
	last := body.Shape(fmt.Sprintf("%d.weight", n-1))
	for c.Scale = 1; len(last) == 4 && c.Channels*c.Scale*c.Scale < last[0]; c.Scale++ {
	}
	if len(last) != 4 || c.Channels*c.Scale*c.Scale != last[0] {
		return nil, fmt.Errorf("the upscaler's last convolution has shape %v, which makes no whole enlargement of %d channels", last, c.Channels)
	}
	slopes := body.Shape("1.weight") != nil
	in := c.Channels
	for i := 0; i < n; i += 2 {
		out := c.Features
		if i == n-1 {
			out = last[0]
		}
		c.convs = append(c.convs, nn.NewConv2D(body.At(i), in, out, 3, 1, nn.Same(1)))
		if i < n-1 && slopes {
			c.slopes = append(c.slopes, body.At(i+1).Param("weight", nn.ConstInit(0.25), out))
		}
		in = out
	}
	return c, s.Finish()
}

// Forward enlarges x [B H W Channels], values in [0, 1], to [B H·Scale W·Scale Channels], roughly in the same range.
func (c *Compact) Forward(x *compute.Tensor) *compute.Tensor {
	h := x
	for i, conv := range c.convs {
		h = conv.Forward(h)
		switch {
		case i == len(c.convs)-1:
		case c.slopes != nil:
			h = compute.PReLU(h, c.slopes[i].In(h))
		default:
			h = compute.ReLU(h)
		}
	}
	return compute.Add(compute.PixelShuffle(h, c.Scale), compute.ResizeNearest(x, c.Scale*x.Dim(1), c.Scale*x.Dim(2)))
}
