package dataset

import (
	"bytes"
	"image/color"
	"strings"
	"testing"
	"unicode/utf8"
)

var red = color.NRGBA{200, 10, 10, 255}

// checkRows asserts what must hold of rows whatever the file: they name a picture, and hold no more than the file does.
func checkRows(t *testing.T, data []byte, rows []row) {
	n := 0
	for _, r := range rows {
		if r.file == "" {
			t.Error("a row names no picture")
		}
		for _, c := range r.captions {
			n += len(c)
			if line := clean(c); strings.ContainsAny(line, "\n\r\x00") || len(line) > 3*len(c) {
				t.Errorf("%q is cleaned to %q", c, line)
			}
		}
	}
	if n > 6*len(data)+2*len(rows) {
		t.Errorf("%d bytes give captions of %d", len(data), n)
	}
}

func FuzzMetadataJSONL(f *testing.F) {
	f.Add([]byte(`{"file_name": "a.png", "text": "x"}` + "\n" + `{"file_name": "b.png", "caption": ["x", "y"], "tags": ["a"]}`))
	f.Add([]byte("{\"file_name\": 3}\n[]\n\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, bad := parseJSONL(data)
		checkRows(t, data, rows)
		if len(bad.list) > mostFlaws || len(rows)+bad.total > bytes.Count(data, []byte("\n"))+1 {
			t.Errorf("%d rows and %d flaws", len(rows), bad.total)
		}
	})
}

func FuzzMetadataCSV(f *testing.F) {
	f.Add([]byte("file_name,text\na.png,\"x, y\"\n"))
	f.Add([]byte("file_name;tags\n\"a.png;x\n"))
	f.Add([]byte("text\tfile_name\nx\ta.png\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, _, _ := parseCSV(data)
		checkRows(t, data, rows)
	})
}

func FuzzMetadataKohya(f *testing.F) {
	f.Add([]byte(`{"a/b.png": {"caption": "x", "tags": "y, z", "train_resolution": [64, 64]}, "c": 3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, ok, err := parseKohya(data)
		if ok && err != nil || ok != (len(rows) > 0) {
			t.Errorf("%d rows, %v, %v", len(rows), ok, err)
		}
		_, _ = parseBeside(data)
	})
}

func FuzzCaptionText(f *testing.F) {
	f.Add([]byte("a caption\nanother"))
	f.Add([]byte("\xff\xfea\x00b\x00"))
	f.Add([]byte("\xfe\xff\x00a\xd8"))
	f.Add([]byte("caf\xe9"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, line := range parseText(data) {
			if line == "" || line != clean(line) || !utf8.ValidString(line) {
				t.Errorf("line %q", line)
			}
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add("10_cats/red_apple-03 (2).png")
	f.Add("a/../%zz/IMG_1.png")
	f.Fuzz(func(t *testing.T, name string) {
		if w := nameWords(name); strings.Contains(w, "/") || strings.Contains(w, "_") {
			t.Errorf("%q becomes %q", name, w)
		}
		if safe, ok := safeName(name); ok && (strings.HasPrefix(safe, "/") || strings.HasPrefix(safe, "../") || safe == ".." || strings.ContainsRune(safe, 0)) {
			t.Errorf("%q is taken for the safe name %q", name, safe)
		}
		repeats(name)
	})
}

// FuzzPicture decodes files of any content: an error that says something, or pixels of the size that the header promised.
func FuzzPicture(f *testing.F) {
	m := pattern(12, 9, 1)
	for _, data := range [][]byte{pngOf(f, m), jpegOf(f, m, 80), gifOf(f, m), bmpOf(f, m), claims(9000, 9000), []byte("RIFF\x24\x00\x00\x00WEBPVP8L")} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		it := &Item{Name: "x.png", turn: 1, file: memory("x.png", data)}
		o := Options{MaxPixels: 1 << 20}.filled()
		it.readHeader(o)
		if finding := it.measure(o, newPalette()); finding != nil {
			if finding.What == "" || finding.Do == "" || finding.File != "x.png" {
				t.Errorf("%+v", finding)
			}
			return
		}
		if it.Width*it.Height <= 0 || it.Width*it.Height > 1<<20 {
			t.Errorf("%d × %d pixels", it.Width, it.Height)
		}
	})
}
