package images

import (
	"fyne.io/fyne/v2"

	"atelier/app/settings"
	"atelier/models/pipeline"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// control is the section of the ControlNet: a picture that new ones follow in their edges, depth or poses. It shows only where there
// is a ControlNet that the chosen model can follow.
type control struct {
	net                *kit.Choice // its first entry stands for none
	fitting            []studio.ControlNet
	wished             settings.Control // what was chosen last, also where this model has no use for it
	picture            *slot
	weight, start, end *kit.Number
	rows               *fyne.Container // that count only with a ControlNet
	fold               *kit.Fold
}

func newControl(tips *kit.Tips, open bool, act func(kind string, do func())) *control {
	c := &control{wished: settings.Control{Weight: 1, End: 1}}
	c.net = kit.NewChoice(tips, kit.Tip{Name: "ControlNet", Key: "↑ ↓", Text: "A network that makes the picture follow another one: its edges, depth or pose, as it was trained to."})
	c.net.OnChanged = func(int) { act("", c.changed) }
	c.picture = newSlot(tips, "Picture", "none", slotTips{
		kit.Tip{Name: "Picture to follow", Key: "Return", Text: "It is used as it is, so it must show what the ControlNet reads: edges for Canny, a depth map for Depth. One can also be dropped on this section."},
		kit.Tip{Name: "Choose a picture", Text: "Pick the picture to follow."},
		kit.Tip{Name: "Follow the canvas", Text: "Follow the picture on the canvas."}})
	number := func(r kit.Range, standard float64, text string) *kit.Number {
		n := kit.NewNumber(tips, r, standard, kit.Tip{Name: r.Name, Key: "← →", Text: text})
		n.OnChanged = func(float64) { act(r.Name, c.changed) }
		return n
	}
	c.weight = number(kit.Range{Min: 0, Max: 2, Step: 0.05, Decimals: 2, Curve: 1, Name: "Control weight"}, 1, "How much the picture to follow counts; at 0 it does not.")
	c.start = number(kit.Range{Min: 0, Max: 1, Step: 0.05, Decimals: 2, Curve: 1, Name: "Start"}, 0, "From which part of the steps on the picture is followed; 0 is the first step.")
	c.end = number(kit.Range{Min: 0, Max: 1, Step: 0.05, Decimals: 2, Curve: 1, Name: "End"}, 1, "Up to which part of the steps the picture is followed; 1 is the last step.")
	// A span goes forwards: what is moved takes the other with it.
	c.start.OnChanged = func(v float64) {
		act("Start", func() {
			c.end.Set(max(v, c.end.Value()))
			c.changed()
		})
	}
	c.end.OnChanged = func(v float64) {
		act("End", func() {
			c.start.Set(min(v, c.start.Value()))
			c.changed()
		})
	}
	c.rows = kit.Column(kit.Gap, c.picture.row,
		kit.Labelled("Weight", labelWidth, c.weight), kit.Labelled("Start", labelWidth, c.start), kit.Labelled("End", labelWidth, c.end))
	c.fold = kit.NewFold(tips, "ControlNet", open, kit.Column(kit.Gap, kit.Labelled("Model", labelWidth, c.net), c.rows),
		kit.Tip{Key: "Space", Text: "Make the picture follow the edges, depth or pose of another one."})
	c.offer(nil, "")
	return c
}

// changed takes over what the person chose.
func (c *control) changed() {
	c.wished = settings.Control{Weight: c.weight.Value(), Start: c.start.Value(), End: c.end.Value()}
	if i := c.net.Selected(); i > 0 {
		c.wished.Model = c.fitting[i-1].ID
	}
	c.refresh()
}

// offer lists the ControlNets that a model can follow: those of the kind that it names.
func (c *control) offer(all []studio.ControlNet, kind string) {
	c.fitting = nil
	labels, selected := []string{"None"}, 0
	for _, n := range all {
		if n.Kind != kind || kind == "" {
			continue
		}
		c.fitting = append(c.fitting, n)
		labels = append(labels, n.Label)
		if n.ID == c.wished.Model {
			selected = len(c.fitting)
		}
	}
	c.net.SetLabels(labels, selected)
	show(c.fold, len(c.fitting) > 0)
	c.refresh()
}

// load shows what parameters say.
func (c *control) load(p settings.Control) {
	if p.Model == "" {
		p = settings.Control{Weight: 1, End: 1}
	}
	c.wished = p
	c.weight.Set(p.Weight)
	c.start.Set(p.Start)
	c.end.Set(p.End)
	c.net.Select(0)
	for i, n := range c.fitting {
		if n.ID == p.Model {
			c.net.Select(i + 1)
		}
	}
	c.refresh()
}

// refresh shows the rows that the choice has a use for.
func (c *control) refresh() {
	on := c.net.Selected() > 0
	show(c.rows, on)
	text := ""
	if on {
		text = c.fitting[c.net.Selected()-1].Label
	}
	c.fold.SetSummary(text)
	c.fold.Refresh()
}

// on tells whether a ControlNet is chosen that the model follows.
func (c *control) on() bool { return c.fold.Visible() && c.net.Selected() > 0 }

// store puts the choice into parameters.
func (c *control) store(p *settings.Parameters) {
	if c.wished.Model != "" {
		p.Control = c.wished
	}
}

// into puts the ControlNet into a request, unless it counts nowhere.
func (c *control) into(r *pipeline.Request, p settings.Parameters) {
	if c.on() && c.picture.given != nil && p.Control.Weight > 0 && p.Control.End > 0 {
		r.Controls = []pipeline.Control{{Model: p.Control.Model, Picture: c.picture.given.pixels, Scale: p.Control.Weight, Start: p.Control.Start, End: p.Control.End}}
	}
}
