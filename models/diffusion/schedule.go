package diffusion

import (
	"fmt"
	"math"
)

// grid is how a family of samplers turns a step count into timesteps.
type grid int

const (
	gridWhole  grid = iota // DDIM, DDPM, PNDM: whole timesteps
	gridSigma              // Euler, Heun: linspace is not rounded; karras & co. span the spaced sigmas
	gridSolver             // DPM++, UniPC: one timestep more, the last dropped; karras & co. span the trained sigmas
)

// spaced gives the timesteps of config's own spacing, falling.
func spaced(c Config, steps int, g grid) []float64 {
	n := float64(c.NumTrainTimesteps)
	out := make([]float64, steps)
	for i := range out {
		k := float64(steps - 1 - i) // counted from the clean end
		var t float64
		switch c.TimestepSpacing {
		case "trailing":
			t = math.RoundToEven(n-float64(i)*(n/float64(steps))) - 1
		case "leading":
			if g == gridSolver {
				t = (k+1)*float64(c.NumTrainTimesteps/(steps+1)) + float64(c.StepsOffset)
			} else {
				t = k*float64(c.NumTrainTimesteps/steps) + float64(c.StepsOffset)
			}
		default: // linspace
			switch {
			case g == gridSolver:
				t = math.RoundToEven((k + 1) * (n - 1) / float64(steps))
			case steps > 1:
				t = k * (n - 1) / float64(steps-1)
			}
			if g == gridWhole {
				t = math.RoundToEven(t)
			}
		}
		out[i] = min(max(t, 0), n-1)
	}
	return out
}

// sigmaSchedule gives the noise levels of a schedule, falling, and the timestep of each. The final level, often zero, is
// not among them.
func (tr *training) sigmaSchedule(id string, c Config, steps int, g grid) (sigmas, timesteps []float64, err error) {
	timesteps = tr.timestepSchedule(id, c, steps, g)
	if timesteps != nil {
		for _, t := range timesteps {
			sigmas = append(sigmas, tr.sigmaAt(t))
		}
		return sigmas, timesteps, nil
	}
	low, high := tr.sigmas[0], tr.sigmas[len(tr.sigmas)-1]
	if g == gridSigma {
		own := spaced(c, steps, g)
		low, high = tr.sigmaAt(own[steps-1]), tr.sigmaAt(own[0])
	}
	for i := range steps {
		var sigma float64
		ramp := 0.0
		if steps > 1 {
			ramp = float64(i) / float64(steps-1)
		}
		switch id {
		case "karras": // Karras et al. 2022, equation 5, ρ = 7
			const rho = 7
			from, to := math.Pow(high, 1.0/rho), math.Pow(low, 1.0/rho)
			sigma = math.Pow(from+ramp*(to-from), rho)
		case "exponential":
			sigma = math.Exp(math.Log(high) + ramp*(math.Log(low)-math.Log(high)))
		case "beta": // "Beta Sampling is All You Need" (Lee et al. 2024), α = β = 0.6
			sigma = low + betaQuantile(1-ramp, 0.6, 0.6)*(high-low)
		case "linear_quadratic":
			sigma = linearQuadratic(i, steps) * tr.sigmas[len(tr.sigmas)-1]
		default:
			return nil, nil, fmt.Errorf("diffusion: the schedule %.40q is not known; choose one of %v", id, ids(Schedules()))
		}
		t := tr.timestepOf(sigma)
		if g != gridSigma { // the reference makes it whole, though not σ
			if t = math.Floor(t); id == "karras" {
				t = math.RoundToEven(tr.timestepOf(sigma))
			}
		}
		sigmas, timesteps = append(sigmas, sigma), append(timesteps, t)
	}
	return sigmas, timesteps, nil
}

// linearQuadratic is place i of n steps from 1 to 0 in Mochi's schedule (Genmo 2024): half of the steps go down linearly, by
// threshold in all, the others along a parabola that continues the line.
func linearQuadratic(i, n int) float64 {
	const threshold = 0.025
	linear := n / 2
	slope := threshold / float64(max(linear, 1))
	if i < linear || n == 1 {
		return 1 - slope*float64(i)
	}
	quadratic := float64(n - linear)
	rest := float64(linear) - threshold*float64(n)
	bend := rest / (float64(linear) * quadratic * quadratic)
	tilt := slope - 2*rest/(quadratic*quadratic)
	at := float64(i)
	return 1 - (bend*at*at + tilt*at + bend*float64(linear*linear))
}

// timestepSchedule gives the schedules that choose timesteps rather than noise levels; nil for the others.
func (tr *training) timestepSchedule(id string, c Config, steps int, g grid) []float64 {
	n := len(tr.sigmas)
	out := make([]float64, steps)
	switch id {
	case "normal": // the model's own spacing
		return spaced(c, steps, g)
	case "sgm_uniform": // evenly from the last timestep, stopping one step before 0 (Stability's generative models)
		for i := range out {
			out[i] = float64(n-1) * (1 - float64(i)/float64(steps))
			if g == gridWhole {
				out[i] = math.RoundToEven(out[i])
			}
		}
	case "simple": // every n/steps-th trained level from the noisiest
		for i := range out {
			out[i] = float64(n - 1 - int(float64(i)*float64(n)/float64(steps)))
		}
	case "ddim_uniform": // timesteps 1, 1 + n/steps, …
		for i := range out {
			out[i] = min(float64(1+(steps-1-i)*(n/steps)), float64(n-1))
		}
	default:
		return nil
	}
	return out
}

// betaQuantile inverts the regularised incomplete beta function by bisection.
func betaQuantile(p, a, b float64) float64 {
	if p <= 0 || p >= 1 {
		return min(max(p, 0), 1)
	}
	low, high := 0.0, 1.0
	for range 200 {
		mid := (low + high) / 2
		if mid == low || mid == high {
			break
		}
		if incompleteBeta(mid, a, b) < p {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// incompleteBeta is Iₓ(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8), evaluated by Lentz's method.
func incompleteBeta(x, a, b float64) float64 {
	if x <= 0 || x >= 1 {
		return min(max(x, 0), 1)
	}
	if x > (a+1)/(a+b+2) {
		return 1 - incompleteBeta(1-x, b, a)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny = 1e-300
	f, c, d := 1.0, 1.0, 0.0
	for i := 0; i <= 300; i++ {
		m := float64(i / 2)
		term := 1.0
		switch {
		case i > 0 && i%2 == 0:
			term = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		case i%2 == 1:
			term = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		if d = 1 + term*d; math.Abs(d) < tiny {
			d = tiny
		}
		if c = 1 + term/c; math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		f *= c * d
		if math.Abs(1-c*d) < 1e-15 {
			break
		}
	}
	return front * (f - 1)
}
