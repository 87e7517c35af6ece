package audio

import (
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// take reads frames from a ring as the device would.
func take(t *testing.T, r *ring, frames int) []float32 {
	t.Helper()
	p := make([]byte, frames*frameBytes)
	for i := range p {
		p[i] = 0x55 // what a driver's buffer held before
	}
	if n, err := r.Read(p); n != len(p) || err != nil {
		t.Fatalf("Read = %d, %v; it must fill all %d bytes", n, err, len(p))
	}
	out := make([]float32, frames*Channels)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(p[4*i:]))
	}
	return out
}

func TestUnderrunIsSilence(t *testing.T) {
	r := newRing(8, 100)
	if got := take(t, r, 3); !slices.Equal(got, make([]float32, 6)) {
		t.Errorf("empty: %v", got)
	}
	r.push([]float32{0.1, 0.2, 0.3, 0.4})
	if got, want := take(t, r, 4), []float32{0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("half empty: %v, want %v", got, want)
	}
}

func TestRingWrapsAround(t *testing.T) {
	r := newRing(4, 100)
	next, expect := float32(0), float32(0)
	for range 50 { // 3 frames in, 3 out, through 4: every alignment
		var in []float32
		for range 6 {
			next++
			in = append(in, next/1000)
		}
		if !r.push(in) {
			t.Fatal("no room in an empty ring")
		}
		for _, v := range take(t, r, 3) {
			if expect++; v != expect/1000 {
				t.Fatalf("got %v, want %v", v, expect/1000)
			}
		}
	}
}

func TestPushIsAllOrNothing(t *testing.T) {
	r := newRing(4, 100)
	full := []float32{.1, .1, .2, .2, .3, .3, .4, .4}
	if r.push(append(full, 1, 1)) {
		t.Error("five frames went into four")
	}
	if !r.push(full) || r.push([]float32{1, 1}) {
		t.Error("four frames fit, a fifth does not")
	}
	if got := take(t, r, 5); !slices.Equal(got, append(full, 0, 0)) {
		t.Errorf("got %v", got)
	}
}

func TestSamplesAreMadePlayable(t *testing.T) {
	r := newRing(8, 100)
	r.push([]float32{3, -3, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0.5})
	if got, want := take(t, r, 3), []float32{1, -1, 1, -1, 0, 0.5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFadeFallsToSilence(t *testing.T) {
	r := newRing(8, 100)
	ones := slices.Repeat([]float32{1}, 12)
	r.push(ones)
	take(t, r, 5) // so that what is left lies across the end of the buffer
	r.push(ones[:8])
	r.fade(4)
	if got, want := take(t, r, 6), []float32{.75, .75, .5, .5, .25, .25, 0, 0, 0, 0, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	r.push(ones[:4])
	r.fade(0)
	if got := take(t, r, 2); !slices.Equal(got, make([]float32, 4)) {
		t.Errorf("dropped, but got %v", got)
	}
}

func TestQuietOnlyAfterTheTail(t *testing.T) {
	r := newRing(8, 6)
	steps := []struct {
		name  string
		do    func()
		quiet bool
		token bool
	}{
		{"new", func() {}, false, false},
		{"5 frames of silence", func() { take(t, r, 5) }, false, false},
		{"a 6th", func() { take(t, r, 1) }, true, true},
		{"something new", func() { r.push([]float32{1, 1}) }, false, false},
		{"read, and 2 frames of silence", func() { take(t, r, 3) }, false, false},
		{"4 more", func() { take(t, r, 4) }, true, true},
	}
	for _, s := range steps {
		s.do()
		token := false
		select {
		case <-r.drained:
			token = true
		default:
		}
		if r.quiet() != s.quiet || token != s.token {
			t.Errorf("%s: quiet %v, token %v; want %v, %v", s.name, r.quiet(), token, s.quiet, s.token)
		}
	}
}

func TestReadKeepsToWholeFrames(t *testing.T) {
	r := newRing(8, 100)
	r.push([]float32{.1, .2, .3, .4})
	if n, err := r.Read(make([]byte, frameBytes+3)); n != frameBytes || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
	if n, err := r.Read(make([]byte, 3)); n != 0 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
	if got, want := take(t, r, 1), []float32{.3, .4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRingUnderConcurrentUse(t *testing.T) {
	const frames = 5000
	r := newRing(64, 1000)
	var feeding sync.WaitGroup
	feeding.Add(1)
	go func() {
		defer feeding.Done()
		for i := 0; i < frames; {
			n := min(1+i%7, frames-i)
			chunk := make([]float32, 0, 14)
			for j := range n {
				v := float32(i+j+1) / frames
				chunk = append(chunk, v, -v)
			}
			if r.push(chunk) {
				i += n
			} else {
				runtime.Gosched()
			}
			r.quiet()
		}
	}()
	for seen := 0; seen < frames; {
		got := take(t, r, 5)
		for i := 0; i < len(got); i += Channels {
			if got[i] == 0 {
				runtime.Gosched()
				continue // an underrun
			}
			seen++
			if want := float32(seen) / frames; got[i] != want || got[i+1] != -want {
				t.Fatalf("frame %d is %v, %v; want ±%v", seen, got[i], got[i+1], want)
			}
		}
	}
	feeding.Wait()
}
