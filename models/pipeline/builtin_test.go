package pipeline

import (
	"context"
	"image"
	"testing"

	"atelier/assets"
	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/goldentest"
)

// TestBuiltIn makes a sticker with the model inside the program on both devices: the same picture, with empty corners and
// something in the middle.
func TestBuiltIn(t *testing.T) {
	var first *image.NRGBA
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		m, err := catalog.OpenFS(assets.Sticker(), ".", assets.StickerName)
		must(t, err)
		defer m.Close()
		p, err := NewText2Image(dev, m)
		must(t, err)
		defer p.Close()
		if i := p.Info(); i.Width != 256 || i.Height != 256 || !i.Transparent || len(i.Examples) == 0 || i.Sampler != "ddim" {
			t.Errorf("info %+v", i)
		}
		must(t, p.Warm(context.Background(), Request{}))
		r, err := p.Run(context.Background(), Request{Prompt: "red heart, 3d", Seed: 1}, nil)
		must(t, err)
		t.Logf("%s: %v", r.Device, r.Seconds)
		if r.Seconds["load"] > 0.05 {
			t.Errorf("loading took %v s after Warm", r.Seconds["load"])
		}
		picture := r.Images[0]
		if picture.Rect != image.Rect(0, 0, 256, 256) {
			t.Fatalf("the picture is %v", picture.Rect)
		}
		if first == nil {
			first = picture
		} else {
			compareStickers(t, picture, first)
		}
		for _, corner := range []image.Point{{2, 2}, {253, 2}, {2, 253}, {253, 253}} {
			if a := picture.NRGBAAt(corner.X, corner.Y).A; a > 64 {
				t.Errorf("the corner %v has an alpha of %d", corner, a)
			}
		}
		opaque := 0
		for i := 3; i < len(picture.Pix); i += 4 {
			if picture.Pix[i] > 192 {
				opaque++
			}
		}
		if share := float64(opaque) / (256 * 256); share < 0.05 || share > 0.95 {
			t.Errorf("%.0f %% of the picture is opaque", 100*share)
		}
	})
}

// compareStickers allows what rounding differs by after twenty steps: on average less than a step of 256, as premultiplied.
func compareStickers(t *testing.T, a, b *image.NRGBA) {
	t.Helper()
	sum := 0.0
	for i := 0; i < len(a.Pix); i += 4 {
		for c := range 4 {
			x, y := float64(a.Pix[i+c]), float64(b.Pix[i+c])
			if c < 3 {
				x, y = x*float64(a.Pix[i+3])/255, y*float64(b.Pix[i+3])/255
			}
			sum += max(x-y, y-x)
		}
	}
	if mean := sum / float64(len(a.Pix)); mean > 1 {
		t.Errorf("the devices' pictures differ by %.2f of 255 on average", mean)
	}
}
