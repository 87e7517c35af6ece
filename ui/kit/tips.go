package kit

import (
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
)

// Tip is what a control says of itself when the pointer rests on it.
type Tip struct {
	Name string // the control; may be empty where its face says it
	Key  string // its key, such as "Ctrl+Enter"; may be empty
	Text string // one plain sentence
}

const (
	tipDelay  = 550 * time.Millisecond
	noteTime  = 3 * time.Second
	tipWidth  = 260
	tipMargin = 8
)

// Tips shows one bubble at a time in a layer over the window. It is used on the main thread only.
type Tips struct {
	Layer  *fyne.Container // goes on top of the window's content
	post   func(func())    // runs a function on the main thread
	bubble *bubble
	owner  fyne.CanvasObject
	timer  *time.Timer
	moving *container.Scroll // the form that the wheel moved last
	moved  time.Time
	turn   int // counts what the timers were started for; an old timer's word is ignored
}

// NewTips makes the layer; post runs a function on the main thread, later.
func NewTips(post func(func())) *Tips {
	t := &Tips{post: post, bubble: newBubble()}
	t.bubble.Hide()
	t.Layer = container.NewWithoutLayout(t.bubble)
	return t
}

// enter waits a moment and then shows the tip by its owner.
func (t *Tips) enter(owner fyne.CanvasObject, tip Tip) {
	if t == nil || tip == (Tip{}) {
		return
	}
	t.hide()
	t.owner = owner
	t.after(tipDelay, func() { t.show(owner, tip, Secondary) })
}

// Over is for controls outside this package: the pointer has come over the owner, or, with an empty tip, has left it.
func (t *Tips) Over(owner fyne.CanvasObject, tip Tip) {
	if tip == (Tip{}) {
		t.leave(owner)
		return
	}
	t.enter(owner, tip)
}

// leave hides the owner's tip or note.
func (t *Tips) leave(owner fyne.CanvasObject) {
	if t != nil && t.owner == owner {
		t.hide()
	}
}

// Clear hides whatever shows, where controls are hidden under the pointer.
func (t *Tips) Clear() {
	if t != nil {
		t.hide()
	}
}

// Note shows a short word of correction by a control for a few seconds.
func (t *Tips) Note(owner fyne.CanvasObject, text string) {
	if t == nil {
		return
	}
	t.hide()
	t.owner = owner
	t.show(owner, Tip{Text: text}, AccentInk)
	t.after(noteTime, t.hide)
}

// Shown is the text of the visible bubble, empty if there is none.
func (t *Tips) Shown() string {
	if !t.bubble.Visible() {
		return ""
	}
	return t.bubble.tip.Text
}

func (t *Tips) after(d time.Duration, f func()) {
	t.turn++
	turn := t.turn
	t.timer = time.AfterFunc(d, func() {
		t.post(func() {
			if t.turn == turn {
				f()
			}
		})
	})
}

func (t *Tips) hide() {
	t.turn++
	if t.timer != nil {
		t.timer.Stop()
	}
	t.owner = nil
	if t.bubble.Visible() {
		t.bubble.Hide()
	}
}

func (t *Tips) show(owner fyne.CanvasObject, tip Tip, border fyne.ThemeColorName) {
	window := t.Layer.Size()
	t.bubble.set(tip, border)
	size := t.bubble.MinSize()
	at := fyne.CurrentApp().Driver().AbsolutePositionForObject(owner)
	layer := fyne.CurrentApp().Driver().AbsolutePositionForObject(t.Layer)
	at = at.Subtract(layer)
	x := min(at.X, window.Width-size.Width-tipMargin)
	y := at.Y + owner.Size().Height + 6
	if y+size.Height > window.Height-tipMargin {
		y = at.Y - size.Height - 6
	}
	t.bubble.Resize(size)
	t.bubble.Move(fyne.NewPos(max(tipMargin, x), max(tipMargin, y)))
	t.bubble.Show()
}

// bubble is the box of a tip: a headline with name and key, and wrapped text.
type bubble struct {
	surface
	tip    Tip
	border fyne.ThemeColorName
}

func newBubble() *bubble {
	b := &bubble{}
	b.ExtendBaseWidget(b)
	return b
}

func (b *bubble) set(tip Tip, border fyne.ThemeColorName) {
	b.tip, b.border = tip, border
	b.Refresh()
}

func (b *bubble) CreateRenderer() fyne.WidgetRenderer {
	box := canvas.NewRectangle(Colour(Lifted))
	box.CornerRadius, box.StrokeWidth = Radius, 1
	name, key := canvas.NewText("", Colour(Text)), canvas.NewText("", Colour(Secondary))
	name.TextSize, key.TextSize = Caption, Caption
	name.TextStyle.Bold = true
	lines := []*canvas.Text{}
	wrapped := func() []string { return Wrap(b.tip.Text, Caption, tipWidth-2*Gap, 14) }
	r := &painter{}
	r.min = func() fyne.Size {
		width := min(tipWidth, max(widest(wrapped(), Caption), name.MinSize().Width+Wide+key.MinSize().Width)+2*Gap)
		height := float32(len(wrapped()))*lineHeight(Caption) + 12
		if b.tip.Name != "" || b.tip.Key != "" {
			height += lineHeight(Caption)
		}
		return fyne.NewSize(width, height)
	}
	r.layout = func(size fyne.Size) {
		box.Resize(size)
		y := float32(6)
		name.Move(fyne.NewPos(Gap, y))
		key.Move(fyne.NewPos(size.Width-Gap-key.MinSize().Width, y))
		if b.tip.Name != "" || b.tip.Key != "" {
			y += lineHeight(Caption)
		}
		for _, l := range lines {
			l.Move(fyne.NewPos(Gap, y))
			y += lineHeight(Caption)
		}
	}
	r.refresh = func() {
		box.FillColor, box.StrokeColor = Colour(Lifted), Faint(Secondary, 0x70)
		if b.border == AccentInk {
			box.StrokeColor = Colour(AccentInk)
		}
		name.Text, key.Text = b.tip.Name, b.tip.Key
		name.Color, key.Color = Colour(Text), Colour(Secondary)
		lines = lines[:0]
		objects := []fyne.CanvasObject{box, name, key}
		for _, s := range wrapped() {
			l := canvas.NewText(s, Colour(Text))
			l.TextSize = Caption
			lines = append(lines, l)
			objects = append(objects, l)
		}
		r.objects = objects
		r.layout(b.Size())
		canvas.Refresh(b)
	}
	r.refresh()
	return r
}

// hover gives a control its tip and knows whether the pointer is on it. The control embeds it and calls init.
type hover struct {
	tips *Tips
	tip  Tip
	over bool
	self fyne.Widget
}

func (h *hover) init(self fyne.Widget, tips *Tips, tip Tip) { h.self, h.tips, h.tip = self, tips, tip }

// MouseIn implements desktop.Hoverable.
func (h *hover) MouseIn(*desktop.MouseEvent) {
	h.over = true
	h.tips.enter(h.self, h.tip)
	h.self.Refresh()
}

// MouseMoved implements desktop.Hoverable.
func (h *hover) MouseMoved(*desktop.MouseEvent) {}

// MouseOut implements desktop.Hoverable.
func (h *hover) MouseOut() {
	h.over = false
	h.tips.leave(h.self)
	h.self.Refresh()
}
