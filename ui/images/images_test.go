package images

import (
	"context"
	"errors"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"

	"atelier/app/job"
	"atelier/app/library"
	"atelier/app/modelstore"
	"atelier/app/settings"
	"atelier/models/pipeline"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// engine answers requests under the test's control.
type engine struct {
	ready     chan struct{}
	models    []pipeline.ModelInfo
	adapters  []studio.Named
	controls  []studio.ControlNet
	vaes      map[string][]studio.Named
	upscalers []studio.Named
	steps     chan struct{} // one token lets a job do one step; closed: all at once
	mu        sync.Mutex
	asked     []pipeline.Request
}

func (e *engine) Ready() <-chan struct{}       { return e.ready }
func (e *engine) Models() []pipeline.ModelInfo { return e.models }
func (e *engine) Samplers() []studio.Named {
	return []studio.Named{{ID: "euler", Label: "Euler"}, {ID: "ddim", Label: "DDIM"}, {ID: "lcm", Label: "LCM"}}
}
func (e *engine) Schedules() []studio.Named {
	return []studio.Named{{ID: "normal", Label: "Normal"}, {ID: "karras", Label: "Karras"}}
}
func (e *engine) SchedulesFor(sampler string) []studio.Named {
	if sampler == "lcm" {
		return e.Schedules()[:1]
	}
	return e.Schedules()
}
func (e *engine) Device() studio.DeviceStatus { return studio.DeviceStatus{Name: "test", OK: true} }

func (e *engine) OpenModel(_ context.Context, name string) (pipeline.ModelInfo, error) {
	if name == "broken" {
		return pipeline.ModelInfo{}, errors.New("the model broken does not open: its denoiser lacks 3 tensors")
	}
	return pipeline.ModelInfo{Name: name, Width: 320, Height: 320, MinSize: 64, MaxSize: 512, SizeStep: 64, Steps: 9, CFG: 5, Sampler: "euler", Schedule: "normal"}, nil
}
func (e *engine) Adapters() []studio.Named         { return e.adapters }
func (e *engine) SetEntries([]modelstore.Entry)    {}
func (e *engine) NameOf(string) (string, bool)     { return "", false }
func (e *engine) VAEs(model string) []studio.Named { return e.vaes[model] }
func (e *engine) ControlNets() []studio.ControlNet { return e.controls }

func (e *engine) Generate(ctx context.Context, model string, r pipeline.Request, say func(pipeline.Progress)) (*pipeline.Result, error) {
	e.mu.Lock()
	e.asked = append(e.asked, r)
	e.mu.Unlock()
	if strings.HasPrefix(r.Prompt, "fail") {
		return nil, errors.New("the device ran out of memory; try a smaller size")
	}
	if r.Upscaler != "" {
		return e.enlarge(ctx, r, say)
	}
	for i := 1; i <= r.Steps; i++ {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-e.steps:
		}
		say(pipeline.Progress{Phase: "denoise", Step: i, Steps: r.Steps * max(1, r.Batch), Preview: plain(8, 8, uint8(i)), Left: time.Second, Bytes: 38e6})
	}
	out := &pipeline.Result{Request: r, Model: model, ModelHash: "0123456789"}
	for i := range max(1, r.Batch) {
		out.Images = append(out.Images, plain(r.Width, r.Height, uint8(200+i)))
		out.Seeds = append(out.Seeds, r.Seed+uint64(i))
	}
	return out, nil
}

// requests is what reached the engine so far.
func (e *engine) requests() []pipeline.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.asked)
}

func plain(w, h int, v uint8) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.SetNRGBA(x, y, color.NRGBA{v, v, v, 255})
		}
	}
	return img
}

// bench is a workspace on a test window, with a main loop that the test turns.
type bench struct {
	*Workspace
	t      *testing.T
	engine *engine
	main   chan func()
	store  *settings.Store
	root   string
	saved  string
	picked string // by the person, of files
	window fyne.Window
}

func newBench(t *testing.T, change func(*settings.Settings)) *bench {
	t.Helper()
	test.NewTempApp(t).Settings().SetTheme(kit.NewTheme("dark"))
	b := &bench{t: t, main: make(chan func(), 10000), root: t.TempDir(), engine: &engine{ready: make(chan struct{}), steps: make(chan struct{}, 1000),
		models: []pipeline.ModelInfo{
			{Name: "sticker", Width: 256, Height: 256, MinSize: 128, MaxSize: 512, SizeStep: 32, Steps: 4, CFG: 4, Sampler: "ddim", Schedule: "normal", TextLayers: 12, Follows: "small", Examples: []string{"one", "two", "three", "four"}},
			{Name: "big", Width: 512, Height: 768, MinSize: 256, MaxSize: 1024, SizeStep: 64, Steps: 30, CFG: 7.5, Sampler: "euler", Schedule: "karras"},
		}}}
	b.store = settings.Open(filepath.Join(t.TempDir(), "settings.json"))
	if change != nil {
		b.store.Update(change)
	}
	post := func(f func()) { b.main <- f }
	lib := library.New(b.root)
	meta := func(r *pipeline.Result, i int) library.Meta {
		return library.MetaOf(r, i, library.Labels{}, "test")
	}
	queue := job.New(job.Config{Generate: b.engine.Generate, Post: post, Changed: func(u job.Update) { b.Changed(u) },
		Keep: func(r *pipeline.Result) []job.Kept {
			kept := make([]job.Kept, len(r.Images))
			for i, img := range r.Images {
				kept[i].Path, kept[i].Err = lib.Save(img, meta(r, i))
			}
			return kept
		}})
	tips := kit.NewTips(post)
	b.Workspace = New(Config{Post: post, Tips: tips, Studio: b.engine, Queue: queue, Settings: b.store, Library: lib, Meta: meta,
		Browse: func(string, func(string)) {}, BrowseFile: func(_ string, _ []string, done func(string)) { done(b.picked) }, Open: func(string) error { return nil }, Saved: func(s string) { b.saved = s }})
	b.window = test.NewTempWindow(t, container.NewStack(b.Content(), tips.Layer))
	b.window.SetPadded(false)
	b.window.Resize(fyne.NewSize(1232, 774))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := queue.Close(ctx); err != nil {
			t.Error(err)
		}
		b.store.Close()
	})
	return b
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case f := <-b.main:
			f()
		case <-time.After(20 * time.Millisecond): // not every change comes through the main loop
		case <-deadline:
			b.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (b *bench) step(n int) {
	for range n {
		b.engine.steps <- struct{}{}
	}
}

func TestPictureFormsIsSavedAndListed(t *testing.T) {
	b := newBench(t, nil)
	b.form.prompt.SetText("  a fox  ")
	b.form.setSeed("41")
	b.form.batch.Set(2)
	if !b.stage.empty.Visible() || b.button.Text != "Generate" {
		t.Fatal("the workspace starts empty")
	}
	b.Generate(false)
	b.until("running", func() bool { return b.running != 0 })
	if b.button.Text != "Cancel" || b.button.Hint != "Esc" {
		t.Errorf("the button says %q", b.button.Text)
	}
	if b.stage.empty.Visible() || b.stage.picture.Image().Rect.Dx() != 1 {
		t.Error("a running job shows an empty frame at once")
	}
	b.step(1)
	b.until("a preview", func() bool { return b.stage.picture.Image().Rect.Dx() == 8 })
	if got := b.stage.status.Text; !strings.HasPrefix(got, "Picture 1 of 2 · Step 1 of 4 · 1.0 s left · ") || !strings.HasSuffix(got, " · 38 MB") {
		t.Errorf("status %q", got)
	}
	b.step(3)
	b.until("two pictures with thumbnails", func() bool {
		return len(b.session.pictures) == 2 && b.session.pictures[0].thumb != nil && b.session.pictures[1].thumb != nil
	})
	if b.button.Text != "Generate" || !strings.HasPrefix(b.stage.status.Text, "Finished in ") {
		t.Errorf("button %q, status %q", b.button.Text, b.stage.status.Text)
	}
	last := b.session.chosen()
	if last.seed != 42 || last.image.Rect.Dx() != 256 || b.stage.picture.Image() != last.image {
		t.Errorf("chosen: seed %d, width %d", last.seed, last.image.Rect.Dx())
	}
	p, err := library.ReadParameters(last.path)
	if err != nil || p.Prompt != "a fox" || p.Fields["Seed"] != "42" || p.Fields["Size"] != "256x256" || p.Fields["Model"] != "sticker" {
		t.Errorf("file says %+v, %v", p, err)
	}
	if b.saved != "Saved as "+last.path {
		t.Errorf("said %q", b.saved)
	}
	if r := b.engine.requests()[0]; r.Prompt != "a fox" || r.Sampler != "ddim" || r.Schedule != "normal" || r.CFG != 4 || r.Steps != 4 || r.Batch != 2 || r.Seed != 41 {
		t.Errorf("asked for %+v", r)
	}
}

func TestCancelQueueAndOrder(t *testing.T) {
	b := newBench(t, nil)
	for _, prompt := range []string{"one", "two", "three"} {
		b.form.prompt.SetText(prompt)
		b.Generate(prompt == "three")
		if prompt == "one" {
			b.until("one running", func() bool { return b.running != 0 })
		}
	}
	b.until("two queued", func() bool { return b.stage.queue.Text == "2 queued" && b.stage.queue.Visible() })
	first := b.running
	b.Escape()
	b.until("the next job", func() bool { return b.running != 0 && b.running != first })
	if got := b.engine.requests()[1].Prompt; got != "three" {
		t.Errorf("after the cancelled one came %q", got)
	}
	test.Tap(b.stage.queue)
	b.until("an empty queue", func() bool { return !b.stage.queue.Visible() })
	b.Escape()
	b.until("idle", func() bool { return b.running == 0 })
	if b.stage.status.Text != "Cancelled" || b.button.Text != "Generate" || !b.stage.empty.Visible() || len(b.session.pictures) != 0 {
		t.Errorf("status %q, button %q, empty %v", b.stage.status.Text, b.button.Text, b.stage.empty.Visible())
	}
	if len(b.engine.requests()) != 2 {
		t.Errorf("%d jobs reached the engine", len(b.engine.requests()))
	}
}

func TestFailureIsSaidInPlace(t *testing.T) {
	b := newBench(t, nil)
	b.form.prompt.SetText("fail")
	b.Generate(false)
	b.until("the message", func() bool { return b.stage.notice.Text() != "" })
	if got := b.stage.notice.Text(); got != "The device ran out of memory; try a smaller size." {
		t.Errorf("message %q", got)
	}
	b.Escape()
	if b.stage.notice.Visible() {
		t.Error("Esc closes the message")
	}
}

func TestUnsavedPictureStaysAndCanBeSavedElsewhere(t *testing.T) {
	b := newBench(t, nil)
	blocked := filepath.Join(t.TempDir(), "file")
	os.WriteFile(blocked, nil, 0o644)
	b.config.Library.SetRoot(blocked)
	close(b.engine.steps)
	b.form.prompt.SetText("a fox")
	b.Generate(false)
	b.until("the message", func() bool { return b.stage.notice.Text() != "" })
	if got := b.stage.notice.Text(); !strings.Contains(got, "Could not save") || !strings.Contains(got, blocked) || !strings.Contains(got, "stays in this session") {
		t.Errorf("message %q", got)
	}
	m := b.session.chosen()
	if m == nil || m.path != "" || b.session.file.Text != "Not saved yet" || b.Unsaved() != 1 {
		t.Fatalf("session says %q, %d unsaved", b.session.file.Text, b.Unsaved())
	}
	spare := t.TempDir()
	t.Setenv("TMPDIR", spare)
	kept := b.Rescue()
	if len(kept) != 1 || filepath.Dir(kept[0]) != spare || b.Unsaved() != 0 || len(b.Rescue()) != 0 {
		t.Errorf("rescued as %q, %d unsaved", kept, b.Unsaved())
	} else if p, err := library.ReadParameters(kept[0]); err != nil || p.Prompt != "a fox" {
		t.Errorf("the rescued picture says %+v, %v", p, err)
	}
	m.path = ""
	b.session.askName()
	path := filepath.Join(b.root, "mine.png")
	b.session.saveName.SetText(path)
	b.session.save(false)
	b.until("the copy", func() bool { return m.path == path })
	if p, err := library.ReadParameters(path); err != nil || p.Prompt != "a fox" || b.session.saveAs.Visible() || b.Unsaved() != 0 {
		t.Errorf("copy says %+v, %v; row open %v; %d unsaved", p, err, b.session.saveAs.Visible(), b.Unsaved())
	}
	b.session.askName()
	b.session.saveName.SetText(path)
	b.session.save(false)
	b.until("the question", func() bool { return strings.Contains(b.stage.notice.Text(), "already a file") })
	b.Escape()
	if b.session.saveAs.Visible() {
		t.Error("Esc closes the row")
	}
}

func TestReuseUndoAndSelection(t *testing.T) {
	b := newBench(t, nil)
	close(b.engine.steps)
	for _, prompt := range []string{"first", "second"} {
		b.form.prompt.SetText(prompt)
		b.form.setSeed(map[string]string{"first": "5", "second": "6"}[prompt])
		b.Generate(false)
		n := len(b.session.pictures) + 1
		b.until(prompt, func() bool { return len(b.session.pictures) == n && b.running == 0 })
	}
	b.form.prompt.SetText("third")
	b.form.setSeed("-1")
	b.Reuse(fyne.KeyRight) // the older one
	if m := b.session.chosen(); m.seed != 5 || b.stage.picture.Image() != m.image {
		t.Errorf("chosen seed %d", m.seed)
	}
	b.Reuse(fyne.KeyS)
	if p := b.form.parameters(); p.Seed != "5" || p.Prompt != "third" {
		t.Errorf("after S: %+v", p)
	}
	b.Reuse(fyne.KeyP)
	if p := b.form.parameters(); p.Prompt != "first" {
		t.Errorf("after P: %+v", p)
	}
	if !b.Undo(false) || b.form.parameters().Prompt != "third" || b.form.parameters().Seed != "5" {
		t.Errorf("undo: %+v", b.form.parameters())
	}
	b.Undo(false)
	if got := b.form.parameters().Seed; got != "-1" {
		t.Errorf("second undo: seed %q", got)
	}
	b.Undo(true)
	if got := b.form.parameters().Seed; got != "5" {
		t.Errorf("redo: seed %q", got)
	}
	b.form.steps.Set(99)
	b.Reuse(fyne.KeyA)
	if p := b.form.parameters(); p.Prompt != "first" || p.Steps != 4 || p.Batch != 1 {
		t.Errorf("after A: %+v", p)
	}
	if b.Reuse(fyne.KeyX) {
		t.Error("X is no key of the gallery")
	}
}

func TestModelSetsRangesDefaultsAndShapes(t *testing.T) {
	b := newBench(t, nil)
	f := b.form
	if p := f.parameters(); p.Width != 256 || p.Steps != 4 || p.CFG != 4 || p.Sampler != "ddim" || p.Seed != "-1" || p.Batch != 1 {
		t.Errorf("defaults: %+v", p)
	}
	f.model.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	if p := f.parameters(); p.Model != "big" || p.Width != 512 || p.Height != 768 || p.Steps != 30 || p.CFG != 7.5 || p.Sampler != "euler" || p.Schedule != "karras" {
		t.Errorf("second model: %+v", p)
	}
	test.Tap(f.presets[3].button) // 16:9
	if p := f.parameters(); p.Width != 832 || p.Height != 448 || !f.presets[3].button.Selected || f.presets[0].button.Selected {
		t.Errorf("16:9: %d × %d", p.Width, p.Height)
	}
	f.swap()
	if p := f.parameters(); p.Width != 448 || p.Height != 832 {
		t.Errorf("swapped: %d × %d", p.Width, p.Height)
	}
	b.Undo(false)
	b.Undo(false)
	b.Undo(false)
	if p := f.parameters(); p.Model != "sticker" || p.Width != 256 || p.Steps != 4 {
		t.Errorf("undone: %+v", p)
	}
}

func TestSchedulesThatASamplerDoesNotTakeAreNotOffered(t *testing.T) {
	b := newBench(t, func(s *settings.Settings) { s.Last.Sampler, s.Last.Schedule = "euler", "karras" })
	b.EngineReady()
	f := b.form
	pick := func(index int) { // as from the open list
		f.sampler.Select(index)
		f.sampler.OnChanged(index)
	}
	for _, c := range []struct {
		sampler int
		want    string
		offered int
	}{{2, "normal", 1}, {0, "karras", 2}, {2, "normal", 1}, {1, "karras", 2}} {
		pick(c.sampler)
		if got := f.parameters().Schedule; got != c.want || len(f.schedules) != c.offered {
			t.Errorf("sampler %d: schedule %s of %d, want %s of %d", c.sampler, got, len(f.schedules), c.want, c.offered)
		}
		if note := f.tips.Shown(); c.offered == 1 && note != "LCM takes the Normal schedule only." {
			t.Errorf("sampler %d: the note is %q", c.sampler, note)
		}
	}
}

func TestWhatIsStillBeingTypedCounts(t *testing.T) {
	b := newBench(t, nil)
	b.EngineReady()
	f := b.form
	f.prompt.SetText("a cup")
	f.seed.Focus()
	test.Type(b.window.Canvas().Focused(), "7")
	b.Generate(false)
	b.until("a request", func() bool { return len(b.engine.requests()) == 1 })
	if got := b.engine.requests()[0].Seed; got != 7 {
		t.Errorf("made with seed %d, 7 was typed", got)
	}
}

func TestSeedField(t *testing.T) {
	b := newBench(t, nil)
	for typed, want := range map[string]string{"7": "7", "−1": "-1", "18446744073709551615": "18446744073709551615", "18446744073709551616": "-1", "-2": "-1", "x": "-1", "": "-1", " 12 ": "12"} {
		b.form.setSeed("-1")
		b.form.seed.OnCommit(typed)
		if got := b.form.parameters().Seed; got != want || b.form.seed.Text() != want {
			t.Errorf("typed %q: %q, shown %q; want %q", typed, got, b.form.seed.Text(), want)
		}
	}
	b.form.setSeed("0")
	b.form.seed.OnStep(-1)
	b.form.seed.OnStep(1)
	if got := b.form.parameters().Seed; got != "1" {
		t.Errorf("stepped to %q", got)
	}
	if a, c := request(settings.Parameters{Seed: "-1"}), request(settings.Parameters{Seed: "-1"}); a.Seed == c.Seed {
		t.Error("−1 drew the same seed twice")
	}
	if r := request(settings.Parameters{Seed: "18446744073709551615"}); r.Seed != 1<<64-1 {
		t.Errorf("largest seed became %d", r.Seed)
	}
}

func TestHistoryAndMemory(t *testing.T) {
	b := newBench(t, func(s *settings.Settings) {
		s.History = []string{"old", "newer"}
		s.Last = settings.Parameters{Prompt: "kept", Width: 320, Steps: 9, CFG: 5.5, Seed: "3", Model: "sticker", Sampler: "euler"}
	})
	if p := b.form.parameters(); p.Prompt != "kept" || p.Width != 320 || p.Height != 256 || p.Steps != 9 || p.CFG != 5.5 || p.Seed != "3" || p.Sampler != "euler" {
		t.Errorf("restored: %+v", p)
	}
	for _, want := range []struct {
		by   int
		text string
	}{{-1, "newer"}, {-1, "old"}, {-1, "old"}, {1, "newer"}, {1, "kept"}, {1, "kept"}} {
		if b.History(want.by); b.form.prompt.Text() != want.text {
			t.Errorf("by %d: %q, want %q", want.by, b.form.prompt.Text(), want.text)
		}
	}
	close(b.engine.steps)
	b.form.prompt.SetText("new")
	b.Generate(false)
	b.until("done", func() bool { return len(b.session.pictures) == 1 })
	if b.History(-1); b.form.prompt.Text() != "newer" {
		t.Errorf("after making a picture, the earlier prompt is %q", b.form.prompt.Text())
	}
	b.Leave()
	if got := b.store.Get(); got.Last.Prompt != "newer" || len(got.History) != 3 || got.History[2] != "new" {
		t.Errorf("kept %+v", got)
	}
}

func TestEmptyPromptIsAskedFor(t *testing.T) {
	b := newBench(t, nil)
	b.form.prompt.SetText("   ")
	b.Generate(false)
	if got := b.config.Tips.Shown(); !strings.Contains(got, "Write a few words") || !b.form.prompt.Focused() || !b.config.Queue.Idle() {
		t.Errorf("note %q, focused %v", got, b.form.prompt.Focused())
	}
}

// TestGeneratorsAskForLess picks a model of labels: what it can be asked for stands where one writes, its examples are its own, and an empty
// prompt will do.
func TestGeneratorsAskForLess(t *testing.T) {
	b := newBench(t, nil)
	close(b.engine.steps)
	b.engine.models = append(b.engine.models, pipeline.ModelInfo{Name: "palette", Kind: pipeline.KindGenerator, Width: 256, Height: 256, MinSize: 4, MaxSize: 2048,
		SizeStep: 4, Steps: 1, CFG: 1, Labels: []string{"pink", "teal"}, Examples: []string{"teal"}, Prompting: "A colour word", Free: true})
	b.EngineReady()
	f := b.form
	examples := func() (out []string) {
		for _, o := range b.stage.empty.Objects[0].(*fyne.Container).Objects {
			if button, ok := o.(*kit.Button); ok {
				out = append(out, button.Text)
			}
		}
		return out
	}
	if f.prompt.Placeholder() != anyPrompt || !f.presetRow.Visible() {
		t.Errorf("at first the prompt says %q", f.prompt.Placeholder())
	}
	for range 2 {
		f.model.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	}
	if got := examples(); !slices.Equal(got, []string{"teal"}) || f.prompt.Placeholder() != "A colour word" || f.presetRow.Visible() {
		t.Errorf("examples %q, the prompt says %q, shapes %v", got, f.prompt.Placeholder(), f.presetRow.Visible())
	}
	b.Generate(false)
	b.until("the picture", func() bool { return len(b.session.pictures) == 1 })
	if r := b.engine.requests()[0]; r.Prompt != "" {
		t.Errorf("asked for %q", r.Prompt)
	}
	if got := b.session.facts.Text; strings.Contains(got, "step") {
		t.Errorf("a picture of one step says %q", got)
	}
}

func TestExampleMakesAPicture(t *testing.T) {
	b := newBench(t, nil)
	close(b.engine.steps)
	column := b.stage.empty.Objects[0].(*fyne.Container)
	examples := 0
	var second *kit.Button
	for _, o := range column.Objects {
		if button, ok := o.(*kit.Button); ok {
			if examples++; examples == 2 {
				second = button
			}
		}
	}
	if examples != 3 {
		t.Fatalf("%d examples", examples)
	}
	test.Tap(second)
	b.until("the picture", func() bool { return len(b.session.pictures) == 1 })
	if got := b.session.pictures[0].request.Prompt; got != "two" {
		t.Errorf("made %q", got)
	}
}

func TestStripShowsOnlyWhatIsInSight(t *testing.T) {
	test.NewTempApp(t).Settings().SetTheme(kit.NewTheme("dark"))
	picked := -1
	s := newStrip(func(int) *image.RGBA { return nil }, func(i int) { picked = i })
	w := test.NewTempWindow(t, s)
	w.SetPadded(false)
	w.Resize(fyne.NewSize(200, 300))
	s.update(1000, 999)
	if n := len(s.tiles); n < 6 || n > 12 {
		t.Errorf("%d tiles for 1000 pictures", n)
	}
	first := s.tiles[999]
	if first == nil || first.Position() != (fyne.Position{}) || !first.selected {
		t.Fatalf("the newest is at the top: %+v", first)
	}
	test.Tap(s.tiles[998])
	if picked != 998 {
		t.Errorf("picked %d", picked)
	}
	s.update(1000, 3)
	s.show(3)
	if s.tiles[3] == nil || s.tiles[999] != nil || len(s.field.Objects) > 20 {
		t.Errorf("after scrolling: %d tiles, %d objects", len(s.tiles), len(s.field.Objects))
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{1400 * time.Millisecond: "1.4 s", 59 * time.Second: "59.0 s", 125 * time.Second: "2 min 05 s", 59900 * time.Millisecond: "1 min 00 s"} {
		if got := Seconds(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if got := describe(pipeline.Progress{Phase: "denoise", Step: 3, Steps: 12, Elapsed: 6 * time.Second}, 1); got != "Step 3 of 12 · 2.0 s/step" {
		t.Errorf("progress %q", got)
	}
	if got := describe(pipeline.Progress{Phase: "decode", Bytes: 1e6}, 1); got != "Decoding · 1 MB" {
		t.Errorf("progress %q", got)
	}
	for step, want := range map[int]string{0: "Picture 1 of 3 · Step 0 of 20", 20: "Picture 2 of 3 · Step 0 of 20", 45: "Picture 3 of 3 · Step 5 of 20", 60: "Picture 3 of 3 · Step 20 of 20"} {
		if got := describe(pipeline.Progress{Phase: "denoise", Step: step, Steps: 60}, 3); got != want {
			t.Errorf("step %d of the batch: %q", step, got)
		}
	}
	last := -1.0
	for _, p := range []pipeline.Progress{{Phase: "load"}, {Phase: "denoise", Steps: 4}, {Phase: "denoise", Step: 4, Steps: 4}, {Phase: "upscale"}, {Phase: "save"}} {
		if s := share(p); s <= last || s > 1 {
			t.Errorf("%s fills the meter to %v after %v", p.Phase, s, last)
		} else {
			last = s
		}
	}
	if got := kit.Sentence(errors.New("über alles")); got != "Über alles." {
		t.Errorf("sentence %q", got)
	}
}
