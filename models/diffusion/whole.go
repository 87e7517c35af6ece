package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// whole is the samplers that step between trained timesteps, x = αₜ·x0 + σₜ·ε: DDIM (Song et al. 2021) and DDPM (Ho et
// al. 2020).
type whole struct {
	run
	kind      prediction
	ancestral bool      // DDPM
	eta       float64   // DDIM: 0 draws no noise, 1 as much as DDPM
	bar, prev []float64 // ᾱ at and after each call
	limit     bound
	large     bool // DDPM: the noise of q(x_t | x_prev) rather than of the posterior
}

func newWhole(id, schedule string, c Config, tr *training, steps int, eta float64) (Sampler, error) {
	_, timesteps, err := tr.sigmaSchedule(schedule, c, steps, gridWhole)
	if err != nil {
		return nil, err
	}
	s := &whole{kind: prediction(c.PredictionType), ancestral: id == "ddpm", eta: eta}
	s.last, s.init, s.timesteps = -2, 1, timesteps
	s.limit, s.large = either(c), c.VarianceType == "fixed_large"
	if s.ancestral && !slices.Contains([]string{"", "fixed_small", "fixed_small_log", "fixed_large"}, c.VarianceType) {
		return nil, fmt.Errorf("diffusion: the scheduler configuration's variance_type %.40q is not one that this program computes; choose another sampler than ddpm", c.VarianceType)
	}
	final := tr.finalAlpha(c.SetAlphaToOne || s.ancestral)
	for i, t := range timesteps {
		after := int(t) - c.NumTrainTimesteps/steps
		if schedule != "normal" || s.ancestral { // uneven, or where the reference has it so: the next timestep of the list
			after = -1
			if i+1 < steps {
				after = int(timesteps[i+1])
			}
		}
		s.bar = append(s.bar, tr.alphaBar(int(t), c))
		if after < 0 {
			s.prev = append(s.prev, final)
		} else {
			s.prev = append(s.prev, tr.alphaBar(after, c))
		}
	}
	s.sigmas = levels(append(slices.Clone(s.bar), s.prev[steps-1]))
	return s, nil
}

// alphaBar is ᾱ at a timestep. Models that predict ε cannot start from ᾱ = 0: they divide by it.
func (tr *training) alphaBar(t int, c Config) float64 {
	a := tr.alphasCumprod[min(max(t, 0), len(tr.alphasCumprod)-1)]
	if c.PredictionType == "epsilon" {
		a = floored(a)
	}
	return a
}

// finalAlpha is the ᾱ after the last step.
func (tr *training) finalAlpha(one bool) float64 {
	if one {
		return 1
	}
	return tr.alphasCumprod[0]
}

func (s *whole) Step(i int, modelOut, x []float32, noise Draw) (next, denoised []float32, err error) {
	if _, err := s.begin(i, modelOut, x); err != nil {
		return nil, nil, err
	}
	bar, prev := s.bar[i], s.prev[i]
	alpha, sigma := math.Sqrt(bar), math.Sqrt(1-bar)
	kx, ko := s.kind.denoised(alpha, sigma, true)
	denoised = s.limit.picture(kx, ko, x, modelOut)
	if !s.ancestral {
		return s.implicit(i, modelOut, x, denoised, noise)
	}
	// The posterior q(x_prev | x, x0): equations 6 and 7 of Ho et al., for the stride's own α and β.
	stride := bar / prev
	meanX0 := math.Sqrt(prev) * (1 - stride) / (1 - bar)
	meanX := math.Sqrt(stride) * (1 - prev) / (1 - bar)
	if s.timesteps[i] == 0 {
		return combine(term{meanX0, denoised}, term{meanX, x}), denoised, nil
	}
	variance := max((1-prev)/(1-bar)*(1-stride), 1e-20)
	if s.large {
		variance = 1 - stride
	}
	z, err := draw(noise, len(x), s.sigmas[i], s.sigmas[i+1])
	if err != nil {
		return nil, nil, err
	}
	return combine(term{meanX0, denoised}, term{meanX, x}, term{math.Sqrt(variance), z}), denoised, nil
}

// implicit is a step of DDIM, equations 12 and 16 of Song et al.
func (s *whole) implicit(i int, modelOut, x, denoised []float32, noise Draw) (next, x0 []float32, err error) {
	bar, prev := s.bar[i], s.prev[i]
	ex, eo := s.kind.epsilon(math.Sqrt(bar), math.Sqrt(1-bar))
	up := s.eta * math.Sqrt(max((1-prev)/(1-bar)*(1-bar/prev), 0))
	k := math.Sqrt(max(1-prev-up*up, 0))
	terms := []term{{math.Sqrt(prev), denoised}, {k * ex, x}, {k * eo, modelOut}}
	if s.eta > 0 {
		z, err := draw(noise, len(x), s.sigmas[i], s.sigmas[i+1])
		if err != nil {
			return nil, nil, err
		}
		terms = append(terms, term{up, z})
	}
	return combine(terms...), denoised, nil
}

// pndm is pseudo linear multistep (Liu et al. 2022) without the Runge–Kutta start, as Stable Diffusion shipped it: the second
// timestep is visited twice to get the method going. Like the reference it extrapolates the model's outputs as they are, which
// for models that predict v rather than ε is coarser in few steps.
type pndm struct {
	run
	kind    prediction
	bars    func(t int) float64
	stride  int
	outputs [][]float32 // of the last calls, oldest first
	calls   int         // since the run began, which may be at a later timestep
	first   []float32   // x of the first call
}

func newPNDM(c Config, tr *training, steps int) Sampler {
	own := spaced(c, steps, gridWhole)
	s := &pndm{kind: prediction(c.PredictionType), stride: c.NumTrainTimesteps / steps}
	s.last, s.init = -2, 1
	s.timesteps = own
	if steps > 1 {
		s.timesteps = slices.Insert(slices.Clone(own), 1, own[1])
	}
	final := tr.finalAlpha(c.SetAlphaToOne)
	s.bars = func(t int) float64 {
		if t < 0 {
			return final
		}
		return tr.alphaBar(t, c)
	}
	for _, t := range s.timesteps {
		s.sigmas = append(s.sigmas, s.bars(int(t)))
	}
	s.sigmas = levels(append(s.sigmas, s.bars(int(own[steps-1])-s.stride)))
	return s
}

func (s *pndm) Step(i int, modelOut, x []float32, _ Draw) (next, denoised []float32, err error) {
	fresh, err := s.begin(i, modelOut, x)
	if err != nil {
		return nil, nil, err
	}
	t := int(s.timesteps[i])
	bar := s.bars(t)
	kx, ko := s.kind.denoised(math.Sqrt(bar), math.Sqrt(1-bar), true)
	denoised = combine(term{kx, x}, term{ko, modelOut})
	if fresh {
		s.outputs, s.calls = nil, 0
	}
	after, from := t-s.stride, x
	s.calls++
	// The second call takes the first step anew, by the mean slope. A run that begins later, from a given picture, does the same
	// as the reference, although its second call has a timestep of its own there.
	if s.calls == 2 {
		after, t, from = t, t+s.stride, s.first
		modelOut = combine(term{0.5, modelOut}, term{0.5, s.outputs[0]})
	} else {
		if s.calls == 1 {
			s.first = x
		}
		s.outputs = append(s.outputs, modelOut)
		s.outputs = s.outputs[max(0, len(s.outputs)-4):]
		modelOut = adamsBashforth(s.outputs)
	}
	return s.transfer(from, modelOut, s.bars(t), s.bars(after)), denoised, nil
}

// adamsBashforth extrapolates from one to four outputs, oldest first.
func adamsBashforth(outputs [][]float32) []float32 {
	weights := [][]float64{{1}, {-1. / 2, 3. / 2}, {5. / 12, -16. / 12, 23. / 12}, {-9. / 24, 37. / 24, -59. / 24, 55. / 24}}[len(outputs)-1]
	terms := make([]term, len(outputs))
	for i, o := range outputs {
		terms[i] = term{weights[i], o}
	}
	return combine(terms...)
}

// transfer is equation 9 of the paper, the step for a given ε.
func (s *pndm) transfer(x, out []float32, bar, prev float64) []float32 {
	ex, eo := s.kind.epsilon(math.Sqrt(bar), math.Sqrt(1-bar))
	k := -(prev - bar) / (bar*math.Sqrt(1-prev) + math.Sqrt(bar*(1-bar)*prev))
	return combine(term{math.Sqrt(prev/bar) + k*ex, x}, term{k * eo, out})
}

// lcm is latent consistency sampling (Luo et al. 2023): jump to x0, then add noise for the next timestep.
type lcm struct {
	run
	kind         prediction
	bar          []float64
	limit        bound
	keepX, keep0 func(t float64) float64 // boundary conditions c_skip and c_out
}

func newLCM(c Config, tr *training, steps int) (Sampler, error) {
	original := c.OriginalSteps
	if original < 1 || original > c.NumTrainTimesteps {
		original = min(50, c.NumTrainTimesteps)
	}
	stride := c.NumTrainTimesteps / original
	s := &lcm{kind: prediction(c.PredictionType)}
	s.last, s.init = -2, 1
	s.limit = either(c)
	// More steps than it was distilled from: take every timestep again as DDIM would space them.
	if steps > original {
		original, stride = steps, max(c.NumTrainTimesteps/steps, 1)
	}
	for i := range steps {
		index := int(float64(i) * float64(original) / float64(steps))
		t := (original-index)*stride - 1
		s.timesteps = append(s.timesteps, float64(t))
		s.bar = append(s.bar, tr.alphaBar(t, c))
	}
	const dataVariance = 0.5 * 0.5
	s.keepX = func(t float64) float64 { t *= c.TimestepScaling; return dataVariance / (t*t + dataVariance) }
	s.keep0 = func(t float64) float64 { t *= c.TimestepScaling; return t / math.Sqrt(t*t+dataVariance) }
	s.sigmas = append(levels(slices.Clone(s.bar)), 0)
	return s, nil
}

func (s *lcm) Step(i int, modelOut, x []float32, noise Draw) (next, denoised []float32, err error) {
	if _, err := s.begin(i, modelOut, x); err != nil {
		return nil, nil, err
	}
	t, bar := s.timesteps[i], s.bar[i]
	kx, ko := s.kind.denoised(math.Sqrt(bar), math.Sqrt(1-bar), true)
	x0 := s.limit.picture(kx, ko, x, modelOut)
	denoised = combine(term{s.keep0(t), x0}, term{s.keepX(t), x})
	if i == len(s.timesteps)-1 {
		return denoised, denoised, nil
	}
	z, err := draw(noise, len(x), s.sigmas[i], s.sigmas[i+1])
	if err != nil {
		return nil, nil, err
	}
	return combine(term{math.Sqrt(s.bar[i+1]), denoised}, term{math.Sqrt(1 - s.bar[i+1]), z}), denoised, nil
}
