package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// desk is a virtual display with the real program on it.
type desk struct {
	t       *testing.T
	display string
	dir     string // Xvfb's frame buffer file and the program's home
	program *exec.Cmd
	log     *os.File
	ended   chan error
}

// newDesk starts Xvfb at the given size. It fails the test where Xvfb or xdotool is missing: `make test` installs both.
func newDesk(t *testing.T, width, height int) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), ended: make(chan error, 1)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	x := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", fmt.Sprintf("%dx%dx24", width, height), "-fbdir", d.dir, "-nolisten", "tcp")
	x.ExtraFiles = []*os.File{w}
	if err := x.Start(); err != nil {
		t.Fatalf("Xvfb: %v (run make test, which installs it)", err)
	}
	w.Close()
	t.Cleanup(func() { x.Process.Kill(); x.Wait() })
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("Xvfb did not name its display: %v", err)
	}
	d.display = ":" + strings.TrimSpace(line)
	return d
}

// start runs the program with a home of its own; extra adds to its environment.
func (d *desk) start(bin string, extra ...string) {
	d.t.Helper()
	log, err := os.Create(filepath.Join(d.dir, "program.log"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.log = log
	d.program = exec.Command(bin)
	d.program.Env = append(cleanEnv(d.dir), append([]string{"DISPLAY=" + d.display}, extra...)...)
	d.program.Stdout, d.program.Stderr = log, log
	if err := d.program.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() { d.ended <- d.program.Wait() }()
	d.t.Cleanup(func() {
		d.program.Process.Kill()
		if d.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			d.t.Logf("the program said:\n%s", text)
		}
		log.Close()
	})
}

// cleanEnv is this process's environment without a display, with every user folder below home.
func cleanEnv(home string) []string {
	env := []string{"HOME=" + home, "XDG_PICTURES_DIR=" + home + "/Pictures", "XDG_CONFIG_HOME=" + home + "/.config", "XDG_DATA_HOME=" + home + "/.local/share", "XDG_STATE_HOME=" + home + "/.local/state"}
	for _, kv := range os.Environ() {
		k, _, _ := strings.Cut(kv, "=")
		if k != "DISPLAY" && k != "WAYLAND_DISPLAY" && k != "HOME" && !strings.HasPrefix(k, "XDG_") {
			env = append(env, kv)
		}
	}
	// Compiled kernels are the machine's, not the person's: keeping them makes the test quick.
	if cache, err := os.UserCacheDir(); err == nil {
		env = append(env, "XDG_CACHE_HOME="+cache)
	}
	return env
}

// do sends keys and clicks.
func (d *desk) do(args ...string) string {
	d.t.Helper()
	cmd := exec.Command("xdotool", args...)
	cmd.Env = append(os.Environ(), "DISPLAY="+d.display)
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("xdotool %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// window waits for the program's window, focuses it and gives its id.
func (d *desk) window(within time.Duration) string {
	d.t.Helper()
	var id string
	d.wait(within, "a window", func() bool {
		cmd := exec.Command("xdotool", "search", "--onlyvisible", "--name", "Atelier")
		cmd.Env = append(os.Environ(), "DISPLAY="+d.display)
		out, _ := cmd.Output()
		id, _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
		return id != ""
	})
	d.do("windowfocus", id)
	return id
}

// wait polls until ok holds; it fails the test when it does not, or when the program ends.
func (d *desk) wait(within time.Duration, what string, ok func() bool) {
	d.t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		select {
		case err := <-d.ended:
			d.t.Fatalf("the program ended while we waited for %s: %v", what, err)
		default:
		}
	}
	d.t.Fatalf("no %s within %v", what, within)
}

// screen reads Xvfb's frame buffer, which is a file in the X window dump format.
func (d *desk) screen() *image.RGBA {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, "Xvfb_screen0"))
	if err != nil {
		d.t.Fatal(err)
	}
	field := func(i int) int { return int(binary.BigEndian.Uint32(b[4*i:])) }
	w, h, stride, pixels := field(4), field(5), field(12), b[field(0)+12*field(19):]
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p := pixels[y*stride+4*x:]
			img.SetRGBA(x, y, color.RGBA{p[2], p[1], p[0], 255})
		}
	}
	return img
}
