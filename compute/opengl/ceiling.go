package opengl

import (
	stdcontext "context"
	"math"
	"time"

	"atelier/compute"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// Ceiling is the best that this device does now, measured: what op timings are a share of.
type Ceiling struct {
	FLOPS float64 // multiply-adds on registers, two operations each, per second
	Copy  float64 // bytes read plus bytes written per second by y = x
}

// ceilingRounds is how often each ceiling kernel is timed; the best counts.
const ceilingRounds = 5

// Ceiling measures for about half a second.
func (d *Device) Ceiling(ctx stdcontext.Context) (Ceiling, error) {
	var c Ceiling
	err := d.call(ctx, func() error {
		var err error
		if c.FLOPS, err = d.ceilingFMA(); err == nil {
			c.Copy, err = d.ceilingCopy()
		}
		return err
	})
	return c, err
}

// ceilingFMA runs 64-wide groups of 3 vec4 multiply-add chains, longer until a launch takes 20 ms.
func (d *Device) ceilingFMA() (float64, error) {
	const invocations = 64 * 512
	out, err := d.alloc(invocations * 16)
	if err != nil {
		return 0, err
	}
	defer d.free(out)
	for rounds := 16; ; rounds *= 4 {
		l := &compute.Launch{
			Shader:   "ceiling_fma",
			Writes:   []compute.Operand{{}},
			Uniforms: []compute.Uniform{compute.Int("rounds", rounds), compute.Float("seed", 1)},
			Groups:   [3]int{invocations / 64, 1, 1},
		}
		seconds, err := d.timeLaunch(&command{launch: l, storage: []uint32{out.id}})
		if err != nil {
			return 0, err
		}
		if seconds > 0.02 || rounds > 1<<20 {
			return float64(invocations) * float64(rounds) * 16 * 3 * 4 * 2 / seconds, nil
		}
	}
}

// ceilingCopy copies 64 MiB, beyond any cache that matters.
func (d *Device) ceilingCopy() (float64, error) {
	const bytes = 64 << 20
	from, err := d.alloc(bytes)
	if err != nil {
		return 0, err
	}
	defer d.free(from)
	to, err := d.alloc(bytes)
	if err != nil {
		return 0, err
	}
	defer d.free(to)
	zero := uint32(0)
	gl.BindBuffer(gl.COPY_WRITE_BUFFER, from.id)
	gl.ClearBufferData(gl.COPY_WRITE_BUFFER, gl.R32UI, gl.RED_INTEGER, gl.UNSIGNED_INT, gl.Ptr(&zero))
	l := &compute.Launch{
		Shader:   "ceiling_copy",
		Reads:    []compute.Operand{{Name: "X", Width: 4}},
		Writes:   []compute.Operand{{}},
		Uniforms: []compute.Uniform{compute.Int("texels", bytes/16)},
		Groups:   [3]int{bytes / 16 / 256, 1, 1},
	}
	seconds, err := d.timeLaunch(&command{launch: l, textures: []uint32{d.view(from, compute.F32, 4)}, storage: []uint32{to.id}})
	if err != nil {
		return 0, err
	}
	return 2 * bytes / seconds, nil
}

// timeLaunch is the best time of a launch, in seconds, after one that only warms up.
func (d *Device) timeLaunch(c *command) (float64, error) {
	v, err := d.variant(c.launch, nil)
	if err != nil {
		return 0, err
	}
	best := math.Inf(1)
	for round := range ceilingRounds + 1 {
		gl.Finish()
		start := time.Now()
		if err := d.dispatch(stdcontext.Background(), c, &v); err != nil {
			return 0, err
		}
		barrier()
		gl.Finish()
		if round > 0 {
			best = min(best, time.Since(start).Seconds())
		}
	}
	return best, d.glError("measuring")
}
