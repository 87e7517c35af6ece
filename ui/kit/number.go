package kit

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"fyne.io/fyne/v2"
)

// Range says what values a Number takes.
type Range struct {
	Min, Max, Step float64
	Decimals       int
	Curve          float64 // 1: the slider is even; 2: small values get more of it
	Name           string  // for the note when a value is out of range: "Steps"
}

// Number is a slider with an entry for one value: drag, type, arrow keys, wheel, double-click for the default.
type Number struct {
	surface
	OnChanged func(float64)

	tips     *Tips
	limits   Range
	value    float64
	standard float64
	slider   *slider
	field    *Field
	bare     bool // without the slider
}

// NewNumber makes the control; standard is its first value and what double-clicking goes back to.
func NewNumber(tips *Tips, limits Range, standard float64, tip Tip) *Number {
	n := &Number{tips: tips, limits: limits, standard: standard}
	n.slider = newSlider(tips, tip)
	n.field = newField(tips, "", 58, 1, true, tip)
	n.slider.onMove = func(p float64) { n.change(n.at(p)) }
	n.slider.onStep = n.step
	n.slider.onDefault = func() { n.change(n.standard) }
	n.field.OnStep = n.step
	n.field.OnDefault = n.slider.onDefault
	n.field.OnCommit = n.typed
	n.ExtendBaseWidget(n)
	n.show(standard)
	return n
}

// NewNumberField is a Number without the slider: an entry alone, at least width wide.
func NewNumberField(tips *Tips, limits Range, standard float64, width float32, tip Tip) *Number {
	n := NewNumber(tips, limits, standard, tip)
	n.bare = true
	n.field.width = width
	return n
}

// SetRange changes what values are taken and corrects the current one.
func (n *Number) SetRange(limits Range) {
	n.limits = limits
	n.standard = n.correct(n.standard)
	n.show(n.correct(n.value))
}

// Value is the current value.
func (n *Number) Value() float64 { return n.value }

// Set shows a value, corrected to the range, without calling OnChanged.
func (n *Number) Set(v float64) { n.show(n.correct(v)) }

// SetStandard changes what double-clicking goes back to.
func (n *Number) SetStandard(v float64) { n.standard = n.correct(v) }

func (n *Number) step(steps int) { n.change(n.value + float64(steps)*n.limits.Step) }

func (n *Number) change(v float64) {
	v = n.correct(v)
	if v != n.value {
		n.show(v)
		if n.OnChanged != nil {
			n.OnChanged(v)
		}
		return
	}
	n.show(v)
}

// typed takes what was typed: a number is corrected to the range with a note, anything else is undone.
func (n *Number) typed(text string) {
	v, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(text), ",", "."), 64)
	if err != nil || math.IsNaN(v) {
		if strings.TrimSpace(text) != "" {
			n.tips.Note(n, fmt.Sprintf("%s is a number, so “%s” was undone.", n.limits.Name, Shorten(text, Caption, 120)))
		}
		n.show(n.value)
		return
	}
	if n.correct(v) != v {
		note := fmt.Sprintf("%s goes from %s to %s", n.limits.Name, n.format(n.limits.Min), n.format(n.limits.Max))
		if n.limits.Step != 1 && v > n.limits.Min && v < n.limits.Max {
			note += " in steps of " + strconv.FormatFloat(n.limits.Step, 'f', -1, 64)
		}
		n.tips.Note(n, note+".")
	}
	n.change(v)
}

func (n *Number) correct(v float64) float64 {
	if math.IsNaN(v) {
		return n.standard
	}
	v = n.limits.Min + math.Round((v-n.limits.Min)/n.limits.Step)*n.limits.Step
	v = math.Max(n.limits.Min, math.Min(n.limits.Max, v))
	scale := math.Pow(10, float64(n.limits.Decimals))
	return math.Round(v*scale) / scale
}

func (n *Number) format(v float64) string { return strconv.FormatFloat(v, 'f', n.limits.Decimals, 64) }

func (n *Number) at(position float64) float64 {
	return n.limits.Min + math.Pow(position, n.limits.Curve)*(n.limits.Max-n.limits.Min)
}

func (n *Number) show(v float64) {
	n.value = v
	if span := n.limits.Max - n.limits.Min; span > 0 {
		n.slider.set(math.Pow((v-n.limits.Min)/span, 1/n.limits.Curve))
	}
	n.field.SetText(n.format(v))
}

// CreateRenderer implements fyne.Widget.
func (n *Number) CreateRenderer() fyne.WidgetRenderer {
	r := &painter{objects: []fyne.CanvasObject{n.slider, n.field}}
	if n.bare {
		return &painter{
			objects: []fyne.CanvasObject{n.field},
			min:     n.field.MinSize,
			layout:  n.field.Resize,
			refresh: n.field.Refresh,
		}
	}
	r.min = func() fyne.Size {
		return fyne.NewSize(n.slider.MinSize().Width+Gap+n.field.MinSize().Width, RowHeight)
	}
	r.layout = func(size fyne.Size) {
		f := n.field.MinSize().Width
		n.slider.Resize(fyne.NewSize(size.Width-f-Gap, size.Height))
		n.field.Resize(fyne.NewSize(f, size.Height))
		n.field.Move(fyne.NewPos(size.Width-f, 0))
	}
	r.refresh = func() { n.slider.Refresh(); n.field.Refresh() }
	return r
}
