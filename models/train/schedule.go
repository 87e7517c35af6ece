package train

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Schedule is how the learning rate goes over the steps, by the names and formulas of diffusers' optimization.py.
type Schedule struct {
	Kind   string  // one of ScheduleKinds; empty is constant
	Warmup int     // steps over which the rate rises from zero; constant has none
	Steps  int     // at which it has ended
	Cycles float64 // cosine: waves, 0 meaning ½; cosine_with_restarts: falls, 0 meaning 1
	Power  float64 // polynomial: 0 means 1
	End    float64 // polynomial: the last learning rate, 0 meaning 1e-7
}

// ScheduleKinds are the kinds of Schedule.
var ScheduleKinds = []string{"constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"}

// Check says what is wrong with a schedule for a learning rate.
func (s Schedule) Check(rate float64) error {
	switch {
	case s.Kind != "" && !slices.Contains(ScheduleKinds, s.Kind):
		return fmt.Errorf("train: there is no schedule %q; there are %s", s.Kind, strings.Join(ScheduleKinds, ", "))
	case s.Warmup < 0 || s.Cycles < 0 || s.Power < 0 || s.End < 0:
		return fmt.Errorf("train: a schedule's warm-up, cycles, power and end cannot be negative")
	case s.Kind == "polynomial" && s.end() >= rate:
		return fmt.Errorf("train: a polynomial schedule ends at a rate of %v, which is not under the learning rate %v", s.end(), rate)
	case s.Steps <= s.Warmup && s.Kind != "" && !strings.HasPrefix(s.Kind, "constant"):
		return fmt.Errorf("train: a %s schedule of %d steps has no time after %d steps of warm-up", s.Kind, s.Steps, s.Warmup)
	}
	return nil
}

func (s Schedule) end() float64 {
	if s.End == 0 {
		return 1e-7
	}
	return s.End
}

// Multiplier is what the learning rate is multiplied by at a step, counted from 0.
func (s Schedule) Multiplier(step int, rate float64) float64 {
	if s.Kind == "" || s.Kind == "constant" {
		return 1
	}
	if step < s.Warmup {
		return float64(step) / float64(s.Warmup)
	}
	progress := float64(step-s.Warmup) / float64(max(s.Steps-s.Warmup, 1))
	switch s.Kind {
	case "linear":
		return math.Max(1-progress, 0)
	case "cosine":
		cycles := s.Cycles
		if cycles == 0 {
			cycles = 0.5
		}
		return math.Max(0.5*(1+math.Cos(2*math.Pi*cycles*progress)), 0)
	case "cosine_with_restarts":
		if progress >= 1 {
			return 0
		}
		cycles := s.Cycles
		if cycles == 0 {
			cycles = 1
		}
		return math.Max(0.5*(1+math.Cos(math.Pi*math.Mod(cycles*progress, 1))), 0)
	case "polynomial":
		end, power := s.end()/rate, s.Power
		if power == 0 {
			power = 1
		}
		if progress > 1 {
			return end
		}
		return (1-end)*math.Pow(1-progress, power) + end
	}
	return 1
}
