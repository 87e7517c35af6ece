package ui

import (
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/app/library"
	"atelier/app/settings"
	"atelier/ui/kit"
)

// settingsPanel is the page behind the rail's foot.
type settingsPanel struct {
	shell   *shell
	themes  *segments
	devices *segments
	effect  *kit.Label
	folder  *kit.Field
	problem *kit.Label
	sound   *doneSound
	content fyne.CanvasObject
}

const settingsWidth = 620

func newSettingsPanel(s *shell) *settingsPanel {
	p := &settingsPanel{shell: s}
	now := s.options.Settings.Get()
	p.themes = newSegments(s.tips, []segment{
		{settings.ThemeDark, "Dark", "Dark greys round the picture."},
		{settings.ThemeLight, "Light", "Light greys round the picture."},
		{settings.ThemeSystem, "System", "Light or dark, as the system is set."},
	}, now.Theme, s.setTheme)
	p.devices = newSegments(s.tips, []segment{
		{settings.DeviceAuto, "Automatic", "The faster of OpenGL and the processor, by a short comparison at the first start."},
		{settings.DeviceOpenGL, "OpenGL", "The graphics card or its software driver, through OpenGL 4.3 or later."},
		{settings.DeviceHost, "Processor", "The processor's cores. Works everywhere, and is slower than a graphics card."},
	}, now.Device, func(id string) {
		s.options.Settings.Update(func(c *settings.Settings) { c.Device = id })
	})
	p.effect = kit.NewLine("Takes effect when Atelier is started again.", kit.Caption, kit.Secondary, 200)
	p.folder = kit.NewField(s.tips, library.DefaultFolder(), 200, kit.Tip{Name: "Folder for pictures", Key: "Return", Text: "New pictures go into this folder, in one folder for each day."})
	p.folder.SetText(s.options.Library.Root())
	p.folder.OnCommit = p.setFolder
	p.problem = kit.NewLine("New pictures go into one folder for each day in it. It is made when the first one is saved.", kit.Caption, kit.Secondary, 200)
	browse := kit.NewIconButton(s.tips, kit.IconFolder, kit.Tip{Name: "Choose a folder", Text: "Pick the folder for new pictures."}, func() {
		s.browse(s.options.Library.Root(), func(folder string) { p.setFolder(folder) })
	})
	usual := kit.NewButton(s.tips, "Use the default", kit.Plain, kit.Tip{Text: "Back to " + library.DefaultFolder() + "."}, func() { p.setFolder("") })
	p.sound = newDoneSound(s)
	sound := section("Sound when done", p.sound.modes.content, p.sound.note)
	if s.options.Chime == nil {
		sound.Hide()
	}
	rows := kit.Column(kit.Wide*2-kit.Gap,
		kit.NewLabel("Settings", kit.Title, kit.Text),
		section("Theme", p.themes.content),
		section("Folder for pictures", kit.Row(kit.Gap, 0, p.folder, browse, usual), p.problem),
		section("Device", p.devices.content, p.effect),
		sound,
		section("Keys", keyTable()),
		section("About", kit.NewLabel("Atelier "+strings.TrimPrefix(s.options.Version, "Atelier "), kit.Body, kit.Secondary)),
	)
	p.content = container.NewStack(kit.NewBacking(kit.Canvas),
		container.NewVScroll(container.New(pageLayout{}, rows)))
	return p
}

func section(title string, objects ...fyne.CanvasObject) fyne.CanvasObject {
	return kit.Column(kit.Gap, append([]fyne.CanvasObject{kit.NewLabel(title, kit.Section, kit.Text)}, objects...)...)
}

// pageLayout keeps a page readable on a wide window: at most settingsWidth, in the middle.
type pageLayout struct{}

// MinSize implements fyne.Layout.
func (pageLayout) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(360, objects[0].MinSize().Height+64)
}

// Layout implements fyne.Layout.
func (pageLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	width := min(settingsWidth, size.Width-64)
	objects[0].Resize(fyne.NewSize(width, objects[0].MinSize().Height))
	objects[0].Move(fyne.NewPos((size.Width-width)/2, 32))
}

// running says what runs now, beside when a change counts.
func (p *settingsPanel) running(device string) {
	p.effect.Set("Takes effect when Atelier is started again. Running now: "+device+".", kit.Secondary)
}

// setFolder checks a folder off the main thread and takes it if pictures can be saved there; empty means the default.
func (p *settingsPanel) setFolder(folder string) {
	if folder = strings.TrimSpace(folder); folder != "" {
		whole, err := kit.WholePath(folder)
		if err != nil {
			p.problem.Set(kit.Sentence(err), kit.Loss)
			return
		}
		folder = whole
	}
	if folder == p.shell.options.Library.Root() {
		return
	}
	go func() {
		target := folder
		if target == "" {
			target = library.DefaultFolder()
		}
		err := library.CheckFolder(target)
		p.shell.post(func() {
			if err != nil {
				p.problem.Set(kit.Sentence(err), kit.Loss)
				return
			}
			p.shell.options.Library.SetRoot(folder)
			p.shell.options.Settings.Update(func(c *settings.Settings) { c.OutputFolder = folder })
			p.folder.SetText(p.shell.options.Library.Root())
			p.problem.Set("New pictures go into one folder for each day in it.", kit.Secondary)
		})
	}()
}

// keyTable lists the keys in two columns.
func keyTable() fyne.CanvasObject {
	keys := [][2]string{
		{"Ctrl+Enter", "Generate, or queue another"}, {"Ctrl+Shift+Enter", "Queue ahead of the others"},
		{"Esc", "Stop, or close"}, {"Alt+↑ Alt+↓", "Earlier and later prompts"},
		{"Ctrl+0  Ctrl+1", "Fit, 100 %"}, {"Wheel, drag", "Zoom and move the picture"},
		{"S  P  A", "Reuse seed, prompt, all"}, {"← →", "Newer and older picture"},
		{"Ctrl+Z  Ctrl+Shift+Z", "Undo, redo"}, {"Ctrl+B", "Right panel"},
		{"Alt+1 … Alt+3", "Image, Train, Models"}, {"Ctrl+F", "Search models"}, {"Ctrl+,", "Settings"}, {"Ctrl+Q", "Leave"},
	}
	var left, right []fyne.CanvasObject
	for i, k := range keys {
		row := kit.Row(kit.Gap, 1, kit.NewLine(k[0], kit.Caption, kit.Text, 128), kit.NewLine(k[1], kit.Caption, kit.Secondary, 80))
		if i%2 == 0 {
			left = append(left, row)
		} else {
			right = append(right, row)
		}
	}
	return kit.Equal(kit.Wide, kit.Column(kit.Tight, left...), kit.Column(kit.Tight, right...))
}

// segment is one of a few modes of which exactly one is on.
type segment struct{ id, label, text string }

type segments struct {
	ids     []string
	buttons []*kit.Button
	content fyne.CanvasObject
}

func newSegments(tips *kit.Tips, all []segment, current string, chosen func(id string)) *segments {
	s := &segments{}
	objects := []fyne.CanvasObject{}
	for _, one := range all {
		b := kit.NewButton(tips, one.label, kit.Plain, kit.Tip{Name: one.label, Text: one.text}, nil)
		b.OnTapped = func() {
			s.mark(one.id)
			chosen(one.id)
		}
		s.ids = append(s.ids, one.id)
		s.buttons = append(s.buttons, b)
		objects = append(objects, b)
	}
	s.content = kit.Row(0, -1, kit.Equal(kit.Tight, objects...))
	s.mark(current)
	return s
}

func (s *segments) mark(id string) {
	for i, b := range s.buttons {
		b.Selected = s.ids[i] == id
		b.Refresh()
	}
}
