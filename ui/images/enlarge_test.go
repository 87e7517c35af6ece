package images

import (
	"context"
	"image"
	"strings"
	"testing"

	"fyne.io/fyne/v2/test"

	"atelier/app/library"
	"atelier/models/pipeline"
	"atelier/ui/studio"
)

func (e *engine) Upscalers() []studio.Named { return e.upscalers }

// enlarge answers a request with an upscaler in two tiles; one token lets it do one.
func (e *engine) enlarge(ctx context.Context, r pipeline.Request, say func(pipeline.Progress)) (*pipeline.Result, error) {
	for i := range 2 {
		say(pipeline.Progress{Phase: "tile", Step: i, Steps: 2})
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-e.steps:
		}
	}
	size := image.Pt(r.Width, r.Height)
	if size == (image.Point{}) {
		size = image.Pt(4*r.Init.W, 4*r.Init.H)
	}
	r.Width, r.Height, r.Init = size.X, size.Y, nil
	return &pipeline.Result{Request: r, Model: "x4plus", Edited: true, Images: []*image.NRGBA{plain(size.X, size.Y, 99)}, Seeds: []uint64{r.Seed}}, nil
}

// TestUpscaleThePictureShown enlarges a picture of the session: by the upscaler and to the size that are chosen, with progress, and
// with what made it kept; cancelling leaves the picture as it was.
func TestUpscaleThePictureShown(t *testing.T) {
	b := newBench(t, nil)
	b.engine.upscalers = []studio.Named{{ID: "/models/x2.pth", Label: "x2"}, {ID: "/models/x4plus.pth", Label: "x4plus"}}
	b.ModelsChanged()
	b.form.prompt.SetText("a fox")
	b.form.setSeed("41")
	b.Generate(false)
	b.step(4)
	b.until("a picture", func() bool { return len(b.session.pictures) == 1 && b.running == 0 })
	first := b.session.chosen()
	e := b.session.enlarge
	b.session.turn(e.content)
	if !e.rows.Visible() || e.none.Visible() || b.session.actions.Visible() || !e.start.Enabled() {
		t.Fatal("the rows to choose an upscaler show in place of the actions")
	}
	b.Escape()
	if b.session.asking() {
		t.Error("Esc closes the rows")
	}
	b.session.turn(e.content)
	e.upscaler.Select(1)
	b.ModelsChanged()
	test.Tap(e.start)
	if b.session.asking() {
		t.Error("the rows close when it begins")
	}
	b.until("the first tile", func() bool { return strings.HasPrefix(b.stage.status.Text, "Enlarging · 0 of 2 tiles") })
	b.step(1)
	b.until("the second tile", func() bool { return strings.HasPrefix(b.stage.status.Text, "Enlarging · 1 of 2 tiles") })
	if b.button.Text != "Cancel" || b.stage.picture.Image() != first.image {
		t.Errorf("while it runs the button says %q", b.button.Text)
	}
	b.step(1)
	b.until("the larger picture", func() bool { return len(b.session.pictures) == 2 && b.running == 0 })
	r := b.engine.requests()[1]
	if r.Upscaler != "/models/x4plus.pth" || r.Init == nil || r.Init.W != 256 || r.Width != 0 || r.Seed != 41 || !strings.Contains(r.About, "a fox") {
		t.Errorf("asked for %q of %v, %d wide, seed %d, about %q", r.Upscaler, r.Init, r.Width, r.Seed, r.About)
	}
	large := b.session.chosen()
	if large == first || large.image.Rect.Dx() != 1024 || b.stage.picture.Image() != large.image || !strings.Contains(b.session.facts.Text, "1024 × 1024 · enlarged") {
		t.Errorf("chosen is %v; it says %q", large.image.Rect, b.session.facts.Text)
	}
	p, err := library.ReadParameters(large.path)
	if err != nil || p.Prompt != "a fox" || p.Fields["Seed"] != "41" || p.Fields["Size"] != "256x256" || p.Fields["Postprocess upscaler"] != "x4plus" || p.Fields["Postprocess upscale to"] != "1024x1024" {
		t.Errorf("the file says %+v, %v", p, err)
	}
	b.form.prompt.SetText("another")
	b.session.reuse(reuseAll)
	if f := b.form.parameters(); f.Prompt != "a fox" || f.Seed != "41" || f.Model != "sticker" || f.Width != 256 || f.Steps != 4 {
		t.Errorf("what made the picture is %+v", f)
	}
	b.session.turn(e.content)
	e.scale.Select(1)
	test.Tap(e.start)
	b.until("the third job", func() bool { return len(b.engine.requests()) == 3 && b.running != 0 })
	if r := b.engine.requests()[2]; r.Width != 2048 || r.Height != 2048 || r.Init.W != 1024 {
		t.Errorf("asked for %d × %d of %d", r.Width, r.Height, r.Init.W)
	}
	b.Escape()
	b.until("idle", func() bool { return b.running == 0 })
	if len(b.session.pictures) != 2 || b.stage.picture.Image() != large.image || b.stage.status.Text != "Cancelled" {
		t.Errorf("after cancelling: %d pictures, status %q", len(b.session.pictures), b.stage.status.Text)
	}
}

// TestWithoutUpscalers checks that a person is told where there is one.
func TestWithoutUpscalers(t *testing.T) {
	b := newBench(t, nil)
	e := b.session.enlarge
	if e.rows.Visible() || !e.none.Visible() || e.start.Enabled() {
		t.Error("without an upscaler nothing can be chosen, and a sentence says where there is one")
	}
	b.upscale() // there is no picture either
	if len(b.engine.requests()) != 0 {
		t.Error("something was asked of the engine")
	}
}
