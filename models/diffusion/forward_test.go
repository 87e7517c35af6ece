package diffusion

import (
	"math"
	"testing"
)

// TestForwardAgreesWithSamplers trains nothing: what a model that is right about the target says must lead the samplers' own
// arithmetic back to the picture.
func TestForwardAgreesWithSamplers(t *testing.T) {
	const x0, noise = 0.7, -1.3
	for _, kind := range []string{"epsilon", "v_prediction", "sample"} {
		c := DefaultConfig("DDIMScheduler")
		c.PredictionType, c.BetaSchedule = kind, "scaled_linear"
		f, err := NewForward(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{0, 1, 500, 999} {
			m := f.At(step)
			if d := m.Signal*m.Signal + m.Noise*m.Noise - 1; math.Abs(d) > 1e-12 {
				t.Errorf("%s, step %d: the variance is off by %v", kind, step, d)
			}
			x, out := m.Signal*x0+m.Noise*noise, m.OfNoise*noise+m.OfData*x0
			kx, ko := prediction(kind).denoised(m.Signal, m.Noise, true)
			if got := kx*x + ko*out; math.Abs(got-x0) > 1e-9/m.Signal {
				t.Errorf("%s, step %d: the picture comes back as %v, want %v", kind, step, got, x0)
			}
		}
	}
}

// TestMinSNRWeights checks that every kind of prediction gives x0's error the same weight, min(snr, 5).
func TestMinSNRWeights(t *testing.T) {
	for kind, factor := range map[string]func(snr float64) float64{
		"sample": func(float64) float64 { return 1 }, "epsilon": func(snr float64) float64 { return snr }, "v_prediction": func(snr float64) float64 { return snr + 1 },
	} {
		c := DefaultConfig("DDIMScheduler")
		c.PredictionType = kind
		f, err := NewForward(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{0, 300, 999} {
			m := f.At(step)
			snr := m.Signal * m.Signal / (m.Noise * m.Noise)
			if got, want := f.MinSNR(step, 5)*factor(snr), math.Min(snr, 5); math.Abs(got-want) > 1e-9*want {
				t.Errorf("%s, step %d: x0's error weighs %v, want %v", kind, step, got, want)
			}
		}
		if f.MinSNR(10, 0) != 1 {
			t.Error("without gamma every weight is 1")
		}
	}
}

func TestForwardRefuses(t *testing.T) {
	c := DefaultConfig("DDIMScheduler")
	c.PredictionType = "flow"
	if _, err := NewForward(c); err == nil {
		t.Error("an unknown prediction is refused")
	}
}
