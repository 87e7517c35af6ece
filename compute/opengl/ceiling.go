//go:build cgo

package opengl

import (
	stdcontext "context"
	"time"

	"atelier/compute"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// Ceiling measures the best that this device does at a moment: what op timings are a share of. Close it.
type Ceiling struct {
	device  *Device
	out     *buffer // of the multiply-add kernel
	copy    ceilingLaunch
	buffers []*buffer
	flops   float64 // the best rate seen
}

// ceilingLaunch is a launch ready to be timed.
type ceilingLaunch struct {
	command command
	variant variant
}

const (
	// ceilingInvocations run the multiply-add kernel, in groups of 64.
	ceilingInvocations = 64 * 512
	// ceilingBytes are copied, beyond any cache that matters.
	ceilingBytes = 64 << 20
	// ceilingLeast is the least time that a multiply-add launch takes: long beside a launch's own cost.
	ceilingLeast = 2 * time.Millisecond
)

// Ceiling prepares both kernels.
func (d *Device) Ceiling(ctx stdcontext.Context) (*Ceiling, error) {
	c := &Ceiling{device: d}
	err := d.call(ctx, func() error {
		var err error
		if c.out, err = c.alloc(ceilingInvocations * 16); err == nil {
			err = c.prepareCopy()
		}
		return err
	})
	for rounds := 16; err == nil; rounds *= 4 {
		var seconds float64
		if _, seconds, err = c.fma(ctx, rounds); err == nil && seconds > ceilingLeast.Seconds() {
			return c, nil
		}
	}
	c.Close()
	return nil, err
}

// FLOPS is the multiply-adds on registers, two operations each, per second of one launch that takes about as long as asked.
func (c *Ceiling) FLOPS(ctx stdcontext.Context, about time.Duration) (float64, error) {
	rate, _, err := c.fma(ctx, int(max(about, ceilingLeast).Seconds()*c.flops/fmaFLOPs(1)))
	return rate, err
}

// Copy is the bytes read plus bytes written per second by one y = x.
func (c *Ceiling) Copy(ctx stdcontext.Context) (float64, error) {
	seconds, err := c.time(ctx, &c.copy)
	return 2 * ceilingBytes / seconds, err
}

// Close frees what the kernels work on.
func (c *Ceiling) Close() {
	_ = c.device.call(stdcontext.Background(), func() error { // a closed or lost device has freed them
		for _, b := range c.buffers {
			c.device.free(b)
		}
		c.buffers = nil
		return nil
	})
}

func (c *Ceiling) alloc(bytes int64) (*buffer, error) {
	b, err := c.device.alloc(bytes)
	if err == nil {
		c.buffers = append(c.buffers, b)
	}
	return b, err
}

// fmaFLOPs is the operations of the multiply-add kernel: in each round 16 steps of 3 vec4 chains.
func fmaFLOPs(rounds int) float64 { return ceilingInvocations * float64(rounds) * 16 * 3 * 4 * 2 }

// fma runs the multiply-add kernel and returns its rate and, in seconds, its time.
func (c *Ceiling) fma(ctx stdcontext.Context, rounds int) (rate, seconds float64, err error) {
	l := ceilingLaunch{command: command{
		launch: &compute.Launch{
			Shader:   "ceiling_fma",
			Writes:   []compute.Operand{{}},
			Uniforms: []compute.Uniform{compute.Int("rounds", max(rounds, 1)), compute.Float("seed", 1)},
			Groups:   [3]int{ceilingInvocations / 64, 1, 1},
		},
		storage: []uint32{c.out.id},
	}}
	err = c.device.call(ctx, func() error {
		var err error
		l.variant, err = c.device.variant(l.command.launch, nil)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	seconds, err = c.time(ctx, &l)
	rate = fmaFLOPs(max(rounds, 1)) / seconds
	c.flops = max(c.flops, rate)
	return rate, seconds, err
}

func (c *Ceiling) prepareCopy() error {
	from, err := c.alloc(ceilingBytes)
	if err != nil {
		return err
	}
	to, err := c.alloc(ceilingBytes)
	if err != nil {
		return err
	}
	zero := uint32(0)
	gl.BindBuffer(gl.COPY_WRITE_BUFFER, from.id)
	gl.ClearBufferData(gl.COPY_WRITE_BUFFER, gl.R32UI, gl.RED_INTEGER, gl.UNSIGNED_INT, gl.Ptr(&zero))
	c.copy.command = command{
		launch: &compute.Launch{
			Shader:   "ceiling_copy",
			Reads:    []compute.Operand{{Name: "X", Width: 4}},
			Writes:   []compute.Operand{{}},
			Uniforms: []compute.Uniform{compute.Int("texels", ceilingBytes/16)},
			Groups:   [3]int{ceilingBytes / 16 / 256, 1, 1},
		},
		textures: []uint32{c.device.view(from, compute.F32, 4)},
		storage:  []uint32{to.id},
	}
	if c.copy.variant, err = c.device.variant(c.copy.command.launch, nil); err != nil {
		return err
	}
	_, err = c.device.timeLaunch(&c.copy) // the first touches the pages of both buffers
	return err
}

func (c *Ceiling) time(ctx stdcontext.Context, l *ceilingLaunch) (float64, error) {
	seconds := 0.0
	err := c.device.call(ctx, func() error {
		var err error
		seconds, err = c.device.timeLaunch(l)
		return err
	})
	return seconds, err
}

// timeLaunch is the time of one launch, in seconds, with nothing else under way.
func (d *Device) timeLaunch(l *ceilingLaunch) (float64, error) {
	gl.Finish()
	start := time.Now()
	if err := d.dispatch(stdcontext.Background(), &l.command, &l.variant); err != nil {
		return 0, err
	}
	barrier()
	gl.Finish()
	return time.Since(start).Seconds(), d.glError("measuring")
}
