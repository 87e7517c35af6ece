package judge

import (
	"context"
	"fmt"
	"math"

	"atelier/models/diffusion"
)

// KIDOptions are the choices of KID; the zero value is that of Bińkowski et al.
type KIDOptions struct {
	Subsets int // 0 means 100
	Size    int // pictures of each set in a subset; 0 means 1000, or all where there are fewer
	Seed    uint64
}

// Estimate is a mean over subsets with its standard deviation.
type Estimate struct {
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"deviation"`
}

// KID is the kernel distance of Bińkowski et al. 2018: the unbiased estimate of the squared maximum mean discrepancy with the kernel
// (x·y / D + 1)³, averaged over random subsets without replacement. Unlike FID its expectation does not depend on the number of
// pictures; it may come out below zero where the sets are alike.
func KID(ctx context.Context, real, made Features, o KIDOptions) (Estimate, error) {
	if err := pairOf(real, made, theReal, theMade, 2); err != nil {
		return Estimate{}, err
	}
	if o.Subsets == 0 {
		o.Subsets = 100
	}
	if o.Size == 0 {
		o.Size = 1000
	}
	o.Size = min(o.Size, real.N, made.N)
	if o.Subsets < 1 || o.Size < 2 {
		return Estimate{}, fmt.Errorf("%d subsets of %d pictures cannot be drawn; choose at least one of two", o.Subsets, o.Size)
	}
	if o.Size == real.N && o.Size == made.N {
		o.Subsets = 1 // every subset is the whole
	}
	sum, squares := 0.0, 0.0
	for n := range o.Subsets {
		if err := ctx.Err(); err != nil {
			return Estimate{}, err
		}
		v := mmd(real, made, subset(o.Seed, uint32(2*n), real.N, o.Size), subset(o.Seed, uint32(2*n+1), made.N, o.Size))
		sum += v
		squares += v * v
	}
	mean := sum / float64(o.Subsets)
	return Estimate{mean, math.Sqrt(max(squares/float64(o.Subsets)-mean*mean, 0))}, nil
}

// mmd is the unbiased estimate over the given rows.
func mmd(a, b Features, rowsA, rowsB []int) float64 {
	m, n := float64(len(rowsA)), float64(len(rowsB))
	within := func(f Features, rows []int) float64 {
		sum := 0.0
		for i, r := range rows {
			for _, s := range rows[:i] {
				sum += 2 * kernel(f.Row(r), f.Row(s))
			}
		}
		return sum
	}
	between := 0.0
	for _, r := range rowsA {
		for _, s := range rowsB {
			between += kernel(a.Row(r), b.Row(s))
		}
	}
	return within(a, rowsA)/(m*(m-1)) + within(b, rowsB)/(n*(n-1)) - 2*between/(m*n)
}

func kernel(x, y []float32) float64 {
	dot := 0.0
	for i, v := range x {
		dot += float64(v) * float64(y[i])
	}
	k := dot/float64(len(x)) + 1
	return k * k * k
}

// subset draws size of n rows without replacement: the front of a shuffle by Philox4x32-10, whose stream nothing else shares.
func subset(seed uint64, stream uint32, n, size int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	key := [2]uint32{uint32(seed), uint32(seed >> 32)}
	for i := range size {
		w := diffusion.Philox([4]uint32{uint32(i), 0, stream, 0x6b6964}, key)
		j := i + int(uint64(w[0])*uint64(n-i)>>32)
		rows[i], rows[j] = rows[j], rows[i]
	}
	return rows[:size]
}
