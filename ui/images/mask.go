package images

import (
	"image"
	"math"
	"path/filepath"

	"fyne.io/fyne/v2"

	"atelier/models/pipeline"
	"atelier/ui/kit"
)

// mask is where a picture is made new, from 0 to 255 for each of its pixels. It lives on the main thread.
type mask struct {
	width, height int
	cover         []uint8
}

func newMask(size image.Point) *mask {
	return &mask{width: size.X, height: size.Y, cover: make([]uint8, size.X*size.Y)}
}

// copied is another mask that is as the given one; nil is an empty one.
func (m *mask) copied(size image.Point) *mask {
	out := newMask(size)
	if m != nil {
		copy(out.cover, m.cover)
	}
	return out
}

// empty tells whether nothing is painted.
func (m *mask) empty() bool {
	for _, c := range m.cover {
		if c > 0 {
			return false
		}
	}
	return true
}

// stroke paints, or takes away, a line with round ends and an edge of one pixel.
func (m *mask) stroke(x0, y0, x1, y1, radius float64, erase bool) {
	left, right := int(math.Min(x0, x1)-radius-1), int(math.Max(x0, x1)+radius+1)
	top, bottom := int(math.Min(y0, y1)-radius-1), int(math.Max(y0, y1)+radius+1)
	dx, dy := x1-x0, y1-y0
	length := dx*dx + dy*dy
	for y := max(0, top); y <= min(m.height-1, bottom); y++ {
		for x := max(0, left); x <= min(m.width-1, right); x++ {
			px, py := float64(x)+0.5-x0, float64(y)+0.5-y0
			along := 0.0
			if length > 0 {
				along = math.Max(0, math.Min(1, (px*dx+py*dy)/length))
			}
			near := math.Hypot(px-along*dx, py-along*dy)
			c := uint8(255 * math.Max(0, math.Min(1, radius+0.5-near)))
			at := &m.cover[y*m.width+x]
			if erase {
				*at = min(*at, 255-c)
			} else {
				*at = max(*at, c)
			}
		}
	}
}

// pixels is the mask as a request carries it.
func (m *mask) pixels() *pipeline.Pixels {
	p := &pipeline.Pixels{W: m.width, H: m.height, C: 1, Data: make([]float32, len(m.cover))}
	for i, c := range m.cover {
		p.Data[i] = float32(c) / 255
	}
	return p
}

// over is a picture with the mask on it in the accent; cover is as in a mask of its size. It may run off the main thread.
func over(base *image.NRGBA, cover []uint8, ink [3]uint8) *image.NRGBA {
	const most = 150 // of 255
	size := base.Rect.Size()
	out := image.NewNRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		copy(out.Pix[y*out.Stride:], base.Pix[y*base.Stride:y*base.Stride+4*size.X])
		for x := range size.X {
			c := int(cover[y*size.X+x])
			if c == 0 {
				continue
			}
			p := out.Pix[y*out.Stride+4*x:]
			share, back := c*most/255, int(p[3])
			alpha := share + back*(255-share)/255
			for k := range 3 {
				p[k] = uint8((int(ink[k])*share + int(p[k])*back*(255-share)/255) / max(1, alpha))
			}
			p[3] = uint8(alpha)
		}
	}
	return out
}

// brush is the controls of the mask.
type brush struct {
	paint, erase, clear *kit.Button
	size                *kit.Number
	content             *fyne.Container
	on, erasing         bool
	x, y                float64 // where the last stroke ended
	drawing, stale      bool    // the canvas is being brought up to date, and is out of date again
}

func newBrush(tips *kit.Tips, do brushActions) *brush {
	b := &brush{}
	small := func(text string, tip kit.Tip, do func()) *kit.Button {
		button := kit.NewButton(tips, text, kit.Plain, tip, do)
		button.Height, button.TextSize = 26, kit.Caption
		return button
	}
	b.paint = small("Paint", kit.Tip{Name: "Paint a mask", Key: "B", Text: "Paint on the canvas where the picture is made new; the rest stays as it is."}, do.paint)
	b.erase = small("Erase", kit.Tip{Name: "Erase", Key: "E", Text: "Take the mask away where the pointer is drawn."}, do.erase)
	b.clear = small("Clear", kit.Tip{Name: "Clear the mask", Text: "Without a mask the whole picture is made new."}, do.clear)
	b.size = kit.NewNumber(tips, kit.Range{Min: 1, Max: 256, Step: 1, Curve: 2, Name: "Brush"}, 24, kit.Tip{Name: "Brush", Key: "[ ]", Text: "The brush's width in pixels of the picture."})
	load := kit.NewIconButton(tips, kit.IconFolder, kit.Tip{Name: "Load a mask", Text: "Take a picture as the mask: white is made new, black stays. A picture can also be dropped on this section."}, do.load)
	b.content = kit.Column(kit.Gap, kit.Row(kit.Tight, 0, kit.Equal(kit.Tight, b.paint, b.erase, b.clear), load), kit.Labelled("Brush", labelWidth, b.size))
	return b
}

func (b *brush) show() {
	b.paint.Selected, b.erase.Selected = b.on && !b.erasing, b.on && b.erasing
	b.paint.Refresh()
	b.erase.Refresh()
}

// Paint begins to paint a mask or to erase it; the same again ends that. It tells whether there is a picture to paint on.
func (w *Workspace) Paint(erase bool) bool {
	b, begin := w.form.begin.brush, w.form.begin
	if begin.from.given == nil || !begin.content.Visible() {
		return false
	}
	if b.on && b.erasing == erase {
		w.stopPainting()
		w.fallBack()
		return true
	}
	b.on, b.erasing = true, erase
	b.show()
	begin.fold.SetOpen(true)
	w.follow = false
	w.stage.picture.OnPaint = w.paint
	w.showMask()
	return true
}

// stopPainting gives the pointer back to moving the picture.
func (w *Workspace) stopPainting() {
	b := w.form.begin.brush
	b.on = false
	b.show()
	w.stage.picture.OnPaint = nil
}

// Brush makes the brush larger or smaller.
func (w *Workspace) Brush(larger bool) {
	n := w.form.begin.brush.size
	if larger {
		n.Set(math.Ceil(n.Value() * 1.25))
	} else {
		n.Set(math.Floor(n.Value() / 1.25))
	}
}

// paint draws on from where the pointer was; first begins anew, on a mask of its own, so that the one before can come back.
func (w *Workspace) paint(x, y float64, first bool) {
	b, begin := w.form.begin.brush, w.form.begin
	if begin.from.given == nil {
		return
	}
	if first {
		b.x, b.y = x, y
		begin.mask = begin.mask.copied(begin.from.given.image.Rect.Size())
	}
	begin.mask.stroke(b.x, b.y, x, y, b.size.Value()/2, b.erasing)
	b.x, b.y = x, y
	if first {
		w.form.act("", begin.summarise)
	}
	w.showMask()
}

func (w *Workspace) clearMask() { w.setMask(nil) }

// setMask takes a whole mask; nil is none.
func (w *Workspace) setMask(m *mask) {
	begin := w.form.begin
	w.form.act("", func() { begin.set(begin.from.given, m) })
	w.maskChanged()
}

// loadMask reads a picture off the main thread, makes its brightness the mask, and shows that.
func (w *Workspace) loadMask(path string) {
	on := w.form.begin.from.given
	whole, err := kit.WholePath(path)
	if err != nil || on == nil {
		return
	}
	go func() {
		g, err := readGiven(whole)
		var m *mask
		if err == nil {
			m = newMask(on.image.Rect.Size())
			m.cover = g.pixels.Cover(m.width, m.height)
		}
		w.config.Post(func() {
			switch {
			case err != nil:
				w.stage.tell(true, kit.Sentence(err), "", nil)
			case w.form.begin.from.given != on: // another picture has come meanwhile
			case m.empty():
				w.stage.tell(true, "The mask "+filepath.Base(whole)+" is black all over, so nothing would be made new; choose one that is white where the picture changes.", "", nil)
			default:
				w.setMask(m)
				if b := w.form.begin.brush; !b.on {
					w.Paint(false)
				}
			}
		})
	}()
}

// pickMask lets the person choose a file with a mask.
func (w *Workspace) pickMask() {
	w.config.BrowseFile(w.nearby(w.form.begin.from.name()), pictureEndings, w.loadMask)
}

// maskChanged brings the canvas up to date after the picture to begin with, or its mask, became another one.
func (w *Workspace) maskChanged() {
	switch {
	case !w.form.begin.brush.on:
		if w.running == 0 && w.session.chosen() == nil {
			w.fallBack()
		}
	case w.form.begin.from.given == nil:
		w.stopPainting()
		w.fallBack()
	default:
		w.showMask()
	}
}

// showMask brings the canvas up to date off the main thread; while that goes on, further strokes wait for the next time.
func (w *Workspace) showMask() {
	b, begin := w.form.begin.brush, w.form.begin
	if b.drawing {
		b.stale = true
		return
	}
	b.drawing, b.stale = true, false
	base := begin.from.given.image
	cover := make([]uint8, base.Rect.Dx()*base.Rect.Dy())
	if begin.mask != nil {
		copy(cover, begin.mask.cover)
	}
	c := kit.RGBA(kit.Accent)
	go func() {
		img := over(base, cover, [3]uint8{c.R, c.G, c.B})
		w.config.Post(func() {
			b.drawing = false
			if !b.on {
				return
			}
			w.stage.display(img, image.Point{})
			if b.stale {
				w.showMask()
			}
		})
	}()
}
