package diffusion

import (
	"math"
	"strconv"
)

// brownian is the noise of an equation with noise: increments of one Brownian path over σ from low to high, each divided by
// the root of its length, so that steps that share part of the path share noise, and that more steps follow the same path.
//
// The path is defined as torchsde 0.2.6's BrownianTree defines it, which k-diffusion's samplers draw from: the whole interval
// has a normal increment; halving an interval splits its increment by a bridge, whose noise is seeded by the place in the tree.
// Ends are rounded to six decimals. The generators of the seeds' noise are the picture's own (see NewSource).
func (s *Source) brownian(low, high float64) Draw {
	var tree *path
	return func(n int, from, to float64) []float32 {
		if tree == nil || len(tree.increment) != n {
			tree = &path{source: s, start: sixDecimals(float64(float32(low))), end: sixDecimals(float64(float32(high)))}
			whole := s.seeded(seedSequence(s.seed, nil, 1)[0], n)
			root := float32(math.Sqrt(float64(float32(high)) - float64(float32(low))))
			for i, v := range whole {
				whole[i] = v * root
			}
			tree.increment = whole
		}
		a, b := float64(float32(to)), float64(float32(from))
		out := make([]float32, n)
		if a >= b {
			return out
		}
		tree.add(out, max(sixDecimals(a), tree.start), min(sixDecimals(b), tree.end))
		root := float32(math.Sqrt(float64(float32(b) - float32(a))))
		for i := range out {
			out[i] /= -root
		}
		return out
	}
}

// path is one interval of a Brownian path, and, while they are looked into, the two halves that it is split into.
type path struct {
	source      *Source
	start, end  float64
	increment   []float32
	key, depth  uint32
	left, right *path
}

// mostHalvings bounds the depth of the tree: six decimals of any σ are found before.
const mostHalvings = 40

// add adds the path's increment from a to b, start ≤ a ≤ b ≤ end, to out.
func (p *path) add(out []float32, a, b float64) {
	switch {
	case a >= b:
	case a == p.start && b == p.end || p.depth == mostHalvings:
		for i, v := range p.increment {
			out[i] += v
		}
	default:
		p.halve()
		if a < p.left.end {
			p.left.add(out, a, min(b, p.left.end))
		}
		if b > p.right.start {
			p.right.add(out, max(a, p.right.start), b)
		}
		p.left, p.right = nil, nil // drawing them again takes less than keeping hundreds of them
	}
}

// halve makes the halves of an interval: the left has the mean share of the increment and the bridge's noise, the right
// the rest.
func (p *path) halve() {
	middle := sixDecimals(0.5 * (p.end + p.start))
	size, a, b := 1/(p.end-p.start), middle-p.start, p.end-middle
	share, reciprocal := float32(a), float32(size)
	deviation := float32(math.Sqrt(a * b * size))
	noise := p.source.seeded(seedSequence(p.source.seed, []uint32{p.key, p.depth}, 1)[0], len(p.increment))
	left, right := noise, make([]float32, len(noise))
	for i, w := range p.increment {
		mean := float32(share*w) * reciprocal
		left[i] = float32(mean) + float32(deviation*noise[i])
		right[i] = w - left[i]
	}
	p.left = &path{source: p.source, start: p.start, end: middle, increment: left, key: 2 * p.key, depth: p.depth + 1}
	p.right = &path{source: p.source, start: middle, end: p.end, increment: right, key: 2*p.key + 1, depth: p.depth + 1}
}

// sixDecimals rounds as Python's round(x, 6): to the decimal number that is nearest to x itself.
func sixDecimals(x float64) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 6, 64), 64)
	if err != nil { // never: it was just written
		return x
	}
	return v
}

// seedPool is how many words of entropy a seed is spread over.
const seedPool = 24

// seedSequence is numpy's SeedSequence (O'Neill 2015, "Developing a seed_seq alternative") of an entropy and a place in a
// tree: n words.
func seedSequence(entropy uint64, spawn []uint32, n int) []uint32 {
	words := []uint32{uint32(entropy)}
	if entropy>>32 != 0 {
		words = append(words, uint32(entropy>>32))
	}
	if spawn != nil {
		words = append(append(words, make([]uint32, seedPool-len(words))...), spawn...)
	}
	constant := uint32(0x43b0d7e5)
	hash := func(v uint32) uint32 {
		v ^= constant
		constant *= 0x931e8875
		v *= constant
		return v ^ v>>16
	}
	mix := func(x, y uint32) uint32 {
		v := 0xca01f9dd*x - 0x4973f715*y
		return v ^ v>>16
	}
	var pool [seedPool]uint32
	for i := range pool {
		v := uint32(0)
		if i < len(words) {
			v = words[i]
		}
		pool[i] = hash(v)
	}
	for from := range pool {
		for to := range pool {
			if from != to {
				pool[to] = mix(pool[to], hash(pool[from]))
			}
		}
	}
	for _, w := range words[min(len(words), seedPool):] {
		for to := range pool {
			pool[to] = mix(pool[to], hash(w))
		}
	}
	out := make([]uint32, n)
	constant = 0x8b51f9dd
	for i := range out {
		v := pool[i%seedPool] ^ constant
		constant *= 0x58f38ded
		v *= constant
		out[i] = v ^ v>>16
	}
	return out
}
