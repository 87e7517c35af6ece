package diffusion

import (
	"fmt"
	"math"
	"slices"
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
	// Stages is the model calls of one step: 2 where a step looks ahead, but for the last step, which has one.
	Stages() int
	// Level gives what x is at call i, alpha·x0 + sigma·ε, so that a run may begin there; i = len(Timesteps()) is the end.
	Level(i int) (alpha, sigma float64)
	// Step takes the model's output at call i, and gives the next x and the picture predicted so far. Samplers that draw no
	// noise accept nil for it. Calls go in order from 0, or begin later, at a multiple of Stages().
	Step(i int, modelOut, x []float32, noise Draw) (next, denoised []float32, err error)
}

// Draw gives n standard normal numbers for a step from noise level from to noise level to. A source that remembers the path of
// its noise (see Brownian) uses the levels; others ignore them.
type Draw func(n int, from, to float64) []float32

// Options are the choices of a run beyond the model's own configuration.
type Options struct {
	Sampler, Schedule string   // ids; "" takes the configuration's own
	Steps             int      // 1 to MaxSteps
	Eta               *float64 // share of the noise that is drawn anew, as DefaultEta; nil is the sampler's own
	Spacing           string   // "leading", "trailing" or "linspace" in place of the configuration's own; "" keeps that
	ZeroSNR           bool     // begin from pure noise, whatever the configuration says
}

// DefaultEta is the share of a sampler's noise that it draws anew at every step; ok is false for samplers without that choice.
func DefaultEta(sampler string) (eta float64, ok bool) {
	switch sampler {
	case "ddim":
		return 0, true
	case "euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde":
		return 1, true
	}
	return 0, false
}

// MaxSteps bounds the step count that New accepts.
const MaxSteps = 1000

// New makes a sampler for one run of steps steps. Empty ids take the configuration's own sampler and schedule.
func New(samplerID, scheduleID string, c Config, steps int) (Sampler, error) {
	return NewWith(c, Options{Sampler: samplerID, Schedule: scheduleID, Steps: steps})
}

// NewWith makes a sampler for one run.
func NewWith(c Config, o Options) (Sampler, error) {
	if o.Spacing != "" {
		c.TimestepSpacing = o.Spacing
	}
	c.RescaleZeroSNR = c.RescaleZeroSNR || o.ZeroSNR
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.ClassName == FlowClass {
		return newFlow(c, o.Steps)
	}
	tr, err := newTraining(c)
	if err != nil {
		return nil, err
	}
	c.NumTrainTimesteps = len(tr.sigmas)
	if o.Sampler == "" {
		o.Sampler = c.DefaultSampler()
	}
	if o.Schedule == "" {
		if o.Schedule = c.DefaultSchedule(); len(SchedulesFor(o.Sampler)) == 1 {
			o.Schedule = "normal"
		}
	}
	if _, ok := find(Samplers(), o.Sampler); !ok {
		return nil, fmt.Errorf("diffusion: the sampler %.40q is not known; choose one of %v", o.Sampler, ids(Samplers()))
	}
	if _, ok := find(SchedulesFor(o.Sampler), o.Schedule); !ok {
		return nil, fmt.Errorf("diffusion: the sampler %s does not take the schedule %.40q; choose one of %v", o.Sampler, o.Schedule, ids(SchedulesFor(o.Sampler)))
	}
	if limit := min(MaxSteps, c.NumTrainTimesteps); o.Steps < 1 || o.Steps > limit {
		return nil, fmt.Errorf("diffusion: %d steps are not within 1 to %d; choose another number", o.Steps, limit)
	}
	eta, _ := DefaultEta(o.Sampler)
	if o.Eta != nil {
		if eta = *o.Eta; !(eta >= 0 && eta <= 1) {
			return nil, fmt.Errorf("diffusion: eta is from 0 to 1, not %v", eta)
		}
	}
	switch o.Sampler {
	case "euler", "euler_ancestral", "heun", "lms", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_3m_sde":
		return newExploding(o.Sampler, o.Schedule, c, tr, o.Steps, eta)
	case "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "uni_pc":
		return newSolver(o.Sampler, o.Schedule, c, tr, o.Steps, eta)
	case "lcm":
		return newLCM(c, tr, o.Steps)
	case "pndm":
		return newPNDM(c, tr, o.Steps), nil
	}
	return newWhole(o.Sampler, o.Schedule, c, tr, o.Steps, eta)
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

// bound keeps a predicted picture within limits, in place; nil leaves it alone.
type bound func(x []float32)

// clamp limits x to ±limit and divides it by scale.
func clamp(x []float32, limit, scale float64) {
	for i, v := range x {
		x[i] = float32(min(max(float64(v), -limit), limit) / scale)
	}
}

// clipping is the bound of configurations that clip x0.
func clipping(c Config) bound {
	if !c.ClipSample {
		return nil
	}
	return func(x []float32) { clamp(x, c.ClipRange, 1) }
}

// thresholding is dynamic thresholding (Saharia et al. 2022): what lies beyond a quantile of the magnitudes is clipped to it, and
// the picture brought back to ±1.
func thresholding(c Config) bound {
	if !c.Thresholding {
		return nil
	}
	return func(x []float32) {
		limit := min(max(quantile(x, c.ThresholdRatio), 1), c.ThresholdMost)
		clamp(x, limit, limit)
	}
}

// quantile of the magnitudes, between neighbours linearly.
func quantile(x []float32, ratio float64) float64 {
	sorted := make([]float64, len(x))
	for i, v := range x {
		sorted[i] = math.Abs(float64(v))
	}
	slices.Sort(sorted)
	at := ratio * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// either is the bound of the samplers that know both: thresholding goes first.
func either(c Config) bound {
	if c.Thresholding {
		return thresholding(c)
	}
	return clipping(c)
}

// picture is x0 = kx·x + ko·out, within bounds.
func (b bound) picture(kx, ko float64, x, out []float32) []float32 {
	x0 := combine(term{kx, x}, term{ko, out})
	if b != nil {
		b(x0)
	}
	return x0
}

// run is what all samplers share: their timeline, and the check that calls go in order.
type run struct {
	timesteps []float64
	sigmas    []float64
	init      float64
	two       bool // a step has two calls, but for the last one
	last      int  // the call before; −2 before the first
}

func (r *run) Timesteps() []float64    { return r.timesteps }
func (r *run) Sigmas() []float64       { return r.sigmas }
func (r *run) InitNoiseSigma() float64 { return r.init }

func (r *run) Stages() int {
	if r.two {
		return 2
	}
	return 1
}

// Level of a variance-preserving sampler.
func (r *run) Level(i int) (alpha, sigma float64) {
	return vp(r.sigmas[min(max(i, 0), len(r.sigmas)-1)])
}

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

// draw asks for n normal numbers for a step from one noise level to another.
func draw(noise Draw, n int, from, to float64) ([]float32, error) {
	if noise == nil {
		return nil, fmt.Errorf("diffusion: this sampler draws noise at every step, but was given no source of it")
	}
	z := noise(n, from, to)
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
