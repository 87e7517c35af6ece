package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/test"

	"atelier/app/download"
	"atelier/app/modelstore"
	"atelier/app/settings"
	"atelier/models/checkpoint"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

type bench struct {
	*Workspace
	t        *testing.T
	main     chan func()
	home     string
	used     studio.Use
	question string
	mu       sync.Mutex
	told     [][]modelstore.Entry
}

func newBench(t *testing.T) *bench {
	t.Helper()
	test.NewTempApp(t).Settings().SetTheme(kit.NewTheme("dark"))
	b := &bench{t: t, main: make(chan func(), 100000), home: t.TempDir()}
	store, err := modelstore.Open(modelstore.Options{Config: filepath.Join(b.home, "models.json"), Cache: filepath.Join(b.home, "cache.json"), Home: b.home})
	if err == nil {
		err = store.SetOwn(filepath.Join(b.home, "own"))
	}
	if err != nil {
		t.Fatal(err)
	}
	saved := settings.Open(filepath.Join(b.home, "settings.json"))
	post := func(f func()) { b.main <- f }
	tips := kit.NewTips(post)
	b.Workspace = New(Config{Post: post, Tips: tips, Store: store, Settings: saved, UserAgent: "test",
		Browse:  func(string, func(string)) {},
		Confirm: func(title, _, _ string, do func()) { b.question = title; do() },
		Open:    func(string) error { return nil },
		Name:    func(path string) (string, bool) { return "the " + stem(path), true },
		Use:     func(u studio.Use) { b.used = u },
		Changed: func(entries []modelstore.Entry) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, entries)
		}})
	window := test.NewTempWindow(t, container.NewStack(b.Content(), tips.Layer))
	window.SetPadded(false)
	window.Resize(fyne.NewSize(1232, 774))
	t.Cleanup(func() {
		b.Leave()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := b.Wait(ctx); err != nil {
			t.Error(err)
		}
		saved.Close()
	})
	return b
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case f := <-b.main:
			f()
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			b.t.Fatalf("waited in vain for %s; the bar says %q, the notice %q", what, b.stage.status.Text, b.stage.notice.Text())
		}
	}
}

func (b *bench) idle() { b.until("rest", func() bool { return b.work == nil }) }

// lora writes an adapter of one layer in kohya's layout.
func lora(t *testing.T, path, licence string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	const layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
	err := checkpoint.Write(path, []checkpoint.Tensor{
		checkpoint.NewF32(layer+".lora_down.weight", []int{4, 320}, make([]float32, 4*320)),
		checkpoint.NewF32(layer+".lora_up.weight", []int{320, 4}, make([]float32, 320*4)),
		checkpoint.NewF32(layer+".alpha", nil, []float32{4}),
	}, map[string]string{"modelspec.license": licence, "modelspec.trigger_phrase": "inkwash", "ss_network_module": "networks.lora"})
	if err != nil {
		t.Fatal(err)
	}
}

func titles(l *kit.List) string {
	var out []string
	for _, r := range l.Rows() {
		out = append(out, r.Title)
	}
	return strings.Join(out, ", ")
}

func TestListSearchDetailsAndUse(t *testing.T) {
	b := newBench(t)
	dir := filepath.Join(b.home, "own", "loras")
	lora(t, filepath.Join(dir, "ink.safetensors"), "CC0-1.0")
	lora(t, filepath.Join(dir, "oil.safetensors"), "MIT")
	if err := os.WriteFile(filepath.Join(dir, "cut.safetensors"), []byte("\xff\xff\x00\x00\x00\x00\x00\x00{"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "ink.png"))
	if err == nil {
		err = errors.Join(png.Encode(f, image.NewNRGBA(image.Rect(0, 0, 40, 40))), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.Begin()
	b.until("the models", func() bool { return len(b.entries) == 3 })
	b.idle()
	if got := titles(b.stage.entries); got != "cut, ink, oil" {
		t.Errorf("the list has %s", got)
	}
	if r := b.stage.entries.Rows()[0]; r.Role != kit.Loss || r.Icon != kit.IconWarning {
		t.Errorf("a broken one is shown as %+v", r)
	}
	b.until("the picture", func() bool { return b.stage.entries.Rows()[1].Picture != nil })
	b.until("the hashes", func() bool {
		return !slices.ContainsFunc(b.entries, func(e modelstore.Entry) bool { return e.SHA256 == "" })
	})
	whole, err := os.ReadFile(filepath.Join(dir, "ink.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(whole))
	if r := b.stage.entries.Rows()[1]; !strings.HasSuffix(r.Detail, " · CC0 1.0 · "+sum[:10]) {
		t.Errorf("its row says %q, its hash is %s", r.Detail, sum)
	}
	b.stage.entries.Select(1)
	test.Tap(b.hashes.short.copy)
	if got := fyne.CurrentApp().Clipboard().Content(); got != sum[:10] || b.hashes.full.text.Text != sum {
		t.Errorf("copied %q, shown %q", got, b.hashes.full.text.Text)
	}
	test.Tap(b.hashes.full.copy)
	if got := fyne.CurrentApp().Clipboard().Content(); got != sum {
		t.Errorf("copied %q", got)
	}
	b.form.words.SetText("INK")
	if got := titles(b.stage.entries); got != "ink, oil" { // both have the trigger word
		t.Errorf("inkwash finds %s", got)
	}
	b.form.words.SetText("cc0")
	if got := titles(b.stage.entries); got != "ink" {
		t.Errorf("a licence finds %s", got)
	}
	b.stage.entries.Select(0)
	use := b.details.actions.Objects[0].(*kit.Button)
	test.Tap(use)
	if b.used.Words != "inkwash <lora:ink:1>" {
		t.Errorf("used %+v", b.used)
	}
	b.form.words.SetText("nothing like it")
	if !b.stage.first.Visible() || b.stage.empty.Text != "No model is like that" {
		t.Errorf("an empty search says %q", b.stage.empty.Text)
	}
	b.form.words.SetText("")
	b.form.kind.OnChanged(0)
	test.Tap(b.form.only)
	if got := titles(b.stage.entries); got != "ink, oil" {
		t.Errorf("what can be used is %s", got)
	}
	test.Tap(b.form.only)
	b.stage.entries.Select(0)
	if use := b.details.actions.Objects[0].(*kit.Button); use.Enabled() {
		t.Error("a broken model cannot be used")
	}
	b.remove(b.shown[1])
	b.until("its end", func() bool { return titles(b.stage.entries) == "cut, oil" })
	if _, err := os.Stat(filepath.Join(dir, "ink.safetensors")); err == nil || b.question != "Delete ink?" {
		t.Errorf("the question was %q, the file is there: %v", b.question, err == nil)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.told) == 0 || len(b.told[len(b.told)-1]) != 2 {
		t.Errorf("others were told %d times", len(b.told))
	}
}

func TestLinkedFoldersAndImports(t *testing.T) {
	b := newBench(t)
	b.Begin()
	b.idle()
	comfy := filepath.Join(b.home, "programs", "comfy")
	lora(t, filepath.Join(comfy, "models", "loras", "soft.safetensors"), "MIT")
	if err := os.MkdirAll(filepath.Join(comfy, "models", "checkpoints"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.linkFolder(comfy)
	b.until("the linked model", func() bool { return titles(b.stage.entries) == "soft" && b.work == nil })
	if n := len(b.form.folders.Objects); n != 2 {
		t.Errorf("%d folders are listed", n)
	}
	loose := filepath.Join(b.home, "Downloads", "pen.safetensors")
	lora(t, loose, "MIT")
	b.Drop([]string{loose})
	b.until("the import", func() bool { return b.work == nil })
	if got := titles(b.stage.entries); got != "pen, soft" || b.stage.status.Text != "Brought in pen" {
		t.Errorf("the list has %s, the bar says %q", got, b.stage.status.Text)
	}
	if e, ok := b.chosen(); !ok || e.Path != filepath.Join(b.home, "own", "loras", "pen.safetensors") {
		t.Errorf("chosen %+v", e.Path)
	}
	b.Drop([]string{filepath.Join(b.home, "missing.safetensors")})
	b.until("the refusal", func() bool { return strings.Contains(b.stage.notice.Text(), "missing.safetensors") })
	b.idle()
	other := filepath.Join(b.home, "elsewhere")
	b.setOwn(other)
	b.until("the other folder", func() bool { return b.config.Store.Own() == other && b.work == nil })
	b.until("what is there", func() bool { return titles(b.stage.entries) == "soft" })
	b.setOwn(filepath.Join(b.home, "own"))
	b.until("the old folder", func() bool { return titles(b.stage.entries) == "pen, soft" && b.work == nil })
	b.unlink(comfy)
	b.until("the unlinking", func() bool { return titles(b.stage.entries) == "pen" })
}

func TestCatalogueShowsLicencesBeforeAnything(t *testing.T) {
	b := newBench(t)
	b.stage.open(pageCatalogue)
	b.form.words.SetText("taesd")
	if len(b.offers) == 0 {
		t.Fatal("the catalogue has no TAESD")
	}
	b.stage.offers.Select(0)
	get := b.details.actions.Objects[0].(*kit.Button)
	if get.Text != "Accept and download" || !get.Enabled() {
		t.Errorf("the button says %q", get.Text)
	}
	if text := shownText(b.details.body); !strings.Contains(text, b.offers[0].Licence.Name) || !strings.Contains(text, b.offers[0].Licence.Says) {
		t.Errorf("the details lack the licence: %s", text)
	}
	if b.config.Store.Accepted(b.offers[0]) {
		t.Error("showing a licence does not accept it")
	}
}

// shownText gathers the paragraphs of a page.
func shownText(o fyne.CanvasObject) string {
	switch o := o.(type) {
	case *kit.Paragraph:
		return o.Text + "\n"
	case *fyne.Container:
		text := ""
		for _, c := range o.Objects {
			text += shownText(c)
		}
		return text
	}
	return ""
}

// gated gives a first part, and the rest when the gate is open.
type gated struct {
	*strings.Reader
	open, gone <-chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	if g.Size()-int64(g.Len()) >= 200_000 {
		select {
		case <-g.open:
		case <-g.gone:
			return 0, errors.New("gone")
		}
	}
	return g.Reader.Read(p[:min(len(p), 50_000)])
}

func TestDownloadsPauseGoOnAndArrive(t *testing.T) {
	b := newBench(t)
	data := make([]byte, 600_000)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	gate := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "m.bin", time.Unix(1, 0), &gated{strings.NewReader(string(data)), gate, r.Context().Done()})
	}))
	defer server.Close()
	sum := sha256.Sum256(data)
	path := filepath.Join(b.home, "own", "loras", "far.safetensors")
	if _, err := b.downloads.Add(download.Request{URL: server.URL + "/far", Path: path, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}); err != nil {
		t.Fatal(err)
	}
	b.stage.open(pageDownloads)
	b.until("the download", func() bool { return len(b.loads) == 1 && b.loads[0].State == download.Running && b.loads[0].Have > 0 })
	b.stage.loads.Select(0)
	pause := b.details.actions.Objects[0].(*kit.Button)
	if pause.Text != "Pause" || b.stage.tabs[pageDownloads].Text != "Downloads (1)" {
		t.Errorf("button %q, tab %q", pause.Text, b.stage.tabs[pageDownloads].Text)
	}
	test.Tap(pause)
	b.until("the pause", func() bool { return b.loads[0].State == download.Paused })
	b.until("the button", func() bool { return b.details.actions.Objects[0].(*kit.Button).Text == "Go on" })
	close(gate)
	test.Tap(b.details.actions.Objects[0].(*kit.Button))
	b.until("the arrival", func() bool { return b.loads[0].State == download.Done })
	if got := b.stage.loads.Rows()[0]; got.Detail != "Whole and checked" || got.Icon != kit.IconCheck {
		t.Errorf("row %+v", got)
	}
	b.idle()
	if got, err := os.ReadFile(path); err != nil || sha256.Sum256(got) != sum {
		t.Errorf("the file: %v", err)
	}
}
