package train

import (
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"os"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"atelier/app/dataset"
	"atelier/ui/kit"
)

// trainingPage shows a run: what came of it, its curves, and its samples.
type trainingPage struct {
	empty    *fyne.Container
	result   *resultBox
	warning  *warningLine
	loss     *kit.Chart
	rate     *kit.Chart
	samples  *samples
	enlarged *kit.Picture // over the curves; hidden unless a sample is looked at
	page     *fyne.Container
	content  fyne.CanvasObject
}

func newTrainingPage(post func(func()), tips *kit.Tips) *trainingPage {
	p := &trainingPage{loss: kit.NewChart(post, 160), rate: kit.NewChart(post, 76), enlarged: kit.NewPicture(post)}
	p.loss.Unit, p.rate.Unit = "Loss", "Learning rate"
	title := kit.NewLine("Nothing is being trained", kit.Title, kit.Text, 100)
	title.Align = fyne.TextAlignCenter
	hint := kit.NewLine("Choose pictures and press Train, or open an earlier training at the right.", kit.Body, kit.Secondary, 100)
	hint.Align = fyne.TextAlignCenter
	p.empty = container.New(middle{}, kit.Flow(kit.Gap, title, hint))
	p.result = newResultBox(tips)
	p.warning = newWarningLine(tips)
	p.samples = newSamples(tips, p.enlarge)
	p.enlarged.Hide()
	p.page = container.New(trainingLayout{}, p.result.content, p.warning.content, p.loss, p.rate, p.samples.content, p.enlarged)
	p.page.Hide()
	p.content = container.NewStack(p.empty, p.page)
	return p
}

// trainingLayout: result, warning, the loss takes what is left, the learning rate, samples. The enlarged sample covers the curves.
type trainingLayout struct{}

// MinSize implements fyne.Layout.
func (trainingLayout) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(200, 200) }

// Layout implements fyne.Layout.
func (trainingLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	y, width := float32(0), size.Width-2*kit.Wide
	for _, o := range objects[:2] {
		if o.Visible() {
			h := o.MinSize().Height
			o.Resize(fyne.NewSize(width, h))
			o.Move(fyne.NewPos(kit.Wide, y))
			y += h + kit.Gap
		}
	}
	bottom := size.Height - kit.Gap
	if objects[4].Visible() {
		bottom -= samplesHeight
		objects[4].Resize(fyne.NewSize(width, samplesHeight))
		objects[4].Move(fyne.NewPos(kit.Wide, bottom))
		bottom -= kit.Gap
	}
	const rateHeight = 92
	objects[5].Resize(fyne.NewSize(size.Width, bottom-y))
	objects[5].Move(fyne.NewPos(0, y))
	if rateShown := bottom-y > 2.5*rateHeight; rateShown {
		bottom -= rateHeight
		objects[3].Resize(fyne.NewSize(size.Width-kit.Gap, rateHeight))
		objects[3].Move(fyne.NewPos(0, bottom))
		objects[3].Show()
	} else {
		objects[3].Hide()
	}
	objects[2].Resize(fyne.NewSize(size.Width-kit.Gap, max(0, bottom-y)))
	objects[2].Move(fyne.NewPos(0, y))
}

// display shows a run; nil shows none.
func (p *trainingPage) display(v *view) {
	shown(p.page, v != nil)
	shown(p.empty, v == nil)
	p.close()
	if v == nil {
		return
	}
	p.curves(v)
	p.samples.set(v.shots)
	p.settle(v)
}

// curves brings the charts up to date.
func (p *trainingPage) curves(v *view) {
	const memory = 0.02
	series := []kit.Series{{Name: "Training", Role: kit.Secondary, Points: v.loss, Smooth: memory}}
	if len(v.validation) > 0 {
		series = append(series, kit.Series{Name: "Validation", Role: kit.AccentInk, Points: v.validation, Dots: true})
	}
	p.loss.Set(series...)
	p.rate.Set(kit.Series{Name: "", Role: kit.Secondary, Points: v.rate})
}

// settle brings what stands above the curves up to date.
func (p *trainingPage) settle(v *view) {
	p.result.set(v)
	p.warning.set(v)
	shown(p.samples.content, len(v.shots) > 0)
	p.page.Refresh()
}

// enlarge shows a sample over the curves; the same again hides it.
func (p *trainingPage) enlarge(s *shot) {
	if s.picture == nil || p.enlarged.Visible() && p.enlarged.Image() == s.picture {
		p.close()
		return
	}
	p.enlarged.Display(s.picture, image.Point{})
	p.enlarged.Show()
	p.page.Refresh()
}

// close hides the enlarged sample; it tells whether there was one.
func (p *trainingPage) close() bool {
	was := p.enlarged.Visible()
	p.enlarged.Hide()
	return was
}

// warningLine shows the last warning of a run, and all of them when the pointer rests on it.
type warningLine struct {
	text    *kit.Remark
	content *fyne.Container
}

func newWarningLine(tips *kit.Tips) *warningLine {
	w := &warningLine{text: kit.NewRemark(tips, "", kit.Caption, kit.AccentInk)}
	w.content = kit.Row(kit.Gap, 1, kit.NewMark(kit.IconWarning, kit.AccentInk), w.text)
	w.content.Hide()
	return w
}

func (w *warningLine) set(v *view) {
	shown(w.content, len(v.warnings) > 0)
	if len(v.warnings) == 0 {
		return
	}
	text := v.warnings[len(v.warnings)-1]
	if n := len(v.warnings) - 1; n > 0 {
		text = fmt.Sprintf("%s (and %d before)", text, n)
	}
	w.text.Set(text, kit.AccentInk)
	last := v.warnings[max(0, len(v.warnings)-3):]
	w.text.SetTip(kit.Tip{Name: "Warnings", Text: strings.Join(last, " · ")})
}

// resultBox says what a finished run made, and what can be done with it.
type resultBox struct {
	title   *kit.Label
	facts   *kit.Label
	use     *kit.Button
	report  *kit.Button
	folder  *kit.Button
	content *fyne.Container
}

func newResultBox(tips *kit.Tips) *resultBox {
	r := &resultBox{title: kit.NewLine("", kit.Body, kit.Text, 80), facts: kit.NewLine("", kit.Caption, kit.Secondary, 80)}
	r.use = kit.NewButton(tips, "Use in Image", kit.Primary, kit.Tip{Name: "Use in Image", Text: "Make it available in the image workspace and go there."}, nil)
	r.report = kit.NewButton(tips, "Report", kit.Plain, kit.Tip{Name: "Report", Text: "Open the page with curves, figures, samples and the balance of the data."}, nil)
	r.folder = kit.NewIconButton(tips, kit.IconFolder, kit.Tip{Name: "Open folder", Text: "Show the run's folder: what was made, its card, the recipe and the log."}, nil)
	inner := kit.Inset(12, 10, kit.Row(kit.Gap, 1, kit.NewMark(kit.IconCheck, kit.Healthy), kit.Column(2, r.title, r.facts), r.use, r.report, r.folder))
	r.content = container.NewStack(kit.NewBox(kit.Raised, kit.Line), inner)
	r.content.Hide()
	return r
}

func (r *resultBox) set(v *view) {
	shown(r.content, v.outcome != nil)
	o := v.outcome
	if o == nil {
		return
	}
	name := product(v)
	if name == "" {
		name = o.Name
	}
	r.title.Set("Made "+name, kit.Text)
	parts := []string{dataset.Count(o.Steps, "step")}
	if o.Validation > 0 {
		parts = append(parts, fmt.Sprintf("validation loss %s at step %d", kit.ShortNumber(o.Validation), o.BestStep))
	} else if o.Loss > 0 {
		parts = append(parts, "loss "+kit.ShortNumber(o.Loss))
	}
	if o.Early {
		parts = append(parts, "stopped early, as it got no better")
	}
	parts = append(parts, o.Product)
	r.facts.Set(strings.Join(parts, " · "), kit.Secondary)
	shown(r.report, o.Report != "")
	shown(r.use, o.Product != "")
}

const (
	samplesHeight = 140
	sampleEdge    = 104
	samplePixels  = 208
)

// samples is the strip of sample pictures, the latest at the left.
type samples struct {
	tips    *kit.Tips
	onTap   func(*shot)
	tiles   map[*shot]*kit.Tile
	row     *fyne.Container
	content fyne.CanvasObject
}

func newSamples(tips *kit.Tips, tap func(*shot)) *samples {
	s := &samples{tips: tips, onTap: tap, tiles: map[*shot]*kit.Tile{}}
	s.row = kit.Row(kit.Gap, -1)
	scroll := container.NewHScroll(s.row)
	s.content = container.New(layoutFill{}, scroll)
	return s
}

// layoutFill gives its objects all room and asks for none.
type layoutFill struct{}

// MinSize implements fyne.Layout.
func (layoutFill) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(80, 80) }

// Layout implements fyne.Layout.
func (layoutFill) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		o.Resize(size)
	}
}

// set shows samples, the latest steps first and within a step in their order.
func (s *samples) set(all []*shot) {
	const most = 200 // tiles; older samples are in the run's folder
	var objects []fyne.CanvasObject
	kept := map[*shot]*kit.Tile{}
	end := len(all)
	for end > 0 && len(objects) < most {
		first := end - 1
		for first > 0 && all[first-1].step == all[end-1].step {
			first--
		}
		for _, one := range all[first:end] {
			t := s.tiles[one]
			if t == nil {
				t = kit.NewTile(s.tips, sampleEdge, kit.Tip{Name: fmt.Sprintf("Step %d", one.step), Text: "Tap to see it larger. " + one.label}, func() { s.onTap(one) })
			}
			t.Set(one.thumb, stepText(one))
			kept[one] = t
			objects = append(objects, t)
		}
		end = first
	}
	s.tiles, s.row.Objects = kept, objects
	s.row.Refresh()
	s.content.Refresh()
}

func stepText(s *shot) string { return fmt.Sprintf("Step %d", s.step) }

// loadShot reads a sample picture. It runs off the main thread.
func loadShot(path string) (*image.NRGBA, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		return nil, err
	}
	if n, ok := img.(*image.NRGBA); ok {
		return n, nil
	}
	out := image.NewNRGBA(image.Rectangle{Max: img.Bounds().Size()})
	draw.Draw(out, out.Rect, img, img.Bounds().Min, draw.Src)
	return out, nil
}
