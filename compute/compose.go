package compute

import (
	"fmt"
	"strings"
)

// composed is g with every node whose op has no shader of its own replaced by what the op is composed of; g itself where there
// is no such node. Nodes that different compositions have in common, such as the standardised picture of a norm's several
// gradients, are made once.
func (g *Graph) composed() (*Graph, error) {
	any := false
	for _, n := range g.nodes {
		any = any || n.Op.composes()
	}
	if !any {
		return g, nil
	}
	to, twin := NewGraph(), map[*Tensor]*Tensor{}
	to.made = map[string]*Tensor{}
	for _, n := range g.nodes {
		c := *n
		c.g, c.In = to, make([]*Tensor, len(n.In))
		for i, x := range n.In {
			c.In[i] = twin[x]
		}
		if !n.Op.composes() {
			twin[n] = to.add(&c, nil)
			continue
		}
		to.sharing = true
		y := n.Op.Compose(&c)
		to.sharing = false
		if y.err != nil {
			return nil, y.err
		}
		if !y.shape.Equal(n.shape) {
			return nil, fmt.Errorf("compute: %s is composed as %v instead of %v (%s)", n.Op.Name, y.shape, n.shape, n.at)
		}
		twin[n] = y
	}
	for _, o := range g.outputs {
		to.Output(o.Name, twin[o.T])
	}
	for _, u := range g.updates {
		to.updates = append(to.updates, twin[u])
	}
	return to, nil
}

// shared gives the node of a composition that is like t, t itself where it is the first of its kind.
func (g *Graph) shared(t *Tensor) *Tensor {
	if !g.sharing || t.Op == opParam || t.Op == opInput {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %+v", t.Op.Name, t.dtype, t.Attr)
	for _, x := range t.In {
		fmt.Fprintf(&b, " %d", x.id)
	}
	key := b.String()
	if have := g.made[key]; have != nil {
		return have
	}
	g.made[key] = t
	return nil
}
