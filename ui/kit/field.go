package kit

import (
	"fmt"
	"image/color"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// bare is the studio's theme without the frame and fill that the toolkit draws round text fields: Field draws its own.
type bare struct {
	fyne.Theme
	line bool // one line: no scroll bar, the text just moves under the caret
}

// Color implements fyne.Theme.
func (b bare) Color(name fyne.ThemeColorName, v fyne.ThemeVariant) color.Color {
	switch name {
	case theme.ColorNameInputBackground, theme.ColorNameInputBorder:
		return color.Transparent
	}
	return b.current().Color(name, v)
}

// Font implements fyne.Theme.
func (b bare) Font(style fyne.TextStyle) fyne.Resource { return b.current().Font(style) }

// Icon implements fyne.Theme.
func (b bare) Icon(name fyne.ThemeIconName) fyne.Resource { return b.current().Icon(name) }

// Size implements fyne.Theme.
func (b bare) Size(name fyne.ThemeSizeName) float32 {
	switch name {
	case theme.SizeNameInputBorder:
		return 1.5 // also the caret's width
	case theme.SizeNameScrollBar, theme.SizeNameScrollBarSmall:
		if b.line {
			return 0
		}
	case theme.SizeNameInnerPadding:
		return inset + frame
	}
	return b.current().Size(name)
}

func (bare) current() fyne.Theme { return fyne.CurrentApp().Settings().Theme() }

// frame is how far an entry reaches beyond its field on every side.
const frame = 3

// inset is the room between a field's edge and its text; edge is that and what the caret needs beside the text. In one line
// the toolkit's equal room above the text is lift too much.
const (
	inset = 8
	edge  = inset + 2
	lift  = inset - 5
)

// entry is the toolkit's text entry with the studio's keys: what it has no use for goes on to the window.
type entry struct {
	widget.Entry
	owner *Field
	fresh bool // the focus came with the press that is not over yet
}

// FocusGained implements fyne.Focusable.
func (e *entry) FocusGained() {
	e.Entry.FocusGained()
	e.owner.focus(true)
	e.fresh = e.owner.right
	if e.fresh { // a number is usually typed anew
		e.Entry.TypedShortcut(&fyne.ShortcutSelectAll{})
	}
}

// FocusLost implements fyne.Focusable.
func (e *entry) FocusLost() { e.Entry.FocusLost(); e.owner.focus(false) }

// AcceptsTab leaves Tab to moving between controls, also in fields of several lines.
func (e *entry) AcceptsTab() bool { return false }

// MouseIn implements desktop.Hoverable.
func (e *entry) MouseIn(ev *desktop.MouseEvent) { e.owner.MouseIn(ev) }

// MouseMoved implements desktop.Hoverable.
func (e *entry) MouseMoved(*desktop.MouseEvent) {}

// MouseOut implements desktop.Hoverable.
func (e *entry) MouseOut() { e.owner.MouseOut() }

// MouseDown implements desktop.Mouseable.
func (e *entry) MouseDown(ev *desktop.MouseEvent) {
	e.owner.tips.leave(e.owner)
	e.Entry.MouseDown(ev)
}

// MouseUp implements desktop.Mouseable. The press that brought the focus has put the caret somewhere; all is selected again.
func (e *entry) MouseUp(ev *desktop.MouseEvent) {
	e.Entry.MouseUp(ev)
	if e.fresh && e.SelectedText() == "" {
		e.Entry.TypedShortcut(&fyne.ShortcutSelectAll{})
	}
	e.fresh = false
}

// DoubleTapped implements fyne.DoubleTappable.
func (e *entry) DoubleTapped(ev *fyne.PointEvent) {
	if e.owner.OnDefault != nil {
		e.owner.OnDefault()
		return
	}
	e.Entry.DoubleTapped(ev)
}

// TypedKey implements fyne.Focusable.
func (e *entry) TypedKey(key *fyne.KeyEvent) {
	e.owner.tips.leave(e.owner)
	switch {
	case key.Name == fyne.KeyEscape:
		if e.owner.OnCancel == nil || !e.owner.OnCancel() {
			passKey(e, key)
		}
	case key.Name == fyne.KeyUp && e.owner.OnStep != nil:
		e.owner.OnStep(1)
	case key.Name == fyne.KeyDown && e.owner.OnStep != nil:
		e.owner.OnStep(-1)
	case !e.MultiLine && (key.Name == fyne.KeyReturn || key.Name == fyne.KeyEnter):
		e.owner.commit()
		if e.owner.OnEnter != nil {
			e.owner.OnEnter(e.Text)
		}
	default:
		e.Entry.TypedKey(key)
	}
}

// TypedShortcut implements fyne.Shortcutable.
func (e *entry) TypedShortcut(s fyne.Shortcut) {
	if custom, ok := s.(*desktop.CustomShortcut); ok && custom.KeyName == fyne.KeyZ {
		s = &fyne.ShortcutRedo{}
	}
	switch s.(type) {
	case *fyne.ShortcutUndo, *fyne.ShortcutRedo:
		before := e.Text
		e.Entry.TypedShortcut(s)
		if e.Text == before { // nothing left to undo in here; something outside may be
			passShortcut(e, s)
		}
		return
	case *fyne.ShortcutPaste:
		if !e.owner.takes(len(e.Text) - len(e.SelectedText()) + len(fyne.CurrentApp().Clipboard().Content())) {
			return
		}
	}
	if editing(s) || !passShortcut(e, s) {
		e.Entry.TypedShortcut(s)
	}
}

// Field is a text field. Its text counts when it is committed: by Return, or by leaving the field.
type Field struct {
	surface
	hover
	OnChanged func(string) // every keystroke
	OnCommit  func(string) // Return, or leaving the field
	OnEnter   func(string) // Return only
	OnCancel  func() bool  // Esc; false lets the window have it too
	OnStep    func(int)    // ↑ gives 1, ↓ gives −1; nil leaves the keys to the caret
	OnDefault func()       // double-click; nil selects a word

	entry   *entry
	styled  fyne.CanvasObject // the entry in its own theme
	clip    *clip             // what shows of it
	right   bool
	width   float32
	lines   int // least height in lines
	most    int // a field of several lines grows with its text up to this
	grown   int // lines that the text takes now
	focused bool
}

// NewField makes a field of one line, at least width wide.
func NewField(tips *Tips, placeholder string, width float32, tip Tip) *Field {
	return newField(tips, placeholder, width, 1, false, tip)
}

// NewTextArea makes a field that wraps and grows with its text from lines to at most most lines; then it scrolls.
func NewTextArea(tips *Tips, placeholder string, lines, most int, tip Tip) *Field {
	f := newField(tips, placeholder, 80, lines, false, tip)
	f.most = most
	return f
}

// NewEditor makes a field of many lines in type of one width, for text that is laid out by its author. It takes the room it is given.
func NewEditor(tips *Tips, tip Tip) *Field {
	f := newField(tips, "", 80, 4, false, tip)
	f.entry.Wrapping = fyne.TextWrapOff
	f.entry.TextStyle.Monospace = true
	return f
}

// NewNumericField makes a field of one line with its text at the right end.
func NewNumericField(tips *Tips, width float32, tip Tip) *Field {
	return newField(tips, "", width, 1, true, tip)
}

func newField(tips *Tips, placeholder string, width float32, lines int, right bool, tip Tip) *Field {
	f := &Field{width: width, lines: lines, most: lines, right: right}
	f.init(f, tips, tip)
	f.entry = &entry{owner: f}
	f.entry.PlaceHolder = placeholder
	f.entry.Wrapping = fyne.TextWrap(fyne.TextTruncateClip)
	if lines > 1 {
		f.entry.MultiLine = true
		f.entry.Wrapping = fyne.TextWrapWord
	}
	f.entry.OnChanged = func(s string) {
		f.place(f.Size())
		if f.needed() != f.grown {
			f.Refresh()
		}
		if f.OnChanged != nil {
			f.OnChanged(s)
		}
	}
	f.entry.ExtendBaseWidget(f.entry)
	f.styled = container.NewThemeOverride(f.entry, bare{line: lines == 1})
	f.clip = newClip(f.styled)
	f.ExtendBaseWidget(f)
	return f
}

// Text is what the field shows.
func (f *Field) Text() string { return f.entry.Text }

// longest bounds the text of fields that wrap, in bytes: the toolkit lays a paragraph out in time that grows with the square of
// its length, at every keystroke, and a hundred kilobytes would hold the window for minutes.
const longest = 4000

// takes tells whether a text of so many bytes may stand in the field, and says so where it may not.
func (f *Field) takes(length int) bool {
	if f.entry.Wrapping != fyne.TextWrapWord || length <= longest {
		return true
	}
	f.tips.Note(f, fmt.Sprintf("That would be %d letters, and at most %d fit here: shorten the text first.", length, longest))
	return false
}

// SetText shows another text, unless it is longer than the field takes; it does not commit.
func (f *Field) SetText(s string) {
	if f.entry.Text != s && f.takes(len(s)) {
		f.entry.SetText(s)
	}
}

// Placeholder is what stands in the field while it is empty.
func (f *Field) Placeholder() string { return f.entry.PlaceHolder }

// SetPlaceholder changes what stands in the field while it is empty.
func (f *Field) SetPlaceholder(s string) {
	if f.entry.PlaceHolder != s {
		f.entry.SetPlaceHolder(s)
	}
}

// Focus puts the caret into the field.
func (f *Field) Focus() {
	// The toolkit finds only what it has drawn, and forgets what was hidden for long; asking for the size makes it known again.
	for _, o := range []fyne.CanvasObject{f, f.clip, f.styled, f.entry} {
		o.MinSize()
	}
	// The layer of tips has been on the window from the start; a field that was just shown is not known to a window yet.
	if c := canvasOf(f.tips.Layer); c != nil {
		c.Focus(f.entry)
	}
}

// Unfocus takes the caret out of the field, where it is there.
func (f *Field) Unfocus() {
	if c := canvasOf(f); c != nil && f.focused {
		c.Unfocus()
	}
}

// Focused tells whether the caret is in the field.
func (f *Field) Focused() bool { return f.focused }

// CaretToEnd puts the caret behind the last letter.
func (f *Field) CaretToEnd() {
	f.entry.TypedKey(&fyne.KeyEvent{Name: fyne.KeyPageDown})
}

// Tapped implements fyne.Tappable: the part of the box beside the text leads into it too.
func (f *Field) Tapped(*fyne.PointEvent) { f.Focus() }

// Cursor implements desktop.Cursorable.
func (f *Field) Cursor() desktop.Cursor { return desktop.TextCursor }

// CommitFocused takes what has been typed so far into the field that has the focus, if one has.
func CommitFocused(t *Tips) {
	if c := canvasOf(t.Layer); c != nil {
		if e, ok := c.Focused().(*entry); ok {
			e.owner.commit()
		}
	}
}

func (f *Field) commit() {
	if f.OnCommit != nil {
		f.OnCommit(f.entry.Text)
	}
}

func (f *Field) focus(on bool) {
	f.focused = on
	f.Refresh()
	if !on {
		f.commit()
	}
}

// needed is how many lines the text takes, within the field's limits.
func (f *Field) needed() int {
	room := f.Size().Width - 2*edge
	if f.most <= f.lines || room <= 0 {
		return f.lines
	}
	n := 0
	for _, paragraph := range strings.Split(f.entry.Text, "\n") {
		n += len(Wrap(paragraph, Body, room, f.most))
	}
	return max(f.lines, min(f.most, n))
}

// place puts the text at the right end where numbers are shown; a number too long for the box scrolls instead.
func (f *Field) place(size fyne.Size) {
	width := size.Width
	if f.right {
		need := measure(f.entry.Text, Body).Width + 2*edge
		width = max(24, min(width, need))
	}
	// The toolkit draws a frame of its own round a focused entry, in the caret's colour and as thick as the caret; it is left
	// outside of what shows.
	f.clip.Move(fyne.NewPos(size.Width-width+1, 1))
	f.clip.Resize(fyne.NewSize(width-2, size.Height-2))
	up := float32(0)
	if f.lines == 1 {
		up = lift
	}
	f.styled.Move(fyne.NewPos(-frame-1, -frame-1-up))
	f.styled.Resize(fyne.NewSize(width+2*frame, size.Height+2*frame+2*up))
}

// CreateRenderer implements fyne.Widget.
func (f *Field) CreateRenderer() fyne.WidgetRenderer {
	box := canvas.NewRectangle(nil)
	box.CornerRadius = Radius
	r := &painter{objects: []fyne.CanvasObject{box, f.clip}}
	r.min = func() fyne.Size {
		if f.lines == 1 {
			return fyne.NewSize(f.width, RowHeight)
		}
		f.grown = f.needed()
		return fyne.NewSize(f.width, float32(f.grown)*lineHeight(Body)+12)
	}
	r.layout = func(size fyne.Size) {
		box.Resize(size)
		f.place(size)
	}
	r.refresh = func() {
		stroke := Line
		if f.focused {
			stroke = AccentInk
		} else if f.over {
			stroke = Secondary
		}
		paintBox(box, Raised, stroke)
		box.Refresh()
	}
	r.refresh()
	return r
}

// clip shows only what of its content lies inside of it; the content is placed by hand. The toolkit's own clip is not known to
// a window before it has been painted once, and until then nothing in it could take the focus.
type clip struct {
	surface
	content fyne.CanvasObject
}

func newClip(content fyne.CanvasObject) *clip {
	c := &clip{content: content}
	c.ExtendBaseWidget(c)
	return c
}

// CreateRenderer implements fyne.Widget.
func (c *clip) CreateRenderer() fyne.WidgetRenderer {
	return clipPainter{&painter{
		objects: []fyne.CanvasObject{c.content},
		min:     func() fyne.Size { return fyne.NewSize(1, 1) },
		layout:  func(fyne.Size) {},
		refresh: func() { canvas.Refresh(c) },
	}}
}

type clipPainter struct{ *painter }

// IsClip tells the toolkit to clip.
func (clipPainter) IsClip() {}
