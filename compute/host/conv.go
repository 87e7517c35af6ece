package host

import (
	"atelier/compute"
	"atelier/compute/host/vector"
)

// convolution is the left side of a conv2d node's product: rows are pixels of the result, terms what the kernel sees there,
// read where it lies.
type convolution struct {
	x              []float32
	h, w, ci       int
	ho, wo, pixels int
	stride         [2]int
	dilation       [2]int
	top, left      int
	outside        []float32 // zeros for a row of the kernel
}

// conv2D gives a conv2d node as a dense product, nil where its definition serves: in several groups, or where it is small.
func (e *executable) conv2D(s step) func() error {
	at := s.node.Attr.(*compute.ConvAttr)
	x, w, y := s.node.In[0].Shape(), s.node.In[1].Shape(), s.node.Shape()
	kh, kw, taps := w[1], w[2], w[1]*w[2]*w[3]
	c := &convolution{
		x: s.in[0], h: x[1], w: x[2], ci: x[3], ho: y[1], wo: y[2], pixels: y[0] * y[1] * y[2],
		stride: at.Stride, dilation: at.Dilation, top: at.Pad[0], left: at.Pad[2],
	}
	co := y[3]
	if at.Groups > 1 || c.pixels*co*taps < smallProduct {
		return nil
	}
	ep := epilogue{act: at.Act, columns: co}
	rest := s.in[2:]
	if at.Bias {
		ep.bias, ep.biasRows, rest = rest[0], c.pixels, rest[1:]
		if len(s.node.In[2].Shape()) == 2 {
			ep.biasRows = c.ho * c.wo
		}
	}
	if at.Residual {
		ep.residual = rest[0]
	}
	right := e.right(s, taps, co, true)
	if pointwise(s.node) {
		return newGemm(e.device, c.pixels, &matrixLeft{c.x, c.pixels, c.ci}, c.ci, matrixBlocks(c.ci), right, s.out, co, ep).run
	}
	c.outside = make([]float32, kw*c.ci)
	return newGemm(e.device, c.pixels, c, c.ci*at.Stride[0]*at.Stride[1], c.blocks(kh, kw), right, s.out, co, ep).run
}

// pointwise reports whether a convolution is a plain product of pixels and weights.
func pointwise(n *compute.Tensor) bool {
	at, w := n.Attr.(*compute.ConvAttr), n.In[1].Shape()
	return w[1] == 1 && w[2] == 1 && at.Stride == [2]int{1, 1} && at.Pad == [4]int{}
}

// blocks cuts the kernel into rows, or where these are long or their taps not neighbours into taps and runs of channels.
func (c *convolution) blocks(kh, kw int) []block {
	var blocks []block
	for ky := range kh {
		if kw*c.ci <= blockTerms && c.dilation[1] == 1 {
			blocks = append(blocks, block{k0: ky * kw * c.ci, k: kw * c.ci, taps: kw, ky: ky})
			continue
		}
		return c.tapBlocks(kh, kw)
	}
	return blocks
}

// tapBlocks cuts the kernel into taps, and these into runs of channels.
func (c *convolution) tapBlocks(kh, kw int) []block {
	var blocks []block
	for tap := range kh * kw {
		for first := 0; first < c.ci; first += blockTerms {
			blocks = append(blocks, block{k0: tap*c.ci + first, k: min(blockTerms, c.ci-first), taps: 1, ky: tap / kw, kx: tap % kw, c: first})
		}
	}
	return blocks
}

// origin is where the kernel's first tap of a block lies for a pixel of the result.
func (c *convolution) origin(pixel int, b *block) (picture, iy, ix int) {
	line := pixel / c.wo
	picture = line / c.ho
	iy = (line-picture*c.ho)*c.stride[0] - c.top + b.ky*c.dilation[0]
	return picture, iy, (pixel-line*c.wo)*c.stride[1] - c.left + b.kx*c.dilation[1]
}

func (c *convolution) at(row int, b *block, a *vector.Left) bool {
	for r := range a {
		picture, iy, ix := c.origin(min(row+r, c.pixels-1), b)
		switch {
		case iy < 0 || iy >= c.h || ix+b.taps <= 0 || ix >= c.w:
			a[r] = &c.outside[0]
		case ix < 0 || ix+b.taps > c.w:
			return false
		default:
			a[r] = &c.x[((picture*c.h+iy)*c.w+ix)*c.ci+b.c]
		}
	}
	return true
}

func (c *convolution) tap(row int, b *block, tap int, a *vector.Left) {
	for r := range a {
		picture, iy, ix := c.origin(min(row+r, c.pixels-1), b)
		ix += tap
		if iy < 0 || iy >= c.h || ix < 0 || ix >= c.w {
			a[r] = &c.outside[0]
		} else {
			a[r] = &c.x[((picture*c.h+iy)*c.w+ix)*c.ci+b.c]
		}
	}
}
