package diffusion

import (
	"fmt"
	"math"
)

// Sampler walks from noise to picture. One Sampler makes one batch: it remembers earlier steps. Latents are flat slices of
// any layout; a slice that Step returns is new and never written to again.
//
//	x := noise · InitNoiseSigma()
//	for i, t := range Timesteps() {
//		out := model(ScaleInput(i, x), t)
//		x, denoised, err = Step(i, out, x, noise)
//	}
type Sampler interface {
	// Timesteps gives the timestep of every model call, falling; two-stage samplers call the model more often than the
	// number of steps.
	Timesteps() []float64
	// Sigmas gives the noise level σ = σₜ/αₜ at every model call, and the one that is left at the end.
	Sigmas() []float64
	// InitNoiseSigma is the factor from unit noise to the first latents.
	InitNoiseSigma() float64
	// ScaleInput gives what the model sees of x at call i; it may be x itself.
	ScaleInput(i int, x []float32) []float32
	// Step takes the model's output at call i, and gives the next x and the picture predicted so far. noise(n) must give n
	// fresh standard normal numbers; samplers that draw none accept nil. Calls go in order from 0, or begin later.
	Step(i int, modelOut, x []float32, noise func(n int) []float32) (next, denoised []float32, err error)
}

// MaxSteps bounds the step count that New accepts.
const MaxSteps = 1000

// New makes a sampler for one run of steps steps. Empty ids take the configuration's own sampler and schedule.
func New(samplerID, scheduleID string, c Config, steps int) (Sampler, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.ClassName == FlowClass {
		return newFlow(c, steps)
	}
	tr, err := newTraining(c)
	if err != nil {
		return nil, err
	}
	c.NumTrainTimesteps = len(tr.sigmas)
	if samplerID == "" {
		samplerID = c.DefaultSampler()
	}
	if scheduleID == "" {
		if scheduleID = c.DefaultSchedule(); len(SchedulesFor(samplerID)) == 1 {
			scheduleID = "normal"
		}
	}
	if _, ok := find(Samplers(), samplerID); !ok {
		return nil, fmt.Errorf("diffusion: the sampler %.40q is not known; choose one of %v", samplerID, ids(Samplers()))
	}
	if _, ok := find(SchedulesFor(samplerID), scheduleID); !ok {
		return nil, fmt.Errorf("diffusion: the sampler %s does not take the schedule %.40q; choose one of %v", samplerID, scheduleID, ids(SchedulesFor(samplerID)))
	}
	if limit := min(MaxSteps, c.NumTrainTimesteps); steps < 1 || steps > limit {
		return nil, fmt.Errorf("diffusion: %d steps are not within 1 to %d; choose another number", steps, limit)
	}
	switch samplerID {
	case "euler", "euler_ancestral", "heun":
		return newExploding(samplerID, scheduleID, c, tr, steps)
	case "dpmpp_2m", "uni_pc":
		return newSolver(samplerID, scheduleID, c, tr, steps)
	case "lcm":
		return newLCM(c, tr, steps)
	case "pndm":
		return newPNDM(c, tr, steps), nil
	}
	return newWhole(samplerID, scheduleID, c, tr, steps)
}

// prediction is what a model's output means; it turns outputs into x0 and ε.
type prediction string

// denoised gives the factors of x0 = kx·x + ko·out for x = alpha·x0 + sigma·ε. unit says that alpha² + sigma² = 1; otherwise
// alpha is 1, and v is defined on x/√(1 + σ²).
func (p prediction) denoised(alpha, sigma float64, unit bool) (kx, ko float64) {
	switch {
	case p == "sample":
		return 0, 1
	case p == "v_prediction" && unit: // Salimans and Ho 2022: v = αε − σx0
		return alpha, -sigma
	case p == "v_prediction":
		return 1 / (sigma*sigma + 1), -sigma / math.Sqrt(sigma*sigma+1)
	}
	return 1 / alpha, -sigma / alpha
}

// epsilon gives the factors of ε = kx·x + ko·out for variance-preserving x.
func (p prediction) epsilon(alpha, sigma float64) (kx, ko float64) {
	switch p {
	case "sample":
		return 1 / sigma, -alpha / sigma
	case "v_prediction":
		return sigma, alpha
	}
	return 0, 1
}

// term is one summand k·x of a linear combination.
type term struct {
	k float64
	x []float32
}

// combine sums terms elementwise in float64. The conversions keep compilers from fusing multiply and add, so that every
// machine gives the same bits.
func combine(terms ...term) []float32 {
	out := make([]float32, len(terms[0].x))
	for i := range out {
		sum := 0.0
		for _, t := range terms {
			if t.k != 0 { // 0·∞ must not poison what has no weight
				sum += float64(t.k * float64(t.x[i]))
			}
		}
		out[i] = float32(sum)
	}
	return out
}

// clamp limits x to ±limit in place.
func clamp(x []float32, limit float64) {
	for i, v := range x {
		x[i] = float32(min(max(float64(v), -limit), limit))
	}
}

// run is what all samplers share: their timeline, and the check that calls go in order.
type run struct {
	timesteps []float64
	sigmas    []float64
	init      float64
	last      int // the call before; −2 before the first
}

func (r *run) Timesteps() []float64    { return r.timesteps }
func (r *run) Sigmas() []float64       { return r.sigmas }
func (r *run) InitNoiseSigma() float64 { return r.init }

// ScaleInput of a variance-preserving sampler changes nothing.
func (r *run) ScaleInput(_ int, x []float32) []float32 { return x }

// begin checks a Step call; fresh says that it does not follow the one before, so that history is void.
func (r *run) begin(i int, modelOut, x []float32) (fresh bool, err error) {
	switch {
	case i < 0 || i >= len(r.timesteps):
		return false, fmt.Errorf("diffusion: step %d lies outside the %d calls of this run", i, len(r.timesteps))
	case len(modelOut) != len(x) || len(x) == 0:
		return false, fmt.Errorf("diffusion: the model's output has %d numbers where the latents have %d", len(modelOut), len(x))
	}
	fresh = i != r.last+1 || i == 0
	r.last = i
	return fresh, nil
}

// draw asks for n normal numbers.
func draw(noise func(n int) []float32, n int) ([]float32, error) {
	if noise == nil {
		return nil, fmt.Errorf("diffusion: this sampler draws noise at every step, but was given no source of it")
	}
	z := noise(n)
	if len(z) != n {
		return nil, fmt.Errorf("diffusion: the noise has %d numbers where the latents have %d", len(z), n)
	}
	return z, nil
}

// vp gives αₜ and σₜ with αₜ² + σₜ² = 1 for the noise level σ = σₜ/αₜ.
func vp(sigma float64) (alpha, sigmaT float64) {
	alpha = 1 / math.Sqrt(sigma*sigma+1)
	return alpha, sigma * alpha
}
