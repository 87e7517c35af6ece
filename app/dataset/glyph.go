package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"path"
	"slices"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// GlyphOptions say which letters are drawn where a set is made of fonts, and how large.
type GlyphOptions struct {
	Letters string // empty means A–Z and a–z
	Size    int    // side of the pictures; 0 means 64
	Margin  int    // pixels that stay empty on every side; 0 means a sixteenth of Size
}

const (
	latin        = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	mostGlyphs   = 4096 // letters that may be asked for
	mostPoints   = 100_000
	glyphsFormat = "png"
)

// Font is a typeface that glyphs were drawn from, with what its file says about who made it and on what terms.
type Font struct {
	File      string `json:"file"`
	Family    string `json:"family"`
	Style     string `json:"style"`
	Copyright string `json:"copyright"`
	License   string `json:"license"`
	Glyphs    int    `json:"glyphs"`
}

// draw fills the set with the letters of fonts: black on nothing, antialiased, one an item, whose caption is the letter. All letters of
// a font have one scale and one baseline, so that an x stays smaller than an X. Letters that a font lacks are left out; fonts that cannot
// be read are findings. A split keeps a family's letters together.
func (d *Dataset) draw(fonts []file) error {
	o := d.opts.Glyphs.filled()
	letters := slices.Compact(slices.Sorted(slices.Values([]rune(o.Letters))))
	switch {
	case o.Size < 8 || o.Size > 1024 || o.Margin < 0 || 2*o.Margin >= o.Size:
		return fmt.Errorf("letters of %d pixels with a margin of %d cannot be drawn; choose a size from 8 to 1024 and a margin of less than half", o.Size, o.Margin)
	case len(letters) > mostGlyphs:
		return fmt.Errorf("%d letters are asked for, and at most %d are drawn; choose fewer", len(letters), mostGlyphs)
	}
	for _, f := range fonts {
		d.Fonts = append(d.Fonts, d.addFonts(f, letters, o)...)
	}
	return nil
}

func (o GlyphOptions) filled() GlyphOptions {
	if o.Letters == "" {
		o.Letters = latin
	}
	if o.Size == 0 {
		o.Size = 64
	}
	if o.Margin == 0 {
		o.Margin = o.Size / 16
	}
	return o
}

// addFonts draws the letters of a file's fonts.
func (d *Dataset) addFonts(f file, letters []rune, o GlyphOptions) []Font {
	data, err := f.read(d.opts.MaxFileBytes)
	if err != nil {
		d.note(*(&Item{Name: f.name}).fail(err))
		return nil
	}
	var list []Font
	problem := guarded(func() error {
		c, err := sfnt.ParseCollection(data)
		if err != nil {
			return err
		}
		for i := range c.NumFonts() {
			face, err := c.Font(i)
			if err != nil {
				return err
			}
			info := describe(face, f.name)
			dir := stem(f.name)
			if c.NumFonts() > 1 {
				dir = fmt.Sprintf("%s-%d", dir, i)
			}
			if info.Glyphs, err = d.addGlyphs(face, dir, info.Family, letters, o); err != nil {
				return err
			}
			if info.Glyphs == 0 {
				d.note(Finding{File: f.name, Kind: Unsupported, Skipped: true, What: fmt.Sprintf("the font %s %s has none of the letters", info.Family, info.Style), Do: "remove it, or ask for other letters"})
				continue
			}
			list = append(list, info)
		}
		return nil
	})
	if problem != nil {
		d.note(Finding{File: f.name, Kind: Broken, Skipped: true, What: fmt.Sprintf("the font cannot be read (%v)", problem), Do: "download it again, or remove it"})
	}
	return list
}

// guarded runs f and makes an error of a panic: font files are programs of a kind, and hostile ones exist.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("it makes no sense")
		}
	}()
	return f()
}

// describe reads the font's names.
func describe(face *sfnt.Font, name string) Font {
	var b sfnt.Buffer
	get := func(id sfnt.NameID) string {
		s, err := face.Name(&b, id)
		if err != nil {
			return ""
		}
		return clean(s)
	}
	f := Font{File: name, Family: get(sfnt.NameIDTypographicFamily), Style: get(sfnt.NameIDSubfamily), Copyright: get(sfnt.NameIDCopyright), License: get(sfnt.NameIDLicense)}
	if f.Family == "" {
		f.Family = get(sfnt.NameIDFamily)
	}
	if f.Family == "" {
		f.Family = stem(path.Base(name))
	}
	if url := get(sfnt.NameIDLicenseURL); f.License == "" {
		f.License = url
	}
	return f
}

// outline is a letter's shape in pixels at the size it was loaded at, y downwards from the baseline.
type outline struct {
	letter   rune
	segments sfnt.Segments
	bounds   fixed.Rectangle26_6
}

// loadSize is the size in pixels an em that outlines are loaded at, before they are scaled to fit.
const loadSize = 256

// addGlyphs draws the letters of one font and gives how many it has.
func (d *Dataset) addGlyphs(face *sfnt.Font, dir, family string, letters []rune, o GlyphOptions) (int, error) {
	shapes, err := outlines(face, letters)
	if err != nil || len(shapes) == 0 {
		return 0, err
	}
	all := shapes[0].bounds
	widest := fixed.Int26_6(0)
	for _, s := range shapes {
		all = all.Union(s.bounds)
		widest = max(widest, s.bounds.Max.X-s.bounds.Min.X)
	}
	room := float64(o.Size - 2*o.Margin)
	height, top := float64(all.Max.Y-all.Min.Y)/64, float64(all.Min.Y)/64
	scale := min(room/height, room/(float64(widest)/64))
	baseline := float64(o.Margin) + (room-scale*height)/2 - scale*top
	for _, s := range shapes {
		middle := float64(s.bounds.Min.X+s.bounds.Max.X) / 128
		data, err := s.draw(o.Size, scale, float64(o.Size)/2-scale*middle, baseline)
		if err != nil {
			return 0, err
		}
		name := fmt.Sprintf("%s/U+%04X.png", dir, s.letter)
		d.Items = append(d.Items, &Item{Name: name, Caption: string(s.letter), Origin: FromName, Repeats: 1, Format: glyphsFormat, Width: o.Size, Height: o.Size, Bytes: int64(len(data)), turn: 1, group: family,
			file: memory(name, data)})
	}
	return len(shapes), nil
}

// outlines loads the letters that the font has and that show something. Letters that cannot be read are left out; the error is that of
// one of them where none is left.
func outlines(face *sfnt.Font, letters []rune) ([]outline, error) {
	var b sfnt.Buffer
	var list []outline
	var last error
	for _, r := range letters {
		o, ok, err := outlineOf(face, &b, r)
		switch {
		case err != nil:
			last = err
		case ok:
			list = append(list, o)
		}
	}
	if len(list) > 0 {
		last = nil
	}
	return list, last
}

// outlineOf loads a letter; ok is false where the font lacks it or it shows nothing.
func outlineOf(face *sfnt.Font, b *sfnt.Buffer, r rune) (o outline, ok bool, err error) {
	i, err := face.GlyphIndex(b, r)
	if err != nil || i == 0 {
		return o, false, err
	}
	bounds, _, err := face.GlyphBounds(b, i, fixed.I(loadSize), font.HintingNone)
	if err != nil {
		return o, false, err
	}
	segments, err := face.LoadGlyph(b, i, fixed.I(loadSize), nil)
	if err != nil {
		return o, false, err
	}
	const most = 64 * 64 * loadSize // 64 ems
	w, h := bounds.Max.X-bounds.Min.X, bounds.Max.Y-bounds.Min.Y
	if len(segments) == 0 || len(segments) > mostPoints || w <= 0 || h <= 0 || w > most || h > most {
		return o, false, nil
	}
	return outline{r, slices.Clone(segments), bounds}, true, nil
}

// draw fills the outline on a canvas of size × size, scaled and moved to (x, y), as a PNG file.
func (s *outline) draw(size int, scale, x, y float64) ([]byte, error) {
	z := vector.NewRasterizer(size, size)
	at := func(p fixed.Point26_6) (float32, float32) {
		return float32(x + scale*float64(p.X)/64), float32(y + scale*float64(p.Y)/64)
	}
	for _, g := range s.segments {
		ax, ay := at(g.Args[0])
		bx, by := at(g.Args[1])
		cx, cy := at(g.Args[2])
		switch g.Op {
		case sfnt.SegmentOpMoveTo:
			z.ClosePath()
			z.MoveTo(ax, ay)
		case sfnt.SegmentOpLineTo:
			z.LineTo(ax, ay)
		case sfnt.SegmentOpQuadTo:
			z.QuadTo(ax, ay, bx, by)
		case sfnt.SegmentOpCubeTo:
			z.CubeTo(ax, ay, bx, by, cx, cy)
		}
	}
	z.ClosePath()
	cover := image.NewAlpha(image.Rect(0, 0, size, size))
	z.Draw(cover, cover.Rect, image.Opaque, image.Point{})
	m := image.NewNRGBA(cover.Rect)
	for i, a := range cover.Pix {
		m.SetNRGBA(i%size, i/size, color.NRGBA{0, 0, 0, a})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return nil, fmt.Errorf("a letter cannot be encoded: %w", err)
	}
	return b.Bytes(), nil
}

// Classes lists the different captions, sorted, for models that are conditioned on a label, and gives each item's index among them.
func (d *Dataset) Classes() (classes []string, of []int) {
	index := map[string]int{}
	for _, it := range d.Items {
		index[it.Caption] = 0
	}
	for c := range index {
		classes = append(classes, c)
	}
	slices.Sort(classes)
	for i, c := range classes {
		index[c] = i
	}
	of = make([]int, len(d.Items))
	for i, it := range d.Items {
		of[i] = index[it.Caption]
	}
	return classes, of
}
