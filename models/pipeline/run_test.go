package pipeline

import (
	"bytes"
	"context"
	"errors"
	"image"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/diffusion"
)

func newSmall(t *testing.T, dev compute.Device) *Text2Image {
	t.Helper()
	p, err := NewText2Image(dev, openSmall(t))
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

func newHost(t *testing.T, o host.Options) *host.Device {
	d := host.New(o)
	t.Cleanup(d.Close)
	return d
}

func samePixels(a, b *image.NRGBA) bool {
	return a.Rect == b.Rect && bytes.Equal(a.Pix, b.Pix)
}

// TestRun checks a whole run: sizes, defaults, progress, times, repeatability, and a batch against its pictures alone.
func TestRun(t *testing.T) {
	dev := newHost(t, host.Options{})
	p := newSmall(t, dev)
	var seen []Progress
	req := Request{Prompt: "a horse", Seed: math.MaxUint64, Batch: 2}
	r, err := p.Run(context.Background(), req, func(pr Progress) { seen = append(seen, pr) })
	must(t, err)
	if len(r.Images) != 2 || r.Images[0].Rect != image.Rect(0, 0, 32, 32) {
		t.Fatalf("%d pictures of %v", len(r.Images), r.Images[0].Rect)
	}
	if r.Seeds[0] != math.MaxUint64 || r.Seeds[1] != 0 {
		t.Errorf("seeds %v", r.Seeds)
	}
	q := r.Request
	if q.Steps != 3 || q.CFG != 2 || q.Sampler != "ddim" || q.Schedule != "normal" || q.Width != 32 || q.Height != 32 {
		t.Errorf("as run: %+v", q)
	}
	if r.Model != "Small" || len(r.ModelHash) != 10 || r.Device != dev.Name() || r.PeakBytes <= 0 {
		t.Errorf("model %q %q, device %q, peak %d", r.Model, r.ModelHash, r.Device, r.PeakBytes)
	}
	sum := 0.0
	for _, phase := range []string{"load", "text", "denoise", "decode", "upscale"} {
		if _, ok := r.Seconds[phase]; !ok {
			t.Errorf("no seconds for %s: %v", phase, r.Seconds)
		}
		sum += r.Seconds[phase]
	}
	if total := r.Seconds["total"]; math.Abs(total-sum) > 0.02 || total <= 0 {
		t.Errorf("phases take %v s of %v s", sum, r.Seconds["total"])
	}
	checkProgress(t, seen)
	if samePixels(r.Images[0], r.Images[1]) {
		t.Error("both pictures of the batch are the same")
	}
	for i := range 2 {
		alone, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: req.Seed + uint64(i)}, nil)
		must(t, err)
		if !samePixels(alone.Images[0], r.Images[i]) {
			t.Errorf("picture %d differs from a run with its seed alone", i)
		}
	}
	other, err := p.Run(context.Background(), Request{Prompt: "mars", Seed: req.Seed}, nil)
	must(t, err)
	if samePixels(other.Images[0], r.Images[0]) {
		t.Error("the prompt changes nothing")
	}
}

func checkProgress(t *testing.T, seen []Progress) {
	t.Helper()
	phases, previews, step := "", 0, 0
	for _, p := range seen {
		if !strings.HasSuffix(phases, p.Phase+" ") {
			phases += p.Phase + " "
		}
		if p.Preview != nil {
			previews++
		}
		if p.Step < step || p.Steps != 6 {
			t.Errorf("step %d of %d after step %d", p.Step, p.Steps, step)
		}
		step = p.Step
		if p.Phase == "denoise" && p.Step > 0 && p.Left <= 0 {
			t.Errorf("no estimate at step %d", p.Step)
		}
	}
	if want := "load text denoise decode upscale denoise decode upscale "; phases != want {
		t.Errorf("phases %q, want %q", phases, want)
	}
	if step != 6 || previews < 6 || seen[len(seen)-1].Bytes <= 0 {
		t.Errorf("ends at step %d with %d previews and %d bytes", step, previews, seen[len(seen)-1].Bytes)
	}
}

// TestTraceAndLatents checks the names and shapes of a trace, and that given latents take the place of drawn ones.
func TestTraceAndLatents(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	shapes := map[string]compute.Shape{}
	req := Request{Prompt: "a horse", Seed: 5, Sampler: "Euler a", CFG: 1, Width: 40, Height: 32,
		Trace: func(name string, shape []int, _ []float32) { shapes[name] = shape }}
	r, err := p.Run(context.Background(), req, nil)
	must(t, err)
	for name, want := range map[string]compute.Shape{
		"step00.noise_pred": {1, 4, 8, 10}, "step02.latents": {1, 4, 8, 10}, "final_latents": {1, 4, 8, 10}, "image": {1, 4, 16, 20},
	} {
		if !shapes[name].Equal(want) {
			t.Errorf("%s has shape %v, want %v", name, shapes[name], want)
		}
	}
	if len(shapes) != 8 || r.Request.Sampler != "euler_ancestral" || r.Images[0].Rect != image.Rect(0, 0, 40, 32) {
		t.Errorf("trace %v, sampler %q, picture %v", shapes, r.Request.Sampler, r.Images[0].Rect)
	}
	req.Trace, req.Latents = nil, diffusion.Noise(5, 0, 4*8*10)
	same, err := p.Run(context.Background(), req, nil)
	must(t, err)
	if !samePixels(same.Images[0], r.Images[0]) {
		t.Error("the same first noise, given, makes another picture")
	}
}

// TestGuidance checks the equation of classifier-free guidance against two runs without it.
func TestGuidance(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	first := func(prompt, negative string, cfg float64) (pred []float32) {
		_, err := p.Run(context.Background(), Request{Prompt: prompt, Negative: negative, CFG: cfg, Steps: 1, Trace: func(name string, _ []int, data []float32) {
			if name == "step00.noise_pred" {
				pred = data
			}
		}}, nil)
		must(t, err)
		return pred
	}
	cond, uncond, guided := first("a horse", "", 1), first("mars", "", 1), first("a horse", "mars", 5)
	for i, v := range guided {
		if want := uncond[i] + 5*(cond[i]-uncond[i]); math.Abs(float64(v-want)) > 1e-5 {
			t.Fatalf("element %d is %v, want %v", i, v, want)
		}
	}
}

// TestCancel stops a run at its second step and checks that little happens after, and that the next run is as ever.
func TestCancel(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	want, err := p.Run(context.Background(), Request{Prompt: "a horse"}, nil)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	steps := 0
	r, err := p.Run(ctx, Request{Prompt: "a horse", Steps: 150, Batch: 2}, func(pr Progress) {
		if pr.Step > 0 {
			steps = pr.Step
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(r.Images) != 0 || steps > 2 {
		t.Errorf("error %v, %d pictures, %d steps", err, len(r.Images), steps)
	}
	again, err := p.Run(context.Background(), Request{Prompt: "a horse"}, nil)
	must(t, err)
	if !samePixels(again.Images[0], want.Images[0]) {
		t.Error("the picture after a cancelled run differs")
	}
}

// TestCancelKeepsFinished cancels during the second picture: the first is not lost.
func TestCancelKeepsFinished(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	ctx, cancel := context.WithCancel(context.Background())
	r, err := p.Run(ctx, Request{Prompt: "a horse", Batch: 2}, func(pr Progress) {
		if pr.Phase == "denoise" && pr.Step == 4 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(r.Images) != 1 || len(r.Seeds) != 1 {
		t.Errorf("error %v, %d pictures", err, len(r.Images))
	}
}

// budget is a device with a given memory, which counts the slots that plans take turns in, and parameters once: right sides of
// products as they are stored, others as float32.
type budget struct {
	compute.Device
	limit, params, used, peak int64
	users                     map[compute.Source]int
	plans                     []*compute.Plan
}

type budgeted struct {
	compute.Executable
	b    *budget
	plan *compute.Plan
}

func (b *budget) Limits() compute.Limits { return compute.Limits{MemoryBytes: b.limit} }
func (b *budget) Memory() (int64, int64) { return b.used, b.peak }
func (b *budget) Load(ctx context.Context, p *compute.Plan) (compute.Executable, error) {
	fresh := int64(0)
	for _, t := range p.Params {
		if b.users[t.Src] == 0 {
			fresh += held(p, t)
		}
	}
	plans := append(slices.Clone(b.plans), p)
	if need := b.params + fresh + compute.SharedSlotBytes(plans...) - b.used; need > b.limit-b.used {
		return nil, &compute.MemoryError{Device: b.Name(), Need: need, Available: b.limit - b.used}
	}
	exe, err := b.Device.Load(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, t := range p.Params {
		b.users[t.Src]++
	}
	b.params, b.plans = b.params+fresh, plans
	b.count()
	return &budgeted{exe, b, p}, nil
}

func (b *budget) count() {
	b.used = b.params + compute.SharedSlotBytes(b.plans...)
	b.peak = max(b.peak, b.used)
}

func (e *budgeted) Close() {
	e.Executable.Close()
	for _, t := range e.plan.Params {
		if e.b.users[t.Src]--; e.b.users[t.Src] == 0 {
			e.b.params -= held(e.plan, t)
		}
	}
	at := slices.Index(e.b.plans, e.plan)
	e.b.plans = slices.Delete(slices.Clone(e.b.plans), at, at+1)
	e.b.count()
}

func held(p *compute.Plan, t *compute.Tensor) int64 {
	if slices.Contains(p.Streamable(), t) {
		return t.Bytes()
	}
	return 4 * int64(t.Shape().Size())
}

// TestMemory checks that what does not fit is refused before anything is loaded, with a size that would fit, and that a
// device with room for one part at a time still makes the same picture.
func TestMemory(t *testing.T) {
	withLimit := func(limit int64) (*Text2Image, *budget) {
		b := &budget{Device: newHost(t, host.Options{}), limit: limit, users: map[compute.Source]int{}}
		return newSmall(t, b), b
	}
	req := Request{Prompt: "a horse", Width: 64, Height: 64}
	free, ample := withLimit(1 << 30)
	all, err := free.Memory(req)
	must(t, err)
	want, err := free.Run(context.Background(), req, nil)
	must(t, err)
	if ample.peak != all {
		t.Errorf("%d bytes at the peak, and %d were foretold", ample.peak, all)
	}
	st, err := free.parts.compile(ample.Limits(), free.setting(want.Request))
	must(t, err)
	one := st.largest()
	if one >= all {
		t.Fatalf("all parts take %d bytes and the largest %d", all, one)
	}

	tight, b := withLimit(one)
	got, err := tight.Run(context.Background(), req, nil)
	must(t, err)
	if !samePixels(got.Images[0], want.Images[0]) {
		t.Error("with one part at a time the picture differs")
	}
	if foretold, err := tight.Memory(req); err != nil || b.peak != foretold || foretold > one {
		t.Errorf("%d bytes at the peak, %d were foretold, %d allowed: %v", b.peak, foretold, one, err)
	}

	least := st.least()
	if least >= one {
		t.Fatalf("the largest part takes %d bytes and, streamed, %d", one, least)
	}
	refusing, b := withLimit(least - 1)
	var memory *compute.MemoryError
	_, err = refusing.Run(context.Background(), req, nil)
	if !errors.As(err, &memory) || memory.Need != one || !strings.Contains(err.Error(), "; 56 × 56 would fit") {
		t.Errorf("error %v, want a memory error over %d bytes with advice", err, one)
	}
	if b.peak != 0 {
		t.Errorf("%d bytes were allocated for a run that was refused", b.peak)
	}
	if _, err := refusing.Memory(req); !errors.As(err, &memory) {
		t.Errorf("Memory says %v", err)
	}

	for limit := one; ; limit += one / 40 { // a processor needs room to work in beside: the least with which it makes the picture
		streaming := newSmall(t, newHost(t, host.Options{MemoryLimit: limit}))
		if got, err = streaming.Run(context.Background(), req, nil); !errors.As(err, &memory) {
			break
		}
	}
	must(t, err)
	if !samePixels(got.Images[0], want.Images[0]) {
		t.Error("with streamed weights the picture differs")
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "of its weights are read anew in every step") || len(want.Warnings) != 0 {
		t.Errorf("warnings %q, and %q with memory enough", got.Warnings, want.Warnings)
	}
}

// TestLargeStagesGiveWay runs a model whose stages count as large: only the denoiser stays on the device, the peak is what was
// foretold and less than that of all stages, and pictures are the same, also of the next run with other words.
func TestLargeStagesGiveWay(t *testing.T) {
	run := func(large int64) (got []*image.NRGBA, b *budget, st *stages) {
		b = &budget{Device: newHost(t, host.Options{}), limit: 1 << 30, users: map[compute.Source]int{}}
		p := newSmall(t, b)
		for i, prompt := range []string{"a horse", "mars"} {
			req, err := p.Resolve(Request{Prompt: prompt, Width: 96, Height: 96})
			must(t, err)
			if i == 0 {
				st, err = p.parts.compile(b.Limits(), p.setting(req))
				must(t, err)
				if st.large = large; !st.fit(b.limit) {
					t.Fatal("the model does not fit")
				}
				p.stages = st
			}
			r, err := p.Run(context.Background(), req, nil)
			must(t, err)
			got = append(got, r.Images[0])
			if i == 0 && b.peak != st.peak() {
				t.Errorf("%d bytes at the peak, %d were foretold", b.peak, st.peak())
			}
		}
		return got, b, st
	}
	want, all, _ := run(largeStage)
	got, one, st := run(1)
	for i := range want {
		if !samePixels(got[i], want[i]) {
			t.Errorf("picture %d differs", i)
		}
	}
	if one.peak >= all.peak || one.used != st.memory(st.denoise) {
		t.Errorf("%d bytes at the peak, %d with all kept; %d left, the denoiser takes %d", one.peak, all.peak, one.used, st.memory(st.denoise))
	}
}

// narrow is a device that stores larger results nowhere.
type narrow struct {
	compute.Device
	bytes int64
}

func (n narrow) Limits() compute.Limits {
	lim := n.Device.Limits()
	lim.Shaders, lim.StorageBytes = true, n.bytes
	return lim
}

// TestLimitOfAResult checks the advice where not the memory but the driver's largest buffer is too small.
func TestLimitOfAResult(t *testing.T) {
	p := newSmall(t, narrow{newHost(t, host.Options{}), 100_000})
	_, err := p.Run(context.Background(), Request{Width: 128, Height: 96}, nil)
	if err == nil || !strings.Contains(err.Error(), "largest storage block") || !strings.Contains(err.Error(), "× ") || !strings.HasSuffix(err.Error(), "would fit") {
		t.Errorf("error %v", err)
	}
}

// TestHalvesApart: where the halves of guidance together pass a device's limits, they are answered one after the other, alike.
func TestHalvesApart(t *testing.T) {
	req := Request{Prompt: "a horse", Negative: "mars", Width: 128, Height: 128, CFG: 3, Steps: 3}
	run := func(bytes int64) (*image.NRGBA, bool) {
		p := newSmall(t, narrow{newHost(t, host.Options{}), bytes})
		r, err := p.Run(context.Background(), req, nil)
		must(t, err)
		return r.Images[0], p.stages.apart
	}
	want, apart := run(1 << 30)
	if apart {
		t.Fatal("apart without need")
	}
	probe := newSmall(t, newHost(t, host.Options{}))
	full, err := probe.Resolve(req)
	must(t, err)
	bytes := int64(1 << 30)
	for st := (*stages)(nil); st == nil || !st.apart; bytes -= bytes / 16 {
		if st, err = probe.parts.compile(narrow{probe.dev, bytes}.Limits(), probe.setting(full)); err != nil {
			t.Fatalf("nothing is between what takes both halves and what takes none: %v", err)
		}
	}
	got, apart := run(bytes + bytes/15)
	if !apart || !samePixels(got, want) {
		t.Errorf("apart %t, and the picture is the same: %t", apart, samePixels(got, want))
	}
}

// TestMemoryShortOfPromise gives a device less room than it says it has: the parts then take turns.
func TestMemoryShortOfPromise(t *testing.T) {
	b := &budget{Device: newHost(t, host.Options{}), limit: 1 << 30, users: map[compute.Source]int{}}
	p := newSmall(t, b)
	all, err := p.Memory(Request{})
	must(t, err)
	short := &lying{b, all - 1}
	liar, err := NewText2Image(short, p.model)
	must(t, err)
	defer liar.Close()
	if _, err := liar.Run(context.Background(), Request{}, nil); err != nil {
		t.Error(err)
	}
	if b.peak >= all {
		t.Errorf("%d bytes at the peak", b.peak)
	}
}

// lying promises what it does not have.
type lying struct {
	*budget
	really int64
}

func (l *lying) Load(ctx context.Context, p *compute.Plan) (compute.Executable, error) {
	promised := l.limit
	l.limit = l.really
	defer func() { l.limit = promised }()
	return l.budget.Load(ctx, p)
}

// TestRequests checks that what cannot be is said before anything runs.
func TestRequests(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	for want, r := range map[string]Request{
		"multiple of 4 from 32 to 2048 pixels, and 66 is not: try 68": {Width: 66},
		"height": {Height: 4096},
		"from 32 to 2048 pixels, and -8 is not: try 32": {Width: -8},
		"steps is from 1 to 150, not 151":               {Steps: 151},
		"CFG scale is from 1 to 30, not 0.5":            {CFG: 0.5},
		"not NaN":                                       {CFG: math.NaN()},
		"batch is from 1 to 8 pictures, not 9":          {Batch: 9},
		`the sampler "magic" is not known`:              {Sampler: "magic"},
		`the schedule "magic" is not known`:             {Schedule: "magic"},
		"does not take the schedule":                    {Sampler: "lcm", Schedule: "karras"},
		"2 pictures of 32 × 32 need 2 × 4 × 8 × 8":      {Batch: 2, Latents: make([]float32, 256)},
		"only finite numbers":                           {Latents: append(make([]float32, 255), float32(math.NaN()))},
	} {
		if _, err := p.Run(context.Background(), r, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; %q is wanted in it", err, want)
		}
	}
	fused, err := p.Resolve(Request{Sampler: "DPM++ 2M Karras"})
	must(t, err)
	if fused.Sampler != "dpmpp_2m" || fused.Schedule != "karras" {
		t.Errorf("DPM++ 2M Karras is %q, %q", fused.Sampler, fused.Schedule)
	}
}

// TestBrokenWeights checks that numbers that blow up are named, not shown.
func TestBrokenWeights(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	p.parts.scheduler.PredictionType = "epsilon"
	big := make([]float32, 4*8*8)
	for i := range big {
		big[i] = 3e38
	}
	_, err := p.Run(context.Background(), Request{Latents: big, Sampler: "euler"}, nil)
	if err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("error %v", err)
	}
}

// TestEverySampler makes a picture with each sampler and schedule.
func TestEverySampler(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	start := time.Now()
	for _, s := range Samplers() {
		for _, sch := range SchedulesFor(s.ID) {
			last := Progress{}
			r, err := p.Run(context.Background(), Request{Prompt: "a horse", Sampler: s.ID, Schedule: sch.ID, Steps: 4}, func(pr Progress) { last = pr })
			if err != nil {
				t.Errorf("%s, %s: %v", s.ID, sch.ID, err)
				continue
			}
			if len(r.Images) != 1 || last.Step != 4 {
				t.Errorf("%s, %s: %d pictures, %d steps", s.ID, sch.ID, len(r.Images), last.Step)
			}
		}
	}
	t.Logf("%v", time.Since(start))
}

// TestToPicture checks premultiplied colours against their straight ones.
func TestToPicture(t *testing.T) {
	m := toPicture([]float32{0.25, 0.5, 0.1, 0.5, 1, 2, -1, 1, 0.9, 0.9, 0.9, 0, 0.8, 0.1, 0.2, 0.5}, 4, 1, 4)
	want := []uint8{128, 255, 51, 128, 255, 255, 0, 255, 0, 0, 0, 0, 255, 51, 102, 128}
	if !bytes.Equal(m.Pix, want) {
		t.Errorf("pixels %v, want %v", m.Pix, want)
	}
	m = toPicture([]float32{0, 0.5, 1, float32(math.NaN()), 0.2, 0.4}, 2, 1, 3)
	if want := []uint8{0, 128, 255, 255, 0, 51, 102, 255}; !bytes.Equal(m.Pix, want) {
		t.Errorf("pixels %v, want %v", m.Pix, want)
	}
}

func TestDecodeSteps(t *testing.T) {
	for _, c := range []struct {
		steps        int
		step, decode float64
		want         int
	}{{20, 1, 0.25, 4}, {20, 1, 0.5, 2}, {20, 1, 3, 0}, {1, 1, 0.01, 0}, {20, 1, 0, 0}} {
		got := decodeSteps(c.steps, c.step, c.decode, 4)
		if len(got) != c.want {
			t.Errorf("%+v: decodes after %v", c, got)
		}
		for at := range got {
			if at < 1 || at >= c.steps {
				t.Errorf("%+v: decode after %d", c, at)
			}
		}
	}
}
