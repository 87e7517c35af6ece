package diffusion

import (
	"math"
	"testing"
)

// TestVariants checks settings of scheduler configurations that the goldens leave at their usual values, against the published
// equations written out in float64 with numpy.
func TestVariants(t *testing.T) {
	const common = `{"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": false, "clip_sample": false, `
	for _, c := range []struct {
		sampler, config string
		steps           int
		want            []float64
	}{
		{"heun", `"clip_sample": true, "clip_sample_range": 0.7, "_class_name": "HeunDiscreteScheduler"`, 4, []float64{0.684372, 0.677631, 0.101271, -0.7, -0.7}},
		{"ddim", `"thresholding": true, "sample_max_value": 3, "dynamic_thresholding_ratio": 0.6, "_class_name": "DDIMScheduler"`, 4, []float64{0.970712, 0.734332, -0.963448, -0.031873, 0.158036}},
		{"ddpm", `"thresholding": true, "sample_max_value": 3, "dynamic_thresholding_ratio": 0.6, "_class_name": "DDPMScheduler"`, 4, []float64{0.123708, 0.96685, -0.780289, -0.764015, 0.756085}},
		{"lcm", `"thresholding": true, "clip_sample": true, "_class_name": "LCMScheduler"`, 4, []float64{0.229183, 0.404581, -1, 0.168825, 1}},
		{"dpmpp_2m", `"thresholding": true, "sample_max_value": 3, "dynamic_thresholding_ratio": 0.6, "_class_name": "DPMSolverMultistepScheduler"`, 4, []float64{1, 1, -0.684489, -0.759064, -0.845482}},
		{"uni_pc", `"thresholding": true, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.6, "_class_name": "UniPCMultistepScheduler"`, 4, []float64{1, 1, -0.807893, -0.782925, -0.854342}},
		{"ddpm", `"timestep_spacing": "linspace", "_class_name": "DDPMScheduler"`, 3, []float64{-2.75202, 19.75, 9.50257, -26.5995, -9.4075}},
		{"ddpm", `"timestep_spacing": "trailing", "_class_name": "DDPMScheduler"`, 7, []float64{0.585137, 19.8145, 2.39843, -24.8864, -4.48432}},
		{"ddpm", `"variance_type": "fixed_large", "_class_name": "DDPMScheduler"`, 4, []float64{-0.103989, 6.08545, 0.558912, -7.77219, -0.929996}},
		{"lcm", `"beta_schedule": "squaredcos_cap_v2", "_class_name": "LCMScheduler"`, 3, []float64{-3217.41, 26896.2, 16124.5, -34841.2, -16502.4}},
		{"ddim", `"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing", "_class_name": "DDIMScheduler"`, 3, []float64{-3212.38, 26870.6, 16109.6, -34806.1, -16488.7}},
		{"euler", `"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing", "_class_name": "EulerDiscreteScheduler"`, 3, []float64{-3215.39, 26895.8, 16124.8, -34838.7, -16504.1}},
		{"dpmpp_2m", `"solver_order": 1, "_class_name": "DPMSolverMultistepScheduler"`, 6, []float64{2.63396, 8.45336, 1.89091, -8.23299, -4.66042}},
		{"dpmpp_2m", `"solver_order": 3, "_class_name": "DPMSolverMultistepScheduler"`, 6, []float64{3.54013, 7.79389, 1.53361, -7.27615, -5.09949}},
		{"dpmpp_2m", `"solver_order": 3, "_class_name": "DPMSolverMultistepScheduler"`, 16, []float64{7.07611, 11.3764, 0.511786, -9.15529, -7.08785}},
		{"dpmpp_2m", `"final_sigmas_type": "sigma_min", "lower_order_final": false, "_class_name": "DPMSolverMultistepScheduler"`, 6, []float64{2.5649, 8.056, 2.28578, -8.16504, -5.10775}},
		{"dpmpp_2m", `"final_sigmas_type": "sigma_min", "lower_order_final": false, "euler_at_final": true, "_class_name": "DPMSolverMultistepScheduler"`, 6, []float64{3.49183, 8.31343, 1.14459, -7.47267, -4.54282}},
		{"uni_pc", `"final_sigmas_type": "sigma_min", "lower_order_final": false, "solver_order": 3, "_class_name": "UniPCMultistepScheduler"`, 6, []float64{-5.81909, 19.6288, 1.03776, -18.6992, 4.90775}},
		{"uni_pc", `"disable_corrector": [0, 2], "_class_name": "UniPCMultistepScheduler"`, 6, []float64{3.52514, 8.06876, 1.31983, -7.37308, -4.80503}},
	} {
		config, err := ParseConfig([]byte(common + c.config + "}"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(c.sampler, "", config, c.steps)
		if err != nil {
			t.Fatal(err)
		}
		const width = 5
		wave := func(f func(float64) float64, from, step float64) (out []float32) {
			for i := range width {
				out = append(out, float32(f(from+step*float64(i))))
			}
			return out
		}
		drawn := 0.0
		draw := func(int, float64, float64) []float32 {
			drawn++
			return wave(math.Sin, 3*drawn, 1)
		}
		x := combine(term{s.InitNoiseSigma(), wave(math.Sin, 1, 1)})
		for i := range s.Timesteps() {
			if x, _, err = s.Step(i, wave(math.Cos, float64(i), 2), x, draw); err != nil {
				t.Fatal(err)
			}
		}
		want := narrow(c.want)
		if d := worst(x, want); d > 1e-4*max(1, largest(want)) {
			t.Errorf("%s in %d steps with %s: %v, want %v", c.sampler, c.steps, c.config, x, want)
		}
	}
	for class, config := range map[string]string{
		"UniPCMultistepScheduler": `"predict_x0": false`, "DPMSolverMultistepScheduler": `"algorithm_type": "dpmsolver"`, "DDPMScheduler": `"variance_type": "learned_range"`,
	} {
		parsed, err := ParseConfig([]byte(`{"_class_name": "` + class + `", ` + config + "}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New("", "", parsed, 5); err == nil {
			t.Errorf("%s with %s: what this program does not compute went through", class, config)
		}
		if _, err := New("euler", "", parsed, 5); err != nil {
			t.Errorf("%s with %s, sampled by another: %v", class, config, err)
		}
	}
}

// TestTruncatedTimesteps checks that the solvers' timesteps are rounded under karras, and cut under exponential and beta.
func TestTruncatedTimesteps(t *testing.T) {
	c := builtinConfig(t, "epsilon")
	tr, err := newTraining(c)
	if err != nil {
		t.Fatal(err)
	}
	for schedule, whole := range map[string]func(float64) float64{"karras": math.RoundToEven, "exponential": math.Floor, "beta": math.Floor} {
		s, err := New("dpmpp_2m", schedule, c, 7)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range s.Timesteps() {
			if want := whole(tr.timestepOf(s.Sigmas()[i])); got != want {
				t.Errorf("%s: timestep %d is %v, want %v", schedule, i, got, want)
			}
		}
	}
}
