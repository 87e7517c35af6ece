package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"

	"atelier/app/dataset"
	"atelier/app/engine"
	"atelier/app/library"
	pages "atelier/app/report" // report is what the doctor writes
	"atelier/models/pipeline"
)

type judgeCmd struct {
	Made        string `arg:"" help:"A folder or zip archive of pictures that a model made."`
	Real        string `required:"" placeholder:"PATH" help:"A folder or zip archive of real pictures that the model was not trained on."`
	Train       string `placeholder:"PATH" help:"A folder or zip archive of the pictures it was trained on, to look for copies."`
	Model       string `default:"sticker" help:"The built-in model (sticker) or a model folder, whose autoencoder describes the pictures."`
	Reconstruct bool   `help:"Also put the real pictures through the autoencoder: PSNR and SSIM of what comes back."`
	Limit       int    `default:"5000" help:"Most pictures to read of each set."`
	Seed        uint64 `help:"Seed of the subsets that KID draws."`
	Device      string `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
	MemoryLimit int64  `placeholder:"MB" help:"Most device memory to use, in megabytes; 0 asks the driver."`
	Report      string `placeholder:"FILE" help:"Write everything as one page (.html)."`
	JSON        bool   `name:"json" help:"Print one JSON object."`
}

// reconstructed is how many real pictures are put through the autoencoder at most.
const reconstructed = 256

// Run measures and prints.
func (c *judgeCmd) Run(ctx context.Context) error {
	if c.Limit < 1 {
		return errors.New("at least one picture of each set must be read; give --limit 1 or more")
	}
	if c.Report != "" {
		if err := library.CheckFolder(filepath.Dir(c.Report)); err != nil {
			return err
		}
	}
	m, err := engine.OpenModel(c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	dev, err := engine.Open(engine.Options{Choice: c.Device, MemoryLimit: megabytes(c.MemoryLimit)})
	if err != nil {
		return err
	}
	defer dev.Close()
	e, err := pipeline.NewExtractor(dev.Device, m)
	if err != nil {
		return err
	}
	defer e.Close()
	v, page, err := c.measure(ctx, e)
	if err != nil {
		return err
	}
	if c.Report != "" {
		if err := page.Write(c.Report); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(v)
	}
	return printEvaluation(os.Stdout, v)
}

// measure reads the sets and compares them.
func (c *judgeCmd) measure(ctx context.Context, e *pipeline.Extractor) (*pages.Evaluation, *pages.Page, error) {
	var sets [3][]image.Image
	var notes []string
	for i, path := range []string{c.Real, c.Made, c.Train} {
		if path == "" {
			continue
		}
		var skipped int
		var err error
		if sets[i], skipped, err = c.read(ctx, e, path); err != nil {
			return nil, nil, err
		}
		if skipped > 0 {
			notes = append(notes, fmt.Sprintf("%d files of %s could not be read and were left out; atelier dataset says why.", skipped, path))
		}
	}
	v, err := pages.Evaluate(ctx, e, sets[0], sets[1], sets[2], pages.EvaluateOptions{Seed: c.Seed})
	if err != nil {
		return nil, nil, err
	}
	v.Notes = append(v.Notes, notes...)
	page := &pages.Page{Title: "Pictures of " + c.Made}
	if c.Reconstruct {
		some := sets[0][:min(len(sets[0]), reconstructed)]
		r, err := e.Reconstruct(ctx, some, nil)
		if err != nil {
			return nil, nil, err
		}
		v.Reconstructions(r)
		page.Sections = append(page.Sections, v.Section(), reconstructionSection(r))
		return v, page, nil
	}
	page.Sections = append(page.Sections, v.Section())
	return v, page, nil
}

// read gives the pictures of a set that can be read, at the size that they are measured at, and how many cannot.
func (c *judgeCmd) read(ctx context.Context, e *pipeline.Extractor, path string) (list []image.Image, skipped int, err error) {
	set, err := dataset.Open(path, dataset.Options{Captions: []dataset.Origin{}})
	if err != nil {
		return nil, 0, err
	}
	defer set.Close()
	for i := range set.Items[:min(len(set.Items), c.Limit)] {
		m, err := set.Picture(ctx, i)
		var bad *dataset.Finding
		switch {
		case errors.As(err, &bad):
			skipped++
		case err != nil:
			return nil, 0, err
		default:
			list = append(list, e.Fit(m))
		}
	}
	return list, skipped, nil
}

// reconstructionSection shows the pictures that lose most first.
func reconstructionSection(r pipeline.Reconstruction) pages.Section {
	const shown = 12
	var labels []string
	var before, after []image.Image
	used := map[int]bool{}
	for range min(shown, len(r.PSNR)) {
		worst := -1
		for i, p := range r.PSNR {
			if !used[i] && (worst < 0 || p < r.PSNR[worst]) {
				worst = i
			}
		}
		used[worst] = true
		label := fmt.Sprintf("%.1f dB, SSIM %.3f", r.PSNR[worst], r.SSIM[worst])
		if math.IsInf(r.PSNR[worst], 1) {
			label = "equal"
		}
		labels, before, after = append(labels, label), append(before, r.Inputs[worst]), append(after, r.Outputs[worst])
	}
	return pages.Section{Title: "Reconstructions", Sheets: []pages.Sheet{pages.BeforeAfter("The real pictures that lose most on the way through the latents", [2]string{"before", "after"}, labels, before, after)}}
}

// printEvaluation writes the measures and notes as plain text.
func printEvaluation(out io.Writer, v *pages.Evaluation) error {
	s := v.Section()
	for _, line := range s.Text {
		if _, err := fmt.Fprintln(out, printable(line)); err != nil {
			return err
		}
	}
	for _, t := range s.Tables {
		for _, r := range t.Rows {
			if _, err := fmt.Fprintf(out, "  %-28s %s (better: %s)\n", r[1], r[0], r[2]); err != nil {
				return err
			}
		}
	}
	for _, note := range s.List {
		if _, err := fmt.Fprintln(out, printable(note)); err != nil {
			return err
		}
	}
	return nil
}
