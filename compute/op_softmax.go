package compute

import "math"

// Softmax is exp(x)/Σexp(x) along the last axis, computed from x − max(x) so that it cannot overflow.
func Softmax(x *Tensor) *Tensor { return newNode(opSoftmax, nil, x) }

var opSoftmax = register(&Op{
	Name:  "softmax",
	Shape: func(n *Tensor) (Shape, error) { return n.In[0].shape, nil },
	Units: rows,
	Ref:   softmaxRef,
	Lower: softmaxLower,
})

func softmaxRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	c := n.shape.Last()
	e := make([]float64, c)
	for r := lo; r < hi; r++ {
		x := in[0][r*c:][:c]
		top, sum := math.Inf(-1), 0.0
		for _, v := range x {
			top = math.Max(top, float64(v))
		}
		for k, v := range x {
			e[k] = math.Exp(float64(v) - top)
			sum += e[k]
		}
		for k := range x {
			out[r*c+k] = float32(e[k] / sum)
		}
	}
}

func init() {
	opSoftmax.VJP = func(n, dy *Tensor) []*Tensor {
		return []*Tensor{Mul(n, Sub(dy, Sum(Mul(dy, n), true, -1)))}
	}
}

func softmaxLower(n *Tensor, lw *Lowering) []Launch { return []Launch{rowLaunch(n, lw, "softmax")} }
