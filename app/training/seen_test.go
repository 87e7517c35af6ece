package training

import (
	"image"
	"image/color"
	"testing"
)

// Black on nothing is black on white to a network without transparency, and stays as it is to one with it.
func TestSeenAs(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 2, 1))
	m.SetRGBA(1, 0, color.RGBA{A: 255})
	for channels, want := range map[int][2]uint32{1: {0xffff, 0}, 3: {0xffff, 0}, 4: {0, 0}} {
		got := seenAs(m, channels)
		for x := range 2 {
			if r, _, _, _ := got.At(x, 0).RGBA(); r != want[x] {
				t.Errorf("%d channels: pixel %d has a red of %#x, not %#x", channels, x, r, want[x])
			}
		}
	}
}
