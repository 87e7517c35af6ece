package host

import (
	"atelier/compute"
	"atelier/compute/host/vector"
)

// attentionRows is how many queries of a head meet its keys at a time: their scores stay in a core's own cache.
const attentionRows = 32

// attention is an attention node as dense products: for each head, runs of queries against all keys, softmax, times values.
type attention struct {
	at         *compute.AttentionAttr
	q, k, v, y []float32
	mask       []float32
	maskShape  compute.Shape
	b, h, hk   int
	tq, tk     int
	d, dv      int
	runs       int // of attentionRows queries a head, the last one shorter
	pool       *pool
	spaces     chan *attentionSpace
	work       func(lo, hi int)
}

// attentionSpace is one worker's memory.
type attentionSpace struct {
	gemmSpace
	keys, values panels // of the head held, packed in memory of their own
	held         int    // −1 at first
	scores       []float32
	pitch        int  // of scores
	results      gemm // where the products with the values go
}

// attentionElements is the scratch space that a node needs on this many workers, in elements.
func attentionElements(n *compute.Tensor, workers int) int {
	at, ok := n.Attr.(*compute.AttentionAttr)
	if !ok || n.Op.Name != "attention" {
		return 0
	}
	keys := panels{k: n.In[0].Shape().Last() / at.Heads, n: n.In[1].Shape()[1]}
	values := panels{k: keys.n, n: n.Shape().Last() / at.Heads}
	return workers * (keys.size() + values.size() + attentionRows*scorePitch(keys.n))
}

// scorePitch is the elements of a row of scores: whole tiles.
func scorePitch(keys int) int { return (keys + vector.Columns - 1) / vector.Columns * vector.Columns }

// attention gives an attention node as dense products, nil where its definition serves.
func (e *executable) attention(s step, scratch []float32) func() error {
	at := s.node.Attr.(*compute.AttentionAttr)
	q, k, y := s.node.In[0].Shape(), s.node.In[1].Shape(), s.node.Shape()
	a := &attention{
		at: at, q: s.in[0], k: s.in[1], v: s.in[2], y: s.out,
		b: q[0], h: at.Heads, hk: at.KVHeads, tq: q[1], tk: k[1], d: q[2] / at.Heads, dv: y[2] / at.Heads, pool: e.device.pool,
	}
	if a.tq*a.tk*a.d < smallProduct {
		return nil
	}
	if at.Mask {
		a.mask, a.maskShape = s.in[3], s.node.In[3].Shape()
	}
	a.runs = (a.tq + attentionRows - 1) / attentionRows
	workers := e.device.pool.workers
	a.spaces = make(chan *attentionSpace, workers)
	for range workers {
		w := &attentionSpace{keys: panels{k: a.d, n: a.tk}, values: panels{k: a.tk, n: a.dv}, pitch: scorePitch(a.tk)}
		take := func(n int) []float32 {
			memory := scratch[:n:n]
			scratch = scratch[n:]
			return memory
		}
		w.keys.f32, w.values.f32, w.scores = take(w.keys.size()), take(w.values.size()), take(attentionRows*w.pitch)
		a.spaces <- w
	}
	a.work = a.tasks
	return a.run
}

func (a *attention) run() error {
	for range cap(a.spaces) { // scratch space is shared with other nodes: nothing in it is known
		w := <-a.spaces
		w.held = -1
		a.spaces <- w
	}
	a.pool.each(a.b*a.h*a.runs, 1, a.work)
	return nil
}

func (a *attention) tasks(lo, hi int) {
	w := <-a.spaces
	for i := lo; i < hi; i++ {
		a.task(w, i/a.runs/a.h, i/a.runs%a.h, i%a.runs*attentionRows)
	}
	a.spaces <- w
}

// hold packs the keys and values of a head.
func (a *attention) hold(w *attentionSpace, b, kv int) {
	if key := b*a.hk + kv; w.held != key {
		w.held = key
		pitch := a.hk * a.d
		keys := panels{k: a.d, n: a.tk, matrix: a.k[b*a.tk*pitch+kv*a.d:], pitch: pitch, transposed: true}
		keys.packAll(w.keys.f32)
		pitch = a.hk * a.dv
		values := panels{k: a.tk, n: a.dv, matrix: a.v[b*a.tk*pitch+kv*a.dv:], pitch: pitch}
		values.packAll(w.values.f32)
	}
}

// task computes a run of queries of one head.
func (a *attention) task(w *attentionSpace, b, head, first int) {
	a.hold(w, b, head/(a.h/a.hk))
	rows := min(attentionRows, a.tq-first)
	pitch := a.h * a.d
	queries := a.q[(b*a.tq+first)*pitch+head*a.d:]
	for panel := range w.keys.count() {
		columns, _ := w.keys.columns(panel)
		keys := w.keys.block(panel, 0, a.d, nil)
		for row := 0; row < rows; row += vector.Rows {
			for r := range w.a {
				w.a[r] = &queries[min(row+r, rows-1)*pitch]
			}
			vector.Tile(a.d, &w.a, keys, w.scores[row*w.pitch+panel*vector.Columns:], w.pitch, columns, false)
		}
	}
	for r := range rows {
		a.softmax(w.scores[r*w.pitch:][:a.tk], b, head, first+r)
	}
	pitch = a.h * a.dv
	w.results = gemm{m: rows, y: a.y[(b*a.tq+first)*pitch+head*a.dv:], pitch: pitch}
	for panel := range w.values.count() {
		columns, valid := w.values.columns(panel)
		for k0 := 0; k0 < a.tk; k0 += blockTerms / 4 {
			k := min(blockTerms/4, a.tk-k0)
			values := w.values.block(panel, k0, k, nil)
			for row := 0; row < rows; row += vector.Rows {
				for r := range w.a {
					w.a[r] = &w.scores[min(row+r, rows-1)*w.pitch+k0]
				}
				w.results.tile(&w.gemmSpace, k, values, row, panel, columns, valid, k0 > 0)
			}
		}
	}
}

// softmax turns a query's products into weights: scaled, masked, those of hidden keys 0; all 0 where every key is hidden.
func (a *attention) softmax(scores []float32, b, head, query int) {
	visible := a.tk
	if a.at.Causal {
		visible = min(max(query+a.tk-a.tq+1, 0), a.tk)
	}
	clear(scores[visible:])
	scores = scores[:visible]
	scale := float32(a.at.Scale)
	if a.mask != nil {
		vector.Scale(scores, scale)
		a.addMask(scores, b, head, query)
		scale = 1
	}
	if scale < 0 { // the largest product is then not the largest score
		vector.Scale(scores, scale)
		scale = 1
	}
	vector.Softmax(scores, scale)
}

// addMask adds the mask, which broadcasts to [B H Tq Tk].
func (a *attention) addMask(scores []float32, b, head, query int) {
	at := [4]int{b, head, query, 0}
	offset, stride, step := 0, 1, 0
	for i := len(a.maskShape) - 1; i >= 0; i-- {
		axis := i - len(a.maskShape) + 4
		if a.maskShape[i] > 1 {
			offset += at[axis] * stride
			if axis == 3 {
				step = 1
			}
		}
		stride *= a.maskShape[i]
	}
	for j := range scores {
		scores[j] += a.mask[offset+j*step]
	}
}
