//go:build cgo

package opengl

import (
	"errors"
	"fmt"
	"log"
	"strings"
	"unsafe"

	"github.com/go-gl/glfw/v3.3/glfw"
)

// newWindow creates the hidden window whose context the device owns. It must run on the main thread. The returned function
// makes the context current on the thread that calls it.
//
// The window lives until glfw.Terminate, which the toolkit calls when the program ends: GLFW destroys windows on the main
// thread only, and Device.Close runs anywhere.
func newWindow() (func() (context, error), error) {
	w, err := createWindow()
	if err != nil {
		return nil, err
	}
	return func() (context, error) {
		w.MakeContextCurrent()
		return context{
			kind:    "window",
			proc:    func(name string) unsafe.Pointer { return glfw.GetProcAddress(name) },
			release: glfw.DetachCurrentContext,
		}, nil
	}, nil
}

// createWindow turns everything that go-gl's GLFW does about failure (errors, panics, lines in the log) into errors.
func createWindow() (w *glfw.Window, err error) {
	var said strings.Builder
	before := log.Writer()
	log.SetOutput(&said)
	defer func() {
		log.SetOutput(before)
		if p := recover(); p != nil {
			err = fmt.Errorf("this display gives no window: %v", p)
		}
		// Platform errors are only logged: "2026/01/02 03:04:05 PlatformError: X11: …".
		if _, reason, ok := strings.Cut(strings.TrimSpace(said.String()), "PlatformError: "); ok && err != nil {
			err = fmt.Errorf("this display gives no window: %s", reason)
		}
	}()
	if err := glfw.Init(); err != nil {
		return nil, fmt.Errorf("the window system is not available: %w", err)
	}
	glfw.DefaultWindowHints()
	defer glfw.DefaultWindowHints() // hints are global, and the toolkit's own windows must not inherit these
	glfw.WindowHint(glfw.Visible, glfw.False)
	glfw.WindowHint(glfw.ContextVersionMajor, 4)
	glfw.WindowHint(glfw.ContextVersionMinor, 3)
	glfw.WindowHint(glfw.OpenGLProfile, glfw.OpenGLCoreProfile)
	// A driver that resets the device then says so, where it would otherwise end the program.
	glfw.WindowHint(glfw.ContextRobustness, glfw.LoseContextOnReset)
	w, err = glfw.CreateWindow(16, 16, "atelier compute", nil, nil)
	if err != nil {
		glfw.WindowHint(glfw.ContextRobustness, glfw.NoRobustness)
		w, err = glfw.CreateWindow(16, 16, "atelier compute", nil, nil)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("this display has no OpenGL 4.3: %w", err)
	case w == nil:
		return nil, errors.New("this display gives no window")
	}
	return w, nil
}
