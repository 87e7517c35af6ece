// Package judge measures what generative models make: distances between sets of pictures in the space of a network's features,
// the fidelity of reconstructions, and how near a made picture comes to one of the training set.
//
// It takes numbers and knows no network. Whoever computes the features must name the network beside the figure: a Fréchet distance
// over one network's features says nothing about one over another's.
package judge

import (
	"fmt"
	"math"
)

// Features is a matrix of N rows, one a picture, of D numbers each, row-major.
type Features struct {
	N, D int
	X    []float32
}

// Row is the features of picture i.
func (f *Features) Row(i int) []float32 { return f.X[i*f.D : (i+1)*f.D] }

// check refuses a matrix that is not one, has fewer than least rows, or has infinities or NaN. what names the set.
func (f *Features) check(what string, least int) error {
	switch {
	case f.N < 0 || f.D <= 0 || len(f.X) != f.N*f.D:
		return fmt.Errorf("the features of the %s are no matrix: %d × %d with %d numbers", what, f.N, f.D, len(f.X))
	case f.N < least:
		return fmt.Errorf("the %s are %d, and this measure needs at least %d", what, f.N, least)
	}
	for i, v := range f.X {
		if v-v != 0 {
			return fmt.Errorf("feature %d of number %d of the %s is %v", i%f.D, i/f.D, what, v)
		}
	}
	return nil
}

// pairOf checks two sets that are to be compared.
func pairOf(a, b Features, whatA, whatB string, least int) error {
	if err := a.check(whatA, least); err != nil {
		return err
	}
	if err := b.check(whatB, least); err != nil {
		return err
	}
	if a.D != b.D {
		return fmt.Errorf("the %s have %d features and the %s %d; take both from one network", whatA, a.D, whatB, b.D)
	}
	return nil
}

// The names of the sets in messages.
const (
	theReal  = "real pictures"
	theMade  = "made pictures"
	theTrain = "training pictures"
)

// squared is the squared Euclidean distance.
func squared(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		d := float64(v) - float64(b[i])
		sum += d * d
	}
	return sum
}

func distance(a, b []float32) float64 { return math.Sqrt(squared(a, b)) }
