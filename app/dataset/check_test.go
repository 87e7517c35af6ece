package dataset

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/bits"
	"strings"
	"testing"

	xdraw "golang.org/x/image/draw"
)

// TestPerceptualHash compares with the same definition in numpy (DCT-II as a matrix product, median of the lowest 8 × 8).
func TestPerceptualHash(t *testing.T) {
	value := func(x, y int) uint8 { return uint8((x*7 + y*13 + x*y%31*3) % 256) }
	m := premultiplied(drawn(32, 32, func(x, y int) color.NRGBA { v := value(x, y); return color.NRGBA{v, v, v, 255} }), image.Point{}, 32, 32)
	g := grey(shrink(reduce(m, baseSide, baseSide), baseSide/hashSide))
	for _, p := range []image.Point{{0, 0}, {5, 9}, {31, 31}} {
		if got := g.pix[p.Y*32+p.X]; math.Abs(got-float64(value(p.X, p.Y))) > 1e-9 {
			t.Errorf("grey at %v is %v, want %d", p, got, value(p.X, p.Y))
		}
	}
	low := dct(g)
	for i, want := range map[int]float64{0: 507368, 1: 20513.25834181985, 3*8 + 2: -44402.65854283256} {
		if math.Abs(low[i]-want) > 1e-6 {
			t.Errorf("coefficient %d is %v, want %v", i, low[i], want)
		}
	}
	hash, mirrored := perceptual(g)
	if hash != 0xf44cfe7cd9035803 || mirrored != 0x4ee606d673a8e2a9 {
		t.Errorf("hashes %#x, %#x", hash, mirrored)
	}
}

func TestReduceAveragesAreas(t *testing.T) {
	m := premultiplied(drawn(3, 1, func(x, y int) color.NRGBA { return color.NRGBA{uint8(90 * x), 0, 0, 255} }), image.Point{}, 3, 1)
	if got := reduce(m, 2, 1)[0].pix; math.Abs(got[0]-30) > 1e-9 || math.Abs(got[1]-150) > 1e-9 { // (0 + 90/2)/1.5, (90/2 + 180)/1.5
		t.Errorf("%v, want [30 150]", got)
	}
	if got := reduce(m, 6, 2)[0].pix; fmt.Sprintf("%.3f", got) != "[0.000 0.000 90.000 90.000 180.000 180.000 0.000 0.000 90.000 90.000 180.000 180.000]" {
		t.Errorf("%v", got)
	}
}

func scaledTo(m image.Image, w, h int) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	xdraw.BiLinear.Scale(out, out.Rect, m, m.Bounds(), xdraw.Src, nil)
	return out
}

func lighter(m *image.NRGBA, by int) *image.NRGBA {
	return drawn(m.Rect.Dx(), m.Rect.Dy(), func(x, y int) color.NRGBA {
		c := m.NRGBAAt(x, y)
		f := func(v uint8) uint8 { return uint8(min(int(v)+by, 255)) }
		return color.NRGBA{f(c.R), f(c.G), f(c.B), c.A}
	})
}

func darker(m *image.NRGBA) *image.NRGBA {
	return drawn(m.Rect.Dx(), m.Rect.Dy(), func(x, y int) color.NRGBA {
		c := m.NRGBAAt(x, y)
		return color.NRGBA{uint8(int(c.R) * 3 / 4), uint8(int(c.G) * 3 / 4), uint8(int(c.B) * 3 / 4), c.A}
	})
}

func mirrorOf(m *image.NRGBA) *image.NRGBA {
	return drawn(m.Rect.Dx(), m.Rect.Dy(), func(x, y int) color.NRGBA { return m.NRGBAAt(m.Rect.Dx()-1-x, y) })
}

func TestDuplicates(t *testing.T) {
	a := pattern(160, 160, 1)
	files := map[string][]byte{
		"a0.png": pngOf(t, a), "a1.png": pngOf(t, a), "a2.bmp": bmpOf(t, a), "a3.jpg": jpegOf(t, a, 60), "a4.png": pngOf(t, scaledTo(a, 97, 97)), "a5.png": pngOf(t, lighter(a, 12)), "a6.png": pngOf(t, mirrorOf(a)), "a7.png": pngOf(t, darker(a)),
		"a1.txt": []byte("another caption"),
	}
	for n := 2; n < 14; n++ {
		files[fmt.Sprintf("b%02d.png", n)] = pngOf(t, pattern(160, 160, n))
	}
	r := check(t, open(t, folder(t, files)), CheckOptions{})
	exact, near := found(r, Duplicate), found(r, NearDuplicate)
	if f := exact["a1.png"]; len(exact) != 2 || f.What != "this is the same file as a0.png, which has another caption" || f.Others[0] != "a0.png" || !f.Skipped {
		t.Errorf("duplicates %v", exact)
	}
	if f := exact["a2.bmp"]; !strings.HasPrefix(f.What, "this has the same pixels as a0.png") {
		t.Errorf("duplicates %v", exact)
	}
	for _, name := range []string{"a3.jpg", "a4.png", "a5.png", "a6.png", "a7.png"} {
		if f, ok := near[name]; !ok || f.Others[0] != "a0.png" || f.Skipped {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if len(near) != 5 || near["a6.png"].What != "it looks like a0.png turned left to right" {
		t.Errorf("near duplicates %v", near)
	}
	if r.Usable != 18 {
		t.Errorf("%d usable", r.Usable)
	}
}

func TestLikeShapesInOtherColours(t *testing.T) {
	disc := func(c color.NRGBA) []byte {
		return pngOf(t, drawn(96, 96, func(x, y int) color.NRGBA {
			if dx, dy := x-40, y-50; dx*dx+dy*dy < 900 {
				return c
			}
			return color.NRGBA{}
		}))
	}
	d := open(t, folder(t, map[string][]byte{"red.png": disc(color.NRGBA{230, 20, 20, 255}), "blue.png": disc(color.NRGBA{20, 60, 230, 255}), "red2.png": disc(color.NRGBA{225, 25, 20, 255})}))
	r := check(t, d, CheckOptions{})
	near := found(r, NearDuplicate)
	if len(near) != 1 || near["red2.png"].Others[0] != "red.png" {
		t.Errorf("near duplicates %v", near)
	}
	a, b := d.Items[0].look.Load(), d.Items[1].look.Load()
	if n := bits.OnesCount64(a.hash ^ b.hash); n > defaultNearBits {
		t.Errorf("the hashes differ in %d bits: this test needs shapes that hash alike", n)
	}
}

func TestOddities(t *testing.T) {
	files := map[string][]byte{
		"small.png": pngOf(t, pattern(100, 100, 1)), "panorama.png": pngOf(t, pattern(1200, 300, 2)), "good.png": pngOf(t, pattern(512, 512, 3)), "wide.png": pngOf(t, pattern(640, 384, 4)),
		"flat.png": pngOf(t, flat(512, 512, color.NRGBA{9, 9, 9, 255})), "nothing.png": pngOf(t, flat(512, 512, color.NRGBA{})),
		"1.png": pngOf(t, pattern(512, 512, 5)), "dot.png": pngOf(t, pattern(512, 512, 6)), "word.png": pngOf(t, pattern(512, 512, 7)),
		"dot.txt": []byte("."), "word.txt": []byte("thing"), "img07.png": pngOf(t, pattern(512, 512, 8)), "img07.txt": []byte(" \n"), "cat.png": pngOf(t, pattern(512, 512, 9)), "cat.txt": {},
	}
	for _, name := range []string{"small", "panorama", "good", "wide", "flat", "nothing"} {
		files[name+".txt"] = []byte("a picture of " + name)
	}
	r := check(t, open(t, folder(t, files)), CheckOptions{Buckets: BucketOptions{Width: 512}})
	if f := found(r, TooSmall); len(f) != 1 || f["small.png"].What != "100 × 100 pixels are enlarged 5.1 times to train at 512 × 512" {
		t.Errorf("too small: %v", f)
	}
	if f := found(r, OddAspect); len(f) != 1 || f["panorama.png"].What != "1200 × 300 is 4.0 times as long as wide; 0 % of it is cut off at 1024 × 256" {
		t.Errorf("odd: %v", f)
	}
	if f := found(r, Empty); len(f) != 2 || f["flat.png"].What != "the picture is a single flat colour" || f["nothing.png"].What != "the picture is wholly transparent" {
		t.Errorf("empty: %v", f)
	}
	f := found(r, NoCaption)
	if f["img07.png"].What != "its caption file img07.txt is empty" || f["cat.png"].What != `its caption file cat.txt is empty; "cat", from its name, stands in` {
		t.Errorf("captions: %v", f)
	}
	if len(f) != 5 || f["1.png"].What != "there is no caption, and the name says nothing" || f["dot.png"].What != `the caption "." says next to nothing` || f["word.png"].What != `the caption is the one word "thing", where others say more` {
		t.Errorf("captions: %v", f)
	}
	if r.Usable != 11 {
		t.Errorf("%d usable", r.Usable)
	}
}

// TestSmallBesideOthers trains at 64, where 100 pixels are enough by themselves.
func TestSmallBesideOthers(t *testing.T) {
	files := map[string][]byte{"small.png": pngOf(t, pattern(100, 120, 9)), "tiny.png": pngOf(t, pattern(20, 20, 8))}
	for n := range 3 {
		files[fmt.Sprintf("large%d.png", n)] = pngOf(t, pattern(512, 512, n))
	}
	f := found(check(t, open(t, folder(t, files)), CheckOptions{}), TooSmall)
	if len(f) != 2 || f["small.png"].What != "100 × 120 pixels are far fewer than others have, whose shorter side is typically 512" || f["tiny.png"].What != "20 × 20 pixels are enlarged 3.2 times to train at 64 × 64" {
		t.Errorf("%v", f)
	}
}

func TestClassNamesAreCaptionsEnough(t *testing.T) {
	files := map[string][]byte{}
	for n := range 6 {
		files[fmt.Sprintf("%c/%d.png", "ab"[n%2], n)] = pngOf(t, pattern(64, 64, n))
	}
	r := check(t, open(t, folder(t, files)), CheckOptions{})
	if f := found(r, NoCaption); len(f) != 0 {
		t.Errorf("captions: %v", f)
	}
}

func TestCheckStops(t *testing.T) {
	d := open(t, folder(t, map[string][]byte{"a.png": pngOf(t, pattern(64, 64, 1))}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Check(ctx, CheckOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	told := map[Step]int{}
	if _, err := d.Check(t.Context(), CheckOptions{Progress: func(step Step, done, total int) { told[step] = 10*done + total }}); err != nil || told[Looking] != 11 || told[Comparing] != 11 {
		t.Errorf("%v, progress %v", err, told)
	}
}

func TestColourNames(t *testing.T) {
	for want, list := range map[string][][3]uint8{
		"black": {{10, 10, 12}}, "white": {{250, 250, 248}}, "grey": {{120, 122, 125}}, "red": {{220, 20, 30}, {180, 0, 0}}, "orange": {{250, 140, 20}}, "yellow": {{250, 220, 40}},
		"green": {{30, 160, 60}, {0, 100, 0}}, "blue": {{30, 80, 220}, {10, 10, 100}}, "purple": {{120, 30, 150}}, "pink": {{255, 150, 190}}, "brown": {{120, 70, 30}}, "teal": {{10, 140, 140}}, "beige": {{240, 220, 180}},
	} {
		for _, c := range list {
			if got := ColourName(c[0], c[1], c[2]); got != want {
				t.Errorf("%v is called %s, want %s", c, got, want)
			}
		}
	}
	// Ottosson's own table: XYZ white and sRGB red
	for _, c := range []struct{ rgb, lab [3]float64 }{{[3]float64{1, 1, 1}, [3]float64{1, 0, 0}}, {[3]float64{1, 0, 0}, [3]float64{0.62795, 0.22486, 0.12585}}, {[3]float64{0, 0, 1}, [3]float64{0.45201, -0.03246, -0.31153}}} {
		got := toOKLab(c.rgb[0], c.rgb[1], c.rgb[2])
		for i, v := range []float64{got.l, got.a, got.b} {
			if math.Abs(v-c.lab[i]) > 2e-5 {
				t.Errorf("%v is %v in OKLab, want %v", c.rgb, got, c.lab)
			}
		}
	}
}

func TestBalance(t *testing.T) {
	files := map[string][]byte{}
	for n := range 10 {
		c := color.NRGBA{255, 210, 20, 255}
		if n >= 8 {
			c = color.NRGBA{20, 40, 200, 255}
		}
		m := drawn(64, 64, func(x, y int) color.NRGBA {
			if y < 8+n { // a black edge tells the pictures apart
				return color.NRGBA{0, 0, 0, 255}
			}
			return c
		})
		files[fmt.Sprintf("p%d.png", n)] = pngOf(t, m)
		files[fmt.Sprintf("p%d.txt", n)] = fmt.Appendf(nil, "a smiling face in the sun, word%d", n)
	}
	files["p0.txt"] = []byte("a yellow face of a <b>bold</b> cat")
	b := check(t, open(t, folder(t, files)), CheckOptions{NearBits: -1}).Balance
	if b.Pictures != 10 || b.Captions.Captioned != 10 || b.Captions.Distinct != 10 || b.Captions.MedianWords != 7 || b.Captions.Vocabulary != 16 || b.Captions.Once != 13 {
		t.Errorf("captions %+v", b.Captions)
	}
	if w := b.Captions.Words; w[0] != (WordCount{"face", 10, 1}) || w[1] != (WordCount{"smiling", 9, 0.9}) || w[2] != (WordCount{"sun", 9, 0.9}) {
		t.Errorf("words %v", w[:3])
	}
	yellow := b.Colours[0]
	want := 0.0
	for n := range 8 {
		want += 1 - float64(8+n)/64
	}
	if yellow.Name != "yellow" || math.Abs(yellow.Share-want/10) > 0.01 || yellow.Dominant != 8 || yellow.Named != 1 {
		t.Errorf("yellow %+v, want a share of %.3f", yellow, want/10)
	}
	all := strings.Join(b.Over, "|")
	for _, s := range []string{"the word “face”: in 100 % of the captions", "the word “sun”: in 90 %", "yellow: 66 % of the area, most of 8 pictures, named in 1 caption"} {
		if !strings.Contains(all, s) {
			t.Errorf("over-represented %q lacks %q", all, s)
		}
	}
	if under := strings.Join(b.Under, "|"); !strings.Contains(under, "words in a single caption (13 of 16): b, bold, cat") || !strings.Contains(under, "red (0 %)") {
		t.Errorf("under-represented %q", under)
	}
	card := b.Markdown()
	for _, s := range []string{"10 pictures, 100 % with a caption", "| yellow | 66 % | 8 | 1 |", "| square | 10 |", "| 64 to 127 | 10 |", "- the word “face”"} {
		if !strings.Contains(card, s) {
			t.Errorf("the card lacks %q:\n%s", s, card)
		}
	}
}

func TestWordsOfCaptions(t *testing.T) {
	if got := fmt.Sprintf("%q", captionWords("A Cat's t-shirt, the RED one; naïve (red:1.2) 猫")); got != `["cat's" "t-shirt" "red" "one" "naïve" "1" "2" "猫"]` {
		t.Error(got)
	}
}
