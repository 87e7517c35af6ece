package gan

import (
	"fmt"
	"math"

	"atelier/compute"
	"atelier/models/nn"
)

// RRDB is the generator of ESRGAN (Wang et al. 2018) and of Real-ESRGAN and BSRGAN after it: residuals of residual dense
// blocks at the small size, then doublings by nearest neighbour, each with a convolution.
type RRDB struct {
	In, Out   int // channels of pictures
	Scale     int // enlargement along each axis
	unshuffle int // how much smaller the network works than its input, along each axis
	first     *nn.Conv2D
	blocks    [][3]*dense
	trunk     *nn.Conv2D
	ups       []*nn.Conv2D
	hr, last  *nn.Conv2D
}

// dense is five convolutions, each of which reads the block's input and what all before it made.
type dense struct {
	convs [5]*nn.Conv2D
	short *nn.Linear // nil but in ESRGAN+ (Rakotonirina & Rasoanaivo 2020): a 1×1 convolution of the input, added to the second
}

// layout is where a generation of files keeps the parts of the network.
type layout struct {
	first, block, trunk, hr, last string
	rdb                           string // of a block, with the number from 1
	conv                          string // of a dense block, with the number from 1
	ups                           []string
}

// layouts lists those in use but the oldest: Real-ESRGAN's and BSRGAN's.
var layouts = []layout{
	{"conv_first", "body.%d", "conv_body", "conv_hr", "conv_last", "rdb%d", "conv%d", []string{"conv_up1", "conv_up2", "conv_up3"}},
	{"conv_first", "RRDB_trunk.%d", "trunk_conv", "HRconv", "conv_last", "RDB%d", "conv%d", []string{"upconv1", "upconv2", "upconv3"}},
}

const (
	mostBlocks = 256
	leak       = 0.2 // of every activation
	residual   = 0.2 // the share of a block that is added to its input
)

// findLayout tells which layout a checkpoint has.
func findLayout(s *nn.Scope) (layout, bool) {
	for _, l := range layouts {
		if s.Has(fmt.Sprintf(l.block+"."+l.rdb+"."+l.conv+".weight", 0, 1, 1)) {
			return l, true
		}
	}
	if !s.Has("model.1.sub.0.RDB1.conv1.0.weight") {
		return layout{}, false
	}
	// ESRGAN's own: places in a sequence. After the blocks come convolutions only: one for each doubling, and two more.
	l := layout{first: "model.0", block: "model.1.sub.%d", rdb: "RDB%d", conv: "conv%d.0"}
	for n := range mostBlocks {
		if name := fmt.Sprintf("model.1.sub.%d", n); s.Has(name + ".weight") {
			l.trunk = name
			break
		}
	}
	const modules = 32
	for k := 2; k < modules; k++ {
		if name := fmt.Sprintf("model.%d", k); s.Has(name + ".weight") {
			l.ups = append(l.ups, name)
		}
	}
	n := len(l.ups)
	if n < 2 || l.trunk == "" {
		return l, false
	}
	l.ups, l.hr, l.last = l.ups[:n-2], l.ups[n-2], l.ups[n-1]
	return l, true
}

// NewRRDB takes the generator's tensors from s, in any of their layouts, and every size from their shapes.
func NewRRDB(s *nn.Scope) (*RRDB, error) {
	l, ok := findLayout(s)
	first, last := s.Shape(l.first+".weight"), s.Shape(l.last+".weight")
	if !ok || len(first) != 4 || len(last) != 4 || min(first[0], first[1], last[0]) < 1 {
		return nil, fmt.Errorf("the upscaler's weights are not an RRDB generator's: its first and last convolution and its dense blocks are wanted, in a layout of ESRGAN, Real-ESRGAN or BSRGAN")
	}
	g := &RRDB{Out: last[0], unshuffle: 1, Scale: 1}
	features, in := first[0], first[1]
	// Real-ESRGAN's models for ×1 and ×2 work on the input's pixels gathered into channels.
	if u := int(math.Round(math.Sqrt(float64(in) / float64(max(g.Out, 1))))); u > 1 && g.Out*u*u == in {
		g.unshuffle = u
	}
	g.In = in / (g.unshuffle * g.unshuffle)
	conv := func(name string, in, out int) *nn.Conv2D {
		return nn.NewConv2D(s.At(name), in, out, 3, 1, nn.Same(1))
	}
	g.first = conv(l.first, in, features)
	for n := 0; n < mostBlocks && s.Has(fmt.Sprintf(l.block+"."+l.rdb+"."+l.conv+".weight", n, 1, 1)); n++ {
		var b [3]*dense
		for k := range b {
			b[k] = newDense(s.At(fmt.Sprintf(l.block+"."+l.rdb, n, k+1)), l.conv, features)
		}
		g.blocks = append(g.blocks, b)
	}
	g.trunk = conv(l.trunk, features, features)
	for _, up := range l.ups {
		if s.Has(up + ".weight") {
			g.ups = append(g.ups, conv(up, features, features))
			g.Scale *= 2
		}
	}
	g.hr, g.last = conv(l.hr, features, features), conv(l.last, features, g.Out)
	if g.Scale%g.unshuffle != 0 {
		return nil, fmt.Errorf("the upscaler works at 1/%d of its input's size and enlarges %d times: this is no whole enlargement", g.unshuffle, g.Scale)
	}
	g.Scale /= g.unshuffle
	return g, s.Finish()
}

func newDense(s *nn.Scope, name string, features int) *dense {
	d := &dense{}
	grow := 0
	if w := s.Shape(fmt.Sprintf(name, 1) + ".weight"); len(w) == 4 {
		grow = w[0]
	}
	for k := range d.convs {
		out := grow
		if k == len(d.convs)-1 {
			out = features
		}
		d.convs[k] = nn.NewConv2D(s.At(fmt.Sprintf(name, k+1)), features+k*grow, out, 3, 1, nn.Same(1))
	}
	for _, short := range []string{"conv1x1", "conv1x1.0"} {
		if s.Has(short + ".weight") {
			d.short = nn.NewLinear(s.At(short), features, grow, false)
		}
	}
	return d
}

// Forward enlarges x [B H W In], values in [0, 1], to [B H·Scale W·Scale Out], roughly in the same range. A network that
// gathers pixels needs H and W to be multiples of Multiple.
func (g *RRDB) Forward(x *compute.Tensor) *compute.Tensor {
	if g.unshuffle > 1 {
		x = compute.PixelUnshuffle(x, g.unshuffle)
	}
	x = g.first.Forward(x)
	h := x
	for _, b := range g.blocks {
		y := h
		for _, d := range b {
			y = d.forward(y)
		}
		h = compute.Add(h, compute.Affine(y, residual, 0))
	}
	x = g.trunk.Fused(h, nil, x)
	for _, up := range g.ups {
		x = compute.LeakyReLU(up.Forward(compute.ResizeNearest(x, 2*x.Dim(1), 2*x.Dim(2))), leak)
	}
	return g.last.Forward(compute.LeakyReLU(g.hr.Forward(x), leak))
}

func (d *dense) forward(x *compute.Tensor) *compute.Tensor {
	made := []*compute.Tensor{x}
	for k, conv := range d.convs {
		in := x
		if k > 0 {
			in = compute.Concat(-1, made...)
		}
		y := conv.Forward(in)
		if k == len(d.convs)-1 {
			return compute.Add(x, compute.Affine(y, residual, 0))
		}
		y = compute.LeakyReLU(y, leak)
		switch {
		case d.short != nil && k == 1:
			y = compute.Add(y, d.short.Forward(x))
		case d.short != nil && k == 3:
			y = compute.Add(y, made[2])
		}
		made = append(made, y)
	}
	return x
}
