package models

import (
	"fmt"
	"path/filepath"
	"strings"

	"fyne.io/fyne/v2"

	"atelier/app/dataset"
	"atelier/app/modelstore"
	"atelier/ui/kit"
)

const labelWidth = 64

// form is the left column: what of all models is shown, and the folders that they are in.
type form struct {
	tips   *kit.Tips
	do     formActions
	kinds  []modelstore.Kind // of the choice after its first entry, which is all
	sorts  []string
	usable bool

	words    *kit.Field
	kind     *kit.Choice
	sort     *kit.Choice
	only     *kit.Button
	folders  *fyne.Container
	problems *kit.Remark
	mark     *fyne.Container
	content  *fyne.Container
	foot     *fyne.Container
}

type formActions struct {
	search, link, scan, folder, choose func()
	unlink                             func(path string)
}

var sortLabels = map[string]string{"name": "Name", "size": "Size", "family": "Family", "kind": "Kind", "params": "Parameters", "date": "Newest"}

func newForm(tips *kit.Tips, do formActions) *form {
	f := &form{tips: tips, do: do, sorts: modelstore.Sorts()}
	f.words = kit.NewField(tips, "Search", 80, kit.Tip{Name: "Search", Key: "Ctrl+F", Text: "Words that all must occur: in the name, title, family, tags, trigger words, licence or path."})
	f.words.OnChanged = func(string) { do.search() }
	f.words.OnCancel = func() bool {
		if f.words.Text() == "" {
			return false
		}
		f.words.SetText("")
		return true
	}
	f.kind = kit.NewChoice(tips, kit.Tip{Name: "Kind", Key: "↑ ↓", Text: "Show one kind of models alone."})
	f.kind.OnChanged = func(int) { do.search() }
	f.sort = kit.NewChoice(tips, kit.Tip{Name: "Order", Key: "↑ ↓", Text: "What the list is sorted by."})
	labels := make([]string, len(f.sorts))
	for i, s := range f.sorts {
		labels[i] = sortLabels[s]
	}
	f.sort.SetLabels(labels, 0)
	f.sort.OnChanged = func(int) { do.search() }
	f.only = kit.NewButton(tips, "Only what can be used", kit.Plain, kit.Tip{Name: "Only what can be used", Text: "Leave out models that are broken or of a kind that this version does not run."}, func() {
		f.usable = !f.usable
		f.only.Selected = f.usable
		f.only.Refresh()
		do.search()
	})
	f.only.Height, f.only.TextSize = 26, kit.Caption
	f.folders = kit.Column(kit.Tight)
	f.problems = kit.NewRemark(tips, "", kit.Caption, kit.AccentInk)
	f.mark = kit.Row(kit.Gap, 1, kit.NewMark(kit.IconWarning, kit.AccentInk), f.problems)
	f.mark.Hide()
	own := kit.NewIconButton(tips, kit.IconFolder, kit.Tip{Name: "Open folder", Text: "Show the studio's own folder of models, which imports and downloads go to."}, do.folder)
	choose := kit.NewIconButton(tips, kit.IconSettings, kit.Tip{Name: "Choose the studio's own folder", Text: "Pick where imports and downloads go from now on. What is in the old folder stays there."}, do.choose)
	f.content = kit.Column(kit.Wide,
		kit.Column(kit.Gap, f.words, kit.Labelled("Kind", labelWidth, f.kind), kit.Labelled("Order", labelWidth, f.sort), kit.Labelled("", labelWidth, f.only)),
		kit.Column(kit.Tight, kit.Row(kit.Tight, 0, kit.NewLine("Folders", 13, kit.Secondary, 60), choose, own), f.folders, f.mark),
	)
	link := kit.NewButton(tips, "Link a folder…", kit.Plain, kit.Tip{Name: "Link a folder", Text: "Use the models of A1111, ComfyUI, LM Studio or any other folder where they are; nothing is copied or changed."}, do.link)
	link.Icon, link.Height = kit.IconPlus, 38
	scan := kit.NewIconButton(tips, kit.IconRefresh, kit.Tip{Name: "Look again", Text: "Look through all folders for models that came or went."}, do.scan)
	scan.Height = 38
	f.foot = kit.Row(kit.Gap, 0, link, scan)
	f.count(nil)
	return f
}

// query is what the form asks for.
func (f *form) query() modelstore.Query {
	q := modelstore.Query{Words: f.words.Text(), Usable: f.usable, Sort: f.sorts[max(0, f.sort.Selected())]}
	if i := f.kind.Selected(); i > 0 && i <= len(f.kinds) {
		q.Kind = f.kinds[i-1]
	}
	return q
}

// count offers the kinds that there are, with how many there are of each.
func (f *form) count(entries []modelstore.Entry) {
	chosen := f.query().Kind
	number := map[modelstore.Kind]int{}
	for _, e := range entries {
		number[e.Kind]++
	}
	f.kinds = nil
	labels, selected := []string{fmt.Sprintf("All (%d)", len(entries))}, 0
	for _, k := range modelstore.Kinds() {
		if number[k] == 0 {
			continue
		}
		f.kinds = append(f.kinds, k)
		labels = append(labels, fmt.Sprintf("%s (%d)", kindLabel(k), number[k]))
		if k == chosen {
			selected = len(f.kinds)
		}
	}
	f.kind.SetLabels(labels, selected)
}

// setFolders lists the folders that are looked through.
func (f *form) setFolders(all []modelstore.Folder) {
	f.folders.Objects = nil
	for _, one := range all {
		name := kit.NewRemark(f.tips, programLabel(one), kit.Caption, kit.Text)
		name.SetTip(kit.Tip{Name: programLabel(one), Text: one.Path})
		row := kit.Column(0, name, kit.NewLine(short(one.Path), kit.Caption, kit.Secondary, 60))
		if one.Origin == modelstore.OriginOwn {
			f.folders.Objects = append(f.folders.Objects, row)
			continue
		}
		x := kit.NewIconButton(f.tips, kit.IconClose, kit.Tip{Name: "Unlink", Text: "Leave this folder out. Nothing in it is changed."}, func() { f.do.unlink(one.Path) })
		x.Height = 26
		f.folders.Objects = append(f.folders.Objects, kit.Row(kit.Tight, 0, row, x))
	}
	f.folders.Refresh()
	f.content.Refresh()
}

// setProblems says what was in the way of a scan.
func (f *form) setProblems(all []modelstore.Problem) {
	if len(all) == 0 {
		f.mark.Hide()
		f.content.Refresh()
		return
	}
	f.problems.Set(dataset.Count(len(all), "thing")+" in the way", kit.AccentInk)
	const most = 4
	var lines []string
	for _, p := range all[:min(most, len(all))] {
		lines = append(lines, p.Error()+".")
	}
	if n := len(all) - most; n > 0 {
		lines = append(lines, fmt.Sprintf("And %d more.", n))
	}
	f.problems.SetTip(kit.Tip{Name: "What was in the way", Text: strings.Join(lines, "\n")})
	f.mark.Show()
	f.content.Refresh()
}

func (f *form) scroller() fyne.CanvasObject {
	return kit.ScrollForm(f.tips, f.content)
}

// programLabel says whose a folder is.
func programLabel(f modelstore.Folder) string {
	label := map[modelstore.Program]string{
		modelstore.Own: "Atelier's own", modelstore.A1111: "A1111 or Forge", modelstore.ComfyUI: "ComfyUI", modelstore.LMStudio: "LM Studio",
		modelstore.HuggingFace: "Hugging Face cache", modelstore.Diffusers: "A model folder", modelstore.Plain: "Folder",
	}[f.Program]
	if label == "" {
		label = string(f.Program)
	}
	if f.Origin == modelstore.OriginFound {
		label += " (found)"
	}
	return label
}

// kindLabel is a kind as a person reads it.
func kindLabel(k modelstore.Kind) string {
	switch k {
	case modelstore.Checkpoint:
		return "Checkpoint"
	case modelstore.Generator:
		return "Generator"
	case modelstore.UNet:
		return "Denoiser"
	case modelstore.VAE:
		return "Autoencoder"
	case modelstore.TextEncoder:
		return "Text encoder"
	case modelstore.LoRA:
		return "LoRA"
	case modelstore.ControlNet:
		return "ControlNet"
	case modelstore.Upscaler:
		return "Upscaler"
	case modelstore.Embedding:
		return "Learned word"
	case modelstore.TAESD:
		return "Tiny autoencoder"
	case modelstore.LLM:
		return "Language model"
	case modelstore.Unknown:
		return "Unknown"
	}
	return string(k)
}

// short writes a path with the home folder as ~, from its end where it is long.
func short(path string) string {
	parts := strings.Split(filepath.ToSlash(path), "/")
	const most = 3
	if len(parts) > most+1 {
		return "…/" + strings.Join(parts[len(parts)-most:], "/")
	}
	return path
}

// stem is a file's name without its ending.
func stem(path string) string { return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) }

// share is how much of all is done; something, where nothing is known.
func share(done, all int64) float64 {
	if all <= 0 {
		return 0.01
	}
	return float64(done) / float64(all)
}
