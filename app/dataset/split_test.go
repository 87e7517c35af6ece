package dataset

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// families is 12 different pictures, the first three with copies that look alike.
func families(t *testing.T) map[string][]byte {
	files := map[string][]byte{}
	for n := range 12 {
		m := pattern(96, 96, n)
		files[fmt.Sprintf("p%02d.png", n)] = pngOf(t, m)
		if n < 3 {
			files[fmt.Sprintf("p%02d_small.png", n)] = pngOf(t, scaledTo(m, 64, 64))
			files[fmt.Sprintf("p%02d_turned.png", n)] = pngOf(t, mirrorOf(m))
		}
	}
	files["broken.png"] = []byte("no picture")
	files["flat0.png"], files["flat1.png"] = pngOf(t, flat(8, 8, red)), pngOf(t, flat(8, 8, red))
	return files
}

func names(d *Dataset) []string {
	var out []string
	for _, it := range d.Items {
		out = append(out, it.Name)
	}
	return out
}

// side checks that pictures that look alike are all in or all out.
func together(t *testing.T, list []string) {
	t.Helper()
	for n := range 3 {
		count := 0
		for _, name := range list {
			if len(name) > 3 && name[:3] == fmt.Sprintf("p%02d", n) {
				count++
			}
		}
		if count != 0 && count != 3 {
			t.Errorf("%d of the 3 pictures like p%02d are in %v", count, n, list)
		}
	}
	if slices.Contains(list, "flat0.png") != slices.Contains(list, "flat1.png") {
		t.Errorf("copies are parted: %v", list)
	}
}

func TestSplit(t *testing.T) {
	files := families(t)
	d := open(t, folder(t, files))
	var sets []string
	for seed := range uint64(6) {
		f, err := d.Split(t.Context(), 0.25, seed)
		must(t, err)
		v, tr := names(f.Validation), names(f.Train)
		together(t, v)
		together(t, tr)
		if len(v) != 5 || len(v)+len(tr) != 20 || slices.Contains(append(v, tr...), "broken.png") {
			t.Errorf("seed %d: %d for validation, %d for training", seed, len(v), len(tr))
		}
		for _, name := range v {
			if slices.Contains(tr, name) {
				t.Errorf("%s is in both", name)
			}
		}
		again, err := d.Split(t.Context(), 0.25, seed)
		must(t, err)
		if !slices.Equal(names(again.Validation), v) {
			t.Errorf("seed %d parts differently the second time", seed)
		}
		sets = append(sets, fmt.Sprint(v))
	}
	slices.Sort(sets)
	if len(slices.Compact(sets)) < 4 {
		t.Error("seeds part alike")
	}
}

// TestSplitGoesByContent renames the files, which must not move them.
func TestSplitGoesByContent(t *testing.T) {
	files := families(t)
	delete(files, "broken.png")
	renamed := map[string][]byte{}
	for name, data := range files {
		renamed["x/"+fmt.Sprint(1000-len(data))+name] = data
	}
	a, err := open(t, folder(t, files)).Split(t.Context(), 0.3, 1)
	must(t, err)
	b, err := open(t, archive(t, renamed)).Split(t.Context(), 0.3, 1)
	must(t, err)
	hashes := func(d *Dataset) []string {
		var out []string
		for _, it := range d.Items {
			out = append(out, fmt.Sprintf("%x", it.look.Load().file))
		}
		slices.Sort(out)
		return out
	}
	if !slices.Equal(hashes(a.Validation), hashes(b.Validation)) {
		t.Errorf("%v and %v", names(a.Validation), names(b.Validation))
	}
}

// TestFoldersStayTogether has nine folders of three pictures that do not look alike, and a copy of one in a tenth.
func TestFoldersStayTogether(t *testing.T) {
	files := map[string][]byte{}
	for n := range 27 {
		files[fmt.Sprintf("thing %d/%d.png", n/3, n)] = pngOf(t, pattern(96, 96, n))
	}
	files["copy/x.png"] = files["thing 4/12.png"]
	for _, folders := range []bool{true, false} {
		d, err := Open(folder(t, files), Options{Folders: folders})
		must(t, err)
		t.Cleanup(func() { d.Close() })
		parted := 0
		for seed := range uint64(5) {
			f, err := d.Split(t.Context(), 0.3, seed)
			must(t, err)
			held := map[string]int{}
			for _, name := range names(f.Validation) {
				held[path.Dir(name)]++
			}
			for i := range 9 {
				if n := held[fmt.Sprintf("thing %d", i)]; n != 0 && n != 3 {
					parted++
				}
			}
			if folders && (held["copy"] == 0) != (held["thing 4"] == 0) {
				t.Errorf("a copy is parted from its folder: %v", held)
			}
			if n := len(f.Validation.Items); n < 6 || n > 9 {
				t.Errorf("%d of 28 pictures are held", n)
			}
		}
		if folders != (parted == 0) {
			t.Errorf("together %v: %d folders are parted", folders, parted)
		}
	}
}

func TestSmallSplits(t *testing.T) {
	two := open(t, folder(t, map[string][]byte{"a.png": pngOf(t, pattern(32, 32, 1)), "b.png": pngOf(t, pattern(32, 32, 2))}))
	for _, fraction := range []float64{0.01, 0.5, 0.99} {
		f, err := two.Split(t.Context(), fraction, 1)
		must(t, err)
		if len(f.Train.Items) != 1 || len(f.Validation.Items) != 1 {
			t.Errorf("%v: %d and %d", fraction, len(f.Train.Items), len(f.Validation.Items))
		}
	}
	for _, fraction := range []float64{0, 1, -1} {
		if _, err := two.Split(t.Context(), fraction, 1); err == nil {
			t.Errorf("a share of %v is taken", fraction)
		}
	}
	one := open(t, folder(t, map[string][]byte{"a.png": pngOf(t, pattern(32, 32, 1)), "b.png": pngOf(t, pattern(32, 32, 1))}))
	if _, err := one.Split(t.Context(), 0.5, 1); err == nil {
		t.Error("two copies of one picture are parted")
	}
	if _, err := one.Folds(t.Context(), 2, 1); err == nil {
		t.Error("two copies of one picture are folded")
	}
}

func TestFolds(t *testing.T) {
	d := open(t, folder(t, families(t)))
	folds, err := d.Folds(t.Context(), 4, 3)
	must(t, err)
	seen := map[string]int{}
	for _, f := range folds {
		together(t, names(f.Validation))
		if n := len(f.Validation.Items); n != 5 || len(f.Train.Items) != 15 {
			t.Errorf("folds of %d and %d", n, len(f.Train.Items))
		}
		for _, name := range names(f.Validation) {
			seen[name]++
			if slices.Contains(names(f.Train), name) {
				t.Errorf("%s is in both", name)
			}
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d pictures are in validation once", len(seen))
	}
	if _, err := d.Folds(t.Context(), 1, 1); err == nil {
		t.Error("one fold is made")
	}
}

func TestChangedFileIsFound(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.png": pngOf(t, pattern(32, 32, 1)), "b.png": pngOf(t, pattern(32, 32, 2))})
	d := open(t, dir)
	must(t, os.WriteFile(filepath.Join(dir, "a.png"), pngOf(t, pattern(16, 16, 1)), 0o644))
	if _, err := d.Picture(t.Context(), 0); err == nil {
		t.Error("a file that has changed is read")
	}
	must(t, os.Remove(filepath.Join(dir, "b.png")))
	if _, err := d.Picture(t.Context(), 1); err == nil || err.Error() != "b.png: the file cannot be read: no such file or directory; check the disk and your rights, or remove the file" {
		t.Errorf("%v", err)
	}
}
