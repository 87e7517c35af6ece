package host

import (
	"atelier/compute"
	"atelier/compute/host/vector"
)

// Products that gradients are made of: with a left side stored [k m], with the taps of a convolution the other way, and with
// a right side gathered from pictures.

// turn copies from [k m] to to [m k], over all cores.
func (p *pool) turn(to, from []float32, m, k int) func() {
	const side = 32
	across := (m + side - 1) / side
	work := func(lo, hi int) {
		for t := lo; t < hi; t++ {
			m0, k0 := t%across*side, t/across*side
			for i := k0; i < min(k0+side, k); i++ {
				for j, v := range from[i*m+m0 : i*m+min(m0+side, m)] {
					to[(m0+j)*k+i] = v
				}
			}
		}
	}
	return func() { p.each(across*((k+side-1)/side), 4, work) }
}

// turnElements is the scratch space for a left side that is to be turned.
func turnElements(n *compute.Tensor) int {
	switch at := n.Attr.(type) {
	case *compute.MatMulAttr:
		if a := n.In[0].Shape(); at.TransA {
			return a[len(a)-1] * a[len(a)-2]
		}
	case *compute.ConvGradWeightAttr:
		return n.In[1].Shape().Size()
	}
	return 0
}

// turnedMatMul is the products of a node whose left side is stored [k m]: each is turned before its product.
func (e *executable) turnedMatMul(s step, scratch []float32, m, n, k int, ep epilogue) func() error {
	at, y := s.node.Attr.(*compute.MatMulAttr), s.node.Shape()
	as, bs := s.node.In[0].Shape(), s.node.In[1].Shape()
	lead := y[:len(y)-2]
	if lead.Size() == 1 && !(at.Bias || at.Residual || at.Act != compute.ActNone) {
		turn := e.device.pool.turn(scratch, s.in[0], m, k)
		product := e.splitProduct(m, &matrixLeft{scratch, m, k}, matrixBlocks(k), matrixRight(s.in[1], k, n, at.TransB), s.out, n)
		return func() error {
			turn()
			return product()
		}
	}
	var turns []func()
	var products []*gemm
	for i := range lead.Size() {
		a := s.in[0][batchOffset(i, lead, as[:len(as)-2])*m*k:][:m*k]
		b := s.in[1][batchOffset(i, lead, bs[:len(bs)-2])*n*k:][:n*k]
		one := ep
		if ep.residual != nil {
			one.residual = ep.residual[i*m*n:]
		}
		turns = append(turns, e.device.pool.turn(scratch, a, m, k))
		products = append(products, newGemm(e.device, m, &matrixLeft{scratch, m, k}, k, matrixBlocks(k), matrixRight(b, k, n, at.TransB), s.out[i*m*n:], n, one))
	}
	return func() error {
		for i, p := range products {
			turns[i]()
			if err := p.run(); err != nil {
				return err
			}
		}
		return nil
	}
}

// matrixRight is a right side that is packed as it is needed.
func matrixRight(b []float32, k, n int, transposed bool) *panels {
	p := &panels{k: k, n: n, matrix: b, pitch: n, transposed: transposed}
	if transposed {
		p.pitch = k
	}
	return p
}

// convTranspose is the left side of a conv_transpose2d node's product: for a pixel of the result the pixel of x that a tap
// came from, where there is one.
type convTranspose struct{ convolution }

func (c *convTranspose) at(row int, b *block, a *vector.Left) bool {
	for r := range a {
		pixel := min(row+r, c.pixels-1)
		line := pixel / c.wo
		picture := line / c.ho
		y := line - picture*c.ho + c.top - b.ky*c.dilation[0]
		x := pixel - line*c.wo + c.left - b.kx*c.dilation[1]
		iy, ix := y/c.stride[0], x/c.stride[1]
		if y < 0 || x < 0 || iy*c.stride[0] != y || ix*c.stride[1] != x || iy >= c.h || ix >= c.w {
			a[r] = &c.outside[0]
		} else {
			a[r] = &c.x[((picture*c.h+iy)*c.w+ix)*c.ci+b.c]
		}
	}
	return true
}

// convTranspose2D gives a conv_transpose2d node as a dense product, nil where its definition serves.
func (e *executable) convTranspose2D(s step) func() error {
	at := s.node.Attr.(*compute.ConvTransposeAttr)
	x, w, y := s.node.In[0].Shape(), s.node.In[1].Shape(), s.node.Shape()
	taps := w[1] * w[2] * w[3]
	c := &convTranspose{convolution{
		x: s.in[0], h: x[1], w: x[2], ci: x[3], ho: y[1], wo: y[2], pixels: y[0] * y[1] * y[2],
		stride: at.Stride, dilation: at.Dilation, top: at.Pad[0], left: at.Pad[2], outside: make([]float32, x[3]),
	}}
	if at.Groups > 1 || c.pixels*y[3]*taps < smallProduct {
		return nil
	}
	ep := epilogue{columns: y[3], biasRows: c.pixels}
	if at.Bias {
		ep.bias = s.in[2]
	}
	return newGemm(e.device, c.pixels, c, c.ci, c.tapBlocks(w[1], w[2]), e.right(s, taps, y[3], true), s.out, y[3], ep).run
}

// convGradWeight gives a conv2d_grad_weight node as a dense product over all pixels of the result: dy turned, times what each
// tap of the kernel saw. It is nil where the definition serves.
func (e *executable) convGradWeight(s step, scratch []float32) func() error {
	at := s.node.Attr.(*compute.ConvGradWeightAttr)
	x, dy, w := s.node.In[0].Shape(), s.node.In[1].Shape(), s.node.Shape()
	co, n, pixels := w[0], w[1]*w[2]*w[3], dy[0]*dy[1]*dy[2]
	if at.Groups > 1 || co*n*pixels < smallProduct {
		return nil
	}
	c := &convolution{
		x: s.in[0], h: x[1], w: x[2], ci: x[3], ho: dy[1], wo: dy[2], pixels: pixels,
		stride: at.Stride, dilation: at.Dilation, top: at.Pad[0], left: at.Pad[2],
	}
	right := &panels{k: pixels, n: n, gather: func(to []float32, n0, columns, valid, k0, k int) {
		for i := range k {
			c.see(to[i*columns:][:valid], k0+i, n0, at.Kw)
		}
	}}
	turn := e.device.pool.turn(scratch, s.in[1], co, pixels)
	product := e.splitProduct(co, &matrixLeft{scratch, co, pixels}, matrixBlocks(pixels), right, s.out, n)
	return func() error {
		turn()
		return product()
	}
}

const (
	// productSplits is into how many pieces at most the terms of a product are cut, and splitElements the largest result of which
	// there may be so many.
	productSplits, splitElements = 8, 1 << 18
	// splitRows is how many rows of the left side meet a block of the right side that was packed for them.
	splitRows = 256
)

// splitProduct gives y [m n] = left·right for many terms and a small result, as weights' gradients are: the terms are cut into
// pieces, whose results are summed in order, so that every block of the right side is packed once, for many rows.
func (e *executable) splitProduct(m int, l left, blocks []block, right *panels, y []float32, n int) func() error {
	splits := min(productSplits, len(blocks))
	if m*n > splitElements {
		splits = 1
	}
	partial := make([]float32, (splits-1)*m*n)
	products := make([]*gemm, splits)
	for i := range products {
		to := y
		if i > 0 {
			to = partial[(i-1)*m*n:][:m*n]
		}
		part := blocks[i*len(blocks)/splits : (i+1)*len(blocks)/splits]
		g := newGemm(e.device, m, l, 1, part, right, to, n, epilogue{columns: n})
		if splits > 1 {
			g.rows = splitRows
		}
		products[i] = g
	}
	each := (m + products[0].rows - 1) / products[0].rows * right.count()
	work := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			products[i/each].tasks(i%each, i%each+1)
		}
	}
	add := func(lo, hi int) {
		for i := range splits - 1 {
			vector.Add(y[lo:hi], y[lo:hi], partial[i*m*n+lo:][:hi-lo])
		}
	}
	return func() error {
		e.device.pool.each(splits*each, 1, work)
		if splits > 1 {
			e.device.pool.each(m*n, elementGrain, add)
		}
		return nil
	}
}

// see copies what the kernel's elements from n0 on meet at a pixel of the result, zeros outside the picture.
func (c *convolution) see(to []float32, pixel, n0, kw int) {
	for len(to) > 0 {
		tap, channel := n0/c.ci, n0%c.ci
		run := min(c.ci-channel, len(to))
		picture, iy, ix := c.origin(pixel, &block{ky: tap / kw, kx: tap % kw})
		if iy < 0 || iy >= c.h || ix < 0 || ix >= c.w {
			clear(to[:run])
		} else {
			copy(to[:run], c.x[((picture*c.h+iy)*c.w+ix)*c.ci+channel:])
		}
		to, n0 = to[run:], n0+run
	}
}
