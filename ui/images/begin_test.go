package images

import (
	"image/color"
	"path/filepath"
	"strings"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"atelier/app/library"
	"atelier/models/pipeline"
	"atelier/ui/studio"
)

func TestModelsOpenWhenTheyAreChosen(t *testing.T) {
	b := newBench(t, nil)
	b.engine.models = append(b.engine.models, pipeline.ModelInfo{Name: "found"}, pipeline.ModelInfo{Name: "broken"})
	b.ModelsChanged()
	if got := b.form.parameters(); got.Model != "sticker" || got.Width != 256 {
		t.Errorf("a longer list changed the form to %+v", got)
	}
	b.Use(studio.Use{Model: "found", Words: "<lora:soft:1>"})
	b.until("the model", func() bool { return b.form.parameters().Width == 320 })
	if got := b.form.parameters(); got.Model != "found" || got.Steps != 9 || got.CFG != 5 || got.Prompt != "<lora:soft:1>" {
		t.Errorf("form says %+v", got)
	}
	b.form.pick(3)
	b.until("the refusal", func() bool {
		return b.stage.notice.Text() == "The model broken does not open: its denoiser lacks 3 tensors."
	})
	b.form.model.Select(3)
	b.openModel("broken")
	b.until("the first model", func() bool { return b.form.parameters().Model == "sticker" })
	b.engine.models = b.engine.models[:2]
	b.ModelsChanged()
	if got := b.form.parameters(); got.Model != "sticker" || len(b.form.models) != 2 {
		t.Errorf("after models went: %+v, %d models", got, len(b.form.models))
	}
}

func TestAdaptersGoIntoThePrompt(t *testing.T) {
	b := newBench(t, nil)
	if b.form.adapterRow.Visible() {
		t.Error("a list of nothing is shown")
	}
	b.engine.adapters = []studio.Named{{ID: "ink <lora:ink:1>", Label: "ink"}, {ID: "<lora:oil:1>", Label: "oil"}}
	b.ModelsChanged()
	b.form.prompt.SetText("a fox")
	b.form.adapters.OnChanged(1)
	b.form.adapters.OnChanged(2)
	b.form.adapters.OnChanged(1)
	if got := b.form.prompt.Text(); got != "a fox ink <lora:ink:1> <lora:oil:1>" || !b.form.adapterRow.Visible() || b.form.adapters.Selected() != 0 {
		t.Errorf("prompt %q, selected %d", got, b.form.adapters.Selected())
	}
	b.Undo(false)
	if got := b.form.prompt.Text(); got != "a fox ink <lora:ink:1>" {
		t.Errorf("after undo: %q", got)
	}
}

func TestPicturesBeginWithAnother(t *testing.T) {
	b := newBench(t, nil)
	if b.form.begin.amount.Visible() {
		t.Error("a strength is shown without a picture")
	}
	b.beginWithCanvas()
	if got := b.config.Tips.Shown(); !strings.Contains(got, "no picture yet") {
		t.Errorf("says %q", got)
	}
	file := filepath.Join(t.TempDir(), "start.png")
	if err := library.WriteNew(file, plain(48, 32, 90), library.Meta{}); err != nil {
		t.Fatal(err)
	}
	b.BeginWith(file)
	b.until("the picture", func() bool { return b.form.begin.pixels != nil })
	b.form.begin.strength.Set(0.4)
	b.form.prompt.SetText("a fox")
	b.Generate(false)
	b.until("a request", func() bool { return len(b.engine.requests()) == 1 })
	if r := b.engine.requests()[0]; r.Init == nil || r.Init.W != 48 || r.Init.H != 32 || r.Strength != 0.4 {
		t.Errorf("asked for %v at %v", r.Init, r.Strength)
	}
	b.BeginWith(filepath.Join(t.TempDir(), "none.png"))
	b.until("the refusal", func() bool { return b.stage.notice.Text() != "" })
	if b.form.begin.path.Text() != file {
		t.Errorf("a file that is not there took the place of %q", b.form.begin.path.Text())
	}
	b.form.begin.path.OnCommit("")
	b.step(4)
	b.until("the end", func() bool { return b.running == 0 && len(b.session.pictures) == 1 })
	b.Generate(false)
	b.until("a second request", func() bool { return len(b.engine.requests()) == 2 })
	if r := b.engine.requests()[1]; r.Init != nil || b.form.begin.amount.Visible() {
		t.Error("an empty field takes the picture out")
	}
}

func TestMaskIsPaintedOnTheFirstPicture(t *testing.T) {
	b := newBench(t, nil)
	if b.Paint(false) {
		t.Error("there is nothing to paint on")
	}
	file := filepath.Join(t.TempDir(), "start.png")
	if err := library.WriteNew(file, plain(64, 64, 90), library.Meta{}); err != nil {
		t.Fatal(err)
	}
	b.BeginWith(file)
	b.until("the picture", func() bool { return b.form.begin.image != nil })
	b.form.begin.brush.size.Set(10)
	b.Reuse(fyne.KeyB)
	b.until("the picture on the canvas", func() bool { i := b.stage.picture.Image(); return i != nil && i.Rect.Dx() == 64 })
	b.stage.picture.OnPaint(20, 32, true)
	b.stage.picture.OnPaint(44, 32, false)
	b.until("the mask on the canvas", func() bool {
		i := b.stage.picture.Image()
		return i.NRGBAAt(32, 32) != i.NRGBAAt(32, 5) && i.NRGBAAt(32, 5) == (color.NRGBA{90, 90, 90, 255})
	})
	m := b.form.begin.mask
	at := func(x, y int) uint8 { return m.cover[y*64+x] }
	if at(20, 32) != 255 || at(32, 32) != 255 || at(44, 34) != 255 || at(32, 40) != 0 || at(10, 32) != 0 || at(55, 32) != 0 {
		t.Errorf("the stroke covers %d %d %d, and beside it %d %d %d", at(20, 32), at(32, 32), at(44, 34), at(32, 40), at(10, 32), at(55, 32))
	}
	b.Reuse(fyne.KeyE)
	b.stage.picture.OnPaint(44, 32, true)
	if at(44, 32) != 0 || at(32, 32) != 255 {
		t.Errorf("after erasing: %d, %d", at(44, 32), at(32, 32))
	}
	if !b.Undo(false) || b.form.begin.mask.cover[32*64+44] != 255 {
		t.Error("Ctrl+Z takes the last stroke back")
	}
	b.stage.picture.OnPaint(44, 32, true)
	m = b.form.begin.mask
	b.Brush(true)
	if got := b.form.begin.brush.size.Value(); got != 13 {
		t.Errorf("a larger brush is %v wide", got)
	}
	b.form.prompt.SetText("a fox")
	b.Generate(false)
	b.until("a request", func() bool { return len(b.engine.requests()) == 1 })
	r := b.engine.requests()[0]
	if r.Mask == nil || r.Mask.W != 64 || r.Mask.C != 1 || r.Mask.Data[32*64+32] != 1 || r.Mask.Data[32*64+44] != 0 || b.stage.picture.OnPaint != nil {
		t.Errorf("the request's mask is %v, painting %v", r.Mask != nil, b.stage.picture.OnPaint != nil)
	}
	b.step(4)
	b.until("the end", func() bool { return b.running == 0 && len(b.session.pictures) == 1 })
	test.Tap(b.form.begin.brush.clear)
	b.Generate(false)
	b.until("a second request", func() bool { return len(b.engine.requests()) == 2 })
	if r := b.engine.requests()[1]; r.Mask != nil || r.Init == nil {
		t.Error("a cleared mask is in the request")
	}
}
