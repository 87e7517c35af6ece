package library

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"atelier/models/pipeline"
)

func sample() *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, 37, 23))
	for y := range 23 {
		for x := range 37 {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x * 6), uint8(y * 11), uint8(x * y), uint8(x * 7)})
		}
	}
	return img
}

var meta = Meta{
	Prompt: "a red apple", Negative: "blurry", Steps: 20, Sampler: "DDIM", Schedule: "Normal", CFG: 4, Seed: 1,
	Width: 37, Height: 23, ModelHash: "6ce0161689", Model: "sticker", RNG: "NV", Version: "atelier 0.1",
}

func at(t *testing.T, root string) *Library {
	t.Helper()
	l := New(root)
	l.now = func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local) }
	return l
}

func TestSaveNamesNumbersAndKeepsPixels(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Pictures", "Atelier")
	l := at(t, root)
	for i, want := range []string{"00000-1.png", "00001-1.png", "00002-1.png"} {
		path, err := l.Save(sample(), meta)
		if err != nil {
			t.Fatal(err)
		}
		if path != filepath.Join(root, "2026-11-23", want) {
			t.Fatalf("picture %d is at %s", i, path)
		}
	}
	f, err := os.Open(filepath.Join(root, "2026-11-23", "00001-1.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	decoded, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := decoded.(*image.NRGBA)
	if !ok || !bytes.Equal(got.Pix, sample().Pix) {
		t.Errorf("pixels or straight alpha changed: %T", decoded)
	}
	left, _ := filepath.Glob(filepath.Join(root, "2026-11-23", ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSaveContinuesAfterForeignFiles(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "2026-11-23")
	os.MkdirAll(folder, 0o755)
	old := filepath.Join(folder, ".00090.png.part")
	for _, name := range []string{"00007-99.png", "notes.txt", ".00008.png.part", ".00090.png.part"} {
		os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o644)
	}
	l := at(t, root)
	os.Chtimes(old, l.now().Add(-2*time.Hour), l.now().Add(-2*time.Hour))
	os.Chtimes(filepath.Join(folder, ".00008.png.part"), l.now(), l.now())
	path, err := l.Save(sample(), meta)
	if err != nil || filepath.Base(path) != "00009-1.png" {
		t.Errorf("saved as %s, %v", path, err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a stale reservation stayed")
	}
	if data, _ := os.ReadFile(filepath.Join(folder, "00007-99.png")); string(data) != "x" {
		t.Error("a foreign file changed")
	}
}

func TestParallelSaversNeverShareANumber(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	paths := make([]string, 40)
	for i := range paths {
		wg.Add(1)
		go func() {
			defer wg.Done()
			m := meta
			m.Seed = uint64(i)
			var err error
			if paths[i], err = at(t, root).Save(sample(), m); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, p := range paths {
		number, _, _ := strings.Cut(filepath.Base(p), "-")
		if seen[number] {
			t.Errorf("number %s was given twice", number)
		}
		seen[number] = true
	}
	if len(seen) != 40 {
		t.Errorf("%d numbers", len(seen))
	}
}

func TestWriteToReplacesAndWriteNewDoesNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "a picture.png")
	if err := WriteTo(path, sample(), meta); err != nil {
		t.Fatal(err)
	}
	other := meta
	other.Seed = 5
	err := WriteNew(path, sample(), other)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("WriteNew = %v", err)
	}
	if p, _ := ReadParameters(path); p.Fields["Seed"] != "1" {
		t.Errorf("seed is %q", p.Fields["Seed"])
	}
	if err := WriteTo(path, sample(), other); err != nil {
		t.Fatal(err)
	}
	if p, _ := ReadParameters(path); p.Fields["Seed"] != "5" {
		t.Errorf("seed is %q", p.Fields["Seed"])
	}
	if err := WriteTo(strings.TrimSuffix(path, "png")+"jpg", sample(), meta); err == nil || !strings.Contains(err.Error(), ".png") {
		t.Errorf("jpg: %v", err)
	}
	if err := WriteNew(filepath.Join(filepath.Dir(path), "b.PNG"), sample(), meta); err != nil {
		t.Error(err)
	}
	if all, _ := os.ReadDir(filepath.Dir(path)); len(all) != 2 {
		t.Errorf("files: %v", all)
	}
}

func TestCheckPathBeforeTheWork(t *testing.T) {
	folder := t.TempDir()
	os.Mkdir(filepath.Join(folder, "dir.png"), 0o755)
	os.WriteFile(filepath.Join(folder, "file"), nil, 0o644)
	for name, want := range map[string]string{"a.png": "", "new/b.PNG": "", "a.jpg": "written as .png", "dir.png": "this is a folder", "file/a.png": "a file is in the way"} {
		err := CheckPath(filepath.Join(folder, name))
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if err := WriteTo(filepath.Join(folder, "dir.png"), sample(), meta); err == nil || !strings.Contains(err.Error(), "this is a folder") {
		t.Errorf("writing to a folder: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, ".atelier-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFailuresSayWhatWhereAndWhatToDo(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	os.WriteFile(blocked, nil, 0o644)
	_, err := at(t, blocked).Save(sample(), meta)
	var save *SaveError
	if !errors.As(err, &save) || !strings.Contains(err.Error(), blocked) || !strings.Contains(err.Error(), "a file is in the way") ||
		!strings.Contains(err.Error(), "Settings") || strings.Contains(err.Error(), "\n") {
		t.Errorf("file in the way: %v", err)
	}
	if _, statErr := os.Stat("/dev/full"); statErr == nil {
		f, openErr := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if openErr != nil {
			t.Fatal(openErr)
		}
		_, writeErr := f.Write([]byte("x"))
		f.Close()
		if got := saveError("/a/b.png", writeErr).Error(); got != "could not save /a/b.png: the disk is full; free some space, or choose another place" {
			t.Errorf("full disk: %s", got)
		}
	}
	for cause, want := range map[error]string{fs.ErrPermission: "you may not write there", errors.New("odd"): "odd"} {
		if got := saveError("/x", &fs.PathError{Op: "open", Path: "/x", Err: cause}).Error(); !strings.Contains(got, want) || strings.Contains(got, "open") {
			t.Errorf("%v: %s", cause, got)
		}
	}
}

func TestReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may write anywhere; the folder's own refusal is checked through /proc")
		_, err := at(t, "/proc/atelier").Save(sample(), meta)
		if err == nil || !strings.HasPrefix(err.Error(), "could not save /proc/atelier/2026-11-23: ") || !strings.HasSuffix(err.Error(), "; save it elsewhere, or choose another folder in Settings") {
			t.Errorf("in /proc: %v", err)
		}
		return
	}
	root := t.TempDir()
	os.Chmod(root, 0o500)
	_, err := at(t, root).Save(sample(), meta)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "you may not write there") {
		t.Errorf("read-only: %v", err)
	}
}

func TestDefaultFolder(t *testing.T) {
	if got := New("").Root(); filepath.Base(got) != "Atelier" || !filepath.IsAbs(got) {
		t.Errorf("root %q", got)
	}
	l := New("/a")
	l.SetRoot("/b")
	if !regexp.MustCompile(`^/b/\d{4}-\d\d-\d\d$`).MatchString(l.Folder()) {
		t.Errorf("folder %q", l.Folder())
	}
}

func TestMetaOfResult(t *testing.T) {
	r := &pipeline.Result{
		Images:  []*image.NRGBA{sample(), sample()},
		Seeds:   []uint64{41, 42},
		Request: pipeline.Request{Prompt: "p", Negative: "n", Steps: 9, CFG: 7.5, Sampler: "euler_ancestral", Schedule: "karras", Seed: 41},
		Model:   "m", ModelHash: "0123456789",
	}
	labels := Labels{Sampler: func(id string) string { return map[string]string{"euler_ancestral": "Euler a"}[id] }}
	got := MetaOf(r, 1, labels, "v").String()
	want := "p\nNegative prompt: n\nSteps: 9, Sampler: Euler a, Schedule type: karras, CFG scale: 7.5, Seed: 42, Size: 37x23, Model hash: 0123456789, Model: m, Version: v"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestKillNeverLeavesHalfAPicture kills a saving process again and again; whatever has a final name must be whole.
func TestKillNeverLeavesHalfAPicture(t *testing.T) {
	if root := os.Getenv("ATELIER_TEST_SAVE_LOOP"); root != "" {
		big := image.NewNRGBA(image.Rect(0, 0, 400, 400))
		for i := range big.Pix {
			big.Pix[i] = byte(i * i >> 3)
		}
		for {
			if _, err := New(root).Save(big, meta); err != nil {
				os.Exit(3)
			}
		}
	}
	if testing.Short() {
		t.Skip("kills a dozen processes")
	}
	root := t.TempDir()
	saved := func() []string {
		paths, _ := filepath.Glob(filepath.Join(root, "*", "*.png"))
		return paths
	}
	for round := 0; round < 8 || (len(saved()) < 12 && round < 40); round++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillNeverLeavesHalfAPicture$")
		cmd.Env = append(os.Environ(), "ATELIER_TEST_SAVE_LOOP="+root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(120+round*37) * time.Millisecond)
		cmd.Process.Kill()
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() == 3 {
			t.Fatalf("round %d: the saver ended by itself: %v", round, err)
		}
	}
	paths := saved()
	if len(paths) < 5 {
		t.Fatalf("only %d pictures were saved; the test proves nothing", len(paths))
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(bytes.NewReader(data)); err != nil {
			t.Errorf("%s, %d bytes: %v", filepath.Base(p), len(data), err)
		}
		if _, err := ReadParameters(p); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d pictures, all whole", len(paths))
}
