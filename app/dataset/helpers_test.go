package dataset

import (
	"archive/zip"
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/image/bmp"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drawn makes a picture of a function of the pixel.
func drawn(w, h int, f func(x, y int) color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, f(x, y))
		}
	}
	return m
}

// pattern is a picture unlike those of other numbers: blobs of colour at places that n determines.
func pattern(w, h, n int) *image.NRGBA {
	d := newDraws(uint64(n), 99, 0, 0)
	type blob struct{ x, y, r, red, green, blue float64 }
	blobs := make([]blob, 6)
	for i := range blobs {
		blobs[i] = blob{d.uniform(), d.uniform(), 0.1 + 0.2*d.uniform(), d.uniform(), d.uniform(), d.uniform()}
	}
	return drawn(w, h, func(x, y int) color.NRGBA {
		c := [3]float64{0.5, 0.5, 0.5}
		for _, b := range blobs {
			dx, dy := (float64(x)+0.5)/float64(w)-b.x, (float64(y)+0.5)/float64(h)-b.y
			if dx*dx+dy*dy < b.r*b.r {
				c = [3]float64{b.red, b.green, b.blue}
			}
		}
		return color.NRGBA{uint8(255 * c[0]), uint8(255 * c[1]), uint8(255 * c[2]), 255}
	})
}

func flat(w, h int, c color.NRGBA) *image.NRGBA {
	return drawn(w, h, func(int, int) color.NRGBA { return c })
}

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, png.Encode(&b, m))
	return b.Bytes()
}

func jpegOf(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}))
	return b.Bytes()
}

func gifOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, gif.Encode(&b, m, nil))
	return b.Bytes()
}

func bmpOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, bmp.Encode(&b, m))
	return b.Bytes()
}

// folder writes files and gives their folder.
func folder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, data, 0o644))
	}
	return dir
}

// archive writes files into a zip archive, in the order of their names.
func archive(t testing.TB, files map[string][]byte) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w, err := z.Create(name)
		must(t, err)
		_, err = w.Write(files[name])
		must(t, err)
	}
	must(t, z.Close())
	path := filepath.Join(t.TempDir(), "set.zip")
	must(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

func open(t testing.TB, path string) *Dataset {
	t.Helper()
	d, err := Open(path, Options{})
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func check(t testing.TB, d *Dataset, o CheckOptions) *Report {
	t.Helper()
	r, err := d.Check(t.Context(), o)
	must(t, err)
	return r
}

// found is the findings of a kind, by file.
func found(r *Report, k Kind) map[string]Finding {
	out := map[string]Finding{}
	for _, f := range r.Findings {
		if f.Kind == k {
			out[f.File] = f
		}
	}
	return out
}
