package images

import (
	"image"
	"path/filepath"
	"strings"

	"fyne.io/fyne/v2"

	"atelier/app/dataset"
	"atelier/models/pipeline"
	"atelier/ui/kit"
)

// beginning is the picture that others are made from, if there is one, and how much of it is made new. It is of this session, and not
// among what is kept for the next.
type beginning struct {
	tips     *kit.Tips
	onPath   func(path string)
	onCanvas func()
	onBrowse func()

	pixels   *pipeline.Pixels // nil without
	name     string           // what stands in the field
	path     *kit.Field
	strength *kit.Number
	row      *fyne.Container
	amount   *fyne.Container
	content  *fyne.Container
}

func newBeginning(tips *kit.Tips) *beginning {
	b := &beginning{tips: tips}
	b.path = kit.NewField(tips, "noise alone", 60, kit.Tip{Name: "Begin with a picture", Key: "Return", Text: "Make new pictures from this one instead of from noise alone. A picture can also be dropped on the window; an empty field takes it out."})
	b.path.OnCommit = func(text string) {
		text = strings.TrimSpace(text)
		switch {
		case text == b.name:
		case text == "":
			b.set(nil, "")
		default:
			b.onPath(text)
		}
	}
	browse := kit.NewIconButton(tips, kit.IconFolder, kit.Tip{Name: "Choose a picture", Text: "Pick the picture to begin with."}, func() { b.onBrowse() })
	canvas := kit.NewIconButton(tips, kit.IconImage, kit.Tip{Name: "Begin with the canvas", Text: "Make new pictures from the one on the canvas."}, func() { b.onCanvas() })
	b.strength = kit.NewNumber(tips, kit.Range{Min: 0.05, Max: 1, Step: 0.05, Decimals: 2, Curve: 1, Name: "Strength"}, 0.75, kit.Tip{
		Name: "Denoising strength", Key: "← →", Text: "How much of the picture is made new: little keeps it nearly as it is, 1 keeps hardly anything."})
	b.row = kit.Labelled("From", labelWidth, kit.Row(kit.Tight, 0, b.path, browse, canvas))
	b.amount = kit.Labelled("Strength", labelWidth, b.strength)
	b.amount.Hide()
	b.content = kit.Column(kit.Gap, b.row, b.amount)
	return b
}

// set takes a picture; nil takes it out.
func (b *beginning) set(p *pipeline.Pixels, name string) {
	b.pixels, b.name = p, name
	b.path.SetText(name)
	if p == nil {
		b.amount.Hide()
	} else {
		b.amount.Show()
	}
	b.content.Refresh()
}

// into puts the picture into a request.
func (b *beginning) into(r *pipeline.Request) {
	if b.pixels != nil && b.content.Visible() {
		r.Init, r.Strength = b.pixels, b.strength.Value()
	}
}

// BeginWith reads a picture off the main thread and makes it the one that others are made from.
func (w *Workspace) BeginWith(path string) {
	whole, err := kit.WholePath(path)
	if err != nil {
		w.config.Tips.Note(w.form.begin.path, kit.Sentence(err))
		w.form.begin.path.SetText(w.form.begin.name)
		return
	}
	go func() {
		picture, err := dataset.ReadPicture(whole)
		var pixels *pipeline.Pixels
		if err == nil {
			pixels = pipeline.PixelsOf(picture)
		}
		w.config.Post(func() {
			if err != nil {
				w.stage.tell(true, kit.Sentence(err), "", nil)
				w.form.begin.path.SetText(w.form.begin.name)
				return
			}
			w.began(pixels, whole)
		})
	}()
}

func (w *Workspace) began(p *pipeline.Pixels, name string) {
	w.form.begin.set(p, name)
	w.form.content.Refresh()
}

// beginWithCanvas makes the chosen picture the one that others are made from.
func (w *Workspace) beginWithCanvas() {
	m := w.session.chosen()
	if m == nil {
		w.config.Tips.Note(w.form.begin.path, "There is no picture yet to begin with; make one, or choose a file.")
		return
	}
	name := "the canvas"
	if m.path != "" {
		name = m.path
	}
	img := m.image
	go func() {
		pixels := pipeline.PixelsOf(image.Image(img))
		w.config.Post(func() { w.began(pixels, name) })
	}()
}

// chooseBeginning lets the person pick a file.
func (w *Workspace) chooseBeginning() {
	start := w.config.Library.Folder()
	if name := w.form.begin.name; filepath.IsAbs(name) {
		start = filepath.Dir(name)
	}
	w.config.BrowseFile(start, pictureEndings, w.BeginWith)
}

// pictureEndings are what files of pictures end in.
var pictureEndings = []string{".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}

// IsPicture tells by its name whether a file may be a picture.
func IsPicture(path string) bool {
	for _, e := range pictureEndings {
		if strings.EqualFold(filepath.Ext(path), e) {
			return true
		}
	}
	return false
}
