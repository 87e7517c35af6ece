// Package host runs plans on the processor: every op by its definition over all cores, dense products on gorgonia.org/tensor.
// It serves where OpenGL 4.3 is missing, and as the oracle in tests.
package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"atelier/compute"
	"atelier/compute/host/vector"
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
	opts   Options
	pool   *pool
	spaces chan *gemmSpace // a worker takes one for a task

	loading sync.Mutex // guards params, loaded and closed, for as long as decoding takes
	params  map[paramKey]*param
	loaded  map[*executable]bool
	closed  bool

	running sync.Mutex // held by a replay, and after loading by whoever changes what replays work in
	space   space

	counting   sync.Mutex // guards what is held, briefly
	used, peak int64
}

// New starts a device and its workers.
func New(opts Options) *Device {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	return &Device{opts: opts, pool: newPool(opts.Workers), spaces: newSpaces(opts.Workers), params: map[paramKey]*param{}, loaded: map[*executable]bool{}}
}

// Name is what a person reads.
func (d *Device) Name() string {
	return fmt.Sprintf("processor (%d cores, %s)", d.opts.Workers, vector.Name())
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

// Load decodes the plan's parameters and makes sure of its slots, as float32 but for the right sides of products, which keep their
// width. Parameters that do not fit are streamed: see compute.Streamed.
func (d *Device) Load(ctx context.Context, p *compute.Plan) (compute.Executable, error) {
	e := &executable{device: d, plan: p, elements: slotElements(p), scratch: scratchElements(p, d.opts.Workers)}
	e.order = compute.SlotOrder(e.elements)
	d.loading.Lock()
	defer d.loading.Unlock()
	if d.closed {
		return nil, errClosed
	}
	space := d.extent(e)
	need, uses := space.bytes()-d.space.bytes(), paramUses(p)
	for _, u := range uses {
		if d.params[u.paramKey] == nil {
			need += u.bytes()
		}
	}
	used, _ := d.Memory()
	if limit := d.limit(); limit > 0 && need > limit-used {
		hold, streams, window, ok := d.chooseStreams(p, uses, need-(limit-used))
		if !ok {
			return nil, &compute.MemoryError{Device: d.Name(), Need: need, Available: max(limit-used, 0)}
		}
		e.streams, e.window = streams, make([]float32, (window+3)/4)
		uses = hold
	}
	if err := d.acquire(ctx, uses); err != nil {
		return nil, err
	}
	e.uses = uses
	d.hold(e.windowBytes())
	d.running.Lock()
	defer d.running.Unlock()
	d.resize(space)
	e.prepare()
	d.loaded[e] = true
	return e, nil
}

// hold counts bytes taken, or given back where negative.
func (d *Device) hold(bytes int64) {
	d.counting.Lock()
	defer d.counting.Unlock()
	d.used += bytes
	d.peak = max(d.peak, d.used)
}
