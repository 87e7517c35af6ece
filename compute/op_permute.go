package compute

import "fmt"

// PermuteAttr lists, for each axis of the result, the operand's axis that it is.
type PermuteAttr struct{ Axes []int }

// Permute reorders axes: axis i of the result is axis axes[i] of x.
func Permute(x *Tensor, axes ...int) *Tensor {
	if x.err != nil {
		return newNode(opPermute, nil, x)
	}
	at, identity := &PermuteAttr{}, true
	for i, a := range axes {
		r, err := x.shape.Axis(a)
		if err != nil {
			return fail(opPermute, x, "%w", err)
		}
		at.Axes = append(at.Axes, r)
		identity = identity && i == r
	}
	if identity && len(axes) == len(x.shape) {
		return x
	}
	return newNode(opPermute, at, x)
}

var opPermute = register(&Op{
	Name: "permute",
	Shape: func(n *Tensor) (Shape, error) {
		axes, x := n.Attr.(*PermuteAttr).Axes, n.In[0].shape
		s, seen := Shape{}, make([]bool, len(x))
		for _, a := range axes {
			if !seen[a] {
				s, seen[a] = append(s, x[a]), true
			}
		}
		if len(axes) != len(x) || len(s) != len(x) {
			return nil, fmt.Errorf("%v does not name each axis of %v once", axes, x)
		}
		return s, newStrided(s, permutedSteps(n)).check()
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		copyStrided(newStrided(n.shape, permutedSteps(n)), in[0], out, lo, hi)
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch { return []Launch{stridedLaunch(n, lw, 0, permutedSteps(n))} },
})

// permutedSteps are the operand's steps along the axes of the result.
func permutedSteps(n *Tensor) []int {
	var steps []int
	own := n.In[0].shape.Strides()
	for _, a := range n.Attr.(*PermuteAttr).Axes {
		steps = append(steps, own[a])
	}
	return steps
}

func init() {
	opPermute.VJP = func(n, dy *Tensor) []*Tensor {
		back := make([]int, len(n.shape))
		for i, a := range n.Attr.(*PermuteAttr).Axes {
			back[a] = i
		}
		return []*Tensor{Permute(dy, back...)}
	}
}
