package nn

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"unsafe"

	"atelier/compute"
	"atelier/models/checkpoint"
)

// Stored is a compute.Source over a tensor of a checkpoint. Half-precision tensors stay half on the device, block-quantised
// matrices stay quantised, and types whose values half precision holds become that; all others become float32, but for large
// quantised tensors that no product reads as they are.
type Stored struct {
	tensor checkpoint.Tensor
	order  *permutation // nil where the graph's order is the file's
	matrix bool         // may stay block-quantised

	weigh sync.Once
	halve bool // a BF16 tensor that is as good in half precision
}

// exactElements is the size up to which a quantised tensor that must be decoded at load becomes float32, which holds every value
// and is little memory. Larger ones, the kernels of wide layers and vocabularies, become half: a rounding of 0.05 % beside
// that of 8 bits at most, for half the memory.
const exactElements = 1 << 20

// halfLoss is how far half precision may be from the values of a large BF16 tensor, root mean square relative to theirs: the
// few that are too small for its exponents lose last bits, less than sums in float32 do.
const halfLoss = 1e-6

// permutation turns a convolution's weight from the checkpoint's order to channels last.
type permutation struct {
	transposed bool
	// [outer rows cols] → [outer cols rows], or, transposed, [groups·rows mid cols] → [groups·mid cols rows].
	outer, groups, rows, mid, cols int
}

// DType is the storage type that a device should keep.
func (s *Stored) DType() compute.DType {
	switch s.tensor.DType {
	case checkpoint.F16, checkpoint.F8E4M3, checkpoint.F8E5M2: // of the last two, half precision holds every value
		return compute.F16
	case checkpoint.BF16:
		s.weigh.Do(func() {
			if s.tensor.Len() > exactElements {
				loss, err := s.tensor.HalfLoss()
				s.halve = err == nil && loss <= halfLoss
			}
		})
		if s.halve {
			return compute.F16
		}
		return compute.F32
	}
	if q := s.tensor.DType.Quantised(); q.Blocks() {
		switch {
		case s.matrix:
			return q
		case s.tensor.Len() > exactElements:
			return compute.F16
		}
	}
	return compute.F32
}

// Read fills dst with the parameter's values in the graph's order.
func (s *Stored) Read(dst []float32) error {
	if err := s.checkSize(len(dst)); err != nil || len(dst) == 0 {
		return err
	}
	if s.order == nil {
		return s.tensor.Floats(dst, 0)
	}
	in := make([]float32, s.order.run())
	for from := 0; from < len(dst); from += len(in) {
		in = in[:min(len(in), len(dst)-from)]
		if err := s.tensor.Floats(in, from); err != nil {
			return err
		}
		scatterAll(s.order, dst, in, from)
	}
	return nil
}

// ReadRaw fills dst, of DType().Stored bytes, with what a device keeps: little-endian elements or blocks. It saves the detour
// over float32 for half-precision and quantised weights.
func (s *Stored) ReadRaw(dst []byte) error {
	d := s.DType()
	if d.Blocks() {
		return s.readBlocks(d, dst)
	}
	size := d.Bytes()
	n := len(dst) / size
	if err := s.checkSize(n); err != nil || n == 0 {
		return err
	}
	if t := s.tensor.DType; t != checkpoint.F16 && t != checkpoint.F32 {
		values := make([]float32, n)
		if err := s.Read(values); err != nil {
			return err
		}
		for i, v := range values {
			if d == compute.F16 {
				binary.LittleEndian.PutUint16(dst[2*i:], compute.HalfBits(v))
			} else {
				binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
			}
		}
		return nil
	}
	if s.order == nil {
		return s.tensor.Read(dst, 0)
	}
	in := make([]byte, s.order.run()*size)
	for from := 0; from < n; from += len(in) / size {
		in = in[:min(len(in), len(dst)-from*size)]
		if err := s.tensor.Read(in, from*size); err != nil {
			return err
		}
		if size == 2 {
			scatterAll(s.order, elements[[2]byte](dst), elements[[2]byte](in), from)
		} else {
			scatterAll(s.order, elements[[4]byte](dst), elements[[4]byte](in), from)
		}
	}
	return nil
}

// readBlocks copies blocks, in the device's layout.
func (s *Stored) readBlocks(d compute.DType, dst []byte) error {
	elements, size := d.Block()
	stored := int(d.Stored(elements))
	blocks := s.tensor.Len() / elements
	if len(dst) != blocks*stored {
		return s.checkSize(len(dst) / stored * elements)
	}
	const run = 1 << 15 // large pieces, whose pages a checkpoint can let go
	file := make([]byte, min(run, blocks)*size)
	for at := 0; at < blocks; at += run {
		n := min(run, blocks-at)
		if err := s.tensor.Read(file[:n*size], at*size); err != nil {
			return err
		}
		d.Pack(dst[at*stored:(at+n)*stored], file[:n*size])
	}
	return nil
}

// elements sees bytes as elements, which are byte arrays and so have no alignment.
func elements[T [2]byte | [4]byte](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/len(t))
}

func (s *Stored) checkSize(n int) error {
	if n != s.tensor.Len() {
		return fmt.Errorf("nn: tensor %q holds %d values where %d are wanted; check that config.json belongs to these weights", s.tensor.Name, s.tensor.Len(), n)
	}
	return nil
}

// gather puts elements in the graph's order back into a checkpoint's: scatter's inverse.
func gather(p *permutation, values []float32) []float32 {
	at := make([]int32, len(values))
	for i := range at {
		at[i] = int32(i)
	}
	place, n := make([]int32, len(values)), p.block()
	for from := 0; from < len(values); from += n {
		scatter(p, place, at[from:from+n], from)
	}
	stored := make([]float32, len(values))
	for i, v := range values {
		stored[place[i]] = v
	}
	return stored
}

// block is how many elements of the file scatter takes at a time.
func (p *permutation) block() int {
	if p.transposed {
		return p.mid * p.cols
	}
	return p.rows * p.cols
}

// run is how many elements of the file are read at a time: whole blocks, and enough that a checkpoint can let their pages go.
func (p *permutation) run() int {
	b := p.block()
	return b * max(1, min((1<<19)/max(b, 1), p.blocks()))
}

// blocks is how many blocks there are.
func (p *permutation) blocks() int {
	if p.transposed {
		return p.groups * p.rows
	}
	return p.outer
}

// scatterAll is scatter for several blocks.
func scatterAll[T any](p *permutation, dst, in []T, from int) {
	n := p.block()
	for at := 0; at < len(in); at += n {
		scatter(p, dst, in[at:at+n], from+at)
	}
}

// scatter puts a block of the file's elements, which begins at element from, where the graph's order has them.
func scatter[T any](p *permutation, dst, in []T, from int) {
	if !p.transposed {
		out := dst[from : from+len(in)]
		for r := range p.rows {
			for c, v := range in[r*p.cols : (r+1)*p.cols] {
				out[c*p.rows+r] = v
			}
		}
		return
	}
	group, row := from/len(in)/p.rows, from/len(in)%p.rows
	for m := range p.mid {
		for c, v := range in[m*p.cols : (m+1)*p.cols] {
			dst[((group*p.mid+m)*p.cols+c)*p.rows+row] = v
		}
	}
}
