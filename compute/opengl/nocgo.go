//go:build !cgo

// Package opengl runs plans on OpenGL 4.3 compute shaders. This build has no C compiler's help, which the bindings need: no
// device opens, and the processor computes.
package opengl

import (
	"context"
	"errors"
	"time"

	"atelier/compute"
)

var errNoCgo = errors.New("this program was built without OpenGL: build it with a C compiler (CGO_ENABLED=1)")

// Options of a device.
type Options struct {
	CacheDir    string
	MemoryLimit int64
	TuneForms   bool
}

// DefaultOptions is the zero value.
func DefaultOptions() Options { return Options{} }

// Info describes a driver; there is none.
type Info struct {
	Vendor, Renderer, Version, GLSL string
	Context                         string
	Software                        bool
}

// Driver is empty.
func (Info) Driver() string { return "" }

// Device is never opened.
type Device struct{}

// New fails.
func New(Options) (*Device, error) { return nil, errNoCgo }

// NewEGL fails.
func NewEGL(Options) (*Device, error) { return nil, errNoCgo }

// Name is empty.
func (*Device) Name() string { return "" }

// Info is empty.
func (*Device) Info() Info { return Info{} }

// Limits are those of a device without shaders.
func (*Device) Limits() compute.Limits { return compute.Limits{} }

// Memory is none.
func (*Device) Memory() (used, peak int64) { return 0, 0 }

// Warnings are none.
func (*Device) Warnings() []string { return nil }

// Distrust does nothing.
func (*Device) Distrust(...string) {}

// Close does nothing.
func (*Device) Close() {}

// Load fails.
func (*Device) Load(context.Context, *compute.Plan) (compute.Executable, error) { return nil, errNoCgo }

// Ceiling is never measured.
type Ceiling struct{}

// Ceiling fails.
func (*Device) Ceiling(context.Context) (*Ceiling, error) { return nil, errNoCgo }

// FLOPS fails.
func (*Ceiling) FLOPS(context.Context, time.Duration) (float64, error) { return 0, errNoCgo }

// Copy fails.
func (*Ceiling) Copy(context.Context) (float64, error) { return 0, errNoCgo }

// Close does nothing.
func (*Ceiling) Close() {}

// CheckOptions are the choices of RunChecked.
type CheckOptions struct {
	Tolerance float64
	Finite    bool
}

// RunChecked fails.
func RunChecked(context.Context, compute.Executable, map[string][]float32, CheckOptions) error {
	return errNoCgo
}
