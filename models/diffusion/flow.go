package diffusion

import "fmt"

// FlowClass is the scheduler class of models trained on straight paths (rectified flow, Liu et al. 2022; flow matching, Lipman et
// al. 2023): x = (1 − s)·x0 + s·ε, and the model gives the velocity ε − x0 at timestep s·NumTrainTimesteps.
const FlowClass = "FlowMatchEulerDiscreteScheduler"

// flow follows the velocity from noise to picture in straight steps. Samplers and schedules of the other kind of model do not
// apply to it, so that every choice of them comes to this.
type flow struct {
	times   []float64 // s of every model call, and 0
	trained float64
}

// newFlow spaces s evenly from 1 to 1/NumTrainTimesteps, as diffusers 0.31 does, bent by the configuration's shift.
func newFlow(c Config, steps int) (*flow, error) {
	n := float64(c.NumTrainTimesteps)
	if limit := min(MaxSteps, c.NumTrainTimesteps); steps < 1 || steps > limit {
		return nil, fmt.Errorf("diffusion: %d steps are not within 1 to %d; choose another number", steps, limit)
	}
	shift := c.Shift
	if shift == 0 {
		shift = 1
	}
	if !(shift > 0) {
		return nil, fmt.Errorf("diffusion: the scheduler configuration's shift %v is not positive", c.Shift)
	}
	bend := func(s float64) float64 { return shift * s / (1 + (shift-1)*s) }
	first, last := bend(1), bend(1/n)
	f := &flow{trained: n}
	for i := range steps {
		s := first
		if steps > 1 {
			s = first + (last-first)*float64(i)/float64(steps-1)
		}
		f.times = append(f.times, bend(s))
	}
	f.times = append(f.times, 0)
	return f, nil
}

// Timesteps gives s·NumTrainTimesteps of every call.
func (f *flow) Timesteps() []float64 {
	out := make([]float64, len(f.times)-1)
	for i := range out {
		out[i] = f.times[i] * f.trained
	}
	return out
}

// Sigmas gives s itself.
func (f *flow) Sigmas() []float64 { return f.times }

// InitNoiseSigma is 1: at s = 1 there is nothing but noise.
func (f *flow) InitNoiseSigma() float64 { return 1 }

// ScaleInput leaves x as it is.
func (f *flow) ScaleInput(_ int, x []float32) []float32 { return x }

// Stages is 1: a step is one call.
func (f *flow) Stages() int { return 1 }

// Level is x on its straight path.
func (f *flow) Level(i int) (alpha, sigma float64) { return 1 - f.times[i], f.times[i] }

// Step goes along the velocity from one s to the next.
func (f *flow) Step(i int, velocity, x []float32, _ Draw) (next, denoised []float32, err error) {
	if i < 0 || i >= len(f.times)-1 || len(velocity) != len(x) {
		return nil, nil, fmt.Errorf("diffusion: there is no step %d of %d, or the model gave %d numbers for %d", i, len(f.times)-1, len(velocity), len(x))
	}
	next, denoised = make([]float32, len(x)), make([]float32, len(x))
	s, d := f.times[i], f.times[i+1]-f.times[i]
	for k, v := range velocity {
		next[k] = float32(float64(x[k]) + d*float64(v))
		denoised[k] = float32(float64(x[k]) - s*float64(v))
	}
	return next, denoised, nil
}
