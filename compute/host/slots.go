package host

import (
	"runtime/debug"
	"slices"

	"atelier/compute"
)

// space is the memory in which loaded plans take turns: see compute.SharedSlots.
type space struct {
	slots   [][]float32 // the largest first
	scratch []float32   // of one node at a time
}

// bytes is what there is of it.
func (s *space) bytes() int64 {
	n := len(s.scratch)
	for _, slot := range s.slots {
		n += len(slot)
	}
	return 4 * int64(n)
}

// extent is the elements that a space must have.
type extent struct {
	slots   []int // the largest first
	scratch int
}

func (x *extent) bytes() int64 {
	n := x.scratch
	for _, slot := range x.slots {
		n += slot
	}
	return 4 * int64(n)
}

// extent is what the loaded plans need, and more ones that are about to be. The caller holds loading.
func (d *Device) extent(more ...*executable) extent {
	var x extent
	var all [][]int
	take := func(e *executable) {
		all = append(all, e.elements)
		x.scratch = max(x.scratch, e.scratch)
	}
	for e := range d.loaded {
		take(e)
	}
	for _, e := range more {
		take(e)
	}
	x.slots = compute.SharedSlots(all...)
	return x
}

// resize makes the space as large as x says, and all that uses it look it up again. The caller holds loading and running.
func (d *Device) resize(x extent) {
	before := d.space
	if len(before.scratch) == x.scratch && slices.EqualFunc(before.slots, x.slots, func(s []float32, n int) bool { return len(s) == n }) {
		return
	}
	d.space = space{slots: make([][]float32, len(x.slots))}
	kept := 0
	if len(before.scratch) == x.scratch {
		d.space.scratch, kept = before.scratch, x.scratch
	}
	for i, s := range before.slots[:min(len(before.slots), len(x.slots))] {
		if len(s) == x.slots[i] {
			d.space.slots[i] = s
			kept += len(s)
		}
	}
	gone := before.bytes()
	before = space{}
	for e := range d.loaded {
		e.forget()
	}
	giveBack(gone - 4*int64(kept)) // before as much is taken anew
	if d.space.scratch == nil {
		d.space.scratch = make([]float32, x.scratch)
	}
	for i, n := range x.slots {
		if d.space.slots[i] == nil {
			d.space.slots[i] = make([]float32, n)
		}
	}
	d.hold(d.space.bytes() - gone)
	for e := range d.loaded {
		e.prepare()
	}
}

// freedAtOnce is the memory from which on what was let go is given back to the system at once: the garbage collector would
// wait until as much again as the whole model was taken.
const freedAtOnce = 64 << 20

// giveBack returns memory to the system where bytes, let go just now, are many.
func giveBack(bytes int64) {
	if bytes >= freedAtOnce {
		debug.FreeOSMemory()
	}
}
