//go:build cgo

package opengl

import (
	stdcontext "context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"atelier/compute"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// formTolerance is how far forms of a launch may differ, relative to the largest value.
const formTolerance = 1e-3

// formRounds is how often each form is timed; the best counts.
const formRounds = 3

// chooseForm gives c the form that the tuning file names for its shader and size, the only form that compiles, or, on
// software drivers, the first. Otherwise the choice is left to the first run.
func (d *Device) chooseForm(c *command) error {
	key, err := d.formKey(c.launch)
	if err != nil {
		return err
	}
	pick := d.tuning.forms[key]
	if pick == "" && d.info.Software && !d.opts.TuneForms {
		pick = c.launch.Forms[0].Name
	}
	variants, refused, err := d.variants(c.launch, pick)
	if err == nil && len(variants) == 0 && pick != "" { // it does not compile, or is not there any more
		variants, refused, err = d.variants(c.launch, "")
	}
	switch {
	case err != nil:
		return err
	case len(variants) == 0:
		return refused
	case len(variants) == 1:
		c.variant = variants[0]
	default:
		c.verdict, c.choices = key, variants
	}
	return nil
}

// variants builds the forms of a launch, or only the one of this name. Forms that do not compile are left out; refused is the
// last one's error.
func (d *Device) variants(l *compute.Launch, only string) (variants []variant, refused, err error) {
	for i := range l.Forms {
		f := &l.Forms[i]
		if only != "" && f.Name != only {
			continue
		}
		v, err := d.variant(l, f)
		if bad := (*compileError)(nil); errors.As(err, &bad) {
			d.warn("form %s of %s is not used: %v", f.Name, l.Shader, bad)
			refused = err
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		variants = append(variants, v)
	}
	return variants, refused, nil
}

// formKey identifies a choice: the sources of all forms, and the size to within a factor of four.
func (d *Device) formKey(l *compute.Launch) (string, error) {
	h := sha256.New()
	for i := range l.Forms {
		source, err := d.source(l.Shader, defines(l, &l.Forms[i]))
		if err != nil {
			return "", err
		}
		h.Write([]byte(source))
	}
	g := l.Forms[0].Groups
	size := bits.Len64(uint64(g[0])*uint64(g[1])*uint64(g[2])) / 2
	return fmt.Sprintf("%s %s %d", l.Shader, hex.EncodeToString(h.Sum(nil)[:8]), size), nil
}

// tune times the forms of c on its operands, keeps the fastest that agrees with the first, and leaves c's result computed.
// Every launch of the plan with the same key takes the verdict over.
func (e *Executable) tune(ctx stdcontext.Context, c *command) error {
	d := e.device
	form := d.tuning.forms[c.verdict]
	if form == "" {
		var err error
		if form, err = e.fastest(ctx, c); err != nil {
			return err
		}
		d.tuning.decide(c.verdict, form)
	}
	c.settle(form)
	return d.dispatch(ctx, c, &c.variant)
}

// fastest names the fastest form of c that agrees with the first.
func (e *Executable) fastest(ctx stdcontext.Context, c *command) (string, error) {
	d := e.device
	var want []float32
	best, bestTime := 0, time.Duration(math.MaxInt64)
	for i := range c.choices {
		v := &c.choices[i]
		e.spoil(c)
		if err := d.dispatch(ctx, c, v); err != nil { // the first time drivers finish compiling
			return "", err
		}
		barrier()
		got := e.results(c)
		if i == 0 {
			want = got
		} else if !agree(want, got) {
			d.warn("form %s of %s is not used: its result differs from form %s", v.form, c.launch.Shader, c.choices[0].form)
			continue
		}
		t, err := d.timeVariant(ctx, c, v)
		if err != nil {
			return "", err
		}
		if t < bestTime {
			best, bestTime = i, t
		}
	}
	return c.choices[best].form, d.glError("timing forms")
}

// spoil fills what c's launch writes with NaN, so that a form which writes nothing does not show another form's result.
func (e *Executable) spoil(c *command) {
	nan := ^uint32(0) // in either storage type
	for _, o := range c.launch.Writes {
		b, _ := e.operand(&e.plan.Steps[c.step], o)
		gl.BindBuffer(gl.COPY_WRITE_BUFFER, b.id)
		gl.ClearBufferData(gl.COPY_WRITE_BUFFER, gl.R32UI, gl.RED_INTEGER, gl.UNSIGNED_INT, gl.Ptr(&nan))
	}
}

// settle makes form the command's variant.
func (c *command) settle(form string) {
	for _, v := range c.choices {
		if v.form == form {
			c.variant = v
		}
	}
	if c.variant.program == nil { // a verdict for a form that does not compile any more
		c.variant = c.choices[0]
	}
	c.choices = nil
}

// timeVariant is the best time of a few launches.
func (d *Device) timeVariant(ctx stdcontext.Context, c *command, v *variant) (time.Duration, error) {
	best := time.Duration(math.MaxInt64)
	for range formRounds {
		gl.Finish()
		start := time.Now()
		if err := d.dispatch(ctx, c, v); err != nil {
			return 0, err
		}
		gl.Finish()
		best = min(best, time.Since(start))
	}
	barrier()
	return best, nil
}

// results reads everything that c's launch writes.
func (e *Executable) results(c *command) []float32 {
	var all []float32
	step := &e.plan.Steps[c.step]
	for _, o := range c.launch.Writes {
		b, dtype := e.operand(step, o)
		n := int(b.bytes) / dtype.Bytes()
		if o.T != nil {
			n = o.T.Shape().Size()
		}
		values := make([]float32, n)
		e.device.read(b, dtype, values)
		all = append(all, values...)
	}
	return all
}

// agree reports whether two results are the same within tolerance, NaN only where the other has it.
func agree(want, got []float32) bool {
	largest := 0.0
	for _, w := range want {
		if a := math.Abs(float64(w)); a > largest && !math.IsInf(a, 0) {
			largest = a
		}
	}
	for i, w := range want {
		w, g := float64(w), float64(got[i])
		if math.IsNaN(w) != math.IsNaN(g) {
			return false
		}
		if w != g && math.Abs(w-g) > formTolerance*largest {
			return false
		}
	}
	return true
}
