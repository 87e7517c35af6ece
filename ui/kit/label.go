package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
)

// Label is one line of text in a role's colour. It shortens itself with an ellipsis where it has less room than it needs.
type Label struct {
	surface
	Text     string
	TextSize float32
	Role     fyne.ThemeColorName
	Align    fyne.TextAlign
	Bold     bool
	Width    float32 // minimum width; below zero: as wide as the text
}

// NewLabel makes a label as wide as its text.
func NewLabel(text string, size float32, role fyne.ThemeColorName) *Label {
	l := &Label{Text: text, TextSize: size, Role: role, Width: -1}
	l.ExtendBaseWidget(l)
	return l
}

// NewLine makes a label that takes the width it is given, at least width.
func NewLine(text string, size float32, role fyne.ThemeColorName, width float32) *Label {
	l := NewLabel(text, size, role)
	l.Width = width
	return l
}

// Set changes text and colour.
func (l *Label) Set(text string, role fyne.ThemeColorName) {
	if l.Text != text || l.Role != role {
		l.Text, l.Role = text, role
		l.Refresh()
	}
}

// CreateRenderer implements fyne.Widget.
func (l *Label) CreateRenderer() fyne.WidgetRenderer {
	t := canvas.NewText(l.Text, Colour(l.Role))
	place := func(size fyne.Size) {
		t.Text = l.Text
		if l.Width >= 0 {
			t.Text = Shorten(l.Text, l.TextSize, size.Width)
		}
		t.Resize(size)
	}
	r := &painter{objects: []fyne.CanvasObject{t}}
	r.min = func() fyne.Size {
		m := fyne.MeasureText(l.Text, l.TextSize, fyne.TextStyle{Bold: l.Bold})
		if l.Width >= 0 {
			m.Width = l.Width
		}
		return m
	}
	r.layout = place
	r.refresh = func() {
		t.Color, t.TextSize, t.Alignment, t.TextStyle.Bold = Colour(l.Role), l.TextSize, l.Align, l.Bold
		place(l.Size())
		t.Refresh()
	}
	r.refresh()
	return r
}

// Remark is a line that says more when the pointer rests on it.
type Remark struct {
	Label
	hover
}

// NewRemark makes a line that takes the width it is given.
func NewRemark(tips *Tips, text string, size float32, role fyne.ThemeColorName) *Remark {
	r := &Remark{Label: Label{Text: text, TextSize: size, Role: role}}
	r.init(r, tips, Tip{})
	r.ExtendBaseWidget(r)
	return r
}

// SetTip changes what the line says when the pointer rests on it.
func (r *Remark) SetTip(tip Tip) { r.tip = tip }

// Paragraph is text wrapped over as many lines as it needs, up to a limit; more ends in an ellipsis.
type Paragraph struct {
	surface
	Text  string
	size  float32
	role  fyne.ThemeColorName
	lines int
}

// NewParagraph makes a paragraph of at most so many lines.
func NewParagraph(text string, size float32, role fyne.ThemeColorName, lines int) *Paragraph {
	p := &Paragraph{Text: text, size: size, role: role, lines: lines}
	p.ExtendBaseWidget(p)
	return p
}

// Set changes the text.
func (p *Paragraph) Set(text string) {
	p.Text = text
	p.Refresh()
}

// CreateRenderer implements fyne.Widget.
func (p *Paragraph) CreateRenderer() fyne.WidgetRenderer {
	r := &painter{}
	build := func(size fyne.Size) {
		r.objects = r.objects[:0]
		if p.Text == "" || size.Width <= 0 {
			return
		}
		for i, line := range Wrap(p.Text, p.size, size.Width, p.lines) {
			t := canvas.NewText(line, Colour(p.role))
			t.TextSize = p.size
			t.Move(fyne.NewPos(0, float32(i)*lineHeight(p.size)))
			r.objects = append(r.objects, t)
		}
	}
	r.min = func() fyne.Size {
		n := 1
		if p.Text != "" && p.Size().Width > 0 {
			n = len(Wrap(p.Text, p.size, p.Size().Width, p.lines))
		}
		return fyne.NewSize(0, float32(n)*lineHeight(p.size))
	}
	r.layout = build
	r.refresh = func() {
		build(p.Size())
		canvas.Refresh(p)
	}
	return r
}
