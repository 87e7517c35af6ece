package compute

import (
	"fmt"
	"math"
)

// CrossEntropyAttr is the settings of a cross_entropy node and of its gradient.
type CrossEntropyAttr struct{ Smoothing float64 }

// CrossEntropy is −log softmax(logits)[target] of each row: logits [… V] and targets […], whole numbers, give […]. smoothing
// spreads that part of the target evenly over all V (Szegedy et al. 2016). A row with a negative target counts as 0 and has no
// gradient; a target beyond V − 1 is taken as V − 1.
func CrossEntropy(logits, targets *Tensor, smoothing float64) *Tensor {
	return newNode(opCrossEntropy, &CrossEntropyAttr{smoothing}, logits, targets)
}

var opCrossEntropy = register(&Op{
	Name: "cross_entropy",
	Shape: func(n *Tensor) (Shape, error) {
		if err := checkTargets(n); err != nil {
			return nil, err
		}
		return n.In[1].shape, nil
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		c, smooth := n.In[0].shape.Last(), n.Attr.(*CrossEntropyAttr).Smoothing
		for r := lo; r < hi; r++ {
			x := in[0][r*c:][:c]
			out[r] = 0
			if in[1][r] < 0 {
				continue
			}
			top, sum, mean := rowSums(x)
			target := float64(x[clampIndex(in[1][r], c)])
			out[r] = float32(top + math.Log(sum) - (1-smooth)*target - smooth*mean)
		}
	},
	Lower: crossEntropyLower,
})

// opCrossEntropyGrad is the gradient of the logits: operands logits, targets, and the gradient of the rows' losses.
var opCrossEntropyGrad = register(&Op{
	Name:  "cross_entropy_grad",
	Shape: func(n *Tensor) (Shape, error) { return n.In[0].shape, checkTargets(n) },
	Units: rows,
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		c, smooth := n.shape.Last(), n.Attr.(*CrossEntropyAttr).Smoothing
		for r := lo; r < hi; r++ {
			x, y := in[0][r*c:][:c], out[r*c:][:c]
			if in[1][r] < 0 {
				clear(y)
				continue
			}
			top, sum, _ := rowSums(x)
			dy, target := float64(in[2][r]), clampIndex(in[1][r], c)
			for k, v := range x {
				p := math.Exp(float64(v)-top)/sum - smooth/float64(c)
				if k == target {
					p -= 1 - smooth
				}
				y[k] = float32(dy * p)
			}
		}
	},
	Lower: crossEntropyLower,
})

func checkTargets(n *Tensor) error {
	x, t := n.In[0].shape, n.In[1].shape
	lead := x[:len(x)-1]
	if len(lead) == 0 {
		lead = Shape{1}
	}
	if !t.Equal(lead) {
		return fmt.Errorf("logits %v want targets %v, not %v", x, lead, t)
	}
	return nil
}

// rowSums gives a row's largest element, the sum of exponentials of what is left of each, and the mean.
func rowSums(x []float32) (top, sum, mean float64) {
	top = math.Inf(-1)
	for _, v := range x {
		top = math.Max(top, float64(v))
		mean += float64(v)
	}
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top, sum, mean / float64(len(x))
}

func init() {
	opCrossEntropy.VJP = func(n, dy *Tensor) []*Tensor {
		return []*Tensor{newNode(opCrossEntropyGrad, n.Attr, n.In[0], n.In[1], dy), nil}
	}
}

func crossEntropyLower(n *Tensor, lw *Lowering) []Launch {
	x, count := n.In[0], n.In[1].shape.Size()
	defines, width := map[string]string{}, 1
	if x.shape.Last()%4 == 0 {
		defines["QUAD"], width = "1", 4
	}
	l := Launch{
		Shader:   "cross_entropy",
		Defines:  defines,
		Reads:    []Operand{Read("X", x, width), Read("Target", n.In[1], 1)},
		Writes:   []Operand{Write(n)},
		Uniforms: []Uniform{Float("smoothing", float32(n.Attr.(*CrossEntropyAttr).Smoothing)), Int("rows", count), Int("columns", x.shape.Last()/width)},
		Forms:    rowForms(lw, count),
	}
	if n.Op.Name == "cross_entropy_grad" {
		defines["GRADIENT"] = "1"
		l.Reads = append(l.Reads, Read("DY", n.In[2], 1))
	} else {
		defines["ROW_RESULT"] = "1"
	}
	return []Launch{l}
}
