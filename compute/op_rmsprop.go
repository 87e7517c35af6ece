package compute

import "math"

// RMSPropAttr is the settings of an RMSprop node.
type RMSPropAttr struct {
	Alpha       float64 // decay of the mean of squares
	Eps         float64 // added to its root
	Momentum    float64 // 0: none, and no variable for it
	WeightDecay float64 // adds to the gradient
	Centred     bool    // the mean of the gradients, a variable of its own, is taken off
}

// States is how many variables an RMSprop parameter needs beside itself: the mean of squares, the mean where centred, the
// momentum where there is any.
func (at RMSPropAttr) States() int {
	n := 1
	if at.Centred {
		n++
	}
	if at.Momentum != 0 {
		n++
	}
	return n
}

// RMSProp changes the parameter p and its states (as many as at.States says, of p's shape) by the gradient grad times scale [1],
// which changes nothing where it is NaN (Tieleman & Hinton 2012; centred, Graves 2013). rate [4] holds the learning rate and three numbers that are not read.
func RMSProp(p *Tensor, states []*Tensor, grad, scale, rate *Tensor, at RMSPropAttr) {
	in := append([]*Tensor{p}, states...)
	newUpdate(opRMSProp, &at, append(in, grad, scale, rate)...)
}

var opRMSProp = register(&Op{
	Name:    "rmsprop",
	Shape:   optimiserShape,
	Updates: func(n *Tensor) int { return 1 + n.Attr.(*RMSPropAttr).States() },
	Ref: func(n *Tensor, in [][]float32, _ []float32, lo, hi int) {
		at, k := n.Attr.(*RMSPropAttr), UpdatesOf(n)
		p, squares, last := in[0], in[1], in[k-1]
		grad, scale, rate := in[k], float64(in[k+1][0]), float64(in[k+2][0])
		if math.IsNaN(scale) {
			return
		}
		for i := lo; i < hi; i++ {
			w := float64(p[i])
			g := scale*float64(grad[i]) + at.WeightDecay*w
			square := at.Alpha*float64(squares[i]) + (1-at.Alpha)*g*g
			squares[i] = float32(square)
			if at.Centred {
				mean := at.Alpha*float64(in[2][i]) + (1-at.Alpha)*g
				in[2][i] = float32(mean)
				square = math.Max(square-mean*mean, 0)
			}
			move := g / (math.Sqrt(square) + at.Eps)
			if at.Momentum != 0 {
				move += at.Momentum * float64(last[i])
				last[i] = float32(move)
			}
			p[i] = float32(w - rate*move)
		}
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		at, defines := n.Attr.(*RMSPropAttr), map[string]string{}
		if at.Centred {
			defines["CENTRED"] = "1"
		}
		if at.Momentum != 0 {
			defines["MOMENTUM"] = itoa(at.States())
		}
		return updateLaunch(n, lw, "rmsprop", defines, optimiserReads(n), Float("alpha", float32(at.Alpha)), Float("rest", float32(1-at.Alpha)),
			Float("eps", float32(at.Eps)), Float("momentum", float32(at.Momentum)), Float("penalty", float32(at.WeightDecay)))
	},
})
