package train

import (
	"fmt"
	"math"

	"atelier/compute"
	"atelier/models/nn"
)

// Optimiser is the settings of an update rule. Fields that its kind does not have are not read.
type Optimiser struct {
	Kind         string  // adamw, adam, rmsprop or sgd
	Rate         float64 // learning rate
	WeightDecay  float64 // adamw: shrinks parameters, apart from the gradient; the others: adds to it
	Beta1, Beta2 float64 // adam, adamw
	Alpha        float64 // rmsprop: decay of the mean of squares
	Eps          float64 // adam, adamw, rmsprop
	Momentum     float64 // rmsprop, sgd
	Centred      bool    // rmsprop
	Nesterov     bool    // sgd
}

// AdamW is decoupled weight decay of 0.01 and PyTorch's other defaults.
func AdamW(rate float64) Optimiser {
	return Optimiser{Kind: "adamw", Rate: rate, WeightDecay: 1e-2, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
}

// Adam is PyTorch's defaults.
func Adam(rate float64) Optimiser {
	return Optimiser{Kind: "adam", Rate: rate, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
}

// RMSProp is PyTorch's defaults.
func RMSProp(rate float64) Optimiser {
	return Optimiser{Kind: "rmsprop", Rate: rate, Alpha: 0.99, Eps: 1e-8}
}

// SGD is plain gradient descent.
func SGD(rate float64) Optimiser { return Optimiser{Kind: "sgd", Rate: rate} }

// check says what is wrong with the settings.
func (o Optimiser) check() error {
	share := func(v float64) bool { return v >= 0 && v < 1 }
	switch {
	case !(o.Rate > 0) || math.IsInf(o.Rate, 0):
		return fmt.Errorf("train: a learning rate of %v trains nothing; it must be above 0, such as 0.0001", o.Rate)
	case !(o.WeightDecay >= 0) || !(o.Eps >= 0):
		return fmt.Errorf("train: weight decay %v and epsilon %v cannot be negative", o.WeightDecay, o.Eps)
	}
	switch o.Kind {
	case "adamw", "adam":
		if !share(o.Beta1) || !share(o.Beta2) {
			return fmt.Errorf("train: Adam's betas %v and %v must be at least 0 and under 1", o.Beta1, o.Beta2)
		}
	case "rmsprop", "sgd":
		if !share(o.Alpha) || !share(o.Momentum) {
			return fmt.Errorf("train: decay %v and momentum %v must be at least 0 and under 1", o.Alpha, o.Momentum)
		}
		if o.Nesterov && o.Momentum == 0 {
			return fmt.Errorf("train: Nesterov's method looks ahead along a momentum, which is 0 here")
		}
	default:
		return fmt.Errorf("train: there is no optimiser %q; there are adamw, adam, rmsprop and sgd", o.Kind)
	}
	return nil
}

// states are the names of the variables that a parameter needs beside itself, in the order of the update op's operands.
func (o Optimiser) states() []string {
	var names []string
	switch o.Kind {
	case "adamw", "adam":
		return []string{"mean", "square"}
	case "rmsprop":
		names = append(names, "square")
		if o.Centred {
			names = append(names, "mean")
		}
	}
	if o.Momentum != 0 {
		names = append(names, "momentum")
	}
	return names
}

func (o Optimiser) adam() compute.AdamAttr {
	return compute.AdamAttr{Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay, Decoupled: o.Kind == "adamw"}
}

// rate is the rate tensor's value for a step, counted from 1.
func (o Optimiser) rate(rate float64, step int) []float32 {
	if o.Kind == "adamw" || o.Kind == "adam" {
		return o.adam().AdamRate(rate, step)
	}
	return []float32{float32(rate), 0, 0, 0}
}

// update records the change of a parameter and its states by its gradient; decays says whether weight decay applies to it.
func (o Optimiser) update(value *compute.Tensor, states []*compute.Tensor, grad, scale, rate *compute.Tensor, decays bool) {
	if !decays {
		o.WeightDecay = 0
	}
	switch o.Kind {
	case "adamw", "adam":
		compute.Adam(value, states[0], states[1], grad, scale, rate, o.adam())
	case "rmsprop":
		compute.RMSProp(value, states, grad, scale, rate, compute.RMSPropAttr{
			Alpha: o.Alpha, Eps: o.Eps, Momentum: o.Momentum, WeightDecay: o.WeightDecay, Centred: o.Centred})
	case "sgd":
		var momentum *compute.Tensor
		if len(states) > 0 {
			momentum = states[0]
		}
		compute.SGD(value, momentum, grad, scale, rate, compute.SGDAttr{Momentum: o.Momentum, Nesterov: o.Nesterov, WeightDecay: o.WeightDecay})
	}
}

// Matrices is a Config.Decays under which norms' gains and all offsets, which are vectors, are free of weight decay.
func Matrices(p *nn.Param) bool { return len(p.Shape) > 1 }
