//go:build cgo

package opengl

import (
	stdcontext "context"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"atelier/compute"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// param is a Source on the device, shared by the plans that read it.
type param struct {
	buffer   *buffer
	elements int
	dtype    compute.DType
	users    int
}

// Parameters are filled in batches of this many bytes, mapped together so that several cores decode.
const batchBytes = 256 << 20

// acquire makes every parameter of ts resident and counts this user; on failure it gives back what it took.
func (d *Device) acquire(ctx stdcontext.Context, ts []*compute.Tensor) error {
	taken := 0
	var fresh []*compute.Tensor
	flush := func() error {
		err := d.fill(ctx, fresh)
		fresh = fresh[:0]
		return err
	}
	err := func() error {
		var bytes int64
		for _, t := range ts {
			n := t.Shape().Size()
			if p := d.params[t.Src]; p != nil {
				if p.elements != n {
					return fmt.Errorf("opengl: parameter %q has %d values in one plan and %d in another", t.Name(), p.elements, n)
				}
				p.users++
				taken++
				continue
			}
			b, err := d.alloc(t.Bytes())
			if err != nil {
				return err
			}
			d.params[t.Src] = &param{buffer: b, elements: n, dtype: t.DType(), users: 1}
			taken++
			fresh = append(fresh, t)
			if bytes += t.Bytes(); bytes >= batchBytes {
				bytes = 0
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return flush()
	}()
	if err != nil {
		d.release(ts[:taken])
	}
	return err
}

// release gives parameters back; those without users are freed.
func (d *Device) release(ts []*compute.Tensor) {
	for _, t := range ts {
		p := d.params[t.Src]
		if p == nil {
			continue
		}
		if p.users--; p.users == 0 {
			d.free(p.buffer)
			delete(d.params, t.Src)
		}
	}
}

// stream reads a parameter anew into a window that it shares with others.
func (d *Device) stream(t *compute.Tensor, window *buffer) error {
	gl.BindBuffer(gl.COPY_WRITE_BUFFER, window.id)
	to := gl.MapBufferRange(gl.COPY_WRITE_BUFFER, 0, int(t.Bytes()), gl.MAP_WRITE_BIT|gl.MAP_INVALIDATE_BUFFER_BIT)
	if to == nil {
		return fmt.Errorf("opengl: the driver gives no access to memory for parameter %q", t.Name())
	}
	var err error
	d.scratch, err = decode(t, to, d.scratch)
	gl.BindBuffer(gl.COPY_WRITE_BUFFER, window.id)
	if !gl.UnmapBuffer(gl.COPY_WRITE_BUFFER) && err == nil {
		err = fmt.Errorf("opengl: the driver lost parameter %q while it was written: load again", t.Name())
	}
	return err
}

// fill maps the buffers of fresh parameters, decodes into them on all cores, and unmaps them.
func (d *Device) fill(ctx stdcontext.Context, fresh []*compute.Tensor) error {
	mapped := make([]unsafe.Pointer, len(fresh))
	errs := make([]error, len(fresh))
	for i, t := range fresh {
		b := d.params[t.Src].buffer
		gl.BindBuffer(gl.COPY_WRITE_BUFFER, b.id)
		mapped[i] = gl.MapBufferRange(gl.COPY_WRITE_BUFFER, 0, int(b.bytes), gl.MAP_WRITE_BIT|gl.MAP_INVALIDATE_BUFFER_BIT)
		if mapped[i] == nil {
			errs[i] = fmt.Errorf("opengl: the driver gives no access to parameter %q", t.Name())
		}
	}
	var next atomic.Int64
	workers := min(runtime.GOMAXPROCS(0), len(fresh))
	done := make(chan struct{})
	for range workers {
		go func() {
			var scratch []float32
			for i := int(next.Add(1)) - 1; i < len(fresh); i = int(next.Add(1)) - 1 {
				if errs[i] == nil {
					if errs[i] = ctx.Err(); errs[i] == nil {
						scratch, errs[i] = decode(fresh[i], mapped[i], scratch)
					}
				}
			}
			done <- struct{}{}
		}()
	}
	for range workers {
		<-done
	}
	for i, t := range fresh {
		if mapped[i] == nil {
			continue
		}
		gl.BindBuffer(gl.COPY_WRITE_BUFFER, d.params[t.Src].buffer.id)
		if !gl.UnmapBuffer(gl.COPY_WRITE_BUFFER) && errs[i] == nil {
			errs[i] = fmt.Errorf("opengl: the driver lost parameter %q while it was written: load again", t.Name())
		}
	}
	for _, err := range errs {
		if err != nil {
			return err // the first is enough
		}
	}
	return d.glError("uploading parameters")
}

// decode writes t's values to mapped memory, which is only ever written, in t's storage type. It returns the scratch space
// for the next parameter.
func decode(t *compute.Tensor, to unsafe.Pointer, scratch []float32) ([]float32, error) {
	n := t.Shape().Size()
	if r, ok := t.Src.(compute.RawSource); ok {
		if err := r.ReadRaw(unsafe.Slice((*byte)(to), t.DType().Stored(n))); err != nil {
			return scratch, fmt.Errorf("opengl: parameter %q: %w", t.Name(), err)
		}
		return scratch, nil
	}
	if t.DType().Blocks() {
		return scratch, fmt.Errorf("opengl: parameter %q is %v, and its source gives no blocks", t.Name(), t.DType())
	}
	if cap(scratch) < n {
		scratch = make([]float32, n)
	}
	values := scratch[:n]
	if err := t.Src.Read(values); err != nil {
		return scratch, fmt.Errorf("opengl: parameter %q: %w", t.Name(), err)
	}
	if t.DType() == compute.F32 {
		copy(unsafe.Slice((*float32)(to), n), values)
		return scratch, nil
	}
	half := unsafe.Slice((*uint16)(to), n)
	for i, v := range values {
		half[i] = compute.HalfBits(v)
	}
	return scratch, nil
}
