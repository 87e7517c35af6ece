package host

import (
	"context"
	"errors"
	"fmt"

	"atelier/compute"
)

// executable is a plan with where its tensors lie in the device's space.
type executable struct {
	device   *Device
	plan     *compute.Plan
	elements []int // of each slot
	order    []int // the slots, the largest first
	scratch  int   // elements that one node at a time works in beside the slots
	uses     []paramUse
	streams  map[paramKey]*stream // parameters that replays read anew, where not all fit
	window   []float32            // that they take turns in
	inputs   map[string][]float32 // the slots' memory by input
	outputs  map[string][]float32
	steps    []step
	closed   bool
}

// step is a node with its operands' and result's memory looked up.
type step struct {
	node *compute.Tensor
	in   [][]float32
	out  []float32
	run  func() error // the quick way where there is one, else the definition over all cores; nil where an earlier step's run does it
	from *stream      // what is read before the step runs, or nil

	elements func(lo, hi int) // of an elementwise node: what computes a range of its elements
}

// slotElements is how many float32 each slot of the plan must hold: slots are sized in stored bytes, and half floats are
// stored wide here.
func slotElements(p *compute.Plan) []int {
	n := make([]int, len(p.Slots))
	hold := func(t *compute.Tensor) {
		if s := p.Slot(t); s >= 0 {
			n[s] = max(n[s], t.Shape().Size())
		}
	}
	for _, t := range p.Inputs {
		hold(t)
	}
	for i := range p.Steps {
		hold(p.Steps[i].Node)
	}
	return n
}

// windowBytes is the memory of the window.
func (e *executable) windowBytes() int64 { return 4 * int64(len(e.window)) }

// forget lets go of the space. The caller holds running, and prepares before it lets others run.
func (e *executable) forget() { e.inputs, e.outputs, e.steps = nil, nil, nil }

// prepare looks up every tensor's memory. The caller holds loading and running.
func (e *executable) prepare() {
	scratch, slots := e.device.space.scratch, make([][]float32, len(e.elements))
	for place, i := range e.order {
		slots[i] = e.device.space.slots[place]
	}
	values := func(t *compute.Tensor) []float32 {
		n := t.Shape().Size()
		if s := e.plan.Slot(t); s >= 0 {
			return slots[s][:n:n]
		}
		if p := e.device.params[paramKey{src: compute.Root(t).Src}]; p != nil {
			return p.values[:n:n]
		}
		return nil // only packed
	}
	e.inputs, e.outputs = map[string][]float32{}, map[string][]float32{}
	for _, t := range e.plan.Inputs {
		e.inputs[t.Name()] = values(t)
	}
	for _, o := range e.plan.Outputs {
		e.outputs[o.Name] = values(o.T)
	}
	for i := range e.plan.Steps {
		n := e.plan.Steps[i].Node
		s := step{node: n, out: values(n), from: e.streamOf(n)}
		for _, x := range n.In {
			s.in = append(s.in, values(x))
		}
		if n.Op.Elementwise {
			s.elements = elementRange(s)
		} else if s.run = e.fast(s, scratch); s.run == nil {
			s.run = e.each(compute.UnitsOf(n), 1, func(lo, hi int) { n.Op.Ref(n, s.in, s.out, lo, hi) })
		}
		e.steps = append(e.steps, s)
	}
	e.chain()
}

// Run replays the plan: in holds every input by name, row-major; out receives the outputs named in it. It stops between nodes
// when ctx ends, unless variables have begun to change.
func (e *executable) Run(ctx context.Context, in, out map[string][]float32) error {
	if err := compute.CheckRun(e.plan, in, out); err != nil {
		return err
	}
	e.device.running.Lock()
	defer e.device.running.Unlock()
	if e.closed {
		return errors.New("host: the plan has been closed")
	}
	for name, values := range e.inputs {
		copy(values, in[name])
	}
	for i := range e.steps {
		if err := ctx.Err(); err != nil && i < e.plan.Updates {
			return err
		}
		s := &e.steps[i]
		if s.run == nil {
			continue
		}
		if s.from != nil {
			if err := s.from.fill(e.window); err != nil {
				return err
			}
		}
		if err := s.run(); err != nil {
			return fmt.Errorf("%w (%s at %s)", err, s.node.Op.Name, s.node.At())
		}
	}
	for name, dst := range out {
		copy(dst, e.outputs[name])
	}
	return nil
}

// Close gives unshared parameters back, and what no other plan needs of the space.
func (e *executable) Close() {
	d := e.device
	d.loading.Lock()
	defer d.loading.Unlock()
	d.running.Lock()
	defer d.running.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	window := e.windowBytes()
	e.forget()
	e.streams, e.window = nil, nil
	delete(d.loaded, e)
	if d.closed {
		return
	}
	before, _ := d.Memory()
	d.hold(-window)
	d.release(e.uses)
	d.resize(d.extent())
	after, _ := d.Memory()
	giveBack(before - after)
}

// fast gives a node's quick way, nil where its definition is what runs.
func (e *executable) fast(s step, scratch []float32) func() error {
	switch op := s.node.Op.Name; op {
	case "matmul":
		return e.matMul(s, scratch)
	case "conv2d":
		return e.conv2D(s)
	case "conv_transpose2d":
		return e.convTranspose2D(s)
	case "conv2d_grad_weight":
		return e.convGradWeight(s, scratch)
	case "attention":
		return e.attention(s, scratch)
	case "group_norm":
		return e.groupNorm(s)
	case "layer_norm", "rms_norm":
		return e.rowNorm(s)
	case "softmax":
		return e.softmax(s)
	case "sum", "mean", "max", "sum_squares":
		return e.reduce(s)
	case "group_norm_moments":
		return e.groupNormMoments(s)
	case "group_norm_grad":
		return e.groupNormGrad(s)
	case "layer_norm_grad", "rms_norm_grad":
		return e.rowNormGrad(s)
	case "layer_norm_grad_gain", "rms_norm_grad_gain":
		return e.rowNormGradGain(s)
	case "attention_grad":
		return e.attentionGrad(s, scratch)
	case "pad":
		return e.pad(s)
	case "gather", "embedding":
		return e.gather(s)
	case "resize_nearest":
		return e.resizeNearest(s)
	case "gather_grad":
		return e.gatherGrad(s)
	case "resize_nearest_grad":
		return e.resizeNearestGrad(s)
	case "cross_entropy", "cross_entropy_grad":
		return e.crossEntropy(s)
	case "glu":
		return e.glu(s)
	}
	return nil
}

// scratchElements is the memory that one node at a time needs beside the slots, in float32.
func scratchElements(p *compute.Plan, workers int) int {
	n := 0
	for i := range p.Steps {
		n = max(n, attentionElements(p.Steps[i].Node, workers), attentionGradElements(p.Steps[i].Node, workers), turnElements(p.Steps[i].Node))
	}
	return n
}
