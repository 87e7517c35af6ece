package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/widget"
)

// Choice picks one of a few named things from a list that drops down.
type Choice struct {
	surface
	hover
	OnChanged func(index int)

	labels   []string
	selected int
	focused  bool
}

// NewChoice makes a choice without anything to choose from.
func NewChoice(tips *Tips, tip Tip) *Choice {
	c := &Choice{}
	c.init(c, tips, tip)
	c.ExtendBaseWidget(c)
	return c
}

// SetLabels changes what there is to choose and which of it is chosen, without calling OnChanged.
func (c *Choice) SetLabels(labels []string, selected int) {
	c.labels, c.selected = labels, selected
	c.Refresh()
}

// Select shows a choice without calling OnChanged.
func (c *Choice) Select(index int) {
	c.selected = index
	c.Refresh()
}

// Selected is the index of the choice, -1 if there is nothing to choose.
func (c *Choice) Selected() int {
	if c.selected >= len(c.labels) {
		return -1
	}
	return c.selected
}

func (c *Choice) pick(index int) {
	if index < 0 || index >= len(c.labels) || index == c.selected {
		return
	}
	c.selected = index
	c.Refresh()
	if c.OnChanged != nil {
		c.OnChanged(index)
	}
}

// Tapped implements fyne.Tappable: it drops the list down.
func (c *Choice) Tapped(*fyne.PointEvent) {
	c.tips.leave(c)
	if len(c.labels) == 0 {
		return
	}
	items := make([]*fyne.MenuItem, len(c.labels))
	for i, label := range c.labels {
		items[i] = fyne.NewMenuItem(label, func() { c.pick(i) })
		items[i].Checked = i == c.selected
	}
	driver := fyne.CurrentApp().Driver()
	menu := widget.NewPopUpMenu(fyne.NewMenu("", items...), driver.CanvasForObject(c))
	menu.ShowAtPosition(driver.AbsolutePositionForObject(c).AddXY(0, c.Size().Height+2))
	menu.Resize(fyne.NewSize(max(c.Size().Width, menu.MinSize().Width), menu.Size().Height))
}

// FocusGained implements fyne.Focusable.
func (c *Choice) FocusGained() { c.focused = true; c.Refresh() }

// FocusLost implements fyne.Focusable.
func (c *Choice) FocusLost() { c.focused = false; c.Refresh() }

// TypedRune implements fyne.Focusable.
func (c *Choice) TypedRune(rune) {}

// TypedKey implements fyne.Focusable.
func (c *Choice) TypedKey(key *fyne.KeyEvent) {
	switch key.Name {
	case fyne.KeyUp:
		c.pick(c.selected - 1)
	case fyne.KeyDown:
		c.pick(c.selected + 1)
	case fyne.KeySpace, fyne.KeyReturn, fyne.KeyEnter:
		c.Tapped(nil)
	default:
		passKey(c, key)
	}
}

// CreateRenderer implements fyne.Widget.
func (c *Choice) CreateRenderer() fyne.WidgetRenderer {
	box := canvas.NewRectangle(nil)
	box.CornerRadius = Radius
	text := canvas.NewText("", nil)
	text.TextSize = Body
	arrow := newGlyph(IconDown, Secondary)
	r := &painter{objects: []fyne.CanvasObject{box, text, arrow.img}}
	r.min = func() fyne.Size { return fyne.NewSize(80, RowHeight) }
	r.layout = func(size fyne.Size) {
		box.Resize(size)
		label := "—"
		if i := c.Selected(); i >= 0 {
			label = c.labels[i]
		}
		text.Text = Shorten(label, Body, size.Width-10-26)
		text.Move(fyne.NewPos(10, (size.Height-text.MinSize().Height)/2-1))
		arrow.img.Resize(fyne.NewSize(14, 14))
		arrow.img.Move(fyne.NewPos(size.Width-22, (size.Height-14)/2))
	}
	r.refresh = func() {
		stroke := Line
		if c.focused {
			stroke = AccentInk
		} else if c.over {
			stroke = Secondary
		}
		paintBox(box, Raised, stroke)
		text.Color = Colour(Text)
		arrow.set(IconDown, Secondary)
		r.layout(c.Size())
		canvas.Refresh(c)
	}
	r.refresh()
	return r
}
