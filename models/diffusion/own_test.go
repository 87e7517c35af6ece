package diffusion

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"atelier/models/checkpoint"
)

// ownCase is one run of testdata/own, whose values are ours: reference.py there writes the published equations out in float64.
type ownCase struct {
	Name, Sampler, Schedule string
	Steps                   int
	Eta                     *float64
	Config                  json.RawMessage
}

// TestOwnReference feeds each sampler the reference's model outputs and noise, and compares what the model sees and every x.
func TestOwnReference(t *testing.T) {
	data, err := os.ReadFile("testdata/own/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []ownCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			file, err := checkpoint.Open("testdata/own/" + c.Name + ".safetensors")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			f := tensors{t, file}
			config, err := ParseConfig(c.Config)
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewWith(config, Options{Sampler: c.Sampler, Schedule: c.Schedule, Steps: c.Steps, Eta: c.Eta})
			if err != nil {
				t.Fatal(err)
			}
			if d := worst(narrow(s.Timesteps()), f.get("timesteps")); d > 0.01 {
				t.Errorf("timesteps %v, want %v", s.Timesteps(), f.get("timesteps"))
			}
			sigmas := f.get("sigmas")
			for i, want := range sigmas {
				if d := math.Abs(s.Sigmas()[i] - float64(want)); d > 2e-4*float64(want) {
					t.Errorf("σ%d is %v, want %v", i, s.Sigmas()[i], want)
				}
			}
			ownTeacherForced(t, s, f)
		})
	}
}

func ownTeacherForced(t *testing.T, s Sampler, f tensors) {
	x := combine(term{s.InitNoiseSigma(), f.get("latents")})
	drawn, given := 0, 0
	for _, name := range f.file.Names() {
		if strings.HasPrefix(name, "noise") {
			given++
		}
	}
	noise := func(n int, _, _ float64) []float32 {
		if drawn++; drawn > given { // a last draw that has no weight
			return make([]float32, n)
		}
		return f.get(fmt.Sprintf("noise%02d", drawn-1))
	}
	for i := range s.Timesteps() {
		step := fmt.Sprintf("step%02d.", i)
		in := f.get(step + "model_input")
		if d := worst(s.ScaleInput(i, x), in); d > 2e-4*largest(in) {
			t.Errorf("%smodel_input differs by %.3g", step, d)
		}
		next, _, err := s.Step(i, f.get(step+"noise_pred"), x, noise)
		if err != nil {
			t.Fatal(err)
		}
		want := f.get(step + "latents")
		if d := worst(next, want); d > 2e-4*largest(want) {
			t.Errorf("%slatents differs by %.3g of %.3g", step, d, largest(want))
		}
		x = next
	}
	if drawn < given {
		t.Errorf("%d draws, want %d", drawn, given)
	}
}

func largest(x []float32) (m float64) {
	for _, v := range x {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}

// TestOptionsOverrideTheConfiguration checks spacing and zero terminal SNR, named and in the configuration.
func TestOptionsOverrideTheConfiguration(t *testing.T) {
	plain := builtinConfig(t, "v_prediction")
	plain.TimestepSpacing, plain.RescaleZeroSNR = "leading", false
	changed := plain
	changed.TimestepSpacing, changed.RescaleZeroSNR = "trailing", true
	for _, n := range Samplers() {
		a, err := NewWith(plain, Options{Sampler: n.ID, Steps: 7, Spacing: "trailing", ZeroSNR: true})
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewWith(changed, Options{Sampler: n.ID, Steps: 7})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Timesteps(), b.Timesteps()) || !slices.Equal(a.Sigmas(), b.Sigmas()) || a.Timesteps()[0] != 999 {
			t.Errorf("%s: %v, want %v", n.ID, a.Timesteps(), b.Timesteps())
		}
		if first := a.Sigmas()[0]; math.Abs(first-4096) > 1 {
			t.Errorf("%s begins at σ = %v", n.ID, first)
		}
	}
	if _, err := NewWith(plain, Options{Spacing: "random", Steps: 7}); err == nil || !strings.Contains(err.Error(), "[leading trailing linspace]") {
		t.Errorf("%v", err)
	}
}

// TestTorchNormal compares with torch 1.13's own randn: one generator for each seed, draws of these lengths in order.
func TestTorchNormal(t *testing.T) {
	file, err := checkpoint.Open("testdata/own/torch.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, seed := range []uint64{0, 1, 42, 1<<32 + 5, math.MaxUint64} {
		s, err := NewSource("cpu", seed)
		if err != nil {
			t.Fatal(err)
		}
		for k, n := range []int{3, 2, 1, 16, 5, 20, 33, 64, 15, 2048} {
			want := tensors{t, file}.get(fmt.Sprintf("%d.%d", seed, k))
			if d := worst(s.Normal(n), want); d > 2e-6 {
				t.Errorf("seed %d, draw %d of %d: differs by %.3g", seed, k, n, d)
			}
		}
	}
}

// TestNVIDIANormal holds the generator to the numbers that A1111 publishes beside its own.
func TestNVIDIANormal(t *testing.T) {
	s, err := NewSource("nv", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564, -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497}
	first := s.Normal(12)
	if d := worst(first, want); d > 2e-6 {
		t.Errorf("%v, want %v", first, want)
	}
	if d := worst(s.Normal(12), first); d < 0.1 {
		t.Error("the second draw repeats the first")
	}
	high, _ := NewSource("nv", 1<<32)
	if d := worst(high.Normal(12), first); d < 0.1 {
		t.Error("the upper half of the seed changes nothing")
	}
}

// TestSeedSequence holds the seeds of the Brownian tree to numpy 1.24's.
func TestSeedSequence(t *testing.T) {
	for _, c := range []struct {
		entropy uint64
		spawn   []uint32
		want    []uint32
	}{
		{0, nil, []uint32{4025752534, 2687548107, 2326983537}},
		{5, nil, []uint32{3154616629, 1086096781, 1700057493}},
		{1<<40 + 3, nil, []uint32{1141977856, 379400112, 2541147225}},
		{7, []uint32{0, 0}, []uint32{261727054, 4049524988, 713223535}},
		{1<<63 + 1, []uint32{5, 3}, []uint32{1489195737, 1928390731, 2147249801}},
	} {
		if got := seedSequence(c.entropy, c.spawn, 3); !slices.Equal(got, c.want) {
			t.Errorf("%d %v: %v, want %v", c.entropy, c.spawn, got, c.want)
		}
	}
}

// TestBrownian checks that increments add up, have unit variance, and do not depend on the order in which they are asked for.
func TestBrownian(t *testing.T) {
	const n = 4096
	levels := []float64{14.6, 7.25, 3.1, 1.2, 0.6, 0.03}
	for _, rng := range RNGs() {
		source, err := NewSource(rng.ID, 9)
		if err != nil {
			t.Fatal(err)
		}
		draw := source.Draw("dpmpp_sde", append(levels, 0))
		sum := make([]float64, n)
		var parts [][]float32
		for i := range levels[1:] {
			z := draw(n, levels[i], levels[i+1])
			parts = append(parts, z)
			mean, deviation := moments(z)
			if math.Abs(mean) > 0.06 || math.Abs(deviation-1) > 0.05 {
				t.Errorf("%s: increment %d has mean %v, deviation %v", rng.ID, i, mean, deviation)
			}
			for k, v := range z {
				sum[k] += float64(v) * math.Sqrt(levels[i]-levels[i+1])
			}
		}
		whole := draw(n, levels[0], levels[5])
		for k, v := range whole {
			if d := math.Abs(float64(v)*math.Sqrt(levels[0]-levels[5]) - sum[k]); d > 1e-4 {
				t.Fatalf("%s: the parts of %d add up to %v, not %v", rng.ID, k, sum[k], v)
			}
		}
		again, _ := NewSource(rng.ID, 9)
		again.Normal(n)
		draw = again.Draw("dpmpp_2m_sde_heun", append(levels, 0))
		for i := len(levels) - 2; i >= 0; i-- {
			if d := worst(draw(n, levels[i], levels[i+1]), parts[i]); d > 1e-5 {
				t.Errorf("%s: increment %d depends on what was asked before, by %.3g", rng.ID, i, d)
			}
		}
		if first := parts[0]; worst(first, again.Draw("euler_ancestral", levels)(n, levels[0], levels[1])) < 0.1 {
			t.Errorf("%s: an ancestral sampler draws along the path", rng.ID)
		}
	}
}

// TestBrownianIsTorchsdes compares numbers 0, 7 and 19 of 20 with those that the definition of torchsde's BrownianTree gives
// when it is written out in Python over torch's and numpy's own generators.
func TestBrownianIsTorchsdes(t *testing.T) {
	for _, c := range []struct {
		seed     uint64
		from, to float64
		want     []float32
	}{
		{0, 14.614647, 9.1, []float32{0.094318, 1.477683, -0.394147}},
		{0, 9.1, 3.0303, []float32{0.236918, -0.890202, -1.596671}},
		{0, 14.614647, 3.0303, []float32{0.236568, 0.375168, -1.427694}},
		{0, 0.5, 0.0291675, []float32{-0.963348, 1.159127, 1.531751}},
		{42, 14.614647, 9.1, []float32{-1.271649, -1.061118, -1.557051}},
		{42, 0.5, 0.0291675, []float32{0.19692, -0.71827, 1.416286}},
		{1<<40 + 7, 9.1, 3.0303, []float32{-0.812502, 2.582519, -0.407277}},
	} {
		s, err := NewSource("cpu", c.seed)
		if err != nil {
			t.Fatal(err)
		}
		z := s.Draw("dpmpp_3m_sde", []float64{14.614647, 0.0291675, 0})(20, c.from, c.to)
		if d := worst([]float32{z[0], z[7], z[19]}, c.want); d > 1e-5 {
			t.Errorf("seed %d, %v to %v: %v, want %v", c.seed, c.from, c.to, []float32{z[0], z[7], z[19]}, c.want)
		}
	}
}

// TestParseRNG checks the names of other programs.
func TestParseRNG(t *testing.T) {
	for in, want := range map[string]string{"": "atelier", "Philox": "atelier", "Atelier": "atelier", "CPU": "cpu", "cpu": "cpu", "NV": "nv", "GPU": "nv"} {
		if got, err := ParseRNG(in); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := ParseRNG("dice"); err == nil || !strings.Contains(err.Error(), "[atelier cpu nv]") {
		t.Errorf("%v", err)
	}
}

// TestPNDMFromAGivenPicture begins a run late, as a given picture does, with an ε that is always the same: the second call then
// takes the first step anew from where it began, as diffusers 0.31 (PNDMScheduler.step_plms, which counts its own calls) does.
func TestPNDMFromAGivenPicture(t *testing.T) {
	config := builtinConfig(t, "epsilon")
	s, err := NewWith(config, Options{Sampler: "pndm", Steps: 8})
	if err != nil {
		t.Fatal(err)
	}
	const first, e = 4, 0.3
	x := []float32{0.7}
	// DDIM's step for a constant ε, which PNDM's is then, from the level of one call to that of another.
	step := func(x float64, from, to int) float64 {
		a, b := levelBar(s, from), levelBar(s, to)
		return math.Sqrt(b/a)*(x-math.Sqrt(1-a)*e) + math.Sqrt(1-b)*e
	}
	once := step(float64(x[0]), first, first+1)
	for i, want := range []float64{once, once, step(once, first+2, first+3), step(step(once, first+2, first+3), first+3, first+4)} {
		next, _, err := s.Step(first+i, []float32{e}, x, nil)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(float64(next[0])-want) > 1e-5 {
			t.Errorf("call %d gives %v, want %v", first+i, next[0], want)
		}
		x = next
	}
}

// levelBar is ᾱ at call i.
func levelBar(s Sampler, i int) float64 {
	alpha, _ := s.Level(i)
	return alpha * alpha
}
