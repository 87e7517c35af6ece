package audio

import (
	"math"
	"math/cmplx"
	"testing"
)

// left is one channel of the chime; both are the same.
func left(t *testing.T) []float64 {
	t.Helper()
	samples := Chime()
	out := make([]float64, len(samples)/Channels)
	for i := range out {
		if samples[2*i] != samples[2*i+1] {
			t.Fatalf("frame %d: left %v, right %v", i, samples[2*i], samples[2*i+1])
		}
		out[i] = float64(samples[2*i])
	}
	return out
}

// fourier is the absolute Fourier sum of x at a frequency in Hz, for a steady sine half its amplitude (Goertzel's recurrence).
func fourier(x []float64, frequency float64) float64 {
	turn := 2 * math.Pi * frequency / Rate
	k := 2 * math.Cos(turn)
	var s, before float64
	for _, v := range x {
		s, before = v+k*s-before, s
	}
	return cmplx.Abs(complex(s, 0)-cmplx.Rect(before, -turn)) / float64(len(x))
}

// hann weighs a piece of sound so that its edges do not show in its spectrum.
func hann(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v * (0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(x))))
	}
	return out
}

func rms(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(x)))
}

func decibel(v float64) float64 { return 20 * math.Log10(v) }

func TestChimeIsShortQuietAndEndsInSilence(t *testing.T) {
	x := left(t)
	if seconds := float64(len(x)) / Rate; seconds < 0.3 || seconds > 0.6 {
		t.Errorf("%.3f s", seconds)
	}
	var peak, sum, step float64
	for i, v := range x {
		peak, sum = max(peak, math.Abs(v)), sum+v
		if i > 0 {
			step = max(step, math.Abs(v-x[i-1]))
		}
	}
	if db := decibel(peak); db > -12 || db < -20 {
		t.Errorf("peak %.1f dBFS", db)
	}
	if mean := sum / float64(len(x)); math.Abs(mean) > 1e-4 {
		t.Errorf("DC %v", mean)
	}
	if x[0] != 0 || x[len(x)-1] != 0 {
		t.Errorf("begins with %v, ends with %v", x[0], x[len(x)-1])
	}
	if last := decibel(rms(x[len(x)-Rate/50:])); last > -60 { // 20 ms
		t.Errorf("the end is at %.1f dBFS", last)
	}
	for part := 0.30; part < 0.5; part += 0.02 { // after both strokes it only dies away
		at := int(part * Rate)
		if now, later := rms(x[at:at+2400]), rms(x[at+1200:at+3600]); later >= now {
			t.Errorf("at %.2f s it grows from %v to %v", part, now, later)
		}
	}
	// A sine of the second note's pitch at the peak's level moves 2π·1046.5/48000 of it in a sample; a click would move more.
	if limit := 2 * peak * 2 * math.Pi * 1046.5 / Rate; step > limit {
		t.Errorf("a step of %v between two samples, more than %v", step, limit)
	}
}

func TestChimeIsTwoNotes(t *testing.T) {
	x := left(t)
	strongest := func(x []float64) float64 {
		best, at := 0.0, 0.0
		for f := 200.0; f < 3200; f += 5 {
			if a := fourier(x, f); a > best {
				best, at = a, f
			}
		}
		return at
	}
	first, second := hann(x[:6240]), hann(x[6240:]) // 0.13 s
	if got := strongest(first); math.Abs(got-784) > 5 {
		t.Errorf("the first note is at %v Hz, want 784", got)
	}
	if got := strongest(second); math.Abs(got-1046.5) > 5 {
		t.Errorf("the second note is at %v Hz, want 1046.5", got)
	}
	if db := decibel(fourier(first, 1046.5) / fourier(first, 784)); db > -30 {
		t.Errorf("the second note sounds before its stroke, at %.1f dB", db)
	}
}

// A click is energy everywhere in the spectrum; the highest partial lies at 5655 Hz. The chime is not weighed here: its edges count.
func TestChimeHasNoClicks(t *testing.T) {
	x := left(t)
	loudest := fourier(x, 1046.5)
	for f := 7000.0; f < Rate/2; f += 50 {
		if db := decibel(fourier(x, f) / loudest); db > -100 {
			t.Errorf("%.0f Hz at %.1f dB of the loudest partial", f, db)
		}
	}
	if db := decibel(fourier(x, 20) / loudest); db > -60 {
		t.Errorf("20 Hz at %.1f dB", db)
	}
}
