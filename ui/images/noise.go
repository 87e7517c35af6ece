package images

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fyne.io/fyne/v2"

	"atelier/app/settings"
	"atelier/models/diffusion"
	"atelier/models/pipeline"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// noise is the section of what most people leave alone: where the noise comes from, how it is taken away, and how deep words are read.
type noise struct {
	rng, spacing       *kit.Choice
	zero               *kit.Button
	eta, skip, rescale *kit.Number
	etaRow, skipRow    *fyne.Container
	ownEta             float64 // of the sampler
	fold               *kit.Fold
}

// spacings are how the steps are spread over what the model learned.
var spacings = []studio.Named{{ID: "", Label: "The model's own"}, {ID: "leading", Label: "Leading"}, {ID: "trailing", Label: "Trailing"}, {ID: "linspace", Label: "Linspace"}}

// rngs are who may draw the noise; the first is the studio's own.
func rngs() (all []studio.Named) {
	for _, n := range pipeline.RNGs() {
		all = append(all, studio.Named{ID: n.ID, Label: n.Label})
	}
	return all
}

func newNoise(tips *kit.Tips, open bool, act func(kind string, do func())) *noise {
	n := &noise{}
	n.rng = kit.NewChoice(tips, kit.Tip{Name: "RNG", Key: "↑ ↓", Text: "Who draws the noise: CPU draws what ComfyUI and diffusers draw from a seed, NV what A1111 draws on an NVIDIA card."})
	choose(n.rng, rngs(), "", "")
	n.spacing = kit.NewChoice(tips, kit.Tip{Name: "Timestep spacing", Key: "↑ ↓", Text: "How the steps are spread over what the model learned; Linspace is what A1111's and ComfyUI's Euler has."})
	choose(n.spacing, spacings, "", "")
	n.rng.OnChanged = func(int) { act("", n.summarise) }
	n.spacing.OnChanged = n.rng.OnChanged
	number := func(r kit.Range, standard float64, text string) *kit.Number {
		field := kit.NewNumber(tips, r, standard, kit.Tip{Name: r.Name, Key: "← →", Text: text})
		field.OnChanged = func(float64) { act(r.Name, n.summarise) }
		return field
	}
	n.eta = number(kit.Range{Min: 0, Max: 1, Step: 0.05, Decimals: 2, Curve: 1, Name: "Eta"}, 0, "How much of the noise is drawn anew at every step. Double-click for the sampler's own.")
	n.skip = number(kit.Range{Min: 1, Max: 12, Step: 1, Curve: 1, Name: "Clip skip"}, 1, "Which layer of the text encoder is read, counted from its end; 1 is the last. Some models were trained with 2.")
	n.rescale = number(kit.Range{Min: 0, Max: 1, Step: 0.05, Decimals: 2, Curve: 1, Name: "CFG rescale"}, 0, "How much of the contrast that a high CFG scale adds is taken back; models with zero terminal SNR want about 0.7.")
	n.zero = kit.NewButton(tips, "Zero terminal SNR", kit.Plain, kit.Tip{Name: "Zero terminal SNR", Text: "Begin from pure noise, so that pictures can be very dark or very bright. Models that were trained for it do so by themselves."}, func() {
		act("", func() { n.setZero(!n.zero.Selected) })
	})
	n.zero.Height, n.zero.TextSize = 26, kit.Caption
	n.etaRow, n.skipRow = kit.Labelled("Eta", labelWidth, n.eta), kit.Labelled("Clip skip", labelWidth, n.skip)
	n.fold = kit.NewFold(tips, "Noise and text", open, kit.Column(kit.Gap,
		kit.Labelled("RNG", labelWidth, n.rng),
		n.etaRow,
		kit.Labelled("Spacing", labelWidth, n.spacing),
		kit.Labelled("", labelWidth, n.zero),
		n.skipRow,
		kit.Labelled("Rescale", labelWidth, n.rescale),
	), kit.Tip{Key: "Space", Text: "Who draws the noise, how the steps are spread, and how words are read: to make a picture as another program does."})
	n.summarise()
	return n
}

func (n *noise) setZero(on bool) {
	n.zero.Selected = on
	n.zero.Refresh()
	n.summarise()
}

// suit offers what a sampler and a model have a use for; eta is a number, or empty for the sampler's own.
func (n *noise) suit(sampler string, m pipeline.ModelInfo, eta string) {
	own, ok := diffusion.DefaultEta(sampler)
	n.ownEta = own
	n.eta.SetStandard(own)
	if v, err := strconv.ParseFloat(eta, 64); err == nil {
		n.eta.Set(v)
	} else {
		n.eta.Set(own)
	}
	show(n.etaRow, ok)
	const most = 12
	if m.Width > 0 { // is open
		show(n.skipRow, m.TextLayers > 1)
		n.skip.SetRange(kit.Range{Min: 1, Max: float64(min(most, max(1, m.TextLayers))), Step: 1, Curve: 1, Name: "Clip skip"})
	}
	n.summarise()
}

// load shows what parameters say; eta is for suit.
func (n *noise) load(p settings.Parameters) {
	choose(n.rng, rngs(), p.RNG, "")
	choose(n.spacing, spacings, p.Spacing, "")
	n.skip.Set(float64(max(1, p.ClipSkip)))
	n.rescale.Set(p.Rescale)
	n.setZero(p.ZeroSNR)
}

// store puts the section into parameters.
func (n *noise) store(p *settings.Parameters) {
	p.RNG, p.Spacing, p.ZeroSNR = chosen(n.rng, rngs()).ID, chosen(n.spacing, spacings).ID, n.zero.Selected
	p.ClipSkip, p.Rescale = int(n.skip.Value()), n.rescale.Value()
	if n.etaRow.Visible() && n.eta.Value() != n.ownEta {
		p.Eta = strconv.FormatFloat(n.eta.Value(), 'f', -1, 64)
	}
}

// summarise says what of the section is not as usual.
func (n *noise) summarise() {
	var p settings.Parameters
	n.store(&p)
	parts := []string{""}
	if n.rng.Selected() > 0 {
		parts = append(parts, chosen(n.rng, rngs()).Label)
	}
	if p.Eta != "" {
		parts = append(parts, "eta "+p.Eta)
	}
	if p.Spacing != "" {
		parts = append(parts, p.Spacing)
	}
	if p.ZeroSNR {
		parts = append(parts, "zero SNR")
	}
	if p.ClipSkip > 1 {
		parts = append(parts, fmt.Sprintf("clip skip %d", p.ClipSkip))
	}
	if p.Rescale > 0 {
		parts = append(parts, fmt.Sprintf("rescale %g", p.Rescale))
	}
	n.fold.SetSummary(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · "))
}
