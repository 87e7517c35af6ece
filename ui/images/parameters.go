package images

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"fyne.io/fyne/v2"

	"atelier/app/settings"
	"atelier/models/pipeline"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

const labelWidth = 64

// form is the parameter column without its button: what will be asked of the model.
type form struct {
	tips   *kit.Tips
	studio studio.Studio
	models []pipeline.ModelInfo

	prompt, negative *kit.Field
	negativeFold     *kit.Fold
	adapters         *kit.Choice // puts words into the prompt; its first entry stands for none
	adapterRow       *fyne.Container
	model            *kit.Choice
	width, height    *kit.Number
	presets          []*preset
	presetRow        *fyne.Container
	steps, cfg       *kit.Number
	seed             *kit.Field
	sampler          *kit.Choice
	schedule         *kit.Choice
	schedules        []studio.Named // what the schedule offers for this sampler
	wished           string         // the schedule that was chosen last, also where this sampler does not take it
	batch            *kit.Number
	more             *kit.Fold
	begin            *beginning
	vae              *autoencoder
	noise            *noise
	controls         *controls
	someAdapters     bool
	oneStep          bool                // the model has no use for what sampling holds
	sampling         []fyne.CanvasObject // what models that work in one step have no use for
	seedText         string              // as committed
	lastSeed         func() (uint64, bool)
	onOpen           func(model string) // opens a model of which only the name is known
	onAdopt          func(pipeline.ModelInfo)
	trail            trail
	pending          settings.Parameters // for the chosen model once it is open, or for its model once that is found
	loading          bool                // changes come from the program, not from the person
	content          fyne.CanvasObject
}

func newForm(tips *kit.Tips, st studio.Studio, window settings.Window, lastSeed func() (uint64, bool), mask brushActions) *form {
	f := &form{tips: tips, studio: st, seedText: "-1", lastSeed: lastSeed}
	f.begin = newBeginning(tips, !window.MaskClosed, mask, f.act)
	f.vae = newAutoencoder(tips, f.act)
	f.noise = newNoise(tips, window.NoiseOpen, f.act)
	f.controls = newControls(tips, window.ControlOpen, f.act)
	f.prompt = kit.NewTextArea(tips, anyPrompt, 4, 9, kit.Tip{
		Name: "Prompt", Key: "Ctrl+Enter generates", Text: "What the picture shows, in plain words. Alt+↑ and Alt+↓ bring back earlier prompts."})
	f.negative = kit.NewTextArea(tips, "What to keep out", 2, 6, kit.Tip{
		Name: "Negative prompt", Text: "What the picture should not show. It works only with a CFG scale above 1."})
	f.negativeFold = kit.NewFold(tips, "Negative prompt", window.NegativeOpen, f.negative, kit.Tip{
		Key: "Space", Text: "Words for what the picture should not show."})
	f.prompt.OnChanged = func(string) { f.touched("prompt") }
	f.negative.OnChanged = func(s string) {
		f.negativeFold.SetSummary(strings.TrimSpace(s))
		f.touched("negative")
	}
	f.model = kit.NewChoice(tips, kit.Tip{Name: "Model", Key: "↑ ↓", Text: "The trained networks that make the picture."})
	f.model.OnChanged = func(i int) { f.pick(i) }
	f.adapters = kit.NewChoice(tips, kit.Tip{Name: "LoRA", Key: "↑ ↓", Text: "Put a LoRA or a learned word of the model manager into the prompt; the number behind its name is its weight."})
	f.adapterRow = kit.Labelled("LoRA", labelWidth, f.adapters)
	f.listAdapters()
	f.buildNumbers()
	f.buildSeed()
	f.sampler = kit.NewChoice(tips, kit.Tip{Name: "Sampler", Key: "↑ ↓", Text: "The method that turns noise into a picture step by step; they differ in speed and in character."})
	f.schedule = kit.NewChoice(tips, kit.Tip{Name: "Schedule", Key: "↑ ↓", Text: "How the noise is spread over the steps."})
	f.sampler.OnChanged = func(int) { f.act("", f.switchSampler) }
	f.schedule.OnChanged = func(i int) {
		f.act("", func() {
			f.wished = f.schedules[i].ID
			f.summarise()
		})
	}
	sampler, schedule := kit.Labelled("Sampler", labelWidth, f.sampler), kit.Labelled("Schedule", labelWidth, f.schedule)
	f.sampling = append(f.sampling, sampler, schedule)
	f.more = kit.NewFold(tips, "More", !window.MoreClosed, kit.Column(kit.Gap,
		sampler,
		schedule,
		kit.Labelled("Batch", labelWidth, f.batch),
		f.vae.row,
		f.noise.fold,
		f.controls.fold,
	), kit.Tip{Key: "Space", Text: "Sampler, schedule, batch size, and what most pictures do not need."})
	f.sampling = append(f.sampling, f.noise.fold)
	f.layout()
	return f
}

func (f *form) layout() {
	size := kit.Row(kit.Gap, -1, f.width, kit.NewLabel("×", 13, kit.Secondary), f.height,
		kit.NewIconButton(f.tips, kit.IconSwap, kit.Tip{Name: "Swap", Text: "Exchange width and height."}, f.swap))
	seed := kit.Row(kit.Tight, 0, f.seed,
		kit.NewIconButton(f.tips, kit.IconDice, kit.Tip{Name: "New seed each time", Text: "Set the seed to −1: every picture starts from other noise."}, func() { f.setSeed("-1") }),
		kit.NewIconButton(f.tips, kit.IconReuse, kit.Tip{Name: "Reuse the last seed", Key: "S", Text: "Set the seed of the picture on the canvas, to make it again or to vary it."}, f.reuseLast))
	sizes, steps, cfg := kit.Labelled("Size", labelWidth, size), kit.Labelled("Steps", labelWidth, f.steps), kit.Labelled("CFG scale", labelWidth, f.cfg)
	f.sampling = append(f.sampling, f.negativeFold, f.begin.content, sizes, f.presetRow, steps, cfg)
	f.content = kit.Column(kit.Wide,
		kit.Column(kit.Gap, f.prompt, f.negativeFold, f.begin.content),
		kit.Column(kit.Gap,
			kit.Labelled("Model", labelWidth, f.model),
			f.adapterRow,
			sizes,
			f.presetRow,
			steps,
			cfg,
			kit.Labelled("Seed", labelWidth, seed),
		),
		f.more,
	)
}

func (f *form) buildNumbers() {
	sizeTip := "Pixels of the finished picture. The model's own size gives the best pictures."
	f.width = kit.NewNumberField(f.tips, sizeRange("Width", pipeline.ModelInfo{}), 256, 62, kit.Tip{Name: "Width", Key: "↑ ↓", Text: sizeTip})
	f.height = kit.NewNumberField(f.tips, sizeRange("Height", pipeline.ModelInfo{}), 256, 62, kit.Tip{Name: "Height", Key: "↑ ↓", Text: sizeTip})
	f.width.OnChanged = func(float64) { f.act("size", f.markPreset) }
	f.height.OnChanged = f.width.OnChanged
	f.steps = kit.NewNumber(f.tips, kit.Range{Min: 1, Max: 150, Step: 1, Curve: 2, Name: "Steps"}, 20, kit.Tip{
		Name: "Steps", Key: "← →", Text: "How many times the noise is refined. More is slower, and beyond 20 to 30 rarely better."})
	f.cfg = kit.NewNumber(f.tips, kit.Range{Min: 1, Max: 30, Step: 0.1, Decimals: 1, Curve: 2, Name: "CFG scale"}, 7, kit.Tip{
		Name: "CFG scale", Key: "← →", Text: "How closely the picture keeps to the prompt. Low is freer, high is stricter and harsher."})
	f.batch = kit.NewNumber(f.tips, kit.Range{Min: 1, Max: 8, Step: 1, Curve: 1, Name: "Batch"}, 1, kit.Tip{
		Name: "Batch", Key: "← →", Text: "How many pictures to make at once, each with the next seed."})
	f.batch.OnChanged = func(float64) { f.act("batch", f.summarise) }
	f.steps.OnChanged = func(float64) { f.touched("steps") }
	f.cfg.OnChanged = func(float64) { f.touched("cfg") }
	row := []fyne.CanvasObject{}
	for _, r := range [][2]float64{{1, 1}, {4, 3}, {3, 4}, {16, 9}, {9, 16}} {
		p := &preset{ratioW: r[0], ratioH: r[1]}
		p.button = kit.NewButton(f.tips, fmt.Sprintf("%g:%g", r[0], r[1]), kit.Plain, kit.Tip{}, func() {
			f.act("", func() {
				f.width.Set(float64(p.width))
				f.height.Set(float64(p.height))
				f.markPreset()
			})
		})
		p.button.Height, p.button.TextSize = 22, kit.Caption
		f.presets = append(f.presets, p)
		row = append(row, p.button)
	}
	f.presetRow = kit.Labelled("", labelWidth, kit.Equal(kit.Tight, row...))
}

func (f *form) buildSeed() {
	f.seed = kit.NewNumericField(f.tips, 80, kit.Tip{Name: "Seed", Key: "↑ ↓", Text: "The number that the noise grows from. The same seed and settings give the same picture; −1 takes a new one each time."})
	f.seed.OnStep = func(n int) {
		if seed, err := strconv.ParseUint(f.seedText, 10, 64); err == nil && (n > 0 || seed > 0) {
			f.setSeed(strconv.FormatUint(seed+uint64(n), 10))
		}
	}
	f.seed.OnDefault = func() { f.setSeed("-1") }
	f.seed.OnCommit = func(text string) {
		text = strings.ReplaceAll(strings.TrimSpace(text), "−", "-")
		if _, err := strconv.ParseUint(text, 10, 64); err != nil && text != "-1" {
			if text != "" {
				f.tips.Note(f.seed, "A seed is −1 for a new one each time, or a whole number from 0 to 18446744073709551615.")
			}
			text = f.seedText
		}
		f.setSeed(text)
	}
	f.seed.SetText("-1")
}

func (f *form) setSeed(text string) {
	f.seedText = text
	f.seed.SetText(text)
	f.touched("seed")
}

func (f *form) reuseLast() {
	if seed, ok := f.lastSeed(); ok {
		f.setSeed(strconv.FormatUint(seed, 10))
		return
	}
	f.tips.Note(f.seed, "There is no picture yet whose seed could be used again.")
}

// act does one thing for the person and remembers how things were before it; kind joins it with the same kind of thing just
// before, and is empty for what stands alone.
func (f *form) act(kind string, do func()) {
	was := f.loading
	f.loading = true
	do()
	f.loading = was
	f.touched(kind)
}

// touched remembers a change that the person made.
func (f *form) touched(kind string) {
	if !f.loading {
		f.trail.note(f.state(), kind, time.Now())
	}
}

// undo goes back before the last change, redo takes that back; they tell whether there was anything.
func (f *form) undo(again bool) bool {
	step := f.trail.undo
	if again {
		step = f.trail.redo
	}
	s, ok := step()
	if ok {
		f.show(s)
	}
	return ok
}

// chosen is the entry of a menu that a choice shows; empty if there is none.
func chosen(c *kit.Choice, all []studio.Named) studio.Named {
	if i := c.Selected(); i >= 0 && i < len(all) {
		return all[i]
	}
	return studio.Named{}
}

// switchSampler offers the schedules that the chosen sampler takes, and says so where that is not the one that was chosen.
func (f *form) switchSampler() {
	sampler := chosen(f.sampler, f.studio.Samplers())
	f.offerSchedules(f.wished, "")
	f.noise.suit(sampler.ID, f.current(), "")
	if now := chosen(f.schedule, f.schedules); f.wished != "" && now.ID != f.wished {
		f.tips.Note(f.schedule, fmt.Sprintf("%s takes the %s schedule only.", sampler.Label, now.Label))
	}
	f.summarise()
}

// offerSchedules fills the schedule's list for the chosen sampler.
func (f *form) offerSchedules(wanted, standard string) {
	f.schedules = f.studio.SchedulesFor(chosen(f.sampler, f.studio.Samplers()).ID)
	choose(f.schedule, f.schedules, wanted, standard)
}

func (f *form) summarise() {
	parts := []string{}
	for _, label := range []string{chosen(f.sampler, f.studio.Samplers()).Label, chosen(f.schedule, f.schedules).Label} {
		if label != "" && f.current().Kind != pipeline.KindGenerator {
			parts = append(parts, label)
		}
	}
	if b := f.batch.Value(); b > 1 {
		parts = append(parts, fmt.Sprintf("batch of %g", b))
	}
	f.more.SetSummary(strings.Join(parts, " · "))
}

// adopt sets the form up for a model; where the given parameters are zero, the model's own values are taken.
func (f *form) adopt(m pipeline.ModelInfo, p settings.Parameters) {
	f.width.SetRange(sizeRange("Width", m))
	f.height.SetRange(sizeRange("Height", m))
	setNumber(f.width, p.Width, m.Width)
	setNumber(f.height, p.Height, m.Height)
	setNumber(f.steps, p.Steps, m.Steps)
	if m.CFG > 0 {
		f.cfg.SetStandard(m.CFG)
	}
	switch {
	case p.CFG > 0:
		f.cfg.Set(p.CFG)
	case m.CFG > 0:
		f.cfg.Set(m.CFG)
	}
	choose(f.sampler, f.studio.Samplers(), p.Sampler, m.Sampler)
	f.wished = p.Schedule
	if f.wished == "" {
		f.wished = m.Schedule
	}
	f.offerSchedules(p.Schedule, m.Schedule)
	f.noise.suit(chosen(f.sampler, f.studio.Samplers()).ID, m, p.Eta)
	f.offerParts()
	f.oneStep = m.Kind == pipeline.KindGenerator
	for _, row := range f.sampling {
		if f.oneStep {
			row.Hide()
		} else {
			row.Show()
		}
	}
	if wordless(m) {
		f.prompt.Hide()
	} else {
		f.prompt.Show()
	}
	f.prompt.SetPlaceholder(cmp.Or(m.Prompting, anyPrompt))
	f.shapePresets(m)
	f.showAdapters()
	f.content.Refresh()
	f.summarise()
	if f.onAdopt != nil {
		f.onAdopt(m)
	}
}

// offerParts lists the parts beside the chosen model that it has a use for.
func (f *form) offerParts() {
	m := f.current()
	f.controls.offer(f.studio.ControlNets(), m.Follows)
	f.vae.offer(f.studio.VAEs(m.Name))
}

// anyPrompt stands in the prompt of a model that says nothing of how to word it.
const anyPrompt = "Describe the picture"

// wordless reports whether a model draws without being told what.
func wordless(m pipeline.ModelInfo) bool {
	return m.Kind == pipeline.KindGenerator && len(m.Labels) == 0
}

func setNumber(n *kit.Number, value, standard int) {
	if standard > 0 {
		n.SetStandard(float64(standard))
	}
	switch {
	case value > 0:
		n.Set(float64(value))
	case standard > 0:
		n.Set(float64(standard))
	}
}

func choose(c *kit.Choice, all []studio.Named, wanted, standard string) {
	labels := make([]string, len(all))
	selected, found := 0, false
	for i, n := range all {
		labels[i] = n.Label
		if n.ID == wanted || (!found && n.ID == standard) {
			selected = i
			found = n.ID == wanted
		}
	}
	c.SetLabels(labels, selected)
}

// start shows a model list and parameters, and forgets what was done before.
func (f *form) start(models []pipeline.ModelInfo, p settings.Parameters) {
	f.loading = true
	f.load(p)
	f.setModels(models, p)
	f.loading = false
	f.trail.reset(f.state())
}

// setModels fills the model list; last is what the person used before.
func (f *form) setModels(models []pipeline.ModelInfo, last settings.Parameters) {
	f.models = models
	names := make([]string, len(models))
	selected := 0
	for i, m := range models {
		names[i] = m.Name
		if m.Name == last.Model {
			selected = i
		}
	}
	f.model.SetLabels(names, selected)
	f.pending = last
	if len(models) == 0 {
		f.adopt(pipeline.ModelInfo{}, last)
		return
	}
	f.adopt(models[selected], last)
	if m := models[selected]; m.Width == 0 {
		f.onOpen(m.Name)
	}
}

// pick takes the model at an index of the list; one that was not opened yet is opened first.
func (f *form) pick(i int) {
	f.pending = settings.Parameters{}
	if f.models[i].Width == 0 {
		f.onOpen(f.models[i].Name)
		return
	}
	f.act("", func() { f.adopt(f.models[i], settings.Parameters{}) })
}

// opened takes over what a model wants, now that it is open.
func (f *form) opened(m pipeline.ModelInfo) {
	for i := range f.models {
		if f.models[i].Name == m.Name {
			f.models[i] = m
			if f.model.Selected() == i {
				f.act("", func() { f.adopt(m, f.pending) })
			}
		}
	}
}

// listAdapters offers the adapters and learned words that there are.
func (f *form) listAdapters() {
	all := f.studio.Adapters()
	labels := []string{"Add to the prompt…"}
	for _, a := range all {
		labels = append(labels, a.Label)
	}
	f.adapters.SetLabels(labels, 0)
	f.adapters.OnChanged = func(i int) {
		f.adapters.Select(0)
		f.insert(all[i-1].ID)
	}
	f.someAdapters = len(all) > 0
	f.showAdapters()
}

// showAdapters shows the list of adapters where there are some and the model can have them.
func (f *form) showAdapters() {
	if f.someAdapters && !f.oneStep {
		f.adapterRow.Show()
	} else {
		f.adapterRow.Hide()
	}
}

// insert puts words at the prompt's end, unless they are in it; those that are more than a mark such as <lora:name:1> after a comma,
// as captions have them.
func (f *form) insert(words string) {
	f.act("", func() {
		text, between := strings.TrimRight(strings.TrimSpace(f.prompt.Text()), ","), ", "
		if strings.HasPrefix(words, "<") || text == "" {
			between = " "
		}
		if words != "" && !strings.Contains(text, words) {
			f.prompt.SetText(strings.TrimSpace(text + between + words))
		}
	})
}

// relist takes another list of models over; the chosen one stays, where it is still there.
func (f *form) relist(models []pipeline.ModelInfo) {
	was := f.current().Name
	has := func(name string) bool {
		return slices.ContainsFunc(models, func(m pipeline.ModelInfo) bool { return m.Name == name })
	}
	if p := f.wanted(); was == "" || p.Model != was && has(p.Model) {
		f.start(models, p)
		return
	}
	names, selected := make([]string, len(models)), 0
	for i, m := range models {
		if names[i] = m.Name; m.Name == was {
			selected = i
		}
	}
	f.models = models
	f.model.SetLabels(names, selected)
	if f.current().Name != was && len(models) > 0 {
		f.act("", func() { f.adopt(f.current(), settings.Parameters{}) })
	}
}

// wanted is what the form says, or was left saying for a model that is not found yet.
func (f *form) wanted() settings.Parameters {
	now := f.parameters()
	if len(f.models) > 0 && (f.pending.Model == "" || f.pending.Model == now.Model) {
		return now
	}
	p := f.pending
	p.Prompt, p.Negative, p.Seed, p.Batch = now.Prompt, now.Negative, now.Seed, now.Batch
	return p
}

// load shows parameters; the trail is the caller's affair.
func (f *form) load(p settings.Parameters) {
	was := f.loading
	f.loading = true
	defer func() { f.loading = was }()
	f.prompt.SetText(p.Prompt)
	f.negative.SetText(p.Negative)
	f.negativeFold.SetSummary(strings.TrimSpace(p.Negative))
	f.setSeed(p.Seed)
	if p.Batch > 0 {
		f.batch.Set(float64(p.Batch))
	}
	f.begin.load(p)
	f.noise.load(p)
	f.controls.load(p.Controls)
	f.vae.load(p.VAE)
	for i, m := range f.models {
		if m.Name == p.Model {
			f.model.Select(i)
			f.adopt(m, p)
			if f.pending = p; m.Width == 0 {
				f.onOpen(m.Name)
			}
			return
		}
	}
	f.adopt(f.current(), p)
}

// state reads all of the form; show shows it again, and leaves the trail to the caller.
func (f *form) state() state {
	return state{f.parameters(), f.begin.from.given, f.begin.mask, f.controls.follows()}
}

func (f *form) show(s state) {
	f.load(s.Parameters)
	f.begin.set(s.from, s.mask)
	f.controls.setFollows(s.follow)
	f.content.Refresh()
}

func (f *form) current() pipeline.ModelInfo {
	if i := f.model.Selected(); i >= 0 {
		return f.models[i]
	}
	return pipeline.ModelInfo{}
}

// parameters reads the form.
func (f *form) parameters() settings.Parameters {
	p := settings.Parameters{
		Model: f.current().Name, Prompt: f.prompt.Text(), Negative: f.negative.Text(), Seed: f.seedText,
		Width: int(f.width.Value()), Height: int(f.height.Value()), Steps: int(f.steps.Value()),
		CFG: f.cfg.Value(), Batch: int(f.batch.Value()),
	}
	p.Sampler, p.Schedule = chosen(f.sampler, f.studio.Samplers()).ID, chosen(f.schedule, f.schedules).ID
	f.begin.store(&p)
	f.noise.store(&p)
	f.controls.store(&p)
	p.VAE = f.vae.wished
	return p
}

// request is one job from parameters; seed −1 is drawn here, so that the job and its file know it.
func request(p settings.Parameters) pipeline.Request {
	seed, err := strconv.ParseUint(p.Seed, 10, 64)
	if err != nil {
		seed = uint64(rand.Uint32())
	}
	r := pipeline.Request{
		Prompt: strings.TrimSpace(p.Prompt), Negative: strings.TrimSpace(p.Negative), Width: p.Width, Height: p.Height,
		Steps: p.Steps, CFG: p.CFG, Sampler: p.Sampler, Schedule: p.Schedule, Seed: seed, Batch: p.Batch,
		RNG: p.RNG, Spacing: p.Spacing, ZeroSNR: p.ZeroSNR, ClipSkip: p.ClipSkip, GuidanceRescale: p.Rescale,
	}
	if eta, err := strconv.ParseFloat(p.Eta, 64); err == nil {
		r.Eta = &eta
	}
	return r
}

func (f *form) scroller() fyne.CanvasObject {
	return kit.ScrollForm(f.tips, f.content)
}
