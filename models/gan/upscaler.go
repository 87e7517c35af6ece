package gan

import (
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Upscaler is a generator of any kind that enlarges pictures.
type Upscaler struct {
	Channels int // of pictures, in and out
	Scale    int // enlargement along each axis
	Multiple int // width and height of its input are multiples of this
	forward  func(x *compute.Tensor) *compute.Tensor
}

// wrappers are what training code may have put before every name.
var wrappers = []string{"", "params_ema", "params", "generator", "module", "netG"}

// find gives the scope below which a generator lies, and whether it is a compact one.
func find(s *nn.Scope) (at *nn.Scope, compact, ok bool) {
	for _, w := range wrappers {
		at = s.At(w)
		if _, rrdb := findLayout(at); rrdb {
			return at, false, true
		}
		if at.Has("body.0.weight") && (at.Has("body.1.weight") || at.Has("body.2.weight")) {
			return at, true, true
		}
	}
	return s, false, false
}

// Detect reports whether a checkpoint holds a generator that NewUpscaler knows.
func Detect(s *nn.Scope) bool {
	_, _, ok := find(s)
	return ok
}

// NewUpscaler takes a generator's tensors from s and tells its kind and every size from their names and shapes.
func NewUpscaler(s *nn.Scope) (*Upscaler, error) {
	at, compact, ok := find(s)
	if !ok {
		return nil, fmt.Errorf("these weights are not an upscaler that this program knows: RRDB generators (ESRGAN, Real-ESRGAN, BSRGAN) and compact ones (SRVGGNetCompact) are")
	}
	if compact {
		c, err := NewCompact(at)
		if err != nil {
			return nil, err
		}
		return &Upscaler{c.Channels, c.Scale, 1, c.Forward}, nil
	}
	g, err := NewRRDB(at)
	if err != nil {
		return nil, err
	}
	if g.In != g.Out {
		return nil, fmt.Errorf("the upscaler reads pictures of %d channels and gives %d; as many are wanted", g.In, g.Out)
	}
	return &Upscaler{g.Out, g.Scale, g.unshuffle, g.Forward}, nil
}

// Forward enlarges x [B H W Channels], values in [0, 1], to [B H·Scale W·Scale Channels], roughly in the same range.
func (u *Upscaler) Forward(x *compute.Tensor) *compute.Tensor { return u.forward(x) }
