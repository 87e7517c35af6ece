package train

import (
	"fmt"
	"image"
	"math"
	"path/filepath"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/app/dataset"
	"atelier/ui/kit"
)

// page is one of the views of the middle column.
type page int

const (
	pagePictures page = iota
	pageRecipe
	pageTraining
)

// stage is the middle column: the pictures, the recipe and the training, one at a time; messages, and the bar below.
type stage struct {
	tips     *kit.Tips
	pages    []fyne.CanvasObject
	tabs     []*kit.Button
	page     page
	title    *kit.Label
	pictures *picturesPage
	recipe   *recipePage
	training *trainingPage
	notice   *kit.Notice
	meter    *kit.Meter
	status   *kit.Label
	panel    *kit.Button
	content  fyne.CanvasObject
}

const ()

func newStage(post func(func()), tips *kit.Tips, chooseFolder, chooseFile, togglePanel func()) *stage {
	s := &stage{tips: tips, notice: kit.NewNotice(tips), meter: kit.NewMeter()}
	s.pictures = newPicturesPage(tips, chooseFolder, chooseFile)
	s.recipe = newRecipePage(tips)
	s.training = newTrainingPage(post, tips)
	s.pages = []fyne.CanvasObject{s.pictures.content, s.recipe.content, s.training.content}
	for i, t := range []struct{ name, text string }{
		{"Pictures", "What is learnt from, what is wrong with it, and what augmentation makes of it."},
		{"Recipe", "Everything that the training is determined by, as text that can be edited."},
		{"Training", "The curves and samples of the run, while it goes on and afterwards."},
	} {
		b := kit.NewButton(tips, t.name, kit.Quiet, kit.Tip{Name: t.name, Text: t.text}, func() { s.open(page(i)) })
		b.Height = 28
		s.tabs = append(s.tabs, b)
	}
	s.title = kit.NewLine("", kit.Caption, kit.Secondary, 80)
	s.title.Align = fyne.TextAlignTrailing
	s.status = kit.NewLine("", kit.Caption, kit.Secondary, 264)
	s.status.Align = fyne.TextAlignTrailing
	s.panel = kit.NewIconButton(tips, kit.IconPanel, kit.Tip{Name: "Runs panel", Key: "Ctrl+B", Text: "Show or hide the list of earlier runs."}, togglePanel)
	head := kit.Row(kit.Tight, 3, s.tabs[0], s.tabs[1], s.tabs[2], s.title)
	bar := kit.Inset(kit.Gap, 0, kit.Row(kit.Gap, 0, kit.Inset(kit.Gap, 0, s.meter), s.status, s.panel))
	s.content = kit.PagedStage(head, container.NewStack(s.pages...), bar, s.status, s.notice)
	s.open(pagePictures)
	return s
}

// open shows a page and hides the others.
func (s *stage) open(p page) {
	s.page = p
	s.tips.Clear()
	for i, o := range s.pages {
		shown(o, page(i) == p)
		s.tabs[i].Selected = page(i) == p
		s.tabs[i].Refresh()
	}
}

// tell shows a notice and places it for its length.
func (s *stage) tell(fail bool, text, action string, do func()) {
	if fail {
		s.notice.Fail(text, action, do)
	} else {
		s.notice.Say(text, action, do)
	}
	s.content.Refresh()
}

// recipePage is the recipe as text.
type recipePage struct {
	editor  *kit.Field
	verdict *kit.Label
	loading bool
	content fyne.CanvasObject
}

func newRecipePage(tips *kit.Tips) *recipePage {
	p := &recipePage{}
	p.editor = kit.NewEditor(tips, kit.Tip{})
	p.verdict = kit.NewLine("", kit.Caption, kit.Secondary, 100)
	p.content = container.New(recipeLayout{}, p.editor, p.verdict)
	return p
}

// recipeLayout: the text, and below it what is wrong with it.
type recipeLayout struct{}

// MinSize implements fyne.Layout.
func (recipeLayout) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(200, 160) }

// Layout implements fyne.Layout.
func (recipeLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	line := objects[1].MinSize().Height
	objects[0].Move(fyne.NewPos(kit.Wide, 0))
	objects[0].Resize(fyne.NewSize(size.Width-2*kit.Wide, size.Height-line-2*kit.Gap-4))
	objects[1].Move(fyne.NewPos(kit.Wide, size.Height-line-12))
	objects[1].Resize(fyne.NewSize(size.Width-2*kit.Wide, line))
}

// set shows a recipe's text and whether it holds.
func (p *recipePage) set(text string, problem error) {
	p.loading = true
	p.editor.SetText(text)
	p.loading = false
	p.judge(problem)
}

func (p *recipePage) judge(problem error) {
	if problem != nil {
		p.verdict.Set(kit.Sentence(problem), kit.Loss)
		return
	}
	p.verdict.Set("The recipe holds. It is kept with the run and can be started from the command line too.", kit.Secondary)
}

// picturesPage is what is known of the chosen pictures.
type picturesPage struct {
	tips    *kit.Tips
	empty   *fyne.Container
	head    *kit.Label
	sub     *kit.Paragraph
	still   *kit.Still
	body    *fyne.Container // findings and balance
	page    *fyne.Container
	sheet   *fyne.Container
	content fyne.CanvasObject
}

func newPicturesPage(tips *kit.Tips, chooseFolder, chooseFile func()) *picturesPage {
	p := &picturesPage{tips: tips, head: kit.NewLine("", kit.Section, kit.Text, 100), still: kit.NewStill()}
	title := kit.NewLine("Choose pictures to learn from", kit.Title, kit.Text, 100)
	title.Align = fyne.TextAlignCenter
	hint := func(text string) *kit.Label {
		l := kit.NewLine(text, kit.Body, kit.Secondary, 100)
		l.Align = fyne.TextAlignCenter
		return l
	}
	folder := kit.NewButton(tips, "Choose a folder…", kit.Plain, kit.Tip{Name: "Choose a folder", Text: "Pick the folder with the pictures to learn from."}, chooseFolder)
	archive := kit.NewButton(tips, "Choose a zip archive…", kit.Plain, kit.Tip{Name: "Choose a zip archive", Text: "Pick an archive with the pictures to learn from."}, chooseFile)
	folder.Icon, archive.Icon = kit.IconFolder, kit.IconArchive
	folder.Height, archive.Height = 40, 40
	p.empty = container.New(middle{}, kit.Flow(kit.Gap, title, hint("Drop a folder or a zip archive of pictures on the window."), hint("Thirty pictures in one style are enough for a LoRA."), kit.Inset(0, kit.Tight, kit.NewLabel("", 4, kit.Text)), kit.Equal(kit.Gap, folder, archive)))
	p.sub = kit.NewParagraph("", kit.Caption, kit.Secondary, 2)
	p.sheet = kit.Flow(kit.Gap, kit.NewLabel("As training sees them", 13, kit.Secondary), p.still,
		kit.NewParagraph("The first of each row is the picture, the others are variations by the recipe's augmentation.", kit.Caption, kit.Secondary, 2))
	p.body = kit.Flow(kit.Wide)
	p.page = kit.Page(kit.Wide, kit.Wide, kit.Flow(kit.Tight, p.head, p.sub), p.sheet, p.body)
	p.page.Hide()
	p.content = container.NewStack(p.empty, p.page)
	return p
}

// middle puts its one object in the middle, at most 460 wide.
type middle struct{}

// MinSize implements fyne.Layout.
func (middle) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.Size{} }

// Layout implements fyne.Layout.
func (middle) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	width := min(460, size.Width-2*kit.Wide)
	objects[0].Resize(fyne.NewSize(width, objects[0].MinSize().Height))
	height := objects[0].MinSize().Height // wrapped
	objects[0].Resize(fyne.NewSize(width, height))
	objects[0].Move(fyne.NewPos((size.Width-width)/2, max(0, (size.Height-height)/2-20)))
}

// looking says that a set is being looked at.
func (p *picturesPage) looking(path string) {
	p.show()
	p.head.Set("Looking at the pictures…", kit.Text)
	p.sub.Set(path)
	p.sheet.Hide()
	p.body.Objects = nil
	p.page.Refresh()
}

// failed says why a set cannot be used.
func (p *picturesPage) failed(path string, err error) {
	p.show()
	p.head.Set("These pictures cannot be used", kit.Loss)
	p.sub.Set(path)
	p.sheet.Hide()
	p.body.Objects = []fyne.CanvasObject{kit.NewParagraph(kit.Sentence(err), kit.Body, kit.Text, 6)}
	p.page.Refresh()
}

func (p *picturesPage) show() {
	p.empty.Hide()
	p.page.Show()
}

// display shows what was seen.
func (p *picturesPage) display(l *look) {
	p.show()
	role := kit.Text
	if l.report.Usable == 0 {
		role = kit.Loss
	}
	p.head.Set(l.headline(), role)
	p.sub.Set(l.path)
	p.setSheet(l.sheet)
	p.body.Objects = []fyne.CanvasObject{p.findings(l), p.balance(l)}
	p.page.Refresh()
}

func (p *picturesPage) setSheet(img *image.NRGBA) {
	if img == nil {
		p.sheet.Hide()
		return
	}
	p.still.Set(img)
	p.sheet.Show()
	p.page.Refresh()
}

// findings lists what is wrong with the set, and what to do.
func (p *picturesPage) findings(l *look) fyne.CanvasObject {
	const most = 60
	rows := []fyne.CanvasObject{kit.NewLabel("Findings", 13, kit.Secondary)}
	if len(l.report.Findings) == 0 {
		rows = append(rows, kit.NewParagraph("Nothing is wrong with them.", kit.Body, kit.Text, 1))
	}
	for _, f := range l.report.Findings[:min(most, len(l.report.Findings))] {
		name := f.File
		if name == "" {
			name = "The whole set"
		}
		do := f.Do
		if f.Skipped {
			do += " (left out of training)"
		}
		role := kit.Secondary
		if f.Skipped {
			role = kit.AccentInk
		}
		mark := kit.NewMark(kit.IconInfo, role)
		if f.Skipped {
			mark = kit.NewMark(kit.IconWarning, role)
		}
		rows = append(rows, container.New(findingLayout{}, mark, kit.Flow(0,
			kit.NewParagraph(name+": "+f.What, kit.Body, kit.Text, 3), kit.NewParagraph(kit.Sentence(plainError(do)), kit.Caption, kit.Secondary, 3))))
	}
	if n := len(l.report.Findings) - most; n > 0 {
		rows = append(rows, kit.NewParagraph(fmt.Sprintf("And %s more; the run's report lists all.", dataset.Count(n, "finding")), kit.Caption, kit.Secondary, 1))
	}
	return kit.Flow(kit.Gap, rows...)
}

// plainError is a text in the place of an error.
type plainError string

func (e plainError) Error() string { return string(e) }

// findingLayout: a mark, and beside it text that wraps.
type findingLayout struct{}

// MinSize implements fyne.Layout.
func (findingLayout) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(120, objects[1].MinSize().Height)
}

// Layout implements fyne.Layout.
func (findingLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[0].Resize(fyne.NewSize(16, 16))
	objects[0].Move(fyne.NewPos(0, 2))
	objects[1].Move(fyne.NewPos(24, 0))
	objects[1].Resize(fyne.NewSize(size.Width-24, size.Height))
}

func (p *picturesPage) balance(l *look) fyne.CanvasObject {
	sentences := l.balance()
	rows := []fyne.CanvasObject{kit.NewLabel("Balance", 13, kit.Secondary)}
	for _, s := range sentences {
		rows = append(rows, kit.NewParagraph(s, kit.Body, kit.Text, 4))
	}
	o := kit.Flow(kit.Tight, rows...)
	shown(o, len(sentences) > 0)
	return o
}

// describe puts a run's state into words for the bar: step, speed, time left, memory.
func describe(v *view) string {
	var parts []string
	switch v.state {
	case starting:
		if v.busy == "" {
			return "Starting"
		}
		return v.busy + "…"
	case ending:
		return "Saving, so that it can go on later…"
	case cancelled:
		return fmt.Sprintf("Stopped at step %d; it can go on", v.last.Step)
	case failed:
		return "Failed"
	case finished:
		text := "Finished"
		if v.ended > 0 {
			text += " in " + duration(v.ended)
		}
		return text
	case resting:
		return ""
	case pausing:
		parts = append(parts, "Pausing after this step")
	case paused:
		parts = append(parts, "Paused")
	}
	if v.waiting != "" {
		parts = append(parts, v.waiting)
	}
	if v.stage != "" {
		parts = append(parts, strings.ToUpper(v.stage[:1])+v.stage[1:])
	}
	e := v.last
	parts = append(parts, fmt.Sprintf("Step %d of %d", e.Step, e.Steps))
	if v.state == running && e.Step > 0 && e.Step == e.Steps {
		return strings.Join(append(parts, "measuring what it learnt"), " · ")
	}
	if v.state == running && v.waiting == "" {
		if e.Speed > 0 {
			parts = append(parts, paceText(e.Speed))
		}
		if e.Left > 0 {
			parts = append(parts, duration(e.TimeLeft())+" left")
		}
	}
	if e.Bytes > 0 {
		parts = append(parts, kit.Bytes(e.Bytes))
	}
	return strings.Join(parts, " · ")
}

// duration writes a time as people say it: "3 s", "2 min 05 s", "3 h 20 min".
func duration(d time.Duration) string {
	s := int(math.Round(d.Seconds()))
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %02d min", s/3600, s/60%60)
}

// product is the short name of what a run made.
func product(v *view) string {
	if v.outcome == nil || v.outcome.Product == "" {
		return ""
	}
	return filepath.Base(v.outcome.Product)
}
