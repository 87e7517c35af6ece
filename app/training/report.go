package training

import (
	"context"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atelier/app/dataset"
	"atelier/app/report"
	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/pipeline"
	"atelier/models/train"
)

// Files of the report.
const (
	reportText, reportPage = "report.md", "report.html"
)

// writeReport writes the report, as a page that needs no other file and as text, and gives the page's path.
func (s *stage) writeReport(o *Outcome, evaluation *report.Evaluation) (string, error) {
	events, err := ReadLog(filepath.Join(s.dir, logName))
	if err != nil {
		return "", err
	}
	page := &report.Page{
		Title: o.Name,
		Intro: fmt.Sprintf("Kind: %s, %s. Trained for %s on %s. What was made: %s. The recipe is in %s.", o.Kind, s.kind.about, span(o.Seconds), o.Device, filepath.Base(o.Product), recipeFile),
	}
	page.Sections = append(page.Sections, report.Section{Title: "Training", Tables: []report.Table{figuresTable(o)}, Charts: charts(events)}, s.samplesSection(events))
	if len(o.Folds) > 0 {
		page.Sections = append(page.Sections, report.Section{Title: "Cross-validation", Tables: []report.Table{foldsTable(o)}})
	}
	if evaluation != nil {
		page.Sections = append(page.Sections, evaluation.Section())
	}
	page.Sections = append(page.Sections, report.Dataset(s.report))
	if err := writeText(filepath.Join(s.dir, reportText), page.Markdown(1)); err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, reportPage)
	return path, page.Write(path)
}

func span(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// figuresTable lists what was measured.
func figuresTable(o *Outcome) report.Table {
	t := report.Table{Head: []string{"figure", "value", ""}}
	row := func(name, value, note string) { t.Rows = append(t.Rows, []string{name, value, note}) }
	row("steps", fmt.Sprint(o.Steps), fmt.Sprintf("of %d planned, %d epochs", o.Planned, o.Epochs))
	row("loss", number6(o.Loss), fmt.Sprintf("mean of the last tenth; %s at the first step", number6(o.First)))
	if o.BestStep > 0 {
		note := fmt.Sprintf("step %d; %s before training", o.BestStep, number6(o.Before))
		if o.Early {
			note += "; stopped early, since it fell no more"
		}
		row("best validation loss", number6(o.Validation), note)
	}
	if len(o.Folds) > 0 {
		row("validation loss of the folds", fmt.Sprintf("%s ± %s", number6(o.Mean), number6(o.Deviation)), fmt.Sprintf("mean and standard deviation of %d", len(o.Folds)))
	}
	for _, f := range o.Figures {
		row(f.Name, strings.TrimSpace(number6(f.Value)+" "+f.Unit), f.Note)
	}
	row("trained parameters", fmt.Sprint(o.Parameters), "")
	row("pictures", fmt.Sprint(o.Pictures), fmt.Sprintf("and %d for validation, at %d × %d", o.Held, o.Width, o.Height))
	row("speed", number6(o.Speed)+" pictures/s", "in steps")
	row("device memory", fmt.Sprintf("%d MB", o.Peak>>20), "at the most")
	return t
}

func number6(v float64) string { return fmt.Sprintf("%.4g", v) }

// samplesSection puts the first samples beside those of the product.
func (s *stage) samplesSection(events []Event) report.Section {
	first, last := s.shots(events, "step-000000"), s.shots(events, finalShots)
	section := report.Section{Title: "Samples"}
	if len(last) == 0 {
		section.Text = []string{"No samples were drawn."}
		return section
	}
	sheet := report.Sheet{Caption: "from the same seeds", Columns: []string{"before", "after"}}
	for i := range last {
		row := report.SheetRow{Label: last[i].Label, Pictures: []image.Image{nil, last[i].Picture}}
		if i < len(first) {
			row.Pictures[0] = first[i].Picture
		}
		sheet.Rows = append(sheet.Rows, row)
	}
	section.Sheets = []report.Sheet{sheet}
	return section
}

// shots reads sample pictures back, with what the log says of them; each name once, its latest.
func (s *stage) shots(events []Event, name string) []shot {
	var out []shot
	at := map[string]int{}
	for _, e := range events {
		base := filepath.Base(filepath.FromSlash(e.Path))
		if e.What != EventSample || !strings.HasPrefix(base, name) {
			continue
		}
		m, err := readPicture(filepath.Join(s.dir, samplesDir, base))
		if err != nil {
			continue // thrown away by hand: the report does without
		}
		i, again := at[base]
		if !again {
			i, at[base] = len(out), len(out)
			out = append(out, shot{})
		}
		out[i] = shot{e.Message, m}
	}
	return out
}

func readPicture(path string) (*image.NRGBA, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		return nil, err
	}
	out, ok := m.(*image.NRGBA)
	if !ok { // the encoder stores pictures without transparency in another form
		out = image.NewNRGBA(m.Bounds())
		draw.Draw(out, out.Rect, m, m.Bounds().Min, draw.Src)
	}
	return out, nil
}

func foldsTable(o *Outcome) report.Table {
	t := report.Table{Head: []string{"fold", "best validation loss", "at step", "of", "pictures", "validation"}}
	for i, f := range o.Folds {
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), number6(f.Validation), fmt.Sprint(f.BestStep), fmt.Sprint(f.Steps), fmt.Sprint(f.Pictures), fmt.Sprint(f.Held)})
	}
	return t
}

// charts are the curves over the steps: losses, that of training also smoothed, since single batches say little, the learning rate,
// and the speed.
func charts(events []Event) []report.Chart {
	var raw, smooth, validation, rate, speed report.Series
	raw.Name, smooth.Name, validation.Name, rate.Name, speed.Name = "training, each step", "training, smoothed", "validation", "learning rate", "pictures a second"
	add := func(s *report.Series, x int, y float64) { s.X, s.Y = append(s.X, float64(x)), append(s.Y, y) }
	mean := 0.0
	for _, e := range events {
		switch e.What {
		case EventStep:
			mean += (e.Loss - mean) * math.Max(0.05, 1/float64(len(smooth.X)+1))
			add(&raw, e.Step, e.Loss)
			add(&smooth, e.Step, mean)
			add(&rate, e.Step, e.Rate)
			add(&speed, e.Step, e.Speed)
		case EventValidation:
			add(&validation, e.Step, e.Validation)
		}
	}
	loss := report.Chart{Caption: "Loss", X: "step", Y: "loss", Series: []report.Series{raw, smooth}}
	if len(validation.X) > 0 {
		loss.Series = append(loss.Series, validation)
	}
	return []report.Chart{loss, {Caption: "Learning rate", X: "step", Y: "learning rate", Series: []report.Series{rate}}, {Caption: "Speed", X: "step", Y: "pictures a second", Series: []report.Series{speed}}}
}

// mostCompared bounds how many pictures of a set the product's samples are compared with.
const mostCompared = 500

// evaluate judges the product's samples by the base model's own autoencoder.
func (d *denoising) evaluate(ctx context.Context, _ *train.Trainer, made []shot, shown, held *dataset.Dataset) (*report.Evaluation, error) {
	var pictures []image.Image
	for _, s := range made {
		pictures = append(pictures, s.Picture)
	}
	return judged(ctx, d.dev, d.model, pictures, d.VAE.InChannels, shown, held)
}

// judged compares made pictures with those set aside, where there are, and looks for copies of those trained on, by a model's
// autoencoder. channels is what training saw of pictures: grey, colours over white, or transparency too.
func judged(ctx context.Context, dev compute.Device, m *catalog.Model, made []image.Image, channels int, shown, held *dataset.Dataset) (*report.Evaluation, error) {
	if len(made) == 0 {
		return nil, nil
	}
	e, err := pipeline.NewExtractor(dev, m)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	seen, err := some(ctx, shown, channels)
	if err != nil {
		return nil, err
	}
	var real []image.Image
	if held != nil {
		if real, err = some(ctx, held, channels); err != nil {
			return nil, err
		}
	}
	return report.Evaluate(ctx, e, real, made, seen, report.EvaluateOptions{Seed: validationSeed})
}

// some reads pictures of a set as training saw them, evenly spread where there are many.
func some(ctx context.Context, set *dataset.Dataset, channels int) ([]image.Image, error) {
	n := min(len(set.Items), mostCompared)
	var out []image.Image
	for i := range n {
		m, err := set.Picture(ctx, i*len(set.Items)/n)
		if err != nil {
			return nil, err
		}
		out = append(out, seenAs(m, channels))
	}
	return out, nil
}

// seenAs is a picture with so many channels: without transparency it lies on white.
func seenAs(m *image.RGBA, channels int) image.Image {
	var to draw.Image
	switch channels {
	case 1:
		to = image.NewGray(m.Rect)
	case 3:
		to = image.NewRGBA(m.Rect)
	default:
		return m
	}
	draw.Draw(to, m.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(to, m.Rect, m, m.Rect.Min, draw.Over)
	return to
}
