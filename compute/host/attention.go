package host

import (
	"math"

	"atelier/compute"
)

// attentionRows is how many queries of a head meet its keys at a time.
const attentionRows = 64

// attention is an attention node as dense products: for each head, pieces of queries against all keys, softmax, times values.
type attention struct {
	at         *compute.AttentionAttr
	q, k, v, y []float32
	mask       []float32
	maskShape  compute.Shape
	b, h, hk   int
	tq, tk     int
	d, dv      int
	pieces     int // of attentionRows queries a head, the last one shorter
	pool       *pool
	workspaces chan *attentionSpace
}

// attentionSpace is one worker's memory: a head's queries, keys, values, scores and result, each contiguous.
type attentionSpace struct {
	q, k, v, scores, y []float32
	held               int // the key head whose keys and values are here, −1 at first
	full, last         [2]product
}

// attentionElements is the scratch space that a node needs on this many workers, in elements.
func attentionElements(n *compute.Tensor, workers int) int {
	at, ok := n.Attr.(*compute.AttentionAttr)
	if !ok {
		return 0
	}
	d, dv, tk := n.In[0].Shape().Last()/at.Heads, n.Shape().Last()/at.Heads, n.In[1].Shape()[1]
	return workers * (attentionRows*(d+dv+tk) + tk*(d+dv))
}

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
	a.pieces = (a.tq + attentionRows - 1) / attentionRows
	workers := e.device.pool.workers
	a.workspaces = make(chan *attentionSpace, workers)
	each := attentionElements(s.node, 1)
	for i := range workers {
		a.workspaces <- a.space(scratch[i*each:][:each])
	}
	return a.run
}

func (a *attention) space(memory []float32) *attentionSpace {
	take := func(n int) []float32 {
		s := memory[:n]
		memory = memory[n:]
		return s
	}
	w := &attentionSpace{
		q: take(attentionRows * a.d), k: take(a.tk * a.d), v: take(a.tk * a.dv),
		scores: take(attentionRows * a.tk), y: take(attentionRows * a.dv), held: -1,
	}
	products := func(rows int) [2]product {
		return [2]product{newProduct(w.q, w.k, w.scores, rows, a.tk, a.d, false, true), newProduct(w.scores, w.v, w.y, rows, a.dv, a.tk, false, false)}
	}
	w.full, w.last = products(attentionRows), products(a.tq-(a.pieces-1)*attentionRows)
	return w
}

func (a *attention) run() error {
	errs := make([]error, a.b*a.h*a.pieces)
	for range cap(a.workspaces) { // scratch space is shared with other nodes: nothing in it is known
		w := <-a.workspaces
		w.held = -1
		a.workspaces <- w
	}
	a.pool.each(len(errs), 1, func(lo, hi int) {
		w := <-a.workspaces
		for i := lo; i < hi; i++ {
			errs[i] = a.piece(w, i/a.pieces/a.h, i/a.pieces%a.h, i%a.pieces)
		}
		a.workspaces <- w
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// piece computes attentionRows queries of one head.
func (a *attention) piece(w *attentionSpace, b, head, piece int) error {
	kv := head / (a.h / a.hk)
	if key := b*a.hk + kv; w.held != key {
		w.held = key
		gatherHead(w.k, a.k[b*a.tk*a.hk*a.d:], a.tk, a.d, a.hk*a.d, kv*a.d)
		gatherHead(w.v, a.v[b*a.tk*a.hk*a.dv:], a.tk, a.dv, a.hk*a.dv, kv*a.dv)
	}
	first := piece * attentionRows
	rows, products := min(attentionRows, a.tq-first), w.full
	if rows < attentionRows || piece == a.pieces-1 {
		products = w.last
	}
	gatherHead(w.q, a.q[(b*a.tq+first)*a.h*a.d:], rows, a.d, a.h*a.d, head*a.d)
	if err := products[0].run(); err != nil {
		return err
	}
	for r := range rows {
		a.softmax(w.scores[r*a.tk:][:a.tk], b, head, first+r)
	}
	if err := products[1].run(); err != nil {
		return err
	}
	for r := range rows {
		copy(a.y[((b*a.tq+first+r)*a.h+head)*a.dv:][:a.dv], w.y[r*a.dv:])
	}
	return nil
}

// gatherHead copies rows of one head out of rows that hold all heads.
func gatherHead(to, from []float32, rows, width, stride, offset int) {
	for r := range rows {
		copy(to[r*width:][:width], from[r*stride+offset:])
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
	scale, top := float32(a.at.Scale), float32(math.Inf(-1))
	for j := range scores {
		scores[j] *= scale
	}
	if a.mask != nil {
		a.addMask(scores, b, head, query)
	}
	for _, s := range scores {
		top = max(top, s)
	}
	if math.IsInf(float64(top), -1) {
		clear(scores)
		return
	}
	total := 0.0
	for j, s := range scores {
		p := math.Exp(float64(s - top))
		total += p
		scores[j] = float32(p)
	}
	inverse := float32(1 / total)
	for j := range scores {
		scores[j] *= inverse
	}
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
