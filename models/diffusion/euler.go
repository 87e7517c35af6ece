package diffusion

import "math"

// exploding is Euler, Euler ancestral and Heun: x = x0 + σ·ε, walked along dx/dσ = (x − x0)/σ (Karras et al. 2022,
// algorithms 1 and 2 without churn; the ancestral step is k-diffusion's).
type exploding struct {
	run
	kind prediction
	step func(i int, x0, x []float32, noise func(n int) []float32) ([]float32, error)

	slope, origin []float32 // Heun: the derivative and the x of the first stage; nil between steps
}

func newExploding(id, schedule string, c Config, tr *training, steps int) (Sampler, error) {
	sigmas, timesteps, err := tr.sigmaSchedule(schedule, c, steps, gridSigma)
	if err != nil {
		return nil, err
	}
	s := &exploding{kind: prediction(c.PredictionType)}
	s.last = -2
	s.timesteps, s.sigmas = timesteps, append(sigmas, tr.finalSigma(c))
	s.init = sigmas[0]
	if c.TimestepSpacing == "leading" {
		s.init = math.Sqrt(sigmas[0]*sigmas[0] + 1)
	}
	switch id {
	case "euler":
		s.step = s.euler
	case "euler_ancestral":
		s.step = s.ancestral
	case "heun":
		s.step = s.heun
		s.timesteps, s.sigmas = twice(s.timesteps, len(timesteps)), twice(s.sigmas, len(timesteps))
	}
	return s, nil
}

// twice repeats every element but the first, up to but without index end.
func twice(list []float64, end int) []float64 {
	out := list[:1:1]
	for _, v := range list[1:end] {
		out = append(out, v, v)
	}
	return append(out, list[end:]...)
}

// finalSigma is the noise level after the last step.
func (tr *training) finalSigma(c Config) float64 {
	if c.FinalSigmas == "sigma_min" {
		return tr.sigmas[0]
	}
	return 0
}

// ScaleInput brings x to unit variance, as the model was trained.
func (s *exploding) ScaleInput(i int, x []float32) []float32 {
	sigma := s.sigmas[min(max(i, 0), len(s.timesteps)-1)]
	return combine(term{1 / math.Sqrt(sigma*sigma+1), x})
}

func (s *exploding) Step(i int, modelOut, x []float32, noise func(n int) []float32) (next, denoised []float32, err error) {
	fresh, err := s.begin(i, modelOut, x)
	if err != nil {
		return nil, nil, err
	}
	if fresh {
		s.slope, s.origin = nil, nil
	}
	kx, ko := s.kind.denoised(1, s.sigmas[i], false)
	denoised = combine(term{kx, x}, term{ko, modelOut})
	next, err = s.step(i, denoised, x, noise)
	return next, denoised, err
}

// towards takes x from noise level from to level to along the line through x0.
func towards(x, x0 []float32, from, to float64) []float32 {
	return combine(term{to / from, x}, term{1 - to/from, x0})
}

func (s *exploding) euler(i int, x0, x []float32, _ func(int) []float32) ([]float32, error) {
	return towards(x, x0, s.sigmas[i], s.sigmas[i+1]), nil
}

func (s *exploding) ancestral(i int, x0, x []float32, noise func(int) []float32) ([]float32, error) {
	from, to := s.sigmas[i], s.sigmas[i+1]
	up := math.Sqrt(to * to * (from*from - to*to) / (from * from))
	down := math.Sqrt(to*to - up*up)
	z, err := draw(noise, len(x))
	if err != nil {
		return nil, err
	}
	return combine(term{down / from, x}, term{1 - down/from, x0}, term{up, z}), nil
}

// heun takes a trial step on odd stages and the step with the mean of both slopes on even ones; the step to σ = 0 has one
// stage only.
func (s *exploding) heun(i int, x0, x []float32, _ func(int) []float32) ([]float32, error) {
	sigma := s.sigmas[i]
	if s.slope != nil {
		slope, origin, step := s.slope, s.origin, sigma-s.sigmas[i-1]
		s.slope, s.origin = nil, nil
		return combine(term{1, origin}, term{step / 2, slope}, term{step / (2 * sigma), x}, term{-step / (2 * sigma), x0}), nil
	}
	if i+1 < len(s.timesteps) {
		s.slope, s.origin = combine(term{1 / sigma, x}, term{-1 / sigma, x0}), x
	}
	return towards(x, x0, sigma, s.sigmas[i+1]), nil
}
