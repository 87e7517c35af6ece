package diffusion

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"atelier/models/checkpoint"
)

// golden is one run of a diffusers 0.31 scheduler: testdata/<name>.safetensors has the model's outputs and the latents after
// every step.
type golden struct {
	Name   string
	Steps  int
	Config json.RawMessage
	Atol   map[string]float64
}

// names of the samplers and schedules in the goldens' file names.
var goldenSamplers = map[string][2]string{
	"ddim": {"ddim", "normal"}, "ddpm": {"ddpm", "normal"}, "dpmpp_2m_karras": {"dpmpp_2m", "karras"}, "euler": {"euler", "normal"},
	"euler_a": {"euler_ancestral", "normal"}, "heun": {"heun", "normal"}, "lcm": {"lcm", "normal"}, "pndm": {"pndm", "normal"}, "unipc": {"uni_pc", "normal"},
}

func goldens(t *testing.T) []golden {
	t.Helper()
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []golden
	if err := json.Unmarshal(withoutInfinities(data), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != len(goldenSamplers) {
		t.Fatalf("%d cases", len(cases))
	}
	return cases
}

type tensors struct {
	t    *testing.T
	file checkpoint.Tensors
}

func (f tensors) get(name string) []float32 {
	f.t.Helper()
	tensor, ok := f.file.Get(name)
	if !ok {
		f.t.Fatalf("no tensor %s", name)
	}
	values, err := tensor.Float32s()
	if err != nil {
		f.t.Fatal(err)
	}
	return values
}

// worst is the largest absolute difference; NaN and unequal lengths are infinitely far.
func worst(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	d := 0.0
	for i := range a {
		diff := math.Abs(float64(a[i]) - float64(b[i]))
		if !(diff <= d) {
			d = diff
		}
		if diff != diff {
			return math.Inf(1)
		}
	}
	return d
}

func narrow(list []float64) (out []float32) {
	for _, v := range list {
		out = append(out, float32(v))
	}
	return out
}

// TestGoldens feeds each sampler the reference's model outputs and compares timesteps, noise levels, model inputs and
// latents after every call.
func TestGoldens(t *testing.T) {
	for _, c := range goldens(t) {
		t.Run(c.Name, func(t *testing.T) {
			file, err := checkpoint.Open("testdata/" + c.Name + ".safetensors")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			f := tensors{t, file}
			config, err := ParseConfig(c.Config)
			if err != nil {
				t.Fatal(err)
			}
			names := goldenSamplers[c.Name]
			s, err := New(names[0], names[1], config, c.Steps)
			if err != nil {
				t.Fatal(err)
			}
			if byDefault := [2]string{config.DefaultSampler(), config.DefaultSchedule()}; byDefault != names {
				t.Errorf("the configuration stands for %v", byDefault)
			}
			if d := worst(narrow(s.Timesteps()), f.get("timesteps")); d > 1e-3 {
				t.Errorf("timesteps %v, want %v", s.Timesteps(), f.get("timesteps"))
			}
			if atol, ok := c.Atol["sigmas"]; ok && worst(narrow(s.Sigmas()), f.get("sigmas")) > atol {
				t.Errorf("sigmas %v, want %v", s.Sigmas(), f.get("sigmas"))
			}
			if want := float64(f.get("init_noise_sigma")[0]); math.Abs(s.InitNoiseSigma()-want) > 1e-5*want {
				t.Errorf("init noise sigma %v, want %v", s.InitNoiseSigma(), want)
			}
			teacherForced(t, s, f, c.Atol)
		})
	}
}

func teacherForced(t *testing.T, s Sampler, f tensors, atol map[string]float64) {
	x := combine(term{s.InitNoiseSigma(), f.get("latents")})
	drawn := 0
	noise := func(int, float64, float64) []float32 {
		drawn++
		return f.get(fmt.Sprintf("noise%02d", drawn-1))
	}
	for i := range s.Timesteps() {
		step := fmt.Sprintf("step%02d.", i)
		if d := worst(s.ScaleInput(i, x), f.get(step+"model_input")); d > atol[step+"latents"] {
			t.Errorf("%smodel_input differs by %.3g", step, d)
		}
		next, _, err := s.Step(i, f.get(step+"noise_pred"), x, noise)
		if err != nil {
			t.Fatal(err)
		}
		if d := worst(next, f.get(step+"latents")); d > atol[step+"latents"] {
			t.Errorf("%slatents differs by %.3g, allowed %.3g", step, d, atol[step+"latents"])
		}
		x = next
	}
}

func TestAlphasCumprod(t *testing.T) {
	file, err := checkpoint.Open("testdata/ddim.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := DefaultConfig("DDIMScheduler")
	c.BetaStart, c.BetaEnd, c.BetaSchedule = 0.00085, 0.012, "scaled_linear"
	tr, err := newTraining(c)
	if err != nil {
		t.Fatal(err)
	}
	if d := worst(narrow(tr.alphasCumprod), tensors{t, file}.get("alphas_cumprod")); d > 2e-7 {
		t.Errorf("differs by %.3g", d)
	}
}
