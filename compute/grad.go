package compute

import (
	"fmt"
	"slices"
)

// Grad appends the nodes that compute the gradient of the scalar loss with respect to each of wrt (reverse mode).
// A tensor that loss does not depend on gets zeros.
func Grad(loss *Tensor, wrt ...*Tensor) []*Tensor {
	out := make([]*Tensor, len(wrt))
	if loss.err != nil {
		for i := range out {
			out[i] = loss
		}
		return out
	}
	g := loss.g
	if loss.shape.Size() != 1 {
		bad := g.poison(&Tensor{Op: loss.Op, g: g, at: callerLine()}, fmt.Errorf("a gradient starts from one number, not from %v", loss.shape))
		for i := range out {
			out[i] = bad
		}
		return out
	}
	needs := dependents(g, loss, wrt)
	grads := map[*Tensor]*Tensor{loss: g.Const("one", []float32{1}, loss.shape...)}
	for id := loss.id; id >= 0; id-- {
		n := g.nodes[id]
		dy := grads[n]
		if dy == nil || !slices.ContainsFunc(n.In, func(x *Tensor) bool { return needs[x] }) {
			continue
		}
		if n.Op.VJP == nil {
			bad := g.poison(&Tensor{Op: n.Op, g: g, at: n.at}, fmt.Errorf("this op has no gradient"))
			for i := range out {
				out[i] = bad
			}
			return out
		}
		for i, d := range n.Op.VJP(n, dy) {
			x := n.In[i]
			if d == nil || !needs[x] {
				continue
			}
			if have := grads[x]; have != nil {
				d = Add(have, d)
			}
			grads[x] = d
		}
	}
	for i, x := range wrt {
		if out[i] = grads[x]; out[i] == nil {
			out[i] = g.Const("zero", make([]float32, x.shape.Size()), x.shape...)
		}
	}
	return out
}

// dependents marks the nodes on a path from wrt to loss, so that gradients of the rest are never built.
func dependents(g *Graph, loss *Tensor, wrt []*Tensor) map[*Tensor]bool {
	needs := map[*Tensor]bool{}
	for _, x := range wrt {
		needs[x] = true
	}
	for _, n := range g.nodes[:loss.id+1] {
		for _, x := range n.In {
			if needs[x] {
				needs[n] = true
			}
		}
	}
	return needs
}
