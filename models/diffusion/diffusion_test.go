package diffusion

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// builtin is the configuration of the built-in model.
const builtin = `{"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
	"beta_schedule": "scaled_linear", "prediction_type": "v_prediction", "clip_sample": false, "set_alpha_to_one": false,
	"steps_offset": 1, "timestep_spacing": "trailing"}`

func builtinConfig(t testing.TB, prediction string) Config {
	t.Helper()
	c, err := ParseConfig([]byte(builtin))
	if err != nil {
		t.Fatal(err)
	}
	c.PredictionType = prediction
	return c
}

// gaussian is the perfect model of pictures whose every number is normal with this mean and deviation.
type gaussian struct{ mean, deviation float64 }

// output is what a trained model would answer for variance-preserving x at noise level σ.
func (g gaussian) output(x []float32, sigma float64, prediction string) []float32 {
	alpha, sigmaT := vp(sigma)
	out := make([]float32, len(x))
	v := g.deviation * g.deviation
	for i := range x {
		x := float64(x[i])
		x0 := g.mean + alpha*v/(alpha*alpha*v+sigmaT*sigmaT)*(x-alpha*g.mean)
		eps := (x - alpha*x0) / sigmaT
		out[i] = float32(map[string]float64{"epsilon": eps, "sample": x0, "v_prediction": alpha*eps - sigmaT*x0}[prediction])
	}
	return out
}

// streams gives independent noise after a picture's first latents.
func streams(seed uint64) Draw {
	stream := uint32(0)
	return func(n int, _, _ float64) []float32 {
		stream++
		return Noise(seed, stream, n)
	}
}

// sample runs s to its end, and checks that the timestep of each call is the one with its noise level.
func (g gaussian) sample(t *testing.T, id string, s Sampler, tr *training, prediction string, x []float32) (final, denoised []float32) {
	t.Helper()
	source, err := NewSource("atelier", 7)
	if err != nil {
		t.Fatal(err)
	}
	noise := source.Draw(id, s.Sigmas())
	x = combine(term{s.InitNoiseSigma(), x})
	for i, ts := range s.Timesteps() {
		sigma := s.Sigmas()[i]
		if off := math.Abs(tr.timestepOf(sigma) - ts); off > 1 { // the solvers cut some timesteps to whole numbers
			t.Errorf("call %d: timestep %v where σ = %v belongs to %v", i, ts, sigma, tr.timestepOf(sigma))
		}
		var err error
		x, denoised, err = s.Step(i, g.output(s.ScaleInput(i, x), sigma, prediction), x, noise)
		if err != nil {
			t.Fatal(err)
		}
	}
	return x, denoised
}

func moments(x []float32) (mean, deviation float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		deviation += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x)))
}

// TestSamplersFindTheDistribution runs every sampler, schedule and prediction type on the perfect model: the result must
// have the pictures' mean and deviation, and samplers without noise must map each number where the exact flow maps it.
func TestSamplersFindTheDistribution(t *testing.T) {
	g := gaussian{mean: 0.7, deviation: 0.4}
	first := Noise(3, 0, 1024)
	for _, sampler := range Samplers() {
		for _, schedule := range SchedulesFor(sampler.ID) {
			for _, prediction := range []string{"v_prediction", "epsilon", "sample"} {
				if prediction != "v_prediction" && schedule.ID != "normal" {
					continue // the schedule and the meaning of outputs are independent
				}
				t.Run(sampler.ID+"/"+schedule.ID+"/"+prediction, func(t *testing.T) {
					c := builtinConfig(t, prediction)
					tr, err := newTraining(c)
					if err != nil {
						t.Fatal(err)
					}
					s, err := New(sampler.ID, schedule.ID, c, 100)
					if err != nil {
						t.Fatal(err)
					}
					final, denoised := g.sample(t, sampler.ID, s, tr, prediction, first)
					g.check(t, sampler.ID, schedule.ID, s, first, final, denoised)
				})
			}
		}
	}
}

func (g gaussian) check(t *testing.T, sampler, schedule string, s Sampler, first, final, denoised []float32) {
	t.Helper()
	mean, deviation := moments(final)
	wantDeviation := g.deviation
	if sampler == "lcm" { // jumps to the posterior mean each time: it finds the mean, and loses spread
		wantDeviation = deviation
	}
	slack := 1.0
	switch {
	case schedule == "linear_quadratic": // made for flow models: nearly all its steps are at high noise
		wantDeviation = deviation
	case strings.HasPrefix(sampler, "dpmpp_") && drawsNoise(sampler) && schedule == "ddim_uniform": // overshoots where the last steps are uneven
		slack = 3
	case drawsNoise(sampler):
		slack = 2
	}
	if schedule == "beta" { // evenly spread at both ends of σ, it leaves first-order samplers wide steps at medium noise
		slack = 2
	}
	if math.Abs(mean-g.mean) > 0.03 || math.Abs(deviation-wantDeviation) > 0.03*slack {
		t.Errorf("mean %.4f and deviation %.4f, want %.4f and %.4f", mean, deviation, g.mean, g.deviation)
	}
	if schedule == "linear_quadratic" {
		return
	}
	if d := worst(final, denoised); d > 0.2 {
		t.Errorf("the last preview differs from the picture by %.3g", d)
	}
	if drawsNoise(sampler) {
		return
	}
	// Without noise: x − α·mean keeps its rank among √(α²·deviation² + σ²) all the way.
	alpha, sigma := vp(s.Sigmas()[0])
	scale := math.Sqrt(alpha*alpha*g.deviation*g.deviation + sigma*sigma)
	for i := range first {
		want := g.mean + g.deviation*(float64(first[i])-alpha*g.mean)/scale
		if math.Abs(float64(final[i])-want) > 0.08*slack {
			t.Fatalf("number %d: %.4f, want %.4f", i, final[i], want)
		}
	}
}

func drawsNoise(sampler string) bool {
	eta, _ := DefaultEta(sampler)
	return eta > 0 || sampler == "ddpm" || sampler == "lcm"
}

// TestOnePictureIsFoundExactly uses a model that knows a single picture: every sampler must end on it, in few steps too.
func TestOnePictureIsFoundExactly(t *testing.T) {
	for _, sampler := range Samplers() {
		for _, steps := range []int{1, 2, 4, 20} { // divisors of 1000: PLMS strides whole timesteps
			prediction := "v_prediction"
			if sampler.ID == "pndm" { // extrapolates outputs: ε stays put on the way to one picture, v turns
				prediction = "epsilon"
			}
			c := builtinConfig(t, prediction)
			c.SetAlphaToOne = true
			g := gaussian{mean: -1.25}
			s, err := New(sampler.ID, "", c, steps)
			if err != nil {
				t.Fatal(err)
			}
			tr, _ := newTraining(c)
			final, denoised := g.sample(t, sampler.ID, s, tr, prediction, Noise(1, 0, 64))
			for i := range final {
				if math.Abs(float64(final[i])+1.25) > 1e-3 || math.Abs(float64(denoised[i])+1.25) > 1e-3 {
					t.Fatalf("%s, %d steps: %v, preview %v", sampler.ID, steps, final[i], denoised[i])
				}
			}
		}
	}
}

func TestSpacings(t *testing.T) {
	c := builtinConfig(t, "epsilon")
	for _, want := range []struct {
		spacing string
		g       grid
		steps   int
		first   []float64
		last    float64
	}{
		{"leading", gridWhole, 20, []float64{951, 901}, 1},
		{"leading", gridSolver, 20, []float64{941, 894}, 48},
		{"trailing", gridWhole, 20, []float64{999, 949}, 49},
		{"trailing", gridWhole, 3, []float64{999, 666}, 332},
		{"linspace", gridWhole, 20, []float64{999, 946}, 0},
		{"linspace", gridSolver, 20, []float64{999, 949}, 50},
		{"linspace", gridSigma, 3, []float64{999, 499.5}, 0},
	} {
		c.TimestepSpacing = want.spacing
		got := spaced(c, want.steps, want.g)
		if !slices.Equal(got[:2], want.first) || got[len(got)-1] != want.last || len(got) != want.steps {
			t.Errorf("%s/%d/%d: %v", want.spacing, want.g, want.steps, got)
		}
	}
}

func TestSchedulesFall(t *testing.T) {
	for _, schedule := range Schedules() {
		for _, g := range []grid{gridWhole, gridSigma, gridSolver} {
			for _, steps := range []int{1, 2, 7, 20, 150, 1000} {
				c := builtinConfig(t, "epsilon")
				tr, _ := newTraining(c)
				sigmas, timesteps, err := tr.sigmaSchedule(schedule.ID, c, steps, g)
				if err != nil || len(sigmas) != steps || len(timesteps) != steps {
					t.Fatalf("%s %d: %d sigmas, %v", schedule.ID, steps, len(sigmas), err)
				}
				for i := range sigmas {
					if !(sigmas[i] > 0) || i > 0 && sigmas[i] > sigmas[i-1]*(1+1e-12) || timesteps[i] < 0 || timesteps[i] > 999 {
						t.Fatalf("%s %d: σ%d = %v after %v, t = %v", schedule.ID, steps, i, sigmas[i], sigmas[max(i-1, 0)], timesteps[i])
					}
				}
			}
		}
	}
}

// TestBetaQuantile compares with closed forms: Beta(1, 1) is uniform, Beta(½, ½) is the arcsine law, Beta(2, 1) is a root.
func TestBetaQuantile(t *testing.T) {
	for p := 0.01; p < 1; p += 0.07 {
		arcsine := math.Sin(math.Pi * p / 2)
		for _, c := range [][3]float64{{1, 1, p}, {0.5, 0.5, arcsine * arcsine}, {2, 1, math.Sqrt(p)}} {
			if got := betaQuantile(p, c[0], c[1]); math.Abs(got-c[2]) > 1e-12 {
				t.Errorf("Beta(%v, %v) at %v: %v, want %v", c[0], c[1], p, got, c[2])
			}
		}
		if a, b := betaQuantile(p, 0.6, 0.6), betaQuantile(1-p, 0.6, 0.6); math.Abs(a+b-1) > 1e-12 {
			t.Errorf("Beta(0.6, 0.6) is not symmetric: %v and %v", a, b)
		}
	}
}

// TestPhilox holds the generator to the known answers that its authors publish with Random123.
func TestPhilox(t *testing.T) {
	const f = 0xffffffff
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{f, f, f, f}, [2]uint32{f, f}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox(c.counter, c.key); got != c.want {
			t.Errorf("%08x: %08x, want %08x", c.counter, got, c.want)
		}
	}
}

func TestNoise(t *testing.T) {
	const n = 1 << 17
	z := Noise(42, 0, n)
	mean, deviation := moments(z)
	tails := 0
	for _, v := range z {
		if math.Abs(float64(v)) > 3 {
			tails++
		}
	}
	if math.Abs(mean) > 0.01 || math.Abs(deviation-1) > 0.01 || math.Abs(float64(tails)/n-0.0027) > 0.0006 {
		t.Errorf("mean %v, deviation %v, %d beyond 3σ", mean, deviation, tails)
	}
	if !slices.Equal(Noise(42, 0, 13), z[:13]) {
		t.Error("a shorter stream is not the longer one's beginning")
	}
	// The first numbers, from the definition by hand: u = 1 − …, as the counter's block 0 gives them for seed 0.
	u, v := (float64(0x6627e8d5)+1)/(1<<32), float64(0xe169c58d)/(1<<32)
	want := []float32{float32(math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)), float32(math.Sqrt(-2*math.Log(u)) * math.Sin(2*math.Pi*v))}
	if d := worst(Noise(0, 0, 2), want); d > 1e-6 {
		t.Errorf("seed 0 begins %v, want %v", Noise(0, 0, 2), want)
	}
	for name, other := range map[string][]float32{"seed": Noise(43, 0, n), "high seed": Noise(42+1<<32, 0, n), "stream": Noise(42, 1, n)} {
		dot := 0.0
		for i := range z {
			dot += float64(z[i]) * float64(other[i])
		}
		if math.Abs(dot/n) > 0.015 {
			t.Errorf("another %s correlates: %v", name, dot/n)
		}
	}
	next, err := NewSource("atelier", 42)
	if err != nil {
		t.Fatal(err)
	}
	next.Normal(5)
	if !slices.Equal(next.Normal(9), Noise(42, 1, 9)) {
		t.Error("the second draw is not stream 1")
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"DPM++ 2M Karras": "dpmpp_2m/karras", "dpmpp_2m": "dpmpp_2m/", "Euler a": "euler_ancestral/", "EULER": "euler/", "k_euler_a": "euler_ancestral/",
		"dpm++ 2m sgm uniform": "dpmpp_2m/sgm_uniform", "UniPC": "uni_pc/", "PLMS": "pndm/", "Euler Exponential": "euler/exponential", "": "/", "ddim": "ddim/",
		"heun beta": "heun/beta", "DPM++ 2M SDE Karras": "dpmpp_2m_sde/karras", "DPM++ 2M SDE Heun Exponential": "dpmpp_2m_sde_heun/exponential", "DPM++ SDE Karras": "dpmpp_sde/karras",
		"DPM2 a Karras": "dpm_2_ancestral/karras", "DPM2 Karras": "dpm_2/karras", "LMS Karras": "lms/karras", "DPM++ 2S a Karras": "dpmpp_2s_ancestral/karras", "DPM++ 3M SDE Exponential": "dpmpp_3m_sde/exponential",
		"dpmpp_3m_sde_gpu": "dpmpp_3m_sde/", "uni_pc_bh2": "uni_pc/", "Euler linear_quadratic": "euler/linear_quadratic", "PNDM": "pndm/", "DDIM Uniform": "ddim/normal",
	} {
		sampler, schedule, err := ParseSampler(in)
		if got := sampler + "/" + schedule; err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, n := range Samplers() {
		for _, name := range []string{n.ID, n.Label, strings.ToUpper(n.Label)} {
			if id, _, err := ParseSampler(name); err != nil || id != n.ID {
				t.Errorf("%q: %s, %v", name, id, err)
			}
		}
	}
	for in, want := range map[string]string{"Karras": "karras", "SGM Uniform": "sgm_uniform", "Automatic": "", "": "", "Uniform": "normal", "DDIM": ""} {
		if got, err := ParseSchedule(in); got != want || (err != nil) != (in == "DDIM") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, _, err := ParseSampler("warp drive"); err == nil || !strings.Contains(err.Error(), "choose one of [euler ") {
		t.Errorf("%v", err)
	}
}

func TestConfigRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`{`:                                               "not valid JSON",
		`{"num_train_timesteps": 1e9}`:                    "num_train_timesteps",
		`{"num_train_timesteps": -4}`:                     "num_train_timesteps",
		`{"beta_schedule": "exotic"}`:                     "beta_schedule",
		`{"prediction_type": "flow"}`:                     "prediction_type",
		`{"timestep_spacing": "random"}`:                  "timestep_spacing",
		`{"beta_end": 7}`:                                 "beta at timestep",
		`{"beta_start": 0}`:                               "first beta is 0",
		`{"trained_betas": [0.1, -0.1]}`:                  "beta at timestep 1",
		`{"thresholding": true, "sample_max_value": 0.5}`: "sample_max_value",
		`{"thresholding": true, "dynamic_thresholding_ratio": 2}`: "dynamic_thresholding_ratio",
		`{"steps_offset": 1000}`:                                  "steps_offset",
		`{"num_train_timesteps": "a"}`:                            "cannot be understood",
		`{"clip_sample_range": -1}`:                               "clip_sample_range",
		`{"beta_schedule": "scaled_linear", "beta_start": -1}`:    "beta at timestep",
	} {
		if _, err := ParseConfig([]byte(in)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", in, err)
		}
	}
	c, err := ParseConfig([]byte(`{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "note": "\"Infinity", "use_karras_sigmas": true, "trained_betas": null}`))
	if err != nil || c.DefaultSampler() != "dpmpp_2m" || c.DefaultSchedule() != "karras" || c.TimestepSpacing != "linspace" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = ParseConfig([]byte(`{"_class_name": "SomethingNewScheduler"}`)); err != nil || c.DefaultSampler() != "ddim" {
		t.Errorf("unknown class: %+v, %v", c, err)
	}
}

func TestNewAndStepRefuse(t *testing.T) {
	c := builtinConfig(t, "epsilon")
	for _, bad := range []struct {
		sampler, schedule string
		steps             int
		want              string
	}{
		{"warp", "", 20, "sampler"}, {"euler", "warp", 20, "schedule"}, {"lcm", "karras", 4, "does not take the schedule"},
		{"euler", "", 0, "0 steps"}, {"euler", "", 1001, "1001 steps"},
	} {
		if _, err := New(bad.sampler, bad.schedule, c, bad.steps); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, n := range Samplers() {
		s, err := New(n.ID, "", c, 5)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 8)
		if _, _, err := s.Step(99, x, x, nil); err == nil {
			t.Errorf("%s: step 99 of 5 went through", n.ID)
		}
		if _, _, err := s.Step(0, x[:7], x, nil); err == nil {
			t.Errorf("%s: 7 numbers for 8 went through", n.ID)
		}
		_, _, err = s.Step(0, x, x, nil)
		if s.Stages() == 2 && err == nil {
			_, _, err = s.Step(1, x, x, nil)
		}
		if (err != nil) != drawsNoise(n.ID) {
			t.Errorf("%s: without noise: %v", n.ID, err)
		}
	}
}

// TestBetasAndZeroSNR checks the other schedules of betas against their definitions.
func TestBetasAndZeroSNR(t *testing.T) {
	c := DefaultConfig("")
	if b := c.betas(); math.Abs(b[0]-0.0001) > 1e-9 || math.Abs(b[999]-0.02) > 1e-8 || math.Abs(b[500]-(0.0001+0.0199*500/999)) > 1e-8 {
		t.Errorf("linear: %v %v %v", b[0], b[500], b[999])
	}
	c.BetaSchedule = "squaredcos_cap_v2"
	tr, err := newTraining(c)
	bar := math.Cos((0.5+0.008)/1.008*math.Pi/2) / math.Cos(0.008/1.008*math.Pi/2)
	if err != nil || math.Abs(tr.alphasCumprod[499]-bar*bar) > 1e-5 || c.betas()[999] != 0.999 {
		t.Errorf("cosine: ᾱ(½) = %v, want %v", tr.alphasCumprod[499], bar*bar)
	}
	c.TrainedBetas = []float64{0.1, 0.2}
	if tr, err = newTraining(c); err != nil || len(tr.sigmas) != 2 || math.Abs(tr.alphasCumprod[1]-0.72) > 1e-6 {
		t.Errorf("trained: %v, %v", tr, err)
	}
	zero := builtinConfig(t, "v_prediction")
	zero.RescaleZeroSNR = true
	if tr, err = newTraining(zero); err != nil || tr.alphasCumprod[999] != 0 || math.Abs(tr.alphasCumprod[0]-0.99915) > 1e-6 {
		t.Fatalf("zero SNR: %v … %v, %v", tr.alphasCumprod[0], tr.alphasCumprod[999], err)
	}
	for _, n := range Samplers() {
		for _, prediction := range []string{"v_prediction", "epsilon"} {
			zero.PredictionType = prediction
			s, err := New(n.ID, "", zero, 20)
			if err != nil {
				t.Fatal(err)
			}
			final, _ := gaussian{mean: 0.5}.sample(t, n.ID, s, tr, prediction, Noise(1, 0, 16))
			if mean, _ := moments(final); math.Abs(mean-0.5) > 0.05 {
				t.Errorf("%s, %s from zero SNR: mean %v", n.ID, prediction, mean)
			}
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add(builtin)
	f.Add(`{"_class_name": "LCMScheduler", "original_inference_steps": 0, "num_train_timesteps": 3}`)
	f.Add(`{"lambda_min_clipped": -Infinity, "trained_betas": [0.5], "solver_order": 9, "_class_name": "UniPCMultistepScheduler"}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig([]byte(text))
		if err != nil {
			return
		}
		for _, n := range Samplers() {
			s, err := New(n.ID, "", c, 2)
			if err != nil {
				continue
			}
			x := []float32{1, -1}
			for i := range s.Timesteps() {
				if x, _, err = s.Step(i, x, s.ScaleInput(i, x), streams(1)); err != nil {
					t.Fatal(fmt.Errorf("%s: %w", n.ID, err))
				}
			}
		}
	})
}
