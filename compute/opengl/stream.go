//go:build cgo

package opengl

import "atelier/compute"

// streamWindows is how many windows streamed parameters take turns in where there is room: one is written while launches read
// the other.
const streamWindows = 2

// fit decides which parameters stay on the device and which replays read anew, so that slots, parameters and windows fit what is
// free, and refuses a plan that does not fit even so. It gives the windows' number and bytes.
func (e *Executable) fit() (windows int, bytes int64, err error) {
	d := e.device
	need := d.growth(e.plan)
	for _, t := range e.plan.Params {
		if d.params[t.Src] == nil {
			need += t.Bytes()
		}
	}
	e.held = e.plan.Params
	limit := d.memoryLimit()
	used, _ := d.Memory()
	if limit <= 0 || need <= limit-used {
		return 0, 0, nil
	}
	var candidates []*compute.Tensor
	var costs []compute.StreamCost
	for _, t := range e.plan.Streamable() {
		if d.params[t.Src] == nil {
			candidates = append(candidates, t)
			costs = append(costs, compute.StreamCost{Held: t.Bytes()})
		}
	}
	set, ok := []int(nil), false
	for windows = streamWindows; windows > 0; windows-- {
		for i := range costs {
			costs[i].Window = int64(windows) * costs[i].Held
		}
		if set, bytes, ok = compute.StreamSet(costs, need-(limit-used)); ok {
			bytes /= int64(windows)
			break
		}
	}
	if !ok {
		return 0, 0, &compute.MemoryError{Device: d.Name(), Need: need, Available: max(limit-used, 0)}
	}
	e.streams = map[compute.Source]*buffer{}
	for _, i := range set {
		e.streams[candidates[i].Src] = nil // until the windows are there
	}
	e.held = nil
	for _, t := range e.plan.Params {
		if _, streamed := e.streams[t.Src]; !streamed {
			e.held = append(e.held, t)
		}
	}
	return windows, bytes, nil
}

// reserveWindows makes the windows and deals them out to the streamed parameters in the order of steps, by turns.
func (e *Executable) reserveWindows(windows int, bytes int64) error {
	for range windows {
		b, err := e.device.alloc(bytes)
		if err != nil {
			return err
		}
		e.windows = append(e.windows, b)
	}
	next := 0
	for i := range e.plan.Steps {
		in := e.plan.Steps[i].Node.In
		if len(in) < 2 {
			continue
		}
		if w, streamed := e.streams[in[1].Src]; in[1].Src != nil && streamed && w == nil {
			e.streams[in[1].Src] = e.windows[next]
			next = (next + 1) % windows
		}
	}
	return nil
}

// Streams is the bytes of parameters that each replay reads anew.
func (e *Executable) Streams() int64 {
	var n int64
	for _, t := range e.plan.Params {
		if e.streams[t.Src] != nil {
			n += t.Bytes()
		}
	}
	return n
}
