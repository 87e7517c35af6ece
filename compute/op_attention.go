package compute

import (
	"fmt"
	"math"
)

// AttentionOpts are the settings of Attention.
type AttentionOpts struct {
	Heads, KVHeads int     // KVHeads 0 means Heads; otherwise it divides Heads, and Heads/KVHeads query heads share a key head
	Causal         bool    // query i sees keys up to i + Tk − Tq
	Mask           *Tensor // added to the scores, broadcast to [B H Tq Tk]; −Inf hides a key
	Scale          float64 // of the scores; 0 means 1/√D
}

// AttentionAttr is the settings of an attention node. Operands: q, k, v, then the mask where present.
type AttentionAttr struct {
	Heads, KVHeads int
	Causal, Mask   bool
	Scale          float64
}

const (
	// attentionFusedDim is the largest head size of the fused kernel; wider heads, and those that do not fill texels, are
	// composed of products and softmax.
	attentionFusedDim = 128
	// attentionScores bounds the scores that a composed attention holds at a time.
	attentionScores = 1 << 24
)

// Attention is softmax(scale·q·kᵀ + mask)·v in each head (Vaswani et al. 2017): q [B Tq H·D], k [B Tk Hk·D] and
// v [B Tk Hk·Dv] give [B Tq H·Dv]. Its memory is linear in Tk up to a head size of 128. A query whose keys are all hidden gets zeros.
func Attention(q, k, v *Tensor, o AttentionOpts) *Tensor {
	at := &AttentionAttr{o.Heads, o.KVHeads, o.Causal, o.Mask != nil, o.Scale}
	if at.KVHeads == 0 {
		at.KVHeads = at.Heads
	}
	in := []*Tensor{q, k, v}
	if o.Mask != nil {
		in = append(in, o.Mask)
	}
	for _, t := range in {
		if t == nil || t.err != nil {
			return newNode(opAttention, at, in...)
		}
	}
	probe := &Tensor{Op: opAttention, In: in, Attr: at}
	g, err := attentionGeometry(probe)
	if err != nil {
		return fail(opAttention, q, "%w", err)
	}
	if at.Scale == 0 {
		at.Scale = 1 / math.Sqrt(float64(g.d))
	}
	if g.d > attentionFusedDim || g.d%4 != 0 || g.dv != g.d {
		return attentionComposed(q, k, v, o.Mask, at, g)
	}
	return newNode(opAttention, at, in...)
}

var opAttention = register(&Op{
	Name: "attention",
	Shape: func(n *Tensor) (Shape, error) {
		g, err := attentionGeometry(n)
		return Shape{g.b, g.tq, g.h * g.dv}, err
	},
	Units: func(n *Tensor) int {
		g, _ := attentionGeometry(n)
		return g.b * g.tq * g.h
	},
	Ref:   attentionRef,
	Lower: attentionLower,
	FLOPs: func(n *Tensor) float64 {
		g, _ := attentionGeometry(n)
		return 2 * float64(g.b*g.h) * float64(g.tq) * float64(g.tk) * float64(g.d+g.dv)
	},
})

// attentionGeom is the extents: batch, query and key heads, queries, keys, head sizes, and the element steps of the mask's
// batch and head axes, 0 where it broadcasts.
type attentionGeom struct {
	b, h, hk, tq, tk, d, dv int
	maskB, maskH            int
	maskQ, maskK            int
}

func attentionGeometry(n *Tensor) (attentionGeom, error) {
	at, q, k, v := n.Attr.(*AttentionAttr), n.In[0].shape, n.In[1].shape, n.In[2].shape
	if len(q) != 3 || len(k) != 3 || len(v) != 3 {
		return attentionGeom{}, fmt.Errorf("q, k and v must be [B T H·D], not %v, %v and %v", q, k, v)
	}
	g := attentionGeom{b: q[0], h: at.Heads, hk: at.KVHeads, tq: q[1], tk: k[1]}
	if q[0] != k[0] || k[0] != v[0] || k[1] != v[1] {
		return g, fmt.Errorf("q %v, k %v and v %v must agree in batch, k and v in length", q, k, v)
	}
	if g.h < 1 || g.hk < 1 || g.h%g.hk != 0 {
		return g, fmt.Errorf("%d key heads do not divide %d query heads", g.hk, g.h)
	}
	if q[2]%g.h != 0 || k[2]%g.hk != 0 || v[2]%g.hk != 0 || q[2]/g.h != k[2]/g.hk {
		return g, fmt.Errorf("q %v and k %v do not split into %d and %d heads of one size", q, k, g.h, g.hk)
	}
	g.d, g.dv = q[2]/g.h, v[2]/g.hk
	if at.Mask {
		m := n.In[3].shape
		full := Shape{g.b, g.h, g.tq, g.tk}
		if s, err := Broadcast(m, full); err != nil || !s.Equal(full) {
			return g, fmt.Errorf("mask %v does not broadcast to %v", m, full)
		}
		st := broadcastSteps(m, 4)
		g.maskB, g.maskH, g.maskQ, g.maskK = st[0], st[1], st[2], st[3]
	}
	return g, nil
}

// visible is the number of keys that query t may see.
func (g attentionGeom) visible(t int, causal bool) int {
	if !causal {
		return g.tk
	}
	return min(max(t+g.tk-g.tq+1, 0), g.tk)
}

func attentionRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at := n.Attr.(*AttentionAttr)
	g, _ := attentionGeometry(n)
	scores, sum := make([]float64, g.tk), make([]float64, g.dv)
	for u := lo; u < hi; u++ {
		head, t, b := u%g.h, u/g.h%g.tq, u/g.h/g.tq
		kv := head / (g.h / g.hk)
		q := in[0][u*g.d:][:g.d]
		keys, top := g.visible(t, at.Causal), math.Inf(-1)
		for j := range keys {
			dot := 0.0
			for i, kv := range in[1][((b*g.tk+j)*g.hk+kv)*g.d:][:g.d] {
				dot += float64(q[i]) * float64(kv)
			}
			dot *= at.Scale
			if at.Mask {
				dot += float64(in[3][b*g.maskB+head*g.maskH+t*g.maskQ+j*g.maskK])
			}
			scores[j], top = dot, math.Max(top, dot)
		}
		total := 0.0
		clear(sum)
		for j := range keys {
			if math.IsInf(top, -1) {
				break
			}
			p := math.Exp(scores[j] - top)
			total += p
			for i, vv := range in[2][((b*g.tk+j)*g.hk+kv)*g.dv:][:g.dv] {
				sum[i] += p * float64(vv)
			}
		}
		y := out[u*g.dv:][:g.dv]
		for i := range y {
			y[i] = 0
			if total > 0 {
				y[i] = float32(sum[i] / total)
			}
		}
	}
}

// splitHeads turns [B T H·D] into [B H T D].
func splitHeads(x *Tensor, heads int) *Tensor {
	return Permute(Reshape(x, x.Dim(0), x.Dim(1), heads, x.Dim(2)/max(heads, 1)), 0, 2, 1, 3)
}

// joinHeads turns [B H T D] into [B T H·D].
func joinHeads(x *Tensor) *Tensor {
	p := Permute(x, 0, 2, 1, 3)
	return Reshape(p, p.Dim(0), p.Dim(1), p.Dim(2)*p.Dim(3))
}

// attentionWeights is softmax(scale·q·kᵀ + mask) for queries [from, from+Tq') of q [B Hk H/Hk·Tq' D]-shaped products:
// q [B H Tq' D] and k [B Hk Tk D] give [B H Tq' Tk].
func attentionWeights(q, k, mask *Tensor, at *AttentionAttr, g attentionGeom, from int) *Tensor {
	rows := q.Dim(2)
	folded := Reshape(Affine(q, at.Scale, 0), g.b, g.hk, g.h/g.hk*rows, g.d)
	s := Reshape(MatMul(folded, k, MatMulOpts{TransB: true}), g.b, g.h, rows, g.tk)
	if mask != nil {
		if a := len(mask.shape) - 2; a >= 0 && mask.shape[a] > 1 && rows < g.tq {
			mask = Slice(mask, a, from, from+rows)
		}
		s = Add(s, mask)
	}
	if at.Causal && s.err == nil {
		s = Add(s, causalMask(s.g, rows, g, from))
	}
	p := Softmax(s)
	if at.Causal && g.tq > g.tk { // the first queries see no key
		sees := make([]float32, rows)
		for t := range sees {
			sees[t] = float32(min(g.visible(from+t, true), 1))
		}
		p = Mul(p, p.g.Const("queries that see a key", sees, rows, 1))
	}
	return p
}

// hidden is added to the scores of keys that a causal query must not see; finite, so that softmax never meets ∞ − ∞.
const hidden = -1e30

func causalMask(gr *Graph, rows int, g attentionGeom, from int) *Tensor {
	m := make([]float32, rows*g.tk)
	for t := range rows {
		for j := g.visible(from+t, true); j < g.tk; j++ {
			m[t*g.tk+j] = hidden
		}
	}
	return gr.Const("causal mask", m, rows, g.tk)
}

// attentionComposed computes wide heads from products and softmax, some queries at a time so that the scores stay small.
func attentionComposed(q, k, v, mask *Tensor, at *AttentionAttr, g attentionGeom) *Tensor {
	qh, kh, vh := splitHeads(q, g.h), splitHeads(k, g.hk), splitHeads(v, g.hk)
	rows := min(max(attentionScores/(g.b*g.h*g.tk), 1), g.tq)
	var parts []*Tensor
	for from := 0; from < g.tq; from += rows {
		n := min(rows, g.tq-from)
		part := qh
		if n < g.tq {
			part = Slice(qh, 2, from, from+n)
		}
		p := attentionWeights(part, kh, mask, at, g, from)
		y := MatMul(Reshape(p, g.b, g.hk, g.h/g.hk*n, g.tk), vh, MatMulOpts{})
		parts = append(parts, Reshape(y, g.b, g.h, n, g.dv))
	}
	if len(parts) == 1 {
		return joinHeads(parts[0])
	}
	return joinHeads(Concat(2, parts...))
}
