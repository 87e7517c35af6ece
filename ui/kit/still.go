package kit

import (
	"image"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
)

// Still is a picture that stands in a page: as wide as the page, but no larger than its own pixels.
type Still struct {
	surface
	image image.Image
}

// NewStill makes an empty one.
func NewStill() *Still {
	s := &Still{}
	s.ExtendBaseWidget(s)
	return s
}

// Set shows a picture, which must not be written to afterwards; nil shows nothing.
func (s *Still) Set(img image.Image) {
	s.image = img
	s.Refresh()
}

// Image is what is shown.
func (s *Still) Image() image.Image { return s.image }

// CreateRenderer implements fyne.Widget.
func (s *Still) CreateRenderer() fyne.WidgetRenderer {
	picture := &canvas.Image{FillMode: canvas.ImageFillStretch, ScaleMode: canvas.ImageScaleSmooth}
	size := func(width float32) fyne.Size {
		if s.image == nil {
			return fyne.NewSize(0, 1)
		}
		own := s.image.Bounds().Size()
		width = min(width, float32(own.X))
		return fyne.NewSize(width, width*float32(own.Y)/float32(max(1, own.X)))
	}
	r := &painter{objects: []fyne.CanvasObject{picture}}
	r.min = func() fyne.Size { return fyne.NewSize(0, size(s.Size().Width).Height) }
	r.layout = func(room fyne.Size) { picture.Resize(size(room.Width)) }
	r.refresh = func() {
		picture.Image = s.image
		r.layout(s.Size())
		picture.Refresh()
	}
	r.refresh()
	return r
}
