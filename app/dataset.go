package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"atelier/app/dataset"
	"atelier/app/library"
	pages "atelier/app/report" // report is what the doctor writes
)

type datasetCmd struct {
	Path    string `arg:"" help:"A folder or a zip archive of pictures."`
	Size    int    `default:"64" help:"Side of the square whose area pictures are trained at, in pixels."`
	Step    int    `help:"Widths and heights of the training sizes are multiples of this; 0 is 64, or the size where that is smaller."`
	Preview string `placeholder:"FILE" help:"Write a sheet of augmented pictures (.png)."`
	Report  string `placeholder:"FILE" help:"Write everything as one page (.html)."`
	JSON    bool   `name:"json" help:"Print one JSON object."`
}

// sheetRows and sheetColumns are the extent of a preview.
const sheetRows, sheetColumns = 8, 8

// Run checks the set and prints what it found.
func (c *datasetCmd) Run(ctx context.Context) error {
	if c.Preview != "" {
		if err := library.CheckPath(c.Preview); err != nil {
			return err
		}
	}
	set, err := dataset.Open(c.Path, dataset.Options{})
	if err != nil {
		return err
	}
	defer set.Close()
	sizes := dataset.BucketOptions{Width: c.Size, Step: c.Step}
	if c.Step == 0 && c.Size > 0 {
		sizes.Step = min(64, c.Size)
	}
	r, err := set.Check(ctx, dataset.CheckOptions{Buckets: sizes, Progress: c.progress()})
	if err != nil {
		return err
	}
	usable := set.Usable(r)
	if c.Preview != "" && r.Usable > 0 {
		if err := preview(ctx, usable, sizes, c.Preview); err != nil {
			return err
		}
	}
	if c.Report != "" {
		page := pages.Page{Title: "Training set " + c.Path, Sections: []pages.Section{pages.Dataset(r)}}
		if err := page.Write(c.Report); err != nil {
			return err
		}
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(r)
	} else {
		err = printReport(os.Stdout, r)
	}
	if err == nil && r.Usable == 0 {
		err = errors.New("none of the pictures can be trained on")
	}
	return err
}

// progress rewrites one line on a terminal; anywhere else it is nil.
func (c *datasetCmd) progress() func(step dataset.Step, done, total int) {
	bar := newProgressBar(c.JSON)
	if bar.out == nil {
		return nil
	}
	return func(step dataset.Step, done, total int) {
		bar.shown = done < total
		fmt.Fprintf(bar.out, "\r\x1b[K%s %d/%d pictures", step, done, total)
		if done == total {
			fmt.Fprint(bar.out, "\r\x1b[K")
		}
	}
}

// preview writes a sheet of the first pictures and their variations.
func preview(ctx context.Context, set *dataset.Dataset, sizes dataset.BucketOptions, path string) error {
	rows := make([]int, min(sheetRows, len(set.Items)))
	for i := range rows {
		rows[i] = i
	}
	sheet, err := set.Sheet(ctx, rows, sheetColumns, 1, dataset.BatchOptions{Buckets: sizes, Augment: dataset.DefaultAugment()})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, sheet); err != nil {
		return fmt.Errorf("the preview cannot be encoded: %w", err)
	}
	return library.WriteFile(path, b.Bytes())
}

// mostPrinted is how many findings of a kind are printed.
const mostPrinted = 20

// printReport writes findings, training sizes and balance as plain text.
func printReport(out io.Writer, r *dataset.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d pictures, %d usable\n", r.Path, r.Pictures, r.Usable)
	b.WriteString("\nFindings\n")
	if len(r.Findings) == 0 {
		b.WriteString("  none\n")
	}
	printed := map[dataset.Kind]int{}
	for _, f := range r.Findings {
		if printed[f.Kind]++; printed[f.Kind] > mostPrinted {
			continue
		}
		mark := "look at"
		if f.Skipped {
			mark = "left out"
		}
		fmt.Fprintf(&b, "  %-8s  %-16s  %s: %s; %s\n", mark, f.Kind, f.File, f.What, f.Do)
	}
	for _, k := range slices.Sorted(maps.Keys(printed)) {
		if more := printed[k] - mostPrinted; more > 0 {
			fmt.Fprintf(&b, "  and %d more of the kind %q; --json and --report have all\n", more, k)
		}
	}
	b.WriteString("\nTraining sizes\n")
	for _, s := range r.Buckets {
		fmt.Fprintf(&b, "  %-11s  %d\n", fmt.Sprintf("%d × %d", s.Width, s.Height), s.Pictures)
	}
	balance := &r.Balance
	fmt.Fprintf(&b, "\nBalance\n  captions: %d of %d pictures, %d distinct, %d different words, %d words in the median\n", balance.Captions.Captioned, balance.Pictures, balance.Captions.Distinct, balance.Captions.Vocabulary, balance.Captions.MedianWords)
	var words, colours []string
	for _, w := range balance.Captions.Words[:min(12, len(balance.Captions.Words))] {
		words = append(words, fmt.Sprintf("%s %d", w.Word, w.Captions))
	}
	for _, c := range balance.Colours {
		if c.Share >= 0.005 {
			colours = append(colours, fmt.Sprintf("%s %.0f %%", c.Name, 100*c.Share))
		}
	}
	fmt.Fprintf(&b, "  words: %s\n  colours: %s\n  lightness: %.2f ± %.2f of 1\n", strings.Join(words, ", "), strings.Join(colours, ", "), balance.Brightness.Mean, balance.Brightness.Deviation)
	for _, o := range balance.Over {
		fmt.Fprintf(&b, "  over-represented: %s\n", o)
	}
	for _, u := range balance.Under {
		fmt.Fprintf(&b, "  under-represented: %s\n", u)
	}
	_, err := io.WriteString(out, printable(b.String()))
	return err
}

// printable keeps file names and captions from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}
