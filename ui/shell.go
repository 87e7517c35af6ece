package ui

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/storage"
	"fyne.io/fyne/v2/widget"

	"atelier/app/job"
	"atelier/app/modelstore"
	"atelier/app/settings"
	"atelier/ui/images"
	"atelier/ui/kit"
	"atelier/ui/models"
	"atelier/ui/studio"
	"atelier/ui/train"
)

const (
	railWidth    = 48
	statusHeight = 26
)

// The places that keys and messages lead to, by their rows.
const (
	imagePlace = iota
	trainPlace
	modelsPlace
)

// place is one row of the left rail: a workspace, or the settings at its foot.
type place struct {
	name, key, text string
	icon            kit.Icon
	content         fyne.CanvasObject
	foot            bool
	button          *kit.Button
	bar             *kit.Backing
}

// shell is the frame that workspaces live in. Everything in it runs on the main thread unless it says otherwise.
type shell struct {
	app      fyne.App
	options  Options
	post     func(func()) // runs a function on the main thread, later
	window   fyne.Window
	tips     *kit.Tips
	queue    *job.Queue
	image    *images.Workspace
	train    *train.Workspace
	models   *models.Workspace
	settings *settingsPanel
	status   *statusBar
	places   []*place
	current  int
	center   *fyne.Container
	stop     chan struct{} // closed when leaving
	leaving  bool
	asking   dialog.Dialog // the latest dialog, which may be closed
	warned   int           // how many pictures the person was told would be lost by leaving
}

// newShell builds the window; post runs a function on the main thread, later.
func newShell(a fyne.App, o Options, post func(func())) *shell {
	s := &shell{app: a, options: o, post: post, tips: kit.NewTips(post), stop: make(chan struct{})}
	saved := o.Settings.Get()
	s.window = a.NewWindow("Atelier")
	s.window.SetPadded(false)
	s.window.SetMaster()
	meta := metaOf(o)
	s.queue = job.New(job.Config{
		Generate: o.Studio.Generate, Keep: keeper(o, meta), Post: post, Log: o.Log,
		Changed: func(u job.Update) {
			s.image.Changed(u)
			s.settings.sound.changed(u, s.queue.Idle())
		},
	})
	s.status = newStatusBar(s.tips)
	s.image = images.New(images.Config{
		Post: post, Tips: s.tips, Studio: o.Studio, Queue: s.queue, Settings: o.Settings, Library: o.Library, Meta: meta,
		Browse: s.browse, BrowseFile: s.browseFile, Open: s.openFolder, Saved: s.status.say,
	})
	s.train = train.New(train.Config{
		Post: post, Tips: s.tips, Trainer: o.Trainer, Settings: o.Settings, Browse: s.browse, BrowseFile: s.browseFile, Open: s.show,
		Use: func(u studio.Use) {
			s.use(u)
			s.models.Refresh() // it is among the studio's own models now
		},
	})
	s.models = models.New(models.Config{
		Post: post, Tips: s.tips, Store: o.Models, Settings: o.Settings, UserAgent: o.Version, Browse: s.browse, Confirm: s.confirm, Open: s.show,
		Name: o.Studio.NameOf, Use: s.use, Problem: o.ModelsProblem,
		Changed: func(entries []modelstore.Entry) {
			o.Studio.SetEntries(entries)
			post(s.modelsChanged)
		},
	})
	s.settings = newSettingsPanel(s)
	// Workspaces, top to bottom. The next one is a row here and a folder beside ui/images.
	s.places = []*place{
		{name: "Image", key: "Alt+1", text: "Make pictures from words.", icon: kit.IconImage, content: s.image.Content()},
		{name: "Train", key: "Alt+2", text: "Teach a model a style, or make a small one, from your own pictures.", icon: kit.IconTrain, content: s.train.Content()},
		{name: "Models", key: "Alt+3", text: "The models on this machine, and more to download.", icon: kit.IconModels, content: s.models.Content()},
		{name: "Settings", key: "Ctrl+,", text: "Look, folder for pictures, device.", icon: kit.IconSettings, content: s.settings.content, foot: true},
	}
	s.layout()
	s.keys()
	s.window.Resize(fyne.NewSize(saved.Window.Width, saved.Window.Height))
	s.window.CenterOnScreen()
	s.window.SetCloseIntercept(s.askToLeave)
	s.begin()
	return s
}

// begin starts what runs beside the window.
func (s *shell) begin() {
	if warning := s.options.Settings.Warning(); warning != "" {
		s.image.Tell(warning)
	}
	go s.obeySignals()
	go func() {
		select {
		case <-s.options.Studio.Ready():
			s.post(func() {
				s.image.EngineReady()
				s.train.EngineReady()
				s.models.Begin()
				s.status.set(s.options.Studio.Device())
				s.settings.running(s.options.Studio.Device().Name)
			})
			s.watchDevice()
		case <-s.stop:
		}
	}()
	if s.options.Heartbeat != nil {
		go s.beat(s.options.Heartbeat)
	}
}

// watchDevice keeps the status bar's memory up to date. It runs off the main thread.
func (s *shell) watchDevice() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	last := s.options.Studio.Device()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		if now := s.options.Studio.Device(); now != last {
			last = now
			s.post(func() { s.status.set(now) })
		}
	}
}

func (s *shell) layout() {
	var top, foot []fyne.CanvasObject
	contents := []fyne.CanvasObject{}
	for i, p := range s.places {
		p.button = kit.NewIconButton(s.tips, p.icon, kit.Tip{Name: p.name, Key: p.key, Text: p.text}, func() { s.open(i) })
		p.button.Height = 40
		p.bar = kit.NewBacking(kit.Accent)
		item := container.New(railItem{}, p.button, p.bar)
		if p.foot {
			foot = append(foot, item)
		} else {
			top = append(top, item)
		}
		contents = append(contents, p.content)
	}
	s.center = container.NewStack(contents...)
	// Panels need no area of their own: the window is cleared to their colour, and every layer more is paid for in each frame
	// where a software driver draws.
	rail := container.NewBorder(
		kit.Column(kit.Tight, append([]fyne.CanvasObject{kit.Inset(0, 2, kit.NewLabel("", 4, kit.Text))}, top...)...), kit.Inset(0, kit.Gap, kit.Column(kit.Tight, foot...)), nil, nil)
	frame := container.New(frameLayout{}, rail, kit.NewBacking(kit.Line), s.center, kit.NewBacking(kit.Line), s.status.content)
	s.window.SetContent(container.NewStack(frame, s.tips.Layer))
	s.open(0)
}

// open shows a place and hides the others.
func (s *shell) open(index int) {
	s.current = index
	s.window.Canvas().Unfocus() // what has the focus is about to be hidden
	s.tips.Clear()
	for i, p := range s.places {
		p.button.Selected = false
		if i == index {
			p.content.Show()
			p.bar.Show()
			p.button.Icon = p.icon
		} else {
			p.content.Hide()
			p.bar.Hide()
		}
		p.button.Bright = i == index
		p.button.Refresh()
	}
}

// frameLayout: rail, line, workspace; line, status bar across the foot.
type frameLayout struct{}

// MinSize implements fyne.Layout.
func (frameLayout) MinSize(objects []fyne.CanvasObject) fyne.Size {
	center := objects[2].MinSize()
	return fyne.NewSize(railWidth+center.Width, center.Height+statusHeight)
}

// Layout implements fyne.Layout.
func (frameLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	height := size.Height - statusHeight
	objects[0].Resize(fyne.NewSize(railWidth, height))
	objects[1].Resize(fyne.NewSize(1, height))
	objects[1].Move(fyne.NewPos(railWidth, 0))
	objects[2].Resize(fyne.NewSize(size.Width-railWidth-1, height))
	objects[2].Move(fyne.NewPos(railWidth+1, 0))
	objects[3].Resize(fyne.NewSize(size.Width, 1))
	objects[3].Move(fyne.NewPos(0, height))
	objects[4].Resize(fyne.NewSize(size.Width, statusHeight-1))
	objects[4].Move(fyne.NewPos(0, height+1))
}

// railItem: a square button with a bar at the edge that marks the open place.
type railItem struct{}

// MinSize implements fyne.Layout.
func (railItem) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(railWidth, 40) }

// Layout implements fyne.Layout.
func (railItem) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[0].Resize(fyne.NewSize(36, 36))
	objects[0].Move(fyne.NewPos((size.Width-36)/2, 2))
	objects[1].Resize(fyne.NewSize(2, 24))
	objects[1].Move(fyne.NewPos(0, 8))
}

// keys wires the window's shortcuts. They reach it also while a text field has the focus.
func (s *shell) keys() {
	c := s.window.Canvas()
	add := func(mod fyne.KeyModifier, do func(), names ...fyne.KeyName) {
		for _, name := range names {
			c.AddShortcut(&desktop.CustomShortcut{KeyName: name, Modifier: mod}, func(fyne.Shortcut) { do() })
		}
	}
	const ctrl, alt, shift = fyne.KeyModifierShortcutDefault, fyne.KeyModifierAlt, fyne.KeyModifierShift
	in := func(index int, do func()) func() {
		return func() {
			if s.current == index {
				do()
			}
		}
	}
	here := func(does map[int]func()) func() { // one key for what is alike in several places
		return func() {
			if do := does[s.current]; do != nil {
				do()
			}
		}
	}
	add(ctrl, here(map[int]func(){imagePlace: func() { s.image.Generate(false) }, trainPlace: s.train.Start}), fyne.KeyReturn, fyne.KeyEnter)
	add(ctrl|shift, in(imagePlace, func() { s.image.Generate(true) }), fyne.KeyReturn, fyne.KeyEnter)
	add(alt, in(imagePlace, func() { s.image.History(-1) }), fyne.KeyUp)
	add(alt, in(imagePlace, func() { s.image.History(1) }), fyne.KeyDown)
	add(ctrl, in(imagePlace, s.image.Fit), fyne.Key0)
	add(ctrl, in(imagePlace, s.image.Actual), fyne.Key1)
	add(ctrl, here(map[int]func(){imagePlace: s.image.TogglePanel, trainPlace: s.train.TogglePanel, modelsPlace: s.models.TogglePanel}), fyne.KeyB)
	add(ctrl, in(modelsPlace, s.models.Find), fyne.KeyF)
	undo := func(again bool) func() { return in(imagePlace, func() { s.image.Undo(again) }) }
	c.AddShortcut(&fyne.ShortcutUndo{}, func(fyne.Shortcut) { undo(false)() })
	c.AddShortcut(&fyne.ShortcutRedo{}, func(fyne.Shortcut) { undo(true)() })
	add(ctrl|shift, undo(true), fyne.KeyZ)
	for i, key := range []fyne.KeyName{fyne.Key1, fyne.Key2, fyne.Key3, fyne.Key4}[:len(s.places)-1] {
		add(alt, func() { s.open(i) }, key)
	}
	add(ctrl, func() { s.open(len(s.places) - 1) }, fyne.KeyComma)
	add(ctrl, s.askToLeave, fyne.KeyQ)
	c.SetOnTypedKey(func(key *fyne.KeyEvent) {
		asked := c.Overlays().Top() != nil // then no key is for what lies below
		switch {
		case asked && key.Name == fyne.KeyEscape && s.asking != nil:
			s.asking.Dismiss()
		case asked:
		case key.Name == fyne.KeyEscape && s.current == imagePlace:
			s.image.Escape()
		case key.Name == fyne.KeyEscape && s.current == trainPlace:
			s.train.Escape()
		case key.Name == fyne.KeyEscape && s.current == modelsPlace:
			s.models.Escape()
		case key.Name == fyne.KeyEscape:
			s.open(imagePlace)
		case s.current == imagePlace:
			s.image.Reuse(key.Name)
		}
	})
	s.window.SetOnDropped(func(at fyne.Position, uris []fyne.URI) {
		var paths []string
		for _, u := range uris {
			if u.Scheme() == "file" {
				paths = append(paths, u.Path())
			}
		}
		s.dropped(at, paths)
	})
}

// dropped takes files and folders that were dropped on the window to the place that has a use for them.
func (s *shell) dropped(at fyne.Position, paths []string) {
	if len(paths) == 0 {
		return
	}
	if s.current == modelsPlace || modelstore.IsModelFile(paths[0]) {
		s.open(modelsPlace)
		s.models.Drop(paths)
		return
	}
	if s.current == imagePlace && images.IsPicture(paths[0]) {
		s.image.Drop(at, paths[0])
		return
	}
	s.open(trainPlace)
	s.train.Drop(paths)
}

// modelsChanged takes over that other models are there.
func (s *shell) modelsChanged() {
	s.image.ModelsChanged()
	s.train.EngineReady()
}

// confirm asks before something is destroyed.
func (s *shell) confirm(title, text, action string, do func()) {
	d := dialog.NewConfirm(title, text, func(yes bool) {
		if yes {
			do()
		}
	}, s.window)
	d.SetConfirmText(action)
	d.SetDismissText("Keep")
	d.SetConfirmImportance(widget.DangerImportance)
	s.ask(d)
}

// ask shows a dialog that Esc closes.
func (s *shell) ask(d dialog.Dialog) {
	s.asking = d
	d.Show()
}

// use takes what was trained or found to the image workspace.
func (s *shell) use(u studio.Use) {
	s.open(imagePlace)
	s.image.Use(u)
}

// browse lets the person pick a folder.
func (s *shell) browse(start string, done func(folder string)) {
	d := dialog.NewFolderOpen(func(folder fyne.ListableURI, err error) {
		if err == nil && folder != nil {
			done(folder.Path())
		}
	}, s.window)
	for start != "" && start != filepath.Dir(start) {
		if at, err := storage.ListerForURI(storage.NewFileURI(start)); err == nil {
			d.SetLocation(at)
			break
		}
		start = filepath.Dir(start)
	}
	d.SetConfirmText("Choose")
	d.Resize(fyne.NewSize(760, 520))
	s.ask(d)
}

// browseFile lets the person pick a file with one of some endings.
func (s *shell) browseFile(start string, endings []string, done func(path string)) {
	d := dialog.NewFileOpen(func(file fyne.URIReadCloser, err error) {
		if err == nil && file != nil {
			path := file.URI().Path()
			file.Close()
			done(path)
		}
	}, s.window)
	d.SetFilter(storage.NewExtensionFileFilter(endings))
	if at, err := storage.ListerForURI(storage.NewFileURI(start)); err == nil {
		d.SetLocation(at)
	}
	d.SetConfirmText("Choose")
	d.Resize(fyne.NewSize(760, 520))
	s.ask(d)
}

// show opens a folder in the system's file manager, or a page or address in its browser. It may be called from any goroutine.
func (s *shell) show(path string) error {
	if u, err := url.Parse(path); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		if err := s.app.OpenURL(u); err != nil {
			return fmt.Errorf("no browser could be started; the page is %s", path)
		}
		return nil
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return s.openFolder(path)
	}
	if err := s.app.OpenURL(&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}); err != nil {
		return fmt.Errorf("no browser could be started; the page is %s", path)
	}
	return nil
}

// openFolder shows a folder in the system's file manager. It may be called from any goroutine.
func (s *shell) openFolder(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("the folder %s is not there and could not be made; choose another one in Settings", folder)
	}
	if err := s.app.OpenURL(&url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}); err != nil {
		return fmt.Errorf("no file manager could be started; the folder is %s", folder)
	}
	return nil
}

// setTheme changes the look now and for the next start.
func (s *shell) setTheme(name string) {
	s.options.Settings.Update(func(c *settings.Settings) { c.Theme = name })
	s.app.Settings().SetTheme(kit.NewTheme(name))
	s.image.Repaint()
	s.train.Repaint()
	s.models.Repaint()
}
