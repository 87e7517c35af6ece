//go:build linux && !android

package audio

// #cgo pkg-config: alsa
// #cgo CFLAGS: -Wno-deprecated-declarations
//
// #include <alsa/asoundlib.h>
//
// static void drop(const char *file, int line, const char *function, int err, const char *format, ...) {
// 	(void)file; (void)line; (void)function; (void)err; (void)format;
// }
//
// static void quiet(void) { snd_lib_error_set_handler(drop); }
import "C"

// quietDriver keeps ALSA from writing to standard error. On a machine without a sound device it has a dozen lines to say there;
// what matters of them comes back as an error.
func quietDriver() { C.quiet() }
