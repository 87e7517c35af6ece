package compute

import (
	"fmt"
	"math"
)

// AdamAttr is the settings of an Adam node.
type AdamAttr struct {
	Beta1, Beta2 float64 // decay of the mean of the gradients, and of that of their squares
	Eps          float64 // added to the root of the second
	WeightDecay  float64
	Decoupled    bool // weight decay shrinks the parameter (AdamW); else it adds to the gradient, as an L2 penalty would
}

// AdamRate is the value of Adam's rate tensor for step (1, 2, …) at a learning rate: the rate, and what corrects the two means
// for having begun at zero.
func (at AdamAttr) AdamRate(rate float64, step int) []float32 {
	one, two := 1-math.Pow(at.Beta1, float64(step)), 1-math.Pow(at.Beta2, float64(step))
	return []float32{float32(rate), float32(rate / one), float32(math.Sqrt(two)), 0}
}

// Adam changes the parameter p and its moments m and v, variables of one shape, by the gradient grad times scale [1]
// (Kingma & Ba 2015; a scale that is NaN changes nothing), or with decoupled weight decay (AdamW, Loshchilov & Hutter 2019). rate [4] is AdamRate's.
func Adam(p, m, v, grad, scale, rate *Tensor, at AdamAttr) {
	newUpdate(opAdam, &at, p, m, v, grad, scale, rate)
}

var opAdam = register(&Op{
	Name:    "adam",
	Shape:   optimiserShape,
	Updates: func(*Tensor) int { return 3 },
	Ref: func(n *Tensor, in [][]float32, _ []float32, lo, hi int) {
		at := n.Attr.(*AdamAttr)
		p, m, v, grad, scale := in[0], in[1], in[2], in[3], float64(in[4][0])
		rate, corrected, root := float64(in[5][0]), float64(in[5][1]), float64(in[5][2])
		if math.IsNaN(scale) {
			return
		}
		for i := lo; i < hi; i++ {
			g, w := scale*float64(grad[i]), float64(p[i])
			if at.Decoupled {
				w *= 1 - rate*at.WeightDecay
			} else {
				g += at.WeightDecay * w
			}
			mean := at.Beta1*float64(m[i]) + (1-at.Beta1)*g
			square := at.Beta2*float64(v[i]) + (1-at.Beta2)*g*g
			m[i], v[i] = float32(mean), float32(square)
			p[i] = float32(w - corrected*mean/(math.Sqrt(square)/root+at.Eps))
		}
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		at := n.Attr.(*AdamAttr)
		return updateLaunch(n, lw, "adam", nil, optimiserReads(n),
			Float("keepMean", float32(at.Beta1)), Float("addMean", float32(1-at.Beta1)),
			Float("keepSquare", float32(at.Beta2)), Float("addSquare", float32(1-at.Beta2)),
			Float("eps", float32(at.Eps)), Float("shrink", decay(at.WeightDecay, at.Decoupled)), Float("penalty", decay(at.WeightDecay, !at.Decoupled)))
	},
})

// decay is w where it is wanted, else 0.
func decay(w float64, wanted bool) float32 {
	if wanted {
		return float32(w)
	}
	return 0
}

// optimiserShape checks an optimiser's operands: its variables and the gradient of one shape, then scale [1] and rate [4].
func optimiserShape(n *Tensor) (Shape, error) {
	k := UpdatesOf(n) + 1
	if !n.In[k].shape.Equal(Shape{1}) {
		return nil, fmt.Errorf("the gradient's scale must be [1], not %v", n.In[k].shape)
	}
	if err := checkCoefficients(n.In[k+1]); err != nil {
		return nil, err
	}
	return updateShape(n)
}

// checkCoefficients wants four numbers, which a shader fetches as one texel.
func checkCoefficients(t *Tensor) error {
	if !t.shape.Equal(Shape{4}) {
		return fmt.Errorf("coefficients must be [4], not %v", t.shape)
	}
	return nil
}

// optimiserReads are what an optimiser's shader reads beside its variables.
func optimiserReads(n *Tensor) []Operand {
	k := UpdatesOf(n)
	return []Operand{Read("Gradient", n.In[k], 4), Read("Scale", n.In[k+1], 1), Read("Rate", n.In[k+2], 4)}
}
