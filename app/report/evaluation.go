package report

import (
	"context"
	"fmt"
	"image"
	"math"

	"atelier/models/judge"
	"atelier/models/pipeline"
)

// Evaluation is how well a model does. What was not measured is nil.
type Evaluation struct {
	Features   string            `json:"features"` // what the figures over features are of
	Real       int               `json:"real"`
	Made       int               `json:"made"`
	Train      int               `json:"train"`
	FID        *float64          `json:"fid,omitempty"`
	KID        *judge.Estimate   `json:"kid,omitempty"`
	Manifold   *judge.Manifold   `json:"manifold,omitempty"`
	Neighbours *judge.Neighbours `json:"neighbours,omitempty"`
	PSNR       *judge.Estimate   `json:"psnr,omitempty"` // of reconstructions, decibels
	SSIM       *judge.Estimate   `json:"ssim,omitempty"`
	Notes      []string          `json:"notes,omitempty"` // why something was not measured, and what limits the figures

	made, train []image.Image
}

// EvaluateOptions are the choices of Evaluate.
type EvaluateOptions struct {
	Seed     uint64
	Progress func(done, total int) // pictures described
}

// Evaluate compares made pictures with real ones that the model was not trained on, and looks for copies of train, the ones it was
// trained on. Any of the sets may be empty; what then cannot be measured is left out and said.
func Evaluate(ctx context.Context, e *pipeline.Extractor, real, made, train []image.Image, o EvaluateOptions) (*Evaluation, error) {
	v := &Evaluation{Features: e.Name(), Real: len(real), Made: len(made), Train: len(train), made: made, train: train}
	total, before := len(real)+len(made)+len(train), 0
	sets := make([]judge.Features, 3)
	for i, pictures := range [][]image.Image{real, made, train} {
		var err error
		sets[i], err = e.Features(ctx, pictures, func(done, _ int) {
			if o.Progress != nil {
				o.Progress(before+done, total)
			}
		})
		if err != nil {
			return nil, err
		}
		before += len(pictures)
	}
	if err := v.compare(ctx, sets[0], sets[1], o.Seed); err != nil {
		return nil, err
	}
	if n, err := judge.Nearest(ctx, sets[1], sets[2], 0); err == nil && len(made) > 0 {
		v.Neighbours = &n
	} else if err != nil && len(train) > 0 {
		v.Notes = append(v.Notes, "Copies of training pictures were not looked for: "+err.Error()+".")
	}
	return v, ctx.Err()
}

// compare measures between the sets of features.
func (v *Evaluation) compare(ctx context.Context, real, made judge.Features, seed uint64) error {
	if real.N == 0 || made.N == 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("Distances between sets were not measured: there are %d real and %d made pictures.", real.N, made.N))
		return nil
	}
	note := func(what string, err error) {
		v.Notes = append(v.Notes, fmt.Sprintf("%s was not measured: %v.", what, err))
	}
	if d, err := judge.FID(real, made); err != nil {
		note("FID", err)
	} else {
		v.FID = &d
		if n := min(real.N, made.N); n <= real.D {
			v.Notes = append(v.Notes, fmt.Sprintf("FID is from %d pictures and so comes out too high: %d features want more. KID does not have this flaw.", n, real.D))
		}
	}
	if k, err := judge.KID(ctx, real, made, judge.KIDOptions{Seed: seed, Size: max(2, min(1000, real.N, made.N))}); err != nil {
		note("KID", err)
	} else {
		v.KID = &k
	}
	if m, err := judge.PrecisionRecall(ctx, real, made, 0); err != nil {
		note("Precision and recall", err)
	} else {
		v.Manifold = &m
	}
	return ctx.Err()
}

// Reconstructions adds the fidelity of an autoencoder. Equal pictures, whose ratio is infinite, do not enter the mean of PSNR.
func (v *Evaluation) Reconstructions(r pipeline.Reconstruction) {
	psnr, ssim := estimate(r.PSNR), estimate(r.SSIM)
	v.PSNR, v.SSIM = psnr, ssim
}

func estimate(values []float64) *judge.Estimate {
	n, sum, squares := 0.0, 0.0, 0.0
	for _, x := range values {
		if x-x == 0 {
			n++
			sum += x
			squares += x * x
		}
	}
	if n == 0 {
		return nil
	}
	mean := sum / n
	return &judge.Estimate{Mean: mean, Deviation: math.Sqrt(max(squares/n-mean*mean, 0))}
}

// neighboursShown is how many made pictures are shown beside their nearest training picture, the nearest first.
const neighboursShown = 8

// Section is the evaluation as a part of a page or card.
func (v *Evaluation) Section() Section {
	s := Section{Title: "Evaluation", Text: []string{fmt.Sprintf("%d made pictures against %d real ones that were held out, and %d training pictures for the search for copies. Features: %s; figures over other features do not compare.", v.Made, v.Real, v.Train, v.Features)}}
	t := Table{Head: []string{"measure", "value", "better"}}
	add := func(name, value, better string) { t.Rows = append(t.Rows, []string{name, value, better}) }
	if v.FID != nil {
		add(fmt.Sprintf("FID (%s)", v.Features), figure(*v.FID), "lower")
	}
	if v.KID != nil {
		add(fmt.Sprintf("KID (%s)", v.Features), spread(v.KID, "%.4g"), "lower")
	}
	if v.Manifold != nil {
		add(fmt.Sprintf("precision, k = %d (%s)", v.Manifold.K, v.Features), fmt.Sprintf("%.3f", v.Manifold.Precision), "higher")
		add(fmt.Sprintf("recall, k = %d (%s)", v.Manifold.K, v.Features), fmt.Sprintf("%.3f", v.Manifold.Recall), "higher")
	}
	if v.PSNR != nil {
		add("PSNR of reconstructions, dB", spread(v.PSNR, "%.2f"), "higher")
	}
	if v.SSIM != nil {
		add("SSIM of reconstructions", spread(v.SSIM, "%.4f"), "higher")
	}
	if n := v.Neighbours; n != nil {
		add(fmt.Sprintf("suspected copies of training pictures (nearer than %g of the typical distance between these)", n.Threshold), fmt.Sprintf("%d of %d", n.Memorised, len(n.Matches)), "none")
		s.Sheets = append(s.Sheets, v.neighbourSheet())
	}
	if len(t.Rows) > 0 {
		s.Tables = append(s.Tables, t)
	}
	s.List = v.Notes
	return s
}

func spread(e *judge.Estimate, format string) string {
	if e.Deviation == 0 {
		return fmt.Sprintf(format, e.Mean)
	}
	return fmt.Sprintf(format+" ± "+format, e.Mean, e.Deviation)
}

// neighbourSheet shows the made pictures that come nearest to training pictures.
func (v *Evaluation) neighbourSheet() Sheet {
	sheet := Sheet{Caption: "Made pictures that come nearest to training pictures", Columns: []string{"made", "nearest in training"}}
	used := map[int]bool{}
	for range min(neighboursShown, len(v.Neighbours.Matches)) {
		best := -1
		for i, m := range v.Neighbours.Matches {
			if !used[i] && (best < 0 || m.Ratio < v.Neighbours.Matches[best].Ratio) {
				best = i
			}
		}
		used[best] = true
		m := v.Neighbours.Matches[best]
		label := fmt.Sprintf("%.2f of the typical distance", m.Ratio)
		if m.Memorised {
			label += ", suspected copy"
		}
		sheet.Rows = append(sheet.Rows, SheetRow{label, []image.Image{v.made[m.Made], v.train[m.Train]}})
	}
	return sheet
}
