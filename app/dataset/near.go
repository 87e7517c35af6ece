package dataset

import (
	"cmp"
	"context"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// pair is two items that look alike.
type pair struct {
	first, second int
	mirrored      bool
}

// A hash is looked up by its blocks: hashes that differ in few bits differ in fewer still in some block (multi-index hashing, Norouzi et
// al. 2012).
const (
	hashBlocks = 4
	blockBits  = 64 / hashBlocks
)

// hashIndex finds hashes that differ from a given one in at most some bits, without comparing all.
type hashIndex struct {
	hashes []uint64
	most   int // bits that may differ
	from   [hashBlocks][1<<blockBits + 1]uint32
	lists  [hashBlocks][]uint32 // positions in hashes in the order of a block's value, then their own; from says where a value begins
	masks  []uint16             // values of a block with few bits set, the fewest first
	tried  [hashBlocks]int      // how many of masks can tell two blocks of near hashes apart
}

// newHashIndex takes the hashes that skip does not say to leave out.
func newHashIndex(hashes []uint64, skip func(i int) bool, most int) *hashIndex {
	x := &hashIndex{hashes: hashes, most: most}
	for k := range hashBlocks {
		from := &x.from[k]
		for i, h := range hashes {
			if !skip(i) {
				from[int(blockOf(h, k))+1]++
			}
		}
		for v := range 1 << blockBits {
			from[v+1] += from[v]
		}
		next := *from
		x.lists[k] = make([]uint32, from[1<<blockBits])
		for i, h := range hashes {
			if v := blockOf(h, k); !skip(i) {
				x.lists[k][next[v]] = uint32(i)
				next[v]++
			}
		}
	}
	for v := range 1 << blockBits {
		x.masks = append(x.masks, uint16(v))
	}
	slices.SortStableFunc(x.masks, func(a, b uint16) int { return cmp.Compare(bits.OnesCount16(a), bits.OnesCount16(b)) })
	for k := range hashBlocks {
		x.tried[k] = countUpTo(x.masks, x.within(k))
	}
	return x
}

func blockOf(h uint64, k int) uint16 { return uint16(h >> (blockBits * k)) }

// within is how many bits block k may differ in for a near hash to be found by it, below 0 none. Were each block to differ in more than its
// share, all together would in more than most.
func (x *hashIndex) within(k int) int {
	share := x.most / hashBlocks
	if k > x.most%hashBlocks {
		share--
	}
	return share
}

// countUpTo counts the masks with at most n bits set.
func countUpTo(masks []uint16, n int) int {
	at, _ := slices.BinarySearchFunc(masks, n+1, func(m uint16, n int) int { return cmp.Compare(bits.OnesCount16(m), n) })
	return at
}

// before calls found, in no order and once each, with the positions below end of the hashes that are near to h.
func (x *hashIndex) before(end int, h uint64, found func(i int)) {
	for k := range hashBlocks {
		v := blockOf(h, k)
		for _, m := range x.masks[:x.tried[k]] {
			at := v ^ m
			for _, i := range x.lists[k][x.from[k][at]:x.from[k][int(at)+1]] {
				if int(i) >= end {
					break
				}
				if d := x.hashes[i] ^ h; bits.OnesCount64(d) <= x.most && !x.sooner(d, k) {
					found(int(i))
				}
			}
		}
	}
}

// sooner reports whether a hash with the difference d was found by a block before k.
func (x *hashIndex) sooner(d uint64, k int) bool {
	for j := range k {
		if bits.OnesCount16(blockOf(d, j)) <= x.within(j) {
			return true
		}
	}
	return false
}

// near finds the pairs of near duplicates among the given items, in the order of the second, then of the first.
func (d *Dataset) near(ctx context.Context, among []int, most int, progress func(done, total int)) ([]pair, error) {
	if most < 0 || len(among) == 0 {
		return nil, nil
	}
	looks, hashes := make([]*measure, len(among)), make([]uint64, len(among))
	for n, i := range among {
		looks[n] = d.Items[i].look.Load()
		hashes[n] = looks[n].hash
	}
	index := newHashIndex(hashes, func(i int) bool { return looks[i].flat }, min(most, 64)) // what is flat has no shape to go by
	const piece = 256
	parts := make([][]pair, (len(looks)+piece-1)/piece)
	var next atomic.Int64
	var told sync.Mutex
	var all sync.WaitGroup
	done := 0
	for range min(runtime.GOMAXPROCS(0), 4) {
		all.Go(func() {
			for ctx.Err() == nil {
				p := int(next.Add(1)) - 1
				if p >= len(parts) {
					return
				}
				end := min((p+1)*piece, len(looks))
				for n := p * piece; n < end && ctx.Err() == nil; n++ {
					parts[p] = append(parts[p], index.pairsOf(n, looks, among)...)
				}
				told.Lock()
				if done += end - p*piece; progress != nil {
					progress(done, len(looks))
				}
				told.Unlock()
			}
		})
	}
	all.Wait()
	return slices.Concat(parts...), ctx.Err()
}

// pairsOf are the pairs of picture n with the ones before it. What is alike as it is does not count as mirrored too.
func (x *hashIndex) pairsOf(n int, looks []*measure, among []int) (list []pair) {
	b := looks[n]
	if b.flat {
		return nil
	}
	x.before(n, b.hash, func(k int) {
		if thumbDistance(looks[k], b, false) <= nearThumb {
			list = append(list, pair{among[k], among[n], false})
		}
	})
	straight := list
	x.before(n, b.mirrored, func(k int) {
		known := slices.ContainsFunc(straight, func(p pair) bool { return p.first == among[k] })
		if !known && thumbDistance(looks[k], b, true) <= nearThumb {
			list = append(list, pair{among[k], among[n], true})
		}
	})
	slices.SortFunc(list, func(a, b pair) int { return cmp.Compare(a.first, b.first) })
	return list
}
