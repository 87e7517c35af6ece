package compute

import (
	"cmp"
	"slices"
)

// A device that cannot hold all parameters of a plan beside its slots streams some: it reads them anew in every replay, each just
// before the step that needs it, into a window that the next one overwrites. Replays read parameters in the same order every
// time, for which the best choice is a fixed one, not the least recently used: that would throw each out just before it is
// needed again. Only right sides of products and convolutions are streamed, which are almost all of a model's weights.

// Streaming is an Executable that streams parameters: how many bytes of them each replay, 0 where the device holds all.
type Streaming interface{ Streams() int64 }

// Streamed is the bytes of parameters that an executable reads anew in every replay.
func Streamed(e Executable) int64 {
	if s, ok := e.(Streaming); ok {
		return s.Streams()
	}
	return 0
}

// streamsOperand reports whether an op's second operand may be streamed.
func streamsOperand(n *Tensor) bool {
	switch n.Op.Name {
	case "matmul", "conv2d", "conv_transpose2d":
		return true
	}
	return false
}

// Streamable lists the parameters that may be streamed: each is read only as the second operand of products or convolutions,
// as it is, and none where the plan changes variables.
func (p *Plan) Streamable() []*Tensor {
	if p.Updates < len(p.Steps) {
		return nil
	}
	barred := map[*Tensor]bool{}
	for i := range p.Steps {
		n := p.Steps[i].Node
		for j, x := range n.In {
			if j != 1 || x.Op != opParam || x.IsVariable() || !streamsOperand(n) {
				barred[Root(x)] = true
			}
		}
	}
	for _, o := range p.Outputs {
		barred[Root(o.T)] = true
	}
	var list []*Tensor
	for _, t := range p.Params {
		if !barred[t] {
			list = append(list, t)
		}
	}
	return list
}

// StreamCost is what a parameter takes where a device holds it, and as much of a window as it takes where it is streamed.
type StreamCost struct{ Held, Window int64 }

// StreamSet chooses the parameters to stream so that excess bytes are saved, the window for the largest of them included, and as
// few bytes as possible are read each replay. It gives indices into costs in order, or false where all are not enough.
func StreamSet(costs []StreamCost, excess int64) (set []int, window int64, ok bool) {
	order := make([]int, len(costs)) // small windows first
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(costs[a].Window, costs[b].Window) })
	least := int64(0)
	for end := 1; end <= len(order); end++ {
		w := costs[order[end-1]].Window
		saved, from := int64(0), end
		for from > 0 && saved < excess+w { // the largest that the window holds
			from--
			saved += costs[order[from]].Held
		}
		if saved >= excess+w && (!ok || saved < least) {
			set, window, least, ok = append([]int(nil), order[from:end]...), w, saved, true
		}
	}
	slices.Sort(set)
	return set, window, ok
}

// StreamedBytes is about the least memory in which a device can replay the plan, streaming all that may be streamed; held gives
// what a parameter takes on the device.
func (p *Plan) StreamedBytes(held func(t *Tensor) int64) int64 {
	n, window := p.SlotBytes(), int64(0)
	streamable := map[*Tensor]bool{}
	for _, t := range p.Streamable() {
		streamable[t] = true
		window = max(window, 2*held(t), 4*int64(t.shape.Size()))
	}
	for _, t := range p.Params {
		if !streamable[t] {
			n += held(t)
		}
	}
	return n + window
}
