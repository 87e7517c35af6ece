package kit

import (
	"image"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
)

// Item is what a List shows of one thing: a title with a short word at the right, and a quieter line below.
type Item struct {
	Title, Side, Detail string
	Role                fyne.ThemeColorName // of the detail; empty is Secondary
	Icon                Icon                // at the left, in place of a picture
	Picture             *image.RGBA         // at the left, where the list has pictures
	Share               float64             // how far something is, from 0 to 1; shown above 0 as a thin bar
}

// List is rows below each other of which one is chosen: by the pointer, or by ↑ and ↓ while it has the focus. It makes widgets only
// for the rows in sight.
type List struct {
	surface
	OnSelect func(index int)

	rows     []Item
	selected int
	pictures bool
	focused  bool
	lines    map[int]*listRow
	spare    []*listRow
	scroll   *container.Scroll
	field    *fyne.Container
}

const (
	listPicture float32 = 48 // edge of a row's picture
	listRowHigh float32 = 48
	listRowMore float32 = 60 // with pictures
)

// NewList makes an empty list.
func NewList(pictures bool) *List {
	l := &List{selected: -1, pictures: pictures, lines: map[int]*listRow{}}
	l.field = container.New(listLayout{l})
	l.scroll = container.NewVScroll(l.field)
	l.scroll.OnScrolled = func(fyne.Position) { l.fill() }
	l.ExtendBaseWidget(l)
	return l
}

// SetRows shows rows with one of them chosen, −1 for none, without calling OnSelect.
func (l *List) SetRows(rows []Item, selected int) {
	l.rows, l.selected = rows, selected
	l.scroll.Refresh()
	l.fill()
}

// SetRow changes one row.
func (l *List) SetRow(index int, row Item) {
	if index >= 0 && index < len(l.rows) {
		l.rows[index] = row
		l.fill()
	}
}

// Rows is what the list shows.
func (l *List) Rows() []Item { return l.rows }

// Selected is the index of the chosen row, −1 if there is none.
func (l *List) Selected() int { return l.selected }

// Select chooses a row and brings it into sight.
func (l *List) Select(index int) {
	if index < 0 || index >= len(l.rows) {
		return
	}
	l.selected = index
	top, height := float32(index)*l.pitch(), l.scroll.Size().Height
	switch {
	case top < l.scroll.Offset.Y:
		l.scroll.ScrollToOffset(fyne.NewPos(0, top))
	case top+l.pitch() > l.scroll.Offset.Y+height:
		l.scroll.ScrollToOffset(fyne.NewPos(0, top+l.pitch()-height))
	}
	l.fill()
	if l.OnSelect != nil {
		l.OnSelect(index)
	}
}

func (l *List) pitch() float32 {
	if l.pictures {
		return listRowMore
	}
	return listRowHigh
}

// fill gives every row in sight a widget and takes the others' back.
func (l *List) fill() {
	first := int(l.scroll.Offset.Y / l.pitch())
	last := int((l.scroll.Offset.Y+l.scroll.Size().Height)/l.pitch()) + 1
	for index, r := range l.lines {
		if index < first || index >= last || index >= len(l.rows) {
			r.Hide()
			l.spare = append(l.spare, r)
			delete(l.lines, index)
		}
	}
	for index := first; index < min(last, len(l.rows)); index++ {
		r := l.lines[index]
		if r == nil {
			r = l.take()
			l.lines[index] = r
			r.Show()
		}
		r.Move(fyne.NewPos(0, float32(index)*l.pitch()))
		r.Resize(fyne.NewSize(l.scroll.Size().Width, l.pitch()))
		r.set(index, l.rows[index], index == l.selected)
	}
}

func (l *List) take() *listRow {
	if k := len(l.spare); k > 0 {
		r := l.spare[k-1]
		l.spare = l.spare[:k-1]
		return r
	}
	r := newListRow(l)
	l.field.Objects = append(l.field.Objects, r)
	return r
}

// FocusGained implements fyne.Focusable.
func (l *List) FocusGained() {
	l.focused = true
	if l.selected < 0 {
		l.Select(0)
	}
	l.Refresh()
}

// FocusLost implements fyne.Focusable.
func (l *List) FocusLost() { l.focused = false; l.Refresh() }

// TypedRune implements fyne.Focusable.
func (l *List) TypedRune(rune) {}

// TypedKey implements fyne.Focusable.
func (l *List) TypedKey(key *fyne.KeyEvent) {
	switch key.Name {
	case fyne.KeyUp:
		l.Select(max(0, l.selected-1))
	case fyne.KeyDown:
		l.Select(min(len(l.rows)-1, l.selected+1))
	case fyne.KeyHome:
		l.Select(0)
	case fyne.KeyEnd:
		l.Select(len(l.rows) - 1)
	default:
		passKey(l, key)
	}
}

// CreateRenderer implements fyne.Widget.
func (l *List) CreateRenderer() fyne.WidgetRenderer {
	ring := canvas.NewRectangle(nil)
	ring.CornerRadius = Radius
	r := &painter{objects: []fyne.CanvasObject{l.scroll, ring}}
	r.min = func() fyne.Size { return fyne.NewSize(120, l.pitch()) }
	r.layout = func(size fyne.Size) {
		l.scroll.Resize(size)
		ring.Resize(size)
		l.fill()
	}
	r.refresh = func() {
		paintBox(ring, "", "")
		if l.focused {
			paintBox(ring, "", AccentInk)
		}
		l.fill()
		ring.Refresh()
	}
	r.refresh()
	return r
}

// listLayout gives the scrolled area the height of all rows; fill places them.
type listLayout struct{ l *List }

// MinSize implements fyne.Layout.
func (y listLayout) MinSize([]fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(0, float32(len(y.l.rows))*y.l.pitch())
}

// Layout implements fyne.Layout.
func (y listLayout) Layout([]fyne.CanvasObject, fyne.Size) {}

// listRow is one row in sight.
type listRow struct {
	surface
	list     *List
	index    int
	row      Item
	selected bool
	over     bool
}

func newListRow(l *List) *listRow {
	r := &listRow{list: l, index: -1}
	r.ExtendBaseWidget(r)
	return r
}

func (r *listRow) set(index int, row Item, selected bool) {
	if r.index == index && r.row == row && r.selected == selected {
		return
	}
	r.index, r.row, r.selected = index, row, selected
	r.Refresh()
}

// Tapped implements fyne.Tappable.
func (r *listRow) Tapped(*fyne.PointEvent) { r.list.Select(r.index) }

// MouseIn implements desktop.Hoverable.
func (r *listRow) MouseIn(*desktop.MouseEvent) { r.over = true; r.Refresh() }

// MouseMoved implements desktop.Hoverable.
func (r *listRow) MouseMoved(*desktop.MouseEvent) {}

// MouseOut implements desktop.Hoverable.
func (r *listRow) MouseOut() { r.over = false; r.Refresh() }

// CreateRenderer implements fyne.Widget.
func (r *listRow) CreateRenderer() fyne.WidgetRenderer {
	box, mark := canvas.NewRectangle(nil), canvas.NewRectangle(nil)
	box.CornerRadius = Radius
	title, side, detail := canvas.NewText("", nil), canvas.NewText("", nil), canvas.NewText("", nil)
	title.TextSize, side.TextSize, detail.TextSize = Body, Caption, Caption
	picture := &canvas.Image{FillMode: canvas.ImageFillContain, ScaleMode: canvas.ImageScaleFastest}
	frame := canvas.NewRectangle(nil)
	frame.CornerRadius = 2
	icon := newGlyph("", Secondary)
	track, fill := canvas.NewRectangle(nil), canvas.NewRectangle(nil)
	p := &painter{objects: []fyne.CanvasObject{box, mark, frame, picture, icon.img, title, side, detail, track, fill}}
	p.min = func() fyne.Size { return fyne.NewSize(80, r.list.pitch()) }
	p.layout = func(size fyne.Size) {
		box.Resize(fyne.NewSize(size.Width, size.Height-2))
		mark.Resize(fyne.NewSize(2, size.Height-2-12))
		mark.Move(fyne.NewPos(0, 6))
		x := float32(10)
		if r.list.pictures {
			at := fyne.NewPos(8, (size.Height-2-listPicture)/2)
			frame.Resize(fyne.NewSize(listPicture, listPicture))
			picture.Resize(frame.Size())
			frame.Move(at)
			picture.Move(at)
			icon.img.Resize(fyne.NewSize(20, 20))
			icon.img.Move(at.AddXY((listPicture-20)/2, (listPicture-20)/2))
			x = 8 + listPicture + 10
		}
		room := size.Width - x - 10
		sideWide := side.MinSize().Width
		title.Text = Shorten(r.row.Title, Body, max(0, room-sideWide-Gap))
		detail.Text = Shorten(r.row.Detail, Caption, room)
		top := (size.Height - 2 - title.MinSize().Height - detail.MinSize().Height - 2) / 2
		title.Move(fyne.NewPos(x, top))
		side.Move(fyne.NewPos(size.Width-10-sideWide, top+(title.MinSize().Height-side.MinSize().Height)/2))
		detail.Move(fyne.NewPos(x, top+title.MinSize().Height+2))
		track.Resize(fyne.NewSize(room, 2))
		track.Move(fyne.NewPos(x, size.Height-5))
		fill.Resize(fyne.NewSize(room*float32(min(1, r.row.Share)), 2))
		fill.Move(track.Position())
	}
	p.refresh = func() {
		paintBox(box, "", "")
		paintBox(mark, "", "")
		switch {
		case r.selected:
			paintBox(box, Lifted, "")
			paintBox(mark, Accent, "")
		case r.over:
			paintBox(box, Raised, "")
		}
		title.Color, side.Color = Colour(Text), Colour(Secondary)
		role := r.row.Role
		if role == "" {
			role = Secondary
		}
		detail.Color, side.Text = Colour(role), r.row.Side
		paintBox(frame, "", "")
		picture.Hide()
		icon.set("", Secondary)
		if r.list.pictures {
			paintBox(frame, Canvas, "")
			if r.row.Picture != nil {
				if picture.Image != image.Image(r.row.Picture) {
					picture.Image = r.row.Picture
					picture.Refresh()
				}
				picture.Show()
			} else {
				icon.set(r.row.Icon, Secondary)
			}
		}
		track.Hide()
		fill.Hide()
		if r.row.Share > 0 {
			track.FillColor, fill.FillColor = Colour(Line), Colour(Accent)
			track.Show()
			fill.Show()
		}
		p.layout(r.Size())
		canvas.Refresh(r)
	}
	p.refresh()
	return p
}
