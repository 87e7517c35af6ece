package host

import (
	"atelier/compute"
	"atelier/compute/host/vector"
)

// attentionGradRows is how many queries of a head are taken back at a time.
const attentionGradRows = 64

// attentionGrad is the gradients of an attention's operands: for each key head, runs of queries against the keys they see.
type attentionGrad struct {
	attention             // its y is not used
	dy, dq, dk, dv        []float32
	memory                chan *attentionGradSpace
	keyPitch, valuePitch  int // of k and dk, of v and dv
	queryPitch, gradPitch int // of q and dq, of dy
}

// attentionGradSpace is one worker's memory.
type attentionGradSpace struct {
	gemmSpace
	keys, values    panels // transposed: right sides of scores and of dP
	columns         panels // keys as they lie: the right side of dq
	queries, grads  panels // of a run, the right sides of dk and dv
	weights, slopes []float32
	turned          []float32 // [keys queries]
	product         gemm
}

// attentionGradSizes are the panels that one worker needs.
func attentionGradSizes(n *compute.Tensor) (w attentionGradSpace, pitch int) {
	at := n.Attr.(*compute.AttentionAttr)
	d, tk := n.In[0].Shape().Last()/at.Heads, n.In[1].Shape()[1]
	dv := n.In[2].Shape().Last() / at.KVHeads
	w.keys, w.values, w.columns = panels{k: d, n: tk}, panels{k: dv, n: tk}, panels{k: tk, n: d}
	w.queries, w.grads = panels{k: attentionGradRows, n: d}, panels{k: attentionGradRows, n: dv}
	return w, scorePitch(tk)
}

// attentionGradElements is the scratch space that a node needs on this many workers, in elements.
func attentionGradElements(n *compute.Tensor, workers int) int {
	if n.Op.Name != "attention_grad" {
		return 0
	}
	w, pitch := attentionGradSizes(n)
	return workers * (w.keys.size() + w.values.size() + w.columns.size() + w.queries.size() + w.grads.size() + 3*attentionGradRows*pitch)
}

// attentionGrad gives an attention_grad node as dense products, nil where its definition serves.
func (e *executable) attentionGrad(s step, scratch []float32) func() error {
	at := s.node.Attr.(*compute.AttentionAttr)
	q, k, v := s.node.In[0].Shape(), s.node.In[1].Shape(), s.node.In[2].Shape()
	a := &attentionGrad{dy: s.in[3], keyPitch: k[2], valuePitch: v[2], queryPitch: q[2]}
	a.attention = attention{
		at: at, q: s.in[0], k: s.in[1], v: s.in[2], b: q[0], h: at.Heads, hk: at.KVHeads, tq: q[1], tk: k[1],
		d: q[2] / at.Heads, dv: v[2] / at.KVHeads, pool: e.device.pool,
	}
	a.gradPitch = a.h * a.attention.dv
	if a.tq*a.tk*a.d < smallProduct {
		return nil
	}
	if at.Mask {
		a.mask, a.maskShape = s.in[4], s.node.In[4].Shape()
	}
	a.dq, a.dk, a.dv = s.out[:q.Size()], s.out[q.Size():][:k.Size()], s.out[q.Size()+k.Size():]
	workers := e.device.pool.workers
	a.memory = make(chan *attentionGradSpace, workers)
	for range workers {
		w, pitch := attentionGradSizes(s.node)
		take := func(n int) []float32 {
			memory := scratch[:n:n]
			scratch = scratch[n:]
			return memory
		}
		for _, p := range []*panels{&w.keys, &w.values, &w.columns, &w.queries, &w.grads} {
			p.f32 = take(p.size())
		}
		w.weights, w.slopes, w.turned = take(attentionGradRows*pitch), take(attentionGradRows*pitch), take(attentionGradRows*pitch)
		a.memory <- &w
	}
	return e.each(a.b*a.hk, 1, a.work)
}

func (a *attentionGrad) work(lo, hi int) {
	w := <-a.memory
	for u := lo; u < hi; u++ {
		a.head(w, u/a.hk, u%a.hk)
	}
	a.memory <- w
}

// head is the queries that meet one key head.
func (a *attentionGrad) head(w *attentionGradSpace, b, kv int) {
	dv := a.attention.dv
	keys, values := a.k[b*a.tk*a.keyPitch+kv*a.d:], a.v[b*a.tk*a.valuePitch+kv*dv:]
	pack(&w.keys, keys, a.keyPitch, true)
	pack(&w.values, values, a.valuePitch, true)
	pack(&w.columns, keys, a.keyPitch, false)
	for t := range a.tk {
		clear(a.dk[(b*a.tk+t)*a.keyPitch+kv*a.d:][:a.d])
		clear(a.dv[(b*a.tk+t)*a.valuePitch+kv*dv:][:dv])
	}
	group := a.h / a.hk
	for head := kv * group; head < (kv+1)*group; head++ {
		for first := 0; first < a.tq; first += attentionGradRows {
			a.rows(w, b, head, kv, first, min(attentionGradRows, a.tq-first))
		}
	}
}

// pack fills p's memory from a matrix.
func pack(p *panels, matrix []float32, pitch int, transposed bool) {
	from := panels{k: p.k, n: p.n, matrix: matrix, pitch: pitch, transposed: transposed}
	from.packAll(p.f32)
}

// rows takes a run of queries of a head back.
func (a *attentionGrad) rows(w *attentionGradSpace, b, head, kv, first, rows int) {
	visible, dv, pitch := a.tk, a.attention.dv, scorePitch(a.tk)
	if a.at.Causal {
		visible = min(max(first+rows+a.tk-a.tq, 0), a.tk) // of the last query; the first sees fewer
	}
	at, to := (b*a.tq+first)*a.queryPitch+head*a.d, (b*a.tq+first)*a.gradPitch+head*dv
	if visible == 0 {
		for r := range rows {
			clear(a.dq[at+r*a.queryPitch:][:a.d])
		}
		return
	}
	w.multiply(a.q[at:], a.queryPitch, rows, a.d, &w.keys, visible, w.weights, pitch, false)
	w.multiply(a.dy[to:], a.gradPitch, rows, dv, &w.values, visible, w.slopes, pitch, false)
	scale := float32(a.at.Scale)
	for r := range rows {
		p := w.weights[r*pitch:][:a.tk]
		a.softmax(p, b, head, first+r)
	}
	w.turn(w.weights, rows, visible, pitch)
	w.side(&w.grads, a.dy[to:], a.gradPitch, rows)
	w.multiply(w.turned, attentionGradRows, visible, rows, &w.grads, dv, a.dv[b*a.tk*a.valuePitch+kv*dv:], a.valuePitch, true)
	for r := range rows { // slopes become dS = scale·P∘(dP − P·dP)
		p, s := w.weights[r*pitch:][:visible], w.slopes[r*pitch:][:visible]
		mean := vector.Dot(p, s)
		for j, v := range p {
			s[j] = scale * v * (s[j] - mean)
		}
	}
	w.multiply(w.slopes, pitch, rows, visible, &w.columns, a.d, a.dq[at:], a.queryPitch, false)
	w.turn(w.slopes, rows, visible, pitch)
	w.side(&w.queries, a.q[at:], a.queryPitch, rows)
	w.multiply(w.turned, attentionGradRows, visible, rows, &w.queries, a.d, a.dk[b*a.tk*a.keyPitch+kv*a.d:], a.keyPitch, true)
}

// side packs a run of queries, or of their results' gradients, as a right side.
func (w *attentionGradSpace) side(p *panels, matrix []float32, pitch, rows int) {
	memory := p.f32
	*p = panels{k: rows, n: p.n, f32: memory}
	pack(p, matrix, pitch, false)
}

// turn copies [rows keys] to [keys rows].
func (w *attentionGradSpace) turn(from []float32, rows, keys, pitch int) {
	const run = 16
	for j0 := 0; j0 < keys; j0 += run {
		for r := range rows {
			for j, v := range from[r*pitch+j0 : r*pitch+min(j0+run, keys)] {
				w.turned[(j0+j)*attentionGradRows+r] = v
			}
		}
	}
}

// multiply is y = left·right, or comes on top of y: left [m k] with its own pitch, of right its first n columns.
func (w *attentionGradSpace) multiply(left []float32, leftPitch, m, k int, right *panels, n int, y []float32, pitch int, add bool) {
	w.product = gemm{m: m, y: y, pitch: pitch}
	for panel := range (n + vector.Columns - 1) / vector.Columns {
		columns, valid := right.columns(panel)
		valid = min(valid, n-panel*vector.Columns)
		for k0 := 0; k0 < k; k0 += blockTerms / 4 {
			terms := min(blockTerms/4, k-k0)
			block := right.block(panel, k0, terms, nil)
			for row := 0; row < m; row += vector.Rows {
				for r := range w.a {
					w.a[r] = &left[min(row+r, m-1)*leftPitch+k0]
				}
				w.product.tile(&w.gemmSpace, terms, block, row, panel, columns, valid, add || k0 > 0)
			}
		}
	}
}
