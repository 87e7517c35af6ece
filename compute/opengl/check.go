//go:build cgo

package opengl

import (
	stdcontext "context"
	"errors"
	"fmt"
	"math"

	"atelier/compute"
)

// CheckOptions say what RunChecked compares. The zero value means a tolerance of 1e-3 and no check for NaN and Inf.
type CheckOptions struct {
	Tolerance float64 // allowed difference, relative to the largest magnitude of the node's result
	Finite    bool    // stop at the first NaN or Inf, even where the definition has it too
}

// Divergence is the first place where the device and the definition differ.
type Divergence struct {
	Node      string // as compute.Tensor prints it
	At        string // file and line of the model's equation
	Index     int    // flat index into the result
	Got, Want float32
}

// Error says where and by how much.
func (e *Divergence) Error() string {
	return fmt.Sprintf("opengl: %s (%s) differs from its definition at index %d: %g, not %g", e.Node, e.At, e.Index, e.Got, e.Want)
}

// RunChecked replays exe, and after every node compares the result with the node's definition on the same operands. It stops
// at the first difference, which it returns as a *Divergence. It is slow: definitions run on the processor.
func RunChecked(ctx stdcontext.Context, exe compute.Executable, in map[string][]float32, o CheckOptions) error {
	e, ok := exe.(*Executable)
	if !ok {
		return errors.New("opengl: checked runs need an executable of this device")
	}
	if err := compute.CheckRun(e.plan, in, nil); err != nil {
		return err
	}
	if o.Tolerance <= 0 {
		o.Tolerance = 1e-3
	}
	return e.device.call(ctx, func() error {
		if !e.loaded {
			return errors.New("opengl: the plan has been closed")
		}
		e.upload(in)
		defer e.device.tuning.save()
		defer e.device.unpace()
		for i := range e.commands {
			if err := ctx.Err(); err != nil {
				return err
			}
			c := &e.commands[i]
			barrier()
			n := e.plan.Steps[c.step].Node
			var before [][]float32
			if compute.UpdatesOf(n) > 0 {
				before = e.operands(n)
			}
			if err := e.issue(ctx, c); err != nil {
				return err
			}
			if i+1 < len(e.commands) && e.commands[i+1].step == c.step {
				continue
			}
			barrier()
			if err := e.compare(n, before, o); err != nil {
				return err
			}
		}
		return e.device.glError("running a plan")
	})
}

// operands reads what a node reads.
func (e *Executable) operands(n *compute.Tensor) [][]float32 {
	in := make([][]float32, len(n.In))
	for i, x := range n.In {
		in[i] = make([]float32, x.Shape().Size())
		e.device.read(e.buffer(x), x.DType(), in[i])
	}
	return in
}

// compare reads a node's operands and result. Operands are still there: no slot is given away before its last reader is done.
// A node that changes variables is compared by these, from what it read before.
func (e *Executable) compare(n *compute.Tensor, before [][]float32, o CheckOptions) error {
	if updates := compute.UpdatesOf(n); updates > 0 {
		compute.EvalRef(n, before, nil)
		for i, v := range n.In[:updates] {
			got := make([]float32, v.Shape().Size())
			e.device.read(e.buffer(v), v.DType(), got)
			if err := diverges(n, got, before[i], o); err != nil {
				return err
			}
		}
		return nil
	}
	got, want := make([]float32, n.Shape().Size()), make([]float32, n.Shape().Size())
	e.device.read(e.buffer(n), n.DType(), got)
	compute.EvalRef(n, e.operands(n), want)
	return diverges(n, got, want, o)
}

// diverges says where a node's values are not those of its definition.
func diverges(n *compute.Tensor, got, want []float32, o CheckOptions) error {
	largest := 0.0
	for _, w := range want {
		if a := math.Abs(float64(w)); a > largest && !math.IsInf(a, 0) {
			largest = a
		}
	}
	for i, w := range want {
		g, w := float64(got[i]), float64(w)
		bad := math.IsNaN(g) != math.IsNaN(w) || g != w && math.Abs(g-w) > o.Tolerance*largest
		if o.Finite && (math.IsNaN(g) || math.IsInf(g, 0)) {
			bad = true
		}
		if bad {
			return &Divergence{Node: n.String(), At: n.At(), Index: i, Got: got[i], Want: want[i]}
		}
	}
	return nil
}
