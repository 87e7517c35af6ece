package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
)

// Style says how loud a button is.
type Style int

// From the everyday button to the one main action of a column.
const (
	Plain   Style = iota // a raised box
	Quiet                // no box until the pointer is on it
	Primary              // the accent
	Stop                 // ends something; drawn in the colour of loss
)

// Button does one thing when tapped, or when Space or Return is typed while it has the focus. Tapping takes no focus.
type Button struct {
	surface
	hover
	Text     string
	Hint     string // a key, shown quietly behind the text
	Icon     Icon
	Style    Style
	Selected bool // shown as chosen, for buttons that choose a mode
	Bright   bool // a quiet button that is drawn like the one under the pointer, without its box
	Left     bool // text at the left instead of the middle
	Height   float32
	Width    float32 // least width where the text may be shortened to it; 0: as wide as the text
	TextSize float32
	OnTapped func()

	disabled, focused bool
}

// NewButton makes a button of row height.
func NewButton(tips *Tips, text string, style Style, tip Tip, tapped func()) *Button {
	b := &Button{Text: text, Style: style, Height: RowHeight, TextSize: Body, OnTapped: tapped}
	b.init(b, tips, tip)
	b.ExtendBaseWidget(b)
	return b
}

// NewIconButton makes a square button with only a drawing on it.
func NewIconButton(tips *Tips, icon Icon, tip Tip, tapped func()) *Button {
	b := NewButton(tips, "", Quiet, tip, tapped)
	b.Icon = icon
	return b
}

// SetTip changes what the button says of itself.
func (b *Button) SetTip(tip Tip) { b.tip = tip }

// SetEnabled makes the button live or grey. A grey one says why in its tip, if the caller changes that too.
func (b *Button) SetEnabled(on bool) {
	if b.disabled == on {
		b.disabled = !on
		b.Refresh()
	}
}

// Enabled tells whether the button is live.
func (b *Button) Enabled() bool { return !b.disabled }

// Tapped implements fyne.Tappable.
func (b *Button) Tapped(*fyne.PointEvent) {
	b.tips.leave(b)
	if !b.disabled && b.OnTapped != nil {
		b.OnTapped()
	}
}

// FocusGained implements fyne.Focusable.
func (b *Button) FocusGained() { b.focused = true; b.Refresh() }

// FocusLost implements fyne.Focusable.
func (b *Button) FocusLost() { b.focused = false; b.Refresh() }

// TypedRune implements fyne.Focusable.
func (b *Button) TypedRune(rune) {}

// TypedKey implements fyne.Focusable.
func (b *Button) TypedKey(key *fyne.KeyEvent) {
	switch key.Name {
	case fyne.KeySpace, fyne.KeyReturn, fyne.KeyEnter:
		b.Tapped(nil)
	default:
		passKey(b, key)
	}
}

func (b *Button) colours() (fill, stroke, ink fyne.ThemeColorName) {
	fill, stroke, ink = Raised, Line, Text
	switch {
	case b.Style == Primary && !b.disabled:
		return Accent, "", OnAccent
	case b.Style == Stop:
		ink = Loss
	case b.Style == Quiet:
		fill, stroke, ink = "", "", Secondary
		if b.Bright {
			ink = Text
		}
		if b.over && !b.disabled {
			fill, ink = Lifted, Text
		}
	}
	if b.over && !b.disabled {
		fill = Lifted
	}
	switch {
	case b.Selected && b.Style == Quiet:
		fill, ink = Lifted, Text
	case b.Selected:
		stroke, ink = AccentInk, Text
	}
	if b.disabled {
		ink = Secondary
	}
	return fill, stroke, ink
}

// CreateRenderer implements fyne.Widget.
func (b *Button) CreateRenderer() fyne.WidgetRenderer {
	box, ring := canvas.NewRectangle(nil), canvas.NewRectangle(nil)
	box.CornerRadius, ring.CornerRadius = Radius, Radius+2
	icon := newGlyph(b.Icon, Text)
	text, hint := canvas.NewText("", nil), canvas.NewText("", nil)
	text.TextSize, hint.TextSize = b.TextSize, Caption
	const iconSize = 18
	pad := func() float32 { // small buttons have less air
		text.TextSize = b.TextSize
		if b.TextSize < Body {
			return 6
		}
		return 12
	}
	r := &painter{objects: []fyne.CanvasObject{box, ring, icon.img, text, hint}}
	r.min = func() fyne.Size {
		if b.Text == "" {
			return fyne.NewSize(b.Height, b.Height)
		}
		if b.Width > 0 {
			return fyne.NewSize(b.Width, b.Height)
		}
		w := measure(b.Text, b.TextSize).Width + 2*pad()
		if b.Icon != "" {
			w += iconSize + 6
		}
		if b.Hint != "" {
			w += hint.MinSize().Width + Wide
		}
		return fyne.NewSize(w, b.Height)
	}
	r.layout = func(size fyne.Size) {
		box.Resize(size)
		ring.Resize(size.AddWidthHeight(4, 4))
		ring.Move(fyne.NewPos(-2, -2))
		room := size.Width - 2*pad()
		if b.Icon != "" {
			room -= iconSize + 6
		}
		if b.Text != "" {
			text.Text = Shorten(b.Text, b.TextSize, room)
		}
		content := text.MinSize().Width
		if b.Icon != "" {
			content += iconSize
			if b.Text != "" {
				content += 6
			}
		}
		if b.Hint != "" {
			content += 10 + hint.MinSize().Width
		}
		x := (size.Width - content) / 2
		if b.Left {
			x = pad()
		}
		if b.Icon != "" {
			icon.img.Resize(fyne.NewSize(iconSize, iconSize))
			icon.img.Move(fyne.NewPos(x, (size.Height-iconSize)/2))
			x += iconSize + 6
		}
		text.Move(fyne.NewPos(x, (size.Height-text.MinSize().Height)/2))
		hint.Move(fyne.NewPos(x+text.MinSize().Width+10, (size.Height-hint.MinSize().Height)/2))
	}
	r.refresh = func() {
		fill, stroke, ink := b.colours()
		paintBox(box, fill, stroke)
		paintBox(ring, "", "")
		if b.focused {
			ring.StrokeColor, ring.StrokeWidth = Colour(AccentInk), 1
		}
		text.Text, text.Color, text.TextStyle.Bold = b.Text, Colour(ink), b.Style == Primary
		hint.Text, hint.Color = b.Hint, Colour(ink)
		if b.Style != Primary {
			hint.Color = Colour(Secondary)
		}
		icon.set(b.Icon, ink)
		r.layout(b.Size())
		canvas.Refresh(b)
	}
	r.refresh()
	return r
}
