package images

import (
	"math"

	"fyne.io/fyne/v2"

	"atelier/app/settings"
	"atelier/models/pipeline"
	"atelier/ui/kit"
)

// beginning is the picture that others are made from, if there is one, how much of it is made new, and where. The pictures are of this
// session; the numbers are kept for the next.
type beginning struct {
	from     *slot
	mask     *mask // nil without; written to only while a stroke is drawn
	brush    *brush
	strength *kit.Number
	blur     *kit.Number
	area     *kit.Choice // the whole picture, or only what is masked
	padding  *kit.Number
	room     *fyne.Container // of the padding
	fold     *kit.Fold       // of all that has to do with the mask
	amount   *fyne.Container
	content  *fyne.Container
}

// brushActions are what the buttons of the mask do.
type brushActions struct{ paint, erase, clear, load func() }

func newBeginning(tips *kit.Tips, open bool, do brushActions, act func(kind string, do func())) *beginning {
	b := &beginning{}
	b.from = newSlot(tips, "From", "noise alone", slotTips{
		kit.Tip{Name: "Begin with a picture", Key: "Return", Text: "Make new pictures from this one instead of from noise alone. A picture can also be dropped on the window; an empty field takes it out."},
		kit.Tip{Name: "Choose a picture", Text: "Pick the picture to begin with."},
		kit.Tip{Name: "Begin with the canvas", Text: "Make new pictures from the one on the canvas."}})
	number := func(r kit.Range, standard float64, tip kit.Tip) *kit.Number {
		tip.Name, tip.Key = r.Name, "← →"
		n := kit.NewNumber(tips, r, standard, tip)
		n.OnChanged = func(float64) { act(r.Name, b.summarise) }
		return n
	}
	b.strength = number(kit.Range{Min: 0.01, Max: 1, Step: 0.01, Decimals: 2, Curve: 1, Name: "Denoising strength"}, 0.75, kit.Tip{
		Text: "How much of the picture is made new: little keeps it nearly as it is, 1 keeps hardly anything."})
	b.blur = number(kit.Range{Min: 0, Max: 64, Step: 1, Curve: 2, Name: "Mask blur"}, 4, kit.Tip{
		Text: "Over how many pixels the new fades into the old at the mask's edge."})
	b.padding = number(kit.Range{Min: 0, Max: 256, Step: 4, Curve: 1, Name: "Padding"}, 32, kit.Tip{
		Text: "How many pixels round the mask are worked on with it, so that the new fits to the old."})
	b.area = kit.NewChoice(tips, kit.Tip{Name: "Area", Key: "↑ ↓", Text: "Work on the whole picture, or only on the masked part and its surroundings at the full size above, which gives small parts more detail."})
	b.area.SetLabels([]string{"Whole picture", "Only masked"}, 0)
	b.area.OnChanged = func(int) { act("", b.summarise) }
	b.brush = newBrush(tips, do)
	b.room = kit.Labelled("Padding", labelWidth, b.padding)
	b.fold = kit.NewFold(tips, "Mask", open, kit.Column(kit.Gap,
		b.brush.content,
		kit.Labelled("Blur", labelWidth, b.blur),
		kit.Labelled("Area", labelWidth, b.area),
		b.room,
	), kit.Tip{Key: "Space", Text: "Where the picture is made new: paint it on the canvas, or load it from a file. Without a mask all of it is."})
	b.amount = kit.Column(kit.Gap, kit.Labelled("Strength", labelWidth, b.strength), b.fold)
	b.content = kit.Column(kit.Gap, b.from.row, b.amount)
	b.set(nil, nil)
	b.summarise()
	return b
}

// set shows a picture and its mask; nil shows none.
func (b *beginning) set(from *given, m *mask) {
	if from == nil {
		m = nil
	}
	b.from.set(from)
	b.mask = m
	show(b.amount, from != nil)
	b.summarise()
	b.content.Refresh()
}

// masked tells whether a part alone is made new.
func (b *beginning) masked() bool { return b.mask != nil && !b.mask.empty() }

func (b *beginning) onlyMasked() bool { return b.area.Selected() == 1 }

func (b *beginning) summarise() {
	show(b.room, b.onlyMasked())
	text := "none"
	switch {
	case b.masked() && b.onlyMasked():
		text = "only masked"
	case b.masked():
		text = "whole picture"
	}
	b.brush.clear.SetEnabled(b.mask != nil)
	b.fold.SetSummary(text)
	b.fold.Refresh()
}

// load shows the numbers of parameters.
func (b *beginning) load(p settings.Parameters) {
	set := func(n *kit.Number, v, usual float64) {
		if v == 0 {
			v = usual
		}
		n.Set(math.Max(v, 0)) // −1 is none
	}
	set(b.strength, p.Strength, 0.75)
	set(b.blur, float64(p.MaskBlur), 4)
	set(b.padding, float64(p.Padding), 32)
	b.area.Select(0)
	if p.OnlyMasked {
		b.area.Select(1)
	}
	b.summarise()
}

// store puts the numbers into parameters.
func (b *beginning) store(p *settings.Parameters) {
	whole := func(n *kit.Number) int {
		if n.Value() == 0 {
			return -1
		}
		return int(n.Value())
	}
	p.Strength, p.MaskBlur, p.Padding, p.OnlyMasked = b.strength.Value(), whole(b.blur), whole(b.padding), b.onlyMasked()
}

// into puts the picture into a request.
func (b *beginning) into(r *pipeline.Request, p settings.Parameters) {
	if b.from.given == nil || !b.content.Visible() {
		return
	}
	r.Init, r.Strength = b.from.given.pixels, p.Strength
	if b.masked() {
		r.Mask, r.MaskBlur, r.OnlyMasked, r.Padding = b.mask.pixels(), p.MaskBlur, p.OnlyMasked, p.Padding
	}
}

func show(o fyne.CanvasObject, on bool) {
	if on {
		o.Show()
	} else {
		o.Hide()
	}
}

// began takes a picture to begin with, at its own size as far as the model makes that; nil takes it out.
func (w *Workspace) began(g *given) {
	f := w.form
	f.act("", func() {
		f.begin.set(g, nil)
		if g != nil {
			f.fit(g.image.Rect.Size())
		}
	})
	w.maskChanged()
	f.content.Refresh()
}
