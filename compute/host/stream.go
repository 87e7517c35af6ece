package host

import (
	"unsafe"

	"atelier/compute"
)

// stream is a right side that is read anew before each step that needs it, into a window that all streams of an executable
// share. It is not packed, which would cost more than it saves for a single use: products pack blocks as they need them.
type stream struct {
	paramUse
	right panels
}

// windowBytes is as much of a window as a stream takes.
func (u *paramUse) windowBytes() int64 {
	if u.t.DType().Blocks() {
		return u.t.Bytes()
	}
	return 4 * int64(u.t.Shape().Size())
}

// chooseStreams parts the uses of a plan that exceeds what is free by excess bytes into those to hold and those to stream, with
// the bytes of their window; false where the plan does not fit even so. The caller holds loading.
func (d *Device) chooseStreams(p *compute.Plan, uses []paramUse, excess int64) (hold []paramUse, streams map[paramKey]*stream, window int64, ok bool) {
	may := map[*compute.Tensor]bool{}
	for _, t := range p.Streamable() {
		may[t] = true
	}
	var candidates []int
	var costs []compute.StreamCost
	for i := range uses {
		if u := &uses[i]; u.k > 0 && may[u.t] && d.params[u.paramKey] == nil {
			candidates = append(candidates, i)
			costs = append(costs, compute.StreamCost{Held: u.bytes(), Window: u.windowBytes()})
		}
	}
	set, window, ok := compute.StreamSet(costs, excess)
	streams = map[paramKey]*stream{}
	for _, c := range set {
		u := uses[candidates[c]]
		s := &stream{paramUse: u, right: panels{k: u.k, n: u.n, pitch: u.n, transposed: u.transposed, dtype: u.t.DType()}}
		if u.transposed {
			s.right.pitch = u.k
		}
		streams[u.paramKey] = s
	}
	for _, u := range uses {
		if streams[u.paramKey] == nil {
			hold = append(hold, u)
		}
	}
	return hold, streams, window, ok
}

// fill reads the parameter into window.
func (s *stream) fill(window []float32) error {
	if s.t.DType().Blocks() {
		s.right.blocks = unsafe.Slice((*byte)(unsafe.Pointer(&window[0])), s.t.Bytes())
		return s.readRaw(s.right.blocks)
	}
	s.right.matrix = window[:s.t.Shape().Size()]
	return s.read(s.right.matrix)
}

// streamOf is the stream that a node's right side is, or nil.
func (e *executable) streamOf(n *compute.Tensor) *stream {
	if len(e.streams) == 0 || len(n.In) < 2 || e.plan.Slot(n.In[1]) >= 0 {
		return nil
	}
	key, packed := packedKey(n)
	if !packed {
		return nil
	}
	key.src = compute.Root(n.In[1]).Src
	return e.streams[key]
}

// Streams is the bytes of parameters that each replay reads anew.
func (e *executable) Streams() int64 {
	var n int64
	for _, s := range e.streams {
		n += s.bytes()
	}
	return n
}
