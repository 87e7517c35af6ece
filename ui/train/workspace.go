// Package train is the workspace in which models are trained: pictures in, a LoRA or a small model out.
package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"fyne.io/fyne/v2"

	"atelier/app/dataset"
	"atelier/app/settings"
	"atelier/app/training"
	"atelier/render/canvas"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// Config is what the workspace works with.
type Config struct {
	Post       func(func()) // runs a function on the main thread, later
	Tips       *kit.Tips
	Trainer    studio.Trainer
	Settings   *settings.Store
	Browse     func(start string, done func(folder string))
	BrowseFile func(start string, endings []string, done func(path string))
	Open       func(path string) error // shows a folder or a page by the system's own means; called off the main thread
	Use        func(studio.Use)        // takes what was made to the image workspace
}

// sitting is a run while it is being trained.
type sitting struct {
	view   *view
	run    *training.Run // nil until its folder is made
	cancel context.CancelFunc
	began  time.Time
}

// Workspace is the training workspace. It is used on the main thread only.
type Workspace struct {
	config  Config
	form    *form
	stage   *stage
	runs    *runs
	columns *kit.Columns
	button  *kit.Button
	pause   *kit.Button

	look     *look // of the chosen pictures; nil before, and where they cannot be used
	looking  context.CancelFunc
	turn     int // counts looks; the word of an older one is ignored
	live     *sitting
	shown    *view
	drawn    any            // the augmentation of the sheet
	trainers sync.WaitGroup // goroutines that a run may still write from
}

// New builds the workspace.
func New(config Config) *Workspace {
	w := &Workspace{config: config}
	saved := config.Settings.Get()
	w.form = newForm(config.Tips, config.Trainer.Bases(), w.chooseFolder, w.chooseFile)
	w.form.onPath, w.form.onChanged = w.typedPath, w.recipeChanged
	w.stage = newStage(config.Post, config.Tips, w.chooseFolder, w.chooseFile, w.TogglePanel)
	w.stage.recipe.editor.OnChanged = w.recipeTyped
	w.stage.training.result.use.OnTapped = func() { w.use(w.shown) }
	w.stage.training.result.report.OnTapped = func() { w.openReport(w.shown.outcome) }
	w.stage.training.result.folder.OnTapped = func() { w.open(w.shown.folder) }
	w.runs = newRuns(config.Tips, actions{
		resume: w.resume, again: w.again, report: w.report, use: w.useRun,
		folder: func(i training.Info) { w.open(i.Folder) }, openAll: func() { w.open(config.Trainer.TrainingFolder()) },
	})
	w.runs.onSelect = w.showRun
	w.button = kit.NewButton(config.Tips, "", kit.Primary, kit.Tip{}, nil)
	w.pause = kit.NewIconButton(config.Tips, kit.IconPause, kit.Tip{}, w.togglePause)
	w.button.Height, w.pause.Height = 38, 38
	foot := kit.Row(kit.Gap, 0, w.button, w.pause)
	left := kit.FormColumn("Train", w.form.scroller(), foot)
	w.columns = kit.NewColumns(left, w.stage.content, w.runs.content, saved.Window.ParameterColumn, saved.Window.SessionColumn)
	w.columns.HideRight(saved.Window.SessionHidden)
	w.columns.OnMoved = func(left, right float32) {
		config.Settings.Update(func(s *settings.Settings) { s.Window.ParameterColumn, s.Window.SessionColumn = left, right })
	}
	w.stage.panel.Bright = !saved.Window.SessionHidden
	w.stage.panel.Refresh()
	w.recipeChanged()
	w.List()
	return w
}

// Content is what the window shows for this workspace.
func (w *Workspace) Content() fyne.CanvasObject { return w.columns }

// EngineReady takes over what the engine knows now that it has started.
func (w *Workspace) EngineReady() { w.form.setBases(w.config.Trainer.Bases()) }

// chooseFolder and chooseFile let the person pick the pictures.
func (w *Workspace) chooseFolder() { w.config.Browse(w.place(), w.choosePath) }
func (w *Workspace) chooseFile()   { w.config.BrowseFile(w.place(), []string{".zip"}, w.choosePath) }

func (w *Workspace) place() string {
	if p := w.form.recipe.Data.Path; p != "" {
		return filepath.Dir(p)
	}
	home, _ := os.UserHomeDir()
	return home
}

// Drop takes what was dropped on the window: a folder or an archive of pictures, or pictures, whose folder is meant.
func (w *Workspace) Drop(paths []string) {
	if len(paths) == 0 {
		return
	}
	path := paths[0]
	go func() { // the disk may be slow
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() && !strings.EqualFold(filepath.Ext(path), ".zip") {
			path = filepath.Dir(path)
		}
		w.config.Post(func() { w.choosePath(path) })
	}()
}

func (w *Workspace) typedPath(text string) {
	text = strings.TrimSpace(text)
	if text == "" || text == w.form.recipe.Data.Path {
		w.form.show()
		return
	}
	path, err := kit.WholePath(text)
	if err != nil {
		w.config.Tips.Note(w.form.path, kit.Sentence(err))
		w.form.show()
		return
	}
	w.choosePath(path)
}

// choosePath takes a set of pictures and looks at it in the background.
func (w *Workspace) choosePath(path string) {
	w.form.setPath(path)
	w.stage.open(pagePictures)
	w.lookAnew()
}

// lookAnew looks at the recipe's pictures.
func (w *Workspace) lookAnew() {
	recipe := w.form.recipe
	w.look = nil
	w.stage.pictures.looking(recipe.Data.Path)
	w.startLook(recipe.Data.Path, func(ctx context.Context, progress func(dataset.Step, int, int)) (*look, error) {
		return lookAt(ctx, recipe.Data.Path, recipe, progress)
	})
}

// startLook looks at pictures off the main thread; an earlier look is given up.
func (w *Workspace) startLook(path string, see func(ctx context.Context, progress func(step dataset.Step, done, total int)) (*look, error)) {
	if w.looking != nil {
		w.looking()
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.looking = cancel
	w.turn++
	turn, told := w.turn, time.Now()
	current := func() bool { return w.turn == turn }
	progress := func(step dataset.Step, done, total int) {
		if time.Since(told) < beat && done < total {
			return
		}
		told = time.Now()
		w.config.Post(func() {
			if current() && w.look == nil && w.live == nil {
				w.stage.meter.Set(float64(done) / float64(max(1, total)))
				w.stage.status.Set(strings.ToUpper(string(step[:1]))+string(step[1:])+" "+strconv.Itoa(done)+" of "+dataset.Count(total, "picture"), kit.Text)
			}
		})
	}
	recipe := w.form.recipe
	go func() {
		l, err := see(ctx, progress)
		cancel()
		w.config.Post(func() {
			if !current() {
				return
			}
			w.seen(path, recipe, l, err)
		})
	}()
}

func (w *Workspace) seen(path string, recipe training.Recipe, l *look, err error) {
	if w.live == nil {
		w.stage.meter.Clear()
		w.stage.status.Set("", kit.Secondary)
	}
	if err != nil {
		w.look = nil
		w.stage.pictures.failed(path, err)
		w.showButton()
		return
	}
	w.look = l
	w.stage.pictures.display(l)
	w.showButton()
	if augmentation(recipe) != augmentation(w.form.recipe) { // it was changed meanwhile
		w.redraw()
	}
}

// augmentation is what the sheet of a recipe depends on.
func augmentation(r training.Recipe) any {
	return struct {
		a    training.Augment
		w, h int
		crop string
	}{r.Data.Augment, r.Data.Width, r.Data.Height, r.Data.Crop}
}

// redraw makes the sheet anew after the augmentation was changed.
func (w *Workspace) redraw() {
	was, recipe := *w.look, w.form.recipe
	w.startLook(was.path, func(ctx context.Context, _ func(dataset.Step, int, int)) (*look, error) {
		sheet, err := sheetFor(ctx, &was, recipe)
		return &look{path: was.path, report: was.report, sheet: sheet}, err
	})
}

// recipeChanged follows a change by the form's controls.
func (w *Workspace) recipeChanged() {
	w.stage.recipe.set(w.form.recipe.Text(), w.form.problem)
	w.recipeSettled()
}

// recipeTyped follows a change of the recipe's text.
func (w *Workspace) recipeTyped(text string) {
	if w.stage.recipe.loading {
		return
	}
	before := w.form.recipe
	err := w.form.write(text)
	w.stage.recipe.judge(err)
	if err == nil && w.form.recipe.Data.Path != before.Data.Path {
		w.lookAnew()
		w.showButton()
		return
	}
	w.recipeSettled()
}

func (w *Workspace) recipeSettled() {
	w.showButton()
	now := augmentation(w.form.recipe)
	if w.look != nil && w.look.path == w.form.recipe.Data.Path && w.drawn != now {
		w.redraw()
	}
	w.drawn = now
}

// obstacle says why training cannot start; empty where it can.
func (w *Workspace) obstacle() string {
	switch {
	case w.form.recipe.Data.Path == "":
		return "Choose the pictures first: a folder or a zip archive."
	case w.form.problem != nil:
		return kit.Sentence(w.form.problem)
	case w.look != nil && w.look.path == w.form.recipe.Data.Path && w.look.report.Usable == 0:
		return "None of the pictures can be used; see what is wrong with them."
	}
	return ""
}

// showButton brings the main button and the one beside it up to date.
func (w *Workspace) showButton() {
	b, p := w.button, w.pause
	if w.live != nil {
		b.Text, b.Hint, b.Style, b.OnTapped = "Cancel", "Esc", kit.Stop, func() { w.Cancel() }
		b.SetTip(kit.Tip{Name: "Cancel", Key: "Esc", Text: "Stop the training and save it, so that it can go on later."})
		b.SetEnabled(w.live.view.state != ending)
		p.Show()
		p.Icon = kit.IconPause
		p.SetTip(kit.Tip{Name: "Pause", Text: "Wait after the step that is being made, with everything saved."})
		if s := w.live.view.state; s == paused || s == pausing {
			p.Icon = kit.IconPlay
			p.SetTip(kit.Tip{Name: "Go on", Text: "End the pause."})
		}
		p.SetEnabled(w.live.run != nil && w.live.view.state != ending)
		p.Refresh()
	} else {
		b.Text, b.Hint, b.Style, b.OnTapped = "Train", "Ctrl+Enter", kit.Primary, w.Start
		text := w.obstacle()
		b.SetEnabled(text == "")
		if text == "" {
			text = "Begin the training. It can be paused and stopped at any time, and pictures can be made meanwhile."
		}
		b.SetTip(kit.Tip{Name: "Train", Key: "Ctrl+Enter", Text: text})
		p.Hide()
	}
	b.Refresh()
}

// Start begins to train what the form says.
func (w *Workspace) Start() {
	kit.CommitFocused(w.config.Tips)
	if w.live != nil {
		return
	}
	if text := w.obstacle(); text != "" {
		w.config.Tips.Note(w.button, text)
		return
	}
	recipe, root := w.form.recipe, w.config.Trainer.TrainingFolder()
	v := &view{name: recipe.Name, kind: recipe.Kind}
	w.sit(v, func() (*training.Run, error) { return create(root, recipe) })
}

// create makes a folder for a run, of its name or, where that is taken, of its name and a number.
func create(root string, r training.Recipe) (*training.Run, error) {
	const most = 1000
	for i := 1; ; i++ {
		folder := filepath.Join(root, r.Name)
		if i > 1 {
			folder += "-" + strconv.Itoa(i)
		}
		if _, err := os.Lstat(folder); err == nil && i < most {
			continue
		}
		return training.Create(folder, r)
	}
}

// sit trains a run that begin gives, off the main thread.
func (w *Workspace) sit(v *view, begin func() (*training.Run, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sitting{view: v, cancel: cancel, began: time.Now()}
	w.live = s
	v.state, v.busy, v.problem, v.outcome, v.warnings = starting, "", "", nil, nil
	w.stage.notice.Dismiss()
	w.stage.open(pageTraining)
	w.show(v)
	w.showButton()
	f := &feed{post: w.config.Post, take: func(events []training.Event) { w.hear(v, events) }}
	w.trainers.Go(func() {
		defer cancel()
		run, err := begin()
		if err != nil {
			w.config.Post(func() { w.ended(s, nil, err) })
			return
		}
		w.config.Post(func() {
			s.run, v.folder = run, run.Folder
			w.runs.live = run.Folder
			w.List()
			w.showButton()
		})
		o, err := w.config.Trainer.Train(ctx, run, f.add)
		w.config.Post(func() {
			f.drain()
			w.ended(s, o, err)
		})
	})
}

// hear takes a run's events in.
func (w *Workspace) hear(v *view, events []training.Event) {
	before, shots, warnings := v.state, len(v.shots), len(v.warnings)
	for _, e := range events {
		if s := v.hear(e); s != nil {
			w.loadShot(v, s)
		}
	}
	if v.state != before && w.live != nil && w.live.view == v {
		w.showButton()
	}
	w.runs.update(v)
	if w.shown != v {
		return
	}
	w.bar(v)
	w.stage.training.curves(v)
	if len(v.shots) != shots || len(v.warnings) != warnings {
		w.stage.training.samples.set(v.shots)
		w.stage.training.settle(v)
	}
}

// bar shows how far a run is.
func (w *Workspace) bar(v *view) {
	if v.last.Steps > 0 && v.state != finished && v.state != failed {
		w.stage.meter.Set(float64(v.last.Step) / float64(v.last.Steps))
	} else {
		w.stage.meter.Clear()
	}
	w.stage.status.Set(describe(v), kit.Text)
	w.stage.title.Set(v.name+" · "+kindLabel(v.kind), kit.Secondary)
}

func (w *Workspace) loadShot(v *view, s *shot) {
	path := s.path
	if !filepath.IsAbs(path) {
		path = filepath.Join(v.folder, path)
	}
	back := kit.Backdrop(samplePixels / 12)
	go func() {
		picture, err := loadShot(path)
		if err != nil {
			return // the tile stays empty; the folder is the person's
		}
		thumb := canvas.Thumbnail(picture, samplePixels, samplePixels, back)
		w.config.Post(func() {
			s.picture, s.thumb = picture, thumb
			if w.shown == v {
				w.stage.training.samples.set(v.shots)
			}
		})
	}()
}

// Repaint makes the samples' small pictures again after a change of theme.
func (w *Workspace) Repaint() {
	if w.shown != nil {
		for _, s := range w.shown.shots {
			w.loadShot(w.shown, s)
		}
	}
}

// ended takes in how a sitting ended.
func (w *Workspace) ended(s *sitting, o *training.Outcome, err error) {
	v := s.view
	w.live, w.runs.live = nil, ""
	v.waiting, v.busy, v.ended = "", "", time.Since(s.began)
	switch {
	case err == nil:
		v.state, v.outcome = finished, o
	case errors.Is(err, context.Canceled):
		v.state = cancelled
	default:
		v.state, v.problem = failed, kit.Sentence(err)
		w.stage.tell(true, v.problem, "", nil)
	}
	w.showButton()
	w.runs.set(w.runs.all, w.shown.folder) // at once, as nothing runs any more; the list itself is read anew
	w.List()
	if w.shown == v {
		w.bar(v)
		w.stage.training.settle(v)
	}
}

// Cancel stops the training that goes on; it tells whether there was one.
func (w *Workspace) Cancel() bool {
	if w.live == nil || w.live.view.state == ending {
		return false
	}
	w.live.view.state = ending
	w.live.cancel()
	w.showButton()
	if w.shown == w.live.view {
		w.bar(w.shown)
	}
	return true
}

func (w *Workspace) togglePause() {
	if w.live == nil || w.live.run == nil {
		return
	}
	v := w.live.view
	if w.live.run.Paused() {
		w.live.run.Resume()
		v.state = running
	} else {
		w.live.run.Pause()
		v.state = pausing
	}
	w.showButton()
	if w.shown == v {
		w.bar(v)
	}
}

// Escape stops or closes the nearest thing; it tells whether there was one.
func (w *Workspace) Escape() bool {
	switch {
	case w.stage.page == pageTraining && w.stage.training.close():
		w.stage.training.page.Refresh()
	case w.Cancel():
	case w.stage.notice.Visible():
		w.stage.notice.Dismiss()
	default:
		return false
	}
	return true
}

// TogglePanel shows or hides the list of runs.
func (w *Workspace) TogglePanel() {
	hidden := !w.columns.RightHidden()
	w.columns.HideRight(hidden)
	w.stage.panel.Bright = !hidden
	w.stage.panel.Refresh()
	w.config.Settings.Update(func(s *settings.Settings) { s.Window.SessionHidden = hidden })
}

// tell shows what went wrong.
func (w *Workspace) tell(err error) { w.stage.tell(true, kit.Sentence(err), "", nil) }

// Leave stops the training that goes on; Wait returns when it is saved.
func (w *Workspace) Leave() {
	if w.looking != nil {
		w.looking()
	}
	if w.live != nil {
		w.live.cancel()
	}
}

// Wait returns when no training runs any more, or ctx ends. It runs off the main thread, after Leave.
func (w *Workspace) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.trainers.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("the training did not stop in time; it goes on from its last save")
	}
}
