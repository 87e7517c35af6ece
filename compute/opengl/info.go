//go:build cgo

package opengl

import (
	"fmt"
	"math"
	"strings"

	"atelier/compute"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// Info describes the driver and what it can do.
type Info struct {
	Vendor, Renderer, Version, GLSL string
	Context                         string // where the context comes from, such as "window" or "EGL surfaceless"
	Major, Minor                    int
	Software                        bool  // shaders run on the processor
	MemoryBytes                     int64 // what plans may use; 0 if unknown
	TextureUnits, StorageBindings   int   // operands and results of one launch
}

// Name is what a person reads, such as "OpenGL 4.5 llvmpipe".
func (i Info) Name() string {
	renderer, _, _ := strings.Cut(i.Renderer, "(")
	renderer, _, _ = strings.Cut(renderer, "/")
	return fmt.Sprintf("OpenGL %d.%d %s", i.Major, i.Minor, strings.TrimSpace(renderer))
}

// Driver identifies the driver exactly; caches are keyed by it.
func (i Info) Driver() string {
	return strings.Join([]string{i.Vendor, i.Renderer, i.Version, i.GLSL}, "\n")
}

// softwareNames are renderers that run on the processor.
var softwareNames = []string{"llvmpipe", "softpipe", "swrast", "software rasterizer", "lavapipe", "microsoft basic render", "gdi generic", "swiftshader"}

func isSoftware(renderer string) bool {
	r := strings.ToLower(renderer)
	for _, s := range softwareNames {
		if strings.Contains(r, s) {
			return true
		}
	}
	return false
}

func readInfo(kind string) Info {
	str := func(name uint32) string {
		if p := gl.GetString(name); p != nil {
			return gl.GoStr(p)
		}
		return ""
	}
	i := Info{
		Vendor: str(gl.VENDOR), Renderer: str(gl.RENDERER), Version: str(gl.VERSION), GLSL: str(gl.SHADING_LANGUAGE_VERSION),
		Context: kind,
		Major:   integer(gl.MAJOR_VERSION), Minor: integer(gl.MINOR_VERSION),
		TextureUnits: integer(gl.MAX_COMPUTE_TEXTURE_IMAGE_UNITS), StorageBindings: integer(gl.MAX_COMPUTE_SHADER_STORAGE_BLOCKS),
	}
	i.Software = isSoftware(i.Renderer)
	return i
}

func integer(name uint32) int {
	var v int32
	gl.GetIntegerv(name, &v)
	return int(v)
}

func integer64(name uint32) int64 {
	var v int64
	gl.GetInteger64v(name, &v)
	return v
}

func readLimits() compute.Limits {
	lim := compute.Limits{
		Shaders:       true,
		SharedBytes:   integer(gl.MAX_COMPUTE_SHARED_MEMORY_SIZE),
		Invocations:   integer(gl.MAX_COMPUTE_WORK_GROUP_INVOCATIONS),
		StorageBytes:  integer64(gl.MAX_SHADER_STORAGE_BLOCK_SIZE),
		TextureTexels: int64(integer(gl.MAX_TEXTURE_BUFFER_SIZE)),
	}
	if lim.StorageBytes <= 0 {
		lim.StorageBytes = math.MaxInt32
	}
	for axis := range lim.Groups {
		var n int32
		gl.GetIntegeri_v(gl.MAX_COMPUTE_WORK_GROUP_COUNT, uint32(axis), &n)
		lim.Groups[axis] = int(n)
	}
	return lim
}

// Sizes that drivers report, in kB: GL_NVX_gpu_memory_info and GL_ATI_meminfo.
const (
	nvxAvailable = 0x9049 // GPU_MEMORY_INFO_CURRENT_AVAILABLE_VIDMEM_NVX
	atiTexture   = 0x87FC // TEXTURE_FREE_MEMORY_ATI: four integers, the first is the free pool
)

// memoryLimit is what plans may hold in all: the options' word, else what is free now beside what is held, 0 if unknown.
// It runs on the GL goroutine.
func (d *Device) memoryLimit() int64 {
	if d.opts.MemoryLimit > 0 {
		return d.opts.MemoryLimit
	}
	used, _ := d.Memory()
	if !d.info.Software {
		switch {
		case hasExtension("GL_NVX_gpu_memory_info"):
			return used + int64(integer(nvxAvailable))*1024
		case hasExtension("GL_ATI_meminfo"):
			var v [4]int32
			gl.GetIntegerv(atiTexture, &v[0])
			return used + int64(v[0])*1024
		}
	}
	// The processor's own memory, also that of integrated graphics, whose drivers do not tell.
	if free := compute.AvailableMemory(); free > 0 {
		return used + free/4*3
	}
	return 0
}

// resetStatus asks the driver whether it reset the device, nil where it does not tell.
func resetStatus() func() uint32 {
	switch {
	case hasExtension("GL_KHR_robustness"):
		return gl.GetGraphicsResetStatusKHR
	case hasExtension("GL_ARB_robustness"):
		return gl.GetGraphicsResetStatusARB
	}
	return nil
}

func hasExtension(name string) bool {
	for i := range integer(gl.NUM_EXTENSIONS) {
		if gl.GoStr(gl.GetStringi(gl.EXTENSIONS, uint32(i))) == name {
			return true
		}
	}
	return false
}
