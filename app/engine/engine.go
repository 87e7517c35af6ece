// Package engine opens the device that pictures are computed on, checks it, and says in plain words which one it is and why.
package engine

import (
	"fmt"
	"strings"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/compute/opengl"
)

// The choices of a device.
const (
	Auto   = "auto"
	OpenGL = "opengl"
	Host   = "host"
)

// Options of Open.
type Options struct {
	Choice      string // Auto, OpenGL or Host; empty means Auto
	MemoryLimit int64  // bytes that plans may hold; 0 means what the device reports
}

// Engine is an open device with what a person should know of it.
type Engine struct {
	Device compute.Device
	GL     *opengl.Device // nil on the host
	Reason string         // why OpenGL cannot be used although nobody asked for the host; else empty
	Why    string         // why this device and not the other, where both were compared

	health health
}

// Opening is a device that is open, and may still have to be compared with the other one.
type Opening struct {
	options Options
	engine  *Engine
	gl      *opengl.Device // to be compared with the processor; nil where there is nothing to choose
}

// Open opens the chosen device. Auto means the faster of both by a short comparison that is made once and kept, or the host
// where the driver offers no 4.3 compute shaders or computes wrongly.
//
// With a display it must run on the main thread, as opengl.New does.
func Open(o Options) (*Engine, error) {
	opening, err := Begin(o)
	if err != nil {
		return nil, err
	}
	return opening.Finish(), nil
}

// Begin is the part of Open that needs the main thread. It computes nothing.
func Begin(o Options) (*Opening, error) {
	if o.MemoryLimit < 0 {
		return nil, fmt.Errorf("a memory limit of %d bytes is less than nothing: give a whole number of megabytes, or 0 for what the driver says", o.MemoryLimit)
	}
	switch o.Choice {
	case Host:
		return &Opening{engine: hostEngine(o, "")}, nil
	case Auto, OpenGL, "":
	default:
		return nil, fmt.Errorf("there is no device %q: choose auto, opengl or host", o.Choice)
	}
	opts := opengl.DefaultOptions()
	opts.MemoryLimit = o.MemoryLimit
	gl, err := opengl.New(opts)
	if err == nil {
		if o.Choice == OpenGL {
			return &Opening{engine: glEngine(gl, "")}, nil
		}
		return &Opening{options: o, gl: gl}, nil
	}
	if o.Choice == OpenGL {
		return nil, fmt.Errorf("the opengl device does not open: %w; choose --device host to compute on the processor", err)
	}
	return &Opening{engine: hostEngine(o, err.Error())}, nil
}

// Finish compares the devices where both could be used, which takes half a second on a driver's first run, and gives the engine.
// It may run on any goroutine, once.
func (p *Opening) Finish() *Engine {
	if p.gl == nil {
		return p.engine
	}
	return faster(p.gl, p.options)
}

// faster gives the engine that a comparison of both devices chooses; where none can be made, OpenGL on a graphics processor and
// the host in place of a software driver.
func faster(gl *opengl.Device, o Options) *Engine {
	cpu := hostEngine(o, "")
	useHost, why := gl.Info().Software, ""
	if c, err := choose(gl, cpu.Device.(*host.Device)); err == nil {
		useHost, why = c.host(gl.Name())
	}
	if !useHost {
		cpu.Close()
		return glEngine(gl, why)
	}
	gl.Close()
	cpu.Why = why
	return cpu
}

func glEngine(gl *opengl.Device, why string) *Engine {
	e := &Engine{Device: gl, GL: gl, Why: why}
	e.applyVerdict()
	return e
}

func hostEngine(o Options, reason string) *Engine {
	e := &Engine{Device: host.New(host.Options{MemoryLimit: o.MemoryLimit}), Reason: reason}
	e.health.set(true, "")
	return e
}

// Status is what the status bar shows.
type Status struct {
	Name        string
	Health      string // a clause
	Detail      string // the whole story behind Health, where there is more
	OK          bool
	Unproven    bool  // not checked yet, or being checked
	Used, Total int64 // bytes of device memory; Total 0 means unknown
}

// Status gives the device's name and health as of now.
func (e *Engine) Status() Status {
	used, _ := e.Device.Memory()
	s := Status{Name: e.Device.Name(), Used: used, Total: e.Device.Limits().MemoryBytes}
	s.OK, s.Health = e.health.get()
	s.Unproven = e.health.unproven()
	if s.Health == "" || s.Health == "checked" {
		s.Detail = e.Why
		if s.Health == "" {
			s.Health = e.Why
		}
	}
	if e.Reason != "" {
		s.Health, s.Detail, s.OK = clause(e.Reason), e.Reason, false
	}
	if e.GL != nil {
		if w := e.GL.Warnings(); len(w) > 0 {
			s.OK, s.Unproven, s.Health, s.Detail = false, false, clause(w[0]), strings.Join(w, "; ")
			if n := len(w) - 1; n > 0 {
				s.Health += fmt.Sprintf(", and %d more", n)
			}
		}
	}
	return s
}

// clause is the front of a message, up to where it goes into particulars.
func clause(message string) string {
	front, _, _ := strings.Cut(message, ": ")
	return front
}

// Close frees the device.
func (e *Engine) Close() { e.Device.Close() }
