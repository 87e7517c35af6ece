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

	"atelier/app/job"
	"atelier/app/settings"
	"atelier/ui/images"
	"atelier/ui/kit"
)

const (
	railWidth    = 48
	statusHeight = 26
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
	settings *settingsPanel
	status   *statusBar
	places   []*place
	current  int
	center   *fyne.Container
	stop     chan struct{} // closed when leaving
	leaving  bool
	warned   int // how many pictures the person was told would be lost by leaving
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
		Browse: s.browse, Open: s.openFolder, Saved: s.status.say,
	})
	s.settings = newSettingsPanel(s)
	// Workspaces, top to bottom. The next one is a row here and a folder beside ui/images.
	s.places = []*place{
		{name: "Image", key: "Alt+1", text: "Make pictures from words.", icon: kit.IconImage, content: s.image.Content()},
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
	inImage := func(do func()) func() {
		return func() {
			if s.current == 0 {
				do()
			}
		}
	}
	const ctrl, alt, shift = fyne.KeyModifierShortcutDefault, fyne.KeyModifierAlt, fyne.KeyModifierShift
	add(ctrl, inImage(func() { s.image.Generate(false) }), fyne.KeyReturn, fyne.KeyEnter)
	add(ctrl|shift, inImage(func() { s.image.Generate(true) }), fyne.KeyReturn, fyne.KeyEnter)
	add(alt, inImage(func() { s.image.History(-1) }), fyne.KeyUp)
	add(alt, inImage(func() { s.image.History(1) }), fyne.KeyDown)
	add(ctrl, inImage(s.image.Fit), fyne.Key0)
	add(ctrl, inImage(s.image.Actual), fyne.Key1)
	add(ctrl, inImage(s.image.TogglePanel), fyne.KeyB)
	undo := func(again bool) func() { return inImage(func() { s.image.Undo(again) }) }
	c.AddShortcut(&fyne.ShortcutUndo{}, func(fyne.Shortcut) { undo(false)() })
	c.AddShortcut(&fyne.ShortcutRedo{}, func(fyne.Shortcut) { undo(true)() })
	add(ctrl|shift, undo(true), fyne.KeyZ)
	add(alt, func() { s.open(0) }, fyne.Key1)
	add(ctrl, func() { s.open(len(s.places) - 1) }, fyne.KeyComma)
	add(ctrl, s.askToLeave, fyne.KeyQ)
	c.SetOnTypedKey(func(key *fyne.KeyEvent) {
		switch {
		case key.Name == fyne.KeyEscape && s.current != 0:
			s.open(0)
		case key.Name == fyne.KeyEscape:
			s.image.Escape()
		case s.current == 0:
			s.image.Reuse(key.Name)
		}
	})
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
	d.Show()
}

// openFolder shows a folder in the system's file manager. It may be called from any goroutine.
func (s *shell) openFolder(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("the folder %s is not there and could not be made; choose another one in Settings", folder)
	}
	if err := s.app.OpenURL(&url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}); err != nil {
		return fmt.Errorf("no file manager could be started; the pictures are in %s", folder)
	}
	return nil
}

// setTheme changes the look now and for the next start.
func (s *shell) setTheme(name string) {
	s.options.Settings.Update(func(c *settings.Settings) { c.Theme = name })
	s.app.Settings().SetTheme(kit.NewTheme(name))
	s.image.Repaint()
}
