package images

import (
	"image"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/widget"

	"atelier/ui/kit"
)

const (
	tileGap = kit.Gap
	tileMin = 80 // device-independent pixels; as many columns as fit
	// thumbPixels is the edge of a stored thumbnail: sharp up to twice the usual density.
	thumbPixels = 208
)

// strip shows thumbnails, newest first, as many columns as fit, and makes widgets only for those in sight.
type strip struct {
	widget.BaseWidget
	onSelect func(index int)
	thumb    func(index int) *image.RGBA // nil while it is being made
	hovered  func(t *tile, index int)    // the pointer is on a tile, or, with −1, has left it
	count    int
	selected int
	tiles    map[int]*tile
	spare    []*tile
	scroll   *container.Scroll
	field    *fyne.Container
}

func newStrip(thumb func(int) *image.RGBA, onSelect func(int)) *strip {
	s := &strip{thumb: thumb, onSelect: onSelect, selected: -1, tiles: map[int]*tile{}}
	s.field = container.New(stripLayout{s})
	s.scroll = container.NewVScroll(s.field)
	s.scroll.OnScrolled = func(fyne.Position) { s.fill() }
	s.ExtendBaseWidget(s)
	return s
}

func (s *strip) columns(width float32) (n int, edge float32) {
	n = max(1, int((width+tileGap)/(tileMin+tileGap)))
	return n, (width - float32(n-1)*tileGap) / float32(n)
}

// update shows count thumbnails with one selected; index 0 is the oldest.
func (s *strip) update(count, selected int) {
	grown := count > s.count
	s.count, s.selected = count, selected
	s.scroll.Refresh() // the scrolled area has another height now
	if grown && s.scroll.Offset.Y > 0 && selected == count-1 {
		s.scroll.ScrollToTop()
	}
	s.fill()
}

// show scrolls so that the selected thumbnail is in sight.
func (s *strip) show(index int) {
	n, edge := s.columns(s.scroll.Size().Width)
	top := float32((s.count-1-index)/n) * (edge + tileGap)
	height := s.scroll.Size().Height
	switch {
	case top < s.scroll.Offset.Y:
		s.scroll.ScrollToOffset(fyne.NewPos(0, top))
	case top+edge > s.scroll.Offset.Y+height:
		s.scroll.ScrollToOffset(fyne.NewPos(0, top+edge-height))
	}
	s.fill()
}

// fill gives every thumbnail in sight a tile and takes the others' back.
func (s *strip) fill() {
	n, edge := s.columns(s.scroll.Size().Width)
	pitch := edge + tileGap
	first := int(s.scroll.Offset.Y/pitch) * n
	last := (int((s.scroll.Offset.Y+s.scroll.Size().Height)/pitch) + 1) * n
	inSight := func(index int) bool {
		place := s.count - 1 - index
		return index >= 0 && place >= first && place < last && place < s.count
	}
	for index, t := range s.tiles {
		if !inSight(index) {
			t.Hide()
			s.spare = append(s.spare, t)
			delete(s.tiles, index)
		}
	}
	for place := first; place < min(last, s.count); place++ {
		index := s.count - 1 - place
		t := s.tiles[index]
		if t == nil {
			t = s.take()
			s.tiles[index] = t
			t.Show()
		}
		t.Move(fyne.NewPos(float32(place%n)*pitch, float32(place/n)*pitch))
		t.Resize(fyne.NewSize(edge, edge))
		t.set(index, s.thumb(index), index == s.selected)
	}
}

func (s *strip) take() *tile {
	if k := len(s.spare); k > 0 {
		t := s.spare[k-1]
		s.spare = s.spare[:k-1]
		return t
	}
	t := newTile(s.onSelect, func(t *tile, index int) { s.hovered(t, index) })
	s.field.Objects = append(s.field.Objects, t)
	return t
}

// CreateRenderer implements fyne.Widget.
func (s *strip) CreateRenderer() fyne.WidgetRenderer { return stripRenderer{s} }

type stripRenderer struct{ s *strip }

func (r stripRenderer) Destroy()                     {}
func (r stripRenderer) Objects() []fyne.CanvasObject { return []fyne.CanvasObject{r.s.scroll} }
func (r stripRenderer) MinSize() fyne.Size           { return fyne.NewSize(tileMin, tileMin) }
func (r stripRenderer) Refresh()                     { r.s.fill() }
func (r stripRenderer) Layout(size fyne.Size) {
	r.s.scroll.Resize(size)
	r.s.fill()
}

// stripLayout gives the scrolled area the height of all thumbnails; fill places the tiles.
type stripLayout struct{ s *strip }

// MinSize implements fyne.Layout.
func (l stripLayout) MinSize([]fyne.CanvasObject) fyne.Size {
	n, edge := l.s.columns(l.s.scroll.Size().Width)
	rows := (l.s.count + n - 1) / n
	return fyne.NewSize(0, max(0, float32(rows)*(edge+tileGap)-tileGap))
}

// Layout implements fyne.Layout.
func (l stripLayout) Layout([]fyne.CanvasObject, fyne.Size) {}

// tile is one thumbnail.
type tile struct {
	widget.BaseWidget
	onSelect func(int)
	hovered  func(t *tile, index int)
	index    int
	picture  *image.RGBA
	selected bool
	over     bool
	raster   *canvas.Image
	frame    *canvas.Rectangle
}

func newTile(onSelect func(int), hovered func(*tile, int)) *tile {
	t := &tile{onSelect: onSelect, hovered: hovered, index: -1}
	t.raster = &canvas.Image{FillMode: canvas.ImageFillStretch, ScaleMode: canvas.ImageScaleFastest}
	t.frame = canvas.NewRectangle(nil)
	t.frame.CornerRadius = 2
	t.ExtendBaseWidget(t)
	return t
}

func (t *tile) set(index int, picture *image.RGBA, selected bool) {
	if t.index == index && t.picture == picture && t.selected == selected {
		return
	}
	t.index, t.selected = index, selected
	if t.picture != picture {
		t.picture = picture
		t.raster.Image = nil
		if picture != nil {
			t.raster.Image = picture
		}
		t.raster.Refresh()
	}
	t.Refresh()
}

// Tapped implements fyne.Tappable.
func (t *tile) Tapped(*fyne.PointEvent) { t.onSelect(t.index) }

// MouseIn implements desktop.Hoverable.
func (t *tile) MouseIn(*desktop.MouseEvent) {
	t.over = true
	t.hovered(t, t.index)
	t.Refresh()
}

// MouseMoved implements desktop.Hoverable.
func (t *tile) MouseMoved(*desktop.MouseEvent) {}

// MouseOut implements desktop.Hoverable.
func (t *tile) MouseOut() {
	t.over = false
	t.hovered(t, -1)
	t.Refresh()
}

// CreateRenderer implements fyne.Widget.
func (t *tile) CreateRenderer() fyne.WidgetRenderer { return tileRenderer{t} }

type tileRenderer struct{ t *tile }

func (r tileRenderer) Destroy() {}
func (r tileRenderer) Objects() []fyne.CanvasObject {
	return []fyne.CanvasObject{r.t.raster, r.t.frame}
}
func (r tileRenderer) MinSize() fyne.Size { return fyne.NewSize(tileMin, tileMin) }
func (r tileRenderer) Layout(size fyne.Size) {
	r.t.raster.Resize(size)
	r.t.frame.Resize(size)
}

func (r tileRenderer) Refresh() {
	f := r.t.frame
	f.FillColor, f.StrokeColor, f.StrokeWidth = nil, kit.Colour(kit.Line), 1
	switch {
	case r.t.selected:
		f.StrokeColor, f.StrokeWidth = kit.Colour(kit.AccentInk), 2
	case r.t.over:
		f.StrokeColor = kit.Colour(kit.Secondary)
	}
	f.Refresh()
}
