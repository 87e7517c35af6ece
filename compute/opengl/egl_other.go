//go:build cgo && !linux

package opengl

import (
	"fmt"
	"runtime"
)

// openEGL has no counterpart here: contexts come from a window.
func openEGL() (context, error) {
	return context{}, fmt.Errorf("OpenGL without a window is not available on %s", runtime.GOOS)
}
