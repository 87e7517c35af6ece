package diffusion

import (
	"math"
	"math/bits"
)

// Noise gives n independent standard normal numbers that depend on nothing but seed, stream and position: the same on every
// machine, whatever n. Stream 0 is a picture's first latents, stream i + 1 the noise of its step i. Picture i of a batch
// uses the seed of the first plus i, so that it can be made again alone.
//
// The numbers are Box–Muller pairs from Philox4x32-10 with key = seed and counter = (block, 0, stream, 0); block k gives
// numbers 4k to 4k + 3.
func Noise(seed uint64, stream uint32, n int) []float32 {
	out := make([]float32, n)
	key := [2]uint32{uint32(seed), uint32(seed >> 32)}
	for i := 0; i < n; i += 4 {
		block := uint64(i / 4)
		u := Philox([4]uint32{uint32(block), uint32(block >> 32), stream, 0}, key)
		var z [4]float32
		z[0], z[1] = boxMuller(u[0], u[1])
		z[2], z[3] = boxMuller(u[2], u[3])
		copy(out[i:], z[:])
	}
	return out
}

// boxMuller turns two uniform words into two independent normal numbers.
func boxMuller(a, b uint32) (float32, float32) {
	u := (float64(a) + 1) / (1 << 32) // (0, 1]: its logarithm is finite
	r := math.Sqrt(-2 * math.Log(u))
	sin, cos := math.Sincos(2 * math.Pi * (float64(b) / (1 << 32)))
	return float32(r * cos), float32(r * sin)
}

// Philox is ten rounds of Philox4x32 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"): four
// random words that depend on nothing but counter and key.
func Philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	const (
		m0, m1 = 0xd2511f53, 0xcd9e8d57
		w0, w1 = 0x9e3779b9, 0xbb67ae85
	)
	for range 10 {
		hi0, lo0 := bits.Mul32(m0, counter[0])
		hi1, lo1 := bits.Mul32(m1, counter[2])
		counter = [4]uint32{hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0}
		key[0] += w0
		key[1] += w1
	}
	return counter
}
