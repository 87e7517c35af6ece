package train

import (
	"context"
	"fmt"
	"image"
	"strings"

	"atelier/app/dataset"
	"atelier/app/training"
)

// look is what was seen in a set of pictures.
type look struct {
	path   string
	report *dataset.Report
	sheet  *image.NRGBA // what augmentation makes of some; nil where none can be used
}

// Size and number of the pictures on the sheet.
const (
	sheetEdge    = 96
	sheetRows    = 3
	sheetColumns = 6
)

// lookAt opens a set, checks it and draws the sheet. It runs off the main thread.
func lookAt(ctx context.Context, path string, r training.Recipe, progress func(step dataset.Step, done, total int)) (*look, error) {
	set, err := dataset.Open(path, dataset.Options{})
	if err != nil {
		return nil, err
	}
	defer set.Close()
	check := dataset.CheckOptions{Progress: progress}
	if r.Data.Width > 0 && r.Data.Height > 0 {
		check.Buckets = dataset.BucketOptions{Width: r.Data.Width, Height: r.Data.Height, Single: true}
	}
	report, err := set.Check(ctx, check)
	if err != nil {
		return nil, err
	}
	l := &look{path: path, report: report}
	usable := set.Usable(report)
	if len(usable.Items) == 0 {
		return l, nil
	}
	l.sheet, err = sheetOf(ctx, usable, r)
	return l, err
}

// sheetFor draws the sheet anew for other augmentation.
func sheetFor(ctx context.Context, l *look, r training.Recipe) (*image.NRGBA, error) {
	set, err := dataset.Open(l.path, dataset.Options{})
	if err != nil {
		return nil, err
	}
	defer set.Close()
	usable := set.Usable(l.report)
	if len(usable.Items) == 0 {
		return nil, nil
	}
	return sheetOf(ctx, usable, r)
}

func sheetOf(ctx context.Context, set *dataset.Dataset, r training.Recipe) (*image.NRGBA, error) {
	n := len(set.Items)
	var items []int
	for i := range min(sheetRows, n) {
		items = append(items, i*n/min(sheetRows, n))
	}
	edge := dataset.BucketOptions{Width: sheetEdge, Height: sheetEdge, Single: true}
	if w, h := r.Data.Width, r.Data.Height; w > 0 && h > 0 { // in the shape of training
		scale := float64(sheetEdge) / float64(max(w, h))
		edge.Width, edge.Height = max(1, int(float64(w)*scale)), max(1, int(float64(h)*scale))
	}
	a := r.Data.Augment
	return set.Sheet(ctx, items, sheetColumns, r.Seed, dataset.BatchOptions{
		Buckets: edge, Channels: 4, Crop: dataset.Crop(r.Data.Crop),
		Augment: dataset.Augment{Mirror: a.Mirror, Shift: a.Shift, Rotate: a.Rotate, Zoom: a.Zoom, Brightness: a.Brightness, Contrast: a.Contrast, Saturation: a.Saturation, Hue: a.Hue},
	})
}

// headline says how many pictures can be used.
func (l *look) headline() string {
	n, all := l.report.Usable, l.report.Pictures
	switch {
	case n == 0 && all == 0:
		return "There is no picture in it"
	case n == 0:
		return fmt.Sprintf("None of the %s can be used", dataset.Count(all, "picture"))
	case n == all:
		return dataset.Count(n, "picture") + " can be used"
	}
	return fmt.Sprintf("%d of %s can be used", n, dataset.Count(all, "picture"))
}

// balance says in a few sentences what the set shows and says.
func (l *look) balance() []string {
	b := &l.report.Balance
	var out []string
	if c := b.Captions; b.Pictures > 0 {
		switch {
		case c.Captioned == 0:
			out = append(out, "No picture has a caption; the trigger word alone will call what is learnt.")
		default:
			text := fmt.Sprintf("%d of %s have captions, typically of %s.", c.Captioned, dataset.Count(b.Pictures, "picture"), dataset.Count(c.MedianWords, "word"))
			if c.Captioned == b.Pictures {
				text = fmt.Sprintf("All %d have captions, typically of %s.", b.Pictures, dataset.Count(c.MedianWords, "word"))
			}
			var words []string
			for _, w := range c.Words[:min(5, len(c.Words))] {
				words = append(words, w.Word)
			}
			if len(words) > 0 {
				text += " Most frequent: " + strings.Join(words, ", ") + "."
			}
			out = append(out, text)
		}
	}
	var colours []string
	for _, c := range b.Colours[:min(4, len(b.Colours))] {
		if c.Share >= 0.02 {
			colours = append(colours, fmt.Sprintf("%s %.0f %%", c.Name, c.Share*100))
		}
	}
	if len(colours) > 0 {
		out = append(out, "Colours by their area: "+strings.Join(colours, ", ")+".")
	}
	const most = 3
	for _, o := range b.Over[:min(most, len(b.Over))] {
		out = append(out, "More than its share: "+o+".")
	}
	for _, u := range b.Under[:min(most, len(b.Under))] {
		out = append(out, "Less than its share: "+u+".")
	}
	return out
}
