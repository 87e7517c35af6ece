package images

import (
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/app/library"
	"atelier/models/pipeline"
	"atelier/ui/kit"
)

// made is one picture of this session.
type made struct {
	image   *image.NRGBA
	meta    library.Meta
	request pipeline.Request
	asked   state // what the form said
	model   string
	seed    uint64
	seconds float64
	path    string // empty if it could not be saved
	thumb   *image.RGBA
}

// again is what the form says to make the picture once more.
func (m *made) again() state {
	s := m.asked
	s.Model, s.Seed, s.Batch = m.model, strconv.FormatUint(m.seed, 10), 1
	return s
}

// session is the right column: thumbnails, and what is to be known and done about the chosen one.
type session struct {
	pictures []*made
	selected int
	onSelect func(*made)
	onReuse  func(m *made, what reuse)
	onSave   func(m *made, path string, replace bool) // saves under a name that the person gave
	onStart  func(*made)                              // makes the next pictures from this one
	onLarger func()                                   // enlarges the chosen one
	onBrowse func(start string, done func(folder string))
	folder   func() string

	strip    *strip
	count    *kit.Label
	seed     *kit.Label
	facts    *kit.Label
	prompt   *kit.Paragraph
	file     *kit.Label
	actions  *fyne.Container
	saveAs   *fyne.Container
	enlarge  *enlarge
	saveName *kit.Field
	details  *fyne.Container
	hint     *kit.Paragraph
	content  fyne.CanvasObject
}

// reuse says what of a picture goes back into the form.
type reuse int

const (
	reuseSeed reuse = iota
	reusePrompt
	reuseAll
)

func newSession(tips *kit.Tips, openFolder func()) *session {
	s := &session{selected: -1}
	s.strip = newStrip(func(i int) *image.RGBA { return s.pictures[i].thumb }, s.choose)
	s.strip.hovered = func(t *tile, index int) {
		if index < 0 || index >= len(s.pictures) {
			tips.Over(t, kit.Tip{})
			return
		}
		m := s.pictures[index]
		tips.Over(t, kit.Tip{Name: fmt.Sprintf("Seed %d", m.seed), Key: "← →", Text: kit.Shorten(m.request.Prompt, kit.Caption, 700)})
	}
	s.count = kit.NewLine("", kit.Caption, kit.Secondary, 20)
	s.count.Align = fyne.TextAlignTrailing
	title := kit.NewLabel("Session", kit.Section, kit.Text)
	folder := kit.NewIconButton(tips, kit.IconFolder, kit.Tip{Name: "Open folder", Text: "Show the folder where pictures are saved."}, openFolder)
	s.seed = kit.NewLine("", kit.Body, kit.Text, 60)
	s.facts = kit.NewLine("", kit.Caption, kit.Secondary, 60)
	s.prompt = kit.NewParagraph("", kit.Caption, kit.Secondary, 3)
	s.file = kit.NewLine("", kit.Caption, kit.Secondary, 60)
	s.buildActions(tips)
	s.details = kit.Column(kit.Gap,
		kit.Column(2, s.seed, s.facts, s.file), s.prompt, container.NewStack(s.actions, s.saveAs, s.enlarge.content))
	s.details.Hide()
	line := kit.NewBacking(kit.Line)
	s.hint = kit.NewParagraph("Every picture you make is saved and appears here.", kit.Caption, kit.Secondary, 3)
	s.content = container.New(sessionLayout{},
		kit.Row(kit.Tight, 1, title, s.count, folder), container.NewStack(s.strip, s.hint), line, s.details)
	return s
}

// small is a button of the session's column.
func small(tips *kit.Tips, text string, tip kit.Tip, do func()) *kit.Button {
	b := kit.NewButton(tips, text, kit.Plain, tip, do)
	b.Height, b.TextSize = 26, kit.Caption
	return b
}

func (s *session) buildActions(tips *kit.Tips) {
	do := func(what reuse) func() { return func() { s.reuse(what) } }
	s.actions = kit.Column(kit.Tight,
		kit.Row(kit.Gap, 1, kit.NewLabel("Reuse", kit.Caption, kit.Secondary), kit.Equal(kit.Tight,
			small(tips, "Seed", kit.Tip{Name: "Reuse seed", Key: "S", Text: "Put this picture's seed into the form."}, do(reuseSeed)),
			small(tips, "Prompt", kit.Tip{Name: "Reuse prompt", Key: "P", Text: "Put this picture's prompts into the form."}, do(reusePrompt)),
			small(tips, "All", kit.Tip{Name: "Reuse all", Key: "A", Text: "Put everything that made this picture into the form."}, do(reuseAll)))),
		kit.Row(kit.Tight, 0,
			small(tips, "Use as start", kit.Tip{Name: "Use as start", Text: "Make the next pictures from this one instead of from noise alone."}, func() {
				if m := s.chosen(); m != nil {
					s.onStart(m)
				}
			}),
			small(tips, "Upscale…", kit.Tip{Name: "Upscale", Text: "Make this picture larger, with more detail than stretching gives it."}, func() { s.turn(s.enlarge.content) }),
			small(tips, "Save as…", kit.Tip{Name: "Save as", Text: "Save another copy under a name of your own."}, s.askName)))
	s.enlarge = newEnlarge(tips, func() { s.onLarger() }, s.back)
	s.saveName = kit.NewField(tips, "/folder/name.png", 60, kit.Tip{Name: "Save as", Key: "Return saves, Esc closes", Text: "The whole path of the new file; it ends in .png."})
	s.saveName.OnCancel = func() bool { s.back(); return true }
	s.saveName.OnEnter = func(string) { s.save(false) }
	browse := kit.NewIconButton(tips, kit.IconFolder, kit.Tip{Name: "Choose a folder", Text: "Pick the folder for the copy."}, func() {
		s.onBrowse(filepath.Dir(s.saveName.Text()), func(folder string) {
			s.saveName.SetText(filepath.Join(folder, filepath.Base(s.saveName.Text())))
		})
	})
	browse.Height = 26
	s.saveAs = kit.Column(kit.Tight, s.saveName, kit.Row(kit.Tight, 0,
		small(tips, "Save", kit.Tip{Key: "Return", Text: "Save the copy. Nothing is overwritten without asking."}, func() { s.save(false) }),
		browse, small(tips, "Close", kit.Tip{Key: "Esc", Text: "Close without saving."}, s.back)))
	s.saveAs.Hide()
}

// sessionLayout: headline, thumbnails that take the room, a line, details.
type sessionLayout struct{}

// MinSize implements fyne.Layout.
func (sessionLayout) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(kit.RightMin, 240)
}

// Layout implements fyne.Layout.
func (sessionLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	const side = 12
	width := size.Width - 2*side
	objects[0].Resize(fyne.NewSize(width, kit.HeadHeight))
	objects[0].Move(fyne.NewPos(side, kit.HeadTop))
	bottom := size.Height
	if objects[3].Visible() {
		h := objects[3].MinSize().Height
		bottom -= h + 12
		objects[3].Resize(fyne.NewSize(width, h))
		objects[3].Move(fyne.NewPos(side, bottom))
		bottom -= 12
		objects[2].Resize(fyne.NewSize(size.Width, 1))
		objects[2].Move(fyne.NewPos(0, bottom))
		objects[2].Show()
	} else {
		objects[2].Hide()
	}
	top := float32(kit.HeadTop + kit.HeadHeight + 8)
	objects[1].Move(fyne.NewPos(side, top))
	objects[1].Resize(fyne.NewSize(width, max(0, bottom-top-kit.Gap)))
}

// add puts a picture at the top; if follow is set, it becomes the chosen one.
func (s *session) add(m *made, follow bool) {
	s.pictures = append(s.pictures, m)
	if follow || s.selected < 0 {
		s.selected = len(s.pictures) - 1
	}
	s.forget()
	s.refresh()
}

// forget lets go of what the oldest pictures were made from, where that takes more than is kept to make pictures again.
func (s *session) forget() {
	bytes, newer := 0, state{}
	for i := len(s.pictures) - 1; i >= 0; i-- {
		asked := &s.pictures[i].asked
		if bytes += asked.bytes(newer); bytes > trailBytes {
			asked.from, asked.mask, asked.follow = nil, nil, state{}.follow
		}
		newer = *asked
	}
}

// chosen is the picture that is shown, nil if there is none.
func (s *session) chosen() *made {
	if s.selected < 0 || s.selected >= len(s.pictures) {
		return nil
	}
	return s.pictures[s.selected]
}

func (s *session) choose(index int) {
	if index < 0 || index >= len(s.pictures) {
		return
	}
	s.back()
	s.selected = index
	s.refresh()
	s.strip.show(index)
	s.onSelect(s.pictures[index])
}

// move chooses the neighbour: 1 is newer.
func (s *session) move(by int) { s.choose(s.selected + by) }

func (s *session) reuse(what reuse) {
	if m := s.chosen(); m != nil {
		s.onReuse(m, what)
	}
}

func (s *session) refresh() {
	s.strip.update(len(s.pictures), s.selected)
	s.count.Set(strconv.Itoa(len(s.pictures)), kit.Secondary)
	m := s.chosen()
	if m == nil {
		return
	}
	size := m.image.Rect.Size()
	s.seed.Set("Seed "+strconv.FormatUint(m.seed, 10), kit.Text)
	facts := []string{fmt.Sprintf("%d × %d", size.X, size.Y), fmt.Sprintf("%.1f s", m.seconds)}
	if m.meta.Upscaled != nil {
		facts = slices.Insert(facts, 1, "enlarged")
	} else if m.request.Steps > 1 {
		facts = slices.Insert(facts, 1, fmt.Sprintf("%d steps", m.request.Steps))
	}
	s.facts.Set(strings.Join(facts, " · "), kit.Secondary)
	s.prompt.Set(m.meta.Prompt)
	if m.path != "" {
		s.file.Set(filepath.Base(m.path), kit.Secondary)
	} else {
		s.file.Set("Not saved yet", kit.Loss)
	}
	s.hint.Hide()
	s.details.Show()
	s.content.Refresh()
}

// askName opens the row for a file name, below the picture's details.
func (s *session) askName() {
	m := s.chosen()
	if m == nil {
		return
	}
	folder, name := s.folder(), fmt.Sprintf("%d.png", m.seed)
	if m.path != "" {
		name = "copy-of-" + filepath.Base(m.path)
	} else if home, err := os.UserHomeDir(); err == nil { // the usual folder has just refused it
		folder = home
	}
	s.saveName.SetText(filepath.Join(folder, name))
	s.turn(s.saveAs)
	s.saveName.Focus()
	s.saveName.CaretToEnd()
}

// turn shows the rows of an action, or, for the actions themselves, what there is to do.
func (s *session) turn(to *fyne.Container) {
	for _, c := range []*fyne.Container{s.actions, s.saveAs, s.enlarge.content} {
		show(c, c == to)
	}
	s.content.Refresh()
}

// asking tells whether the rows of an action show.
func (s *session) asking() bool { return !s.actions.Visible() }

// back closes the rows of an action.
func (s *session) back() {
	if s.asking() {
		s.saveName.Unfocus()
		s.turn(s.actions)
	}
}

func (s *session) save(replace bool) {
	if m := s.chosen(); m != nil {
		s.onSave(m, s.saveName.Text(), replace)
	}
}
