package kit

import (
	"image"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
)

// Tile is a small picture with a caption below, to be tapped.
type Tile struct {
	surface
	hover
	onTap   func()
	edge    float32
	picture *image.RGBA
	caption string
}

// NewTile makes an empty one.
func NewTile(tips *Tips, edge float32, tip Tip, tap func()) *Tile {
	t := &Tile{onTap: tap, edge: edge}
	t.init(t, tips, tip)
	t.ExtendBaseWidget(t)
	return t
}

// Set changes picture and caption.
func (t *Tile) Set(picture *image.RGBA, caption string) {
	if t.picture != picture || t.caption != caption {
		t.picture, t.caption = picture, caption
		t.Refresh()
	}
}

// Picture is what is shown; nil while there is none.
func (t *Tile) Picture() *image.RGBA { return t.picture }

// Tapped implements fyne.Tappable.
func (t *Tile) Tapped(*fyne.PointEvent) {
	t.tips.leave(t)
	t.onTap()
}

// CreateRenderer implements fyne.Widget.
func (t *Tile) CreateRenderer() fyne.WidgetRenderer {
	picture := &canvas.Image{FillMode: canvas.ImageFillContain, ScaleMode: canvas.ImageScaleFastest}
	frame := canvas.NewRectangle(nil)
	frame.CornerRadius = 2
	caption := canvas.NewText("", nil)
	caption.TextSize = Caption
	r := &painter{objects: []fyne.CanvasObject{picture, frame, caption}}
	r.min = func() fyne.Size { return fyne.NewSize(t.edge, t.edge+Tight+lineHeight(Caption)) }
	r.layout = func(fyne.Size) {
		picture.Resize(fyne.NewSize(t.edge, t.edge))
		frame.Resize(picture.Size())
		caption.Move(fyne.NewPos(0, t.edge+Tight))
	}
	r.refresh = func() {
		picture.Image = nil
		if t.picture != nil {
			picture.Image = t.picture
		}
		picture.Refresh()
		paintBox(frame, "", Line)
		if t.over {
			paintBox(frame, "", Secondary)
		}
		caption.Text, caption.Color = t.caption, Colour(Secondary)
		r.layout(t.Size())
		canvas.Refresh(t)
	}
	r.refresh()
	return r
}

// Box is a rounded area with a border.
type Box struct {
	surface
	fill, stroke fyne.ThemeColorName
}

// NewBox makes an area; an empty role leaves that part out.
func NewBox(fill, stroke fyne.ThemeColorName) *Box {
	b := &Box{fill: fill, stroke: stroke}
	b.ExtendBaseWidget(b)
	return b
}

// CreateRenderer implements fyne.Widget.
func (b *Box) CreateRenderer() fyne.WidgetRenderer {
	rect := canvas.NewRectangle(nil)
	rect.CornerRadius = Radius + 2
	r := &painter{objects: []fyne.CanvasObject{rect}}
	r.min = func() fyne.Size { return fyne.NewSize(1, 1) }
	r.layout = rect.Resize
	r.refresh = func() {
		paintBox(rect, b.fill, b.stroke)
		rect.Refresh()
	}
	r.refresh()
	return r
}
