package dataset

import (
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// measured is a set whose pictures have the given hashes, and thumbnails in one of two colours.
func measured(hashes, mirrored []uint64) *Dataset {
	d := &Dataset{}
	for i, h := range hashes {
		m := &measure{hash: h, mirrored: mirrored[i], flat: i%17 == 5}
		for k := range m.thumb {
			if m.thumb[k] = 255; k%4 == i%5/4 {
				m.thumb[k] = 20
			}
		}
		it := &Item{}
		it.look.Store(m)
		d.Items = append(d.Items, it)
	}
	return d
}

// flipped is h with up to n bits changed.
func flipped(rng *rand.Rand, h uint64, n int) uint64 {
	for range rng.IntN(n + 1) {
		h ^= 1 << rng.IntN(64)
	}
	return h
}

// plainPairs is the definition: every picture with every one before it.
func plainPairs(d *Dataset, among []int, most int) (pairs []pair) {
	for n, j := range among {
		for _, i := range among[:n] {
			a, b := d.Items[i].look.Load(), d.Items[j].look.Load()
			switch {
			case a.flat || b.flat:
			case bits.OnesCount64(a.hash^b.hash) <= most && thumbDistance(a, b, false) <= nearThumb:
				pairs = append(pairs, pair{i, j, false})
			case bits.OnesCount64(a.hash^b.mirrored) <= most && thumbDistance(a, b, true) <= nearThumb:
				pairs = append(pairs, pair{i, j, true})
			}
		}
	}
	return pairs
}

// TestNearIsItsDefinition compares the search with the definition on hashes by chance and in clusters, for every number of bits.
func TestNearIsItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	const n = 700
	random, clustered, mirrored := make([]uint64, n), make([]uint64, n), make([]uint64, n)
	for i := range n {
		random[i] = rng.Uint64()
		switch {
		case i > 0 && i%3 > 0:
			clustered[i] = flipped(rng, clustered[rng.IntN(i)], 12)
		default:
			clustered[i] = rng.Uint64()
		}
		mirrored[i] = flipped(rng, clustered[rng.IntN(i+1)], 14)
	}
	among := make([]int, 0, n)
	for i := range n {
		if i%11 != 3 {
			among = append(among, i)
		}
	}
	for name, d := range map[string]*Dataset{"random": measured(random, random), "clustered": measured(clustered, mirrored)} {
		for _, most := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 20, 33, 64, 100} {
			told := 0
			got, err := d.near(t.Context(), among, most, func(done, total int) { told = max(told, 1000*done/total) })
			want := plainPairs(d, among, most)
			if err != nil || !slices.Equal(got, want) || told != 1000 {
				t.Errorf("%s within %d bits: %d pairs, want %d; %v, told of %d ‰", name, most, len(got), len(want), err, told)
			}
			if name == "clustered" && most == 8 && (len(want) < 300 || !slices.ContainsFunc(want, func(p pair) bool { return p.mirrored })) {
				t.Errorf("the clusters have only %d pairs", len(want))
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := measured(random, random).near(ctx, among, 8, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, it gives %v", err)
	}
}

// BenchmarkNear compares 200,000 pictures, a third of them near to another.
func BenchmarkNear(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 5))
	const n = 200_000
	hashes, mirrored := make([]uint64, n), make([]uint64, n)
	among := make([]int, n)
	for i := range n {
		hashes[i], mirrored[i], among[i] = rng.Uint64(), rng.Uint64(), i
		if i%3 == 2 {
			hashes[i] = flipped(rng, hashes[rng.IntN(i)], 8)
		}
	}
	d := measured(hashes, mirrored)
	for b.Loop() {
		if _, err := d.near(b.Context(), among, defaultNearBits, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "pictures/s")
}
