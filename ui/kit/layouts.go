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
