package judge

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Manifold is precision and recall, both from 0 to 1.
type Manifold struct {
	Precision float64 `json:"precision"` // share of made pictures that lie among the real ones
	Recall    float64 `json:"recall"`    // share of real pictures that lie among the made ones
	K         int     `json:"k"`
}

// PrecisionRecall estimates both sets' manifolds as the union of spheres round their features, each reaching to the k-th nearest
// neighbour in its own set, and counts what of the other set lies inside (Kynkäänniemi et al. 2019). 0 means k = 3, theirs.
func PrecisionRecall(ctx context.Context, real, made Features, k int) (Manifold, error) {
	if k == 0 {
		k = 3
	}
	if k < 1 {
		return Manifold{}, fmt.Errorf("there is no %d-th neighbour; choose 1 or more, such as 3", k)
	}
	if err := pairOf(real, made, theReal, theMade, k+1); err != nil {
		return Manifold{}, err
	}
	m := Manifold{K: k}
	var err error
	if m.Precision, err = covered(ctx, made, real, k); err == nil {
		m.Recall, err = covered(ctx, real, made, k)
	}
	return m, err
}

// covered is the share of points that lie in a sphere of the manifold.
func covered(ctx context.Context, points, manifold Features, k int) (float64, error) {
	radii, err := neighbourRadii(ctx, manifold, k)
	if err != nil {
		return 0, err
	}
	inside := 0
	for i := range points.N {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for j, r := range radii {
			if squared(points.Row(i), manifold.Row(j)) <= r {
				inside++
				break
			}
		}
	}
	return float64(inside) / float64(points.N), nil
}

// neighbourRadii is the squared distance of every row to its k-th nearest other row.
func neighbourRadii(ctx context.Context, f Features, k int) ([]float64, error) {
	radii := make([]float64, f.N)
	nearest := make([]float64, 0, k+1) // ascending
	for i := range f.N {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		nearest = nearest[:0]
		for j := range f.N {
			if i == j {
				continue
			}
			d := squared(f.Row(i), f.Row(j))
			if len(nearest) == k && d >= nearest[k-1] {
				continue
			}
			at, _ := slices.BinarySearch(nearest, d)
			nearest = slices.Insert(nearest, at, d)
			nearest = nearest[:min(len(nearest), k)]
		}
		radii[i] = nearest[k-1]
	}
	return radii, nil
}

// Match is a made picture and the training picture that it comes nearest to.
type Match struct {
	Made      int     `json:"made"`
	Train     int     `json:"train"`
	Distance  float64 `json:"distance"`
	Ratio     float64 `json:"ratio"` // Distance over the typical distance between training neighbours
	Memorised bool    `json:"memorised"`
}

// Neighbours is the memorisation check of a set of made pictures.
type Neighbours struct {
	Matches   []Match `json:"matches"` // by made picture
	Typical   float64 `json:"typical"` // median distance of a training picture to its nearest other
	Memorised int     `json:"memorised"`
	Threshold float64 `json:"threshold"` // of the ratio
}

// DefaultMemorised is the ratio below which a made picture counts as a copy: twice as near to a training picture as these
// typically are to each other.
const DefaultMemorised = 0.5

// Nearest finds for each made picture the training picture with the nearest features, and marks those that come suspiciously
// near. threshold 0 means DefaultMemorised. Copies within the training set do not count as its typical neighbours.
func Nearest(ctx context.Context, made, train Features, threshold float64) (Neighbours, error) {
	if threshold == 0 {
		threshold = DefaultMemorised
	}
	if err := pairOf(train, made, theTrain, theMade, 1); err != nil {
		return Neighbours{}, err
	}
	if train.N < 2 {
		return Neighbours{}, fmt.Errorf("a single training picture tells nothing about typical distances; give at least 2")
	}
	radii, err := neighbourRadii(ctx, train, 1)
	if err != nil {
		return Neighbours{}, err
	}
	radii = slices.DeleteFunc(radii, func(r float64) bool { return r == 0 })
	if len(radii) == 0 {
		return Neighbours{}, fmt.Errorf("all %d training pictures have a copy, so that there is no typical distance; remove the copies", train.N)
	}
	slices.Sort(radii)
	n := Neighbours{Typical: (math.Sqrt(radii[(len(radii)-1)/2]) + math.Sqrt(radii[len(radii)/2])) / 2, Threshold: threshold}
	for i := range made.N {
		if err := ctx.Err(); err != nil {
			return Neighbours{}, err
		}
		m := Match{Made: i, Distance: math.Inf(1)}
		for j := range train.N {
			if d := distance(made.Row(i), train.Row(j)); d < m.Distance {
				m.Distance, m.Train = d, j
			}
		}
		m.Ratio = m.Distance / n.Typical
		if m.Memorised = m.Ratio < threshold; m.Memorised {
			n.Memorised++
		}
		n.Matches = append(n.Matches, m)
	}
	return n, nil
}
