package audio

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeDevice reads from the ring when a test asks it to, unless it is suspended.
type fakeDevice struct {
	source io.Reader
	failed chan struct{} // closed when the device has gone

	mu        sync.Mutex
	suspended bool
	resumes   int
}

func (d *fakeDevice) Suspend() error { return d.set(true) }
func (d *fakeDevice) Resume() error  { return d.set(false) }

func (d *fakeDevice) set(suspended bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.suspended && !suspended {
		d.resumes++
	}
	d.suspended = suspended
	return nil
}

func (d *fakeDevice) asleep() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.suspended
}

func (d *fakeDevice) Err() error {
	select {
	case <-d.failed:
		return errors.New("driver: unplugged")
	default:
		return nil
	}
}

// withDevice gives an opened player and the device behind it.
func withDevice(t *testing.T) (*Player, *fakeDevice) {
	t.Helper()
	d := &fakeDevice{failed: make(chan struct{})}
	ready := make(chan struct{})
	close(ready)
	p := newPlayer(func(source io.Reader) (device, <-chan struct{}, error) {
		d.source = source
		return d, ready, nil
	}, time.Second)
	if err := p.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, d
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestDeviceSleepsWhenNothingPlays(t *testing.T) {
	p, d := withDevice(t)
	if !d.asleep() {
		t.Error("awake before the first sound")
	}
	for round := range 3 {
		if err := p.Play([]float32{.1, .2, .3, .4}); err != nil {
			t.Fatal(err)
		}
		soon(t, "the device wakes", func() bool { return !d.asleep() })
		if got, want := take(t, p.ring, 3), []float32{.1, .2, .3, .4, 0, 0}; !slices.Equal(got, want) {
			t.Errorf("round %d: %v, want %v", round, got, want)
		}
		take(t, p.ring, tailFrames-2)
		time.Sleep(5 * time.Millisecond)
		if d.asleep() {
			t.Error("suspended while the last samples may still be on their way")
		}
		take(t, p.ring, 1)
		soon(t, "the device sleeps", d.asleep)
	}
	if d.resumes != 3 {
		t.Errorf("woken %d times", d.resumes)
	}
}

func TestStopFadesAndPlayGoesOn(t *testing.T) {
	p, _ := withDevice(t)
	p.Play(slices.Repeat([]float32{1}, 2*fadeFrames*Channels))
	p.Stop()
	p.Play([]float32{.5, .5})
	got := take(t, p.ring, fadeFrames+2)
	for i := range fadeFrames {
		if want := 1 - float32(i+1)/fadeFrames; got[2*i] != want || got[2*i+1] != want {
			t.Fatalf("frame %d: %v, want %v", i, got[2*i:2*i+2], want)
		}
	}
	if rest := got[2*fadeFrames:]; !slices.Equal(rest, []float32{.5, .5, 0, 0}) {
		t.Errorf("after the fade: %v", rest)
	}
}

func TestPlayRefuses(t *testing.T) {
	p, d := withDevice(t)
	if err := p.Play(make([]float32, 3)); err == nil || !strings.Contains(err.Error(), "3 samples") {
		t.Errorf("half a frame: %v", err)
	}
	if err := p.Play(make([]float32, capacity*Channels+2)); err == nil || !strings.Contains(err.Error(), "at most 2 s") {
		t.Errorf("too long: %v", err)
	}
	if err := p.Play(nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
	close(d.failed)
	var gone *DeviceError
	if err := p.Play(make([]float32, 2)); !errors.As(err, &gone) || gone.Err.Error() != "driver: unplugged" {
		t.Errorf("unplugged: %v", err)
	}
}

func TestNoDevice(t *testing.T) {
	cause := errors.New("driver: line 1\nline 2")
	tries := 0
	p := newPlayer(func(io.Reader) (device, <-chan struct{}, error) {
		tries++
		return nil, nil, cause
	}, time.Second)
	if err := p.Play(Chime()); err != errNotOpen {
		t.Errorf("Play before Open: %v", err)
	}
	for range 2 {
		err := p.Open()
		if !errors.Is(err, cause) || err.Error() != "no sound device can be used; connect one and start the program again" {
			t.Errorf("Open: %v", err)
		}
		if err := p.Play(Chime()); !errors.Is(err, cause) {
			t.Errorf("Play: %v", err)
		}
	}
	p.Stop()
	if err := p.Close(); err != nil || tries != 1 {
		t.Errorf("Close: %v; tried %d times", err, tries)
	}
}

func TestDeviceThatAnswersLate(t *testing.T) {
	ready := make(chan struct{})
	d := &fakeDevice{failed: make(chan struct{})}
	p := newPlayer(func(io.Reader) (device, <-chan struct{}, error) { return d, ready, nil }, 20*time.Millisecond)
	if err := p.Open(); err == nil || !strings.Contains(err.Error(), "did not answer within 20ms") {
		t.Errorf("Open: %v", err)
	}
	if err := p.Play(Chime()); err != errNotOpen {
		t.Errorf("Play: %v", err)
	}
	close(ready)
	soon(t, "the device", func() bool { return p.Open() == nil })
	if err := p.Play(Chime()); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil || !d.asleep() {
		t.Errorf("Close: %v, asleep %v", err, d.asleep())
	}
}

func TestClose(t *testing.T) {
	hung := newPlayer(func(io.Reader) (device, <-chan struct{}, error) { return &fakeDevice{}, make(chan struct{}), nil }, time.Millisecond)
	hung.Open()
	used, d := withDevice(t)
	used.Play(Chime())
	for name, p := range map[string]*Player{"never opened": newPlayer(nil, time.Second), "hung": hung, "used": used} {
		start := time.Now()
		for range 2 {
			if err := p.Close(); err != nil {
				t.Errorf("%s: Close: %v", name, err)
			}
		}
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("%s: Close took %v", name, d)
		}
		if err := p.Open(); err != errClosed {
			t.Errorf("%s: Open: %v", name, err)
		}
		if err := p.Play(Chime()); err != errClosed {
			t.Errorf("%s: Play: %v", name, err)
		}
	}
	if !d.asleep() {
		t.Error("the device is awake after Close")
	}
}

func TestPlayerUnderConcurrentUse(t *testing.T) {
	p, d := withDevice(t)
	var busy sync.WaitGroup
	for range 4 {
		busy.Add(1)
		go func() {
			defer busy.Done()
			for i := range 100 {
				p.Play([]float32{.1, .1})
				if i%25 == 24 {
					p.Stop()
				}
				p.Open()
			}
		}()
	}
	go func() { busy.Wait(); p.Play([]float32{.25, .25}) }()
	found := false
	soon(t, "the last sound, and then sleep", func() bool {
		found = slices.Contains(take(t, p.ring, tailFrames), .25) || found
		return found && d.asleep()
	})
}
