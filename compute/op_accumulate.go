package compute

// Accumulate changes the variable v to keep·v + add·x at the end of each replay, where x has v's shape and coefficients [4] holds
// keep, add and two numbers that are not read. {0, 1} assigns (whatever v held, even NaN), {1, 1} adds up gradients, {d, 1−d} is
// an exponential moving average. Errors go to the graph.
func Accumulate(v, x, coefficients *Tensor) { newUpdate(opAccumulate, nil, v, x, coefficients) }

// Assign changes the variable v to x at the end of each replay.
func Assign(v, x *Tensor) {
	if v.g == nil {
		newUpdate(opAccumulate, nil, v, x)
		return
	}
	Accumulate(v, x, v.g.Const("assign", []float32{0, 1, 0, 0}, 4))
}

var opAccumulate = register(&Op{
	Name: "accumulate",
	Shape: func(n *Tensor) (Shape, error) {
		if err := checkCoefficients(n.In[2]); err != nil {
			return nil, err
		}
		return updateShape(n)
	},
	Updates: func(*Tensor) int { return 1 },
	Ref: func(_ *Tensor, in [][]float32, _ []float32, lo, hi int) {
		keep, add := float64(in[2][0]), float64(in[2][1])
		for i := lo; i < hi; i++ {
			v := add * float64(in[1][i])
			if keep != 0 {
				v += keep * float64(in[0][i])
			}
			in[0][i] = float32(v)
		}
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		return updateLaunch(n, lw, "accumulate", nil, []Operand{Read("X", n.In[1], 4), Read("Coefficients", n.In[2], 4)})
	},
})
