package kit

import (
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// wheelHold is how long after a form scrolled the wheel still belongs to it.
const wheelHold = 600 * time.Millisecond

// ScrollForm makes a form scroll where it is longer than its column. While the wheel moves it, a slider that comes under the pointer
// does not take the wheel, so that nobody changes a number on the way past.
func ScrollForm(tips *Tips, content fyne.CanvasObject) fyne.CanvasObject {
	s := container.NewVScroll(Inset(Wide, Gap, content))
	s.OnScrolled = func(fyne.Position) { tips.scrolled(s) }
	return s
}

// scrolled notes that a form moves under the pointer.
func (t *Tips) scrolled(s *container.Scroll) { t.moving, t.moved = s, time.Now() }

// passWheel hands the wheel on to the form that it moved a moment ago, if it did.
func (t *Tips) passWheel(e *fyne.ScrollEvent) bool {
	if t == nil || t.moving == nil || time.Since(t.moved) > wheelHold {
		return false
	}
	t.scrolled(t.moving) // also where it is at its end
	t.moving.Scrolled(e)
	return true
}
