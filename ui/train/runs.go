package train

import (
	"fmt"
	"path/filepath"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/app/training"
	"atelier/ui/kit"
)

// runs is the right column: what was trained before, and what can be done with the chosen one.
type runs struct {
	all      []training.Info
	live     string // folder of the run that goes on
	onSelect func(training.Info)

	list    *kit.List
	hint    *kit.Paragraph
	title   *kit.Label
	facts   *kit.Label
	path    *kit.Label
	resume  *kit.Button
	use     *kit.Button
	report  *kit.Button
	again   *kit.Button
	folder  *kit.Button
	details *fyne.Container
	content fyne.CanvasObject
}

// actions are what the buttons of the list do with the chosen run.
type actions struct {
	resume, use, report, again, folder func(training.Info)
	openAll                            func()
}

func newRuns(tips *kit.Tips, do actions) *runs {
	r := &runs{list: kit.NewList(false), title: kit.NewLine("", kit.Body, kit.Text, 60), facts: kit.NewLine("", kit.Caption, kit.Secondary, 60), path: kit.NewLine("", kit.Caption, kit.Secondary, 60)}
	r.hint = kit.NewParagraph("Every training is kept and appears here. One that was stopped goes on where it was.", kit.Caption, kit.Secondary, 4)
	small := func(text string, tip kit.Tip, f func(training.Info)) *kit.Button {
		b := kit.NewButton(tips, text, kit.Plain, tip, func() {
			if i, ok := r.chosen(); ok {
				f(i)
			}
		})
		b.Height, b.TextSize = 26, kit.Caption
		return b
	}
	r.resume = small("Go on", kit.Tip{Name: "Go on", Text: "Go on with this training exactly where it stopped."}, do.resume)
	r.use = small("Use in Image", kit.Tip{Name: "Use in Image", Text: "Make what was trained available in the image workspace and go there."}, do.use)
	r.report = small("Report", kit.Tip{Name: "Report", Text: "Open the page with curves, figures, samples and the balance of the data."}, do.report)
	r.again = small("Reuse recipe", kit.Tip{Name: "Reuse recipe", Text: "Put this run's recipe into the form, to train it anew or with changes."}, do.again)
	r.folder = small("Folder", kit.Tip{Name: "Folder", Text: "Show the run's folder with everything that was made."}, do.folder)
	all := kit.NewIconButton(tips, kit.IconFolder, kit.Tip{Name: "Open folder", Text: "Show the folder that all trainings are kept in."}, do.openAll)
	r.list.OnSelect = func(i int) {
		r.refresh()
		r.onSelect(r.all[i])
	}
	r.details = kit.Column(kit.Gap, kit.Column(2, r.title, r.facts, r.path),
		kit.Column(kit.Tight, kit.Equal(kit.Tight, container.NewStack(r.resume, r.use), r.report), kit.Equal(kit.Tight, r.again, r.folder)))
	r.details.Hide()
	r.content = container.New(runsLayout{}, kit.Row(kit.Tight, 0, kit.NewLine("Trainings", kit.Section, kit.Text, 60), all),
		container.NewStack(r.list, kit.Inset(4, 0, r.hint)), kit.NewBacking(kit.Line), r.details)
	return r
}

// runsLayout: headline, the list takes the room, a line, details.
type runsLayout struct{}

// MinSize implements fyne.Layout.
func (runsLayout) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(kit.RightMin, 240) }

// Layout implements fyne.Layout.
func (runsLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	const side = 12
	width := size.Width - 2*side
	objects[0].Resize(fyne.NewSize(width, kit.HeadHeight))
	objects[0].Move(fyne.NewPos(side, kit.HeadTop))
	bottom := size.Height
	shown(objects[2], objects[3].Visible())
	if objects[3].Visible() {
		h := objects[3].MinSize().Height
		bottom -= h + 12
		objects[3].Resize(fyne.NewSize(width, h))
		objects[3].Move(fyne.NewPos(side, bottom))
		bottom -= 12
		objects[2].Resize(fyne.NewSize(size.Width, 1))
		objects[2].Move(fyne.NewPos(0, bottom))
	}
	top := float32(kit.HeadTop + kit.HeadHeight + kit.Gap)
	objects[1].Move(fyne.NewPos(side-4, top))
	objects[1].Resize(fyne.NewSize(width+8, max(0, bottom-top-kit.Gap)))
}

// chosen is the run that the list shows as such.
func (r *runs) chosen() (training.Info, bool) {
	if i := r.list.Selected(); i >= 0 && i < len(r.all) {
		return r.all[i], true
	}
	return training.Info{}, false
}

// set shows runs; the one in folder is chosen, without asking for it.
func (r *runs) set(all []training.Info, folder string) {
	r.all = all
	rows, chosen := make([]kit.Item, len(all)), -1
	for i, one := range all {
		rows[i] = r.row(one)
		if one.Folder == folder {
			chosen = i
		}
	}
	r.list.SetRows(rows, chosen)
	shown(r.hint, len(all) == 0)
	r.refresh()
}

// update takes over how far the run that goes on is.
func (r *runs) update(v *view) {
	for i := range r.all {
		if r.all[i].Folder == v.folder {
			r.all[i].Step, r.all[i].Steps, r.all[i].Loss = v.last.Step, v.last.Steps, v.last.Loss
			r.list.SetRow(i, r.row(r.all[i]))
		}
	}
	if i, ok := r.chosen(); ok && i.Folder == v.folder {
		r.describe(i)
	}
}

func (r *runs) row(i training.Info) kit.Item {
	row := kit.Item{Title: i.Name, Side: kindLabel(i.Kind), Detail: stateText(i)}
	if i.Folder == r.live {
		row.Detail, row.Role = liveText(i), kit.AccentInk
	}
	if !i.Finished && i.Steps > 0 {
		row.Share = max(0.01, float64(i.Step)/float64(i.Steps))
	}
	return row
}

// liveText says how far the training that goes on now is. After the last step comes the report, which takes as long as many steps.
func liveText(i training.Info) string {
	if i.Step > 0 && i.Step == i.Steps {
		return "Trained; measuring what it learnt"
	}
	return fmt.Sprintf("Training: step %d of %d", i.Step, i.Steps)
}

func stateText(i training.Info) string {
	when := ""
	if !i.Changed.IsZero() {
		when = " · " + day(i.Changed)
	}
	switch {
	case i.Finished:
		return "Finished" + when
	case i.Step > 0:
		return fmt.Sprintf("Stopped at step %d of %d%s", i.Step, i.Steps, when)
	}
	return "Not begun" + when
}

// day writes a time as a list does.
func day(t time.Time) string {
	now := time.Now()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2 Jan 2006")
}

func (r *runs) refresh() {
	i, ok := r.chosen()
	shown(r.details, ok)
	if ok {
		r.describe(i)
	}
	r.content.Refresh()
}

func (r *runs) describe(i training.Info) {
	r.title.Set(i.Name, kit.Text)
	text := stateText(i)
	if i.Folder == r.live {
		text = liveText(i)
	}
	if i.Loss > 0 {
		text += " · loss " + kit.ShortNumber(i.Loss)
	}
	r.facts.Set(text, kit.Secondary)
	r.path.Set(kindLabel(i.Kind)+" · "+filepath.Base(i.Folder), kit.Secondary)
	if i.Product != "" {
		r.path.Set(kindLabel(i.Kind)+" · "+filepath.Base(i.Product), kit.Secondary)
	}
	live := i.Folder == r.live
	shown(r.resume, !i.Finished)
	shown(r.use, i.Finished)
	r.resume.SetEnabled(r.live == "")
	switch {
	case live:
		r.resume.SetTip(kit.Tip{Name: "Go on", Text: "This training goes on right now."})
	case r.live != "":
		r.resume.SetTip(kit.Tip{Name: "Go on", Text: "Another training goes on right now; stop it first."})
	default:
		r.resume.SetTip(kit.Tip{Name: "Go on", Text: "Go on with this training exactly where it stopped."})
	}
	r.report.SetEnabled(i.Finished)
	if i.Finished {
		r.report.SetTip(kit.Tip{Name: "Report", Text: "Open the page with curves, figures, samples and the balance of the data."})
	} else {
		r.report.SetTip(kit.Tip{Name: "Report", Text: "The report is written when the training has finished."})
	}
}
