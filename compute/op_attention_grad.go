package compute

import "math"

// opAttentionGrad is the gradients of an attention's q, k and v, one after the other in a flat result: operands q, k, v, the
// gradient of the result, then the mask where present. With P the weights and dP = dy·vᵀ, the scores' gradient is
// dS = P∘(dP − rowsum(P∘dP)).
var opAttentionGrad = register(&Op{
	Name: "attention_grad",
	Shape: func(n *Tensor) (Shape, error) {
		return Shape{n.In[0].shape.Size() + n.In[1].shape.Size() + n.In[2].shape.Size()}, nil
	},
	Units: func(n *Tensor) int { return n.In[1].shape[0] * n.Attr.(*AttentionAttr).KVHeads },
	Ref:   attentionGradRef,
	Lower: attentionGradLower,
	FLOPs: func(n *Tensor) float64 {
		g, _ := attentionGeometry(attentionOf(n))
		return 2 * float64(g.b*g.h) * float64(g.tq) * float64(g.tk) * float64(3*g.d+2*g.dv)
	},
})

// attentionOf is the node that an attention_grad node belongs to, outside any graph.
func attentionOf(n *Tensor) *Tensor {
	in := append([]*Tensor(nil), n.In[:3]...)
	return &Tensor{Op: opAttention, Attr: n.Attr, In: append(in, n.In[4:]...)}
}

func attentionGradRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at := n.Attr.(*AttentionAttr)
	g, _ := attentionGeometry(attentionOf(n))
	q, k, v, dy := in[0], in[1], in[2], in[3]
	dq, dk, dv := out[:len(q)], out[len(q):][:len(k)], out[len(q)+len(k):]
	scores, slopes := make([]float64, g.tk), make([]float64, g.tk)
	for u := lo; u < hi; u++ {
		b, kv, group := u/g.hk, u%g.hk, g.h/g.hk
		sumK, sumV, sumQ := make([]float64, g.tk*g.d), make([]float64, g.tk*g.dv), make([]float64, g.d)
		for head := kv * group; head < (kv+1)*group; head++ {
			for t := range g.tq {
				from, to := ((b*g.tq+t)*g.h+head)*g.d, ((b*g.tq+t)*g.h+head)*g.dv
				keys, top, total, mean := g.visible(t, at.Causal), math.Inf(-1), 0.0, 0.0
				for j := range keys {
					scores[j] = at.Scale * dot64(q[from:][:g.d], k[((b*g.tk+j)*g.hk+kv)*g.d:])
					if at.Mask {
						scores[j] += float64(in[4][b*g.maskB+head*g.maskH+t*g.maskQ+j*g.maskK])
					}
					slopes[j] = dot64(dy[to:][:g.dv], v[((b*g.tk+j)*g.hk+kv)*g.dv:])
					top = math.Max(top, scores[j])
				}
				clear(sumQ)
				for j := range keys {
					if scores[j] = math.Exp(scores[j] - top); math.IsInf(top, -1) {
						scores[j] = 0
					}
					total += scores[j]
				}
				for j := range keys {
					if total > 0 {
						scores[j] /= total
					}
					mean += scores[j] * slopes[j]
				}
				for j := range keys {
					p, ds := scores[j], at.Scale*scores[j]*(slopes[j]-mean)
					for i := range g.d {
						sumQ[i] += ds * float64(k[((b*g.tk+j)*g.hk+kv)*g.d+i])
						sumK[j*g.d+i] += ds * float64(q[from+i])
					}
					for i := range g.dv {
						sumV[j*g.dv+i] += p * float64(dy[to+i])
					}
				}
				for i, s := range sumQ {
					dq[from+i] = float32(s)
				}
			}
		}
		for j := range g.tk {
			for i := range g.d {
				dk[((b*g.tk+j)*g.hk+kv)*g.d+i] = float32(sumK[j*g.d+i])
			}
			for i := range g.dv {
				dv[((b*g.tk+j)*g.hk+kv)*g.dv+i] = float32(sumV[j*g.dv+i])
			}
		}
	}
}

// dot64 is the sum of products of x and the first elements of y.
func dot64(x, y []float32) float64 {
	sum := 0.0
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
}

func init() {
	opAttention.VJP = func(n, dy *Tensor) []*Tensor {
		in := append([]*Tensor(nil), n.In[:3]...)
		all := newNode(opAttentionGrad, n.Attr, append(append(in, dy), n.In[3:]...)...)
		var out []*Tensor
		from := 0
		for _, x := range n.In[:3] {
			size := x.shape.Size()
			out = append(out, Reshape(Slice(all, 0, from, from+size), x.shape...))
			from += size
		}
		if len(n.In) > 3 {
			_, ds := attentionGradParts(n, dy)
			out = append(out, sumToShape(ds, n.In[3].shape))
		}
		return out
	}
	opAttentionGrad.Compose = func(n *Tensor) *Tensor {
		grads, _ := attentionGradParts(attentionOf(n), n.In[3])
		var flat []*Tensor
		for _, d := range grads {
			flat = append(flat, Reshape(d, -1))
		}
		return Concat(0, flat...)
	}
}

// attentionGradParts are the gradients of q, k and v as products of whole matrices, some queries at a time so that the scores stay
// small, and that of the scores.
func attentionGradParts(n, dy *Tensor) (grads []*Tensor, ds *Tensor) {
	at := n.Attr.(*AttentionAttr)
	g, _ := attentionGeometry(n)
	q, k, v := splitHeads(n.In[0], g.h), splitHeads(n.In[1], g.hk), splitHeads(n.In[2], g.hk)
	do := splitHeads(dy, g.h)
	var mask, dk, dv *Tensor
	if at.Mask {
		mask = n.In[3]
	}
	rows := min(max(attentionScores/(g.b*g.h*g.tk), 1), g.tq)
	var dqs, dss []*Tensor
	for from := 0; from < g.tq; from += rows {
		count := min(rows, g.tq-from)
		part := func(x *Tensor) *Tensor { return Slice(x, 2, from, from+count) }
		fold := func(x *Tensor) *Tensor { return Reshape(x, g.b, g.hk, g.h/g.hk*count, x.Dim(-1)) } // queries that share a key head
		queries, above := part(q), fold(part(do))
		p := attentionWeights(queries, k, mask, at, g, from)
		dp := Reshape(MatMul(above, v, MatMulOpts{TransB: true}), p.shape...)
		slope := newNode(opSoftmaxGrad, nil, p, dp)
		dqs = append(dqs, Reshape(MatMul(fold(slope), k, MatMulOpts{}), g.b, g.h, count, g.d))
		dk = MatMul(fold(slope), fold(queries), MatMulOpts{TransA: true, Residual: dk})
		dv = MatMul(fold(p), above, MatMulOpts{TransA: true, Residual: dv})
		dss = append(dss, slope)
	}
	scaled := func(x *Tensor) *Tensor { return Affine(joinHeads(x), at.Scale, 0) }
	return []*Tensor{scaled(Concat(2, dqs...)), scaled(dk), joinHeads(dv)}, Concat(2, dss...)
}
