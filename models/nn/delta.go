package nn

import (
	"fmt"

	"atelier/compute"
	"atelier/compute/host/vector"
)

// Delta adds something to a parameter's values dst, in a checkpoint's order: a LoRA's product, say.
type Delta func(dst []float32) error

// Change makes the parameter the sum of its own values and the deltas, without deltas its own values again. Its own values
// stay where they are: the sum is made when a device reads it. Graphs that were recorded before keep what they had.
func (p *Param) Change(deltas ...Delta) {
	own := p.Source
	if s, changed := own.(*sum); changed {
		own = s.own
	}
	if p.Source = own; len(deltas) > 0 {
		p.Source = &sum{own, p.order, deltas}
	}
}

// sum is a Source of a parameter's own values and deltas.
type sum struct {
	own    compute.Source
	order  *permutation // of the deltas' values; nil where the graph's order is the checkpoint's
	deltas []Delta
}

// DType is single precision, whatever the own values are kept in: half would round what the deltas add away.
func (s *sum) DType() compute.DType { return compute.F32 }

// Read fills dst in the graph's order.
func (s *sum) Read(dst []float32) error {
	if err := s.own.Read(dst); err != nil {
		return err
	}
	added := make([]float32, len(dst))
	for _, d := range s.deltas {
		if err := d(added); err != nil {
			return err
		}
	}
	if s.order != nil {
		turned, n := make([]float32, len(dst)), s.order.block()
		for from := 0; from < len(added); from += n {
			scatter(s.order, turned, added[from:from+n], from)
		}
		added = turned
	}
	vector.Add(dst, dst, added)
	return nil
}

// WithAppended is a table [rows columns] with further rows at its end, which hold values.
func (p *Param) WithAppended(values []float32) (*Param, error) {
	columns := p.Shape[len(p.Shape)-1]
	if len(p.Shape) != 2 || len(values)%columns != 0 {
		return nil, fmt.Errorf("nn: %d values are no rows of a table %v", len(values), p.Shape)
	}
	return &Param{
		Name: p.Name, Shape: compute.Shape{p.Shape[0] + len(values)/columns, columns},
		Source: &appended{p.Source, values}, stored: []int{p.Shape[0] + len(values)/columns, columns},
	}, nil
}

// appended is a Source of a table's own values, and others after them.
type appended struct {
	own  compute.Source
	more []float32
}

// DType is single precision, as the further rows have.
func (a *appended) DType() compute.DType { return compute.F32 }

// Read fills dst.
func (a *appended) Read(dst []float32) error {
	n := len(dst) - len(a.more)
	if n < 0 {
		return fmt.Errorf("nn: %d values are wanted of a table to which %d were added", len(dst), len(a.more))
	}
	if err := a.own.Read(dst[:n]); err != nil {
		return err
	}
	copy(dst[n:], a.more)
	return nil
}
