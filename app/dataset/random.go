package dataset

import (
	"cmp"
	"encoding/binary"
	"slices"

	"atelier/models/diffusion"
)

// What random numbers are for; each use has a stream of its own, so that none shifts another.
const (
	streamOrder uint32 = iota + 1
	streamBatches
	streamPicture
	streamCaption
	streamSheet
)

// draws is a stream of random numbers that depends on nothing but where it begins: Philox4x32-10 with key = seed and
// counter = (block, a, b, stream).
type draws struct {
	key     [2]uint32
	counter [4]uint32
	words   [4]uint32
	left    int
}

func newDraws(seed uint64, stream, a, b uint32) *draws {
	return &draws{key: [2]uint32{uint32(seed), uint32(seed >> 32)}, counter: [4]uint32{0, a, b, stream}}
}

func (d *draws) word() uint32 {
	if d.left == 0 {
		d.words = diffusion.Philox(d.counter, d.key)
		d.counter[0]++
		d.left = 4
	}
	d.left--
	return d.words[3-d.left]
}

// uniform is in [0, 1).
func (d *draws) uniform() float64 { return float64(d.word()) / (1 << 32) }

// around is in [−most, most).
func (d *draws) around(most float64) float64 { return most * (2*d.uniform() - 1) }

// below is a whole number in [0, n).
func (d *draws) below(n int) int {
	return int(uint64(d.word()) * uint64(n) >> 32)
}

// shuffle puts n numbers from 0 on into an order that the stream determines.
func (d *draws) shuffle(n int) []int {
	type keyed struct {
		key uint64
		i   int
	}
	all := make([]keyed, n)
	for i := range all {
		all[i] = keyed{uint64(d.word())<<32 | uint64(d.word()), i}
	}
	slices.SortFunc(all, func(a, b keyed) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.i, b.i)) })
	out := make([]int, n)
	for i, k := range all {
		out[i] = k.i
	}
	return out
}

// seeded mixes a seed into a hash, for orders that depend on content.
func seeded(seed uint64) []byte { return binary.LittleEndian.AppendUint64(nil, seed) }
