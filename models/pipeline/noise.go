package pipeline

import (
	"fmt"

	"atelier/models/diffusion"
)

// RNGs lists the generators that may draw a picture's noise.
func RNGs() []Named { return diffusion.RNGs() }

// posteriorStream is the stream of our generator that draws where in an autoencoder's distribution a given picture lies. It
// is the same for every generator of the picture's own noise, whose draws other programs use for other things.
const posteriorStream = 1<<32 - 1

// noises is the noise of one picture: given in order of use, or drawn from its seed.
type noises struct {
	seed   uint64
	source *diffusion.Source
	first  []float32 // the seed's first draw
	given  [][]float32
	used   int
	err    error // of a given noise that is missing or has another size
}

// newNoises begins the noise of the picture with a seed; n is the numbers of its latents.
func newNoises(r Request, seed uint64, n int) (*noises, error) {
	source, err := diffusion.NewSource(r.RNG, seed)
	if err != nil {
		return nil, err
	}
	return &noises{seed: seed, source: source, first: source.Normal(n), given: r.Noises}, nil
}

// take gives the next given noise; ok is false where noise is drawn.
func (z *noises) take(n int) (noise []float32, ok bool) {
	if z.given == nil {
		return nil, false
	}
	z.used++
	switch {
	case z.used > len(z.given):
		z.err = fmt.Errorf("the run needs more than the %d noises that are given", len(z.given))
	case len(z.given[z.used-1]) != n:
		z.err = fmt.Errorf("noise %02d has %d numbers, and %d are needed", z.used-1, len(z.given[z.used-1]), n)
	default:
		return z.given[z.used-1], true
	}
	return make([]float32, n), true
}

// initial is the noise that the picture begins from.
func (z *noises) initial() []float32 {
	if noise, ok := z.take(len(z.first)); ok {
		return noise
	}
	return z.first
}

// posterior is where in the autoencoder's distribution a given picture lies.
func (z *noises) posterior() []float32 {
	if noise, ok := z.take(len(z.first)); ok {
		return noise
	}
	return diffusion.Noise(z.seed, posteriorStream, len(z.first))
}

// steps is the noise of a sampler's steps over its calls from the first one on. Where as many are given as there are calls,
// each call has its own; otherwise each draw takes the next.
func (z *noises) steps(id string, s diffusion.Sampler, first int, call *int) diffusion.Draw {
	if z.given == nil {
		return z.source.Draw(id, s.Sigmas())
	}
	start := z.used
	byCall := len(z.given)-start == len(s.Timesteps())-first
	return func(n int, _, _ float64) []float32 {
		if byCall {
			z.used = start + *call - first
		}
		noise, _ := z.take(n)
		return noise
	}
}
