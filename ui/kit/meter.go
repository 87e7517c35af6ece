package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
)

// Meter is a thin bar that fills from 0 to 1.
type Meter struct {
	surface
	value float64
	idle  bool
}

// NewMeter makes an empty bar.
func NewMeter() *Meter {
	m := &Meter{idle: true}
	m.ExtendBaseWidget(m)
	return m
}

// Set fills the bar to a share.
func (m *Meter) Set(value float64) {
	value = max(0, min(1, value))
	if value != m.value || m.idle {
		m.value, m.idle = value, false
		m.Refresh()
	}
}

// Clear hides the bar's track and filling but keeps its place.
func (m *Meter) Clear() {
	if !m.idle {
		m.value, m.idle = 0, true
		m.Refresh()
	}
}

// CreateRenderer implements fyne.Widget.
func (m *Meter) CreateRenderer() fyne.WidgetRenderer {
	track, fill := canvas.NewRectangle(nil), canvas.NewRectangle(nil)
	track.CornerRadius, fill.CornerRadius = 2, 2
	r := &painter{objects: []fyne.CanvasObject{track, fill}}
	r.min = func() fyne.Size { return fyne.NewSize(60, 4) }
	r.layout = func(size fyne.Size) {
		track.Resize(size)
		fill.Resize(fyne.NewSize(size.Width*float32(m.value), size.Height))
	}
	r.refresh = func() {
		if m.idle {
			track.Hide()
			fill.Hide()
		} else {
			track.Show()
			fill.Show()
		}
		track.FillColor, fill.FillColor = Colour(Line), Colour(Accent)
		r.layout(m.Size())
		canvas.Refresh(m)
	}
	r.refresh()
	return r
}

// Dot is a small disc in a role's colour.
type Dot struct {
	surface
	role fyne.ThemeColorName
}

// NewDot makes a disc.
func NewDot(role fyne.ThemeColorName) *Dot {
	d := &Dot{role: role}
	d.ExtendBaseWidget(d)
	return d
}

// Set changes the colour.
func (d *Dot) Set(role fyne.ThemeColorName) {
	d.role = role
	d.Refresh()
}

// CreateRenderer implements fyne.Widget.
func (d *Dot) CreateRenderer() fyne.WidgetRenderer {
	disc := canvas.NewCircle(Colour(d.role))
	return &painter{
		objects: []fyne.CanvasObject{disc},
		min:     func() fyne.Size { return fyne.NewSize(8, 8) },
		layout:  disc.Resize,
		refresh: func() { disc.FillColor = Colour(d.role); disc.Refresh() },
	}
}
