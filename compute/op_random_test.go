package compute_test

import (
	"math"
	"testing"

	"atelier/compute"
	"atelier/models/diffusion"
)

func TestRandom(t *testing.T) { checkOps(t, "random_normal", "random_uniform") }

func TestGLUAndCast(t *testing.T) { checkOps(t, "glu", "cast") }

func TestTimestepEmbedding(t *testing.T) { checkOps(t, "timestep_embedding") }

// TestNoiseIsTheSamplers: the op draws what models/diffusion draws on the processor.
func TestNoiseIsTheSamplers(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range []uint64{0, 1, 1<<63 + 12345} {
		for _, dev := range devs {
			g := compute.NewGraph()
			got := runOn(t, dev, g, compute.RandomNormal(g.Input("key", compute.RandomKeySize), 1001), map[string][]float32{"key": compute.RandomKey(seed, 3)})
			for i, w := range diffusion.Noise(seed, 3, 1001) {
				if math.Abs(float64(got[i]-w)) > 2e-5 {
					t.Fatalf("%s: seed %d element %d is %v, the sampler draws %v", dev.Name(), seed, i, got[i], w)
				}
			}
		}
	}
}

// TestPhiloxVectors holds the generator to its authors' known answers (Random123's kat_vectors) by way of uniforms.
func TestPhiloxVectors(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	want := []uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8} // counter 0, key 0
	for _, dev := range devs {
		g := compute.NewGraph()
		got := runOn(t, dev, g, compute.RandomUniform(g.Const("key", compute.RandomKey(0, 0), 8), 4), nil)
		for i, w := range want {
			if u := (float64(w) + 0.5) / (1 << 32); math.Abs(float64(got[i])-u) > 1e-7 {
				t.Errorf("%s: word %d is %v, not %v", dev.Name(), i, got[i], u)
			}
		}
	}
}

// TestNormalsAreNormal: moments of a large sample, and no correlation between neighbours.
func TestNormalsAreNormal(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	const n = 200000
	g := compute.NewGraph()
	x := runOn(t, devs[0], g, compute.RandomNormal(g.Const("key", compute.RandomKey(5, 1), 8), n), nil)
	var mean, square, fourth, neighbour float64
	for i, v := range x {
		v := float64(v)
		mean += v / n
		square += v * v / n
		fourth += v * v * v * v / n
		neighbour += v * float64(x[(i+1)%n]) / n
	}
	if math.Abs(mean) > 0.01 || math.Abs(square-1) > 0.015 || math.Abs(fourth-3) > 0.15 || math.Abs(neighbour) > 0.01 {
		t.Errorf("mean %v, variance %v, fourth moment %v, neighbours %v", mean, square, fourth, neighbour)
	}
}

func TestRandomMistakes(t *testing.T) {
	wantMistake(t, "random_normal: a key needs shape [8], not [4]", func(g *compute.Graph) *compute.Tensor {
		return compute.RandomNormal(g.Input("key", 4), 3)
	})
	wantMistake(t, "timestep_embedding: timesteps need shape [B], not [2 1]", func(g *compute.Graph) *compute.Tensor {
		return compute.TimestepEmbedding(g.Input("t", 2, 1), 8, compute.TimestepOpts{})
	})
	wantMistake(t, "timestep_embedding: 2 columns are too few for a shift of 1", func(g *compute.Graph) *compute.Tensor {
		return compute.TimestepEmbedding(g.Input("t", 2), 2, compute.TimestepOpts{Shift: 1})
	})
	wantMistake(t, "cast: 9 is not a storage type", func(g *compute.Graph) *compute.Tensor {
		return compute.Cast(g.Input("x", 2), compute.DType(9))
	})
}
