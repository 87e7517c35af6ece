package compute

import (
	"fmt"
	"slices"
)

// Grad appends the nodes that compute the gradient of the scalar loss with respect to each of wrt (reverse mode).
// A tensor that loss does not depend on gets zeros. Where the graph has tensors named by Keep, the gradients use these and
// compute everything between them again.
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
	grads := map[*Tensor]*Tensor{loss: g.Const("one", []float32{1}, loss.shape...)}
	if bad := reverse(g, loss.id, 0, dependents(g, loss, wrt), newRerun(g), grads); bad != nil {
		for i := range out {
			out[i] = bad
		}
		return out
	}
	for i, x := range wrt {
		if out[i] = grads[x]; out[i] == nil {
			out[i] = g.Const("zero", make([]float32, x.shape.Size()), x.shape...)
		}
	}
	return out
}

// reverse takes grads from node from back to node lowest, through nodes that needs marks. It gives the poisoned node of an op
// that has no gradient, nil where all have.
func reverse(g *Graph, from, lowest int, needs map[*Tensor]bool, again *rerun, grads map[*Tensor]*Tensor) *Tensor {
	for id := from; id >= lowest; id-- {
		n := g.nodes[id]
		dy := grads[n]
		if dy == nil || !slices.ContainsFunc(n.In, func(x *Tensor) bool { return needs[x] }) {
			continue
		}
		vjp := n.Op.VJP
		if vjp == nil && n.Op.Compose != nil {
			vjp = throughComposition
		}
		if vjp == nil {
			return g.poison(&Tensor{Op: n.Op, g: g, at: n.at}, fmt.Errorf("this op has no gradient"))
		}
		for i, d := range vjp(again.node(n), dy) {
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
	return nil
}

// throughComposition is the gradient of an op that has none of its own, such as those that are gradients themselves: that of what
// it is composed of.
func throughComposition(n, dy *Tensor) []*Tensor {
	g, out := n.g, make([]*Tensor, len(n.In))
	lowest := len(g.nodes)
	y := n.Op.Compose(n)
	needs := map[*Tensor]bool{}
	for _, x := range n.In {
		needs[x] = true
	}
	for _, c := range g.nodes[lowest:] {
		needs[c] = slices.ContainsFunc(c.In, func(x *Tensor) bool { return needs[x] })
	}
	grads := map[*Tensor]*Tensor{y: dy}
	bad := y
	if y.err == nil {
		bad = reverse(g, y.id, lowest, needs, &rerun{}, grads)
	}
	for i, x := range n.In {
		switch {
		case bad != nil:
			out[i] = bad
		case slices.Index(n.In, x) == i: // an operand that comes twice has all of its gradient the first time
			out[i] = grads[x]
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
