//go:build cgo && linux

package opengl

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// EGL is opened at run time, so that the program starts on machines without it. Types and values as in the EGL 1.5 registry.
typedef void *handle;
typedef int32_t EGLint;
enum {
	EGL_SURFACE_TYPE = 0x3033, EGL_PBUFFER_BIT = 1, EGL_RENDERABLE_TYPE = 0x3040, EGL_OPENGL_BIT = 8, EGL_NONE = 0x3038,
	EGL_EXTENSIONS = 0x3055, EGL_HEIGHT = 0x3056, EGL_WIDTH = 0x3057, EGL_OPENGL_API = 0x30A2,
	EGL_CONTEXT_MAJOR_VERSION = 0x3098, EGL_CONTEXT_MINOR_VERSION = 0x30FB,
	EGL_CONTEXT_OPENGL_PROFILE_MASK = 0x30FD, EGL_CONTEXT_OPENGL_CORE_PROFILE_BIT = 1,
	EGL_PLATFORM_SURFACELESS_MESA = 0x31DD, EGL_PLATFORM_DEVICE_EXT = 0x313F,
};

static struct {
	handle lib;
	handle (*GetProcAddress)(const char *);
	handle (*GetDisplay)(handle);
	unsigned (*Initialize)(handle, EGLint *, EGLint *);
	unsigned (*BindAPI)(unsigned);
	const char *(*QueryString)(handle, EGLint);
	unsigned (*ChooseConfig)(handle, const EGLint *, handle *, EGLint, EGLint *);
	handle (*CreateContext)(handle, handle, handle, const EGLint *);
	handle (*CreatePbufferSurface)(handle, handle, const EGLint *);
	unsigned (*MakeCurrent)(handle, handle, handle, handle);
	unsigned (*DestroyContext)(handle, handle);
	unsigned (*DestroySurface)(handle, handle);
	EGLint (*GetError)(void);
} egl;

static int egl_load(void) {
	if (egl.lib) return 1;
	handle lib = dlopen("libEGL.so.1", RTLD_NOW | RTLD_GLOBAL);
	if (!lib) return 0;
#define SYM(name) if (!(*(void **)&egl.name = dlsym(lib, "egl" #name))) return 0;
	SYM(GetProcAddress) SYM(GetDisplay) SYM(Initialize) SYM(BindAPI) SYM(QueryString) SYM(ChooseConfig) SYM(CreateContext)
	SYM(CreatePbufferSurface) SYM(MakeCurrent) SYM(DestroyContext) SYM(DestroySurface) SYM(GetError)
#undef SYM
	egl.lib = lib;
	return 1;
}

// egl_display gives the display of way 0 (surfaceless), 1 (first device), 2 (default), or NULL.
static handle egl_display(int way) {
	handle (*platform)(unsigned, handle, const EGLint *) =
		(handle (*)(unsigned, handle, const EGLint *))egl.GetProcAddress("eglGetPlatformDisplayEXT");
	const char *client = egl.QueryString(NULL, EGL_EXTENSIONS);
	if (way == 2) return egl.GetDisplay(NULL);
	if (!platform || !client) return NULL;
	if (way == 0) return strstr(client, "EGL_MESA_platform_surfaceless") ? platform(EGL_PLATFORM_SURFACELESS_MESA, NULL, NULL) : NULL;
	unsigned (*query)(EGLint, handle *, EGLint *) =
		(unsigned (*)(EGLint, handle *, EGLint *))egl.GetProcAddress("eglQueryDevicesEXT");
	handle device;
	EGLint n = 0;
	if (!query || !strstr(client, "EGL_EXT_platform_device") || !query(1, &device, &n) || n < 1) return NULL;
	return platform(EGL_PLATFORM_DEVICE_EXT, device, NULL);
}

typedef struct { handle display, context, surface; } egl_context;

// egl_open makes an OpenGL 4.3 core context current on this thread. It returns NULL, or what failed.
static const char *egl_open(int way, egl_context *c) {
	memset(c, 0, sizeof *c);
	EGLint n = 0;
	handle config = NULL;
	if (!(c->display = egl_display(way))) return "no display";
	if (!egl.Initialize(c->display, NULL, NULL)) return "eglInitialize";
	if (!egl.BindAPI(EGL_OPENGL_API)) return "eglBindAPI";
	const EGLint want[] = {EGL_SURFACE_TYPE, EGL_PBUFFER_BIT, EGL_RENDERABLE_TYPE, EGL_OPENGL_BIT, EGL_NONE};
	if (!egl.ChooseConfig(c->display, want, &config, 1, &n) || n < 1) return "eglChooseConfig";
	const EGLint attributes[] = {EGL_CONTEXT_MAJOR_VERSION, 4, EGL_CONTEXT_MINOR_VERSION, 3,
		EGL_CONTEXT_OPENGL_PROFILE_MASK, EGL_CONTEXT_OPENGL_CORE_PROFILE_BIT, EGL_NONE};
	if (!(c->context = egl.CreateContext(c->display, config, NULL, attributes))) return "no OpenGL 4.3 core context";
	const char *extensions = egl.QueryString(c->display, EGL_EXTENSIONS);
	if (!extensions || !strstr(extensions, "EGL_KHR_surfaceless_context")) {
		const EGLint size[] = {EGL_WIDTH, 1, EGL_HEIGHT, 1, EGL_NONE};
		c->surface = egl.CreatePbufferSurface(c->display, config, size);
	}
	if (!egl.MakeCurrent(c->display, c->surface, c->surface, c->context)) {
		egl.DestroyContext(c->display, c->context);
		return "eglMakeCurrent";
	}
	return NULL;
}

// egl_close destroys the context. The display stays: it is the process's one, and other contexts may live on it.
static void egl_close(egl_context *c) {
	egl.MakeCurrent(c->display, NULL, NULL, NULL);
	if (c->surface) egl.DestroySurface(c->display, c->surface);
	egl.DestroyContext(c->display, c->context);
}

static void *egl_proc(const char *name) { return egl.GetProcAddress(name); }
static unsigned egl_error(void) { return (unsigned)egl.GetError(); }
*/
import "C"

import (
	"fmt"
	"strings"
	"sync"
	"unsafe"
)

// eglMutex serialises opening contexts: EGL's displays are per process.
var eglMutex sync.Mutex

// openEGL makes a windowless OpenGL 4.3 context current on the calling thread: on Mesa's surfaceless platform, else on the
// first EGL device, else on the default display.
func openEGL() (context, error) {
	eglMutex.Lock()
	defer eglMutex.Unlock()
	if C.egl_load() == 0 {
		return context{}, fmt.Errorf("libEGL.so.1 is missing (Debian: apt install libegl1 libgl1-mesa-dri)")
	}
	var failed []string
	for way, name := range []string{"surfaceless", "device", "default display"} {
		c := new(C.egl_context)
		what := C.egl_open(C.int(way), c)
		if what == nil {
			return context{
				kind: "EGL " + name,
				proc: eglProc,
				release: func() {
					eglMutex.Lock()
					defer eglMutex.Unlock()
					C.egl_close(c)
				},
			}, nil
		}
		failed = append(failed, fmt.Sprintf("%s: %s (0x%x)", name, C.GoString(what), uint(C.egl_error())))
	}
	return context{}, fmt.Errorf("EGL gives no OpenGL 4.3 context: %s", strings.Join(failed, ", "))
}

func eglProc(name string) unsafe.Pointer {
	b := append([]byte(name), 0)
	return unsafe.Pointer(C.egl_proc((*C.char)(unsafe.Pointer(&b[0]))))
}
