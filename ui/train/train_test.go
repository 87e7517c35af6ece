package train

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"

	"atelier/app/settings"
	"atelier/app/training"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// trainer goes step by step as the test says.
type trainer struct {
	root   string
	events chan training.Event // what the run says next; closed: it ends
	end    error               // how it ends; nil is well
	mu     sync.Mutex
	runs   []*training.Run
}

func (e *trainer) TrainingFolder() string { return e.root }
func (e *trainer) Bases() []studio.Named {
	return []studio.Named{{ID: "sticker", Label: "sticker"}, {ID: "/models/other", Label: "other"}}
}

func (e *trainer) Train(ctx context.Context, run *training.Run, say func(training.Event)) (*training.Outcome, error) {
	e.mu.Lock()
	e.runs = append(e.runs, run)
	e.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case ev, ok := <-e.events:
			if !ok {
				if e.end != nil {
					return nil, e.end
				}
				return &training.Outcome{Kind: run.Recipe.Kind, Name: run.Recipe.Name, Steps: 600, Validation: 0.125, BestStep: 540,
					Product: filepath.Join(run.Folder, run.Recipe.Name+".safetensors"), Report: filepath.Join(run.Folder, "report.html")}, nil
			}
			say(ev)
		}
	}
}

func (e *trainer) Adopt(_ context.Context, o *training.Outcome) (studio.Use, error) {
	if o.Kind == "autoencoder" {
		return studio.Use{}, errors.New("an autoencoder makes no pictures by itself")
	}
	return studio.Use{Words: o.Name + " <lora:" + o.Name + ":1>"}, nil
}

func (e *trainer) last() *training.Run {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.runs) == 0 {
		return nil
	}
	return e.runs[len(e.runs)-1]
}

type bench struct {
	*Workspace
	t       *testing.T
	trainer *trainer
	main    chan func()
	used    studio.Use
	mu      sync.Mutex
	opened  []string
	browsed string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	test.NewTempApp(t).Settings().SetTheme(kit.NewTheme("dark"))
	b := &bench{t: t, main: make(chan func(), 100000), trainer: &trainer{root: filepath.Join(t.TempDir(), "training"), events: make(chan training.Event, 1000)}}
	store := settings.Open(filepath.Join(t.TempDir(), "settings.json"))
	post := func(f func()) { b.main <- f }
	tips := kit.NewTips(post)
	b.Workspace = New(Config{Post: post, Tips: tips, Trainer: b.trainer, Settings: store,
		Browse:     func(_ string, done func(string)) { done(b.browsed) },
		BrowseFile: func(_ string, _ []string, done func(string)) { done(b.browsed) },
		Open: func(path string) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.opened = append(b.opened, path)
			return nil
		},
		Use: func(u studio.Use) { b.used = u }})
	window := test.NewTempWindow(t, container.NewStack(b.Content(), tips.Layer))
	window.SetPadded(false)
	window.Resize(fyne.NewSize(1232, 774))
	t.Cleanup(func() {
		b.Leave()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := b.Wait(ctx); err != nil {
			t.Error(err)
		}
		store.Close()
	})
	return b
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case f := <-b.main:
			f()
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			b.t.Fatalf("waited in vain for %s; the bar says %q, the notice %q", what, b.stage.status.Text, b.stage.notice.Text())
		}
	}
}

// pictures makes a folder of n small pictures, with a copy and a broken one.
func pictures(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "My Style!")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		writePicture(t, filepath.Join(dir, fmt.Sprintf("red ball %02d.png", i)), i)
	}
	writePicture(t, filepath.Join(dir, "copy.png"), 0)
	if err := os.WriteFile(filepath.Join(dir, "broken.png"), []byte("\x89PNG\r\n\x1a\nnothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writePicture(t *testing.T, path string, seed int) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			v := uint8((x*(seed+3) + y*y*(seed%7+1)) % 256)
			img.SetNRGBA(x, y, color.NRGBA{200, v, uint8(seed * 9), 255})
		}
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
}

// TestThreeClicks chooses a folder, sees what is wrong with it, trains, watches and uses what was made.
func TestThreeClicks(t *testing.T) {
	b := newBench(t)
	if b.button.Enabled() || b.stage.page != pagePictures || !b.stage.pictures.empty.Visible() {
		t.Fatal("the workspace starts empty")
	}
	b.browsed = pictures(t, 5)
	b.chooseFolder()
	b.until("the look", func() bool { return b.look != nil })
	if got := b.look.headline(); got != "5 of 7 pictures can be used" {
		t.Errorf("headline %q", got)
	}
	if img := b.stage.pictures.still.Image(); img == nil || img.Bounds().Dx() < sheetColumns*sheetEdge {
		t.Errorf("the sheet is %v", img)
	}
	if r := b.form.recipe; r.Name != "My-Style" || r.Data.Trigger != "My-Style" || r.Kind != "lora" || !b.button.Enabled() {
		t.Errorf("recipe %+v, button %v, problem %v", r, b.button.Enabled(), b.form.problem)
	}
	test.Tap(b.button)
	b.until("the run", func() bool { return b.trainer.last() != nil && b.live != nil && b.live.run != nil })
	run := b.trainer.last()
	if run.Folder != filepath.Join(b.trainer.root, "My-Style") || b.button.Text != "Cancel" || b.stage.page != pageTraining {
		t.Errorf("folder %s, button %q", run.Folder, b.button.Text)
	}
	for i := 1; i <= 20; i++ {
		b.trainer.events <- training.Event{What: training.EventStep, Step: i, Steps: 600, Loss: 1 / float64(i), Rate: 1e-3, Speed: 3.14, Left: 125, Bytes: 412e6}
	}
	b.trainer.events <- training.Event{What: training.EventValidation, Step: 20, Steps: 600, Validation: 0.2}
	shot := filepath.Join(run.Folder, "samples", "step-000020-01.png")
	writePicture(t, shot, 3)
	b.trainer.events <- training.Event{What: training.EventSample, Step: 20, Steps: 600, Path: shot, Message: "a red ball"}
	b.trainer.events <- training.Event{What: training.EventWarning, Message: "the disk is nearly full"}
	v := b.shown
	b.until("the steps", func() bool { return len(v.loss) == 20 && len(v.shots) == 1 && v.shots[0].thumb != nil })
	if got := b.stage.status.Text; got != "Step 20 of 600 · 3.1 pictures/s · 2 min 05 s left · 412 MB" {
		t.Errorf("the bar says %q", got)
	}
	series := b.stage.training.loss.Series()
	if len(series) != 2 || series[0].Points[19].Y != 0.05 || series[1].Points[0] != (kit.Point{X: 20, Y: 0.2}) {
		t.Errorf("curves %+v", series)
	}
	if !b.stage.training.warning.content.Visible() || b.stage.training.warning.text.Text != "the disk is nearly full" {
		t.Errorf("warning %q", b.stage.training.warning.text.Text)
	}
	test.Tap(b.stage.training.samples.tiles[v.shots[0]])
	if b.stage.training.enlarged.Image() != v.shots[0].picture || !b.stage.training.enlarged.Visible() {
		t.Error("a tapped sample is shown large")
	}
	b.Escape()
	if b.stage.training.enlarged.Visible() || b.live == nil {
		t.Error("Esc closes the large sample first")
	}
	b.trainer.events <- training.Event{What: studio.EventWaiting, Message: "Waiting while a picture is made"}
	b.until("the wait", func() bool { return strings.Contains(b.stage.status.Text, "Waiting while a picture is made") })
	close(b.trainer.events)
	b.until("the end", func() bool { return b.live == nil })
	if got := b.stage.training.result; got.title.Text != "Made My-Style.safetensors" || !strings.HasPrefix(got.facts.Text, "600 steps · validation loss 0.125 at step 540 · ") {
		t.Errorf("result %q, %q", got.title.Text, got.facts.Text)
	}
	test.Tap(b.stage.training.result.use)
	b.until("the use", func() bool { return b.used.Words != "" })
	if b.used.Words != "My-Style <lora:My-Style:1>" {
		t.Errorf("used %+v", b.used)
	}
	test.Tap(b.stage.training.result.report)
	b.until("the report", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.opened) == 1 })
	if b.opened[0] != filepath.Join(run.Folder, "report.html") {
		t.Errorf("opened %v", b.opened)
	}
}

func TestPauseCancelAndGoOn(t *testing.T) {
	b := newBench(t)
	b.choosePath(pictures(t, 4))
	b.until("the look", func() bool { return b.look != nil })
	b.Start()
	b.until("the run", func() bool { return b.live != nil && b.live.run != nil })
	run, v := b.live.run, b.shown
	b.trainer.events <- training.Event{What: training.EventStep, Step: 7, Steps: 600, Loss: 0.5}
	b.until("a step", func() bool { return v.state == running })
	test.Tap(b.pause)
	if !run.Paused() || v.state != pausing || b.pause.Icon != kit.IconPlay {
		t.Errorf("paused %v, state %v", run.Paused(), v.state)
	}
	b.trainer.events <- training.Event{What: training.EventPaused, Step: 7}
	b.until("the pause", func() bool { return strings.HasPrefix(b.stage.status.Text, "Paused · Step 7 of 600") })
	test.Tap(b.pause)
	if run.Paused() || v.state != running {
		t.Errorf("paused %v, state %v", run.Paused(), v.state)
	}
	// What the run itself would have left in its log.
	log := fmt.Sprintln(`{"event":"step","step":7,"steps":600,"loss":0.5,"learning_rate":0.001}`)
	if err := os.WriteFile(filepath.Join(run.Folder, "log.jsonl"), []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	if !b.Escape() {
		t.Fatal("Esc stops the training")
	}
	b.until("the stop", func() bool { return b.live == nil })
	if got := b.stage.status.Text; got != "Stopped at step 7; it can go on" || b.button.Text != "Train" {
		t.Errorf("bar %q, button %q", got, b.button.Text)
	}
	b.until("the list", func() bool { i, ok := b.runs.chosen(); return ok && i.Step == 7 })
	if rows := b.runs.list.Rows(); len(rows) != 1 || !strings.HasPrefix(rows[0].Detail, "Stopped at step 7 of 600") || rows[0].Title != "My-Style" {
		t.Errorf("rows %+v", rows)
	}
	test.Tap(b.runs.resume)
	b.until("going on", func() bool { return b.live != nil && b.live.run != nil })
	if got := b.trainer.last(); got == run || got.Folder != run.Folder || len(b.shown.loss) != 1 {
		t.Errorf("went on in %s with %d points", got.Folder, len(b.shown.loss))
	}
	b.Escape()
	b.until("the stop", func() bool { return b.live == nil })
	b.Start()
	b.until("another run", func() bool { return b.live != nil && b.live.run != nil })
	if got := b.live.run.Folder; got != run.Folder+"-2" {
		t.Errorf("a second run of the name is in %s", got)
	}
	b.trainer.end = errors.New("the device ran out of memory; make the batch smaller")
	close(b.trainer.events)
	b.until("the failure", func() bool { return b.live == nil })
	if got := b.stage.notice.Text(); got != "The device ran out of memory; make the batch smaller." {
		t.Errorf("the notice says %q", got)
	}
}

func TestRecipeAndFormAreOne(t *testing.T) {
	b := newBench(t)
	b.choosePath(pictures(t, 3))
	b.until("the look", func() bool { return b.look != nil })
	b.form.steps.OnChanged(250)
	b.form.rate.OnCommit("5e-4")
	text := b.stage.recipe.editor.Text()
	for _, want := range []string{"steps = 250", "learning_rate = 0.0005", `kind = "lora"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the recipe lacks %q:\n%s", want, text)
		}
	}
	b.stage.recipe.editor.SetText(strings.Replace(text, "steps = 250", "steps = 99", 1))
	if got := b.form.steps.Value(); got != 99 || b.form.problem != nil {
		t.Errorf("the form shows %v steps, problem %v", got, b.form.problem)
	}
	b.stage.recipe.editor.SetText(strings.Replace(text, "steps = 250", "stepz = 99", 1))
	if got := b.stage.recipe.verdict.Text; !strings.Contains(got, "stepz") || b.stage.recipe.verdict.Role != kit.Loss || b.button.Enabled() {
		t.Errorf("the verdict is %q, the button %v", got, b.button.Enabled())
	}
	b.stage.recipe.editor.SetText(text)
	if !b.button.Enabled() || b.stage.recipe.verdict.Role != kit.Secondary {
		t.Errorf("a mended recipe holds: %q", b.stage.recipe.verdict.Text)
	}
	b.form.name.SetText("half a na")
	b.EngineReady()
	if got := b.form.name.Text(); got != "half a na" {
		t.Errorf("a longer list of models undid what was being typed: %q", got)
	}
	b.form.show()
	before := b.stage.pictures.still.Image()
	b.stage.recipe.editor.SetText(strings.Replace(text, "rotate = 0.0", "rotate = 30.0", 1))
	b.until("another sheet", func() bool { return b.stage.pictures.still.Image() != before })
	for i, k := range b.form.kinds {
		b.form.kind.OnChanged(i)
		if r := b.form.recipe; r.Kind != k.Name || b.form.problem != nil || r.Name != "My-Style" || b.form.rankRow.Visible() != (k.Name == "lora") {
			t.Errorf("%s: recipe %s %s, problem %v", k.Name, r.Kind, r.Name, b.form.problem)
		}
	}
}

func TestWhatCannotBeTrainedSaysWhy(t *testing.T) {
	b := newBench(t)
	b.Start()
	if got := b.config.Tips.Shown(); got != "Choose the pictures first: a folder or a zip archive." {
		t.Errorf("says %q", got)
	}
	b.typedPath("pictures")
	if got := b.config.Tips.Shown(); !strings.Contains(got, "whole path") {
		t.Errorf("says %q", got)
	}
	missing := filepath.Join(t.TempDir(), "nothing")
	b.typedPath(missing)
	b.until("the refusal", func() bool { return b.stage.pictures.head.Text == "These pictures cannot be used" })
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.png"), []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.typedPath(dir)
	b.until("the look", func() bool { return b.look != nil && b.look.path == dir })
	if b.button.Enabled() || b.look.headline() != "None of the 1 picture can be used" && b.look.headline() != "There is no picture in it" {
		t.Errorf("button %v, headline %q", b.button.Enabled(), b.look.headline())
	}
}

func TestArchivesAndDrops(t *testing.T) {
	b := newBench(t)
	dir := pictures(t, 3)
	archive := filepath.Join(t.TempDir(), "ink.zip")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for i := range 3 {
		name := fmt.Sprintf("red ball %02d.png", i)
		in, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out, _ := z.Create(name)
		io.Copy(out, in)
		in.Close()
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	b.Drop([]string{archive})
	b.until("the archive", func() bool { return b.look != nil })
	if b.look.report.Usable != 3 || b.form.recipe.Name != "ink" || b.form.recipe.Data.Path != archive {
		t.Errorf("%d usable, recipe %s of %s", b.look.report.Usable, b.form.recipe.Name, b.form.recipe.Data.Path)
	}
	b.Drop([]string{filepath.Join(dir, "red ball 01.png")})
	b.until("the picture's folder", func() bool { return b.look != nil && b.look.path == dir })
}
