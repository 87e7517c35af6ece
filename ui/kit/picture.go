package kit

import (
	"image"
	"math"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"

	view "atelier/render/canvas"
)

const (
	fitMargin   = 24  // device-independent pixels round a fitted picture
	fitLargest  = 8   // a small picture is enlarged at most this much by fitting
	wheelFactor = 1.2 // of one notch
	wheelNotch  = 25  // what the toolkit reports for one
	checkerCell = 8   // device-independent pixels
)

// Picture shows one image on a canvas with zoom and pan. Pixels are computed on another goroutine; until they are there, the
// last ones stay.
type Picture struct {
	surface
	OnView  func(percent float64, fit bool) // after every change of the view
	OnFrame func()                          // when new pixels are about to be shown

	// OnPaint, where it is set, hears where the pointer draws, in pixels of the image; first begins a stroke. Dragging moves the
	// picture only where it is not.
	OnPaint func(x, y float64, first bool)

	post   func(func()) // runs a function on the main thread
	raster *canvas.Raster
	src    *image.NRGBA
	size   image.Point // of the finished picture, which src may be a smaller preview of
	view   view.View   // in physical pixels
	fit    bool
	pixels image.Point // of the viewport, physical

	frame   *image.RGBA // on show
	drawing bool        // a frame is being computed
	stale   bool        // and will be out of date when it arrives
}

// NewPicture makes an empty canvas; post runs a function on the main thread, later.
func NewPicture(post func(func())) *Picture {
	p := &Picture{post: post, fit: true, view: view.View{Scale: 1}}
	p.raster = canvas.NewRaster(p.generate)
	p.raster.ScaleMode = canvas.ImageScaleFastest
	p.ExtendBaseWidget(p)
	return p
}

// Display puts an image on the canvas; nil empties it. size is that of the finished picture if img is a smaller preview of it.
// The zoom stays, unless the picture is fitted to the canvas or of another size. The image must not be written to afterwards.
func (p *Picture) Display(img *image.NRGBA, size image.Point) {
	if img != nil && (size.X <= 0 || size.Y <= 0) {
		size = img.Rect.Size()
	}
	if size != p.size && p.src != nil && img != nil {
		p.fit = true
	}
	p.src, p.size = img, size
	p.update()
}

// Image is what is on the canvas, nil if nothing.
func (p *Picture) Image() *image.NRGBA { return p.src }

// Fit shows the whole picture and keeps doing so.
func (p *Picture) Fit() {
	p.fit = true
	p.update()
}

// Actual shows the picture at 100 %, one picture pixel on one screen pixel.
func (p *Picture) Actual() {
	p.fit = false
	p.view = view.Centred(p.size, p.pixels, 1)
	p.update()
}

// Zoom multiplies the scale about the middle of the canvas.
func (p *Picture) Zoom(factor float64) {
	p.zoomAt(factor, float64(p.pixels.X)/2, float64(p.pixels.Y)/2)
}

func (p *Picture) zoomAt(factor, x, y float64) {
	if p.src == nil {
		return
	}
	p.fit = false
	p.view = p.view.ZoomAt(factor, x, y).Clamp(p.size, p.pixels)
	p.update()
}

// density is how many physical pixels a device-independent one has.
func (p *Picture) density() float64 {
	if w := p.Size().Width; w > 0 && p.pixels.X > 0 {
		return float64(p.pixels.X) / float64(w)
	}
	return 1
}

// Scrolled implements fyne.Scrollable: the wheel zooms about the pointer.
func (p *Picture) Scrolled(e *fyne.ScrollEvent) {
	notches := float64(e.Scrolled.DY) / wheelNotch
	notches = math.Max(-3, math.Min(3, notches))
	d := p.density()
	p.zoomAt(math.Pow(wheelFactor, notches), float64(e.Position.X)*d, float64(e.Position.Y)*d)
}

// Dragged implements fyne.Draggable: the left and the middle button pan.
func (p *Picture) Dragged(e *fyne.DragEvent) {
	if p.src == nil {
		return
	}
	if p.OnPaint != nil {
		p.paintAt(e.Position, false)
		return
	}
	p.fit = false
	d := p.density()
	p.view = p.view.Pan(float64(e.Dragged.DX)*d, float64(e.Dragged.DY)*d).Clamp(p.size, p.pixels)
	p.update()
}

// paintAt tells of a place on the image; src may be of another size than the picture that the view is for.
func (p *Picture) paintAt(at fyne.Position, first bool) {
	if p.src == nil || p.view.Scale <= 0 || p.size.X <= 0 {
		return
	}
	d, own := p.density(), float64(p.src.Rect.Dx())/float64(p.size.X)
	x, y := (float64(at.X)*d-p.view.OffsetX)/p.view.Scale, (float64(at.Y)*d-p.view.OffsetY)/p.view.Scale
	p.OnPaint(x*own, y*own, first)
}

// MouseDown implements desktop.Mouseable: a stroke begins.
func (p *Picture) MouseDown(e *desktop.MouseEvent) {
	if p.OnPaint != nil && e.Button == desktop.MouseButtonPrimary {
		p.paintAt(e.Position, true)
	}
}

// MouseUp implements desktop.Mouseable.
func (p *Picture) MouseUp(*desktop.MouseEvent) {}

// DragEnd implements fyne.Draggable.
func (p *Picture) DragEnd() {}

// DoubleTapped implements fyne.DoubleTappable: between the whole picture and 100 %.
func (p *Picture) DoubleTapped(*fyne.PointEvent) {
	if p.OnPaint != nil {
		return // two dots of the brush
	}
	if p.fit {
		p.Actual()
	} else {
		p.Fit()
	}
}

// Cursor implements desktop.Cursorable.
func (p *Picture) Cursor() desktop.Cursor {
	if p.OnPaint != nil {
		return desktop.CrosshairCursor
	}
	return desktop.DefaultCursor
}

// update brings view and pixels up to date with everything else.
func (p *Picture) update() {
	if p.fit {
		margin := int(fitMargin * p.density())
		p.view = view.Fit(p.size, p.pixels, margin, fitLargest)
	}
	if p.OnView != nil {
		p.OnView(p.view.Scale*100, p.fit)
	}
	p.draw()
}

// draw starts computing a frame unless one is under way; then it is repeated once that is done.
func (p *Picture) draw() {
	if p.pixels.X <= 0 || p.pixels.Y <= 0 { // not on a screen yet
		if p.OnFrame != nil {
			p.OnFrame()
		}
		return
	}
	if p.drawing {
		p.stale = true
		return
	}
	p.drawing, p.stale = true, false
	src, size, v, pixels := p.src, p.size, p.view, p.pixels
	back := Backdrop(int(math.Round(checkerCell * p.density())))
	go func() {
		frame := image.NewRGBA(image.Rectangle{Max: pixels})
		view.Draw(frame, src, size, v, back)
		p.post(func() {
			p.frame, p.drawing = frame, false
			p.raster.Refresh()
			if p.OnFrame != nil {
				p.OnFrame()
			}
			if p.stale {
				p.draw()
			}
		})
	}()
}

// generate hands the toolkit the latest frame. A frame of another size is shown at its own size, not stretched.
func (p *Picture) generate(w, h int) image.Image {
	if got := image.Pt(w, h); got != p.pixels && w > 0 && h > 0 {
		p.pixels = got
		p.update()
	}
	if p.frame != nil && p.frame.Rect.Size() == image.Pt(w, h) {
		return p.frame
	}
	out := image.NewRGBA(image.Rect(0, 0, max(1, w), max(1, h)))
	view.Draw(out, nil, image.Point{}, view.View{}, Backdrop(1))
	if p.frame != nil {
		for y := range min(h, p.frame.Rect.Dy()) {
			copy(out.Pix[y*out.Stride:(y+1)*out.Stride], p.frame.Pix[y*p.frame.Stride:(y+1)*p.frame.Stride])
		}
	}
	return out
}

// Backdrop is what lies behind pictures in the current theme.
func Backdrop(cell int) view.Backdrop {
	return view.Backdrop{Canvas: RGBA(Canvas), Light: RGBA(CheckerA), Dim: RGBA(CheckerB), Cell: cell}
}

// CreateRenderer implements fyne.Widget.
func (p *Picture) CreateRenderer() fyne.WidgetRenderer {
	return &painter{
		objects: []fyne.CanvasObject{p.raster},
		min:     func() fyne.Size { return fyne.NewSize(64, 64) },
		layout:  p.raster.Resize,
		refresh: func() { p.update() },
	}
}
