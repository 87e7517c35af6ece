// Package diffusion is the arithmetic of sampling: how noisy each timestep is (schedule), what a model's output says about
// the picture (denoiser), and how to walk from noise to picture (sampler). The three are independent, as in k-diffusion.
//
// Symbols follow the papers: a noisy latent is x = αₜ·x0 + σₜ·ε with αₜ² + σₜ² = 1 (variance preserving), or x = x0 + σ·ε
// (variance exploding, σ = σₜ/αₜ). Latents are float32; all scalars are float64. Samplers compute what diffusers 0.31's
// schedulers of the same name compute, and those that it lacks what k-diffusion's functions do.
package diffusion

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Config is a model's noise schedule, as diffusers writes it to scheduler_config.json.
type Config struct {
	ClassName         string    `json:"_class_name"`         // such as "DDIMScheduler"
	NumTrainTimesteps int       `json:"num_train_timesteps"` // timesteps are 0 … this − 1
	BetaStart         float64   `json:"beta_start"`
	BetaEnd           float64   `json:"beta_end"`
	BetaSchedule      string    `json:"beta_schedule"` // "linear", "scaled_linear", "squaredcos_cap_v2"
	TrainedBetas      []float64 `json:"trained_betas"` // instead of the four above
	RescaleZeroSNR    bool      `json:"rescale_betas_zero_snr"`
	PredictionType    string    `json:"prediction_type"`  // "epsilon", "v_prediction", "sample"
	TimestepSpacing   string    `json:"timestep_spacing"` // "leading", "trailing", "linspace"
	StepsOffset       int       `json:"steps_offset"`
	SetAlphaToOne     bool      `json:"set_alpha_to_one"`  // the last step ends at α² = 1, not at timestep 0's
	FinalSigmas       string    `json:"final_sigmas_type"` // "zero", "sigma_min"
	ClipSample        bool      `json:"clip_sample"`       // clamp x0 to ±ClipRange: models of pixels
	ClipRange         float64   `json:"clip_sample_range"`
	Thresholding      bool      `json:"thresholding"` // in place of ClipSample: see bound
	ThresholdRatio    float64   `json:"dynamic_thresholding_ratio"`
	ThresholdMost     float64   `json:"sample_max_value"`
	VarianceType      string    `json:"variance_type"` // DDPM: "fixed_small", "fixed_large"
	KarrasSigmas      bool      `json:"use_karras_sigmas"`
	ExponentialSigmas bool      `json:"use_exponential_sigmas"`
	BetaSigmas        bool      `json:"use_beta_sigmas"`
	SolverOrder       int       `json:"solver_order"`             // UniPC and DPM-Solver++: 1, 2 or 3
	SolverType        string    `json:"solver_type"`              // UniPC: "bh1", "bh2"; DPM-Solver++: "midpoint", "heun"
	LowerOrderFinal   bool      `json:"lower_order_final"`        // both: take the last of few steps at a lower order
	EulerAtFinal      bool      `json:"euler_at_final"`           // DPM-Solver++: the last of many, too
	Uncorrected       []int     `json:"disable_corrector"`        // UniPC: calls after which the corrector rests
	PredictX0         bool      `json:"predict_x0"`               // UniPC
	Algorithm         string    `json:"algorithm_type"`           // DPM-Solver++: "sde-dpmsolver++" draws noise
	OriginalSteps     int       `json:"original_inference_steps"` // LCM: the steps that it was distilled from
	TimestepScaling   float64   `json:"timestep_scaling"`         // LCM
	Shift             float64   `json:"shift"`                    // FlowClass: how much longer the noisy end is; 0 means 1
}

// DefaultConfig is what a scheduler class of diffusers 0.31 assumes where its file is silent. An unknown class gets DDIM's.
func DefaultConfig(className string) Config {
	c := Config{
		ClassName: className, NumTrainTimesteps: 1000, BetaStart: 0.0001, BetaEnd: 0.02, BetaSchedule: "linear",
		PredictionType: "epsilon", TimestepSpacing: "linspace", FinalSigmas: "zero", ClipRange: 1, SetAlphaToOne: true,
		SolverOrder: 2, SolverType: "bh2", OriginalSteps: 50, TimestepScaling: 10, ThresholdRatio: 0.995, ThresholdMost: 1,
		LowerOrderFinal: true, PredictX0: true,
	}
	switch className {
	case "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "LMSDiscreteScheduler":
	case "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler":
		c.BetaStart, c.BetaEnd = 0.00085, 0.012
	case "LCMScheduler":
		c.BetaStart, c.BetaEnd, c.BetaSchedule, c.TimestepSpacing = 0.00085, 0.012, "scaled_linear", "leading"
	case "PNDMScheduler":
		c.TimestepSpacing, c.SetAlphaToOne = "leading", false
	default: // DDIM and DDPM
		c.TimestepSpacing, c.ClipSample = "leading", true
	}
	return c
}

// ParseConfig reads a scheduler_config.json; a class that is not known keeps its numbers and samples as DDIM.
func ParseConfig(data []byte) (Config, error) {
	data = withoutInfinities(data)
	var class struct {
		Name string `json:"_class_name"`
	}
	if err := json.Unmarshal(data, &class); err != nil {
		return Config{}, fmt.Errorf("diffusion: the scheduler configuration is not valid JSON: %w", err)
	}
	c := DefaultConfig(class.Name)
	if err := json.Unmarshal(data, &c); err != nil {
		return Config{}, fmt.Errorf("diffusion: the scheduler configuration cannot be understood: %w", err)
	}
	return c, c.check()
}

// withoutInfinities turns Python's -Infinity, Infinity and NaN outside texts, which JSON lacks, into null.
func withoutInfinities(data []byte) []byte {
	out, inText := make([]byte, 0, len(data)), false
scan:
	for i := 0; i < len(data); i++ {
		c := data[i]
		if inText && c == '\\' && i+1 < len(data) {
			out = append(out, c, data[i+1])
			i++
			continue
		}
		if c == '"' {
			inText = !inText
		}
		if !inText {
			for _, word := range []string{"-Infinity", "Infinity", "NaN"} {
				if bytes.HasPrefix(data[i:], []byte(word)) {
					out = append(out, "null"...)
					i += len(word) - 1
					continue scan
				}
			}
		}
		out = append(out, c)
	}
	return out
}

const maxTrainTimesteps = 100_000

func (c Config) check() error {
	for _, field := range []struct {
		name, value string
		known       []string
	}{
		{"prediction_type", c.PredictionType, []string{"epsilon", "v_prediction", "sample"}},
		{"timestep_spacing", c.TimestepSpacing, []string{"leading", "trailing", "linspace"}},
		{"final_sigmas_type", c.FinalSigmas, []string{"zero", "sigma_min"}},
		{"beta_schedule", c.BetaSchedule, []string{"linear", "scaled_linear", "squaredcos_cap_v2"}},
	} {
		if !slices.Contains(field.known, field.value) {
			return fmt.Errorf("diffusion: the scheduler configuration's %s %.40q is not one of %v", field.name, field.value, field.known)
		}
	}
	switch {
	case c.NumTrainTimesteps < 1 || c.NumTrainTimesteps > maxTrainTimesteps || len(c.TrainedBetas) > maxTrainTimesteps:
		return fmt.Errorf("diffusion: the scheduler configuration's num_train_timesteps %d is not within 1 to %d", c.NumTrainTimesteps, maxTrainTimesteps)
	case c.StepsOffset < 0 || c.StepsOffset >= c.NumTrainTimesteps:
		return fmt.Errorf("diffusion: the scheduler configuration's steps_offset %d is not within its %d timesteps", c.StepsOffset, c.NumTrainTimesteps)
	case c.Thresholding && !(c.ThresholdRatio >= 0 && c.ThresholdRatio <= 1):
		return fmt.Errorf("diffusion: the scheduler configuration's dynamic_thresholding_ratio %v is not within 0 to 1", c.ThresholdRatio)
	case c.Thresholding && !(c.ThresholdMost >= 1):
		return fmt.Errorf("diffusion: the scheduler configuration's sample_max_value %v is not 1 or more", c.ThresholdMost)
	case c.ClipSample && !(c.ClipRange > 0):
		return fmt.Errorf("diffusion: the scheduler configuration's clip_sample_range %v is not positive", c.ClipRange)
	}
	_, err := newTraining(c)
	return err
}

// training is the noise that the model was trained with.
type training struct {
	alphasCumprod []float64 // ᾱₜ = αₜ², falling with t
	sigmas        []float64 // √((1 − ᾱₜ)/ᾱₜ), rising with t
}

// snrFloor stands in for ᾱ = 0, where σ would be infinite.
const snrFloor = 1.0 / (1 << 24)

func floored(bar float64) float64 {
	if bar == 0 {
		return snrFloor
	}
	return bar
}

// levels turns ᾱ into σ.
func levels(bars []float64) []float64 {
	for i, a := range bars {
		a = floored(a)
		bars[i] = math.Sqrt((1 - a) / a)
	}
	return bars
}

func newTraining(c Config) (*training, error) {
	betas := c.betas()
	tr := &training{}
	product := 1.0
	for t, b := range betas {
		if !(b >= 0 && b < 1) {
			return nil, fmt.Errorf("diffusion: the scheduler configuration's beta at timestep %d is %v, which is not within 0 to 1", t, b)
		}
		// float32 betas, as the reference keeps them; the running product in float64.
		product *= float64(1 - float32(b))
		tr.alphasCumprod = append(tr.alphasCumprod, float64(float32(product)))
	}
	if c.RescaleZeroSNR {
		rescaleZeroSNR(tr.alphasCumprod)
	}
	tr.sigmas = levels(slices.Clone(tr.alphasCumprod))
	if first := tr.sigmas[0]; !(first > 0) {
		return nil, errors.New("diffusion: the scheduler configuration's first beta is 0, so that no noise is left to remove at timestep 0")
	}
	return tr, nil
}

// betas is the variance that each training timestep adds.
func (c Config) betas() []float64 {
	if len(c.TrainedBetas) > 0 {
		return c.TrainedBetas
	}
	n := c.NumTrainTimesteps
	switch c.BetaSchedule {
	case "scaled_linear": // linear in the square root (Rombach et al. 2022)
		betas := linspace32(math.Sqrt(c.BetaStart), math.Sqrt(c.BetaEnd), n)
		for i, b := range betas {
			betas[i] = float64(float32(b) * float32(b))
		}
		return betas
	case "squaredcos_cap_v2": // Nichol and Dhariwal 2021
		bar := func(t float64) float64 { s := math.Cos((t + 0.008) / 1.008 * math.Pi / 2); return s * s }
		betas := make([]float64, n)
		for i := range betas {
			betas[i] = min(1-bar(float64(i+1)/float64(n))/bar(float64(i)/float64(n)), 0.999)
		}
		return betas
	}
	return linspace32(c.BetaStart, c.BetaEnd, n)
}

// linspace32 is n evenly spaced float32 numbers, counted from the nearer end as the reference counts them.
func linspace32(from, to float64, n int) []float64 {
	a, b := float32(from), float32(to)
	var step float32
	if n > 1 {
		step = (b - a) / float32(n-1)
	}
	out := make([]float64, n)
	for i := range out {
		if i < n/2 || n == 1 {
			out[i] = float64(a + float32(step*float32(i)))
		} else {
			out[i] = float64(b - float32(step*float32(n-1-i)))
		}
	}
	return out
}

// rescaleZeroSNR shifts and scales √ᾱ so that the last timestep is pure noise (Lin et al. 2024, algorithm 1).
func rescaleZeroSNR(alphasCumprod []float64) {
	first, last := math.Sqrt(alphasCumprod[0]), math.Sqrt(alphasCumprod[len(alphasCumprod)-1])
	if first == last {
		return
	}
	for i, a := range alphasCumprod {
		s := (math.Sqrt(a) - last) * first / (first - last)
		alphasCumprod[i] = s * s
	}
}

// sigmaAt interpolates σ linearly at a timestep that need not be whole.
func (tr *training) sigmaAt(t float64) float64 {
	t = min(max(t, 0), float64(len(tr.sigmas)-1))
	i := min(int(t), len(tr.sigmas)-2)
	if i < 0 {
		return tr.sigmas[0]
	}
	w := t - float64(i)
	return tr.sigmas[i] + w*(tr.sigmas[i+1]-tr.sigmas[i])
}

// timestepOf is the timestep, not always whole, whose log σ is interpolated linearly.
func (tr *training) timestepOf(sigma float64) float64 {
	n := len(tr.sigmas)
	if n == 1 {
		return 0
	}
	low, found := slices.BinarySearch(tr.sigmas, sigma)
	if !found {
		low--
	}
	low = min(max(low, 0), n-2)
	a, b := math.Log(tr.sigmas[low]), math.Log(tr.sigmas[low+1])
	w := min(max((math.Log(sigma)-a)/(b-a), 0), 1)
	return float64(low) + w
}
