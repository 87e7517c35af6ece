//go:build cgo

package opengl

import "atelier/compute"

// sizes is the bytes that the device's slots must have for the loaded plans and more.
func (d *Device) sizes(more ...*compute.Plan) []int64 {
	var all [][]int64
	for e := range d.loaded {
		all = append(all, e.plan.Slots)
	}
	for _, p := range more {
		all = append(all, p.Slots)
	}
	return compute.SharedSlots(all...)
}

// growth is the bytes by which the slots grow where a plan is loaded.
func (d *Device) growth(p *compute.Plan) int64 {
	var n int64
	for i, bytes := range d.sizes(p) {
		if n += allocated(bytes); i < len(d.slots) {
			n -= d.slots[i].bytes
		}
	}
	return n
}

// resize makes the slots as large as the loaded plans need them. A buffer keeps its name, so that commands and views that name
// it go on.
func (d *Device) resize() error {
	sizes := d.sizes()
	for len(d.slots) > len(sizes) {
		last := len(d.slots) - 1
		d.free(d.slots[last])
		d.slots = d.slots[:last]
	}
	for i, bytes := range sizes {
		if i == len(d.slots) {
			b, err := d.alloc(bytes)
			if err != nil {
				return err
			}
			d.slots = append(d.slots, b)
		} else if err := d.realloc(d.slots[i], bytes); err != nil {
			return err
		}
	}
	return nil
}
