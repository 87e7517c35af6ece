package compute

import (
	"fmt"
	"math"
)

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

// opSoftmaxGrad is the gradient of softmax's operand, of its result p and the gradient of that: p∘(dy − Σ p∘dy) along each row.
var opSoftmaxGrad = register(&Op{
	Name: "softmax_grad",
	Shape: func(n *Tensor) (Shape, error) {
		if p, dy := n.In[0].shape, n.In[1].shape; !p.Equal(dy) {
			return nil, fmt.Errorf("the result %v and its gradient %v must have one shape", p, dy)
		}
		return n.In[0].shape, nil
	},
	Units: rows,
	Ref:   softmaxGradRef,
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		l := rowLaunch(n, lw, "softmax_grad")
		l.Reads = append(l.Reads, Read("DY", n.In[1], l.Reads[0].Width))
		return []Launch{l}
	},
})

func softmaxGradRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	c := n.shape.Last()
	for r := lo; r < hi; r++ {
		p, dy := in[0][r*c:][:c], in[1][r*c:][:c]
		mean := dot64(p, dy)
		for k, v := range p {
			out[r*c+k] = float32(float64(v) * (float64(dy[k]) - mean))
		}
	}
}

func init() {
	opSoftmax.VJP = func(n, dy *Tensor) []*Tensor { return []*Tensor{newNode(opSoftmaxGrad, nil, n, dy)} }
	opSoftmaxGrad.VJP = func(n, du *Tensor) []*Tensor {
		p, dy := n.In[0], n.In[1]
		along := func(x *Tensor) *Tensor { return Sum(Mul(p, x), true, -1) }
		return []*Tensor{
			Sub(Mul(du, Sub(dy, along(dy))), Mul(dy, along(du))),
			newNode(opSoftmaxGrad, nil, p, du),
		}
	}
}

func softmaxLower(n *Tensor, lw *Lowering) []Launch { return []Launch{rowLaunch(n, lw, "softmax")} }
