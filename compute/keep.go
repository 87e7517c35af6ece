package compute

// Keep makes gradients of this graph recompute activations (Chen et al. 2016): of the forward pass only ts stay in memory until
// the backward pass, which computes what lies between two of them a second time, when it gets there. ts should cut the graph
// into stretches of like size, and hold every tensor that is used again much later, such as the skips of a U-Net: computing
// that again would compute all before it.
func (g *Graph) Keep(ts ...*Tensor) {
	for _, t := range ts {
		if t.err == nil {
			g.kept[t] = true
		}
	}
}

// KeepStretches chooses what to Keep for the gradients of loss: it cuts the forward pass into n stretches of about as many bytes of
// activations each, where few bytes are needed later, and keeps what is used behind a cut. Fewer than two stretches keep everything.
// What follows from parameters alone is computed again rather than kept. It comes before Grad.
func (g *Graph) KeepStretches(loss *Tensor, n int) {
	if loss.err != nil || n < 2 {
		return
	}
	f := newForwardPass(g, loss)
	for k := 1; k < n; k++ {
		f.keepBehind(g, f.cut(float64(k)/float64(n), 0.25/float64(n)))
	}
}

// forwardPass is the nodes that a loss depends on, with what their activations take.
type forwardPass struct {
	last  []int   // of each node, the last one that reads it; 0 for those that are not activations
	sum   []int64 // bytes of the activations up to each node
	alive []int64 // bytes of the activations that are read behind each node
}

func newForwardPass(g *Graph, loss *Tensor) *forwardPass {
	n := loss.id + 1
	f := &forwardPass{make([]int, n), make([]int64, n), make([]int64, n)}
	needed, fed := make([]bool, n), make([]bool, n)
	needed[loss.id] = true
	for id := loss.id; id >= 0; id-- {
		for _, x := range g.nodes[id].In {
			if needed[id] {
				needed[x.id] = true
			}
		}
	}
	for id, t := range g.nodes[:n] {
		fed[id] = t.IsInput()
		for _, x := range t.In {
			fed[id] = fed[id] || fed[x.id]
			if needed[id] && fed[x.id] && len(x.In) > 0 {
				f.last[x.id] = id
			}
		}
	}
	var change = make([]int64, n+1)
	for id, last := range f.last {
		if last > 0 {
			f.sum[id] = g.nodes[id].Bytes()
			change[id] += f.sum[id]
			change[last] -= f.sum[id]
		}
		if id > 0 {
			f.sum[id] += f.sum[id-1]
			f.alive[id] = f.alive[id-1]
		}
		f.alive[id] += change[id]
	}
	return f
}

// cut is the node within slack of a share of all activations' bytes behind which the fewest bytes are read.
func (f *forwardPass) cut(share, slack float64) int {
	all, best := float64(f.sum[len(f.sum)-1]), -1
	for id, sum := range f.sum {
		if at := float64(sum); at < all*(share-slack) || at > all*(share+slack) {
			continue
		}
		if best < 0 || f.alive[id] < f.alive[best] {
			best = id
		}
	}
	return best
}

// keepBehind keeps what is read behind node id.
func (f *forwardPass) keepBehind(g *Graph, id int) {
	for i := range id + 1 {
		if f.last[i] > id {
			g.Keep(g.nodes[i])
		}
	}
}

// rerun gives nodes of the forward pass as the backward pass sees them: themselves, or computed again from what is kept.
type rerun struct {
	kept  map[*Tensor]bool
	again map[*Tensor]*Tensor
}

func newRerun(g *Graph) *rerun { return &rerun{g.kept, map[*Tensor]*Tensor{}} }

// node is n with operands that are there in the backward pass.
func (r *rerun) node(n *Tensor) *Tensor {
	if len(r.kept) == 0 || len(n.In) == 0 {
		return n
	}
	if c := r.again[n]; c != nil {
		return c
	}
	in := make([]*Tensor, len(n.In))
	for i, x := range n.In {
		if in[i] = x; !r.kept[x] {
			in[i] = r.node(x)
		}
	}
	c := newNode(n.Op, n.Attr, in...)
	c.dtype, c.at, c.name = n.dtype, n.at, n.name
	r.again[n] = c
	return c
}
