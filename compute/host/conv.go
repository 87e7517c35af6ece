package host

import "atelier/compute"

// unfoldElements bounds the pieces in which a convolution's input is unfolded: 8 MB.
const unfoldElements = 2 << 20

// convolution is a conv2d node as matrix products: rows of the result are pixels, and the left side is the input unfolded
// to [pixels, Kh·Kw·Ci] (im2col), a piece at a time.
type convolution struct {
	x, y         []float32
	h, w, ci     int
	ho, wo, co   int
	kh, kw       int
	stride       [2]int
	dilation     [2]int
	top, left    int
	unfolded     []float32 // rows × Kh·Kw·Ci; nil where the input is already so
	rows         int       // pixels a piece
	products     []product
	epilogue     epilogue
	pool         *pool
	pixels, taps int
}

// unfoldSize is the scratch space that a node needs, in elements.
func unfoldSize(n *compute.Tensor) int {
	at, ok := n.Attr.(*compute.ConvAttr)
	if !ok || n.Op.Name != "conv2d" || at.Groups > 1 || pointwise(n) {
		return 0
	}
	w := n.In[1].Shape()
	taps := w[1] * w[2] * w[3]
	return taps * unfoldRows(n.Shape().Size()/w[0], taps)
}

// unfoldRows is how many pixels are unfolded at a time.
func unfoldRows(pixels, taps int) int { return min(max(unfoldElements/taps, 16), pixels) }

// pointwise reports whether a convolution is a plain product of pixels and weights.
func pointwise(n *compute.Tensor) bool {
	at, w := n.Attr.(*compute.ConvAttr), n.In[1].Shape()
	return w[1] == 1 && w[2] == 1 && at.Stride == [2]int{1, 1} && at.Pad == [4]int{}
}

// conv2D gives a conv2d node as dense products over the scratch space, nil where its definition serves: in several groups, or
// where it is small.
func (e *executable) conv2D(s step, scratch []float32) func() error {
	at := s.node.Attr.(*compute.ConvAttr)
	x, w, y := s.node.In[0].Shape(), s.node.In[1].Shape(), s.node.Shape()
	c := &convolution{
		x: s.in[0], y: s.out, h: x[1], w: x[2], ci: x[3], ho: y[1], wo: y[2], co: y[3], kh: w[1], kw: w[2],
		stride: at.Stride, dilation: at.Dilation, top: at.Pad[0], left: at.Pad[2],
		pool: e.device.pool, pixels: y[0] * y[1] * y[2], taps: w[1] * w[2] * w[3],
	}
	if at.Groups > 1 || c.pixels*c.co*c.taps < smallProduct {
		return nil
	}
	c.epilogue = epilogue{act: at.Act, columns: c.co}
	rest := s.in[2:]
	if at.Bias {
		c.epilogue.bias, c.epilogue.biasRows, rest = rest[0], c.pixels, rest[1:]
		if len(s.node.In[2].Shape()) == 2 {
			c.epilogue.biasRows = c.ho * c.wo
		}
	}
	if at.Residual {
		c.epilogue.residual = rest[0]
	}
	c.rows = c.pixels
	if !pointwise(s.node) {
		c.rows = unfoldRows(c.pixels, c.taps)
		c.unfolded = scratch[:c.rows*c.taps]
	}
	for first := 0; first < c.pixels; first += c.rows {
		left, rows := c.unfolded, min(c.rows, c.pixels-first)
		if left == nil {
			left = c.x
		}
		c.products = append(c.products, newProduct(left, s.in[1], c.y[first*c.co:], rows, c.co, c.taps, false, true))
	}
	return c.run
}

func (c *convolution) run() error {
	for i, p := range c.products {
		first := i * c.rows
		rows := min(c.rows, c.pixels-first)
		if c.unfolded != nil {
			c.pool.each(rows, 1, func(lo, hi int) {
				for r := lo; r < hi; r++ {
					c.unfold(first+r, c.unfolded[r*c.taps:][:c.taps])
				}
			})
		}
		if err := p.run(); err != nil {
			return err
		}
		c.epilogue.apply(c.pool, c.y[first*c.co:][:rows*c.co], first)
	}
	return nil
}

// unfold copies what the kernel sees at one pixel of the result, zeros outside the picture.
func (c *convolution) unfold(pixel int, to []float32) {
	ox, oy, b := pixel%c.wo, pixel/c.wo%c.ho, pixel/c.wo/c.ho
	for i := range c.kh {
		iy := oy*c.stride[0] - c.top + i*c.dilation[0]
		for j := range c.kw {
			ix := ox*c.stride[1] - c.left + j*c.dilation[1]
			tap := to[(i*c.kw+j)*c.ci:][:c.ci]
			if iy < 0 || iy >= c.h || ix < 0 || ix >= c.w {
				clear(tap)
			} else {
				copy(tap, c.x[((b*c.h+iy)*c.w+ix)*c.ci:])
			}
		}
	}
}
