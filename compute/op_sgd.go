package compute

import "math"

// SGDAttr is the settings of a stochastic gradient descent node.
type SGDAttr struct {
	Momentum    float64 // 0: none, and no variable for it
	Nesterov    bool    // look ahead along the momentum
	WeightDecay float64 // adds to the gradient
}

// SGD changes the parameter p, and its momentum where at has one (else nil), by the gradient grad times scale [1], which
// changes nothing where it is NaN (Sutskever et al. 2013). rate [4] holds the learning rate and three numbers that are not read.
func SGD(p, momentum, grad, scale, rate *Tensor, at SGDAttr) {
	in := []*Tensor{p}
	if at.Momentum != 0 {
		in = append(in, momentum)
	}
	newUpdate(opSGD, &at, append(in, grad, scale, rate)...)
}

var opSGD = register(&Op{
	Name:  "sgd",
	Shape: optimiserShape,
	Updates: func(n *Tensor) int {
		if n.Attr.(*SGDAttr).Momentum != 0 {
			return 2
		}
		return 1
	},
	Ref: func(n *Tensor, in [][]float32, _ []float32, lo, hi int) {
		at, k := n.Attr.(*SGDAttr), UpdatesOf(n)
		p, grad, scale, rate := in[0], in[k], float64(in[k+1][0]), float64(in[k+2][0])
		if math.IsNaN(scale) {
			return
		}
		for i := lo; i < hi; i++ {
			w := float64(p[i])
			g := scale*float64(grad[i]) + at.WeightDecay*w
			if at.Momentum != 0 {
				along := at.Momentum*float64(in[1][i]) + g
				in[1][i] = float32(along)
				if at.Nesterov {
					g += at.Momentum * along
				} else {
					g = along
				}
			}
			p[i] = float32(w - rate*g)
		}
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		at, defines := n.Attr.(*SGDAttr), map[string]string{}
		if at.Momentum != 0 {
			defines["MOMENTUM"] = "1"
		}
		if at.Nesterov {
			defines["NESTEROV"] = "1"
		}
		return updateLaunch(n, lw, "sgd", defines, optimiserReads(n), Float("momentum", float32(at.Momentum)), Float("penalty", float32(at.WeightDecay)))
	},
})
