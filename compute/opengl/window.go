package opengl

import (
	"fmt"
	"unsafe"

	"github.com/go-gl/glfw/v3.3/glfw"
)

// newWindow creates the hidden window whose context the device owns. It must run on the main thread. The returned function
// makes the context current on the thread that calls it.
//
// The window lives until glfw.Terminate, which the toolkit calls when the program ends: GLFW destroys windows on the main
// thread only, and Device.Close runs anywhere.
func newWindow() (func() (context, error), error) {
	if err := glfw.Init(); err != nil {
		return nil, fmt.Errorf("the window system is not available: %w", err)
	}
	glfw.DefaultWindowHints()
	glfw.WindowHint(glfw.Visible, glfw.False)
	glfw.WindowHint(glfw.ContextVersionMajor, 4)
	glfw.WindowHint(glfw.ContextVersionMinor, 3)
	glfw.WindowHint(glfw.OpenGLProfile, glfw.OpenGLCoreProfile)
	w, err := glfw.CreateWindow(16, 16, "atelier compute", nil, nil)
	glfw.DefaultWindowHints() // hints are global, and the toolkit's own windows must not inherit these
	if err != nil {
		return nil, fmt.Errorf("this display has no OpenGL 4.3: %w", err)
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
