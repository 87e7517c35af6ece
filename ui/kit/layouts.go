package kit

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
)

// paintBox fills and outlines a rectangle; an empty role leaves that part out.
func paintBox(box *canvas.Rectangle, fill, stroke fyne.ThemeColorName) {
	box.FillColor, box.StrokeColor, box.StrokeWidth = color.Transparent, color.Transparent, 0
	if fill != "" {
		box.FillColor = Colour(fill)
	}
	if stroke != "" {
		box.StrokeColor, box.StrokeWidth = Colour(stroke), 1
	}
}

// Inset puts space round an object: left and right, top and bottom.
func Inset(horizontal, vertical float32, obj fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewCustomPaddedLayout(vertical, vertical, horizontal, horizontal), obj)
}

// Column stacks objects from the top, gap apart, each at its own height.
func Column(gap float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewCustomPaddedVBoxLayout(gap), objects...)
}

// Row lays objects side by side, gap apart, each vertically centred; the flexible one takes the width that is left.
func Row(gap float32, flexible int, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(row{gap: gap, flexible: flexible}, objects...)
}

type row struct {
	gap      float32
	flexible int // index of the object that stretches; -1 for none
}

// MinSize implements fyne.Layout.
func (r row) MinSize(objects []fyne.CanvasObject) fyne.Size {
	var size fyne.Size
	for _, o := range objects {
		if !o.Visible() {
			continue
		}
		m := o.MinSize()
		if size.Width > 0 {
			size.Width += r.gap
		}
		size.Width += m.Width
		size.Height = max(size.Height, m.Height)
	}
	return size
}

// Layout implements fyne.Layout.
func (r row) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	spare := max(0, size.Width-r.MinSize(objects).Width)
	x := float32(0)
	for i, o := range objects {
		if !o.Visible() {
			continue
		}
		m := o.MinSize()
		if i == r.flexible {
			m.Width += spare
		}
		o.Resize(m)
		o.Move(fyne.NewPos(x, (size.Height-m.Height)/2))
		x += m.Width + r.gap
	}
}

// Labelled is a row of a form: a quiet label of fixed width and a control that takes the rest.
func Labelled(text string, width float32, control fyne.CanvasObject) *fyne.Container {
	return Row(Gap, 1, NewLine(text, 13, Secondary, width), control)
}

// Equal shares the width among objects, gap apart, at their common height.
func Equal(gap float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(equal{gap}, objects...)
}

type equal struct{ gap float32 }

// MinSize implements fyne.Layout.
func (e equal) MinSize(objects []fyne.CanvasObject) fyne.Size {
	var size fyne.Size
	for _, o := range objects {
		size = size.Max(o.MinSize())
	}
	n := float32(len(objects))
	return fyne.NewSize(n*size.Width+(n-1)*e.gap, size.Height)
}

// Layout implements fyne.Layout.
func (e equal) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	n := float32(len(objects))
	w := (size.Width - (n-1)*e.gap) / n
	for i, o := range objects {
		o.Resize(fyne.NewSize(w, size.Height))
		o.Move(fyne.NewPos(float32(i)*(w+e.gap), 0))
	}
}

// Page scrolls objects that stand below each other, gap apart, each as wide as the page and as high as it then needs to be: for
// text that wraps.
func Page(gap, side float32, objects ...fyne.CanvasObject) *fyne.Container {
	content := container.New(flow{gap: gap, side: side}, objects...)
	scroll := container.NewVScroll(content)
	return container.New(pages{}, scroll)
}

// pages gives the scrolled content its width before its height is asked for.
type pages struct{}

// MinSize implements fyne.Layout.
func (pages) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(80, 80) }

// Layout implements fyne.Layout.
func (pages) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	scroll := objects[0].(*container.Scroll)
	scroll.Content.Resize(fyne.NewSize(size.Width, max(size.Height, scroll.Content.MinSize().Height)))
	scroll.Resize(size)
	scroll.Refresh()
}

// Flow stacks objects like Column, for such whose height follows from their width.
func Flow(gap float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(flow{gap: gap}, objects...)
}

type flow struct{ gap, side float32 }

// MinSize implements fyne.Layout.
func (f flow) MinSize(objects []fyne.CanvasObject) fyne.Size {
	var size fyne.Size
	for _, o := range objects {
		if !o.Visible() {
			continue
		}
		m := o.MinSize()
		if size.Height > 0 {
			size.Height += f.gap
		}
		size.Height += m.Height
		size.Width = max(size.Width, m.Width+2*f.side)
	}
	if f.side > 0 {
		size.Height += f.side + Gap
	}
	return size
}

// Layout implements fyne.Layout.
func (f flow) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	width, y := max(0, size.Width-2*f.side), float32(0)
	if f.side > 0 {
		y = Gap
	}
	for _, o := range objects {
		if !o.Visible() {
			continue
		}
		o.Resize(fyne.NewSize(width, o.MinSize().Height)) // what wraps knows its height only now
		height := o.MinSize().Height
		o.Resize(fyne.NewSize(width, height))
		o.Move(fyne.NewPos(f.side, y))
		y += height + f.gap
	}
}
