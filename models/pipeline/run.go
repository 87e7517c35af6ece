package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"maps"
	"math"
	"slices"
	"time"

	"atelier/models/nn"
)

// job is one run in progress.
type job struct {
	*Text2Image
	Request
	report  func(Progress)
	start   time.Time
	phase   string
	entered time.Time
	seconds map[string]float64

	done, total int                  // model calls, over the whole batch
	finished    int                  // pictures
	spent       time.Duration        // in them
	canvas      *canvas              // nil without a given picture
	controls    map[string][]float32 // what the denoiser is to follow at this step
	script      *script              // of the picture in progress
	warnings    []string             // of words that were passed over
	encoded     map[string]*encoded  // the texts of the job
	context     []float32            // the text's states at this step: the unconditional row first where guided
	pooled      []float32            // its pooled states likewise, of models that read them
	picks       map[int]bool         // calls of each picture after which a preview is decoded
	decoded     bool                 // a decoded preview of this picture was shown
}

// Run makes the pictures of a request, one after the other. progress, where not nil, is called from Run's goroutine after
// every step. Where Run fails or ctx ends, the result holds the pictures that were finished before.
func (t *Text2Image) Run(ctx context.Context, r Request, progress func(Progress)) (*Result, error) {
	r, err := t.Resolve(r)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if progress == nil {
		progress = func(Progress) {}
	}
	j := &job{Text2Image: t, Request: r, report: progress, start: time.Now(), seconds: map[string]float64{}}
	go t.model.Hash() // reads the weights' file once, beside the work
	result, err := j.run(ctx)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if t.stages != nil && err != nil && ctx.Err() == nil {
		t.stages.close() // after a failure, start afresh
	}
	return result, err
}

func (j *job) run(ctx context.Context) (*Result, error) {
	out := &Result{Request: j.Request, Seconds: j.seconds, Device: j.dev.Name(), Model: j.model.Name, Edited: j.Init != nil, Masked: j.Mask != nil, Warnings: slices.Clone(j.model.Warnings)}
	r := &out.Request
	r.Answers = nil
	r.Trace, r.Latents, r.Noises, r.Init, r.Mask, r.Wildcards = nil, nil, nil, nil, nil, nil
	r.Controls = slices.Clone(r.Controls)
	for i := range r.Controls {
		r.Controls[i].Picture = nil
	}
	err := j.pictures(ctx, out)
	if j.stages != nil && j.stages.streamed > 0 {
		out.Warnings = append(out.Warnings, streamedNote(j.dev, j.stages.streamed))
	}
	j.enter("")
	j.seconds["total"] = seconds(time.Since(j.start))
	_, out.PeakBytes = j.dev.Memory()
	if err == nil {
		out.ModelHash, out.LoRAHashes = j.model.Hash(), j.adapters.hashes(out.LoRAs)
	}
	return out, err
}

func (j *job) pictures(ctx context.Context, out *Result) error {
	for i := range j.Batch {
		if err := j.prepareWords(ctx, i); err != nil {
			return err
		}
		for _, w := range append(slices.Clone(j.adapters.warnings), j.warnings...) {
			if !slices.Contains(out.Warnings, w) {
				out.Warnings = append(out.Warnings, w)
			}
		}
		m, err := j.one(ctx, i)
		if err != nil {
			return err
		}
		j.finished++
		out.Images = append(out.Images, j.canvas.finish(m))
		out.Seeds = append(out.Seeds, j.Seed+uint64(i))
		out.LoRAs = j.script.loras
		out.Prompts, out.Negatives = append(out.Prompts, j.script.prompt), append(out.Negatives, j.script.negative)
	}
	return nil
}

// prepareWords makes the device hold what picture i needs, and encodes its words.
func (j *job) prepareWords(ctx context.Context, i int) error {
	if i == 0 {
		j.enter("load")
	}
	r := j.Request.picture(i)
	var err error
	if j.script, err = newScript(r); err != nil {
		return err
	}
	if err := j.adapters.use(j.parts.networks(), j.script.loras, j.model.Path); err != nil {
		return err
	}
	j.warnings = append(j.warnings, j.learnNamed(j.script.prompt, j.script.negative)...)
	if s := j.setting(r); i == 0 || s != j.stages.setting {
		if i > 0 {
			j.enter("load")
		}
		if err := j.prepare(ctx, s); err != nil {
			return err
		}
		j.encoded = map[string]*encoded{}
		if f := j.parts.vae.Factor(); j.Init != nil {
			j.canvas = newCanvas(j.Request, s.w*f, s.h*f, j.parts.vae.InChannels)
		}
	}
	texts := j.script.texts(j.stages.guided)
	if !slices.ContainsFunc(texts, func(text string) bool { return j.encoded[text] == nil }) {
		return nil
	}
	j.enter("text")
	if err := j.encode(ctx, texts); err != nil || j.stages.text.kept {
		return err
	}
	j.enter("load")
	return j.stages.load(ctx, j.dev)
}

// enter ends the running phase, adding its time to the account, and begins another; "" ends the last.
func (j *job) enter(phase string) {
	now := time.Now()
	if j.phase != "" {
		j.seconds[j.phase] = seconds(time.Duration(j.seconds[j.phase]*float64(time.Second)) + now.Sub(j.entered))
	}
	j.phase, j.entered = phase, now
	if phase != "" {
		j.tell(nil)
	}
}

// tell reports where the job is.
func (j *job) tell(preview *image.NRGBA) {
	used, _ := j.dev.Memory()
	steps := j.planned() * j.Batch
	p := Progress{Phase: j.phase, Steps: steps, Elapsed: time.Since(j.start), Preview: preview, Bytes: used}
	if j.total > 0 {
		p.Step = j.done * steps / j.total
	}
	p.Left = j.left()
	j.report(p)
}

// left estimates the time to go from the pace of the denoiser so far; decoding and enlarging are taken to run at the same
// arithmetic speed.
func (j *job) left() time.Duration {
	if j.done == 0 || j.stages == nil {
		return 0
	}
	call := j.spent / time.Duration(j.done)
	after := j.stages.decode.plan.FLOPs()
	if j.stages.upscale != nil {
		after += j.stages.upscale.plan.FLOPs()
	}
	finish := 0.0
	if f := j.stages.answerFLOPs(); f > 0 {
		finish = after / f
	}
	return call*time.Duration(j.total-j.done) + time.Duration(float64(call)*finish*float64(j.Batch-j.finished))
}

// one makes picture i of the batch.
func (j *job) one(ctx context.Context, i int) (*image.NRGBA, error) {
	j.enter("denoise")
	latents, err := j.denoise(ctx, i)
	if err != nil {
		return nil, err
	}
	j.trace(i, "final_latents", j.latentShape(), latents)
	j.enter("decode")
	v, s := j.parts.vae, j.stages
	h, w := s.h*v.Factor(), s.w*v.Factor()
	last := nn.ChannelsLast(latents, 1, v.LatentChannels, s.h, s.w)
	picture := make([]float32, h*w*v.OutChannels)
	if err := s.run(ctx, j.dev, s.decode, map[string][]float32{"latents": j.unscale(last)}, map[string][]float32{"picture": picture}); err != nil {
		return nil, err
	}
	if firstBad(picture) >= 0 {
		return nil, fmt.Errorf("the decoder gave numbers that are not finite on %s: the picture is lost; try another device (--device host), and run doctor", j.dev.Name())
	}
	if j.Trace != nil {
		j.trace(i, "image", []int{1, v.OutChannels, h, w}, nn.ChannelsFirst(picture, 1, h, w, v.OutChannels))
	}
	fromSigned(picture)
	j.preview.fit(last, picture, s.h, s.w)
	if s.upscale == nil {
		return toPicture(picture, w, h, v.OutChannels), nil
	}
	j.enter("upscale")
	j.tell(toPicture(picture, w, h, v.OutChannels))
	k := j.parts.upscaler.Scale
	large := make([]float32, len(picture)*k*k)
	if err := s.run(ctx, j.dev, s.upscale, map[string][]float32{"picture": picture}, map[string][]float32{"picture": large}); err != nil {
		return nil, err
	}
	return toPicture(large, w*k, h*k, v.OutChannels), nil
}

func (j *job) latentShape() []int {
	return []int{1, j.parts.vae.LatentChannels, j.stages.h, j.stages.w}
}

// trace hands numbers to the request's tracer; those of later pictures of a batch carry the picture's number.
func (j *job) trace(i int, name string, shape []int, data []float32) {
	if j.Trace == nil {
		return
	}
	if i > 0 {
		name = fmt.Sprintf("picture%02d.%s", i, name)
	}
	j.Trace(name, shape, append([]float32(nil), data...))
}

// denoise walks from noise to the latents of picture i, B C H W, of unit variance.
func (j *job) denoise(ctx context.Context, i int) ([]float32, error) {
	sampler, err := j.newSampler(j.Request)
	if err != nil {
		return nil, err
	}
	z, err := newNoises(j.Request, j.Seed+uint64(i), j.latents(j.stages.setting))
	if err != nil {
		return nil, err
	}
	x, first, e, err := j.begin(ctx, i, z, sampler)
	if err != nil {
		return nil, err
	}
	exe, release, err := j.stages.use(ctx, j.dev, j.stages.denoise)
	if err != nil {
		return nil, err
	}
	defer release()
	m := &model{job: j, run: exe.Run, edit: e}
	times, c := sampler.Timesteps(), first
	draw := z.steps(j.Sampler, sampler, first, &c)
	calls := len(times) - first
	j.total = calls * j.Batch
	j.picks, j.decoded = nil, false
	if decoder := j.stages.previewer(); decoder.kept {
		j.picks = j.stages.lookSteps(calls)
	}
	for ; c < len(times); c++ {
		start := time.Now()
		j.say((c-first)/sampler.Stages() + 1)
		j.follow((c - first) / sampler.Stages())
		pred, err := m.answerAt(ctx, c-first, sampler.ScaleInput(c, x), times[c])
		if err != nil {
			return nil, err
		}
		next, denoised, err := sampler.Step(c, pred, x, draw)
		if err = cmp.Or(err, z.err); err != nil {
			return nil, err
		}
		if firstBad(next) >= 0 {
			return nil, fmt.Errorf("the picture fell apart at step %d of %d: the denoiser gave numbers that are not finite on %s; try another sampler or a lower CFG scale, and run doctor", c-first+1, calls, j.dev.Name())
		}
		j.trace(i, fmt.Sprintf("step%02d.noise_pred", c-first), j.latentShape(), pred)
		j.trace(i, fmt.Sprintf("step%02d.latents", c-first), j.latentShape(), next)
		x = e.keep(next, sampler, c)
		j.done++
		j.spent += time.Since(start)
		picture, err := j.look(ctx, c-first+1, denoised)
		if err != nil {
			return nil, err
		}
		j.tell(picture)
	}
	return x, nil
}

// model is the denoiser with guidance.
type model struct {
	*job
	run            func(ctx context.Context, in, out map[string][]float32) error
	edit           *edit
	sample, answer []float32
}

// answerAt gives the model's output at a call of a picture, counted from 0, or what is given in its place.
func (m *model) answerAt(ctx context.Context, call int, x []float32, t float64) ([]float32, error) {
	if m.Answers == nil {
		return m.predict(ctx, x, t)
	}
	if call >= len(m.Answers) || len(m.Answers[call]) != len(x) {
		return nil, fmt.Errorf("the given answers are %d, and the one of call %d must have %d numbers", len(m.Answers), call, len(x))
	}
	return m.Answers[call], nil
}

// predict gives the model's output for latents x, B C H W, at timestep t. Guidance moves the answer for the prompt away
// from the answer for the negative prompt (Ho and Salimans 2022).
func (m *model) predict(ctx context.Context, x []float32, t float64) ([]float32, error) {
	s, z := m.stages, m.parts.vae.LatentChannels
	rows := s.rows()
	times := make([]float32, rows)
	m.sample = m.sample[:0]
	last := m.edit.sample(x, s.h, s.w)
	for r := range rows {
		times[r] = float32(t)
		m.sample = append(m.sample, last...)
	}
	if m.answer == nil {
		m.answer = make([]float32, rows*len(x))
	}
	in := map[string][]float32{"sample": m.sample, "timestep": times, "context": m.context}
	m.conditions(in)
	maps.Copy(in, m.controls)
	for k := range s.replays() {
		if err := m.run(ctx, s.share(in, k), map[string][]float32{"prediction": part(m.answer, k, s.replays())}); err != nil {
			return nil, stageError(ctx, s.denoise, err)
		}
	}
	answer := m.answer
	if s.guided {
		uncond, cond := m.answer[:len(x)], m.answer[len(x):]
		answer = make([]float32, len(x))
		for i, u := range uncond {
			answer[i] = u + float32(m.CFG)*(cond[i]-u)
		}
		rescale(answer, cond, m.GuidanceRescale)
	}
	return nn.ChannelsFirst(answer, 1, s.h, s.w, z), nil
}

// rescale brings the deviation of guided numbers back towards that of the prompt's own, by a share of phi, so that strong
// guidance does not overexpose (Lin et al. 2024, section 3.4).
func rescale(guided, cond []float32, phi float64) {
	if phi == 0 {
		return
	}
	k := float32(phi*deviation(cond)/deviation(guided) + 1 - phi)
	if k-k != 0 { // flat numbers have no deviation to bring back
		return
	}
	for i := range guided {
		guided[i] *= k
	}
}

// deviation is the standard deviation of numbers.
func deviation(x []float32) float64 {
	var mean, square float64
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		square += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(square / float64(len(x)))
}

// look is the preview after call c of a picture: a map of the latents, or, where the budget allows, a decode. After the
// first decode it changes only with the next one, so that the picture doesn't flicker between sharp and soft.
func (j *job) look(ctx context.Context, c int, denoised []float32) (*image.NRGBA, error) {
	v, s := j.parts.vae, j.stages
	last := nn.ChannelsLast(denoised, 1, v.LatentChannels, s.h, s.w)
	if !j.picks[c] {
		if j.decoded {
			return nil, nil
		}
		return j.preview.picture(last, s.h, s.w), nil
	}
	h, w := s.h*v.Factor(), s.w*v.Factor()
	picture := make([]float32, h*w*v.OutChannels)
	decoder, in := s.previewer(), j.unscale(last)
	if s.look != nil {
		in = last // it knows latents of unit variance, and gives [0, 1]
	}
	if err := s.run(ctx, j.dev, decoder, map[string][]float32{"latents": in}, map[string][]float32{"picture": picture}); err != nil {
		return nil, err
	}
	j.decoded = true
	if s.look == nil {
		fromSigned(picture)
	}
	return toPicture(picture, w, h, v.OutChannels), nil
}
