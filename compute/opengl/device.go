//go:build cgo

// Package opengl runs plans on OpenGL 4.3 core compute shaders.
//
// One goroutine, locked to its thread for good, owns the context and makes every gl call; everything else sends it work.
// Launches read operands through buffer textures and write results to storage buffers.
package opengl

import (
	stdcontext "context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"atelier/compute"
	"atelier/shaders"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// Options of a device. The zero value keeps nothing on disk and asks the driver for its memory.
type Options struct {
	// CacheDir keeps linked programs and the verdicts on forms between runs; empty means nowhere.
	CacheDir string
	// MemoryLimit bounds what plans may hold, in bytes; 0 means what the driver or the machine reports.
	MemoryLimit int64
	// TuneForms times a launch's forms on software drivers too, where otherwise the first form is taken.
	TuneForms bool
}

// DefaultOptions keeps caches in the person's cache folder ($XDG_CACHE_HOME/atelier and its counterparts).
func DefaultOptions() Options {
	dir, err := os.UserCacheDir()
	if err != nil {
		return Options{}
	}
	return Options{CacheDir: filepath.Join(dir, "atelier")}
}

// Device is an OpenGL context with the programs and parameters loaded into it. All methods may be called from any goroutine.
type Device struct {
	opts   Options
	info   Info
	limits compute.Limits
	source func(name string, defines map[string]string) (string, error)
	files  func(name, log string) string

	tasks     chan task
	stopped   chan struct{} // closed when the GL goroutine has ended
	closeOnce sync.Once

	mu         sync.Mutex
	used, peak int64
	warnings   []string
	distrusted map[string]bool // ops that run by their definitions

	// The rest belongs to the GL goroutine.
	programs map[string]*program
	failed   map[string]error // programs that do not compile
	params   map[compute.Source]*param
	loaded   map[*Executable]bool
	slots    []*buffer // that loaded plans take turns in, the largest first: see compute.SharedSlots
	scratch  []float32 // decoded values of a streamed parameter
	state    glState
	pending  uintptr // fence of the last chunk of launches; 0 is none
	binaries *diskCache
	tuning   *tuningFile
	lost     error
	reset    func() uint32 // the context's reset status, 0 while all is well; nil where the driver does not tell
}

// context is an OpenGL context that is current on the GL goroutine's thread.
type context struct {
	kind    string
	proc    func(name string) unsafe.Pointer
	release func()
}

type task struct {
	do   func() error
	done chan error
}

// errClosed answers calls to a device after Close.
var errClosed = errors.New("opengl: the device is closed")

// New opens a device: from a hidden window where there is a display, else, or where the display has no OpenGL 4.3, from EGL.
// So it does where the window's driver is software: the contexts of one display share Mesa's screen, and llvmpipe then reads a
// shader that is gone when the toolkit draws while a kernel starts (a crash in glDispatchCompute, Mesa 22.3).
// With a display it must be called on the main thread. The error is one sentence for a person.
func New(opts Options) (*Device, error) {
	reason := ""
	if hasDisplay() {
		d, err := NewGLFW(opts)
		if err == nil && !d.Info().Software {
			return d, nil
		}
		if err == nil {
			if own, err := NewEGL(opts); err == nil {
				d.Close()
				return own, nil
			}
			return d, nil
		}
		reason = errors.Unwrap(err).Error() + "; "
	}
	d, err := NewEGL(opts)
	if err != nil {
		return nil, fmt.Errorf("OpenGL 4.3 is not available: %s%w", reason, errors.Unwrap(err))
	}
	return d, nil
}

// hasDisplay reports whether windows can be opened.
func hasDisplay() bool {
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

// NewEGL opens a device without a window (Linux).
func NewEGL(opts Options) (*Device, error) {
	return open(opts, openEGL)
}

// NewGLFW opens a device from a hidden window. It must be called on the main thread; the context then moves to the device's
// own thread, and the main thread is free.
func NewGLFW(opts Options) (*Device, error) {
	current, err := newWindow()
	if err != nil {
		return nil, fmt.Errorf("opengl: %w", err)
	}
	return open(opts, current)
}

func open(opts Options, current func() (context, error)) (*Device, error) {
	d := &Device{
		opts: opts, source: shaders.Source, files: shaders.MapLog,
		tasks: make(chan task), stopped: make(chan struct{}),
		programs: map[string]*program{}, failed: map[string]error{}, params: map[compute.Source]*param{}, loaded: map[*Executable]bool{},
	}
	ready := make(chan error)
	go d.loop(current, ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("opengl: %w", err)
	}
	return d, nil
}

// loop is the GL goroutine. It never unlocks its thread: the runtime ends the thread with the goroutine.
func (d *Device) loop(current func() (context, error), ready chan<- error) {
	runtime.LockOSThread()
	defer close(d.stopped)
	ctx, err := current()
	if err != nil {
		ready <- err
		return
	}
	defer ctx.release()
	if err := acquireGL(ctx.proc); err != nil {
		ready <- err
		return
	}
	defer releaseGL()
	d.begin(ctx)
	ready <- nil
	for t := range d.tasks {
		if t.do == nil {
			d.freeAll()
			t.done <- nil
			return
		}
		if d.lost != nil {
			t.done <- d.lost
			continue
		}
		t.done <- t.do()
	}
}

// begin reads limits and opens caches.
func (d *Device) begin(ctx context) {
	d.info = readInfo(ctx.kind)
	d.limits = readLimits()
	d.limits.MemoryBytes = d.memoryLimit()
	d.info.MemoryBytes = d.limits.MemoryBytes
	d.state = newState()
	d.reset = resetStatus()
	driver := sha256.Sum256([]byte(d.info.Driver()))
	d.binaries = openDiskCache(d.opts.CacheDir, driver)
	d.tuning = openTuning(d.opts.CacheDir, driver)
}

// glUsers counts devices: go-gl keeps entry points in package variables, which must not change while a device uses them.
var (
	glMutex sync.Mutex
	glUsers int
)

func acquireGL(proc func(string) unsafe.Pointer) error {
	glMutex.Lock()
	defer glMutex.Unlock()
	if glUsers == 0 {
		if err := gl.InitWithProcAddrFunc(proc); err != nil {
			return fmt.Errorf("the driver lacks OpenGL 4.3: %w", err)
		}
	}
	glUsers++
	return nil
}

func releaseGL() {
	glMutex.Lock()
	glUsers--
	glMutex.Unlock()
}

// call runs do on the GL goroutine and waits for it. It gives up only while do has not begun: do itself watches ctx.
func (d *Device) call(ctx stdcontext.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := task{do: do, done: make(chan error, 1)}
	select {
	case d.tasks <- t:
		return <-t.done
	case <-ctx.Done():
		return ctx.Err()
	case <-d.stopped:
		return errClosed
	}
}

// Name is what a person reads, such as "OpenGL 4.5 llvmpipe".
func (d *Device) Name() string { return d.info.Name() }

// Info describes the driver.
func (d *Device) Info() Info { return d.info }

// Limits is what Compile needs to know.
func (d *Device) Limits() compute.Limits { return d.limits }

// Memory is the device memory held now and at its peak, in bytes.
func (d *Device) Memory() (used, peak int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used, d.peak
}

// Warnings lists what went wrong and was worked round, such as a shader that the driver does not compile.
func (d *Device) Warnings() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.warnings...)
}

// Distrust makes plans loaded from now on run these ops by their definitions, on the processor: their shaders compile on
// this driver and compute something else. It replaces the ops named before; none trusts every shader again.
func (d *Device) Distrust(ops ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.distrusted = map[string]bool{}
	for _, op := range ops {
		d.distrusted[op] = true
	}
}

func (d *Device) trusts(op string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.distrusted[op]
}

func (d *Device) warn(format string, args ...any) {
	w := fmt.Sprintf(format, args...)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, have := range d.warnings {
		if have == w {
			return
		}
	}
	d.warnings = append(d.warnings, w)
}

// Close frees everything. Executables of the device then answer with an error.
func (d *Device) Close() {
	d.closeOnce.Do(func() {
		t := task{done: make(chan error, 1)}
		select {
		case d.tasks <- t:
			<-t.done
		case <-d.stopped:
		}
		<-d.stopped
	})
}

// freeAll deletes what loaded plans left behind.
func (d *Device) freeAll() {
	for _, p := range d.params {
		d.free(p.buffer)
	}
	for _, p := range d.programs {
		gl.DeleteProgram(p.id)
	}
	for _, b := range d.slots {
		d.free(b)
	}
	d.params, d.programs, d.slots = nil, nil, nil
	d.mu.Lock()
	d.used = 0
	d.mu.Unlock()
}

// glError gives the driver's pending errors as one, nil if there are none. A lost context stays lost.
func (d *Device) glError(doing string) error {
	var first uint32
	for range 16 {
		code := gl.GetError()
		if code == gl.NO_ERROR {
			break
		}
		if first == 0 || code == contextLost {
			first = code
		}
	}
	if d.reset != nil && d.reset() != gl.NO_ERROR {
		first = contextLost
	}
	switch first {
	case 0:
		return nil
	case gl.OUT_OF_MEMORY:
		return errOutOfMemory
	case contextLost:
		d.lost = fmt.Errorf("opengl: the driver reset the device while %s: start the program again", doing)
		return d.lost
	}
	return fmt.Errorf("opengl: the driver reports error 0x%04x while %s", first, doing)
}

// contextLost is GL_CONTEXT_LOST (OpenGL 4.5, KHR_robustness).
const contextLost = 0x0507

// errOutOfMemory is GL_OUT_OF_MEMORY; refused turns it into a compute.MemoryError.
var errOutOfMemory = errors.New("opengl: the driver is out of memory")

// refused makes a driver's lack of memory a compute.MemoryError about need bytes; other errors stay.
func (d *Device) refused(err error, need int64) error {
	if errors.Is(err, errOutOfMemory) {
		return &compute.MemoryError{Device: d.Name(), Need: need}
	}
	return err
}
