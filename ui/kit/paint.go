package kit

import (
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/widget"
)

// surface is the base of the kit's own widgets.
type surface struct{ widget.BaseWidget }

// painter is a widget renderer put together from functions.
type painter struct {
	objects []fyne.CanvasObject
	min     func() fyne.Size
	layout  func(fyne.Size)
	refresh func()
}

func (p *painter) Destroy()                     {}
func (p *painter) Objects() []fyne.CanvasObject { return p.objects }
func (p *painter) MinSize() fyne.Size           { return p.min() }
func (p *painter) Layout(size fyne.Size)        { p.layout(size) }
func (p *painter) Refresh()                     { p.refresh() }

func measure(text string, size float32) fyne.Size {
	return fyne.MeasureText(text, size, fyne.TextStyle{})
}

// TextWidth is how wide a line of plain text is.
func TextWidth(text string, size float32) float32 { return measure(text, size).Width }

func lineHeight(size float32) float32 { return measure("Äg", size).Height }

func widest(lines []string, size float32) float32 {
	var w float32
	for _, l := range lines {
		w = max(w, measure(l, size).Width)
	}
	return w
}

// Wrap breaks text into lines of a width; what does not fit in limit lines ends in an ellipsis.
func Wrap(text string, size, width float32, limit int) []string {
	var lines []string
	for _, paragraph := range strings.Split(strings.TrimSpace(text), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			candidate := strings.TrimSpace(line + " " + word)
			if line != "" && measure(candidate, size).Width > width {
				lines = append(lines, line)
				candidate = word
			}
			for measure(candidate, size).Width > width && len([]rune(candidate)) > 1 {
				head := fitting(candidate, size, width)
				lines = append(lines, head)
				candidate = candidate[len(head):]
			}
			line = candidate
		}
		lines = append(lines, line)
	}
	if len(lines) > limit {
		lines = lines[:limit]
		lines[limit-1] = Shorten(lines[limit-1]+" …", size, width)
	}
	return lines
}

// Shorten cuts text to a width, ending it with an ellipsis if anything was cut.
func Shorten(text string, size, width float32) string {
	if measure(text, size).Width <= width {
		return text
	}
	return strings.TrimRight(fitting(strings.TrimSuffix(text, " …"), size, width-measure("…", size).Width), " ") + "…"
}

// fitting is the longest beginning of text, at least a rune, that is no wider than width.
func fitting(text string, size, width float32) string {
	runes := []rune(text)
	lo, hi := 1, max(1, len(runes))
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if measure(string(runes[:mid]), size).Width <= width {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return string(runes[:min(lo, len(runes))])
}

// passKey hands a key that a focused control has no use for to the window, as if nothing were focused.
func passKey(from fyne.CanvasObject, key *fyne.KeyEvent) {
	if c := canvasOf(from); c != nil && c.OnTypedKey() != nil {
		c.OnTypedKey()(key)
	}
}

// canvasOf is the window's canvas that an object is on. The toolkit forgets where an object is that has been hidden for a
// while, though it may still have the focus; the studio has one window.
func canvasOf(o fyne.CanvasObject) fyne.Canvas {
	driver := fyne.CurrentApp().Driver()
	if c := driver.CanvasForObject(o); c != nil {
		return c
	}
	if all := driver.AllWindows(); len(all) > 0 {
		return all[0].Canvas()
	}
	return nil
}

// passShortcut hands a shortcut to the window; it tells whether the window takes any.
func passShortcut(from fyne.CanvasObject, s fyne.Shortcut) bool {
	c, ok := canvasOf(from).(fyne.Shortcutable)
	if ok {
		c.TypedShortcut(s)
	}
	return ok
}

// editing tells whether a shortcut belongs to the text field that has the focus: moving and deleting by words.
func editing(s fyne.Shortcut) bool {
	custom, ok := s.(*desktop.CustomShortcut)
	if !ok {
		return true // undo, copy, paste, …
	}
	switch custom.KeyName {
	case fyne.KeyLeft, fyne.KeyRight, fyne.KeyBackspace, fyne.KeyDelete, fyne.KeyHome, fyne.KeyEnd:
		return true
	}
	return false
}

// Backing is a plain area in a colour of the theme.
type Backing struct {
	surface
	role fyne.ThemeColorName
}

// NewBacking makes an area.
func NewBacking(role fyne.ThemeColorName) *Backing {
	b := &Backing{role: role}
	b.ExtendBaseWidget(b)
	return b
}

// CreateRenderer implements fyne.Widget.
func (b *Backing) CreateRenderer() fyne.WidgetRenderer {
	rect := canvas.NewRectangle(Colour(b.role))
	return &painter{
		objects: []fyne.CanvasObject{rect},
		min:     func() fyne.Size { return fyne.NewSize(1, 1) },
		layout:  rect.Resize,
		refresh: func() { rect.FillColor = Colour(b.role); rect.Refresh() },
	}
}
