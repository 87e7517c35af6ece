//go:build cgo

package opengl

import (
	stdcontext "context"
	"errors"
	"fmt"
	"math"

	"atelier/compute"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// Executable is a plan on the device. Run may be called from any goroutine, one call at a time.
type Executable struct {
	device *Device
	plan   *compute.Plan

	// The rest belongs to the GL goroutine.
	slots    []*buffer                  // the device's, by the plan's
	held     []*compute.Tensor          // parameters that stay on the device
	streams  map[compute.Source]*buffer // the window of each parameter that replays read anew, where not all fit
	windows  []*buffer
	commands []command
	loaded   bool
}

// command is one launch with everything looked up, or one node that runs by its definition.
type command struct {
	step     int // in the plan
	launch   *compute.Launch
	variant  variant
	choices  []variant       // forms not yet timed; empty once variant is chosen
	verdict  string          // key of the choice in the tuning file
	textures []uint32        // by unit
	storage  []uint32        // by binding
	barrier  bool            // a buffer that this launch touches was written since the last barrier
	fence    bool            // a chunk of launches ends here
	pieces   int             // how many dispatches the launch is split into, where it is long; 0 is one
	host     *hostNode       // not nil: the node runs by its definition
	stream   *compute.Tensor // a parameter to read before, or nil
}

// variant is a launch under one form.
type variant struct {
	form     string
	program  *program
	settings []setting
	groups   [3]uint32
}

// A chunk ends after this many launches or floating-point operations, and a launch of more operations is split: so often a run
// looks whether it is to stop, and so long at most a driver works without an answer. Windows resets a device that takes two
// seconds, which leaves the slowest (integrated, 20 GFLOP/s) a factor of two.
const (
	chunkLaunches = 16
	chunkFLOPs    = 2e10
)

// Load uploads the plan's parameters, reserves its slots and builds its programs.
func (d *Device) Load(ctx stdcontext.Context, p *compute.Plan) (compute.Executable, error) {
	e := &Executable{device: d, plan: p}
	if err := d.call(ctx, func() error { return e.load(ctx) }); err != nil {
		return nil, d.refused(err, p.SlotBytes()+p.ParamBytes())
	}
	return e, nil
}

func (e *Executable) load(ctx stdcontext.Context) error {
	d := e.device
	windows, bytes, err := e.fit()
	if err != nil {
		return err
	}
	if err := d.acquire(ctx, e.held); err != nil {
		return err
	}
	e.loaded = true
	err = e.reserve(windows, bytes)
	if err == nil {
		err = e.prepare(ctx)
	}
	if err == nil {
		err = d.glError("loading a plan")
	}
	if err != nil {
		e.unload()
	}
	return err
}

func (e *Executable) reserve(windows int, window int64) error {
	e.device.loaded[e] = true
	if err := e.device.resize(); err != nil {
		return err
	}
	e.slots = make([]*buffer, len(e.plan.Slots))
	for place, i := range compute.SlotOrder(e.plan.Slots) {
		e.slots[i] = e.device.slots[place]
	}
	return e.reserveWindows(windows, window)
}

// unload frees slots and parameters.
func (e *Executable) unload() {
	if !e.loaded {
		return
	}
	e.loaded = false
	e.slots, e.commands = nil, nil
	delete(e.device.loaded, e)
	_ = e.device.resize() // less is never refused
	for _, b := range e.windows {
		e.device.free(b)
	}
	e.windows, e.streams = nil, nil
	e.device.release(e.held)
}

// Close gives slots and unshared parameters back.
func (e *Executable) Close() {
	_ = e.device.call(stdcontext.Background(), func() error { // a closed or lost device has freed them
		e.unload()
		return nil
	})
}

// buffer is where t lives.
func (e *Executable) buffer(t *compute.Tensor) *buffer {
	if s := e.plan.Slot(t); s >= 0 {
		return e.slots[s]
	}
	if w := e.streams[compute.Root(t).Src]; w != nil {
		return w
	}
	return e.device.params[compute.Root(t).Src].buffer
}

func (e *Executable) operand(step *compute.Step, o compute.Operand) (*buffer, compute.DType) {
	if o.T == nil {
		return e.slots[step.Scratch[o.Scratch-1]], compute.F32
	}
	return e.buffer(o.T), o.T.DType()
}

// prepare turns the plan's steps into commands.
func (e *Executable) prepare(ctx stdcontext.Context) error {
	dirty, read := map[*buffer]bool{}, map[*buffer]bool{} // since the last barrier
	launches, flops := 0, 0.0
	for i := range e.plan.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		step := &e.plan.Steps[i]
		commands, err := e.lower(i, step)
		if err != nil {
			return fmt.Errorf("%w (%s)", err, step.Node.At())
		}
		pieces := 1
		if step.Node.Op.FLOPs != nil {
			work := step.Node.Op.FLOPs(step.Node)
			flops += work
			pieces = int(math.Ceil(work / chunkFLOPs))
		}
		for k, c := range commands {
			c.pieces = pieces
			if k == 0 && len(step.Node.In) > 1 && e.streams[step.Node.In[1].Src] != nil {
				c.stream = step.Node.In[1]
			}
			if c.host != nil {
				c.barrier = true
				clear(dirty)
				clear(read)
			} else {
				c.barrier = e.hazard(step, c.launch, dirty, read)
			}
			if launches++; launches >= chunkLaunches || flops >= chunkFLOPs {
				c.fence = true
				launches, flops = 0, 0
			}
			e.commands = append(e.commands, c)
		}
	}
	return nil
}

// hazard reports whether a barrier must come before the launch, and notes what the launch touches.
func (e *Executable) hazard(step *compute.Step, l *compute.Launch, dirty, read map[*buffer]bool) bool {
	need := false
	for _, o := range l.Reads {
		b, _ := e.operand(step, o)
		need = need || dirty[b]
	}
	for _, o := range l.Writes {
		b, _ := e.operand(step, o)
		need = need || dirty[b] || read[b]
	}
	if need {
		clear(dirty)
		clear(read)
	}
	for _, o := range l.Reads {
		b, _ := e.operand(step, o)
		read[b] = true
	}
	for _, o := range l.Writes {
		b, _ := e.operand(step, o)
		dirty[b] = true
	}
	return need
}

// lower gives the commands of one step. Where a shader does not compile, the node runs by its definition.
func (e *Executable) lower(i int, step *compute.Step) ([]command, error) {
	if step.Node.Op.Lower == nil {
		e.device.warn("%s runs on the processor: it has no shader", step.Node.Op.Name)
		return []command{{step: i, host: newHostNode(e, step.Node)}}, nil
	}
	if len(step.Launches) == 0 {
		return nil, fmt.Errorf("opengl: %s has no launches: compile the plan with this device's limits", step.Node.Op.Name)
	}
	var commands []command
	if !e.device.trusts(step.Node.Op.Name) {
		return []command{{step: i, host: newHostNode(e, step.Node)}}, nil
	}
	for j := range step.Launches {
		c, err := e.command(i, step, &step.Launches[j])
		if refused := (*compileError)(nil); errors.As(err, &refused) {
			e.device.warn("%s runs on the processor: %v", step.Node.Op.Name, refused)
			return []command{{step: i, host: newHostNode(e, step.Node)}}, nil
		}
		if err != nil {
			return nil, err
		}
		commands = append(commands, c)
	}
	return commands, nil
}

func (e *Executable) command(i int, step *compute.Step, l *compute.Launch) (command, error) {
	d := e.device
	c := command{step: i, launch: l}
	if len(l.Reads) > d.state.spare || len(l.Writes) > len(d.state.storage) {
		return c, fmt.Errorf("opengl: shader %s has %d reads and %d writes, this device takes %d and %d", l.Shader, len(l.Reads), len(l.Writes), d.state.spare, len(d.state.storage))
	}
	for _, o := range l.Reads {
		b, dtype := e.operand(step, o)
		c.textures = append(c.textures, d.view(b, dtype, o.Width))
	}
	for _, o := range l.Writes {
		b, _ := e.operand(step, o)
		c.storage = append(c.storage, b.id)
	}
	if len(l.Forms) > 0 {
		return c, d.chooseForm(&c)
	}
	v, err := d.variant(l, nil)
	c.variant = v
	return c, err
}

// variant builds a launch's program under a form (nil: none).
func (d *Device) variant(l *compute.Launch, f *compute.Form) (variant, error) {
	v, groups := variant{}, l.Groups
	if f != nil {
		v.form, groups = f.Name, f.Groups
	}
	for axis, n := range groups {
		if n < 1 || n > d.limits.Groups[axis] {
			return v, fmt.Errorf("opengl: shader %s wants %v workgroups, this device takes 1 to %v", l.Shader, groups, d.limits.Groups)
		}
		v.groups[axis] = uint32(n)
	}
	var err error
	if v.program, err = d.program(l, f); err == nil {
		v.settings, err = v.program.settings(l)
	}
	return v, err
}

// dispatch issues one launch under a variant: whole, or piece by piece, in step with the device, until ctx ends.
func (d *Device) dispatch(ctx stdcontext.Context, c *command, v *variant) error {
	for unit, t := range c.textures {
		d.state.bindTexture(unit, t)
	}
	for binding, b := range c.storage {
		d.state.bindStorage(binding, b)
	}
	d.state.useProgram(v.program.id)
	v.program.apply(v.settings)
	if c.pieces < 2 || v.program.firstGroup < 0 {
		v.program.start(0)
		gl.DispatchCompute(v.groups[0], v.groups[1], v.groups[2])
		return nil
	}
	all := int(v.groups[0]) * int(v.groups[1]) * int(v.groups[2])
	piece := min((all+c.pieces-1)/c.pieces, d.limits.Groups[0])
	for first := 0; first < all; first += piece {
		if first > 0 {
			if err := d.pace(ctx); err != nil {
				return err
			}
		}
		v.program.start(first)
		gl.DispatchCompute(uint32(min(piece, all-first)), 1, 1)
	}
	return nil
}

// barrier makes what launches wrote visible to launches, reads and writes after it.
func barrier() {
	gl.MemoryBarrier(gl.TEXTURE_FETCH_BARRIER_BIT | gl.SHADER_STORAGE_BARRIER_BIT | gl.BUFFER_UPDATE_BARRIER_BIT)
}

// Run replays the plan: in holds every input by name, row-major; out receives the outputs named in it. It stops between
// chunks of launches when ctx ends, unless variables have begun to change.
func (e *Executable) Run(ctx stdcontext.Context, in, out map[string][]float32) error {
	if err := compute.CheckRun(e.plan, in, out); err != nil {
		return err
	}
	err := e.device.call(ctx, func() error {
		if !e.loaded {
			return errors.New("opengl: the plan has been closed")
		}
		e.upload(in)
		if err := e.replay(ctx); err != nil {
			return err
		}
		barrier()
		for _, o := range e.plan.Outputs {
			if dst, ok := out[o.Name]; ok {
				e.device.read(e.buffer(o.T), o.T.DType(), dst)
			}
		}
		if len(out) == 0 {
			gl.Finish() // nothing was read, and the caller still wants the run to be over
		}
		return e.device.glError("running a plan")
	})
	return e.device.refused(err, e.plan.SlotBytes()+e.plan.ParamBytes())
}

func (e *Executable) upload(in map[string][]float32) {
	barrier()
	for _, t := range e.plan.Inputs {
		e.device.write(e.buffer(t), t.DType(), in[t.Name()])
	}
}

// replay issues the commands, at most two chunks ahead of the device.
func (e *Executable) replay(ctx stdcontext.Context) error {
	d := e.device
	defer d.unpace()
	defer d.tuning.save()
	for i := range e.commands {
		c := &e.commands[i]
		if c.step >= e.plan.Updates { // variables change from here on: to the end
			ctx = stdcontext.WithoutCancel(ctx)
		}
		if d.info.Software || i == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if c.barrier {
			barrier()
		}
		if err := e.issue(ctx, c); err != nil {
			return err
		}
		if c.fence {
			if err := d.pace(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// issue runs one command; a launch whose forms are not yet timed is timed now, on its real operands.
func (e *Executable) issue(ctx stdcontext.Context, c *command) error {
	if c.stream != nil {
		if err := e.device.stream(c.stream, e.streams[c.stream.Src]); err != nil {
			return err
		}
	}
	switch {
	case c.host != nil:
		return c.host.run(e)
	case len(c.choices) > 0:
		return e.tune(ctx, c)
	}
	return e.device.dispatch(ctx, c, &c.variant)
}

// pace ends a chunk: it hands what was issued to the device, waits for the chunk before, and looks whether to stop.
func (d *Device) pace(ctx stdcontext.Context) error {
	before := d.pending
	d.pending = gl.FenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0)
	gl.Flush()
	if err := d.await(before); err != nil {
		return err
	}
	return ctx.Err()
}

// unpace forgets the last chunk's fence.
func (d *Device) unpace() {
	if d.pending != 0 {
		gl.DeleteSync(d.pending)
		d.pending = 0
	}
}

// await waits for a fence and deletes it; 0 is none.
func (d *Device) await(fence uintptr) error {
	if fence == 0 {
		return nil
	}
	defer gl.DeleteSync(fence)
	const second = 1_000_000_000
	for range 120 {
		switch gl.ClientWaitSync(fence, gl.SYNC_FLUSH_COMMANDS_BIT, second) {
		case gl.ALREADY_SIGNALED, gl.CONDITION_SATISFIED:
			return nil
		case gl.WAIT_FAILED:
			if err := d.glError("waiting for a launch"); err != nil {
				return err
			}
			return errors.New("opengl: the driver does not answer")
		}
	}
	d.lost = errors.New("opengl: the driver has not answered for two minutes: start the program again")
	return d.lost
}
