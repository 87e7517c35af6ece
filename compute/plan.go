package compute

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Step computes one node: its launches in order, and the slots of its scratch space.
type Step struct {
	Node     *Tensor
	Launches []Launch
	Scratch  []int
}

// Plan is a graph made ready to replay: nodes in order, each with a memory slot that later nodes reuse.
type Plan struct {
	Inputs  []*Tensor
	Outputs []Output
	Params  []*Tensor
	Steps   []Step
	Updates int     // the step from which on all change variables; a run that has begun these must end them
	Slots   []int64 // bytes of each slot

	slot map[*Tensor]int
}

// Compile prunes nodes that neither an output nor an update needs, lowers the rest for a device with these limits, and assigns
// memory. Updates of variables come last, in the order in which they were recorded: every other node sees the values of before
// the replay, an update those that earlier ones left, and outputs those at the end. Compile
//
//	reports the first error recorded in the graph.
func (g *Graph) Compile(lim Limits) (*Plan, error) {
	if g.err != nil {
		return nil, g.err
	}
	if len(g.outputs) == 0 && len(g.updates) == 0 {
		return nil, fmt.Errorf("compute: the graph has no outputs")
	}
	seen := map[string]bool{}
	for _, o := range g.outputs {
		if o.T.err != nil {
			return nil, o.T.err
		}
		if seen[o.Name] {
			return nil, fmt.Errorf("compute: output %q is declared twice", o.Name)
		}
		seen[o.Name] = true
	}
	if lim.Shaders {
		var err error
		if g, err = g.composed(); err != nil {
			return nil, err
		}
	}
	p := &Plan{Outputs: append([]Output(nil), g.outputs...), slot: map[*Tensor]int{}}
	if err := p.record(g, lim); err != nil {
		return nil, err
	}
	p.assign()
	return p, nil
}

// record lists the nodes that outputs depend on, in order, with their launches.
func (p *Plan) record(g *Graph, lim Limits) error {
	needed := make([]bool, len(g.nodes))
	for _, o := range p.Outputs {
		needed[o.T.id] = true
	}
	for _, u := range g.updates {
		needed[u.id] = true
	}
	for i := len(g.nodes) - 1; i >= 0; i-- {
		if needed[i] {
			for _, x := range g.nodes[i].In {
				needed[x.id] = true
			}
		}
	}
	for i, n := range g.nodes {
		if !needed[i] {
			continue
		}
		switch {
		case n.Op == opInput:
			p.Inputs = append(p.Inputs, n)
		case n.Op == opParam:
			p.Params = append(p.Params, n)
		case n.Op == opReshape, n.Op == opDetach, UpdatesOf(n) > 0:
		default:
			if err := p.lower(n, lim); err != nil {
				return err
			}
		}
	}
	p.Updates = len(p.Steps)
	for _, n := range g.updates {
		if err := p.lower(n, lim); err != nil {
			return err
		}
	}
	return nil
}

// lower appends the step that computes n.
func (p *Plan) lower(n *Tensor, lim Limits) error {
	step := Step{Node: n}
	if lim.Shaders && n.Op.Lower != nil {
		lw := &Lowering{Limits: lim}
		step.Launches = n.Op.Lower(n, lw)
		for _, b := range lw.scratch {
			p.Slots = append(p.Slots, b) // sizes only; assign gives the real slots
			step.Scratch = append(step.Scratch, len(p.Slots)-1)
		}
		if err := checkLaunches(n, step.Launches, lw.scratch, lim); err != nil {
			return err
		}
	}
	p.Steps = append(p.Steps, step)
	return nil
}

func checkLaunches(n *Tensor, launches []Launch, scratch []int64, lim Limits) error {
	for _, l := range launches {
		for _, o := range append(append([]Operand(nil), l.Reads...), l.Writes...) {
			bytes, advice := int64(0), "use a smaller picture or batch"
			texel := int64(4 * max(o.Width, 1))
			if o.T != nil {
				bytes = o.T.Bytes()
				if texel = int64(o.T.dtype.Bytes() * max(o.Width, 1)); o.T.dtype.Blocks() {
					texel = 4 // read by words
				}
				if Root(o.T).IsParam() {
					advice = "use a smaller model"
				}
			} else {
				bytes = scratch[o.Scratch-1]
			}
			if lim.TextureTexels > 0 && o.Name != "" && bytes/texel > lim.TextureTexels {
				return fmt.Errorf("compute: %s: an operand of %s is larger than this device's largest texture buffer (%s) (%s); %s", n.Op.Name, FormatBytes(bytes), FormatBytes(lim.TextureTexels*texel), n.at, advice)
			}
			if lim.StorageBytes > 0 && o.Name == "" && bytes > lim.StorageBytes {
				return fmt.Errorf("compute: %s: a result of %s is larger than this device's largest storage block (%s) (%s); %s", n.Op.Name, FormatBytes(bytes), FormatBytes(lim.StorageBytes), n.at, advice)
			}
		}
	}
	return nil
}

// Root is the tensor whose slot holds t: t itself, or what t is a view of.
func Root(t *Tensor) *Tensor {
	for t.Op == opReshape || t.Op == opDetach {
		t = t.In[0]
	}
	return t
}

// IsParam reports whether t's values come from a Source.
func (t *Tensor) IsParam() bool { return t.Op == opParam }

// IsInput reports whether each run supplies t.
func (t *Tensor) IsInput() bool { return t.Op == opInput }

// Slot is the slot that holds t, or −1 for a parameter.
func (p *Plan) Slot(t *Tensor) int {
	if s, ok := p.slot[Root(t)]; ok {
		return s
	}
	return -1
}

// tenant is what lives in a slot: a tensor or a step's scratch space, from a step to a step, both inclusive.
type tenant struct {
	bytes       int64
	first, last int
	put         func(slot int)
}

// assign gives every node a slot. A tensor lives from the step that computes it to the last that reads it, and needs its slot for
// itself so long. The largest are placed first, each in the smallest slot that is free then, so that no slot is larger than one
// of its tenants needs.
func (p *Plan) assign() {
	sizes := p.Slots // scratch sizes, in order of step
	p.Slots = nil
	last := map[*Tensor]int{}
	for i, s := range p.Steps {
		for _, x := range s.Node.In {
			last[Root(x)] = i
		}
	}
	for _, o := range p.Outputs {
		last[Root(o.T)] = len(p.Steps)
	}
	var tenants []tenant
	hold := func(t *Tensor, first int) {
		tenants = append(tenants, tenant{t.Bytes(), first, max(first, last[t]), func(slot int) { p.slot[t] = slot }})
	}
	for _, n := range p.Inputs {
		hold(n, -1)
	}
	next := 0
	for i := range p.Steps {
		s := &p.Steps[i]
		if i < p.Updates {
			hold(s.Node, i)
		}
		for j := range s.Scratch {
			tenants = append(tenants, tenant{sizes[next], i, i, func(slot int) { s.Scratch[j] = slot }})
			next++
		}
	}
	slices.SortStableFunc(tenants, func(a, b tenant) int { return cmp.Compare(b.bytes, a.bytes) })
	var taken [][]tenant // of each slot, by time
	for _, t := range tenants {
		slot, at := len(taken)-1, 0
		for ; slot >= 0; slot-- {
			if at = vacancy(taken[slot], t); at >= 0 {
				break
			}
		}
		if slot < 0 {
			slot, at = len(taken), 0
			taken, p.Slots = append(taken, nil), append(p.Slots, t.bytes)
		}
		taken[slot] = slices.Insert(taken[slot], at, t)
		t.put(slot)
	}
}

// vacancy is where t comes among tenants in order of time, −1 where it meets one.
func vacancy(tenants []tenant, t tenant) int {
	i, _ := slices.BinarySearchFunc(tenants, t, func(a, t tenant) int { return cmp.Compare(a.first, t.first) })
	if i > 0 && tenants[i-1].last >= t.first || i < len(tenants) && tenants[i].first <= t.last {
		return -1
	}
	return i
}

// SlotBytes is the memory of all slots, ParamBytes that of all parameters; together they are the plan's peak.
func (p *Plan) SlotBytes() int64 {
	var n int64
	for _, b := range p.Slots {
		n += b
	}
	return n
}

// ParamBytes is the memory of the plan's parameters as stored.
func (p *Plan) ParamBytes() int64 {
	var n int64
	for _, t := range p.Params {
		n += t.Bytes()
	}
	return n
}

// FLOPs is the arithmetic of one replay, a multiply-add counted as two, where ops count theirs.
func (p *Plan) FLOPs() float64 {
	var f float64
	for _, s := range p.Steps {
		if s.Node.Op.FLOPs != nil {
			f += s.Node.Op.FLOPs(s.Node)
		}
	}
	return f
}

// String prints a line per launch: slot, node, program and grid.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "plan: %d steps, %d slots of %s, %d parameters of %s\n", len(p.Steps), len(p.Slots), FormatBytes(p.SlotBytes()), len(p.Params), FormatBytes(p.ParamBytes()))
	for _, s := range p.Steps {
		if len(s.Launches) == 0 {
			fmt.Fprintf(&b, "slot %-3d %v\n", p.Slot(s.Node), s.Node)
		}
		for i := range s.Launches {
			l := &s.Launches[i]
			var f *Form
			groups := l.Groups
			if len(l.Forms) > 0 {
				f, groups = &l.Forms[0], l.Forms[0].Groups
			}
			fmt.Fprintf(&b, "slot %-3d %v · %s %v\n", p.Slot(s.Node), s.Node, l.Key(f), groups)
		}
	}
	return b.String()
}

// FormatBytes prints a size as people read it: 512 B, 38 MB, 2.1 GB (powers of 1,000).
func FormatBytes(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%d kB", n/1000)
	case n < 10_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n < 1000_000_000:
		return fmt.Sprintf("%d MB", n/1000_000)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// MemoryError says that a plan does not fit a device, with what it needs and what there is, in bytes. Where a driver refuses
// memory that it seemed to have, Available is 0.
type MemoryError struct {
	Device          string
	Need, Available int64
}

// Error gives both sizes and what to do.
func (e *MemoryError) Error() string {
	if e.Available <= 0 {
		return fmt.Sprintf("%s has no memory left and this needs %s: close other programs, or choose a smaller size or batch, or a smaller model", e.Device, FormatBytes(e.Need))
	}
	return fmt.Sprintf("%s has %s of memory free and this needs %s: choose a smaller size or batch, or a smaller model", e.Device, FormatBytes(e.Available), FormatBytes(e.Need))
}
