package compute

import (
	"math"
	"testing"
)

func TestHalfIsExact(t *testing.T) {
	for h := 0; h < 1<<16; h++ {
		f := HalfFloat(uint16(h))
		exp, frac := h>>10&31, float64(h&1023)
		want := math.Ldexp(1024+frac, exp-25)
		if exp == 0 {
			want = math.Ldexp(frac, -24)
		} else if exp == 31 && frac == 0 {
			want = math.Inf(1)
		} else if exp == 31 {
			want = math.NaN()
		}
		if h&0x8000 != 0 {
			want = -want
		}
		if float64(f) != want && !(math.IsNaN(want) && f != f) {
			t.Fatalf("half %#04x = %v, want %v", h, f, want)
		}
		back := HalfBits(f)
		if back != uint16(h) && !(f != f && back&0x7c00 == 0x7c00 && back&0x3ff != 0) {
			t.Fatalf("half %#04x came back as %#04x", h, back)
		}
	}
}

func TestHalfRoundsToNearestEven(t *testing.T) {
	for h := 0; h < 0x7bff; h++ { // every pair of neighbours: just below, at and just above the midpoint
		lo, hi := HalfFloat(uint16(h)), HalfFloat(uint16(h+1))
		mid := lo + (hi-lo)/2
		below, above := math.Nextafter32(mid, lo), math.Nextafter32(mid, hi)
		even := uint16(h + h&1)
		for _, c := range []struct {
			in   float32
			want uint16
		}{{below, uint16(h)}, {mid, even}, {above, uint16(h + 1)}, {-mid, even | 0x8000}} {
			if got := HalfBits(c.in); got != c.want {
				t.Fatalf("HalfBits(%v) = %#04x, want %#04x", c.in, got, c.want)
			}
		}
	}
	for in, want := range map[float32]uint16{65519: 0x7bff, 65520: 0x7c00, 1e30: 0x7c00, 1e-10: 0, 0x1p-25: 0, 0x1.000002p-25: 1} {
		if got := HalfBits(in); got != want {
			t.Errorf("HalfBits(%v) = %#04x, want %#04x", in, got, want)
		}
	}
}
