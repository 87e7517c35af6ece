package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
)

// Fold is a headline that shows and hides what is under it.
type Fold struct {
	surface
	OnToggled func(open bool)

	head    *foldHead
	content fyne.CanvasObject
	open    bool
}

// NewFold makes a fold; Summary stands beside the title while it is closed.
func NewFold(tips *Tips, title string, open bool, content fyne.CanvasObject, tip Tip) *Fold {
	f := &Fold{content: content, open: open}
	f.head = &foldHead{fold: f, title: title}
	f.head.init(f.head, tips, tip)
	f.head.ExtendBaseWidget(f.head)
	f.ExtendBaseWidget(f)
	f.apply()
	return f
}

// SetSummary changes the quiet words beside the title of a closed fold.
func (f *Fold) SetSummary(s string) {
	if f.head.summary != s {
		f.head.summary = s
		f.head.Refresh()
	}
}

// Summary is the quiet words beside the title.
func (f *Fold) Summary() string { return f.head.summary }

// Open tells whether the content shows.
func (f *Fold) Open() bool { return f.open }

// SetOpen shows or hides the content.
func (f *Fold) SetOpen(open bool) {
	if f.open == open {
		return
	}
	f.open = open
	f.apply()
	f.Refresh()
	if f.OnToggled != nil {
		f.OnToggled(open)
	}
}

func (f *Fold) apply() {
	if f.open {
		f.content.Show()
	} else {
		f.content.Hide()
	}
}

// CreateRenderer implements fyne.Widget.
func (f *Fold) CreateRenderer() fyne.WidgetRenderer {
	r := &painter{objects: []fyne.CanvasObject{f.head, f.content}}
	r.min = func() fyne.Size {
		size := f.head.MinSize()
		if f.open {
			size.Height += Tight + f.content.MinSize().Height
			size.Width = max(size.Width, f.content.MinSize().Width)
		}
		return size
	}
	r.layout = func(size fyne.Size) {
		h := f.head.MinSize().Height
		f.head.Resize(fyne.NewSize(size.Width, h))
		f.content.Move(fyne.NewPos(0, h+Tight))
		f.content.Resize(fyne.NewSize(size.Width, max(0, size.Height-h-Tight)))
	}
	r.refresh = func() {
		f.head.Refresh()
		r.layout(f.Size())
		canvas.Refresh(f)
	}
	return r
}

type foldHead struct {
	surface
	hover
	fold           *Fold
	title, summary string
	focused        bool
}

// Tapped implements fyne.Tappable.
func (h *foldHead) Tapped(*fyne.PointEvent) {
	h.tips.leave(h)
	h.fold.SetOpen(!h.fold.open)
}

// FocusGained implements fyne.Focusable.
func (h *foldHead) FocusGained() { h.focused = true; h.Refresh() }

// FocusLost implements fyne.Focusable.
func (h *foldHead) FocusLost() { h.focused = false; h.Refresh() }

// TypedRune implements fyne.Focusable.
func (h *foldHead) TypedRune(rune) {}

// TypedKey implements fyne.Focusable.
func (h *foldHead) TypedKey(key *fyne.KeyEvent) {
	switch key.Name {
	case fyne.KeySpace, fyne.KeyReturn, fyne.KeyEnter:
		h.Tapped(nil)
	case fyne.KeyRight:
		h.fold.SetOpen(true)
	case fyne.KeyLeft:
		h.fold.SetOpen(false)
	default:
		passKey(h, key)
	}
}

// CreateRenderer implements fyne.Widget.
func (h *foldHead) CreateRenderer() fyne.WidgetRenderer {
	title, summary := canvas.NewText(h.title, nil), canvas.NewText("", nil)
	title.TextSize, summary.TextSize = 13, Caption
	arrow := newGlyph(IconRight, Secondary)
	ring := canvas.NewRectangle(nil)
	ring.CornerRadius = Radius
	r := &painter{objects: []fyne.CanvasObject{ring, arrow.img, title, summary}}
	r.min = func() fyne.Size { return fyne.NewSize(title.MinSize().Width+22, 24) }
	r.layout = func(size fyne.Size) {
		ring.Resize(size.AddWidthHeight(8, 0))
		ring.Move(fyne.NewPos(-4, 0))
		arrow.img.Resize(fyne.NewSize(14, 14))
		arrow.img.Move(fyne.NewPos(-3, (size.Height-14)/2))
		title.Move(fyne.NewPos(15, (size.Height-title.MinSize().Height)/2))
		left := 15 + title.MinSize().Width + 10
		summary.Text = ""
		if !h.fold.open {
			summary.Text = Shorten(h.summary, Caption, max(0, size.Width-left))
		}
		summary.Move(fyne.NewPos(size.Width-summary.MinSize().Width, (size.Height-summary.MinSize().Height)/2))
	}
	r.refresh = func() {
		ink := Secondary
		if h.over {
			ink = Text
		}
		paintBox(ring, "", "")
		if h.focused {
			paintBox(ring, "", AccentInk)
		}
		title.Color, summary.Color = Colour(ink), Colour(Secondary)
		if h.fold.open {
			arrow.set(IconDown, ink)
		} else {
			arrow.set(IconRight, ink)
		}
		r.layout(h.Size())
		canvas.Refresh(h)
	}
	r.refresh()
	return r
}
