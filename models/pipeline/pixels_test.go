package pipeline

import (
	"image"
	"image/color"
	"testing"
)

// TestPixelsOf: a part of a picture of the usual kind, in which colours under little alpha keep their digits, and one without alpha.
func TestPixelsOf(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 40, 20))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 7)
	}
	p := PixelsOf(m.SubImage(image.Rect(3, 2, 20, 11)))
	if p.W != 17 || p.H != 9 || p.C != 4 {
		t.Fatalf("%d × %d of %d channels", p.W, p.H, p.C)
	}
	for y := range p.H {
		for x := range p.W {
			c := m.NRGBAAt(3+x, 2+y)
			for k, v := range [4]uint8{c.R, c.G, c.B, c.A} {
				if got := p.Data[4*(y*p.W+x)+k]; got != float32(v)/255 {
					t.Fatalf("channel %d at %d, %d is %v, not %d/255", k, x, y, got, v)
				}
			}
		}
	}
	for i := 3; i < len(m.Pix); i += 4 {
		m.Pix[i] = 255
	}
	wide := image.NewNRGBA64(m.Rect)
	for y := range 20 {
		for x := range 40 {
			wide.Set(x, y, m.At(x, y))
		}
	}
	wide.Set(7, 5, color.NRGBA64{1, 0x8000, 3, 0xffff})
	if p := PixelsOf(wide); p.C != 3 || p.Data[3*(5*40+7)+1] != 0x8000/65535. || p.Data[3*(9*40+4)+2] != float32(m.NRGBAAt(4, 9).B)/255 {
		t.Errorf("an opaque picture of 16 bits has %d channels and the values %v, %v", p.C, p.Data[3*(5*40+7)+1], p.Data[3*(9*40+4)+2])
	}
}
