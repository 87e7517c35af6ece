package compute

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// At is the caller's file and line: where the model's equation stands.
func (t *Tensor) At() string { return t.at }

// NewNode records an op that is defined outside this package, such as a test's own.
func NewNode(op *Op, attr any, in ...*Tensor) *Tensor { return newNode(op, attr, in...) }

// EvalRef computes n by its definition over all cores: in holds the operands row-major as float32, out receives the result.
func EvalRef(n *Tensor, in [][]float32, out []float32) {
	units, workers := UnitsOf(n), runtime.GOMAXPROCS(0)
	if units < 2 || workers < 2 {
		n.Op.Ref(n, in, out, 0, units)
		return
	}
	piece := max(units/(workers*8), 1)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				lo := int(next.Add(int64(piece))) - piece
				if lo >= units {
					return
				}
				n.Op.Ref(n, in, out, lo, min(lo+piece, units))
			}
		})
	}
	wg.Wait()
}

// BinaryRuns visits results lo ≤ i < hi of a node of two operands in stretches along the innermost axis: n results from i, where
// the operands begin at elements a and b and go on by their steps, 0 where they repeat.
func BinaryRuns(n *Tensor, lo, hi int, visit func(i, n, a, b, stepA, stepB int)) {
	s := binarySteps(n, n.shape)
	stepA, stepB := s.inner(0), s.inner(1)
	s.runs(lo, hi, func(i, count int, off []int) { visit(i, count, off[0], off[1], stepA, stepB) })
}

// CheckRun tells whether in holds every input of p with its exact size, and out only outputs of p with theirs.
func CheckRun(p *Plan, in, out map[string][]float32) error {
	for _, t := range p.Inputs {
		values, ok := in[t.name]
		if !ok {
			return fmt.Errorf("compute: input %q %v is not given (%s)", t.name, t.shape, t.at)
		}
		if len(values) != t.shape.Size() {
			return fmt.Errorf("compute: input %q has %d values for %v (%s)", t.name, len(values), t.shape, t.at)
		}
	}
	for name, values := range out {
		found := false
		for _, o := range p.Outputs {
			if o.Name != name {
				continue
			}
			if found = true; len(values) != o.T.shape.Size() {
				return fmt.Errorf("compute: output %q has %d values, room for %d is given (%s)", name, o.T.shape.Size(), len(values), o.T.at)
			}
		}
		if !found {
			return fmt.Errorf("compute: the plan has no output %q", name)
		}
	}
	return nil
}
