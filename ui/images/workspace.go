// Package images is the image workspace: words in, pictures out.
package images

import (
	"context"
	"errors"
	"image"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fyne.io/fyne/v2"

	"atelier/app/job"
	"atelier/app/library"
	"atelier/app/settings"
	"atelier/models/pipeline"
	"atelier/render/canvas"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// Config is what the workspace works with.
type Config struct {
	Post       func(func()) // runs a function on the main thread, later
	Tips       *kit.Tips
	Studio     studio.Studio
	Queue      *job.Queue
	Settings   *settings.Store
	Library    *library.Library
	Meta       func(*pipeline.Result, int) library.Meta // what a finished picture's file says
	Browse     func(start string, done func(folder string))
	BrowseFile func(start string, endings []string, done func(path string))
	Open       func(folder string) error // shows a folder in the system's file manager; called off the main thread
	Saved      func(text string)         // a word about the last saved file, for the status bar
}

// Workspace is the image workspace. It is used on the main thread only.
type Workspace struct {
	config  Config
	form    *form
	stage   *stage
	session *session
	columns *kit.Columns
	button  *kit.Button
	running job.ID
	asked   map[job.ID]state // of the jobs that are not done
	follow  bool             // the canvas shows the running job, not a picture that was chosen since
	history int              // index into the prompt history; beyond the end: the draft
	draft   string
	content fyne.CanvasObject
}

// New builds the workspace from the settings.
func New(config Config) *Workspace {
	w := &Workspace{config: config, follow: true, asked: map[job.ID]state{}}
	saved := config.Settings.Get()
	w.form = newForm(config.Tips, config.Studio, saved.Window, w.lastSeed,
		brushActions{func() { w.Paint(false) }, func() { w.Paint(true) }, w.clearMask, w.pickMask})
	w.stage = newStage(config.Post, config.Tips, func() { config.Queue.CancelWaiting() }, w.TogglePanel)
	w.session = newSession(config.Tips, w.openFolder)
	w.session.onSelect = w.show
	w.session.onReuse = w.reuse
	w.session.onSave = w.saveAs
	w.session.onBrowse = config.Browse
	w.session.onLarger = w.upscale
	w.session.folder = config.Library.Folder
	w.form.onOpen = w.openModel
	w.wire(w.form.begin.from, w.began)
	for _, c := range w.form.controls.all {
		w.wire(c.picture, func(g *given) { w.form.act("", func() { c.picture.set(g) }) })
	}
	w.session.onStart = func(*made) { w.giveCanvas(w.form.begin.from) }
	w.form.onAdopt = func(m pipeline.ModelInfo) { w.stage.teach(m, w.try, config.Tips) }
	w.form.start(config.Studio.Models(), saved.Last)
	w.history = len(saved.History)
	w.rememberFolds()
	w.button = kit.NewButton(config.Tips, "", kit.Primary, kit.Tip{}, nil)
	w.button.Height = 38
	w.showButton(false)
	w.columns = kit.NewColumns(w.leftColumn(), w.stage.content, w.session.content, saved.Window.ParameterColumn, saved.Window.SessionColumn)
	w.columns.HideRight(saved.Window.SessionHidden)
	w.stage.panel.Bright = !saved.Window.SessionHidden
	w.stage.panel.Refresh()
	w.columns.OnMoved = func(left, right float32) {
		config.Settings.Update(func(s *settings.Settings) { s.Window.ParameterColumn, s.Window.SessionColumn = left, right })
	}
	w.content = w.columns
	return w
}

// rememberFolds keeps which sections of the form are open for the next start.
func (w *Workspace) rememberFolds() {
	keep := func(f *kit.Fold, store func(s *settings.Window, open bool)) {
		f.OnToggled = func(open bool) {
			w.config.Settings.Update(func(s *settings.Settings) { store(&s.Window, open) })
		}
	}
	keep(w.form.negativeFold, func(s *settings.Window, open bool) { s.NegativeOpen = open })
	keep(w.form.more, func(s *settings.Window, open bool) { s.MoreClosed = !open })
	keep(w.form.begin.fold, func(s *settings.Window, open bool) { s.MaskClosed = !open })
	keep(w.form.noise.fold, func(s *settings.Window, open bool) { s.NoiseOpen = open })
	keep(w.form.controls.fold, func(s *settings.Window, open bool) { s.ControlOpen = open })
}

// Content is what the window shows for this workspace.
func (w *Workspace) Content() fyne.CanvasObject { return w.content }

func (w *Workspace) leftColumn() fyne.CanvasObject {
	add := kit.NewButton(w.config.Tips, "", kit.Plain, kit.Tip{Name: "Add to the queue", Key: "Ctrl+Enter", Text: "Make another picture with these settings as soon as the running one is done."}, func() { w.Generate(false) })
	add.Icon, add.Height = kit.IconPlus, 38
	return kit.FormColumn("Image", w.form.scroller(), kit.Row(kit.Gap, 0, w.button, add))
}

// EngineReady takes over what the engine knows now that it has started.
func (w *Workspace) EngineReady() {
	w.form.start(w.config.Studio.Models(), w.form.wanted())
}

func (w *Workspace) showButton(running bool) {
	b := w.button
	if running {
		b.Text, b.Hint, b.Style, b.OnTapped = "Cancel", "Esc", kit.Stop, w.Cancel
		b.SetTip(kit.Tip{Name: "Cancel", Key: "Esc", Text: "Stop the running picture. Waiting ones go on."})
	} else {
		b.Text, b.Hint, b.Style, b.OnTapped = "Generate", "Ctrl+Enter", kit.Primary, func() { w.Generate(false) }
		b.SetTip(kit.Tip{Name: "Generate", Key: "Ctrl+Enter", Text: "Make the picture. While one is being made, Ctrl+Enter queues the next, Ctrl+Shift+Enter ahead of all others."})
	}
	b.Refresh()
}

// Generate queues a picture with what the form says; first puts it ahead of the others that wait.
func (w *Workspace) Generate(first bool) {
	kit.CommitFocused(w.config.Tips)
	p := w.form.parameters()
	if strings.TrimSpace(p.Prompt) == "" && !w.form.current().Free {
		w.config.Tips.Note(w.form.prompt, "Write a few words first: what should the picture show?")
		w.form.prompt.Focus()
		return
	}
	if c := w.form.controls.lacking(); c != nil {
		w.form.more.SetOpen(true)
		w.form.controls.fold.SetOpen(true)
		w.config.Tips.Note(c.picture.path, "The ControlNet needs a picture to follow: choose one, or set the ControlNet to None.")
		return
	}
	w.remember(p)
	w.form.pending = p // from now on this is what the person wants
	asked := w.form.state()
	r := request(p)
	w.form.begin.into(&r, p)
	w.form.controls.into(&r, p)
	r.VAE = w.form.vae.path()
	if w.form.begin.brush.on {
		w.stopPainting()
		w.fallBack()
	}
	submit := w.config.Queue.Submit
	if first {
		submit = w.config.Queue.SubmitFront
	}
	w.asked[submit(p.Model, r)] = asked
}

// Cancel stops the running job; it tells whether there was one, or something else of this workspace to close.
func (w *Workspace) Cancel() { w.config.Queue.CancelCurrent() }

// Escape stops or closes the nearest thing.
func (w *Workspace) Escape() {
	switch {
	case w.session.asking():
		w.session.back()
	case w.config.Queue.CancelCurrent():
	case w.form.begin.brush.on:
		w.stopPainting()
		w.fallBack()
	default:
		w.stage.notice.Dismiss()
	}
}

func (w *Workspace) try(example string) {
	w.form.act("", func() { w.form.prompt.SetText(example) })
	w.Generate(false)
}

func (w *Workspace) remember(p settings.Parameters) {
	prompt := strings.TrimSpace(p.Prompt)
	w.config.Settings.Update(func(s *settings.Settings) {
		s.Last = p
		if n := len(s.History); prompt != "" && (n == 0 || s.History[n-1] != prompt) {
			s.History = append(s.History, prompt)
		}
		w.history = min(len(s.History), settings.HistoryLimit)
	})
}

// Leave keeps what the form says for the next start.
func (w *Workspace) Leave() {
	p := w.form.wanted()
	w.config.Settings.Update(func(s *settings.Settings) { s.Last = p })
}

// History shows an earlier prompt (-1) or a later one (1); after the latest comes what was being written.
func (w *Workspace) History(by int) {
	all := w.config.Settings.Get().History
	next := w.history + by
	if next < 0 || next > len(all) {
		return
	}
	if w.history >= len(all) {
		w.draft = w.form.prompt.Text()
	}
	// Right after a picture was made, the newest entry is what the field still shows; go on to the one before.
	if by < 0 && next > 0 && all[next] == strings.TrimSpace(w.form.prompt.Text()) {
		next--
	}
	w.history = next
	if next == len(all) {
		w.form.prompt.SetText(w.draft)
	} else {
		w.form.prompt.SetText(all[next])
	}
	w.form.prompt.CaretToEnd()
}

// TogglePanel shows or hides the session column.
func (w *Workspace) TogglePanel() {
	hidden := !w.columns.RightHidden()
	w.session.back()
	w.columns.HideRight(hidden)
	w.stage.panel.Bright = !hidden
	w.stage.panel.Refresh()
	w.config.Settings.Update(func(s *settings.Settings) { s.Window.SessionHidden = hidden })
}

// Changed hears from the queue.
func (w *Workspace) Changed(u job.Update) {
	for _, snap := range u.Jobs {
		switch snap.State {
		case job.Running:
			w.runs(snap)
		case job.Done, job.Failed, job.Cancelled:
			w.ends(snap)
		}
	}
	w.stage.waiting(u.Waiting)
}

func (w *Workspace) runs(snap job.Snapshot) {
	if snap.ID != w.running {
		w.running, w.follow = snap.ID, !w.form.begin.brush.on
		w.showButton(true)
		w.stage.notice.Dismiss()
		if w.stage.picture.Image() == nil { // an empty frame of the coming size says at once that something happens
			w.stage.display(image.NewNRGBA(image.Rect(0, 0, 1, 1)), image.Pt(snap.Request.Width, snap.Request.Height))
		}
	}
	w.stage.form(snap, w.follow)
}

func (w *Workspace) ends(snap job.Snapshot) {
	mine := snap.ID == w.running
	took := snap.Ended.Sub(snap.Started)
	if mine {
		w.running = 0
		w.showButton(false)
	}
	switch snap.State {
	case job.Done:
		w.stage.ended("Finished in " + Seconds(took))
		w.finished(snap, took)
	case job.Failed:
		w.stage.ended("Failed")
		w.stage.tell(true, kit.Sentence(snap.Err), "", nil)
		w.fallBack()
	case job.Cancelled:
		if mine || w.running == 0 {
			w.stage.ended("Cancelled")
		}
		if mine {
			w.fallBack()
		}
	}
	delete(w.asked, snap.ID)
}

// fallBack shows the chosen picture again when a forming one came to nothing, or, where there is none yet, the one to begin with.
func (w *Workspace) fallBack() {
	if m := w.session.chosen(); m != nil {
		w.show(m)
		w.follow = true
		return
	}
	if g := w.form.begin.from.given; g != nil {
		w.stage.display(g.image, image.Point{})
		return
	}
	w.stage.picture.Display(nil, image.Point{})
	w.stage.empty.Show()
}

func (w *Workspace) finished(snap job.Snapshot, took time.Duration) {
	var unsaved *made
	var problem error
	for i, img := range snap.Result.Images {
		meta := w.config.Meta(snap.Result, i)
		m := &made{image: img, meta: meta, request: snap.Result.Request, asked: w.asked[snap.ID], model: snap.Result.Model, seed: meta.Seed,
			seconds: took.Seconds() / float64(len(snap.Result.Images))}
		if snap.Model != "" {
			m.model = snap.Model
		}
		if i < len(snap.Kept) {
			m.path = snap.Kept[i].Path
			if snap.Kept[i].Err != nil {
				unsaved, problem = m, snap.Kept[i].Err
			}
		}
		w.session.add(m, w.follow)
		w.makeThumb(m)
		if m.path != "" {
			w.config.Saved("Saved as " + m.path)
		}
	}
	if w.follow {
		w.stage.display(w.session.chosen().image, image.Point{})
	}
	if unsaved != nil {
		w.stage.tell(true, kit.Sentence(problem)+" The picture stays in this session.", "Save as…", func() {
			w.session.choose(len(w.session.pictures) - 1)
			w.session.askName()
		})
	}
}

func (w *Workspace) makeThumb(m *made) {
	back := kit.Backdrop(thumbPixels / 12)
	go func() {
		thumb := canvas.Thumbnail(m.image, thumbPixels, thumbPixels, back)
		w.config.Post(func() {
			m.thumb = thumb
			w.session.refresh()
		})
	}()
}

// Repaint makes the thumbnails again after a change of theme.
func (w *Workspace) Repaint() {
	for _, m := range w.session.pictures {
		w.makeThumb(m)
	}
}

func (w *Workspace) show(m *made) {
	w.follow = w.running == 0
	w.stopPainting()
	w.stage.display(m.image, image.Point{})
}

func (w *Workspace) reuse(m *made, what reuse) {
	f := w.form
	f.act("", func() {
		switch what {
		case reuseSeed:
			f.setSeed(strconv.FormatUint(m.seed, 10))
		case reusePrompt:
			f.prompt.SetText(m.request.Prompt)
			f.negative.SetText(m.request.Negative)
		case reuseAll:
			f.show(m.again())
		}
	})
	w.maskChanged()
}

// again puts what a file says of how it was made into the form, as far as it tells.
func (w *Workspace) again(how library.Parameters) {
	p, err := w.form.told(how)
	if err != nil {
		w.stage.tell(true, kit.Sentence(err), "", nil)
		return
	}
	w.form.act("", func() { w.form.load(p) })
}

// Use puts something that was trained or found to use: it chooses a model, and puts words into the prompt unless they are there. Where
// nothing is written yet, an example is: the person makes a picture at once, or goes on from there.
func (w *Workspace) Use(u studio.Use) {
	f := w.form
	if strings.TrimSpace(f.prompt.Text()) == "" && u.Example != "" {
		u.Words = u.Example
	}
	f.insert(u.Words)
	f.prompt.Focus()
	f.prompt.CaretToEnd()
	if u.Model != "" {
		w.chooseModel(u.Model)
	}
}

// ModelsChanged takes over another list of models.
func (w *Workspace) ModelsChanged() {
	w.form.relist(w.config.Studio.Models())
	w.form.listAdapters()
	w.form.offerParts()
	w.form.content.Refresh()
	w.offerUpscalers()
}

func (w *Workspace) chooseModel(name string) {
	w.ModelsChanged()
	for i, m := range w.form.models {
		if m.Name == name && w.form.model.Selected() != i {
			w.form.model.Select(i)
			w.form.pick(i)
		}
	}
}

// openModel opens a model in the background. Where it cannot be opened, what is wrong is said, and the first model chosen again.
func (w *Workspace) openModel(name string) {
	if w.running == 0 {
		w.stage.status.Set("Opening "+name+"…", kit.Text)
	}
	go func() {
		info, err := w.config.Studio.OpenModel(context.Background(), name)
		w.config.Post(func() {
			if w.running == 0 {
				w.stage.status.Set("", kit.Secondary)
			}
			if err == nil {
				w.form.opened(info)
				return
			}
			w.stage.tell(true, kit.Sentence(err), "", nil)
			if w.form.current().Name == name && len(w.form.models) > 0 && w.form.models[0].Name != name {
				w.form.model.Select(0)
				w.form.pick(0)
			}
		})
	}()
}

// Undo takes back the last thing that was done to the form; again takes that back. They tell whether there was anything.
func (w *Workspace) Undo(again bool) bool {
	done := w.form.undo(again)
	w.maskChanged()
	return done
}

// Reuse answers the gallery keys S, P and A; it tells whether the key was one of them.
func (w *Workspace) Reuse(key fyne.KeyName) bool {
	switch key {
	case fyne.KeyS:
		w.session.reuse(reuseSeed)
	case fyne.KeyP:
		w.session.reuse(reusePrompt)
	case fyne.KeyA:
		w.session.reuse(reuseAll)
	case fyne.KeyB:
		return w.Paint(false)
	case fyne.KeyE:
		return w.Paint(true)
	case fyne.KeyLeftBracket:
		w.Brush(false)
	case fyne.KeyRightBracket:
		w.Brush(true)
	case fyne.KeyLeft:
		w.session.move(1)
	case fyne.KeyRight:
		w.session.move(-1)
	default:
		return false
	}
	return true
}

// Fit and Actual are the canvas's zoom keys.
func (w *Workspace) Fit() { w.stage.picture.Fit() }

// Actual shows the picture at 100 %.
func (w *Workspace) Actual() { w.stage.picture.Actual() }

// Tell shows a message over the canvas.
func (w *Workspace) Tell(text string) { w.stage.tell(false, text, "", nil) }

// Warn shows a message about what went wrong or would, with a button.
func (w *Workspace) Warn(text, action string, do func()) { w.stage.tell(true, text, action, do) }

// Unsaved is how many pictures of this session are in no file.
func (w *Workspace) Unsaved() int {
	n := 0
	for _, m := range w.session.pictures {
		if m.path == "" {
			n++
		}
	}
	return n
}

// Rescue writes the pictures of this session that are in no file to the folder for temporary files, and says where they are. It is
// for an end that leaves no time to ask.
func (w *Workspace) Rescue() (kept []string) {
	for _, m := range w.session.pictures {
		if m.path != "" {
			continue
		}
		if path, err := library.Rescue(m.image, m.meta); err == nil {
			m.path = path
			kept = append(kept, path)
		}
	}
	return kept
}

func (w *Workspace) lastSeed() (uint64, bool) {
	if m := w.session.chosen(); m != nil {
		return m.seed, true
	}
	return 0, false
}

func (w *Workspace) openFolder() {
	folder := w.config.Library.Folder()
	if m := w.session.chosen(); m != nil && m.path != "" {
		folder = filepath.Dir(m.path)
	}
	go func() {
		if err := w.config.Open(folder); err != nil {
			w.config.Post(func() { w.stage.tell(true, kit.Sentence(err), "", nil) })
		}
	}()
}

// saveAs writes a copy off the main thread and says what became of it.
func (w *Workspace) saveAs(m *made, path string, replace bool) {
	path, err := kit.WholePath(path)
	if err != nil {
		w.stage.tell(true, kit.Sentence(err), "", nil)
		return
	}
	write := library.WriteNew
	if replace {
		write = library.WriteTo
	}
	go func() {
		err := write(path, m.image, m.meta)
		w.config.Post(func() {
			switch {
			case err == nil:
				if m.path == "" {
					m.path = path
				}
				w.stage.notice.Dismiss()
				w.config.Saved("Saved as " + path)
				w.session.back()
				w.session.refresh()
			case exists(err):
				w.stage.tell(true, kit.Sentence(err), "Replace", func() { w.saveAs(m, path, true) })
			default:
				w.stage.tell(true, kit.Sentence(err), "", nil)
			}
		})
	}()
}

func exists(err error) bool { return errors.Is(err, fs.ErrExist) }
