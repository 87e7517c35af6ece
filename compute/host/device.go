// Package host runs plans on the processor: every op by its definition over all cores, dense products on gorgonia.org/tensor.
// It serves where OpenGL 4.3 is missing, and as the oracle in tests.
package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

	"atelier/compute"
)

// Options of a device. The zero value takes the machine as it is.
type Options struct {
	// MemoryLimit bounds what plans may hold, in bytes; 0 means three quarters of what the machine has free.
	MemoryLimit int64
	// Workers is the number of cores to use; 0 means all.
	Workers int
}

// Device runs definitions. All methods may be called from any goroutine.
type Device struct {
	opts Options
	pool *pool

	loading sync.Mutex // guards params and closed, for as long as decoding takes
	params  map[compute.Source]*param
	closed  bool

	counting   sync.Mutex // guards what is held, briefly
	used, peak int64
}

// param is a Source decoded once, shared by the plans that read it.
type param struct {
	values []float32
	users  int
}

// New starts a device and its workers.
func New(opts Options) *Device {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	return &Device{opts: opts, pool: newPool(opts.Workers), params: map[compute.Source]*param{}}
}

// Name is what a person reads.
func (d *Device) Name() string {
	return fmt.Sprintf("processor (%d cores)", d.opts.Workers)
}

// Limits says that ops are not lowered, and how much memory there is.
func (d *Device) Limits() compute.Limits {
	return compute.Limits{MemoryBytes: d.limit()}
}

// limit is what plans may hold in all, 0 if unknown.
func (d *Device) limit() int64 {
	if d.opts.MemoryLimit > 0 {
		return d.opts.MemoryLimit
	}
	if free := compute.AvailableMemory(); free > 0 {
		used, _ := d.Memory()
		return used + free/4*3
	}
	return 0
}

// Memory is the memory held by loaded plans now and at its peak, in bytes.
func (d *Device) Memory() (used, peak int64) {
	d.counting.Lock()
	defer d.counting.Unlock()
	return d.used, d.peak
}

// Close ends the workers and frees parameters.
func (d *Device) Close() {
	d.loading.Lock()
	defer d.loading.Unlock()
	if !d.closed {
		d.closed = true
		d.params = nil
		d.pool.close()
		used, _ := d.Memory()
		d.hold(-used)
	}
}

// errClosed answers calls to a device after Close.
var errClosed = errors.New("host: the device is closed")

// Load decodes the plan's parameters and reserves its slots, all as float32.
func (d *Device) Load(ctx context.Context, p *compute.Plan) (compute.Executable, error) {
	elements := slotElements(p)
	need := int64(0)
	for _, n := range elements {
		need += 4 * int64(n)
	}
	scratch := scratchElements(p, d.opts.Workers)
	need += 4 * int64(scratch)
	d.loading.Lock()
	defer d.loading.Unlock()
	if d.closed {
		return nil, errClosed
	}
	slots := need
	for _, t := range p.Params {
		if d.params[t.Src] == nil {
			need += 4 * int64(t.Shape().Size())
		}
	}
	used, _ := d.Memory()
	if limit := d.limit(); limit > 0 && need > limit-used {
		return nil, &compute.MemoryError{Device: d.Name(), Need: need, Available: max(limit-used, 0)}
	}
	if err := d.acquire(ctx, p.Params); err != nil {
		return nil, err
	}
	d.hold(slots)
	e := &executable{device: d, plan: p, slotBytes: slots}
	e.prepare(elements, make([]float32, scratch))
	return e, nil
}

// hold counts bytes taken, or given back where negative.
func (d *Device) hold(bytes int64) {
	d.counting.Lock()
	defer d.counting.Unlock()
	d.used += bytes
	d.peak = max(d.peak, d.used)
}

// acquire decodes parameters that are not yet here and counts this user; on failure it gives back what it took. The caller holds loading.
func (d *Device) acquire(ctx context.Context, ts []*compute.Tensor) error {
	var fresh []*compute.Tensor
	for i, t := range ts {
		n := t.Shape().Size()
		p := d.params[t.Src]
		if p == nil {
			p = &param{values: make([]float32, n)}
			d.params[t.Src] = p
			d.hold(4 * int64(n))
			fresh = append(fresh, t)
		}
		if len(p.values) != n {
			d.release(ts[:i])
			return fmt.Errorf("host: parameter %q has %d values in one plan and %d in another", t.Name(), len(p.values), n)
		}
		p.users++
	}
	errs := make([]error, len(fresh))
	d.pool.each(len(fresh), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			if errs[i] = ctx.Err(); errs[i] != nil {
				continue
			}
			values := d.params[fresh[i].Src].values
			if err := fresh[i].Src.Read(values); err != nil {
				errs[i] = fmt.Errorf("host: parameter %q: %w", fresh[i].Name(), err)
			} else if fresh[i].DType() == compute.F16 {
				roundToHalf(values)
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			d.release(ts)
			return err
		}
	}
	return nil
}

// roundToHalf gives values the precision of half floats, in which other devices store them.
func roundToHalf(values []float32) {
	for i, v := range values {
		bits := math.Float32bits(v)
		if exponent := bits >> 23 & 0xff; bits&0x1fff == 0 && exponent > 112 && exponent < 143 {
			continue // a half float already
		}
		values[i] = compute.HalfFloat(compute.HalfBits(v))
	}
}

// release gives parameters back; those without users are dropped. The caller holds loading.
func (d *Device) release(ts []*compute.Tensor) {
	for _, t := range ts {
		p := d.params[t.Src]
		if p == nil {
			continue
		}
		if p.users--; p.users <= 0 {
			d.hold(-4 * int64(len(p.values)))
			delete(d.params, t.Src)
		}
	}
}
