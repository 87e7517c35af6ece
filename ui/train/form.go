package train

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"fyne.io/fyne/v2"

	"atelier/app/training"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

const labelWidth = 84

// form is the left column: what is to be trained. The recipe is the truth; the controls show the main parts of it, and the recipe's
// text all.
type form struct {
	tips      *kit.Tips
	kinds     []training.Kind
	bases     []studio.Named
	recipe    training.Recipe
	problem   error // of the recipe; nil where it can be trained
	edited    bool  // the person has changed more than the pictures and the kind
	named     bool  // the person gave the name
	loading   bool  // changes come from the program
	onPath    func(path string)
	onChanged func() // the recipe is another one

	path, name, trigger *kit.Field
	kind, base          *kit.Choice
	about               *kit.Paragraph
	steps, batch        *kit.Number
	rank                *kit.Number
	size, rate          *kit.Field
	baseRow, triggerRow *fyne.Container
	rankRow             *fyne.Container
	content             *fyne.Container
}

func newForm(tips *kit.Tips, bases []studio.Named, chooseFolder, chooseFile func()) *form {
	f := &form{tips: tips, kinds: training.Kinds(), bases: bases}
	f.path = kit.NewField(tips, "Folder or zip archive", 80, kit.Tip{Name: "Pictures", Key: "Return", Text: "The folder or zip archive with the pictures to learn from; captions lie in text files beside them or in their names."})
	f.path.OnCommit = func(text string) {
		if !f.loading {
			f.onPath(text)
		}
	}
	folder := kit.NewIconButton(tips, kit.IconFolder, kit.Tip{Name: "Choose a folder", Text: "Pick the folder with the pictures. A folder or an archive can also be dropped on the window."}, chooseFolder)
	archive := kit.NewIconButton(tips, kit.IconArchive, kit.Tip{Name: "Choose a zip archive", Text: "Pick an archive with the pictures. It is read as it is, without unpacking."}, chooseFile)
	f.kind = kit.NewChoice(tips, kit.Tip{Name: "Kind", Key: "↑ ↓", Text: "What is made of the pictures."})
	f.base = kit.NewChoice(tips, kit.Tip{Name: "Base model", Key: "↑ ↓", Text: "The model that training starts from; what is made works with it."})
	f.about = kit.NewParagraph("", kit.Caption, kit.Secondary, 3)
	f.buildNumbers()
	f.name = kit.NewField(tips, "my-style", 80, kit.Tip{Name: "Name", Text: "The file name of what is made, and how prompts call it."})
	f.name.OnCommit = func(text string) { f.rename(strings.TrimSpace(text)) }
	f.trigger = kit.NewField(tips, "none", 80, kit.Tip{Name: "Trigger words", Text: "Words that are put to every caption, and that call what was learnt in a prompt."})
	f.trigger.OnCommit = func(text string) {
		f.change(f.trigger, func(r *training.Recipe) { r.Data.Trigger = strings.TrimSpace(text) })
	}
	var labels []string
	for _, k := range f.kinds {
		labels = append(labels, kindLabel(k.Name))
	}
	f.kind.SetLabels(labels, 0)
	f.kind.OnChanged = func(i int) { f.anew(f.kinds[i].Name) }
	f.base.OnChanged = func(i int) {
		if i >= len(f.bases) {
			return // the one that the recipe's text names
		}
		f.change(f.base, func(r *training.Recipe) { r.Base = f.bases[i].ID })
		if !f.edited {
			f.anew(f.recipe.Kind)
		}
	}
	f.baseRow = kit.Labelled("Base", labelWidth, f.base)
	f.triggerRow = kit.Labelled("Trigger", labelWidth, f.trigger)
	f.rankRow = kit.Labelled("Rank", labelWidth, f.rank)
	f.content = kit.Flow(kit.Wide,
		kit.Column(kit.Gap, kit.NewLabel("Pictures", 13, kit.Secondary), kit.Row(kit.Tight, 0, f.path, folder, archive)),
		kit.Flow(kit.Gap, kit.Labelled("Make", labelWidth, f.kind), f.about, f.baseRow, kit.Labelled("Name", labelWidth, f.name), f.triggerRow),
		kit.Column(kit.Gap, kit.Labelled("Steps", labelWidth, f.steps), kit.Labelled("Batch", labelWidth, f.batch), kit.Labelled("Size", labelWidth, f.size),
			f.rankRow, kit.Labelled("Learning rate", labelWidth, f.rate)),
	)
	f.recipe, f.problem = training.New(f.kinds[0].Name, "my-style", "", "")
	f.show()
	return f
}

func (f *form) buildNumbers() {
	f.steps = kit.NewNumber(f.tips, kit.Range{Min: 1, Max: 100000, Step: 1, Curve: 3, Name: "Steps"}, 600, kit.Tip{
		Name: "Steps", Key: "← →", Text: "How many times the model is changed a little. Watch the samples: too few learn little, too many only repeat the pictures."})
	f.batch = kit.NewNumber(f.tips, kit.Range{Min: 1, Max: 64, Step: 1, Curve: 2, Name: "Batch"}, 4, kit.Tip{
		Name: "Batch", Key: "← →", Text: "How many pictures each step looks at. More is steadier, slower and takes more memory."})
	f.size = kit.NewField(f.tips, "the model's own", 72, kit.Tip{
		Name: "Size", Text: "The side of the pictures in training, in pixels; a width and a height go into the recipe. Empty takes the model's own size."})
	f.size.OnCommit = f.resize
	f.rank = kit.NewNumber(f.tips, kit.Range{Min: 1, Max: 256, Step: 1, Curve: 2, Name: "Rank"}, 16, kit.Tip{
		Name: "Rank", Key: "← →", Text: "How much a LoRA can learn. Higher ranks make larger files and repeat pictures sooner."})
	f.rate = kit.NewNumericField(f.tips, 72, kit.Tip{Name: "Learning rate", Text: "How far each step changes the model, such as 1e-4. If the loss jumps, make it smaller."})
	number := func(n *kit.Number, set func(r *training.Recipe, v int)) {
		n.OnChanged = func(v float64) {
			f.change(n, func(r *training.Recipe) { set(r, int(v)) })
		}
	}
	number(f.steps, func(r *training.Recipe, v int) { r.Train.Steps, r.Train.Epochs = v, 0 })
	number(f.batch, func(r *training.Recipe, v int) { r.Train.Batch = v })
	number(f.rank, func(r *training.Recipe, v int) { r.LoRA.Rank = v })
	f.rate.OnCommit = func(text string) {
		v, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(text), ",", "."), 64)
		if err != nil || math.IsNaN(v) || v <= 0 {
			if strings.TrimSpace(text) != rateText(f.recipe.Train.Rate) {
				f.tips.Note(f.rate, "A learning rate is a small number above 0, such as 0.0001 or 1e-4.")
			}
			f.rate.SetText(rateText(f.recipe.Train.Rate))
			return
		}
		f.change(f.rate, func(r *training.Recipe) { r.Train.Rate = v })
	}
}

// anew begins a recipe of a kind with everything at its default, but for the pictures, the name and the base.
func (f *form) anew(kind string) {
	if f.loading {
		return
	}
	base := f.recipe.Base
	if base != "" && len(f.bases) > 0 && base == f.bases[0].ID {
		base = "" // the built-in model has defaults of its own
	}
	if f.recipe.Kind != kind && !needsBase(kind) {
		base = ""
	}
	f.recipe, f.problem = training.New(kind, f.recipe.Name, f.recipe.Data.Path, base)
	f.edited = false
	f.show()
	f.onChanged()
}

// needsBase tells whether a kind is trained on another model: its empty recipe then names the built-in one.
func needsBase(kind string) bool {
	r, _ := training.New(kind, "x", "x", "")
	return r.Base != ""
}

// setPath takes another set of pictures in; the name follows it unless the person gave one.
func (f *form) setPath(path string) {
	name := f.recipe.Name
	if !f.named {
		name = nameOf(path)
	}
	base := f.recipe.Base
	if len(f.bases) > 0 && base == f.bases[0].ID {
		base = ""
	}
	if f.edited {
		f.recipe.Data.Path, f.recipe.Name = path, name
		f.recipe, f.problem = f.recipe.Fill()
	} else {
		f.recipe, f.problem = training.New(f.recipe.Kind, name, path, base)
	}
	f.show()
	f.onChanged()
}

func (f *form) rename(name string) {
	if f.loading || name == f.recipe.Name {
		return
	}
	was := f.recipe.Name
	if f.change(f.name, func(r *training.Recipe) {
		r.Name = name
		if r.Data.Trigger == was {
			r.Data.Trigger = name
		}
	}) {
		f.named = true
	}
}

// change alters the recipe for the person; where the result cannot be, it is undone with a note. Only what the change itself brings
// counts: missing pictures are said elsewhere.
func (f *form) change(at fyne.CanvasObject, do func(r *training.Recipe)) bool {
	if f.loading {
		return false
	}
	next := f.recipe
	do(&next)
	filled, err := next.Fill()
	if err != nil && (f.problem == nil || err.Error() != f.problem.Error()) {
		f.tips.Note(at, kit.Sentence(err))
		f.show()
		return false
	}
	f.recipe, f.problem, f.edited = filled, err, true
	f.show()
	f.onChanged()
	return true
}

// write takes a recipe's text over, as far as it is one; it gives what is wrong with it.
func (f *form) write(text string) error {
	r, err := training.Parse([]byte(text))
	f.problem = err
	if err == nil {
		f.named = f.named || r.Name != f.recipe.Name
		f.recipe, f.edited = r, true
		f.show()
	}
	return err
}

// adopt shows the recipe of an earlier run, to train it again or to change it.
func (f *form) adopt(r training.Recipe) {
	f.recipe, f.problem = r.Fill()
	f.edited, f.named = true, true
	f.show()
	f.onChanged()
}

// setBases changes what there is to start from. What is being typed elsewhere stays.
func (f *form) setBases(bases []studio.Named) {
	f.bases = bases
	f.showBases()
}

func (f *form) showBases() {
	base := f.recipe.Base
	labels, chosen := make([]string, len(f.bases)), -1
	for i, b := range f.bases {
		if labels[i] = b.Label; b.ID == base {
			chosen = i
		}
	}
	if chosen < 0 && base != "" { // named in the recipe's text
		labels, chosen = append(labels, filepath.Base(base)), len(labels)
	}
	f.base.SetLabels(labels, chosen)
}

// show brings the controls up to date with the recipe.
func (f *form) show() {
	was := f.loading
	f.loading = true
	defer func() { f.loading = was }()
	r := &f.recipe
	f.path.SetText(r.Data.Path)
	f.name.SetText(r.Name)
	f.trigger.SetText(r.Data.Trigger)
	for i, k := range f.kinds {
		if k.Name == r.Kind {
			f.kind.Select(i)
			f.about.Set("Makes " + k.About + ".")
		}
	}
	f.showBases()
	shown(f.baseRow, r.Base != "")
	shown(f.triggerRow, needsBase(r.Kind))
	shown(f.rankRow, r.Kind == "lora")
	f.steps.Set(float64(max(1, r.Train.Steps)))
	f.batch.Set(float64(r.Train.Batch))
	f.size.SetText(sizeText(r))
	f.rank.Set(float64(max(1, r.LoRA.Rank)))
	f.rate.SetText(rateText(r.Train.Rate))
	f.content.Refresh()
}

func shown(o fyne.CanvasObject, on bool) {
	if on {
		o.Show()
	} else {
		o.Hide()
	}
}

func (f *form) scroller() fyne.CanvasObject {
	return kit.ScrollForm(f.tips, f.content)
}

// resize takes a side that was typed.
func (f *form) resize(text string) {
	text = strings.TrimSpace(text)
	if f.loading || text == sizeText(&f.recipe) {
		return
	}
	side := 0
	if text != "" {
		v, err := strconv.Atoi(strings.TrimSuffix(text, " px"))
		if err != nil || v < 1 {
			f.tips.Note(f.size, "A size is a whole number of pixels, such as 64; leave it empty for the model's own.")
			f.show()
			return
		}
		side = v
	}
	f.change(f.size, func(r *training.Recipe) { r.Data.Width, r.Data.Height = side, side })
}

func sizeText(r *training.Recipe) string {
	switch w, h := r.Data.Width, r.Data.Height; {
	case w == 0 && h == 0:
		return ""
	case w == h || h == 0:
		return strconv.Itoa(w)
	default:
		return fmt.Sprintf("%d × %d", w, h)
	}
}

// rateText writes a learning rate as people do: 0.001, 1e-4.
func rateText(v float64) string {
	if v >= 1e-3 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strings.Replace(strconv.FormatFloat(v, 'e', -1, 64), "e-0", "e-", 1)
}

// kindLabel is a kind as a menu has it.
func kindLabel(name string) string {
	switch name {
	case "lora":
		return "LoRA"
	case "gan":
		return "GAN"
	case "vae":
		return "VAE"
	}
	words := strings.ReplaceAll(name, "_", " ")
	if words == "" {
		return words
	}
	return strings.ToUpper(words[:1]) + words[1:]
}

// nameOf makes a name of the folder or archive that pictures come from.
func nameOf(path string) string {
	base := filepath.Base(path)
	if strings.EqualFold(filepath.Ext(base), ".zip") {
		base = base[:len(base)-len(".zip")]
	}
	name := strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) || c == '_' || c == '.' {
			return c
		}
		return '-'
	}, base)
	const most = 40
	runes := []rune(strings.Trim(name, "-."))
	if len(runes) == 0 {
		return "my-style"
	}
	return string(runes[:min(most, len(runes))])
}

// paceText says how fast a run goes.
func paceText(picturesPerSecond float64) string {
	if picturesPerSecond >= 1 {
		return fmt.Sprintf("%.1f pictures/s", picturesPerSecond)
	}
	return fmt.Sprintf("%.1f s/picture", 1/picturesPerSecond)
}
