package dataset

import (
	"fmt"
	"image"
	"math"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
)

func fonts(t *testing.T, files map[string][]byte, o GlyphOptions) (*Dataset, []Font) {
	t.Helper()
	d, err := Open(folder(t, files), Options{Glyphs: o})
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d, d.Fonts
}

// inked is the smallest rectangle that holds every pixel with more than a tenth of ink, and the mean ink.
func inked(m *image.RGBA) (image.Rectangle, float64) {
	var r image.Rectangle
	sum := 0.0
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			a := m.RGBAAt(x, y).A
			sum += float64(a) / 255
			if a > 25 {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r, sum / float64(m.Rect.Dx()*m.Rect.Dy())
}

func TestGlyphs(t *testing.T) {
	d, list := fonts(t, map[string][]byte{"sans/Go-Regular.ttf": goregular.TTF, "bold.TTF": gobold.TTF, "broken.otf": goregular.TTF[:2000], "readme.txt": []byte("x")}, GlyphOptions{})
	if len(d.Items) != 104 || len(list) != 2 || list[0].Glyphs != 52 || list[1].Family != "Go" || list[1].Style != "Regular" || !strings.Contains(list[1].Copyright, "Bigelow & Holmes") || list[1].License == "" {
		t.Errorf("%d letters of %+v", len(d.Items), list)
	}
	if len(d.Notes) != 1 || d.Notes[0].File != "broken.otf" || d.Notes[0].Kind != Broken {
		t.Errorf("notes %v", d.Notes)
	}
	at := map[string]int{}
	for i, it := range d.Items {
		at[it.Name] = i
		if it.Width != 64 || it.Height != 64 || it.Origin != FromName {
			t.Errorf("%+v", it)
		}
	}
	box := func(name string) (image.Rectangle, float64) {
		m, err := d.Picture(t.Context(), at[name])
		must(t, err)
		return inked(m)
	}
	capital, inkX := box("sans/Go-Regular/U+0058.png") // X
	small, _ := box("sans/Go-Regular/U+0078.png")      // x
	tail, _ := box("sans/Go-Regular/U+0070.png")       // p
	_, heavy := box("bold/U+0058.png")
	if capital.Max.Y != small.Max.Y || small.Dy() >= capital.Dy() || tail.Max.Y <= small.Max.Y || heavy < 1.2*inkX {
		t.Errorf("X %v, x %v, p %v; ink %v and in bold %v", capital, small, tail, inkX, heavy)
	}
	if middle := capital.Min.X + capital.Max.X; middle < 63 || middle > 65 {
		t.Errorf("X lies at %v", capital)
	}
	union := image.Rectangle{}
	for _, it := range d.Items[52:] {
		b, ink := box(it.Name)
		union = union.Union(b)
		if ink < 0.01 || ink > 0.5 {
			t.Errorf("%s has %v ink", it.Name, ink)
		}
	}
	if !union.In(image.Rect(4, 4, 60, 60)) || union.Dx() < 54 && union.Dy() < 54 {
		t.Errorf("letters fill %v, want to the margin of 4", union)
	}
	classes, of := d.Classes()
	if len(classes) != 52 || classes[0] != "A" || classes[51] != "z" || of[at["bold/U+0042.png"]] != 1 {
		t.Errorf("classes %v", classes)
	}
	// black letters on white, one channel
	b := next(t, batches(t, d, 1, BatchOptions{Size: 4, Channels: 1, InOrder: true}))
	if b.Shape != [4]int{4, 64, 64, 1} || b.Data[0] != 1 || slices.Min(b.Data) != -1 || b.Captions[1] != "B" {
		t.Errorf("%v, %q", b.Shape, b.Captions)
	}
}

// TestGlyphArea compares the ink of a letter with the area of its outline: every row of a bar has as much.
func TestGlyphArea(t *testing.T) {
	d, _ := fonts(t, map[string][]byte{"a.ttf": goregular.TTF}, GlyphOptions{Letters: "|", Size: 100, Margin: 10})
	m, err := d.Picture(t.Context(), 0)
	must(t, err)
	r, ink := inked(m)
	if r.Dy() != 80 {
		t.Errorf("the bar is %v, want 80 tall", r)
	}
	for y := 12; y < 88; y++ { // every row of it has as much ink
		row := 0.0
		for x := range 100 {
			row += float64(m.RGBAAt(x, y).A) / 255
		}
		if math.Abs(row-ink*10000/80) > 0.05 {
			t.Fatalf("row %d has %v, want %v", y, row, ink*10000/80)
		}
	}
}

func TestFamiliesStayTogether(t *testing.T) {
	d, list := fonts(t, map[string][]byte{"a.ttf": goregular.TTF, "b.ttf": gobold.TTF, "c.ttf": gomono.TTF}, GlyphOptions{Letters: "abcdefghij", Size: 32})
	if len(list) != 3 || list[0].Family != list[1].Family || list[2].Family == list[0].Family {
		t.Fatalf("families %+v", list)
	}
	f, err := d.Split(t.Context(), 0.3, 1)
	must(t, err)
	if len(f.Validation.Items) != 10 || len(f.Train.Items) != 20 || !strings.HasPrefix(f.Validation.Items[0].Name, "c/") {
		t.Errorf("validation %v", names(f.Validation))
	}
}

func TestCopiedFamiliesAreOne(t *testing.T) {
	d, _ := fonts(t, map[string][]byte{"a.ttf": goregular.TTF, "b.ttf": gomono.TTF, "c.ttf": gobold.TTF}, GlyphOptions{Letters: "abcdefghijklmnop", Size: 32})
	for i, it := range d.Items { // bold's letters under a name of their own, with the pixels of regular
		if strings.HasPrefix(it.Name, "c/") {
			it.group, it.file = "renamed", d.Items[i%16].file
		}
	}
	f, err := d.Split(t.Context(), 0.3, 1)
	must(t, err)
	if got := fmt.Sprint(len(f.Validation.Items), f.Validation.Items[0].Name[:2]); got != "16b/" {
		t.Errorf("validation %s", got)
	}
}

// TestLettersOfOneShapeAreBothKept has a letter twice under two names, as an I and an l may be, and a copy of a font.
func TestLettersOfOneShapeAreBothKept(t *testing.T) {
	d, _ := fonts(t, map[string][]byte{"a.ttf": goregular.TTF, "copy.ttf": goregular.TTF}, GlyphOptions{Letters: "AB", Size: 32})
	d.Items[1].file, d.Items[3].file = d.Items[0].file, d.Items[0].file
	r := check(t, d, CheckOptions{Buckets: BucketOptions{Width: 32, Single: true}})
	if r.Usable != 2 || len(r.Findings) != 2 || r.Findings[1].File != "copy/U+0042.png" || r.Findings[1].Others[0] != "a/U+0042.png" {
		t.Errorf("%d usable, %+v", r.Usable, r.Findings)
	}
}

func TestFontsRefuse(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.ttf": goregular.TTF})
	for want, o := range map[string]GlyphOptions{"letters of 2 pixels": {Size: 2}, "margin of 10": {Size: 20, Margin: 10}, "a.ttf: the font Go Regular has none of the letters": {Letters: "漢字"}} {
		if _, err := Open(dir, Options{Glyphs: o}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want … %s …", o, err, want)
		}
	}
}

// TestPicturesComeBeforeFonts has a font beside a picture of it.
func TestPicturesComeBeforeFonts(t *testing.T) {
	files := map[string][]byte{"a.ttf": goregular.TTF, "specimen.png": pngOf(t, pattern(16, 16, 1))}
	if d, _ := fonts(t, files, GlyphOptions{}); len(d.Items) != 1 || d.Items[0].Name != "specimen.png" {
		t.Errorf("%v", names(d))
	}
	if d, _ := fonts(t, files, GlyphOptions{Letters: "Q"}); len(d.Items) != 1 || d.Items[0].Caption != "Q" {
		t.Errorf("%v", names(d))
	}
}

func FuzzFont(f *testing.F) {
	f.Add(goregular.TTF[:4000], 100, byte(7))
	f.Add(goregular.TTF, 60, byte(255))
	f.Fuzz(func(t *testing.T, data []byte, at int, to byte) {
		if len(data) > 0 {
			data = slices.Clone(data)
			data[max(at, -at, 0)%len(data)] ^= to
		}
		d := &Dataset{opts: Options{}.filled()}
		o := GlyphOptions{Size: 16, Margin: 1}
		d.addFonts(memory("x.ttf", data), []rune("Aj"), o)
		for _, it := range d.Items {
			if it.Width != 16 {
				t.Errorf("%+v", it)
			}
		}
	})
}
