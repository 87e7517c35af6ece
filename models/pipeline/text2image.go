package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/diffusion"
)

// Limits of a request, as this field's programs have them.
const (
	defaultSteps, maxSteps = 20, 150
	defaultCFG, maxCFG     = 7.0, 30
	maxBatch               = 8
	smallest, largestSize  = 64, 2048 // pixels
	defaultStrength        = 0.75
	defaultBlur, maxBlur   = 4, 64
	defaultPadding         = 32
	maxPadding             = 256
)

// Named is an entry of a menu: the id for files and flags, and the label that people know.
type Named = diffusion.Named

// Samplers and Schedules list what a Request may name, in the order of a menu.
func Samplers() []Named  { return diffusion.Samplers() }
func Schedules() []Named { return diffusion.Schedules() }

// SchedulesFor lists the schedules that a sampler takes.
func SchedulesFor(sampler string) []Named { return diffusion.SchedulesFor(sampler) }

// Text2Image makes pictures from words with one model on one device. Its methods may be called from any goroutine; runs
// wait for each other.
type Text2Image struct {
	dev     compute.Device
	model   *catalog.Model
	parts   *parts
	preview *preview

	mu       sync.Mutex // held by a run
	stages   *stages    // of the latest setting; nil before the first run
	lessons  lessons    // words beside the vocabulary
	adapters adapters
}

// NewText2Image builds the networks of an open model, which must stay open. The device is not touched before the first run.
func NewText2Image(dev compute.Device, m *catalog.Model) (*Text2Image, error) {
	p, err := newParts(m)
	if err != nil {
		return nil, err
	}
	if m.Tokenizer == nil {
		return nil, m.TokenizerError
	}
	if have, want := p.text.VocabSize, m.Tokenizer.Vocab(); want > have {
		return nil, fmt.Errorf("the tokenizer in %s has %d tokens, and the text encoder of %s knows %d; choose the tokenizer that belongs to the model", m.TokenizerDir, want, m.Name, have)
	}
	return &Text2Image{dev: dev, model: m, parts: p, preview: newPreview(&p.vae.Config)}, nil
}

// Close gives the device's memory back. The model stays open.
func (t *Text2Image) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stages != nil {
		t.stages.close()
		t.stages = nil
	}
	t.adapters.close()
}

// Info says what the model wants where the person is silent. Hash is left out: see ModelHash.
func (t *Text2Image) Info() ModelInfo {
	p, card := t.parts, t.model.Card
	f := p.factor()
	own := p.unet.SampleSize
	if own <= 0 {
		own = 64
	}
	i := ModelInfo{
		Name: card.Name, Width: own * f, Height: own * f, SizeStep: f, MinSize: multipleUp(min(smallest, own*f), f), MaxSize: card.MaxSize,
		Steps: card.Steps, CFG: card.CFG, Sampler: card.Sampler, Schedule: card.Schedule,
		Transparent: p.vae.OutChannels == 4, Examples: append([]string(nil), card.Examples...), Prompting: card.Prompting,
		MaxPromptTokens: p.text.MaxPositions - 2, Follows: p.follows(),
	}
	if p.text2 == nil {
		i.TextLayers = p.text.Layers
	}
	if i.MaxSize <= 0 {
		i.MaxSize = max(largestSize, i.Width)
	}
	i.MaxSize -= i.MaxSize % f
	if i.Steps <= 0 {
		i.Steps = defaultSteps
	}
	if i.CFG <= 0 {
		i.CFG = defaultCFG
	}
	if i.Sampler == "" {
		i.Sampler = p.scheduler.DefaultSampler()
	}
	if i.Schedule == "" {
		i.Schedule = p.scheduler.DefaultSchedule()
	}
	return i
}

func multipleUp(n, step int) int { return (n + step - 1) / step * step }

// ModelHash is the first ten hex digits of the weights' SHA-256. The first call reads the whole file.
func (t *Text2Image) ModelHash() string { return t.model.Hash() }

// Device is the device that runs the model.
func (t *Text2Image) Device() compute.Device { return t.dev }

// Resolve fills in a request's defaults, or says in one sentence what is wrong with it.
func (t *Text2Image) Resolve(r Request) (Request, error) {
	i := t.Info()
	if r.Init != nil && !r.OnlyMasked { // a picture that is worked on whole keeps its size, as far as the model makes it
		setDefault(&r.Width, min(max(r.Init.W/i.SizeStep*i.SizeStep, i.MinSize), i.MaxSize))
		setDefault(&r.Height, min(max(r.Init.H/i.SizeStep*i.SizeStep, i.MinSize), i.MaxSize))
	}
	setDefault(&r.Width, i.Width)
	setDefault(&r.Height, i.Height)
	setDefault(&r.Steps, i.Steps)
	setDefault(&r.Batch, 1)
	if r.CFG == 0 {
		r.CFG = i.CFG
	}
	sampler, schedule, err := diffusion.ParseSampler(r.Sampler)
	if err != nil {
		return r, err
	}
	if r.Schedule, err = diffusion.ParseSchedule(r.Schedule); err != nil {
		return r, err
	}
	if r.Sampler = sampler; sampler == "" {
		r.Sampler = i.Sampler
	}
	if r.Schedule == "" {
		r.Schedule = schedule // of a fused name such as "DPM++ 2M Karras"
	}
	if r.Schedule == "" {
		r.Schedule = i.Schedule
		if only := diffusion.SchedulesFor(r.Sampler); len(only) == 1 {
			r.Schedule = only[0].ID
		}
	}
	if err := r.fill(); err != nil {
		return r, err
	}
	return r, t.check(r, i)
}

// fill puts in the defaults that don't depend on the model.
func (r *Request) fill() (err error) {
	setDefault(&r.ClipSkip, 1)
	setDefault(&r.MaskBlur, defaultBlur)
	setDefault(&r.Padding, defaultPadding)
	r.MaskBlur, r.Padding = max(r.MaskBlur, 0), max(r.Padding, 0)
	if r.Strength == 0 {
		r.Strength = defaultStrength
	}
	r.Controls = slices.Clone(r.Controls)
	for i := range r.Controls {
		c := &r.Controls[i]
		if c.Scale == 0 {
			c.Scale = 1
		}
		if c.End == 0 {
			c.End = 1
		}
	}
	r.RNG, err = diffusion.ParseRNG(r.RNG)
	return err
}

func setDefault(v *int, d int) {
	if *v == 0 {
		*v = d
	}
}

func (t *Text2Image) check(r Request, i ModelInfo) error {
	for _, s := range []struct {
		name string
		v    int
	}{{"width", r.Width}, {"height", r.Height}} {
		if s.v < i.MinSize || s.v > i.MaxSize || s.v%i.SizeStep != 0 {
			near := min(max((s.v+i.SizeStep/2)/i.SizeStep*i.SizeStep, i.MinSize), i.MaxSize)
			return fmt.Errorf("%s makes pictures whose %s is a multiple of %d from %d to %d pixels, and %d is not: try %d", i.Name, s.name, i.SizeStep, i.MinSize, i.MaxSize, s.v, near)
		}
	}
	switch {
	case r.Steps < 1 || r.Steps > maxSteps:
		return fmt.Errorf("the number of steps is from 1 to %d, not %d", maxSteps, r.Steps)
	case !(r.CFG >= 1 && r.CFG <= maxCFG):
		return fmt.Errorf("the CFG scale is from 1 to %d, not %g", maxCFG, r.CFG)
	case r.Batch < 1 || r.Batch > maxBatch:
		return fmt.Errorf("the batch is from 1 to %d pictures, not %d", maxBatch, r.Batch)
	}
	s := t.size(r)
	if n := t.latents(s) * r.Batch; r.Latents != nil && len(r.Latents) != n {
		return fmt.Errorf("the given latents hold %d numbers, and %d pictures of %d × %d need %d × %d × %d × %d", len(r.Latents), r.Batch, r.Width, r.Height, r.Batch, t.parts.vae.LatentChannels, s.h, s.w)
	}
	if bad := firstBad(r.Latents); bad >= 0 {
		return fmt.Errorf("the given latents hold %v at place %d; only finite numbers make a picture", r.Latents[bad], bad)
	}
	if err := t.checkExtras(r); err != nil {
		return err
	}
	_, err := t.newSampler(r)
	return err
}

// checkExtras checks the words, and what a picture that is given asks for.
func (t *Text2Image) checkExtras(r Request) error {
	if _, err := newScript(r); err != nil {
		return err
	}
	switch layers := t.parts.text.Layers; {
	case r.ClipSkip < 1 || r.ClipSkip > layers:
		return fmt.Errorf("clip skip is from 1 to %d in %s, whose text encoder has as many layers, not %d", layers, t.model.Name, r.ClipSkip)
	case !(r.GuidanceRescale >= 0 && r.GuidanceRescale <= 1):
		return fmt.Errorf("the rescaling of guidance is from 0 to 1, not %g", r.GuidanceRescale)
	case !(r.Strength >= 0 && r.Strength <= 1):
		return fmt.Errorf("the denoising strength is from 0 to 1, not %g", r.Strength)
	case r.MaskBlur > maxBlur || r.Padding > maxPadding:
		return fmt.Errorf("the mask's blur is from 0 to %d pixels and the padding from 0 to %d, not %d and %d", maxBlur, maxPadding, r.MaskBlur, r.Padding)
	case r.Mask != nil && r.Init == nil:
		return errors.New("a mask says where a picture is made new, but no picture is given")
	case (r.Noises != nil || r.Answers != nil) && r.Batch > 1:
		return errors.New("the given noises or answers are of one picture; leave the batch at 1")
	}
	if err := t.checkControls(r); err != nil || r.Init == nil {
		return err
	}
	if err := r.Init.check("picture to begin from"); err != nil || r.Mask == nil {
		return err
	}
	return r.Mask.check("mask")
}

// newSampler begins a run of a request's sampler.
func (t *Text2Image) newSampler(r Request) (diffusion.Sampler, error) {
	return diffusion.NewWith(t.parts.scheduler, diffusion.Options{Sampler: r.Sampler, Schedule: r.Schedule, Steps: r.Steps, Eta: r.Eta, Spacing: r.Spacing, ZeroSNR: r.ZeroSNR})
}

// picture is the request for picture i of a batch alone.
func (r Request) picture(i int) Request {
	r.Seed += uint64(i)
	r.Batch = 1
	return r
}

// size is a setting's latents alone.
func (t *Text2Image) size(r Request) setting {
	f := t.parts.factor()
	return setting{h: r.Height / f, w: r.Width / f}
}

// setting is what the plans for a request's first picture are compiled for; the request is as Resolve gives it, and its adapters
// are added.
func (t *Text2Image) setting(r Request) setting {
	s := t.size(r)
	s.guided, s.chunks, s.skip = r.CFG != 1, 1, r.ClipSkip
	if t.parts.unet.GuidanceDim > 0 {
		s.guided = false // it reads the scale, and was trained to answer as if it were guided
	}
	s.learned, s.given = t.lessons.count, r.Init != nil || t.parts.reads()
	for i, c := range r.Controls {
		s.controls[i] = c.Net
	}
	if t.parts.text2 != nil {
		s.skip = 1 // it reads the layer before the last of both encoders, whatever is asked for, as A1111 does
	}
	if words, err := newScript(r); err == nil { // as Resolve has seen
		s.chunks, s.loras = t.chunks(words, s.guided), t.adapters.added
	}
	return s
}

// latents is how many numbers one picture's latents have.
func (t *Text2Image) latents(s setting) int { return s.h * s.w * t.parts.vae.LatentChannels }

// Memory is the device memory that a request will hold at its peak, in bytes; a *compute.MemoryError where the device has
// less. Nothing is allocated.
func (t *Text2Image) Memory(r Request) (int64, error) {
	r, err := t.Resolve(r)
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.adapt(r); err != nil {
		return 0, err
	}
	s, err := t.plan(t.setting(r))
	if err != nil {
		return 0, err
	}
	return s.peak(), nil
}

// Warm loads the model for a request, so that a run of the same size starts at once. Small models are also replayed once,
// on zeros: some drivers finish compiling a program only when it first runs.
func (t *Text2Image) Warm(ctx context.Context, r Request) error {
	r, err := t.Resolve(r)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.adapt(r); err != nil {
		return err
	}
	if err := t.prepare(ctx, t.setting(r)); err != nil {
		return err
	}
	if err := t.stages.load(ctx, t.dev); err != nil {
		return err
	}
	for _, st := range t.stages.kept() {
		if st.plan.FLOPs() > rehearsed {
			continue
		}
		in := map[string][]float32{}
		for _, x := range st.plan.Inputs {
			in[x.Name()] = make([]float32, x.Shape().Size())
		}
		if err := t.stages.run(ctx, t.dev, st, in, nil); err != nil {
			return err
		}
	}
	return nil
}

// rehearsed bounds the arithmetic of a stage that Warm replays: a second or so on the slowest driver.
const rehearsed = 1e10

// plan gives the stages of a setting, compiled and checked against the device's memory.
func (t *Text2Image) plan(s setting) (*stages, error) {
	if t.stages != nil && t.stages.setting == s {
		return t.stages, nil
	}
	available := t.available()
	st, err := t.parts.compile(t.dev.Limits(), s)
	if err == nil && !st.fit(available) {
		err = &compute.MemoryError{Device: t.dev.Name(), Need: st.largest(), Available: available}
	}
	if err != nil {
		return nil, t.advise(err, s, available)
	}
	return st, nil
}

// available is the device memory that this pipeline may hold in all; 0 means unknown.
func (t *Text2Image) available() int64 {
	limit := t.dev.Limits().MemoryBytes
	if limit == 0 {
		return 0
	}
	used, _ := t.dev.Memory()
	if t.stages != nil {
		used -= t.stages.memory(t.stages.loaded()...)
	}
	return max(limit-max(used, 0), 1)
}

// advise adds to why a setting cannot run the largest picture of the same proportions that can.
func (t *Text2Image) advise(err error, s setting, available int64) error {
	f, least := t.parts.factor(), t.Info().MinSize
	for eighths := 7; eighths > 0; eighths-- {
		less := s
		less.h, less.w = max(1, s.h*eighths/8), max(1, s.w*eighths/8)
		if less.h*f < least || less.w*f < least {
			break
		}
		if st, e := t.parts.compile(t.dev.Limits(), less); e == nil && st.fit(available) {
			return fmt.Errorf("%w; %d × %d would fit", err, less.w*f, less.h*f)
		}
	}
	return err
}

// prepare takes the plans of s in place of those of another setting, and loads those that are kept.
func (t *Text2Image) prepare(ctx context.Context, s setting) error {
	st, err := t.plan(s)
	if err != nil {
		return err
	}
	if old := t.stages; st != old {
		t.stages = st
		if old != nil && st.fits(append(old.loaded(), st.kept()...)...) {
			defer old.close() // after the new ones are there: parameters in common stay on the device
		} else if old != nil {
			old.close()
		}
	}
	if err := t.calibrate(ctx); err != nil || !st.text.kept {
		return err // a text encoder that is not kept has its turn before others are there
	}
	return st.load(ctx, t.dev)
}

// unscale turns latents of unit variance into what the decoder takes.
func (t *Text2Image) unscale(latents []float32) []float32 {
	k, shift := 1/t.parts.vae.ScalingFactor, t.parts.vae.Shift()
	out := make([]float32, len(latents))
	for i, v := range latents {
		out[i] = float32(float64(v)*k + shift)
	}
	return out
}

// seconds is a duration for people: rounded to a millisecond.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }
