//go:build cgo

package opengl

import (
	stdcontext "context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// windowEnv tells the test binary to open a device from a window, which needs the main thread, and to exit.
const windowEnv = "ATELIER_TEST_WINDOW"

func init() {
	runtime.LockOSThread() // keeps TestMain on the main thread
}

func TestMain(m *testing.M) {
	if os.Getenv(windowEnv) == "" {
		os.Exit(m.Run())
	}
	openIt := New
	if os.Getenv(windowEnv) == "window" {
		openIt = NewGLFW
	}
	d, err := openIt(Options{})
	if err != nil {
		os.Stdout.WriteString("failed: " + err.Error() + "\n")
		os.Exit(1)
	}
	rate := 0.0
	c, err := d.Ceiling(stdcontext.Background())
	if err == nil {
		rate, err = c.FLOPS(stdcontext.Background(), 0)
		c.Close()
	}
	if err != nil || rate <= 0 {
		os.Stdout.WriteString(fmt.Sprintf("failed: %v FLOP/s, %v\n", rate, err))
		os.Exit(1)
	}
	os.Stdout.WriteString(d.Info().Context + "\n")
	d.Close()
	os.Exit(0)
}

// child runs this binary as a program that opens a device, with these variables set.
func child(t *testing.T, how string, env ...string) string {
	t.Helper()
	c := exec.Command(os.Args[0])
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DISPLAY=") && !strings.HasPrefix(v, "WAYLAND_DISPLAY=") {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, append(env, windowEnv+"="+how)...)
	out, _ := c.CombinedOutput()
	return strings.TrimSpace(string(out))
}

func TestContexts(t *testing.T) {
	if got := child(t, "any"); !strings.HasPrefix(got, "EGL ") {
		t.Errorf("without a display: %q", got)
	}
	if got := child(t, "any", "DISPLAY=:93"); !strings.HasPrefix(got, "EGL ") {
		t.Errorf("with a display that is not there: %q", got)
	}
	xvfb, err := exec.LookPath("Xvfb")
	if err != nil {
		t.Fatal("Xvfb is missing: apt install xvfb")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x := exec.Command(xvfb, "-displayfd", "3", "-screen", "0", "640x480x24", "-nolisten", "tcp")
	x.ExtraFiles = []*os.File{w}
	if err := x.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer func() {
		x.Process.Kill()
		x.Wait()
	}()
	number := make([]byte, 16)
	n, err := r.Read(number)
	if err != nil {
		t.Fatalf("Xvfb names no display: %v", err)
	}
	display := "DISPLAY=:" + strings.TrimSpace(string(number[:n]))
	if got := child(t, "window", display); got != "window" {
		t.Errorf("from a window: %q", got)
	}
	if got := child(t, "any", display); !strings.HasPrefix(got, "EGL ") {
		t.Errorf("on a display whose driver is software: %q", got)
	}
}
