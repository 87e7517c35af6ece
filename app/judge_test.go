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
)

// discs writes pictures of discs whose colours and places go by number, from first on.
func discs(t *testing.T, first, n int) string {
	t.Helper()
	dir := t.TempDir()
	for k := first; k < first+n; k++ {
		m := image.NewNRGBA(image.Rect(0, 0, 64, 64))
		for i := range 64 * 64 {
			if dx, dy := i%64-20-k%5*5, i/64-20-k%7*4; dx*dx+dy*dy < 200 {
				m.SetNRGBA(i%64, i/64, color.NRGBA{uint8(37 * k), uint8(91 * k), 120, 255})
			}
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%03d.png", k)))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return dir
}

func TestJudgeCommand(t *testing.T) {
	made := discs(t, 8, 4) // two of the training pictures, and two others
	if err := os.WriteFile(filepath.Join(made, "z.png"), []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "page.html")
	c := judgeCmd{Made: made, Real: discs(t, 20, 8), Train: discs(t, 0, 10), Model: "sticker", Reconstruct: true, Limit: 100, Device: "host", Report: page, JSON: true}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	err = c.Run(t.Context())
	os.Stdout = stdout
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Features          string
		Real, Made, Train int
		FID               *float64
		KID, PSNR, SSIM   *struct{ Mean float64 }
		Neighbours        struct {
			Memorised int
			Matches   []struct {
				Train     int
				Memorised bool
			}
		}
		Notes []string
	}
	if err := json.NewDecoder(r).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Features != "sticker VAE mid-block features, not Inception" || got.Real != 8 || got.Made != 4 || got.Train != 10 || got.FID == nil || got.KID == nil || got.PSNR.Mean < 10 || got.SSIM.Mean > 1 {
		t.Errorf("%+v", got)
	}
	if n := got.Neighbours; n.Memorised < 2 || !n.Matches[0].Memorised || n.Matches[0].Train != 8 || n.Matches[1].Train != 9 {
		t.Errorf("%+v", n)
	}
	if notes := strings.Join(got.Notes, "|"); !strings.Contains(notes, "1 files of "+made+" could not be read") {
		t.Errorf("notes %q", notes)
	}
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "<img "); n != 2*4+2*8 {
		t.Errorf("%d pictures on the page", n)
	}
}
