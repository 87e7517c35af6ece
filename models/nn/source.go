package nn

import (
	"encoding/binary"
	"fmt"
	"math"

	"atelier/compute"
	"atelier/models/checkpoint"
)

// Stored is a compute.Source over a tensor of a checkpoint. Half-precision tensors stay half on the device; all other
// types are widened or narrowed to float32.
type Stored struct {
	tensor checkpoint.Tensor
	order  *permutation // nil where the graph's order is the file's
}

// permutation turns a convolution's weight from the checkpoint's order to channels last.
type permutation struct {
	transposed bool
	// [outer rows cols] → [outer cols rows], or, transposed, [groups·rows mid cols] → [groups·mid cols rows].
	outer, groups, rows, mid, cols int
}

// DType is the storage type that a device should keep.
func (s *Stored) DType() compute.DType {
	if s.tensor.DType == checkpoint.F16 {
		return compute.F16
	}
	return compute.F32
}

// Read fills dst with the parameter's values in the graph's order.
func (s *Stored) Read(dst []float32) error {
	if err := s.checkSize(len(dst)); err != nil {
		return err
	}
	if s.order == nil {
		return s.tensor.Floats(dst, 0)
	}
	return permute(s.order, len(dst), func(from, n int) ([]float32, error) {
		row := make([]float32, n)
		return row, s.tensor.Floats(row, from)
	}, func(to int, v float32) { dst[to] = v })
}

// ReadRaw fills dst, of the storage type's size times the elements, with the little-endian bytes that a device keeps. It
// saves the detour over float32 for half-precision weights.
func (s *Stored) ReadRaw(dst []byte) error {
	size := s.DType().Bytes()
	if err := s.checkSize(len(dst) / size); err != nil {
		return err
	}
	le := binary.LittleEndian
	switch d := s.tensor.DType; {
	case s.order == nil && (d == checkpoint.F16 || d == checkpoint.F32):
		return s.tensor.Read(dst, 0)
	case d == checkpoint.F16:
		return permute(s.order, len(dst)/size, func(from, n int) ([]uint16, error) {
			raw, row := make([]byte, 2*n), make([]uint16, n)
			err := s.tensor.Read(raw, 2*from)
			for i := range row {
				row[i] = le.Uint16(raw[2*i:])
			}
			return row, err
		}, func(to int, v uint16) { le.PutUint16(dst[2*to:], v) })
	}
	values := make([]float32, len(dst)/size)
	if err := s.Read(values); err != nil {
		return err
	}
	for i, v := range values {
		le.PutUint32(dst[4*i:], math.Float32bits(v))
	}
	return nil
}

func (s *Stored) checkSize(n int) error {
	if n != s.tensor.Len() {
		return fmt.Errorf("nn: tensor %q holds %d values where %d are wanted; check that config.json belongs to these weights", s.tensor.Name, s.tensor.Len(), n)
	}
	return nil
}

// permute calls put for every one of n elements with its place in the graph's order; read gives a run of the file's elements.
func permute[T any](p *permutation, n int, read func(from, n int) ([]T, error), put func(to int, v T)) error {
	if !p.transposed {
		block := p.rows * p.cols
		for from := 0; from < n; from += block {
			in, err := read(from, block)
			if err != nil {
				return err
			}
			for r := range p.rows {
				for c := range p.cols {
					put(from+c*p.rows+r, in[r*p.cols+c])
				}
			}
		}
		return nil
	}
	block := p.mid * p.cols
	for from := 0; from < n; from += block {
		in, err := read(from, block)
		if err != nil {
			return err
		}
		group, row := from/block/p.rows, from/block%p.rows
		for m := range p.mid {
			for c := range p.cols {
				put(((group*p.mid+m)*p.cols+c)*p.rows+row, in[m*p.cols+c])
			}
		}
	}
	return nil
}
