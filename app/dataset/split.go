package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
)

// Fold is one way to part a set.
type Fold struct{ Train, Validation *Dataset }

// Split parts the pictures into those that are trained on and those that are only looked at. Validation gets about fraction of
// them, at least one. Which ones depends on the seed and on the files' bytes, not on their names or their order, and pictures that
// duplicate or look like each other stay together, or, where Options.Folders says so, those of a folder, so that validation is of
// pictures that training never saw. Pictures that cannot be read are in neither.
func (d *Dataset) Split(ctx context.Context, fraction float64, seed uint64) (Fold, error) {
	if !(fraction > 0 && fraction < 1) {
		return Fold{}, fmt.Errorf("a share of %g cannot be set aside for validation; choose more than 0 and less than 1, such as 0.1", fraction)
	}
	clusters, err := d.clusters(ctx, seed)
	if err != nil {
		return Fold{}, err
	}
	if len(clusters) < 2 {
		return Fold{}, fmt.Errorf("%s has no two different pictures to part into training and validation; add pictures", d.Path)
	}
	total := 0
	for _, c := range clusters {
		total += len(c)
	}
	want := max(int(math.Round(fraction*float64(total))), 1)
	held := make([]bool, len(clusters))
	got, left := 0, len(clusters)
	for i, c := range clusters { // a cluster that would overshoot leaves its place to a smaller one
		if left > 1 && got+len(c) <= want {
			held[i] = true
			got += len(c)
			left--
		}
	}
	if got == 0 {
		held[smallest(clusters)] = true
	}
	return d.part(clusters, func(i int) bool { return held[i] }), nil
}

func smallest(clusters [][]int) int {
	at := 0
	for i, c := range clusters {
		if len(c) < len(clusters[at]) {
			at = i
		}
	}
	return at
}

// Folds parts the pictures k times, so that each is in validation once: cross-validation for small sets. It keeps what Split keeps.
func (d *Dataset) Folds(ctx context.Context, k int, seed uint64) ([]Fold, error) {
	if k < 2 {
		return nil, fmt.Errorf("%d folds cannot be made; choose 2 or more", k)
	}
	clusters, err := d.clusters(ctx, seed)
	if err != nil {
		return nil, err
	}
	if len(clusters) < k {
		return nil, fmt.Errorf("%d folds need as many different pictures, and %s has %d; choose fewer folds", k, d.Path, len(clusters))
	}
	fold := make([]int, len(clusters))
	size := make([]int, k)
	bySize := make([]int, len(clusters))
	for i := range bySize {
		bySize[i] = i
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return len(clusters[b]) - len(clusters[a]) })
	for _, i := range bySize { // the largest first, each to the emptiest fold: sizes come out even
		n := 0
		for j := range size {
			if size[j] < size[n] {
				n = j
			}
		}
		fold[i] = n
		size[n] += len(clusters[i])
	}
	out := make([]Fold, k)
	for n := range out {
		out[n] = d.part(clusters, func(i int) bool { return fold[i] == n })
	}
	return out, nil
}

// part makes the two views, each in the set's own order.
func (d *Dataset) part(clusters [][]int, held func(cluster int) bool) Fold {
	var train, validation []int
	for i, c := range clusters {
		if held(i) {
			validation = append(validation, c...)
		} else {
			train = append(train, c...)
		}
	}
	slices.Sort(train)
	slices.Sort(validation)
	return Fold{d.Subset(train), d.Subset(validation)}
}

// groupCopies is how many equal pictures make two groups one: typefaces share bars and dots, but not letters unless one is a copy.
const groupCopies = 8

// clusters groups pictures that look alike, directly or by way of others, in an order that a hash of the seed and of their files
// determines.
func (d *Dataset) clusters(ctx context.Context, seed uint64) ([][]int, error) {
	if _, err := d.measureAll(ctx, nil); err != nil {
		return nil, err
	}
	var readable []int
	for i, it := range d.Items {
		if it.look.Load() != nil {
			readable = append(readable, i)
		}
	}
	pairs, grouped := d.groups(readable)
	if !grouped {
		var err error
		if pairs, err = d.near(ctx, readable, defaultNearBits, nil); err != nil {
			return nil, err
		}
	}
	parent := make([]int, len(d.Items))
	for i := range parent {
		parent[i] = i
	}
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	for _, p := range pairs {
		parent[root(p.second)] = root(p.first)
	}
	shared := map[[2]string]int{}
	copies := d.copies()
	for _, i := range readable {
		file, pixels := d.identity(d.Items[i], d.Items[i].look.Load())
		for _, j := range []int{copies[file], copies[pixels]} {
			groups := [2]string{d.Items[i].group, d.Items[j].group}
			if shared[groups]++; !grouped || d.opts.Folders || shared[groups] >= 2*groupCopies {
				parent[root(i)] = root(j)
			}
		}
	}
	type cluster struct {
		key   []byte
		items []int
	}
	byRoot := map[int]*cluster{}
	var all []*cluster
	for _, i := range readable {
		r := root(i)
		if byRoot[r] == nil {
			byRoot[r] = &cluster{}
			all = append(all, byRoot[r])
		}
		c := byRoot[r]
		m := d.Items[i].look.Load()
		key := sha256.Sum256(append(seeded(seed), m.file[:]...))
		if c.key == nil || bytes.Compare(key[:], c.key) < 0 {
			c.key = key[:]
		}
		c.items = append(c.items, i)
	}
	slices.SortFunc(all, func(a, b *cluster) int { return bytes.Compare(a.key, b.key) })
	out := make([][]int, len(all))
	for i, c := range all {
		out[i] = c.items
	}
	return out, nil
}

// groups pairs items of one group; grouped is false where items have none.
func (d *Dataset) groups(among []int) (pairs []pair, grouped bool) {
	first := map[string]int{}
	for _, i := range among {
		g := d.Items[i].group
		if g == "" {
			return nil, false
		}
		if j, ok := first[g]; ok {
			pairs = append(pairs, pair{first: j, second: i})
		} else {
			first[g] = i
		}
	}
	return pairs, len(among) > 0
}
