package kit

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
)

// Notice is a message in the place where something happened. It stays until it is closed or replaced, and never takes the
// focus.
type Notice struct {
	surface
	OnClose func()

	tips   *Tips
	icon   Icon
	ink    fyne.ThemeColorName
	text   string
	action *Button
	close  *Button
}

const noticeLines = 4

// NewNotice makes a hidden notice.
func NewNotice(tips *Tips) *Notice {
	n := &Notice{tips: tips, icon: IconInfo, ink: Secondary}
	n.action = NewButton(tips, "", Plain, Tip{}, nil)
	n.close = NewIconButton(tips, IconClose, Tip{Name: "Dismiss", Key: "Esc", Text: "Hide this message."}, n.Dismiss)
	n.close.Height = 26
	n.action.Height = 26
	n.ExtendBaseWidget(n)
	n.Hide()
	return n
}

// Say shows a message; action may be empty.
func (n *Notice) Say(text, action string, do func()) { n.show(IconInfo, Secondary, text, action, do) }

// Fail shows an error: what happened, to what, and what to do. action may be empty.
func (n *Notice) Fail(text, action string, do func()) { n.show(IconWarning, Loss, text, action, do) }

// Text is the message on show, empty if there is none.
func (n *Notice) Text() string {
	if !n.Visible() {
		return ""
	}
	return n.text
}

// Dismiss hides the notice.
func (n *Notice) Dismiss() {
	if n.Visible() {
		n.Hide()
		if n.OnClose != nil {
			n.OnClose()
		}
	}
}

func (n *Notice) show(icon Icon, ink fyne.ThemeColorName, text, action string, do func()) {
	n.icon, n.ink, n.text = icon, ink, text
	n.action.Text, n.action.OnTapped = action, do
	if action == "" {
		n.action.Hide()
	} else {
		n.action.Show()
	}
	n.action.Refresh()
	n.Show()
	n.Refresh()
}

// HeightFor is how high the notice is at a width.
func (n *Notice) HeightFor(width float32) float32 {
	return max(44, float32(len(n.lines(width)))*lineHeight(Body)+20)
}

func (n *Notice) lines(width float32) []string {
	room := width - 44 - 40
	if n.action.Visible() {
		room -= n.action.MinSize().Width + Gap
	}
	return Wrap(n.text, Body, max(80, room), noticeLines)
}

// CreateRenderer implements fyne.Widget.
func (n *Notice) CreateRenderer() fyne.WidgetRenderer {
	box, edge := canvas.NewRectangle(nil), canvas.NewRectangle(nil)
	box.CornerRadius, edge.CornerRadius = Radius+2, 1.5
	icon := newGlyph(n.icon, n.ink)
	r := &painter{}
	r.min = func() fyne.Size { return fyne.NewSize(200, 44) }
	r.layout = func(size fyne.Size) {
		box.Resize(size)
		edge.Resize(fyne.NewSize(3, size.Height-12))
		edge.Move(fyne.NewPos(6, 6))
		icon.img.Resize(fyne.NewSize(18, 18))
		icon.img.Move(fyne.NewPos(17, (size.Height-18)/2))
		lines := n.lines(size.Width)
		r.objects = []fyne.CanvasObject{box, edge, icon.img, n.action, n.close}
		y := (size.Height - float32(len(lines))*lineHeight(Body)) / 2
		for _, s := range lines {
			t := canvas.NewText(s, Colour(Text))
			t.TextSize = Body
			t.Move(fyne.NewPos(44, y))
			y += lineHeight(Body)
			r.objects = append(r.objects, t)
		}
		n.close.Resize(fyne.NewSize(26, 26))
		n.close.Move(fyne.NewPos(size.Width-26-10, (size.Height-26)/2))
		a := n.action.MinSize()
		n.action.Resize(a)
		n.action.Move(fyne.NewPos(size.Width-26-10-Gap-a.Width, (size.Height-a.Height)/2))
	}
	r.refresh = func() {
		paintBox(box, Raised, Line)
		paintBox(edge, n.ink, "")
		icon.set(n.icon, n.ink)
		r.layout(n.Size())
		canvas.Refresh(n)
	}
	r.refresh()
	return r
}
