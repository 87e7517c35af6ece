package images

import (
	"strings"

	"fyne.io/fyne/v2"

	"atelier/app/settings"
	"atelier/models/pipeline"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// controls is the section of the ControlNets: pictures that new ones follow in their edges, depth or poses. It shows only where there
// is a ControlNet that the chosen model can follow. Below each that is chosen there is room for another.
type controls struct {
	all     [settings.MostControls]*control
	fitting []studio.ControlNet
	fold    *kit.Fold
}

// A picture follows as many as the settings keep.
var _ [settings.MostControls]struct{} = [pipeline.MostControls]struct{}{}

func newControls(tips *kit.Tips, open bool, act func(kind string, do func())) *controls {
	cs := &controls{}
	rows := kit.Column(kit.Gap)
	for i := range cs.all {
		cs.all[i] = newControl(tips, cs, act)
		rows.Add(cs.all[i].content)
	}
	cs.fold = kit.NewFold(tips, "ControlNet", open, rows, kit.Tip{Key: "Space", Text: "Make the picture follow the edges, depth or pose of others."})
	cs.offer(nil, "")
	return cs
}

// offer lists the ControlNets that a model can follow: those of the kind that it names.
func (cs *controls) offer(all []studio.ControlNet, kind string) {
	cs.fitting = nil
	for _, n := range all {
		if n.Kind == kind && kind != "" {
			cs.fitting = append(cs.fitting, n)
		}
	}
	for _, c := range cs.all {
		c.offer()
	}
	show(cs.fold, len(cs.fitting) > 0)
	cs.refresh()
}

// load shows what parameters say.
func (cs *controls) load(p [settings.MostControls]settings.Control) {
	for i, c := range cs.all {
		c.load(p[i])
	}
	cs.refresh()
}

// refresh shows what the choices have a use for, and one more place.
func (cs *controls) refresh() {
	var names []string
	last := -1
	for i, c := range cs.all {
		on := c.net.Selected() > 0
		show(c.rows, on)
		if on {
			names = append(names, cs.fitting[c.net.Selected()-1].Label)
			last = i
		}
	}
	for i, c := range cs.all {
		show(c.content, i <= last+1)
	}
	cs.fold.SetSummary(strings.Join(names, ", "))
	cs.fold.Refresh()
}

// follows are the pictures that are given to be followed, by place.
func (cs *controls) follows() (list [settings.MostControls]*given) {
	for i, c := range cs.all {
		list[i] = c.picture.given
	}
	return list
}

func (cs *controls) setFollows(list [settings.MostControls]*given) {
	for i, c := range cs.all {
		c.picture.set(list[i])
	}
}

// lacking is the first that is chosen and has no picture to follow; nil where there is none.
func (cs *controls) lacking() *control {
	for _, c := range cs.all {
		if cs.on(c) && c.picture.given == nil {
			return c
		}
	}
	return nil
}

// at is the one that a position of the window belongs to: what shows there, or else the first that lacks a picture, or the first.
func (cs *controls) at(place fyne.Position) *control {
	for _, c := range cs.all {
		if under(c.rows, place) {
			return c
		}
	}
	if c := cs.lacking(); c != nil {
		return c
	}
	return cs.all[0]
}

// on tells whether a ControlNet is chosen that the model follows.
func (cs *controls) on(c *control) bool { return cs.fold.Visible() && c.net.Selected() > 0 }

// store puts the choices into parameters.
func (cs *controls) store(p *settings.Parameters) {
	for i, c := range cs.all {
		if c.wished.Model != "" {
			p.Controls[i] = c.wished
		}
	}
}

// into puts the ControlNets into a request, but for those that count nowhere.
func (cs *controls) into(r *pipeline.Request, p settings.Parameters) {
	for i, c := range cs.all {
		if u := p.Controls[i]; cs.on(c) && c.picture.given != nil && u.Weight > 0 && u.End > 0 {
			r.Controls = append(r.Controls, pipeline.Control{Model: u.Model, Picture: c.picture.given.pixels, Scale: u.Weight, Start: u.Start, End: u.End})
		}
	}
}

// control is one ControlNet of the section.
type control struct {
	section            *controls
	net                *kit.Choice      // its first entry stands for none
	wished             settings.Control // what was chosen last, also where this model has no use for it
	picture            *slot
	weight, start, end *kit.Number
	rows               *fyne.Container // that count only with a ControlNet
	content            *fyne.Container
}

func newControl(tips *kit.Tips, section *controls, act func(kind string, do func())) *control {
	c := &control{section: section, wished: settings.Control{Weight: 1, End: 1}}
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
	c.content = kit.Column(kit.Gap, kit.Labelled("Model", labelWidth, c.net), c.rows)
	return c
}

// changed takes over what the person chose.
func (c *control) changed() {
	c.wished = settings.Control{Weight: c.weight.Value(), Start: c.start.Value(), End: c.end.Value()}
	if i := c.net.Selected(); i > 0 {
		c.wished.Model = c.section.fitting[i-1].ID
	}
	c.section.refresh()
}

// offer lists what fits the model, and chooses of it what is wished.
func (c *control) offer() {
	labels, selected := []string{"None"}, 0
	for i, n := range c.section.fitting {
		labels = append(labels, n.Label)
		if n.ID == c.wished.Model {
			selected = i + 1
		}
	}
	c.net.SetLabels(labels, selected)
}

func (c *control) load(p settings.Control) {
	if p.Model == "" {
		p = settings.Control{Weight: 1, End: 1}
	}
	c.wished = p
	c.weight.Set(p.Weight)
	c.start.Set(p.Start)
	c.end.Set(p.End)
	c.offer()
}
