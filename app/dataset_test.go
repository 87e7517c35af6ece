package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/app/dataset"
)

// smallSet is three pictures: one whole, its copy, and half a file.
func smallSet(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	m := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		m.SetNRGBA(i%64, i/64, color.NRGBA{uint8(200 + i%50), 20, uint8(i / 64), 255})
	}
	for _, name := range []string{"a.png", "b.png", "c.png"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		if name == "c.png" {
			if err := f.Truncate(300); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("a red gradient"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDatasetReportInWords(t *testing.T) {
	set, err := dataset.Open(smallSet(t), dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	set.Path = "set\x1b[2J"
	r, err := set.Check(t.Context(), dataset.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.Path = set.Path
	var b strings.Builder
	if err := printReport(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"set�[2J: 3 pictures, 1 usable\n", "  left out  duplicate         b.png: this is the same file as a.png; remove one of them\n",
		"  left out  truncated         c.png: the picture ends too early; copy or download it again\n", "  64 × 64      1\n", "  captions: 1 of 1 pictures, 1 distinct, 2 different words, 3 words in the median\n",
		"  words: gradient 1, red 1\n", "  colours: red 100 %\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"pictures":3,"usable":1,"findings":[{"file":"b.png","kind":"duplicate"`, `"buckets":[{"width":64,"height":64,"pictures":1}]`, `"over_represented":[`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the object lacks %s:\n%s", want, data)
		}
	}
}

func TestLongListsOfFindingsAreCut(t *testing.T) {
	r := &dataset.Report{}
	for i := range 23 {
		r.Findings = append(r.Findings, dataset.Finding{File: fmt.Sprint(i), Kind: dataset.TooSmall})
	}
	var b strings.Builder
	if err := printReport(&b, r); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "look at"); n != 20 || !strings.Contains(b.String(), `and 3 more of the kind "too small"`) {
		t.Errorf("%d are printed:\n%s", n, b.String())
	}
}

func TestDatasetCommandWritesSheetAndPage(t *testing.T) {
	out := t.TempDir()
	c := datasetCmd{Path: smallSet(t), Size: 32, Preview: filepath.Join(out, "sheet.png"), Report: filepath.Join(out, "page.html"), JSON: true}
	stdout := os.Stdout
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = null
	err = c.Run(t.Context())
	os.Stdout = stdout
	null.Close()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(c.Preview)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if size, err := png.DecodeConfig(f); err != nil || size.Width != 8*36+4 || size.Height != 36+4 {
		t.Errorf("the sheet is %v, %v", size, err)
	}
	page, err := os.ReadFile(c.Report)
	if err != nil || !strings.Contains(string(page), "<td>the picture ends too early</td>") {
		t.Errorf("the page is %q, %v", page, err)
	}
}
