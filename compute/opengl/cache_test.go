//go:build cgo

package opengl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/compute"
)

// A program comes back from disk; damage is noticed and replaced.
func TestProgramsAreKept(t *testing.T) {
	dir := t.TempDir()
	run := func() {
		d := openTest(t, Options{CacheDir: dir})
		defer d.Close()
		g := newGraph(t)
		g.Output("y", scale(g.Input("x", 3), g.Const("w", []float32{1}, 1), 2))
		y := make([]float32, 3)
		if err := g.load(d).Run(t.Context(), map[string][]float32{"x": {1, 2, 3}}, map[string][]float32{"y": y}); err != nil {
			t.Fatal(err)
		}
		if [3]float32(y) != [3]float32{3, 5, 7} {
			t.Fatalf("got %v", y)
		}
	}
	only := func() string {
		files, _ := filepath.Glob(filepath.Join(dir, "programs", "*"))
		if len(files) != 1 {
			t.Fatalf("cache holds %v", files)
		}
		return files[0]
	}
	run()
	path := only()
	good, _ := os.ReadFile(path)
	run()
	if same, _ := os.ReadFile(path); string(same) != string(good) {
		t.Error("a good entry was replaced")
	}
	for name, damage := range map[string][]byte{"cut": good[:len(good)/2], "empty": nil, "flipped": append(append([]byte(nil), good[:len(good)-1]...), good[len(good)-1]^1)} {
		os.WriteFile(path, damage, 0o600)
		run()
		if now, _ := os.ReadFile(only()); len(now) != len(good) {
			t.Errorf("%s: entry has %d bytes after a run, a good one %d", name, len(now), len(good))
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "programs"), 0o700)
	for _, name := range []string{"a.bin", "b.bin", "c.bin"} {
		f, err := os.Create(filepath.Join(dir, "programs", name))
		if err != nil {
			t.Fatal(err)
		}
		f.Truncate(diskCacheBytes / 2)
		f.Close()
	}
	openDiskCache(dir, [32]byte{})
	if files, _ := filepath.Glob(filepath.Join(dir, "programs", "*")); len(files) != 2 {
		t.Errorf("after trimming: %v", files)
	}
}

// Forms are timed once, wrong ones are left out, and the verdict is kept.
func TestFormsAreTimedOnce(t *testing.T) {
	dir := t.TempDir()
	run := func(opts Options) *Device {
		d := openTest(t, opts)
		g := newGraph(t)
		x, w := g.Input("x", 130), g.Const("w", []float32{1}, 1)
		y := compute.NewNode(opScale, &scaleAttr{Shader: "test_scale", A: 2, Forms: []string{"good", "bad"}}, x, w)
		g.Output("y", compute.NewNode(opScale, &scaleAttr{Shader: "test_scale", A: 1, Forms: []string{"good", "bad"}}, y, w))
		out := make([]float32, 130)
		if err := g.load(d).Run(t.Context(), map[string][]float32{"x": ramp(130)}, map[string][]float32{"y": out}); err != nil {
			t.Fatal(err)
		}
		for i, v := range ramp(130) {
			if out[i] != 2*v+2 {
				t.Fatalf("index %d: got %g, want %g", i, out[i], 2*v+2)
			}
		}
		return d
	}
	d := run(Options{CacheDir: dir, TuneForms: true})
	if w := strings.Join(d.Warnings(), "\n"); !strings.Contains(w, "form bad of test_scale is not used: its result differs") {
		t.Errorf("warnings: %q", w)
	}
	data, _ := os.ReadFile(filepath.Join(dir, "tuning.json"))
	if strings.Count(string(data), `"good"`) != 1 {
		t.Errorf("tuning file: %s", data)
	}
	if again := run(Options{CacheDir: dir, TuneForms: true}); len(again.Warnings()) != 0 {
		t.Errorf("forms were timed again: %v", again.Warnings())
	}
	os.WriteFile(filepath.Join(dir, "tuning.json"), []byte("{"), 0o600)
	run(Options{CacheDir: dir, TuneForms: true})
	if data, _ := os.ReadFile(filepath.Join(dir, "tuning.json")); !strings.Contains(string(data), `"good"`) {
		t.Errorf("a damaged tuning file was not replaced: %s", data)
	}
}

// A form that does not compile leaves the others; where none does, the node runs by its definition.
func TestFormsThatDoNotCompile(t *testing.T) {
	for _, forms := range [][]string{{"broken", "good"}, {"good", "broken"}, {"broken"}} {
		for _, tune := range []bool{false, true} {
			d := openTest(t, Options{TuneForms: tune})
			g := newGraph(t)
			g.Output("y", compute.NewNode(opScale, &scaleAttr{Shader: "test_scale", A: 2, Forms: forms}, g.Input("x", 3), g.Const("w", []float32{1}, 1)))
			y := make([]float32, 3)
			if err := g.load(d).Run(t.Context(), map[string][]float32{"x": {1, 2, 3}}, map[string][]float32{"y": y}); err != nil || [3]float32(y) != [3]float32{3, 5, 7} {
				t.Errorf("%v: got %v, %v", forms, y, err)
			}
			w := strings.Join(d.Warnings(), "\n")
			if want := forms[0] == "broken" || tune; strings.Contains(w, "form broken of test_scale is not used") != want {
				t.Errorf("%v, tuned %v: warnings %q", forms, tune, w)
			}
			if got := strings.Contains(w, "runs on the processor"); got != (len(forms) == 1) {
				t.Errorf("%v: warnings %q", forms, w)
			}
		}
	}
}
