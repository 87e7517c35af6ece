package kit

import (
	"image"
	"image/color"
	"math"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"
)

// mainThread collects what other goroutines post; the test runs it, as the window's loop would.
type mainThread chan func()

func (m mainThread) post(f func()) { m <- f }

// until runs posted functions until ok, at most five seconds.
func (m mainThread) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for !ok() {
		select {
		case f := <-m:
			f()
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func open(t *testing.T, build func(*Tips) fyne.CanvasObject) (fyne.Window, *Tips, mainThread) {
	t.Helper()
	a := test.NewTempApp(t)
	a.Settings().SetTheme(NewTheme("dark"))
	m := make(mainThread, 1000)
	tips := NewTips(m.post)
	w := test.NewTempWindow(t, container.NewStack(build(tips), tips.Layer))
	w.Resize(fyne.NewSize(400, 300))
	return w, tips, m
}

func key(name fyne.KeyName) *fyne.KeyEvent { return &fyne.KeyEvent{Name: name} }

func TestNumberTakesTypingAndCorrects(t *testing.T) {
	var n *Number
	var heard []float64
	_, tips, _ := open(t, func(tips *Tips) fyne.CanvasObject {
		n = NewNumber(tips, Range{Min: 1, Max: 30, Step: 0.1, Decimals: 1, Curve: 2, Name: "CFG scale"}, 7, Tip{})
		n.OnChanged = func(v float64) { heard = append(heard, v) }
		return n
	})
	for _, c := range []struct {
		typed string
		want  float64
		shown string
		note  string
	}{
		{"4.5", 4.5, "4.5", ""}, {"3,25", 3.3, "3.3", "in steps of 0.1"}, {"99", 30, "30.0", "goes from 1.0 to 30.0"},
		{"-2", 1, "1.0", "goes from 1.0 to 30.0"}, {"pear", 1, "1.0", "“pear” was undone"}, {"NaN", 1, "1.0", "was undone"}, {"", 1, "1.0", ""},
	} {
		tips.hide()
		n.field.SetText(c.typed)
		n.field.entry.TypedKey(key(fyne.KeyReturn))
		if n.Value() != c.want || n.field.Text() != c.shown {
			t.Errorf("typed %q: %v, shown %q; want %v, %q", c.typed, n.Value(), n.field.Text(), c.want, c.shown)
		}
		if got := tips.Shown(); (c.note == "") != (got == "") || !strings.Contains(got, c.note) {
			t.Errorf("typed %q: note %q, want %q", c.typed, got, c.note)
		}
	}
	if want := []float64{4.5, 3.3, 30, 1}; len(heard) != len(want) || heard[1] != 3.3 {
		t.Errorf("heard %v, want %v", heard, want)
	}
}

func TestNumberKeysWheelDragAndDefault(t *testing.T) {
	var n *Number
	open(t, func(tips *Tips) fyne.CanvasObject {
		n = NewNumber(tips, Range{Min: 1, Max: 150, Step: 1, Curve: 2, Name: "Steps"}, 20, Tip{})
		return n
	})
	s := n.slider
	steps := []struct {
		name string
		do   func()
		want float64
	}{
		{"right", func() { s.TypedKey(key(fyne.KeyRight)) }, 21},
		{"left", func() { s.TypedKey(key(fyne.KeyLeft)) }, 20},
		{"page up", func() { s.TypedKey(key(fyne.KeyPageUp)) }, 30},
		{"end", func() { s.TypedKey(key(fyne.KeyEnd)) }, 150},
		{"beyond the end", func() { s.TypedKey(key(fyne.KeyUp)) }, 150},
		{"home", func() { s.TypedKey(key(fyne.KeyHome)) }, 1},
		{"up in the entry", func() { n.field.entry.TypedKey(key(fyne.KeyUp)) }, 2},
		{"wheel", func() { s.Scrolled(&fyne.ScrollEvent{Scrolled: fyne.Delta{DY: 25}}) }, 3},
		{"wheel back", func() { s.Scrolled(&fyne.ScrollEvent{Scrolled: fyne.Delta{DY: -25}}) }, 2},
		{"double-click", func() { s.DoubleTapped(nil) }, 20},
		{"double-click in the entry", func() { n.Set(77); n.field.entry.DoubleTapped(nil) }, 20},
		{"press in the middle", func() {
			s.MouseDown(&desktop.MouseEvent{Button: desktop.MouseButtonPrimary, PointEvent: fyne.PointEvent{Position: fyne.NewPos(s.Size().Width/2, 5)}})
		}, 38},
		{"drag past the end", func() {
			s.Dragged(&fyne.DragEvent{PointEvent: fyne.PointEvent{Position: fyne.NewPos(9999, 5)}})
		}, 150},
	}
	for _, c := range steps {
		if c.do(); n.Value() != c.want {
			t.Errorf("%s: %v, want %v", c.name, n.Value(), c.want)
		}
	}
}

func TestNumberIsSelectedWhenEntered(t *testing.T) {
	var n *Number
	w, _, _ := open(t, func(tips *Tips) fyne.CanvasObject {
		n = NewNumberField(tips, Range{Min: 64, Max: 512, Step: 64, Curve: 1, Name: "Width"}, 256, 60, Tip{})
		return container.NewVBox(n)
	})
	e := n.field.entry
	press := &desktop.MouseEvent{Button: desktop.MouseButtonPrimary, PointEvent: fyne.PointEvent{Position: fyne.NewPos(10, 10)}}
	e.MouseDown(press)
	e.MouseUp(press)
	if got := e.SelectedText(); got != "256" || w.Canvas().Focused() != e {
		t.Errorf("selected %q", got)
	}
	test.Type(e, "320")
	w.Canvas().Unfocus()
	if n.Value() != 320 {
		t.Errorf("leaving the field commits: %v", n.Value())
	}
}

func TestFieldPassesWhatItHasNoUseFor(t *testing.T) {
	var f *Field
	w, _, _ := open(t, func(tips *Tips) fyne.CanvasObject {
		f = NewTextArea(tips, "words", 2, 6, Tip{})
		return f
	})
	var keys []fyne.KeyName
	generate, undone := 0, 0
	w.Canvas().SetOnTypedKey(func(k *fyne.KeyEvent) { keys = append(keys, k.Name) })
	w.Canvas().AddShortcut(&desktop.CustomShortcut{KeyName: fyne.KeyReturn, Modifier: fyne.KeyModifierControl}, func(fyne.Shortcut) { generate++ })
	w.Canvas().AddShortcut(&fyne.ShortcutUndo{}, func(fyne.Shortcut) { undone++ })
	f.Focus()
	if w.Canvas().Focused() != f.entry || !f.Focused() {
		t.Fatalf("focus is on %T", w.Canvas().Focused())
	}
	test.Type(f.entry, "abc")
	f.entry.TypedKey(key(fyne.KeyEscape))
	f.entry.TypedShortcut(&desktop.CustomShortcut{KeyName: fyne.KeyReturn, Modifier: fyne.KeyModifierControl})
	if f.Text() != "abc" || len(keys) != 1 || keys[0] != fyne.KeyEscape || generate != 1 {
		t.Errorf("text %q, keys %v, generate %d", f.Text(), keys, generate)
	}
	for range 3 {
		f.entry.TypedShortcut(&fyne.ShortcutUndo{})
	}
	if f.Text() != "" || undone == 0 {
		t.Errorf("after undo: %q; the window heard %d", f.Text(), undone)
	}
	if f.entry.AcceptsTab() {
		t.Error("Tab must move on to the next control")
	}
}

func TestTextAreaRefusesWhatWouldHoldTheWindow(t *testing.T) {
	var f *Field
	_, _, _ = open(t, func(tips *Tips) fyne.CanvasObject {
		f = NewTextArea(tips, "words", 2, 6, Tip{})
		return f
	})
	f.Focus()
	test.Type(f.entry, "abc")
	paste := func(n int) {
		fyne.CurrentApp().Clipboard().SetContent(strings.Repeat("x ", n/2))
		f.entry.TypedShortcut(&fyne.ShortcutPaste{Clipboard: fyne.CurrentApp().Clipboard()})
	}
	if paste(100_000); f.Text() != "abc" {
		t.Errorf("%d letters were pasted", len(f.Text()))
	}
	if f.SetText(strings.Repeat("y", longest+1)); f.Text() != "abc" {
		t.Errorf("%d letters were set", len(f.Text()))
	}
	if paste(longest - 4); len(f.Text()) != longest-1 {
		t.Errorf("%d letters, %d are wanted", len(f.Text()), longest-1)
	}
}

func TestTextAreaGrowsWithItsText(t *testing.T) {
	var f *Field
	open(t, func(tips *Tips) fyne.CanvasObject {
		f = NewTextArea(tips, "", 2, 5, Tip{})
		return container.NewVBox(f)
	})
	two := f.MinSize().Height
	f.SetText("one\ntwo\nthree\nfour")
	four := f.MinSize().Height
	f.SetText(strings.Repeat("word ", 400))
	five := f.MinSize().Height
	line := lineHeight(Body)
	if math.Abs(float64(four-two-2*line)) > 0.1 || math.Abs(float64(five-two-3*line)) > 0.1 {
		t.Errorf("heights %v %v %v, line %v", two, four, five, line)
	}
}

func TestChoiceAndFoldAnswerKeys(t *testing.T) {
	var c *Choice
	var f *Fold
	inner := NewLabel("inside", Body, Text)
	picked, toggled := []int{}, []bool{}
	w, _, _ := open(t, func(tips *Tips) fyne.CanvasObject {
		c = NewChoice(tips, Tip{})
		c.SetLabels([]string{"a", "b", "c"}, 1)
		c.OnChanged = func(i int) { picked = append(picked, i) }
		f = NewFold(tips, "More", false, inner, Tip{})
		f.OnToggled = func(open bool) { toggled = append(toggled, open) }
		return container.NewVBox(c, f)
	})
	for _, k := range []fyne.KeyName{fyne.KeyDown, fyne.KeyDown, fyne.KeyUp, fyne.KeyUp, fyne.KeyUp} {
		c.TypedKey(key(k))
	}
	if c.Selected() != 0 || len(picked) != 3 || picked[0] != 2 {
		t.Errorf("selected %d, picked %v", c.Selected(), picked)
	}
	test.Tap(c)
	if w.Canvas().Overlays().Top() == nil {
		t.Error("tapping a choice opens its list")
	}
	closed := f.MinSize().Height
	f.head.TypedKey(key(fyne.KeySpace))
	if !f.Open() || !inner.Visible() || f.MinSize().Height <= closed {
		t.Errorf("open %v, visible %v, height %v after %v", f.Open(), inner.Visible(), f.MinSize().Height, closed)
	}
	f.head.TypedKey(key(fyne.KeyLeft))
	if f.Open() || inner.Visible() || len(toggled) != 2 {
		t.Errorf("open %v, toggled %v", f.Open(), toggled)
	}
}

func TestButtonTapKeysAndDisabled(t *testing.T) {
	var b *Button
	taps := 0
	w, _, _ := open(t, func(tips *Tips) fyne.CanvasObject {
		b = NewButton(tips, "Go", Primary, Tip{}, func() { taps++ })
		return container.NewVBox(b)
	})
	passed := 0
	w.Canvas().SetOnTypedKey(func(*fyne.KeyEvent) { passed++ })
	test.Tap(b)
	b.TypedKey(key(fyne.KeySpace))
	b.TypedKey(key(fyne.KeyReturn))
	b.TypedKey(key(fyne.KeyEscape))
	b.SetEnabled(false)
	test.Tap(b)
	if taps != 3 || passed != 1 || b.Enabled() {
		t.Errorf("taps %d, passed on %d, enabled %v", taps, passed, b.Enabled())
	}
	if w.Canvas().Focused() != nil {
		t.Error("tapping a button must not take the focus")
	}
}

func TestTipComesAfterAMomentAndGoes(t *testing.T) {
	var b *Button
	_, tips, m := open(t, func(tips *Tips) fyne.CanvasObject {
		b = NewButton(tips, "Go", Plain, Tip{Name: "Go", Key: "G", Text: "It goes."}, nil)
		return container.NewVBox(b)
	})
	b.MouseIn(nil)
	if tips.Shown() != "" {
		t.Error("a tip waits a moment")
	}
	m.until(t, "the tip", func() bool { return tips.Shown() == "It goes." })
	at, size := tips.bubble.Position(), tips.bubble.Size()
	if at.X < 0 || at.Y < b.Size().Height || at.X+size.Width > 400 || at.Y+size.Height > 300 {
		t.Errorf("the tip is at %v, %v", at, size)
	}
	b.MouseOut()
	if tips.Shown() != "" {
		t.Error("the tip stays after the pointer has gone")
	}
	b.MouseIn(nil)
	b.MouseOut()
	time.Sleep(tipDelay + 100*time.Millisecond)
	for len(m) > 0 {
		(<-m)()
	}
	if tips.Shown() != "" {
		t.Error("a tip came although the pointer had gone")
	}
}

func TestWrapAndShorten(t *testing.T) {
	test.NewTempApp(t)
	lines := Wrap("one two three four five six seven", Body, 80, 10)
	for _, l := range lines {
		if measure(l, Body).Width > 80 {
			t.Errorf("line %q is too wide", l)
		}
	}
	if got := strings.Join(lines, " "); got != "one two three four five six seven" {
		t.Errorf("words lost: %q", got)
	}
	if got := Wrap("a\nb", Body, 80, 10); len(got) != 2 || got[1] != "b" {
		t.Errorf("lines %q", got)
	}
	long := Wrap(strings.Repeat("x", 100), Body, 80, 3)
	if len(long) != 3 || !strings.HasSuffix(long[2], "…") || measure(long[2], Body).Width > 80 {
		t.Errorf("long word: %q", long)
	}
	if got := Shorten("short", Body, 300); got != "short" {
		t.Errorf("shortened to %q", got)
	}
	if got := Shorten("日本語のとても長い文章です", Body, 60); !strings.HasSuffix(got, "…") || measure(got, Body).Width > 60 {
		t.Errorf("shortened to %q", got)
	}
}

func TestColumnsKeepTheirLimits(t *testing.T) {
	a, b, c := NewBacking(Panel), NewBacking(Canvas), NewBacking(Panel)
	var cols *Columns
	var left, right float32
	w, _, _ := open(t, func(*Tips) fyne.CanvasObject {
		cols = NewColumns(a, b, c, 300, 240)
		cols.OnMoved = func(l, r float32) { left, right = l, r }
		return cols
	})
	w.Resize(fyne.NewSize(1280, 700))
	total := cols.Size().Width
	check := func(what string, l, r float32) {
		t.Helper()
		if a.Size().Width != l || c.Size().Width != r || b.Size().Width != total-l-r || b.Position().X != l {
			t.Errorf("%s: %v %v %v of %v, want %v and %v", what, a.Size().Width, b.Size().Width, c.Size().Width, total, l, r)
		}
	}
	check("start", 300, 240)
	cols.first.Dragged(&fyne.DragEvent{Dragged: fyne.Delta{DX: 50}})
	cols.second.Dragged(&fyne.DragEvent{Dragged: fyne.Delta{DX: -60}})
	cols.second.DragEnd()
	check("dragged", 350, 300)
	if left != 350 || right != 300 {
		t.Errorf("heard %v, %v", left, right)
	}
	cols.first.Dragged(&fyne.DragEvent{Dragged: fyne.Delta{DX: 5000}})
	cols.second.Dragged(&fyne.DragEvent{Dragged: fyne.Delta{DX: 5000}})
	check("limits", LeftMax, RightMin)
	cols.HideRight(true)
	if c.Visible() || b.Size().Width != total-LeftMax {
		t.Errorf("hidden: %v, middle %v", c.Visible(), b.Size().Width)
	}
}

func TestPictureFitsZoomsAndPans(t *testing.T) {
	var p *Picture
	var percent float64
	var fit bool
	m := make(mainThread, 1000)
	w, _, _ := open(t, func(*Tips) fyne.CanvasObject {
		p = NewPicture(m.post)
		p.OnView = func(v float64, f bool) { percent, fit = v, f }
		return p
	})
	w.SetPadded(false)
	w.Resize(fyne.NewSize(448, 448))
	img := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	p.generate(448, 448) // the toolkit asks for pixels
	p.Display(img, image.Point{})
	if percent != 400 || !fit {
		t.Errorf("fitted at %v %%, fit %v", percent, fit)
	}
	m.until(t, "a frame", func() bool { return p.frame != nil && !p.drawing })
	if got := p.frame.RGBAAt(224, 224); got != (color.RGBA{255, 255, 255, 255}) {
		t.Errorf("middle is %v", got)
	}
	if got := p.frame.RGBAAt(4, 4); got != RGBA(Canvas) {
		t.Errorf("corner is %v", got)
	}
	p.Actual()
	if percent != 100 || fit || p.view.OffsetX != 174 {
		t.Errorf("100 %%: %v, fit %v, at %v", percent, fit, p.view.OffsetX)
	}
	p.Scrolled(&fyne.ScrollEvent{Scrolled: fyne.Delta{DY: wheelNotch}, PointEvent: fyne.PointEvent{Position: fyne.NewPos(174, 174)}})
	if math.Abs(percent-120) > 0.01 || math.Abs(p.view.OffsetX-174) > 0.01 {
		t.Errorf("wheel: %v %%, corner at %v", percent, p.view.OffsetX)
	}
	p.Dragged(&fyne.DragEvent{Dragged: fyne.Delta{DX: 10, DY: -20}})
	if math.Abs(p.view.OffsetX-184) > 0.01 || math.Abs(p.view.OffsetY-154) > 0.01 {
		t.Errorf("dragged to %v, %v", p.view.OffsetX, p.view.OffsetY)
	}
	p.Display(img, image.Point{})
	if math.Abs(p.view.OffsetX-184) > 0.01 {
		t.Error("another picture of the same size must keep the view")
	}
	p.Fit()
	if percent != 400 {
		t.Errorf("fit again at %v", percent)
	}
	m.until(t, "the last frame", func() bool { return !p.drawing })
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 kB", 1536: "2 kB", 38e6: "38 MB", 2e9: "2.0 GB", 24e9: "24 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// TestContrast holds text to 4.5:1 on everything that it is drawn on, in both themes.
func TestContrast(t *testing.T) {
	luminance := func(c color.NRGBA) float64 {
		f := func(v uint8) float64 {
			x := float64(v) / 255
			if x <= 0.04045 {
				return x / 12.92
			}
			return math.Pow((x+0.055)/1.055, 2.4)
		}
		return 0.2126*f(c.R) + 0.7152*f(c.G) + 0.0722*f(c.B)
	}
	ratio := func(a, b color.NRGBA) float64 {
		x, y := luminance(a), luminance(b)
		return (math.Max(x, y) + 0.05) / (math.Min(x, y) + 0.05)
	}
	for name, p := range map[string]palette{"dark": dark, "light": light} {
		for _, ink := range []fyne.ThemeColorName{Text, Secondary, AccentInk, Loss, Healthy} {
			for _, ground := range []fyne.ThemeColorName{Canvas, Panel, Raised} {
				if r := ratio(p[ink], p[ground]); r < 4.5 {
					t.Errorf("%s: %s on %s is %.2f", name, ink, ground, r)
				}
			}
		}
		if r := ratio(p[OnAccent], p[Accent]); r < 4.5 {
			t.Errorf("%s: text on the accent is %.2f", name, r)
		}
	}
}

func TestThemesDiffer(t *testing.T) {
	if NewTheme("dark").Color(Panel, theme.VariantLight) != dark[Panel] || NewTheme("light").Color(Panel, theme.VariantDark) != light[Panel] {
		t.Error("a fixed theme ignores the system")
	}
	if NewTheme("system").Color(theme.ColorNameBackground, theme.VariantLight) != light[Panel] {
		t.Error("the system theme follows the system")
	}
}
