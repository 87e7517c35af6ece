package diffusion

import "math"

// exploding is the samplers of k-diffusion on x = x0 + σ·ε, walked along dx/dσ = (x − x0)/σ: Euler and Heun (Karras et al. 2022,
// algorithms 1 and 2 without churn), DPM2, the linear multistep method, DPM-Solver++ 2S, SDE and 3M SDE, and the ancestral
// forms, which step below the next noise level and add fresh noise up to it.
//
// In a two-stage method, call 2k is at the noise level of step k, call 2k + 1 between it and the next, or, for Heun, at the
// next.
type exploding struct {
	run
	kind  prediction
	eta   float64
	limit bound
	step  func(i int, x0, x []float32, noise Draw) ([]float32, error)

	origin []float32   // two stages: x of the first; nil between steps
	slopes [][]float32 // Heun: the first stage's slope; LMS: those of the last steps, newest first
	before []past      // 3M: the last steps, newest first
}

// past is a finished step: the picture it saw, and how far it went in log σ.
type past struct {
	x0 []float32
	h  float64
}

func newExploding(id, schedule string, c Config, tr *training, steps int, eta float64) (Sampler, error) {
	sigmas, timesteps, err := tr.sigmaSchedule(schedule, c, steps, gridSigma)
	if err != nil {
		return nil, err
	}
	s := &exploding{kind: prediction(c.PredictionType), eta: eta}
	s.last = -2
	s.timesteps, s.sigmas = timesteps, append(sigmas, 0)
	s.init = sigmas[0]
	if c.TimestepSpacing == "leading" {
		s.init = math.Sqrt(sigmas[0]*sigmas[0] + 1)
	}
	switch id {
	case "euler":
		s.step = s.euler
		s.sigmas[steps] = tr.finalSigma(c)
	case "euler_ancestral":
		s.step = s.ancestral
	case "heun":
		s.step, s.two, s.limit = s.heun, true, clipping(c)
		s.timesteps, s.sigmas = twice(s.timesteps, steps), twice(s.sigmas, steps)
	case "lms":
		s.step = s.multistep
	case "dpm_2":
		s.step = s.midpoint
		s.roundKarras(schedule)
		s.halve(tr, func(from, to float64) float64 { return math.Sqrt(from * to) })
	case "dpm_2_ancestral":
		s.step = s.midpoint
		s.roundKarras(schedule)
		s.halve(tr, s.belowMiddle)
	case "dpmpp_2s_ancestral":
		s.step = s.single
		s.halve(tr, s.belowMiddle)
	case "dpmpp_sde":
		s.step = s.stochastic
		s.halve(tr, func(from, to float64) float64 { return math.Sqrt(from * to) })
	case "dpmpp_3m_sde":
		s.step = s.third
	}
	return s, nil
}

// roundKarras makes the steps' timesteps whole, though neither their noise levels nor the timesteps between them: what the
// reference does for DPM2 under this schedule.
func (s *exploding) roundKarras(schedule string) {
	if schedule == "karras" {
		for i, t := range s.timesteps {
			s.timesteps[i] = math.RoundToEven(t)
		}
	}
}

// twice repeats every element but the first, up to but without index end.
func twice(list []float64, end int) []float64 {
	out := list[:1:1]
	for _, v := range list[1:end] {
		out = append(out, v, v)
	}
	return append(out, list[end:]...)
}

// halve puts a call between every step's level and the next, but for the last step; middle gives its noise level.
func (s *exploding) halve(tr *training, middle func(from, to float64) float64) {
	s.two = true
	var sigmas, timesteps []float64
	for i, t := range s.timesteps {
		sigmas, timesteps = append(sigmas, s.sigmas[i]), append(timesteps, t)
		if i+1 < len(s.timesteps) {
			m := middle(s.sigmas[i], s.sigmas[i+1])
			sigmas, timesteps = append(sigmas, m), append(timesteps, tr.timestepOf(m))
		}
	}
	s.timesteps, s.sigmas = timesteps, append(sigmas, s.sigmas[len(s.sigmas)-1])
}

// belowMiddle is halfway in log σ to where an ancestral step goes down to.
func (s *exploding) belowMiddle(from, to float64) float64 {
	down, _ := s.split(from, to)
	return math.Sqrt(from * down)
}

// split divides the noise at level to between what is left of the old (down) and what is drawn anew (up):
// down² + up² = to².
func (s *exploding) split(from, to float64) (down, up float64) {
	up = min(to, s.eta*math.Sqrt(max(to*to*(from*from-to*to)/(from*from), 0)))
	return math.Sqrt(max(to*to-up*up, 0)), up
}

// finalSigma is the noise level after the last step.
func (tr *training) finalSigma(c Config) float64 {
	if c.FinalSigmas == "sigma_min" {
		return tr.sigmas[0]
	}
	return 0
}

// Level of a variance-exploding sampler.
func (s *exploding) Level(i int) (alpha, sigma float64) {
	return 1, s.sigmas[min(max(i, 0), len(s.sigmas)-1)]
}

// ScaleInput brings x to unit variance, as the model was trained.
func (s *exploding) ScaleInput(i int, x []float32) []float32 {
	sigma := s.sigmas[min(max(i, 0), len(s.timesteps)-1)]
	return combine(term{1 / math.Sqrt(sigma*sigma+1), x})
}

func (s *exploding) Step(i int, modelOut, x []float32, noise Draw) (next, denoised []float32, err error) {
	fresh, err := s.begin(i, modelOut, x)
	if err != nil {
		return nil, nil, err
	}
	if fresh {
		s.origin, s.slopes, s.before = nil, nil, nil
	}
	kx, ko := s.kind.denoised(1, s.sigmas[i], false)
	denoised = s.limit.picture(kx, ko, x, modelOut)
	next, err = s.step(i, denoised, x, noise)
	return next, denoised, err
}

// towards takes x from noise level from to level to along the line through x0.
func towards(x, x0 []float32, from, to float64) []float32 {
	return combine(term{to / from, x}, term{1 - to/from, x0})
}

// renewed is towards down, and fresh noise of level up on top of it.
func (s *exploding) renewed(x, x0 []float32, from, to float64, noise Draw) ([]float32, error) {
	down, up := s.split(from, to)
	if s.eta == 0 {
		return towards(x, x0, from, to), nil
	}
	z, err := draw(noise, len(x), from, to)
	if err != nil {
		return nil, err
	}
	return combine(term{down / from, x}, term{1 - down/from, x0}, term{up, z}), nil
}

func (s *exploding) euler(i int, x0, x []float32, _ Draw) ([]float32, error) {
	return towards(x, x0, s.sigmas[i], s.sigmas[i+1]), nil
}

func (s *exploding) ancestral(i int, x0, x []float32, noise Draw) ([]float32, error) {
	return s.renewed(x, x0, s.sigmas[i], s.sigmas[i+1], noise)
}

// heun takes a trial step on odd stages and the step with the mean of both slopes on even ones; the step to σ = 0 has one
// stage only.
func (s *exploding) heun(i int, x0, x []float32, _ Draw) ([]float32, error) {
	sigma := s.sigmas[i]
	if s.origin != nil {
		slope, origin, step := s.slopes[0], s.origin, sigma-s.sigmas[i-1]
		s.slopes, s.origin = nil, nil
		return combine(term{1, origin}, term{step / 2, slope}, term{step / (2 * sigma), x}, term{-step / (2 * sigma), x0}), nil
	}
	if i+1 < len(s.timesteps) {
		s.slopes, s.origin = [][]float32{combine(term{1 / sigma, x}, term{-1 / sigma, x0})}, x
	}
	return towards(x, x0, sigma, s.sigmas[i+1]), nil
}

// second says whether call i is the second of a step that began at origin; otherwise it remembers x for the next call.
func (s *exploding) second(i int, x []float32) (origin []float32, ok bool) {
	if origin = s.origin; origin != nil {
		s.origin = nil
		return origin, true
	}
	if i%2 == 0 && i+1 < len(s.timesteps) {
		s.origin = x
	}
	return nil, false
}

// midpoint is DPM2: the whole step takes the slope that the model sees halfway (in log σ). η > 0 makes it ancestral.
func (s *exploding) midpoint(i int, x0, x []float32, noise Draw) ([]float32, error) {
	origin, ok := s.second(i, x)
	if !ok {
		return towards(x, x0, s.sigmas[i], s.sigmas[i+1]), nil
	}
	from, mid, to := s.sigmas[i-1], s.sigmas[i], s.sigmas[i+1]
	down, up := s.split(from, to)
	k := (down - from) / mid
	terms := []term{{1, origin}, {k, x}, {-k, x0}}
	if s.eta > 0 {
		z, err := draw(noise, len(x), from, to)
		if err != nil {
			return nil, err
		}
		terms = append(terms, term{up, z})
	}
	return combine(terms...), nil
}

// single is DPM-Solver++ 2S ancestral: the whole step goes towards the picture that the model sees halfway.
func (s *exploding) single(i int, x0, x []float32, noise Draw) ([]float32, error) {
	origin, ok := s.second(i, x)
	if !ok {
		return towards(x, x0, s.sigmas[i], s.sigmas[i+1]), nil
	}
	return s.renewed(origin, x0, s.sigmas[i-1], s.sigmas[i+1], noise)
}

// stochastic is DPM-Solver++ SDE (its ratio r = ½): as single, but noise is renewed on the way to the middle as well, along the
// same path.
func (s *exploding) stochastic(i int, x0, x []float32, noise Draw) ([]float32, error) {
	origin, ok := s.second(i, x)
	switch {
	case ok:
		return s.renewed(origin, x0, s.sigmas[i-1], s.sigmas[i+1], noise)
	case s.sigmas[i+1] == 0:
		return towards(x, x0, s.sigmas[i], 0), nil
	}
	return s.renewed(x, x0, s.sigmas[i], s.sigmas[i+1], noise)
}

// lmsOrder is how many slopes the linear multistep method remembers.
const lmsOrder = 4

// multistep integrates the polynomial through the last slopes (Adams–Bashforth for uneven steps).
func (s *exploding) multistep(i int, x0, x []float32, _ Draw) ([]float32, error) {
	sigma := s.sigmas[i]
	slope := combine(term{1 / sigma, x}, term{-1 / sigma, x0})
	s.slopes = append([][]float32{slope}, s.slopes[:min(len(s.slopes), lmsOrder-1)]...)
	order := 1
	for order < len(s.slopes) && s.sigmas[i-order] > s.sigmas[i-order+1] {
		order++
	}
	terms := []term{{1, x}}
	for j := range order {
		terms = append(terms, term{s.lagrange(i, order, j), s.slopes[j]})
	}
	return combine(terms...), nil
}

// lagrange integrates the j-th Lagrange polynomial over the levels i, i − 1 … i − order + 1 from level i to the next. Two points
// of Gauss's rule are exact for its degree of at most three.
func (s *exploding) lagrange(i, order, j int) float64 {
	a, b := s.sigmas[i], s.sigmas[i+1]
	sum := 0.0
	for _, at := range [2]float64{-1 / math.Sqrt(3), 1 / math.Sqrt(3)} {
		tau, product := (a+b)/2+at*(b-a)/2, 1.0
		for k := range order {
			if k != j {
				product *= (tau - s.sigmas[i-k]) / (s.sigmas[i-j] - s.sigmas[i-k])
			}
		}
		sum += product
	}
	return sum * (b - a) / 2
}

// third is DPM-Solver++ 3M SDE: differences of the last three pictures, for the equation with noise (Lu et al. 2022; the third
// order as k-diffusion has it).
func (s *exploding) third(i int, x0, x []float32, noise Draw) ([]float32, error) {
	from, to := s.sigmas[i], s.sigmas[i+1]
	if to == 0 {
		return x0, nil
	}
	h := math.Log(from / to)
	longer := h * (1 + s.eta)
	weights := []float64{-math.Expm1(-longer), 0, 0} // of x0 and the pictures before it
	if n := len(s.before); n > 0 && h > 0 && s.before[0].h > 0 {
		phi2 := math.Expm1(-longer)/longer + 1
		r0 := s.before[0].h / h
		if n > 1 && s.before[1].h > 0 {
			first, second := bend(longer, r0, s.before[1].h/h)
			weights[0] += first
			weights[1], weights[2] = second-first, -second
		} else {
			weights[0] += phi2 / r0
			weights[1] = -phi2 / r0
		}
	}
	terms := []term{{math.Exp(-longer), x}, {weights[0], x0}}
	for k, p := range s.before {
		terms = append(terms, term{weights[k+1], p.x0})
	}
	if s.eta > 0 {
		z, err := draw(noise, len(x), from, to)
		if err != nil {
			return nil, err
		}
		terms = append(terms, term{to * math.Sqrt(-math.Expm1(-2*s.eta*h)), z})
	}
	s.before = append([]past{{x0, h}}, s.before[:min(len(s.before), 1)]...)
	return combine(terms...), nil
}

// bend is φ₂·d1 − φ₃·d2 with d1 = a + (a − b)·r0/(r0 + r1) and d2 = (a − b)/(r0 + r1), the third order of DPM-Solver++ over a step of
// length h, as weights of the differences a·r0 and b·r1 of the last pictures; r0, r1 are how long the steps before were beside it.
func bend(h, r0, r1 float64) (first, second float64) {
	phi2 := math.Expm1(-h)/h + 1
	phi3 := phi2/h - 0.5
	curve := (phi2*r0 - phi3) / (r0 + r1)
	return (phi2 + curve) / r0, -curve / r1
}
