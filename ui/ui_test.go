package ui

import (
	"context"
	"image"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"

	"atelier/app/library"
	"atelier/app/modelstore"
	"atelier/app/settings"
	"atelier/app/training"
	"atelier/models/pipeline"
	"atelier/ui/kit"
)

// engine is a studio that a test gets ready when it wants to.
type engine struct {
	ready   chan struct{}
	running chan struct{} // gets a token when a job starts
	runs    string        // folder of trainings

	mu     sync.Mutex
	status DeviceStatus
}

func (e *engine) Ready() <-chan struct{} { return e.ready }
func (e *engine) Models() []pipeline.ModelInfo {
	return []pipeline.ModelInfo{{Name: "sticker", Width: 64, Height: 64, Steps: 2, CFG: 4, Sampler: "ddim", Schedule: "normal"}}
}
func (e *engine) Samplers() []Named           { return []Named{{ID: "ddim", Label: "DDIM"}} }
func (e *engine) Schedules() []Named          { return []Named{{ID: "normal", Label: "Normal"}} }
func (e *engine) SchedulesFor(string) []Named { return e.Schedules() }
func (e *engine) Device() DeviceStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status
}

func (e *engine) OpenModel(context.Context, string) (pipeline.ModelInfo, error) {
	return e.Models()[0], nil
}
func (e *engine) Adapters() []Named             { return nil }
func (e *engine) SetEntries([]modelstore.Entry) {}
func (e *engine) NameOf(string) (string, bool)  { return "", false }
func (e *engine) ControlNets() []ControlNet     { return nil }
func (e *engine) VAEs(string) []Named           { return nil }
func (e *engine) Upscalers() []Named            { return nil }
func (e *engine) TrainingFolder() string        { return e.runs }
func (e *engine) Bases() []Named                { return []Named{{ID: "sticker", Label: "sticker"}} }
func (e *engine) Train(ctx context.Context, _ *training.Run, _ func(training.Event)) (*training.Outcome, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (e *engine) Adopt(context.Context, *training.Outcome) (Use, error) {
	return Use{Words: "<lora:x:1>"}, nil
}

func (e *engine) Generate(ctx context.Context, model string, r pipeline.Request, _ func(pipeline.Progress)) (*pipeline.Result, error) {
	select {
	case <-e.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e.running <- struct{}{}
	if r.Prompt == "wait" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &pipeline.Result{Request: r, Model: model, Images: []*image.NRGBA{image.NewNRGBA(image.Rect(0, 0, r.Width, r.Height))}, Seeds: []uint64{r.Seed}}, nil
}

type bench struct {
	*shell
	t      *testing.T
	engine *engine
	store  *settings.Store
	path   string
	main   chan func()
	closed chan struct{}
	beats  chan time.Duration
}

func newBench(t *testing.T) *bench {
	t.Helper()
	a := test.NewTempApp(t)
	a.Settings().SetTheme(kit.NewTheme("dark"))
	b := &bench{t: t, path: filepath.Join(t.TempDir(), "settings.json"), main: make(chan func(), 100000), closed: make(chan struct{}),
		beats:  make(chan time.Duration, 100000),
		engine: &engine{runs: t.TempDir(), ready: make(chan struct{}), running: make(chan struct{}, 10), status: DeviceStatus{Name: "OpenGL 4.5 llvmpipe", Health: "checked", OK: true, UsedBytes: 38e6, TotalBytes: 2e9}}}
	b.store = settings.Open(b.path)
	home := t.TempDir()
	store, err := modelstore.Open(modelstore.Options{Config: filepath.Join(home, "models.json"), Cache: filepath.Join(home, "cache.json"), Home: home})
	if err == nil {
		err = store.SetOwn(filepath.Join(home, "models"))
	}
	if err != nil {
		t.Fatal(err)
	}
	b.shell = newShell(a, Options{Studio: b.engine, Trainer: b.engine, Models: store, Settings: b.store, Library: library.New(t.TempDir()), Version: "atelier 1",
		Close: func() { close(b.closed) }, Heartbeat: func(d time.Duration) { b.beats <- d }}, func(f func()) { b.main <- f })
	b.window.Resize(fyne.NewSize(1280, 800))
	t.Cleanup(func() {
		b.leave()
		<-b.closed
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
		case <-deadline:
			b.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (b *bench) shortcut(mod fyne.KeyModifier, name fyne.KeyName) {
	b.window.Canvas().(fyne.Shortcutable).TypedShortcut(&desktop.CustomShortcut{KeyName: name, Modifier: mod})
}

func (b *bench) typed(name fyne.KeyName) {
	b.window.Canvas().OnTypedKey()(&fyne.KeyEvent{Name: name})
}

func TestStatusFollowsTheEngine(t *testing.T) {
	b := newBench(t)
	if got := b.status.device.Text; got != "Starting engine…" {
		t.Errorf("before: %q", got)
	}
	close(b.engine.ready)
	b.until("the device", func() bool {
		return b.status.device.Text == "OpenGL 4.5 llvmpipe · checked · 38 MB of 2.0 GB"
	})
	b.engine.mu.Lock()
	b.engine.status = DeviceStatus{Name: "Host", Health: "no OpenGL 4.3", UsedBytes: 5e6}
	b.engine.mu.Unlock()
	b.until("the change", func() bool { return b.status.device.Text == "Host · no OpenGL 4.3 · 5 MB" })
	if !strings.HasSuffix(b.settings.effect.Text, "Running now: OpenGL 4.5 llvmpipe.") {
		t.Errorf("settings say %q", b.settings.effect.Text)
	}
}

func TestGenerateBeforeReadyWaits(t *testing.T) {
	b := newBench(t)
	focus := firstEntry(b.places[0].content)
	test.Type(focus, "a fox")
	focus.(fyne.Shortcutable).TypedShortcut(&desktop.CustomShortcut{KeyName: fyne.KeyReturn, Modifier: fyne.KeyModifierControl})
	time.Sleep(50 * time.Millisecond)
	if b.queue.Idle() || len(b.engine.running) != 0 {
		t.Error("the job waits for the engine")
	}
	close(b.engine.ready)
	b.until("the picture", func() bool { return strings.HasPrefix(b.status.saved.Text, "Saved as ") })
	path := strings.TrimPrefix(b.status.saved.Text, "Saved as ")
	p, err := library.ReadParameters(path)
	if err != nil || p.Prompt != "a fox" || p.Fields["Sampler"] != "DDIM" || p.Fields["Schedule type"] != "Normal" || p.Fields["Version"] != "atelier 1" {
		t.Errorf("%s says %+v, %v", path, p, err)
	}
}

// firstEntry finds the prompt: the first thing in the tree that takes text.
func firstEntry(o fyne.CanvasObject) fyne.Focusable {
	type texty interface {
		fyne.Focusable
		fyne.Shortcutable
		fyne.Tabbable
	}
	if e, ok := o.(texty); ok {
		return e
	}
	var children []fyne.CanvasObject
	switch c := o.(type) {
	case *fyne.Container:
		children = c.Objects
	case fyne.Widget:
		children = test.WidgetRenderer(c).Objects()
	}
	for _, child := range children {
		if found := firstEntry(child); found != nil {
			return found
		}
	}
	return nil
}

func TestPlacesAndKeys(t *testing.T) {
	b := newBench(t)
	const ctrl, alt = fyne.KeyModifierShortcutDefault, fyne.KeyModifierAlt
	visible := func() (image, settings bool) {
		return b.places[0].content.Visible(), b.places[len(b.places)-1].content.Visible()
	}
	if i, s := visible(); !i || s {
		t.Errorf("start: image %v, settings %v", i, s)
	}
	b.shortcut(ctrl, fyne.KeyComma)
	if i, s := visible(); i || !s {
		t.Errorf("Ctrl+,: image %v, settings %v", i, s)
	}
	b.typed(fyne.KeyEscape)
	if i, s := visible(); !i || s {
		t.Errorf("Esc: image %v, settings %v", i, s)
	}
	test.Tap(b.places[len(b.places)-1].button)
	b.shortcut(alt, fyne.Key1)
	if i, s := visible(); !i || s {
		t.Errorf("Alt+1: image %v, settings %v", i, s)
	}
	b.shortcut(ctrl, fyne.KeyB)
	if !b.store.Get().Window.SessionHidden {
		t.Error("Ctrl+B hides the session and remembers it")
	}
}

func TestEveryWorkspaceHasItsKeys(t *testing.T) {
	b := newBench(t)
	const ctrl, alt = fyne.KeyModifierShortcutDefault, fyne.KeyModifierAlt
	for i, key := range []fyne.KeyName{fyne.Key1, fyne.Key2, fyne.Key3} {
		b.shortcut(alt, key)
		for k, p := range b.places {
			if p.content.Visible() != (k == i) || p.bar.Visible() != (k == i) {
				t.Errorf("Alt+%d: %s visible %v", i+1, p.name, p.content.Visible())
			}
		}
	}
	b.shortcut(ctrl, fyne.KeyF)
	if got := b.window.Canvas().Focused(); got == nil {
		t.Error("Ctrl+F puts the caret into the search")
	}
	b.open(trainPlace)
	b.shortcut(ctrl, fyne.KeyReturn)
	if text := b.tips.Shown(); !strings.Contains(text, "Choose the pictures first") {
		t.Errorf("Ctrl+Enter without pictures says %q", text)
	}
	if !b.queue.Idle() {
		t.Error("Ctrl+Enter in Train makes no picture")
	}
}

func TestEscClosesADialogAndNothingBelow(t *testing.T) {
	b := newBench(t)
	did := false
	b.open(modelsPlace)
	b.confirm("Delete it?", "This cannot be undone.", "Delete", func() { did = true })
	if b.window.Canvas().Overlays().Top() == nil {
		t.Fatal("nothing is asked")
	}
	b.typed(fyne.KeyEscape)
	if b.window.Canvas().Overlays().Top() != nil || did {
		t.Errorf("Esc leaves the question, or answers it with yes: %v", did)
	}
	b.typed(fyne.KeyEscape)
	if b.current != modelsPlace {
		t.Errorf("Esc went on to place %d", b.current)
	}
}

func TestWhatIsDroppedGoesWhereItBelongs(t *testing.T) {
	b := newBench(t)
	folder := t.TempDir()
	b.dropped(fyne.Position{}, []string{folder})
	b.until("the refusal of an empty folder", func() bool { return b.current == trainPlace })
	b.dropped(fyne.Position{}, []string{filepath.Join(folder, "model.safetensors")})
	if b.current != modelsPlace {
		t.Errorf("a model file is dropped on place %d", b.current)
	}
}

func TestUseGoesToTheImageWorkspace(t *testing.T) {
	b := newBench(t)
	b.open(trainPlace)
	b.use(Use{Words: "<lora:x:1>"})
	b.use(Use{Words: "<lora:x:1>"})
	e := firstEntry(b.places[imagePlace].content).(interface {
		fyne.Shortcutable
		SelectedText() string
	})
	e.TypedShortcut(&fyne.ShortcutSelectAll{})
	if got := e.SelectedText(); b.current != imagePlace || got != "<lora:x:1>" {
		t.Errorf("place %d, prompt %q", b.current, got)
	}
}

func TestSettingsPanelChangesAndRemembers(t *testing.T) {
	b := newBench(t)
	p := b.settings
	test.Tap(p.themes.buttons[1])
	if b.store.Get().Theme != settings.ThemeLight || !p.themes.buttons[1].Selected || p.themes.buttons[0].Selected {
		t.Errorf("theme %q", b.store.Get().Theme)
	}
	if got := b.app.Settings().Theme(); got != kit.NewTheme("light") {
		t.Errorf("window uses %+v", got)
	}
	test.Tap(p.devices.buttons[2])
	if b.store.Get().Device != settings.DeviceHost {
		t.Errorf("device %q", b.store.Get().Device)
	}
	folder := filepath.Join(t.TempDir(), "new", "pictures")
	p.setFolder(folder)
	b.until("the folder", func() bool { return b.options.Library.Root() == folder })
	if b.store.Get().OutputFolder != folder || p.folder.Text() != folder {
		t.Errorf("kept %q, shown %q", b.store.Get().OutputFolder, p.folder.Text())
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o644)
	p.setFolder(filepath.Join(file, "sub"))
	b.until("the refusal", func() bool { return strings.Contains(p.problem.Text, "a file is in the way") })
	p.setFolder("relative")
	if !strings.Contains(p.problem.Text, "whole path") || b.options.Library.Root() != folder {
		t.Errorf("relative: %q, root %q", p.problem.Text, b.options.Library.Root())
	}
}

func TestLeaveCancelsWritesAndCloses(t *testing.T) {
	b := newBench(t)
	close(b.engine.ready)
	entry := firstEntry(b.places[0].content)
	test.Type(entry, "wait")
	b.shortcut(fyne.KeyModifierShortcutDefault, fyne.KeyReturn)
	<-b.engine.running
	b.leave()
	b.leave() // a second time does nothing
	select {
	case <-b.closed:
	case <-time.After(5 * time.Second):
		t.Fatal("the engine was not closed")
	}
	if !b.queue.Idle() {
		t.Error("a job still runs after the engine was closed")
	}
	again := settings.Open(b.path)
	defer again.Close()
	if got := again.Get(); got.Last.Prompt != "wait" || got.Window.Width != b.window.Canvas().Size().Width {
		t.Errorf("written: prompt %q, width %v", got.Last.Prompt, got.Window.Width)
	}
}

func TestHeartbeatMeasuresWaiting(t *testing.T) {
	b := newBench(t)
	deadline := time.Now().Add(5 * time.Second)
	slow := false
	for !slow && time.Now().Before(deadline) {
		select {
		case f := <-b.main:
			time.Sleep(30 * time.Millisecond) // the main thread is busy
			f()
		case d := <-b.beats:
			slow = d >= 30*time.Millisecond
		}
	}
	if !slow {
		t.Error("no sample shows that the main thread was busy for 30 ms")
	}
}

func TestWhatIsHiddenKeepsNoFocus(t *testing.T) {
	b := newBench(t)
	b.open(len(b.places) - 1)
	b.settings.folder.Focus()
	if !b.settings.folder.Focused() {
		t.Fatal("the folder's field does not take the focus")
	}
	b.typed(fyne.KeyEscape)
	if b.current != 0 || b.settings.folder.Focused() || b.window.Canvas().Focused() != nil {
		t.Errorf("place %d, the focus is on %T", b.current, b.window.Canvas().Focused())
	}
}

func TestStatusBarSharesItsWidth(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("a long story ", 30)
	for _, c := range []struct {
		device, saved string
		whole         bool // the device's text is not shortened
	}{{"short", "", true}, {"short", long, true}, {long, "", false}, {long, "Saved as /a.png", false}, {long, long, false}} {
		b.status.set(DeviceStatus{Name: c.device, OK: true})
		b.status.say(c.saved)
		device, saved := b.status.device, b.status.saved
		end := device.Position().X + device.Size().Width
		if c.saved != "" {
			end += kit.Wide
			if saved.Position().X < end-1 || saved.Position().X+saved.Size().Width > 1280-2*kit.Wide+1 {
				t.Errorf("%.10s, %.10s: device ends at %v, file is at %v, %v wide", c.device, c.saved, end, saved.Position().X, saved.Size().Width)
			}
		}
		if got := device.Size().Width+0.5 >= kit.TextWidth(c.device, kit.Caption); end > 1280-2*kit.Wide+1 || got != c.whole {
			t.Errorf("%.10s, %.10s: device ends at %v, whole %v", c.device, c.saved, end, got)
		}
	}
}
