package dataset

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"atelier/app/library"
)

func TestCaptionsFromEverywhere(t *testing.T) {
	withPrompt, err := library.Encode(pattern(16, 16, 6), library.Meta{Prompt: "a teal rocket, 3d", Steps: 20, Sampler: "DDIM", CFG: 4, Seed: 1, Width: 16, Height: 16})
	must(t, err)
	files := map[string][]byte{
		"a.png":                 pngOf(t, pattern(16, 16, 1)),
		"a.txt":                 []byte("\ufeff  a red  apple \r\nan apple on a table\n"),
		"b.jpg":                 jpegOf(t, pattern(16, 16, 2), 90),
		"b.caption":             {0xff, 0xfe, 'b', 0, 'l', 0, 'u', 0, 'e', 0},
		"b.txt":                 []byte("not this one"),
		"sub/c.gif":             gifOf(t, pattern(16, 16, 3)),
		"sub/metadata.jsonl":    []byte(`{"file_name": "c.gif", "text": "a cat"}` + "\n\n" + `{"file_name": "gone.png", "text": "gone"}` + "\nnonsense\n" + `{"text": "nobody"}` + "\n"),
		"csv/d.bmp":             bmpOf(t, pattern(16, 16, 4)),
		"csv/metadata.csv":      []byte("file_name;caption\n\"d.bmp\";\"a dog; sitting\"\n"),
		"10_sks dog/e.png":      pngOf(t, pattern(16, 16, 5)),
		"10_sks dog/e2.png":     pngOf(t, pattern(16, 16, 15)),
		"meta_lat.json":         []byte(`{"/home/me/10_sks dog/e": {"caption": "a dog", "tags": "grass, sun", "train_resolution": [64, 64]}, "h.png": {"tags": "one, two"}}`),
		"f.png":                 withPrompt,
		"h.png":                 pngOf(t, pattern(16, 16, 7)),
		"i.png":                 pngOf(t, pattern(16, 16, 8)),
		"i.json":                []byte(`{"caption": "beside", "url": "x"}`),
		"blue_t-shirt_0012.png": pngOf(t, pattern(16, 16, 9)),
		"README.txt":            []byte("about this set"),
		"lonely.txt":            []byte("no picture"),
		"notes.md":              []byte("x"),
		".hidden/x.png":         []byte("x"),
		"__MACOSX/._a.png":      []byte("x"),
		"phone.heic":            []byte("x"),
		"other.zip":             []byte("x"),
	}
	want := map[string]struct {
		caption string
		origin  Origin
		more    []string
		repeats int
		format  string
	}{
		"a.png":                 {"a red apple", FromText, []string{"an apple on a table"}, 1, "png"},
		"b.jpg":                 {"blue", FromText, nil, 1, "jpeg"},
		"sub/c.gif":             {"a cat", FromMetadata, nil, 1, "gif"},
		"csv/d.bmp":             {"a dog; sitting", FromMetadata, nil, 1, "bmp"},
		"10_sks dog/e.png":      {"a dog, grass, sun", FromMetadata, nil, 10, "png"},
		"10_sks dog/e2.png":     {"e2", FromName, nil, 10, "png"},
		"f.png":                 {"a teal rocket, 3d", FromParameters, nil, 1, "png"},
		"h.png":                 {"one, two", FromMetadata, nil, 1, "png"},
		"i.png":                 {"beside", FromMetadata, nil, 1, "png"},
		"blue_t-shirt_0012.png": {"blue t-shirt", FromName, nil, 1, "png"},
	}
	for name, path := range map[string]string{"folder": folder(t, files), "zip": archive(t, files)} {
		t.Run(name, func(t *testing.T) {
			d := open(t, path)
			if len(d.Items) != len(want) {
				t.Errorf("%d pictures, want %d", len(d.Items), len(want))
			}
			for _, it := range d.Items {
				w := want[it.Name]
				if it.Caption != w.caption || it.Origin != w.origin || !slices.Equal(it.Alternatives, w.more) || it.Repeats != w.repeats || it.Format != w.format || it.Width != 16 || it.Height != 16 {
					t.Errorf("%s: %q %q (%s) × %d, %s %d × %d; want %+v", it.Name, it.Caption, it.Alternatives, it.Origin, it.Repeats, it.Format, it.Width, it.Height, w)
				}
			}
			wantNotes := map[string]string{
				"sub/metadata.jsonl": "line 4 is no JSON object|line 5 names no picture: it has no file_name|it describes a picture that is missing: sub/gone.png",
				"lonely.txt":         "there is no picture of this name",
				"phone.heic":         ".heic files are not read",
				"other.zip":          "this is an archive inside the set, which is not opened",
			}
			got := map[string]string{}
			for _, n := range d.Notes {
				if got[n.File] != "" {
					got[n.File] += "|"
				}
				what, _, _ := strings.Cut(n.What, " (")
				got[n.File] += what
			}
			if fmt.Sprint(got) != fmt.Sprint(wantNotes) {
				t.Errorf("notes %v\nwant  %v", got, wantNotes)
			}
		})
	}
}

func TestCaptionOrder(t *testing.T) {
	dir := folder(t, map[string][]byte{"cat/red_hat.png": pngOf(t, pattern(8, 8, 1)), "cat/red_hat.txt": []byte("from the text"), "cat/empty.png": pngOf(t, pattern(8, 8, 2)), "cat/empty.txt": []byte(" \n")})
	d, err := Open(dir, Options{Captions: []Origin{FromName}})
	must(t, err)
	defer d.Close()
	if c := d.Items[1].Caption; c != "red hat" {
		t.Errorf("caption %q, want the name's words", c)
	}
	d = open(t, dir)
	if c := d.Items[1].Caption; c != "from the text" {
		t.Errorf("caption %q, want the text's", c)
	}
	if it := d.Items[0]; it.Caption != "empty" || it.Origin != FromName {
		t.Errorf("an empty text gives %q from %s", it.Caption, it.Origin)
	}
}

func TestNamesBecomeWords(t *testing.T) {
	for name, want := range map[string]string{
		"red_apple-03 (2).png":                     "red apple",
		"red-apple.png":                            "red apple",
		"t-shirt_blue.png":                         "t-shirt blue",
		"RedApple 7.png":                           "red apple",
		"cats/IMG_1234.jpg":                        "cats",
		"train/tabby_cat/00017.png":                "tabby cat",
		"daisy/5547758_eea9edfd54_n.jpg":           "daisy",
		"12_old house/DSC00042.JPG":                "old house",
		"A.png":                                    "A",
		"fonts/serif/B_12.png":                     "serif",
		"photos/2024-05-01 12.30.11.jpg":           "",
		"550e8400-e29b-41d4-a716-446655440000.png": "",
		"images/7.png":                             "",
		"USA flag.png":                             "USA flag",
		"smiling%20face.png":                       "smiling face",
	} {
		if got := nameWords(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.txt": []byte("x"), "x.zip": []byte("PK no archive"), "empty/readme.md": []byte("x")})
	for path, want := range map[string]string{
		filepath.Join(dir, "none"):  "no such file or directory; check the path",
		filepath.Join(dir, "a.txt"): "is neither a folder nor a zip archive",
		filepath.Join(dir, "x.zip"): "is no zip archive that can be read",
		filepath.Join(dir, "empty"): "there are no pictures in",
	} {
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want … %s …", path, err, want)
		}
	}
	many := folder(t, map[string][]byte{"a.png": pngOf(t, pattern(8, 8, 1)), "b.png": pngOf(t, pattern(8, 8, 2))})
	if _, err := Open(many, Options{MaxFiles: 1}); err == nil || !strings.Contains(err.Error(), "more than 1 files") {
		t.Errorf("two files where one is allowed: %v", err)
	}
}

// rawZip makes an archive with headers as given, sizes unchecked.
func rawZip(t *testing.T, entries []*zip.FileHeader, data [][]byte) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, h := range entries {
		w, err := z.CreateRaw(h)
		must(t, err)
		_, err = w.Write(data[i])
		must(t, err)
	}
	must(t, z.Close())
	path := filepath.Join(t.TempDir(), "raw.ZIP")
	must(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

func stored(name string, data []byte) *zip.FileHeader {
	return &zip.FileHeader{Name: name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(data), CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data))}
}

func TestHostileArchive(t *testing.T) {
	good := pngOf(t, pattern(16, 16, 1))
	zeros := make([]byte, 64<<20)
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	w, err := z.Create("bomb.png")
	must(t, err)
	_, err = w.Write(zeros)
	must(t, err)
	must(t, z.Close())
	r, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	must(t, err)
	raw, err := r.File[0].OpenRaw()
	must(t, err)
	bombData := new(bytes.Buffer)
	_, err = bombData.ReadFrom(raw)
	must(t, err)

	encrypted, link, lying, bad := stored("secret.png", good), stored("link.png", []byte("/etc/passwd")), stored("lying.png", good), stored("sum.png", good)
	encrypted.Flags |= 1
	link.SetMode(os.ModeSymlink | 0o777)
	lying.UncompressedSize64 = 100
	bad.CRC32++
	path := rawZip(t,
		[]*zip.FileHeader{stored("ok.png", good), stored("../up.png", good), stored("/abs.png", good), stored(`C:\win.png`, good), stored(`dir\sub.png`, good), stored("a/../../b.png", good),
			stored("ok.png", good), encrypted, link, lying, bad, &r.File[0].FileHeader},
		[][]byte{good, good, good, good, good, good, good, good, []byte("/etc/passwd"), good, good, bombData.Bytes()})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d := open(t, path)
	rep := check(t, d, CheckOptions{})
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
		t.Errorf("%d MB were allocated for an archive of %d bytes", grown>>20, packed.Len())
	}
	got := map[string]Kind{}
	for _, f := range rep.Findings {
		if f.Skipped {
			got[f.File] = f.Kind
		}
	}
	want := map[string]Kind{"../up.png": UnsafePath, "/abs.png": UnsafePath, `C:\win.png`: UnsafePath, "a/../../b.png": UnsafePath, "ok.png": Duplicate, "secret.png": Unsupported, "link.png": UnsafePath,
		"bomb.png": ZipBomb, "lying.png": Broken, "sum.png": Broken}
	for name, k := range want {
		if got[name] != k {
			t.Errorf("%s: %q, want %q", name, got[name], k)
		}
	}
	if rep.Usable != 1 || d.Items[rep.usable[0]].Name != "dir/sub.png" && d.Items[rep.usable[0]].Name != "ok.png" {
		t.Errorf("%d usable pictures %v", rep.Usable, rep.usable)
	}
}

// TestOverlappingArchive is the non-recursive bomb: many entries of one piece of data.
func TestOverlappingArchive(t *testing.T) {
	good := pngOf(t, pattern(16, 16, 1))
	path := rawZip(t, []*zip.FileHeader{stored("a.png", good), stored("b.png", good)}, [][]byte{good, good})
	data, err := os.ReadFile(path)
	must(t, err)
	// the central directory says that each entry is nearly as large as the archive
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte("PK\x01\x02"))
		if i < 0 {
			break
		}
		at += i
		binary.LittleEndian.PutUint32(data[at+20:], uint32(len(data)-100))
		at += 4
	}
	must(t, os.WriteFile(path, data, 0o644))
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "claims more packed bytes than it has") {
		t.Errorf("%v", err)
	}
}

func TestLinksStayInside(t *testing.T) {
	outside := folder(t, map[string][]byte{"secret.png": pngOf(t, pattern(8, 8, 1))})
	dir := folder(t, map[string][]byte{"a.png": pngOf(t, pattern(8, 8, 2))})
	for link, to := range map[string]string{"out.png": filepath.Join(outside, "secret.png"), "in.png": "a.png", "folder": outside, "gone.png": "nowhere.png"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip("no links here")
		}
	}
	d := open(t, dir)
	if len(d.Items) != 2 || d.Items[0].Name != "a.png" || d.Items[1].Name != "in.png" {
		t.Errorf("items %v", d.Items)
	}
	kinds := map[string]Kind{}
	for _, n := range d.Notes {
		kinds[n.File] = n.Kind
	}
	if len(kinds) != 3 || kinds["out.png"] != UnsafePath || kinds["gone.png"] != UnsafePath || kinds["folder"] != UnsafePath {
		t.Errorf("notes %v", d.Notes)
	}
}

// claims is a PNG file whose header says w × h.
func claims(w, h uint32) []byte {
	data := []byte{8, 6, 0, 0, 0}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), w), h)
	head = append(head, data...)
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	out = append(out, head...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(head))
}

func TestBrokenFiles(t *testing.T) {
	whole := pngOf(t, pattern(64, 64, 1))
	photo := jpegOf(t, pattern(64, 64, 2), 90)
	bits := bmpOf(t, pattern(64, 64, 3))
	spoiled := slices.Clone(whole)
	spoiled[len(spoiled)/2] ^= 0xff
	dir := folder(t, map[string][]byte{
		"ok.png": whole, "cut.png": whole[:len(whole)/2], "cut.jpg": photo[:len(photo)/2], "cut.bmp": bits[:len(bits)-100], "cut.gif": gifOf(t, pattern(64, 64, 4))[:900],
		"spoiled.png": spoiled, "empty.png": {}, "text.jpg": []byte("hello, this is no picture"), "huge.png": claims(60000, 60000), "hollow.png": claims(8000, 8000), "head.png": whole[:20],
		"renamed.png": jpegOf(t, pattern(64, 64, 5), 90),
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := check(t, open(t, dir), CheckOptions{})
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d MB were allocated", grown>>20)
	}
	want := map[string]Kind{"cut.png": Truncated, "cut.jpg": Truncated, "cut.bmp": Truncated, "cut.gif": Truncated, "spoiled.png": Broken, "empty.png": Broken, "text.jpg": Broken, "huge.png": TooLarge,
		"hollow.png": Truncated, "head.png": Truncated}
	got := map[string]Kind{}
	for _, f := range r.Findings {
		if f.Skipped {
			got[f.File] = f.Kind
			if f.What == "" || f.Do == "" {
				t.Errorf("%+v says too little", f)
			}
		}
	}
	for name, k := range want {
		if got[name] != k {
			t.Errorf("%s: %q, want %q", name, got[name], k)
		}
	}
	if len(got) != len(want) || r.Usable != 2 || r.Pictures != 12 {
		t.Errorf("skipped %v; %d of %d usable", got, r.Usable, r.Pictures)
	}
}

func TestOrientation(t *testing.T) {
	// red left, blue right, 32 × 16; each orientation says how the stored pixels are to be shown
	stored := drawn(32, 16, func(x, y int) color.NRGBA {
		if x < 16 {
			return color.NRGBA{255, 0, 0, 255}
		}
		return color.NRGBA{0, 0, 255, 255}
	})
	plainJPEG := jpegOf(t, stored, 100)
	red := map[int]image.Point{1: {4, 8}, 2: {28, 8}, 3: {28, 8}, 4: {4, 8}, 5: {8, 4}, 6: {8, 4}, 7: {8, 28}, 8: {8, 28}}
	for turn, at := range red {
		exif := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
		exif[25] = byte(turn)
		segment := append([]byte{0xff, 0xe1, 0, byte(len(exif) + 2)}, exif...)
		data := slices.Concat(plainJPEG[:2], segment, plainJPEG[2:])
		d := open(t, folder(t, map[string][]byte{"a.jpg": data}))
		it := d.Items[0]
		w, h := 32, 16
		if turn >= 5 {
			w, h = h, w
		}
		if it.Width != w || it.Height != h {
			t.Errorf("orientation %d: %d × %d, want %d × %d", turn, it.Width, it.Height, w, h)
		}
		m, err := d.Picture(t.Context(), 0)
		must(t, err)
		if c := m.RGBAAt(at.X, at.Y); c.R < 200 || c.B > 60 {
			t.Errorf("orientation %d: %v at %v, want red", turn, c, at)
		}
		if o := m.RGBAAt(w-1-at.X, h-1-at.Y); o.B < 200 {
			t.Errorf("orientation %d: %v opposite %v, want blue", turn, o, at)
		}
	}
}

func TestAlphaIsPremultiplied(t *testing.T) {
	d := open(t, folder(t, map[string][]byte{"a.png": pngOf(t, flat(4, 4, color.NRGBA{200, 100, 0, 128}))}))
	m, err := d.Picture(t.Context(), 0)
	must(t, err)
	if c := m.RGBAAt(1, 1); c != (color.RGBA{100, 50, 0, 128}) {
		t.Errorf("%v", c)
	}
}
