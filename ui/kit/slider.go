package kit

import (
	"math"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
)

// slider is the track of a Number. It reports positions from 0 to 1 and steps; what they mean is the Number's affair.
type slider struct {
	surface
	hover
	position  float64
	onMove    func(position float64)
	onStep    func(steps int)
	onDefault func()
	focused   bool
}

const thumb = 12

func newSlider(tips *Tips, tip Tip) *slider {
	s := &slider{}
	s.init(s, tips, tip)
	s.ExtendBaseWidget(s)
	return s
}

func (s *slider) set(position float64) {
	s.position = math.Max(0, math.Min(1, position))
	s.Refresh()
}

func (s *slider) moveTo(x float32) {
	if room := s.Size().Width - thumb; room > 0 {
		s.onMove(math.Max(0, math.Min(1, float64((x-thumb/2)/room))))
	}
}

// MouseDown implements desktop.Mouseable: the thumb jumps to the pointer at once.
func (s *slider) MouseDown(e *desktop.MouseEvent) {
	if e.Button == desktop.MouseButtonPrimary {
		s.tips.leave(s)
		s.moveTo(e.Position.X)
	}
}

// MouseUp implements desktop.Mouseable.
func (s *slider) MouseUp(*desktop.MouseEvent) {}

// Dragged implements fyne.Draggable.
func (s *slider) Dragged(e *fyne.DragEvent) { s.moveTo(e.Position.X) }

// DragEnd implements fyne.Draggable.
func (s *slider) DragEnd() {}

// DoubleTapped implements fyne.DoubleTappable: back to the default.
func (s *slider) DoubleTapped(*fyne.PointEvent) { s.onDefault() }

// Scrolled implements fyne.Scrollable: a notch of the wheel is a step, but in a form that the wheel is moving.
func (s *slider) Scrolled(e *fyne.ScrollEvent) {
	switch {
	case s.tips.passWheel(e):
	case e.Scrolled.DY > 0:
		s.onStep(1)
	case e.Scrolled.DY < 0:
		s.onStep(-1)
	}
}

// FocusGained implements fyne.Focusable.
func (s *slider) FocusGained() { s.focused = true; s.Refresh() }

// FocusLost implements fyne.Focusable.
func (s *slider) FocusLost() { s.focused = false; s.Refresh() }

// TypedRune implements fyne.Focusable.
func (s *slider) TypedRune(rune) {}

// TypedKey implements fyne.Focusable.
func (s *slider) TypedKey(key *fyne.KeyEvent) {
	switch key.Name {
	case fyne.KeyLeft, fyne.KeyDown:
		s.onStep(-1)
	case fyne.KeyRight, fyne.KeyUp:
		s.onStep(1)
	case fyne.KeyPageDown:
		s.onStep(-10)
	case fyne.KeyPageUp:
		s.onStep(10)
	case fyne.KeyHome:
		s.onMove(0)
	case fyne.KeyEnd:
		s.onMove(1)
	default:
		passKey(s, key)
	}
}

// CreateRenderer implements fyne.Widget.
func (s *slider) CreateRenderer() fyne.WidgetRenderer {
	track, fill := canvas.NewRectangle(nil), canvas.NewRectangle(nil)
	track.CornerRadius, fill.CornerRadius = 1.5, 1.5
	knob, ring := canvas.NewCircle(nil), canvas.NewCircle(nil)
	r := &painter{objects: []fyne.CanvasObject{track, fill, ring, knob}}
	r.min = func() fyne.Size { return fyne.NewSize(72, RowHeight) }
	r.layout = func(size fyne.Size) {
		middle := size.Height / 2
		x := thumb/2 + float32(s.position)*(size.Width-thumb)
		track.Resize(fyne.NewSize(size.Width-thumb, 3))
		track.Move(fyne.NewPos(thumb/2, middle-1.5))
		fill.Resize(fyne.NewSize(x-thumb/2, 3))
		fill.Move(track.Position())
		knob.Resize(fyne.NewSize(thumb, thumb))
		knob.Move(fyne.NewPos(x-thumb/2, middle-thumb/2))
		ring.Resize(fyne.NewSize(thumb+6, thumb+6))
		ring.Move(fyne.NewPos(x-thumb/2-3, middle-thumb/2-3))
	}
	r.refresh = func() {
		track.FillColor, fill.FillColor = Colour(Line), Colour(Secondary)
		knob.FillColor = Colour(Secondary)
		if s.over || s.focused {
			knob.FillColor, fill.FillColor = Colour(Accent), Colour(Accent)
		}
		ring.FillColor, ring.StrokeWidth = nil, 0
		if s.focused {
			ring.StrokeColor, ring.StrokeWidth = Colour(AccentInk), 1
		}
		r.layout(s.Size())
		canvas.Refresh(s)
	}
	r.refresh()
	return r
}
