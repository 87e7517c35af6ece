package canvas

import (
	"image"
	"image/color"
	"math"
	"testing"
)

var (
	grey  = color.RGBA{26, 26, 26, 255}
	light = color.RGBA{200, 200, 200, 255}
	dim   = color.RGBA{150, 150, 150, 255}
	back  = Backdrop{Canvas: grey, Light: light, Dim: dim, Cell: 8}
)

func solid(w, h int, c color.NRGBA) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

func TestFitCentresAndKeepsMargin(t *testing.T) {
	v := Fit(image.Pt(200, 100), image.Pt(500, 500), 50, 64)
	if v != (View{Scale: 2, OffsetX: 50, OffsetY: 150}) {
		t.Errorf("Fit = %+v", v)
	}
	if v := Fit(image.Pt(10, 10), image.Pt(500, 500), 0, 8); v.Scale != 8 || v.OffsetX != 210 {
		t.Errorf("Fit with a limit = %+v", v)
	}
	if v := Fit(image.Point{}, image.Pt(500, 500), 0, 8); v.Scale != 1 {
		t.Errorf("Fit of nothing = %+v", v)
	}
}

func TestZoomKeepsThePointUnderThePointer(t *testing.T) {
	v := View{Scale: 1.5, OffsetX: 37, OffsetY: -12}
	for _, factor := range []float64{0.5, 1.1, 3} {
		px, py := v.ToPicture(120, 80)
		z := v.ZoomAt(factor, 120, 80)
		qx, qy := z.ToPicture(120, 80)
		if math.Abs(px-qx) > 1e-9 || math.Abs(py-qy) > 1e-9 || math.Abs(z.Scale-1.5*factor) > 1e-9 {
			t.Errorf("zoom %v: %v,%v became %v,%v at scale %v", factor, px, py, qx, qy, z.Scale)
		}
	}
	if z := v.ZoomAt(1e9, 0, 0); z.Scale != MaxScale {
		t.Errorf("zoom in is limited to %v, got %v", MaxScale, z.Scale)
	}
	if z := v.ZoomAt(math.NaN(), 0, 0); z.Scale != MinScale {
		t.Errorf("a scale that is no number gives %v", z.Scale)
	}
}

func TestClampKeepsThePictureInSight(t *testing.T) {
	picture, viewport := image.Pt(100, 100), image.Pt(400, 300)
	v := View{Scale: 1}.Pan(5000, -5000).Clamp(picture, viewport)
	if v.OffsetX != 352 || v.OffsetY != -52 {
		t.Errorf("Clamp = %+v", v)
	}
	if v := (View{Scale: 1, OffsetX: 10, OffsetY: 20}).Clamp(picture, viewport); v.OffsetX != 10 || v.OffsetY != 20 {
		t.Errorf("Clamp moved a good view: %+v", v)
	}
}

func TestDrawShowsPictureCheckerAndCanvas(t *testing.T) {
	src := solid(4, 4, color.NRGBA{255, 0, 0, 255})
	src.SetNRGBA(0, 0, color.NRGBA{})
	dst := image.NewRGBA(image.Rect(0, 0, 60, 60))
	Draw(dst, src, image.Pt(4, 4), View{Scale: 10, OffsetX: 10, OffsetY: 10}, back)
	for _, c := range []struct {
		x, y int
		want color.RGBA
	}{
		{5, 5, grey}, {55, 30, grey}, {30, 30, color.RGBA{255, 0, 0, 255}},
		{11, 11, light}, {19, 11, dim}, {19, 19, light}, {20, 11, color.RGBA{255, 0, 0, 255}},
	} {
		if got := dst.RGBAAt(c.x, c.y); got != c.want {
			t.Errorf("pixel %d,%d = %v, want %v", c.x, c.y, got, c.want)
		}
	}
}

func TestHalfTransparentMixesWithChecker(t *testing.T) {
	dst := image.NewRGBA(image.Rect(0, 0, 8, 8))
	Draw(dst, solid(8, 8, color.NRGBA{0, 0, 0, 128}), image.Pt(8, 8), View{Scale: 1}, back)
	if got := dst.RGBAAt(2, 2); got.R < 99 || got.R > 100 {
		t.Errorf("half black over 200 = %v, want about 99.6", got)
	}
}

func TestReductionAveragesTheArea(t *testing.T) {
	src := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			v := uint8(255 * ((x + y) & 1))
			src.SetNRGBA(x, y, color.NRGBA{v, v, v, 255})
		}
	}
	dst := image.NewRGBA(image.Rect(0, 0, 16, 16))
	Draw(dst, src, image.Pt(64, 64), View{Scale: 0.25}, back)
	for i := 0; i < len(dst.Pix); i += 4 {
		if dst.Pix[i] != 128 {
			t.Fatalf("pixel %d = %d, want 128", i/4, dst.Pix[i])
		}
	}
}

func TestReductionHasNoFringe(t *testing.T) {
	src := solid(4, 4, color.NRGBA{0, 255, 0, 0}) // invisible green
	for y := range 4 {
		src.SetNRGBA(0, y, color.NRGBA{255, 0, 0, 255})
		src.SetNRGBA(2, y, color.NRGBA{255, 0, 0, 255})
	}
	dst := image.NewRGBA(image.Rect(0, 0, 2, 2))
	Draw(dst, src, image.Pt(4, 4), View{Scale: 0.5}, Backdrop{Canvas: grey, Light: grey, Dim: grey, Cell: 8})
	if got := dst.RGBAAt(0, 0); got.G > 14 || got.R < 139 || got.R > 142 {
		t.Errorf("averaged edge = %v, want half red over grey without green", got)
	}
}

func TestActualSizeIsExact(t *testing.T) {
	src := image.NewNRGBA(image.Rect(0, 0, 33, 17))
	for y := range 17 {
		for x := range 33 {
			src.SetNRGBA(x, y, color.NRGBA{uint8(x * 7), uint8(y * 13), uint8(x ^ y), 255})
		}
	}
	dst := image.NewRGBA(image.Rect(0, 0, 40, 20))
	Draw(dst, src, image.Pt(33, 17), View{Scale: 1, OffsetX: 3, OffsetY: 2}, back)
	for y := range 17 {
		for x := range 33 {
			s, d := src.NRGBAAt(x, y), dst.RGBAAt(x+3, y+2)
			if s.R != d.R || s.G != d.G || s.B != d.B {
				t.Fatalf("pixel %d,%d: %v became %v", x, y, s, d)
			}
		}
	}
}

func TestSmoothEnlargementIsBetweenItsNeighbours(t *testing.T) {
	src := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	src.SetNRGBA(0, 0, color.NRGBA{0, 0, 0, 255})
	src.SetNRGBA(1, 0, color.NRGBA{200, 200, 200, 255})
	dst := image.NewRGBA(image.Rect(0, 0, 40, 20))
	Draw(dst, src, image.Pt(40, 20), View{Scale: 1}, back) // a preview, twenty times smaller than its picture
	last := -1
	for x := 10; x < 30; x++ {
		got := int(dst.RGBAAt(x, 10).R)
		if got < last {
			t.Errorf("falls at %d: %d after %d", x, got, last)
		}
		last = got
	}
	if got := dst.RGBAAt(20, 10).R; got < 95 || got > 110 {
		t.Errorf("middle = %d, want about 103", got)
	}
}

func TestPartlyOutsideAndOddSizes(t *testing.T) {
	for _, size := range []image.Point{{1, 1}, {3, 7}, {64, 1}, {257, 65}} {
		src := solid(size.X, size.Y, color.NRGBA{10, 20, 30, 255})
		for _, scale := range []float64{0.02, 0.3, 1, 1.7, 5} {
			for _, off := range []float64{-40.5, 0, 7.3, 31} {
				dst := image.NewRGBA(image.Rect(0, 0, 32, 32))
				v := View{Scale: scale, OffsetX: off, OffsetY: off}
				Draw(dst, src, size, v, back)
				seen := v.Rect(size).Intersect(dst.Rect)
				if seen.Empty() {
					continue
				}
				if got := dst.RGBAAt(seen.Min.X, seen.Max.Y-1); got != (color.RGBA{10, 20, 30, 255}) {
					t.Fatalf("size %v scale %v offset %v: %v", size, scale, off, got)
				}
			}
		}
	}
}

func TestThumbnailKeepsShape(t *testing.T) {
	th := Thumbnail(solid(200, 100, color.NRGBA{255, 255, 255, 255}), 80, 80, back)
	if th.Rect.Size() != image.Pt(80, 80) {
		t.Fatalf("size %v", th.Rect.Size())
	}
	if th.RGBAAt(40, 10) != grey || th.RGBAAt(40, 40) != (color.RGBA{255, 255, 255, 255}) || th.RGBAAt(1, 40).R != 255 {
		t.Errorf("bars %v, middle %v, edge %v", th.RGBAAt(40, 10), th.RGBAAt(40, 40), th.RGBAAt(1, 40))
	}
}

func BenchmarkDrawEnlarged(b *testing.B) {
	src := solid(256, 256, color.NRGBA{10, 20, 30, 200})
	dst := image.NewRGBA(image.Rect(0, 0, 712, 700))
	v := Fit(image.Pt(256, 256), dst.Rect.Size(), 24, 8)
	for b.Loop() {
		Draw(dst, src, image.Pt(256, 256), v, back)
	}
}

func BenchmarkDrawReduced(b *testing.B) {
	src := solid(2048, 2048, color.NRGBA{10, 20, 30, 255})
	dst := image.NewRGBA(image.Rect(0, 0, 712, 700))
	v := Fit(image.Pt(2048, 2048), dst.Rect.Size(), 24, 8)
	for b.Loop() {
		Draw(dst, src, image.Pt(2048, 2048), v, back)
	}
}
