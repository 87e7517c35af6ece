package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// Forward is how pictures are made noisy for training: at timestep t, x = Signal·x0 + Noise·ε, and a model is asked for
// OfNoise·ε + OfData·x0.
type Forward struct {
	alphasCumprod []float64
	prediction    string
}

// Mixture is the factors at one timestep.
type Mixture struct{ Signal, Noise, OfNoise, OfData float64 }

// NewForward takes the noise schedule and the kind of prediction from a model's configuration.
func NewForward(c Config) (*Forward, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"epsilon", "v_prediction", "sample"}, c.PredictionType) {
		return nil, fmt.Errorf("diffusion: a model that predicts %q cannot be trained by this schedule; epsilon, v_prediction and sample can", c.PredictionType)
	}
	tr, err := newTraining(c)
	if err != nil {
		return nil, err
	}
	return &Forward{tr.alphasCumprod, c.PredictionType}, nil
}

// Steps is the number of timesteps.
func (f *Forward) Steps() int { return len(f.alphasCumprod) }

// At gives the factors at a timestep from 0 to Steps − 1.
func (f *Forward) At(t int) Mixture {
	a, s := math.Sqrt(f.alphasCumprod[t]), math.Sqrt(1-f.alphasCumprod[t])
	m := Mixture{Signal: a, Noise: s}
	switch f.prediction {
	case "v_prediction": // Salimans and Ho 2022: v = αε − σx0
		m.OfNoise, m.OfData = a, -s
	case "sample":
		m.OfData = 1
	default:
		m.OfNoise = 1
	}
	return m
}

// MinSNR is the weight of a timestep's squared error that keeps the weight of x0's error at no more than gamma, and that of noisier
// steps at their signal-to-noise ratio (Hang et al. 2023), for this kind of prediction; 1 where gamma is 0.
func (f *Forward) MinSNR(t int, gamma float64) float64 {
	if gamma == 0 {
		return 1
	}
	snr := f.alphasCumprod[t] / math.Max(1-f.alphasCumprod[t], 1e-12)
	least := math.Min(snr, gamma)
	switch f.prediction {
	case "v_prediction":
		return least / (snr + 1)
	case "sample":
		return least
	}
	if snr == 0 {
		return 1
	}
	return least / snr
}
