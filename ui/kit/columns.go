package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
)

// Columns lays out a left column, a middle that takes the rest, and a right column that can be hidden. The dividers drag.
type Columns struct {
	surface
	OnMoved func(left, right float32) // after a drag

	left, middle, right fyne.CanvasObject
	leftWidth           float32
	rightWidth          float32
	rightHidden         bool
	first, second       *divider
}

// Limits of the columns' widths.
const (
	LeftMin, LeftMax   float32 = 280, 420
	RightMin, RightMax float32 = 228, 480
	middleMin          float32 = 320
)

// NewColumns makes the layout with the columns' widths.
func NewColumns(left, middle, right fyne.CanvasObject, leftWidth, rightWidth float32) *Columns {
	c := &Columns{left: left, middle: middle, right: right, leftWidth: leftWidth, rightWidth: rightWidth}
	c.first = newDivider(func(dx float32) { c.move(dx, 0) }, c.moved)
	c.second = newDivider(func(dx float32) { c.move(0, -dx) }, c.moved)
	c.ExtendBaseWidget(c)
	return c
}

// HideRight hides or shows the right column.
func (c *Columns) HideRight(hidden bool) {
	c.rightHidden = hidden
	c.Refresh()
}

// RightHidden tells whether the right column is hidden.
func (c *Columns) RightHidden() bool { return c.rightHidden }

func (c *Columns) move(left, right float32) {
	c.leftWidth = max(LeftMin, min(LeftMax, c.leftWidth+left))
	c.rightWidth = max(RightMin, min(RightMax, c.rightWidth+right))
	c.Refresh()
}

func (c *Columns) moved() {
	if c.OnMoved != nil {
		c.OnMoved(c.leftWidth, c.rightWidth)
	}
}

// CreateRenderer implements fyne.Widget.
func (c *Columns) CreateRenderer() fyne.WidgetRenderer {
	const grip = 7
	r := &painter{objects: []fyne.CanvasObject{c.middle, c.left, c.right, c.first, c.second}}
	r.min = func() fyne.Size {
		h := max(c.left.MinSize().Height, c.middle.MinSize().Height)
		w := LeftMin + middleMin
		if !c.rightHidden {
			w += RightMin
		}
		return fyne.NewSize(w, h)
	}
	r.layout = func(size fyne.Size) {
		right := c.rightWidth
		if c.rightHidden {
			right = 0
			c.right.Hide()
			c.second.Hide()
		} else {
			c.right.Show()
			c.second.Show()
		}
		left := min(c.leftWidth, max(LeftMin, size.Width-right-middleMin))
		if !c.rightHidden {
			right = min(right, max(RightMin, size.Width-left-middleMin))
		}
		c.left.Resize(fyne.NewSize(left, size.Height))
		c.middle.Move(fyne.NewPos(left, 0))
		c.middle.Resize(fyne.NewSize(size.Width-left-right, size.Height))
		c.right.Move(fyne.NewPos(size.Width-right, 0))
		c.right.Resize(fyne.NewSize(right, size.Height))
		c.first.Resize(fyne.NewSize(grip, size.Height))
		c.first.Move(fyne.NewPos(left-grip/2, 0))
		c.second.Resize(fyne.NewSize(grip, size.Height))
		c.second.Move(fyne.NewPos(size.Width-right-grip/2, 0))
	}
	r.refresh = func() {
		r.layout(c.Size())
		canvas.Refresh(c)
	}
	return r
}

// divider is the line between two columns, with room for the pointer on both sides.
type divider struct {
	surface
	dragged func(dx float32)
	ended   func()
	over    bool
}

func newDivider(dragged func(dx float32), ended func()) *divider {
	d := &divider{dragged: dragged, ended: ended}
	d.ExtendBaseWidget(d)
	return d
}

// Dragged implements fyne.Draggable.
func (d *divider) Dragged(e *fyne.DragEvent) { d.dragged(e.Dragged.DX) }

// DragEnd implements fyne.Draggable.
func (d *divider) DragEnd() { d.ended() }

// Cursor implements desktop.Cursorable.
func (d *divider) Cursor() desktop.Cursor { return desktop.HResizeCursor }

// MouseIn implements desktop.Hoverable.
func (d *divider) MouseIn(*desktop.MouseEvent) { d.over = true; d.Refresh() }

// MouseMoved implements desktop.Hoverable.
func (d *divider) MouseMoved(*desktop.MouseEvent) {}

// MouseOut implements desktop.Hoverable.
func (d *divider) MouseOut() { d.over = false; d.Refresh() }

// CreateRenderer implements fyne.Widget.
func (d *divider) CreateRenderer() fyne.WidgetRenderer {
	line := canvas.NewRectangle(Colour(Line))
	r := &painter{objects: []fyne.CanvasObject{line}}
	r.min = func() fyne.Size { return fyne.NewSize(1, 1) }
	r.layout = func(size fyne.Size) {
		width := float32(1)
		if d.over {
			width = 3
		}
		line.Resize(fyne.NewSize(width, size.Height))
		line.Move(fyne.NewPos((size.Width-width)/2, 0))
	}
	r.refresh = func() {
		line.FillColor = Colour(Line)
		if d.over {
			line.FillColor = Colour(Secondary)
		}
		r.layout(d.Size())
		canvas.Refresh(d)
	}
	return r
}
