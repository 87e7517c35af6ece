package diffusion

import (
	"math"
	"testing"
)

// TestFlowFollowsStraightPaths gives the sampler the true velocity of one picture, which must be reached exactly, and checks the
// spacing by hand: diffusers' FlowMatchEulerDiscreteScheduler with 4 steps calls the model at 1000, 667, 334 and 1.
func TestFlowFollowsStraightPaths(t *testing.T) {
	s, err := New("euler", "karras", Config{ClassName: FlowClass, NumTrainTimesteps: 1000, BetaStart: 1e-4, BetaEnd: 0.02, BetaSchedule: "linear",
		PredictionType: "epsilon", TimestepSpacing: "linspace", FinalSigmas: "zero"}, 4)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{1000, 667, 334, 1} {
		if got := s.Timesteps()[i]; math.Abs(got-want) > 1e-9 {
			t.Errorf("call %d is at %v, want %v", i, got, want)
		}
	}
	const picture, noise = 0.25, -1.5
	x := []float32{noise}
	for i := range s.Timesteps() {
		var denoised []float32
		if x, denoised, err = s.Step(i, []float32{noise - picture}, x, nil); err != nil {
			t.Fatal(err)
		}
		if math.Abs(float64(denoised[0])-picture) > 1e-6 {
			t.Errorf("step %d sees the picture as %v", i, denoised[0])
		}
	}
	if math.Abs(float64(x[0])-picture) > 1e-6 {
		t.Errorf("the path ends at %v, want %v", x[0], picture)
	}
	if _, _, err := s.Step(4, x, x, nil); err == nil {
		t.Error("a step beyond the last is refused")
	}
}

// TestFlowShift bends the middle of the path: with a shift of 3, s = 0.5 becomes 0.75.
func TestFlowShift(t *testing.T) {
	c := DefaultConfig(FlowClass)
	c.Shift = 3
	f, err := newFlow(c, 3)
	if err != nil {
		t.Fatal(err)
	}
	last := 3 * 0.001 / (1 + 2*0.001)
	middle := (1 + last) / 2
	if want := 3 * middle / (1 + 2*middle); f.times[0] != 1 || math.Abs(f.times[1]-want) > 1e-12 {
		t.Errorf("the path is %v, want its middle at %v", f.times, want)
	}
	c.Shift = -1
	if _, err := newFlow(c, 3); err == nil {
		t.Error("a negative shift is refused")
	}
}
