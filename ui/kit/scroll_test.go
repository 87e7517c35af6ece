package kit

import (
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"
)

// TestTheWheelStaysWithTheFormThatItMoves: a slider under the pointer takes the wheel, but not while it moves the form past it.
func TestTheWheelStaysWithTheFormThatItMoves(t *testing.T) {
	test.NewTempApp(t)
	tips := NewTips(func(do func()) { do() })
	n := NewNumber(tips, Range{Min: 1, Max: 150, Step: 1, Curve: 1, Name: "Steps"}, 20, Tip{})
	filler := canvas.NewRectangle(nil)
	filler.SetMinSize(fyne.NewSize(10, 1000))
	form := ScrollForm(tips, Column(Gap, n, filler)).(*container.Scroll)
	w := test.NewTempWindow(t, form)
	w.Resize(fyne.NewSize(300, 200))
	down := &fyne.ScrollEvent{Scrolled: fyne.Delta{DY: -25}}
	n.slider.Scrolled(down)
	if n.Value() != 19 || form.Offset.Y != 0 {
		t.Errorf("at rest: %v, and the form is at %v", n.Value(), form.Offset.Y)
	}
	form.Scrolled(down)
	n.slider.Scrolled(down)
	if n.Value() != 19 || form.Offset.Y != 50 {
		t.Errorf("on the way past: %v, and the form is at %v", n.Value(), form.Offset.Y)
	}
	tips.moved = time.Now().Add(-2 * wheelHold)
	n.slider.Scrolled(down)
	if n.Value() != 18 || form.Offset.Y != 50 {
		t.Errorf("at rest again: %v, and the form is at %v", n.Value(), form.Offset.Y)
	}
}
