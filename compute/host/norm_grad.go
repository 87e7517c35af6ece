package host

import (
	"atelier/compute"
	"atelier/compute/host/vector"
)

// gradPieces is into how many pieces of rows the sums of a gradient are cut: as many whatever the number of cores, so that it
// changes nothing.
const gradPieces = 16

// gradRun is about how many elements of rows side by side one pass of a norm's gradient takes: vectors of channels are repeated
// to that width, since few channels alone would leave little to do in each call.
const gradRun = 512

// channelRun repeats vectors of c channels so that repeat rows are done at a time.
type channelRun struct{ c, repeat int }

func newChannelRun(c int) channelRun { return channelRun{c, max(gradRun/c, 1)} }

func (r channelRun) width() int { return r.c * r.repeat }

// fill repeats v.
func (r channelRun) fill(to, v []float32) {
	for i := range r.repeat {
		copy(to[i*r.c:], v[:r.c])
	}
}

// groupGrad is what both steps of group norm's gradient have in common: dz = dy·act′(gamma·x̂ + beta).
type groupGrad struct {
	at          *compute.GroupNormAttr
	run         channelRun
	x, dy       []float32
	gamma, beta []float32
	b, rows, c  int
	spaces      chan *groupGradSpace
}

// groupGradSpace is one worker's memory, vectors of repeated channels.
type groupGradSpace struct {
	mean, scale, gamma, beta, a, b []float32
	normed, z, dz                  []float32
	sum, product                   []float32
}

func (e *executable) newGroupGrad(s step, affine [][]float32) *groupGrad {
	x := s.node.In[0].Shape()
	g := &groupGrad{at: s.node.Attr.(*compute.GroupNormAttr), run: newChannelRun(x.Last()), x: s.in[0], dy: s.in[1], b: x[0], c: x.Last()}
	g.rows = x.Size() / g.b / g.c
	if g.at.Affine {
		g.gamma, g.beta = affine[0], affine[1]
	}
	workers := e.device.pool.workers
	g.spaces = make(chan *groupGradSpace, workers)
	n := g.run.width()
	for range workers {
		m := make([]float32, 11*n)
		w := &groupGradSpace{}
		for _, v := range []*[]float32{&w.mean, &w.scale, &w.gamma, &w.beta, &w.a, &w.b, &w.normed, &w.z, &w.dz, &w.sum, &w.product} {
			*v, m = m[:n:n], m[n:]
		}
		g.spaces <- w
	}
	return g
}

// refresh takes gamma and beta, which may have changed since the last replay.
func (g *groupGrad) refresh() {
	if !g.at.Affine {
		return
	}
	for range cap(g.spaces) {
		w := <-g.spaces
		g.run.fill(w.gamma, g.gamma)
		g.run.fill(w.beta, g.beta)
		g.spaces <- w
	}
}

// standardised gives x̂ and dz of n elements from element i on.
func (g *groupGrad) standardised(w *groupGradSpace, i, n int) (normed, dz []float32) {
	x, dy := g.x[i:][:n], g.dy[i:][:n]
	normed = w.normed[:n]
	vector.Sub(normed, x, w.mean[:n])
	vector.Mul(normed, normed, w.scale[:n])
	if g.at.Act == compute.ActNone {
		return normed, dy
	}
	z, dz := normed, w.dz[:n]
	if g.at.Affine {
		z = w.z[:n]
		vector.ScaleShift(z, normed, w.gamma[:n], w.beta[:n])
	}
	switch g.at.Act {
	case compute.ActSiLU:
		vector.SwishGrad(dz, z, 1)
	case compute.ActQuickGELU:
		vector.SwishGrad(dz, z, 1.702)
	case compute.ActGELU:
		vector.GELUGrad(dz, z)
	default:
		for k, v := range z {
			dz[k] = float32(g.at.Act.Slope(float64(v)))
		}
	}
	vector.Mul(dz, dz, dy)
	return normed, dz
}

// groupNormMoments gives the first step of group norm's gradient: statistics as the norm itself takes them, then the sums.
func (e *executable) groupNormMoments(s step) func() error {
	g := e.newGroupGrad(s, s.in[2:])
	c, rows := g.c, g.rows
	plain := *g.at
	plain.Affine, plain.Act = false, compute.ActNone
	norm := &groupNorm{at: &plain, x: g.x, rows: rows, c: c, pieces: gradPieces}
	norm.each = (rows + norm.pieces - 1) / norm.pieces
	spaces := make([]normSpace, g.b)
	sums := make([]float64, g.b*gradPieces*2*c)
	for i := range spaces {
		spaces[i] = newNormSpace(norm.pieces, c)
	}
	begin := func(lo, hi int) {
		for b := lo; b < hi; b++ {
			norm.begin(&spaces[b], g.x[b*rows*c:][:rows*c])
		}
	}
	gather := func(lo, hi int) {
		for u := lo; u < hi; u++ {
			b := u / gradPieces
			norm.gather(&spaces[b], g.x[b*rows*c:][:rows*c], u%gradPieces)
		}
	}
	settle := func(lo, hi int) {
		for b := lo; b < hi; b++ {
			norm.settle(&spaces[b])
			out := s.out[b*4*c:][:4*c]
			for k := range c {
				out[k], out[c+k] = spaces[b].mean[k], spaces[b].scale[k]
			}
		}
	}
	add := func(lo, hi int) {
		w := <-g.spaces
		for u := lo; u < hi; u++ {
			b, piece := u/gradPieces, u%gradPieces
			g.sums(w, s.out[b*4*c:], sums[u*2*c:][:2*c], b, piece*norm.each, min((piece+1)*norm.each, rows))
		}
		g.spaces <- w
	}
	total := func(lo, hi int) {
		for b := lo; b < hi; b++ {
			for k := range 2 * c {
				all := 0.0
				for piece := range gradPieces {
					all += sums[((b*gradPieces)+piece)*2*c+k]
				}
				s.out[(b*4+2)*c+k] = float32(all)
			}
		}
	}
	pool := e.device.pool
	return func() error {
		g.refresh()
		pool.each(g.b, 1, begin)
		pool.each(g.b*gradPieces, 1, gather)
		pool.each(g.b, 1, settle)
		pool.each(g.b*gradPieces, 1, add)
		pool.each(g.b, 1, total)
		return nil
	}
}

// sums adds up dz and dz·x̂ of rows of a picture by channel: stretches in float32, these in float64.
func (g *groupGrad) sums(w *groupGradSpace, moments []float32, sums []float64, b, first, last int) {
	c, width := g.c, g.run.width()
	g.run.fill(w.mean, moments)
	g.run.fill(w.scale, moments[c:])
	clear(sums)
	for first < last {
		clear(w.sum)
		clear(w.product)
		for end := min(first+normRows*g.run.repeat, last); first < end; first += g.run.repeat {
			n := min(width, (end-first)*c)
			normed, dz := g.standardised(w, (b*g.rows+first)*c, n)
			vector.Add(w.sum[:n], w.sum[:n], dz)
			vector.Mul(normed, normed, dz)
			vector.Add(w.product[:n], w.product[:n], normed)
		}
		first = min(first, last)
		for i := range w.sum {
			sums[i%c] += float64(w.sum[i])
			sums[c+i%c] += float64(w.product[i])
		}
	}
}

// groupNormGrad gives the second step: dx = scale·(gamma·dz − mean(gamma·dz) − x̂·mean(gamma·dz·x̂)).
func (e *executable) groupNormGrad(s step) func() error {
	g := e.newGroupGrad(s, s.in[3:])
	c, width := g.c, g.c/g.at.Groups
	factors := make([]float32, g.b*3*c) // of dz, of x̂, and what is taken off
	settle := func() {
		for b := range g.b {
			m, f := s.in[2][b*4*c:], factors[b*3*c:]
			for first := 0; first < c; first += width {
				sum, product := 0.0, 0.0
				for k := first; k < first+width; k++ {
					gamma := 1.0
					if g.at.Affine {
						gamma = float64(g.gamma[k])
					}
					sum += gamma * float64(m[2*c+k])
					product += gamma * float64(m[3*c+k])
				}
				count := float64(g.rows * width)
				for k := first; k < first+width; k++ {
					scale := m[c+k]
					f[k], f[c+k], f[2*c+k] = scale, scale*float32(product/count), scale*float32(sum/count)
					if g.at.Affine {
						f[k] *= g.gamma[k]
					}
				}
			}
		}
	}
	pieces := (g.rows + normRows - 1) / normRows
	work := func(lo, hi int) {
		w := <-g.spaces
		for u := lo; u < hi; u++ {
			b, first := u/pieces, u%pieces*normRows
			g.apply(w, s, factors[b*3*c:], b, first, min(first+normRows, g.rows))
		}
		g.spaces <- w
	}
	return func() error {
		g.refresh()
		settle()
		e.device.pool.each(g.b*pieces, 1, work)
		return nil
	}
}

func (g *groupGrad) apply(w *groupGradSpace, s step, factors []float32, b, first, last int) {
	c, width := g.c, g.run.width()
	g.run.fill(w.mean, s.in[2][b*4*c:])
	g.run.fill(w.scale, s.in[2][(b*4+1)*c:])
	g.run.fill(w.sum, factors)
	g.run.fill(w.a, factors[c:])
	g.run.fill(w.b, factors[2*c:])
	for ; first < last; first += g.run.repeat {
		n, i := min(width, (last-first)*c), (b*g.rows+first)*c
		normed, dz := g.standardised(w, i, n)
		y := s.out[i:][:n]
		vector.ScaleShift(normed, normed, w.a[:n], w.b[:n])
		vector.Mul(y, dz, w.sum[:n])
		vector.Sub(y, y, normed)
	}
}

// rowNormGrad gives the gradient of layer norm's or RMS norm's x.
func (e *executable) rowNormGrad(s step) func() error {
	at, c := s.node.Attr.(*compute.RowNormAttr), s.node.Shape().Last()
	centred := s.node.Op.Name == "layer_norm_grad"
	spaces := e.rowSpaces(2 * c)
	return e.each(s.node.Shape().Size()/c, max(elementGrain/c, 1), func(lo, hi int) {
		w := <-spaces
		normed, g := w[:c], w[c:]
		for r := lo; r < hi; r++ {
			y, dy := s.out[r*c:][:c], s.in[1][r*c:][:c]
			scale := standardiseRow(normed, s.in[0][r*c:][:c], centred, at.Eps)
			if at.Gamma {
				vector.Mul(g, dy, s.in[2])
				dy = g
			}
			product, sum := vector.Dot(dy, normed)/float32(c), float32(0)
			if centred {
				sum = vector.Sum(dy) / float32(c)
			}
			for k, v := range dy {
				y[k] = scale * (v - sum - normed[k]*product)
			}
		}
		spaces <- w
	})
}

// rowSpaces is memory for each worker.
func (e *executable) rowSpaces(n int) chan []float32 {
	spaces := make(chan []float32, e.device.pool.workers)
	for range e.device.pool.workers {
		spaces <- make([]float32, n)
	}
	return spaces
}

// rowNormGradGain gives the gradients of gamma and beta: sums over rows, in pieces.
func (e *executable) rowNormGradGain(s step) func() error {
	at, c := s.node.Attr.(*compute.RowNormAttr), s.node.Shape().Last()
	centred, rows := s.node.Op.Name == "layer_norm_grad_gain", len(s.in[0])/c
	spaces, each := e.rowSpaces(3*c), (rows+gradPieces-1)/gradPieces
	sums := make([]float64, gradPieces*2*c)
	work := func(lo, hi int) {
		w := <-spaces
		normed, part := w[:c], w[c:]
		for piece := lo; piece < hi; piece++ {
			total := sums[piece*2*c:][:2*c]
			clear(total)
			last := min((piece+1)*each, rows)
			for first := piece * each; first < last; first += normRows {
				clear(part)
				for r := first; r < min(first+normRows, last); r++ {
					dy := s.in[1][r*c:][:c]
					standardiseRow(normed, s.in[0][r*c:][:c], centred, at.Eps)
					vector.Mul(normed, normed, dy)
					vector.Add(part[:c], part[:c], normed)
					vector.Add(part[c:], part[c:], dy)
				}
				for k, v := range part {
					total[k] += float64(v)
				}
			}
		}
		spaces <- w
	}
	return func() error {
		e.device.pool.each(gradPieces, 1, work)
		for k := range s.out {
			all := 0.0
			for piece := range gradPieces {
				all += sums[piece*2*c+k]
			}
			s.out[k] = float32(all)
		}
		return nil
	}
}
