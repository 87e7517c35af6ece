//go:build cgo

package opengl

import (
	"fmt"

	"atelier/compute"
)

// hostNode runs one node by its definition on the processor, between launches: where a shader does not compile.
type hostNode struct {
	node *compute.Tensor
	in   [][]float32
	out  []float32
	held []bool // in[i] holds a parameter's values already
}

func newHostNode(e *Executable, n *compute.Tensor) *hostNode {
	return &hostNode{node: n, in: make([][]float32, len(n.In)), held: make([]bool, len(n.In))}
}

func (h *hostNode) run(e *Executable) error {
	n := h.node
	for i, x := range n.In {
		if h.held[i] {
			continue
		}
		if h.in[i] == nil {
			h.in[i] = make([]float32, x.Shape().Size())
		}
		e.device.read(e.buffer(x), x.DType(), h.in[i])
		h.held[i] = compute.Root(x).IsParam() && !x.IsVariable()
	}
	updates := compute.UpdatesOf(n)
	if h.out == nil && updates == 0 {
		h.out = make([]float32, n.Shape().Size())
	}
	compute.EvalRef(n, h.in, h.out)
	if updates == 0 {
		e.device.write(e.buffer(n), n.DType(), h.out)
	}
	for i, v := range n.In[:updates] {
		e.device.write(e.buffer(v), v.DType(), h.in[i])
	}
	if err := e.device.glError("running a node on the processor"); err != nil {
		return fmt.Errorf("%w (%s at %s)", err, n.Op.Name, n.At())
	}
	return nil
}
