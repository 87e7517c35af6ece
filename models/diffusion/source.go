package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// RNGs are the generators that a picture's noise may come from: ours (see Noise), torch's on the processor, as ComfyUI and
// diffusers use it, and torch's on NVIDIA cards, as A1111 uses it there.
func RNGs() []Named { return []Named{{"atelier", "Atelier"}, {"cpu", "CPU"}, {"nv", "NV"}} }

// ParseRNG finds a generator by id or label; "" is ours, and "GPU", as A1111 writes it, the NVIDIA one.
func ParseRNG(name string) (string, error) {
	switch p := plain(name); p {
	case "", "philox":
		return "atelier", nil
	case "gpu", "cuda":
		return "nv", nil
	}
	if id, ok := find(RNGs(), name); ok {
		return id, nil
	}
	return "", fmt.Errorf("diffusion: the noise generator %.40q is not known; choose one of %v", name, ids(RNGs()))
}

// Source is the noise of one picture, a function of its seed alone: in a batch every picture has its own.
type Source struct {
	seed   uint64
	normal func(n int) []float32              // the next draw
	seeded func(seed uint32, n int) []float32 // the first draw of a generator that begins afresh, for Brownian
}

// NewSource begins the noise of the picture with a seed. rng is an id of RNGs.
func NewSource(rng string, seed uint64) (*Source, error) {
	s := &Source{seed: seed}
	switch rng {
	case "cpu":
		s.normal = newTorch(seed).normal
		s.seeded = func(seed uint32, n int) []float32 { return newTorch(uint64(seed)).normal(n) }
	case "nv":
		s.normal = (&nvidia{seed: seed}).normal
		s.seeded = func(seed uint32, n int) []float32 { return (&nvidia{seed: uint64(seed)}).normal(n) }
	case "atelier":
		drawn := uint32(0)
		s.normal = func(n int) []float32 {
			drawn++
			return Noise(seed, drawn-1, n)
		}
		s.seeded = func(stream uint32, n int) []float32 { return Noise(seed, stream, n) }
	default:
		return nil, fmt.Errorf("diffusion: the noise generator %.40q is not known; choose one of %v", rng, ids(RNGs()))
	}
	return s, nil
}

// Normal gives the next n numbers: the first call those of the first latents.
func (s *Source) Normal(n int) []float32 { return s.normal(n) }

// Draw gives the noise of a sampler's steps, after the first latents: along one Brownian path for the samplers that solve
// an equation with noise, else independent draws.
func (s *Source) Draw(sampler string, sigmas []float64) Draw {
	if strings.HasSuffix(strings.TrimSuffix(sampler, "_heun"), "_sde") {
		positive := slices.DeleteFunc(slices.Clone(sigmas), func(v float64) bool { return v <= 0 })
		if len(positive) > 0 {
			return s.brownian(slices.Min(positive), slices.Max(positive))
		}
	}
	return func(n int, _, _ float64) []float32 { return s.normal(n) }
}

// nvidia is torch's normal numbers on an NVIDIA card: cuRAND's Philox4x32-10 with one thread for each number, of whose four
// words the first two make one number by Box and Muller's transform. Every draw raises the counter by one.
type nvidia struct {
	seed   uint64
	offset uint32
}

func (g *nvidia) normal(n int) []float32 {
	const unit, turn = float64(float32(2.3283064e-10)), float64(float32(2.3283064e-10 * 6.2831855))
	out := make([]float32, n)
	key := [2]uint32{uint32(g.seed), uint32(g.seed >> 32)}
	for i := range out {
		w := Philox([4]uint32{g.offset, 0, uint32(i), 0}, key)
		u, v := float64(w[0])*unit+unit/2, float64(w[1])*turn+turn/2
		out[i] = float32(math.Sqrt(-2*math.Log(u)) * math.Sin(v))
	}
	g.offset++
	return out
}
