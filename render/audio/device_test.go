//go:build linux

package audio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The driver opens one device in a process, so each of these tests runs this test program once more, with an ALSA configuration
// of its own that needs no sound card.
const childVariable = "ATELIER_AUDIO_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(playOnce())
	}
	os.Exit(m.Run())
}

// playOnce is the child: it opens the device, plays the chime, waits until the device sleeps, and prints what happened.
func playOnce() int {
	p := New()
	start := time.Now()
	if err := p.Open(); err != nil {
		fmt.Println(err)
		again := New().Open()
		fmt.Println(again)
		p.Close()
		return 3
	}
	if err := p.Play(Chime()); err != nil {
		fmt.Println(err)
		return 4
	}
	for !p.ring.quiet() {
		if time.Since(start) > 30*time.Second {
			fmt.Println("the chime was not read")
			return 5
		}
		time.Sleep(time.Millisecond)
	}
	if err := p.Close(); err != nil {
		fmt.Println(err)
		return 6
	}
	fmt.Println("played")
	return 0
}

// child runs playOnce under an ALSA configuration.
func child(t *testing.T, config string) (code int, out, stderr string, took time.Duration) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "asound.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1", "ALSA_CONFIG_PATH="+path, "HOME="+dir)
	var stdout, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &errout
	start := time.Now()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), errout.String(), time.Since(start)
}

func TestWithoutAnyDevice(t *testing.T) {
	code, out, stderr, took := child(t, "")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	const want = "no sound device can be used; connect one and start the program again"
	if code != 3 || len(lines) != 2 || lines[0] != want || lines[1] != want {
		t.Errorf("exit %d, %q", code, out)
	}
	if stderr != "" {
		t.Errorf("standard error: %q", stderr)
	}
	if took > openPatience {
		t.Errorf("took %v", took)
	}
}

func TestWithTheNullDevice(t *testing.T) {
	code, out, stderr, took := child(t, "pcm.!default { type null }\n")
	if code != 0 || out != "played\n" || stderr != "" {
		t.Errorf("exit %d, %q, standard error %q", code, out, stderr)
	}
	t.Logf("took %v", took)
}

func TestDeviceGetsTheSamples(t *testing.T) {
	raw := filepath.Join(t.TempDir(), "played.raw")
	code, out, stderr, _ := child(t, fmt.Sprintf("pcm.!default { type file slave.pcm { type null } file %q format raw }\n", raw))
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, %q, standard error %q", code, out, stderr)
	}
	data, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	// This device takes samples as fast as they come, so silence stands between what the ring was asked for.
	var got, want []float32
	for ; len(data) >= 4; data = data[4:] {
		if v := math.Float32frombits(binary.LittleEndian.Uint32(data)); v != 0 {
			got = append(got, v)
		}
	}
	for _, v := range Chime() {
		if v != 0 {
			want = append(want, v)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d samples arrived, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("sample %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// A sound server that does not answer: opening a pipe that nobody reads from waits for ever.
func TestDeviceThatHangs(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr, took := child(t, fmt.Sprintf("pcm.!default { type file slave.pcm { type null } file %q format raw }\n", pipe))
	if code != 3 || !strings.HasPrefix(out, "the sound device did not answer within 3s; ") || stderr != "" {
		t.Errorf("exit %d, %q, standard error %q", code, out, stderr)
	}
	if took > openPatience+5*time.Second {
		t.Errorf("took %v", took)
	}
}
