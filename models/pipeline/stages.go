package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"atelier/compute"
	"atelier/models/clip"
	"atelier/models/unet"
)

// stage is one network of the pipeline, compiled for one size.
type stage struct {
	name   string
	plan   *compute.Plan
	loaded compute.Executable // nil while the device does not hold it
	kept   bool               // the device holds it between its turns
}

// setting is what plans are compiled for.
type setting struct {
	h, w    int    // latents
	guided  bool   // the denoiser runs the unconditional half beside the conditional one
	chunks  int    // rows of tokens of a text
	skip    int    // of the text encoder's layers, counted from the end, the one that is read: 1 is the last
	learned int    // how often words were learned
	given   bool   // pictures are encoded, too
	loras   string // key of the adapters that are added to the weights

	controls [MostControls]*ControlNet // that the denoiser follows
}

// rows is the batch of the text encoder and of the denoiser.
func (s setting) rows() int {
	if s.guided {
		return 2
	}
	return 1
}

// stages is all plans of a setting.
type stages struct {
	setting
	text, denoise, decode *stage
	upscale               *stage // nil without an upscaler
	encode                *stage // nil where no picture is given
	look                  *stage // a small decoder for previews, or nil
	available             int64  // device memory for all of them; 0 means unknown
	large                 int64  // memory from which on a stage that has one turn in a picture gives way after it
	wide                  bool   // the device keeps half-precision parameters as float32, as definitions want them
	apart                 bool   // the denoiser takes the halves of guidance one after the other: both at once pass the device's limits
	streamed              int64  // bytes of weights that a stage reads anew in every replay, where they do not fit; the most of any
}

func (s *stages) all() []*stage {
	var list []*stage
	for _, st := range []*stage{s.text, s.encode, s.denoise, s.decode, s.upscale, s.look} {
		if st != nil {
			list = append(list, st)
		}
	}
	return list
}

// compile makes the plans of a setting. Nothing is allocated on the device.
func (p *parts) compile(lim compute.Limits, s setting) (*stages, error) {
	out := &stages{setting: s, wide: !lim.Shaders, large: largeStage}
	coder := p.vae.Within(lim.StorageBytes)
	z := coder.LatentChannels
	for _, b := range []struct {
		to    **stage
		name  string
		want  bool
		build func(g *compute.Graph)
	}{
		{&out.text, "text encoder", true, func(g *compute.Graph) {
			p.recordText(g, s)
		}},
		{&out.encode, "encoder", s.given, func(g *compute.Graph) {
			f := coder.Factor()
			mean, logvar := coder.Encode(g.Input("picture", 1, s.h*f, s.w*f, coder.InChannels))
			g.Output("mean", mean)
			g.Output("logvar", logvar)
		}},
		{&out.denoise, "denoiser", true, func(g *compute.Graph) {
			p.recordDenoiser(g, s)
		}},
		{&out.decode, "decoder", true, func(g *compute.Graph) {
			g.Output("picture", coder.Decode(g.Input("latents", 1, s.h, s.w, z)))
		}},
		{&out.look, "preview's decoder", p.tiny != nil, func(g *compute.Graph) {
			g.Output("picture", p.tiny.Forward(g.Input("latents", 1, s.h, s.w, z)))
		}},
		{&out.upscale, "upscaler", p.upscaler != nil, func(g *compute.Graph) {
			f := p.vae.Factor()
			g.Output("picture", p.upscaler.Forward(g.Input("picture", 1, s.h*f, s.w*f, p.vae.OutChannels)))
		}},
	} {
		if !b.want {
			continue
		}
		g := compute.NewGraph()
		b.build(g)
		plan, err := g.Compile(lim)
		if err != nil && b.to == &out.denoise && s.guided {
			half := s
			half.guided, out.apart = false, true
			g = compute.NewGraph()
			p.recordDenoiser(g, half)
			plan, err = g.Compile(lim)
		}
		if err != nil {
			return nil, fmt.Errorf("the %s: %w", b.name, err)
		}
		*b.to = &stage{name: b.name, plan: plan}
	}
	return out, nil
}

// replays is how often the denoiser runs for one answer.
func (s *stages) replays() int {
	if s.apart {
		return s.rows()
	}
	return 1
}

// answerFLOPs is the arithmetic of one answer of the denoiser.
func (s *stages) answerFLOPs() float64 { return s.denoise.plan.FLOPs() * float64(s.replays()) }

// share is what replay k of the denoiser reads of in: its rows, or all of what has none.
func (s *stages) share(in map[string][]float32, k int) map[string][]float32 {
	out := map[string][]float32{}
	for _, x := range s.denoise.plan.Inputs {
		v := in[x.Name()]
		if len(v) > x.Shape().Size() {
			v = part(v, k, s.replays())
		}
		out[x.Name()] = v
	}
	return out
}

// part is piece k of n of v.
func part(v []float32, k, n int) []float32 { return v[k*len(v)/n : (k+1)*len(v)/n] }

// recordDenoiser predicts for the rows of a setting, as its ControlNets will have it.
func (p *parts) recordDenoiser(g *compute.Graph, s setting) {
	in := p.denoiserInputs(g, s)
	p.recordControls(g, s, &in)
	g.Output("prediction", p.unet.Predict(in, nil))
}

// recordText encodes the rows of ids, and with a second encoder those of ids2, to states and, with two, the pooled state.
func (p *parts) recordText(g *compute.Graph, s setting) {
	n, tokens := s.rows(), p.text.MaxPositions
	if p.text2 == nil {
		states, _ := p.read(g.Input("ids", n, tokens), nil, nil, s.skip)
		g.Output("states", states)
		return
	}
	states, pooled := p.read(g.Input("ids", n, tokens), g.Input("ids2", n, tokens), g.Input("pool2", n, 1, tokens), s.skip)
	g.Output("states", states)
	g.Output("pooled", pooled)
}

// read gives the states of a text as the denoiser wants them. With two encoders each gives the state before its last layer, side
// by side, and the second its pooled state, at the rows that pool2 selects.
func (c *conditioned) read(ids, ids2, pool2 *compute.Tensor, skip int) (states, pooled *compute.Tensor) {
	first := c.text.Forward(ids, nil)
	if c.text2 == nil {
		return skipped(c.text, first, skip), nil
	}
	second := c.text2.Forward(ids2, pool2)
	return compute.Concat(-1, penultimate(first), penultimate(second)), second.Projected
}

// skipped is the state after the last layer but skip − 1, after the final norm ("clip skip").
func skipped(m *clip.Model, o clip.Output, skip int) *compute.Tensor {
	if skip <= 1 {
		return o.Last
	}
	return m.Final(o.HiddenStates[len(o.HiddenStates)-skip])
}

// penultimate is the state before the last layer of an encoder.
func penultimate(o clip.Output) *compute.Tensor { return o.HiddenStates[len(o.HiddenStates)-2] }

// denoiserInputs declares what the denoiser reads: sample [rows H W C], timestep [rows], context [rows chunks·tokens width], and, in
// the families that have them, pooled [rows width] and sizes [rows 6], or guidance [rows width].
func (p *parts) denoiserInputs(g *compute.Graph, s setting) unet.Inputs {
	n, u := s.rows(), p.unet
	in := unet.Inputs{
		Sample: g.Input("sample", n, s.h, s.w, u.InChannels), Timestep: g.Input("timestep", n),
		Context: g.Input("context", n, max(s.chunks, 1)*p.text.MaxPositions, u.ContextDim[0]),
	}
	if u.TextTime {
		in.Pooled, in.Sizes = g.Input("pooled", n, p.text2.ProjectionDim), g.Input("sizes", n, len(sizes{}))
	}
	if u.GuidanceDim > 0 {
		in.Guidance = g.Input("guidance", n, u.GuidanceDim)
	}
	return in
}

// memory is the device memory of these stages held at once: the slots that they take turns in, and each parameter once.
func (s *stages) memory(list ...*stage) int64 {
	var plans []*compute.Plan
	for _, st := range list {
		plans = append(plans, st.plan)
	}
	n, seen := compute.SharedSlotBytes(plans...), map[compute.Source]bool{}
	for _, st := range list {
		held := s.held(st)
		for _, p := range st.plan.Params {
			if !seen[p.Src] {
				seen[p.Src] = true
				n += held(p)
			}
		}
	}
	return n
}

// held gives what a parameter of a stage takes on the device. Definitions want float32, but for the right sides of products, which
// are those that may be streamed.
func (s *stages) held(st *stage) func(p *compute.Tensor) int64 {
	right := map[*compute.Tensor]bool{}
	if s.wide {
		for _, p := range st.plan.Streamable() {
			right[p] = true
		}
	}
	return func(p *compute.Tensor) int64 {
		if s.wide && !right[p] {
			return 4 * int64(p.Shape().Size())
		}
		return p.Bytes()
	}
}

// least is the memory of the stage that needs most, when one is held at a time and its weights are streamed.
func (s *stages) least() int64 {
	var n int64
	for _, st := range s.all() {
		n = max(n, st.plan.StreamedBytes(s.held(st)))
	}
	return n
}

// largest is the memory of the stage that needs most, when one is held at a time.
func (s *stages) largest() int64 {
	var n int64
	for _, st := range s.all() {
		n = max(n, s.memory(st))
	}
	return n
}

// loaded lists the stages that are on the device.
func (s *stages) loaded() []*stage { return s.those(func(st *stage) bool { return st.loaded != nil }) }

// kept lists the stages that the device holds between their turns.
func (s *stages) kept() []*stage { return s.those(func(st *stage) bool { return st.kept }) }

func (s *stages) those(are func(st *stage) bool) []*stage {
	return slices.DeleteFunc(s.all(), func(st *stage) bool { return !are(st) })
}

// largeStage is how large a stage with one turn in a picture must be to give way: reading it again then takes less time than a step
// of a denoiser of that class.
const largeStage = 200 << 20

// fit decides which stages the device holds between their turns: the denoiser, whose turns are many, the preview's decoder and
// those others that are small, as far as there is room. It refuses all before anything is allocated where one alone does not fit,
// even with its weights streamed.
func (s *stages) fit(available int64) bool {
	s.available = available
	room := true
	for _, st := range []*stage{s.denoise, s.look, s.decode, s.upscale, s.encode, s.text} {
		if st == nil {
			continue
		}
		room = room && s.fits(append(s.kept(), st)...)
		st.kept = room && (st == s.denoise || st == s.look || s.memory(st) < s.large)
	}
	return available == 0 || s.largest() <= available || s.least() <= available
}

// fits reports whether the device holds these stages at once.
func (s *stages) fits(list ...*stage) bool {
	return s.available == 0 || s.memory(list...) <= s.available
}

// peak is the most memory that stages hold at a time in a run for one picture, the text's before others are there.
func (s *stages) peak() int64 {
	kept := s.kept()
	n := s.memory(kept...)
	for _, st := range s.all() {
		switch beside := append(slices.Clone(kept), st); {
		case st.kept:
		case st != s.text && s.fits(beside...):
			n = max(n, s.memory(beside...))
		default:
			n = max(n, s.memory(st))
		}
	}
	if s.available > 0 {
		n = min(n, s.available) // more is streamed
	}
	return n
}

// use gives the stage's executable, loading it if need be, and what to call when done with it. Others make room for it.
func (s *stages) use(ctx context.Context, dev compute.Device, st *stage) (compute.Executable, func(), error) {
	done := func() {
		if !st.kept {
			st.close()
		}
	}
	if st.loaded != nil {
		return st.loaded, done, nil
	}
	others := s.loaded()
	if !s.fits(append(others, st)...) {
		s.close()
		others = nil
	}
	exe, err := dev.Load(ctx, st.plan)
	var memory *compute.MemoryError
	if errors.As(err, &memory) && len(others) > 0 { // the device has less room than it said
		s.close()
		for _, st := range s.all() {
			st.kept = false
		}
		exe, err = dev.Load(ctx, st.plan)
	}
	if err != nil {
		return nil, nil, stageError(ctx, st, err)
	}
	st.loaded = exe
	s.streamed = max(s.streamed, compute.Streamed(exe))
	return exe, done, nil
}

// load puts the stages that are kept on the device.
func (s *stages) load(ctx context.Context, dev compute.Device) error {
	for _, st := range s.kept() {
		_, done, err := s.use(ctx, dev, st)
		if err != nil {
			s.close()
			return err
		}
		done()
	}
	return nil
}

// streamedNote says that weights of so many bytes are streamed.
func streamedNote(dev compute.Device, bytes int64) string {
	return fmt.Sprintf("the model does not fit the memory of %s, so %s of its weights are read anew in every step, which takes longer", dev.Name(), compute.FormatBytes(bytes))
}

func stageError(ctx context.Context, st *stage, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var memory *compute.MemoryError
	if errors.As(err, &memory) {
		return err
	}
	return fmt.Errorf("the %s: %w", st.name, err)
}

// run replays a stage once.
func (s *stages) run(ctx context.Context, dev compute.Device, st *stage, in, out map[string][]float32) error {
	exe, done, err := s.use(ctx, dev, st)
	if err != nil {
		return err
	}
	defer done()
	if err := exe.Run(ctx, in, out); err != nil {
		return stageError(ctx, st, err)
	}
	return nil
}

// close gives the device's memory back.
func (s *stages) close() {
	for _, st := range s.all() {
		st.close()
	}
}

func (st *stage) close() {
	if st.loaded != nil {
		st.loaded.Close()
		st.loaded = nil
	}
}
