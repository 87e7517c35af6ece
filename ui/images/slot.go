package images

import (
	"image"
	"image/draw"
	"path/filepath"
	"strings"

	"fyne.io/fyne/v2"

	"atelier/app/dataset"
	"atelier/app/library"
	"atelier/models/pipeline"
	"atelier/ui/kit"
)

// given is a picture that the person gave. Nothing in it is written to again.
type given struct {
	pixels *pipeline.Pixels
	image  *image.NRGBA // the same, to be looked at
	name   string       // what stands in its field: a path, or words
}

// slot is a row that takes a picture: a field for its path, a button to pick a file, and one that takes the canvas.
type slot struct {
	given  *given // nil without
	path   *kit.Field
	row    *fyne.Container
	taken  func(*given) // another picture was given; nil takes the picture out
	onPath func(path string)
	browse func()
	canvas func()
}

type slotTips struct{ path, browse, canvas kit.Tip }

func newSlot(tips *kit.Tips, label, placeholder string, t slotTips) *slot {
	s := &slot{path: kit.NewField(tips, placeholder, 60, t.path)}
	s.path.OnCommit = func(text string) {
		switch text = strings.TrimSpace(text); {
		case text == s.name():
		case text == "":
			s.taken(nil)
		default:
			s.onPath(text)
		}
	}
	s.row = kit.Labelled(label, labelWidth, kit.Row(kit.Tight, 0, s.path,
		kit.NewIconButton(tips, kit.IconFolder, t.browse, func() { s.browse() }),
		kit.NewIconButton(tips, kit.IconImage, t.canvas, func() { s.canvas() })))
	return s
}

func (s *slot) name() string {
	if s.given == nil {
		return ""
	}
	return s.given.name
}

// set shows a picture's name; nil shows none.
func (s *slot) set(g *given) {
	s.given = g
	s.path.SetText(s.name())
	s.path.CaretToEnd() // a path's end tells more than its beginning
}

// wire lets a slot take its pictures from files and from the canvas.
func (w *Workspace) wire(s *slot, taken func(*given)) {
	s.taken = taken
	s.onPath = func(path string) { w.giveFile(s, path) }
	s.browse = func() { w.config.BrowseFile(w.nearby(s.name()), pictureEndings, s.onPath) }
	s.canvas = func() { w.giveCanvas(s) }
}

// nearby is the folder in which the person is likely to look for a picture: that of the last one, or the library.
func (w *Workspace) nearby(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Dir(name)
	}
	return w.config.Library.Folder()
}

// readGiven reads a picture file. It runs off the main thread.
func readGiven(path string) (*given, error) {
	picture, err := dataset.ReadPicture(path)
	if err != nil {
		return nil, err
	}
	img := image.NewNRGBA(image.Rectangle{Max: picture.Rect.Size()})
	draw.Draw(img, img.Rect, picture, picture.Rect.Min, draw.Src)
	return &given{pipeline.PixelsOf(picture), img, path}, nil
}

// giveFile reads a picture off the main thread and gives it to a slot. A file that says how it was made can also be made again.
func (w *Workspace) giveFile(s *slot, path string) {
	whole, err := kit.WholePath(path)
	if err != nil {
		w.config.Tips.Note(s.path, kit.Sentence(err))
		s.path.SetText(s.name())
		return
	}
	go func() {
		g, err := readGiven(whole)
		how, unsaid := library.ReadParameters(whole)
		w.config.Post(func() {
			if err != nil {
				w.stage.tell(true, kit.Sentence(err), "", nil)
				s.path.SetText(s.name())
				return
			}
			s.taken(g)
			if unsaid == nil {
				w.stage.tell(false, filepath.Base(whole)+" says how it was made.", "Use its settings", func() {
					w.stage.notice.Dismiss()
					w.again(how)
				})
			}
		})
	}()
}

// giveCanvas gives the chosen picture of the session to a slot.
func (w *Workspace) giveCanvas(s *slot) {
	m := w.session.chosen()
	if m == nil {
		w.config.Tips.Note(s.path, "There is no picture yet to take; make one, or choose a file.")
		return
	}
	name := m.path
	if name == "" {
		name = "the canvas"
	}
	img := m.image
	go func() {
		g := &given{pipeline.PixelsOf(img), img, name}
		w.config.Post(func() { s.taken(g) })
	}()
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

// Drop takes a picture file that was dropped on the window to what it was dropped on: the mask, the picture that a ControlNet
// follows, or else the picture that new ones begin with.
func (w *Workspace) Drop(at fyne.Position, path string) {
	f := w.form
	switch {
	case under(f.begin.fold, at) && f.begin.from.given != nil:
		w.loadMask(path)
	case under(f.controls.fold, at):
		w.giveFile(f.controls.at(at).picture, path)
	default:
		w.giveFile(f.begin.from, path)
	}
}

// under tells whether an object that shows lies at a position of the window.
func under(o fyne.CanvasObject, at fyne.Position) bool {
	if !o.Visible() {
		return false
	}
	from := fyne.CurrentApp().Driver().AbsolutePositionForObject(o)
	in := at.Subtract(from)
	return in.X >= 0 && in.Y >= 0 && in.X < o.Size().Width && in.Y < o.Size().Height
}
