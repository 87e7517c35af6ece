package models

import (
	"path/filepath"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/app/modelstore"
	"atelier/ui/kit"
)

// details is the right column: all that is known of the chosen thing, and what can be done with it.
type details struct {
	body    *fyne.Container
	page    *fyne.Container
	actions *fyne.Container
	content fyne.CanvasObject
}

func newDetails() *details {
	d := &details{body: kit.Flow(kit.Wide), actions: kit.Column(kit.Tight)}
	d.page = kit.Page(kit.Wide, 12, d.body)
	d.content = container.New(detailsLayout{}, kit.NewLine("Details", kit.Section, kit.Text, 60), d.page, kit.NewBacking(kit.Line), d.actions)
	d.clear(pageHere)
	return d
}

// detailsLayout: headline, a page, a line, buttons.
type detailsLayout struct{}

// MinSize implements fyne.Layout.
func (detailsLayout) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(kit.RightMin, 240) }

// Layout implements fyne.Layout.
func (detailsLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	const side = 12
	objects[0].Resize(fyne.NewSize(size.Width-2*side, kit.HeadHeight))
	objects[0].Move(fyne.NewPos(side, kit.HeadTop))
	bottom := size.Height
	shown(objects[2], objects[3].Visible())
	if objects[3].Visible() {
		h := objects[3].MinSize().Height
		bottom -= h + 12
		objects[3].Resize(fyne.NewSize(size.Width-2*side, h))
		objects[3].Move(fyne.NewPos(side, bottom))
		bottom -= 12
		objects[2].Resize(fyne.NewSize(size.Width, 1))
		objects[2].Move(fyne.NewPos(0, bottom))
	}
	top := float32(kit.HeadTop + kit.HeadHeight)
	objects[1].Move(fyne.NewPos(0, top))
	objects[1].Resize(fyne.NewSize(size.Width, max(0, bottom-top)))
}

// set shows a page of objects and buttons.
func (d *details) set(objects []fyne.CanvasObject, buttons ...fyne.CanvasObject) {
	d.body.Objects = objects
	d.actions.Objects = buttons
	shown(d.actions, len(buttons) > 0)
	d.body.Refresh()
	d.page.Refresh()
	d.content.Refresh()
}

// clear says what would stand here.
func (d *details) clear(p page) {
	text := map[page]string{
		pageHere:      "Choose a model to see what it is, what it needs, and what is wrong with it.",
		pageCatalogue: "Choose a model to see what it is good for and under which licence it comes.",
		pageDownloads: "Choose a download to pause it, go on with it, or stop it.",
	}[p]
	d.set([]fyne.CanvasObject{kit.NewParagraph(text, kit.Caption, kit.Secondary, 4)})
}

// fact is a quiet name with its value below.
func fact(name, value string, lines int) fyne.CanvasObject {
	return kit.Flow(0, kit.NewLine(name, kit.Caption, kit.Secondary, 60), kit.NewParagraph(value, 13, kit.Text, lines))
}

// facts are those that have a value.
func facts(pairs ...[2]string) fyne.CanvasObject {
	var rows []fyne.CanvasObject
	for _, p := range pairs {
		if p[1] != "" {
			const lines = 6
			rows = append(rows, fact(p[0], p[1], lines))
		}
	}
	return kit.Flow(kit.Gap, rows...)
}

// note is a sentence with a mark before it.
func note(text string, icon kit.Icon, role fyne.ThemeColorName) fyne.CanvasObject {
	return container.New(noteLayout{}, kit.NewMark(icon, role), kit.NewParagraph(text, 13, kit.Text, 40))
}

// noteLayout: a mark, and beside it text that wraps.
type noteLayout struct{}

// MinSize implements fyne.Layout.
func (noteLayout) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(80, objects[1].MinSize().Height)
}

// Layout implements fyne.Layout.
func (noteLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[0].Resize(fyne.NewSize(16, 16))
	objects[0].Move(fyne.NewPos(0, 1))
	objects[1].Move(fyne.NewPos(24, 0))
	objects[1].Resize(fyne.NewSize(size.Width-24, size.Height))
}

// row is a model as the list shows it.
func (w *Workspace) row(e modelstore.Entry) kit.Item {
	r := kit.Item{Title: e.Name, Side: kit.Bytes(e.Size), Icon: iconOf(e.Kind), Picture: w.thumbOf(e)}
	if e.Title != "" {
		r.Title = e.Title
	}
	parts := []string{kindLabel(e.Kind)}
	if f := familyText(e); f != "" {
		parts = append(parts, f)
	}
	if e.Memory.Bytes > 0 && e.Whole() {
		parts = append(parts, "needs "+kit.Bytes(e.Memory.Bytes))
	}
	if e.Licence != "" {
		parts = append(parts, e.Licence)
	}
	parts = append(parts, w.hashText(e, e.Short))
	r.Detail = strings.Join(parts, " · ")
	if e.Problem != "" {
		r.Detail, r.Role, r.Icon = kindLabel(e.Kind)+" · "+e.Problem, kit.Loss, kit.IconWarning
	}
	return r
}

func familyText(e modelstore.Entry) string {
	return strings.TrimSpace(e.Family + " " + strings.Join(e.Variants, " "))
}

func iconOf(k modelstore.Kind) kit.Icon {
	switch k {
	case modelstore.LoRA, modelstore.Embedding:
		return kit.IconSpark
	case modelstore.Checkpoint, modelstore.Generator:
		return kit.IconImage
	}
	return kit.IconModels
}

// showEntry shows all that is known of a model.
func (w *Workspace) showEntry(index int) {
	if index < 0 || index >= len(w.shown) {
		return
	}
	e := w.shown[index]
	name := e.Name
	if e.Title != "" {
		name = e.Title
	}
	head := []fyne.CanvasObject{kit.NewParagraph(name, kit.Section, kit.Text, 2), kit.NewParagraph(strings.Join(nonEmpty(kindLabel(e.Kind), familyText(e)), " · "), kit.Caption, kit.Secondary, 2)}
	objects := []fyne.CanvasObject{kit.Flow(2, head...)}
	if t := w.thumbs[e.Path]; t != nil && t.large != nil {
		still := kit.NewStill()
		still.Set(t.large)
		objects = append(objects, still)
	}
	if e.Problem != "" {
		for _, one := range strings.Split(e.Problem, ". And ") { // of each network
			objects = append(objects, note(sentence(one), kit.IconWarning, kit.Loss))
		}
	}
	if e.Note != "" {
		objects = append(objects, note(sentence(e.Note), kit.IconInfo, kit.Secondary))
	}
	memory := ""
	if e.Memory.Bytes > 0 {
		memory = kit.Bytes(e.Memory.Bytes)
		if e.Memory.Basis != "" {
			memory += ", " + e.Memory.Basis
		}
		if e.Memory.Least > 0 && e.Memory.Least < e.Memory.Bytes {
			memory += "; " + kit.Bytes(e.Memory.Least) + " with one network at a time"
		}
	}
	said := [][2]string{
		{"Trigger words", strings.Join(e.Triggers, ", ")},
		{"Memory", memory},
		{"Size", kit.Bytes(e.Size)},
		{"Parameters", e.ParamsText()},
		{"Format", strings.TrimSpace(e.Format + " " + e.DType)},
		{"Licence", strings.TrimSpace(e.Licence + " " + e.LicenceURL)},
		{"Author", e.Author},
		{"Base model", e.Base},
		{"Description", e.Description},
		{"Tags", strings.Join(e.Tags, ", ")},
	}
	for _, f := range e.Facts {
		said = append(said, [2]string{f.Name, f.Value})
	}
	said = append(said, [2]string{"From", e.Source}, [2]string{"Path", e.Path})
	objects = append(objects, facts(said...), w.hashFacts(e))
	w.details.set(objects, w.entryButtons(e)...)
}

// entryButtons are what can be done with a model.
func (w *Workspace) entryButtons(e modelstore.Entry) []fyne.CanvasObject {
	tips := w.config.Tips
	use := kit.NewButton(tips, "Use in Image", kit.Primary, kit.Tip{Name: "Use in Image", Text: "Choose this model in the image workspace, or put its words into the prompt there."}, func() { w.use(e) })
	if why := notUsed(e); why != "" {
		use.SetEnabled(false)
		use.SetTip(kit.Tip{Name: "Use in Image", Text: why})
	}
	small := func(text string, tip kit.Tip, do func()) *kit.Button {
		b := kit.NewButton(tips, text, kit.Plain, tip, do)
		b.Height, b.TextSize = 26, kit.Caption
		return b
	}
	row := []fyne.CanvasObject{small("Folder", kit.Tip{Name: "Folder", Text: "Show the folder that the model is in."}, func() { w.open(filepath.Dir(e.Path)) })}
	if e.Program == modelstore.Own {
		b := small("Delete…", kit.Tip{Name: "Delete", Text: "Delete this model from the disk, after asking."}, func() { w.remove(e) })
		b.Style = kit.Stop
		row = append(row, b)
	}
	return []fyne.CanvasObject{use, kit.Equal(kit.Tight, row...)}
}

// notUsed says why a model cannot be chosen in the image workspace; empty where it can.
func notUsed(e modelstore.Entry) string {
	switch {
	case e.Problem != "":
		return "It cannot be used: " + sentence(e.Problem)
	case e.Whole(), slices.Contains([]modelstore.Kind{modelstore.LoRA, modelstore.Embedding}, e.Kind):
		return ""
	case e.Kind == modelstore.LLM:
		return "This version makes no text."
	case e.Kind == modelstore.Unknown:
		return "Nobody knows what it is."
	}
	return "It is a part that a checkpoint works with, and makes no pictures by itself."
}

func nonEmpty(all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// sentence makes a clause a sentence.
func sentence(text string) string { return kit.Sentence(clause(text)) }

type clause string

func (c clause) Error() string { return string(c) }
