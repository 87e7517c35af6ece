package pipeline

import (
	"context"
	"image"
	"slices"
	"strings"
	"testing"

	"atelier/assets"
	"atelier/compute"
	"atelier/compute/host"
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

// TestBuiltInGenerators draws with the other models inside the program on both devices: the same seed gives the same picture, another
// seed another one.
func TestBuiltInGenerators(t *testing.T) {
	for name, prompt := range map[string]string{"pixel-faces": "", "typeface": "Hamburg", "palette": "teal"} {
		t.Run(name, func(t *testing.T) {
			var first *image.NRGBA
			goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
				draw := openBuiltIn(t, dev, name)
				picture := draw(prompt, 5)
				if first == nil {
					first = picture
				} else {
					compareStickers(t, picture, first)
				}
				if again := draw(prompt, 5); !slices.Equal(again.Pix, picture.Pix) {
					t.Error("the same seed gives another picture")
				}
				if other := draw(prompt, 6); slices.Equal(other.Pix, picture.Pix) {
					t.Error("another seed gives the same picture")
				}
			})
		})
	}
}

// openBuiltIn gives what draws with a model inside the program.
func openBuiltIn(t *testing.T, dev compute.Device, name string) func(prompt string, seed uint64) *image.NRGBA {
	files, ok := assets.Model(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	m, err := catalog.OpenFS(files, ".", name)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	p, err := Open(dev, m)
	must(t, err)
	t.Cleanup(p.Close)
	return func(prompt string, seed uint64) *image.NRGBA {
		r, err := p.Run(context.Background(), Request{Prompt: prompt, Seed: seed}, nil)
		must(t, err)
		return r.Images[0]
	}
}

// TestPaletteColours asks for palettes by colour words: the first row, the main family of colours, is of that hue, from dark to light; without
// a word the seed chooses one.
func TestPaletteColours(t *testing.T) {
	draw := openBuiltIn(t, newHost(t, host.Options{}), "palette")
	wanted := map[string]func(r, g, b int) bool{
		"red":    func(r, g, b int) bool { return r > g+30 && r > b+20 },
		"green":  func(r, g, b int) bool { return g > r+10 && g > b },
		"teal":   func(r, g, b int) bool { return g > r+10 && b > r+10 },
		"blue":   func(r, g, b int) bool { return b > r+20 && b > g },
		"purple": func(r, g, b int) bool { return b > g+15 && r > g },
		"yellow": func(r, g, b int) bool { return r > b+30 && g > b+20 },
	}
	const seeds = 24
	for word, is := range wanted {
		right, rising := 0, 0
		for seed := range uint64(seeds) {
			m := draw(word, seed)
			if m.Rect != image.Rect(0, 0, 256, 256) {
				t.Fatalf("the picture is %v", m.Rect)
			}
			var sum [4]int // of each swatch
			var r, g, b int
			for i := range 4 {
				c := m.NRGBAAt(32+64*i, 32)
				sum[i] = int(c.R) + int(c.G) + int(c.B)
				r, g, b = r+int(c.R)/4, g+int(c.G)/4, b+int(c.B)/4
			}
			if is(r, g, b) {
				right++
			}
			if sum[3] > sum[0] {
				rising++
			}
		}
		if right < seeds*3/4 || rising < seeds*3/4 {
			t.Errorf("of %d %s palettes %d are of that colour and %d rise from dark to light", seeds, word, right, rising)
		}
	}
	if a, b := draw("", 1), draw("", 2); slices.Equal(a.Pix, b.Pix) {
		t.Error("without a word two seeds give the same palette")
	}
}

// TestPaletteSaysItsColour makes palettes without a word: each says which word its seed chose, and that word gives it again.
func TestPaletteSaysItsColour(t *testing.T) {
	files, _ := assets.Model("palette")
	m, err := catalog.OpenFS(files, ".", "palette")
	must(t, err)
	defer m.Close()
	p, err := Open(newHost(t, host.Options{}), m)
	must(t, err)
	defer p.Close()
	labels := p.Info().Labels
	if !p.Info().Free || len(labels) != 10 {
		t.Fatalf("info %+v", p.Info())
	}
	const seed = 17
	all, err := p.Run(t.Context(), Request{Seed: seed, Batch: 3}, nil)
	must(t, err)
	for i, word := range all.Prompts {
		if want := labels[(seed+i)%len(labels)]; word != want {
			t.Errorf("palette %d says %q, not %q", i, word, want)
		}
		again, err := p.Run(t.Context(), Request{Prompt: word, Seed: all.Seeds[i]}, nil)
		must(t, err)
		if !slices.Equal(again.Images[0].Pix, all.Images[i].Pix) {
			t.Errorf("%s with seed %d is another palette than without the word", word, all.Seeds[i])
		}
	}
	_, err = p.Run(t.Context(), Request{Prompt: "mauve"}, nil)
	if want := "palette draws " + strings.Join(labels, ", ") + `, and nothing called "mauve"`; err == nil || err.Error() != want {
		t.Errorf("an unknown word gives %v", err)
	}
}

// TestPrompting asks each built-in generator how to word a prompt, and whether it needs one.
func TestPrompting(t *testing.T) {
	for name, needs := range map[string]bool{"palette": false, "pixel-faces": false, "typeface": true} {
		files, _ := assets.Model(name)
		m, err := catalog.OpenFS(files, ".", name)
		must(t, err)
		p, err := Open(newHost(t, host.Options{}), m)
		must(t, err)
		if _, err := p.Resolve(Request{}); (err != nil) != needs || p.Info().Free == needs || p.Info().Prompting == "" {
			t.Errorf("%s without a prompt: %v; it says %+v", name, err, p.Info())
		}
		p.Close()
		m.Close()
	}
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
