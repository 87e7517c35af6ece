package pipeline

import (
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"testing"

	"atelier/assets"
	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/catalog"
	"atelier/models/goldentest"
	"atelier/models/judge"
)

// stickers cuts n pictures of the built-in model's contact sheet apart; each is one that it made. Near-white becomes transparent, as it
// was before the sheet was laid on white.
func stickers(t *testing.T, n int) []image.Image {
	t.Helper()
	f, err := os.Open("../../assets/sticker/samples.png")
	must(t, err)
	defer f.Close()
	sheet, err := png.Decode(f)
	must(t, err)
	const across, side = 6, 168
	var list []image.Image
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, side, side))
		for y := range side {
			for x := range side {
				c := color.NRGBAModel.Convert(sheet.At(i%across*side+x, i/across*side+y)).(color.NRGBA)
				if c.R > 245 && c.G > 245 && c.B > 245 {
					c = color.NRGBA{}
				}
				m.SetNRGBA(x, y, c)
			}
		}
		list = append(list, m)
	}
	return list
}

// TestExtractor measures with the built-in model's autoencoder: batches do not matter, reconstructions are near, and sets that
// differ lie further apart than halves of one set.
func TestExtractor(t *testing.T) {
	list := stickers(t, 12)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		m, err := catalog.OpenFS(assets.Sticker(), ".", assets.StickerName)
		must(t, err)
		defer m.Close()
		e, err := NewExtractor(dev, m)
		must(t, err)
		defer e.Close()
		if e.Name() != "sticker VAE mid-block features, not Inception" || e.Side() != 64 {
			t.Errorf("%q at %d", e.Name(), e.Side())
		}
		told := 0
		all, err := e.Features(t.Context(), list, func(done, total int) { told = done })
		must(t, err)
		if all.N != len(list) || all.D != 96 || told != len(list) {
			t.Fatalf("%d × %d features, progress %d", all.N, all.D, told)
		}
		one, err := e.Features(t.Context(), []image.Image{e.Fit(list[9])}, nil) // scaled beforehand is scaled once
		must(t, err)
		for i, v := range one.X {
			if math.Abs(float64(v-all.Row(9)[i])) > 1e-4 {
				t.Errorf("feature %d is %v alone and %v in a batch", i, v, all.Row(9)[i])
			}
		}
		r, err := e.Reconstruct(t.Context(), list[:4], nil)
		must(t, err)
		for i := range r.PSNR {
			if r.PSNR[i] < 20 || r.SSIM[i] < 0.7 || r.SSIM[i] > 1 || r.Outputs[i].Rect != image.Rect(0, 0, 64, 64) || len(r.Inputs) != 4 {
				t.Errorf("picture %d: PSNR %v, SSIM %v, %v", i, r.PSNR[i], r.SSIM[i], r.Outputs[i].Rect)
			}
		}
		if _, isHost := dev.(*host.Device); isHost {
			distances(t, e, all)
		}
	})
}

// distances compares halves of the stickers with each other and with flat colours.
func distances(t *testing.T, e *Extractor, all judge.Features) {
	var plain []image.Image
	for i := range 12 {
		m := image.NewNRGBA(image.Rect(0, 0, 64, 64))
		for p := range 64 * 64 {
			m.SetNRGBA(p%64, p/64, color.NRGBA{uint8(20 * i), uint8(255 - 20*i), 90, 255})
		}
		plain = append(plain, m)
	}
	flat, err := e.Features(t.Context(), plain, nil)
	must(t, err)
	half := all.N / 2
	a, b := judge.Features{N: half, D: all.D, X: all.X[:half*all.D]}, judge.Features{N: all.N - half, D: all.D, X: all.X[half*all.D:]}
	near, err := judge.FID(a, b)
	must(t, err)
	far, err := judge.FID(a, flat)
	must(t, err)
	if !(far > 3*near) {
		t.Errorf("flat colours are %v from stickers, which are %v from each other", far, near)
	}
	n, err := judge.Nearest(t.Context(), a, all, 0)
	must(t, err)
	if n.Memorised != half || n.Matches[3].Train != 3 || n.Matches[3].Distance != 0 {
		t.Errorf("pictures of the training set are not found in it: %+v", n.Matches[3])
	}
}

func TestExtractorRefusesEmptyPictures(t *testing.T) {
	e, err := NewExtractor(host.New(host.Options{}), openSmall(t))
	must(t, err)
	defer e.Close()
	if _, err := e.Features(t.Context(), []image.Image{image.NewNRGBA(image.Rect(0, 0, 0, 5))}, nil); err == nil {
		t.Error("an empty picture has features")
	}
}
