package images

import (
	"image"
	"image/color"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"

	"atelier/app/library"
	"atelier/app/settings"
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
	b.form.prompt.SetText("a fox,")
	b.Use(studio.Use{Words: "ink <lora:ink:1>", Example: "a cow, ink <lora:ink:1>"})
	if got := b.form.parameters(); got.Prompt != "a fox, ink <lora:ink:1>" || !b.form.prompt.Focused() {
		t.Errorf("words after a comma: %q, to be gone on with: %v", got.Prompt, b.form.prompt.Focused())
	}
	b.form.prompt.SetText(" ")
	b.Use(studio.Use{Words: "ink <lora:ink:1>", Example: "a cow, ink <lora:ink:1>"})
	if got := b.form.parameters(); got.Prompt != "a cow, ink <lora:ink:1>" {
		t.Errorf("an example for who wrote nothing: %q", got.Prompt)
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
	if got := b.form.prompt.Text(); got != "a fox, ink <lora:ink:1> <lora:oil:1>" || !b.form.adapterRow.Visible() || b.form.adapters.Selected() != 0 {
		t.Errorf("prompt %q, selected %d", got, b.form.adapters.Selected())
	}
	b.Undo(false)
	if got := b.form.prompt.Text(); got != "a fox, ink <lora:ink:1>" {
		t.Errorf("after undo: %q", got)
	}
}

// file writes a picture and gives its path.
func file(t *testing.T, name string, img *image.NRGBA) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := library.WriteNew(path, img, library.Meta{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// ask sends the form and gives the request that reached the engine.
func (b *bench) ask() pipeline.Request {
	b.t.Helper()
	n := len(b.engine.requests())
	b.Generate(false)
	b.until("a request", func() bool { return len(b.engine.requests()) == n+1 })
	b.step(b.engine.requests()[n].Steps)
	b.until("the end", func() bool { return b.running == 0 && len(b.session.pictures) == n+1 })
	return b.engine.requests()[n]
}

func TestPicturesBeginWithAnother(t *testing.T) {
	b := newBench(t, nil)
	begin := b.form.begin
	if begin.amount.Visible() {
		t.Error("a strength is shown without a picture")
	}
	begin.from.canvas()
	if got := b.config.Tips.Shown(); !strings.Contains(got, "no picture yet") {
		t.Errorf("says %q", got)
	}
	start := file(t, "start.png", plain(192, 320, 90))
	b.picked = start
	begin.from.browse()
	b.until("the picture", func() bool { return begin.from.given != nil })
	if b.stage.picture.Image() != begin.from.given.image || b.stage.empty.Visible() {
		t.Error("it is not on the empty canvas")
	}
	if p := b.form.parameters(); p.Width != 192 || p.Height != 320 {
		t.Errorf("the size is %d × %d, the picture's is 192 × 320", p.Width, p.Height)
	}
	begin.strength.Set(0.4)
	b.form.prompt.SetText("a fox")
	if r := b.ask(); r.Init == nil || r.Init.W != 192 || r.Init.H != 320 || r.Strength != 0.4 || r.Mask != nil {
		t.Errorf("asked for %v at %v", r.Init, r.Strength)
	}
	b.Drop(fyne.NewPos(600, 300), filepath.Join(t.TempDir(), "none.png"))
	b.until("the refusal", func() bool { return b.stage.notice.Text() != "" })
	if begin.from.path.Text() != start {
		t.Errorf("a file that is not there took the place of %q", begin.from.path.Text())
	}
	begin.from.path.OnCommit("")
	if r := b.ask(); r.Init != nil || begin.amount.Visible() {
		t.Error("an empty field takes the picture out")
	}
	if b.Undo(false); begin.from.given == nil || begin.from.path.Text() != start || !begin.amount.Visible() {
		t.Error("undo gives the picture back")
	}
	b.session.choose(1)
	b.session.onStart(b.session.chosen())
	b.until("the session's picture", func() bool { return begin.from.name() == b.session.chosen().path })
	if begin.from.given.image != b.session.chosen().image {
		t.Error("the start is not the chosen picture")
	}
}

func TestPicturesOfOtherSizesAreFitted(t *testing.T) {
	b := newBench(t, nil) // 128 to 512 in steps of 32
	for size, want := range map[image.Point]image.Point{{2048, 1024}: {512, 256}, {64, 48}: {160, 128}, {300, 300}: {288, 288}, {4000, 100}: {512, 128}} {
		b.form.fit(size)
		if got := image.Pt(int(b.form.width.Value()), int(b.form.height.Value())); got != want {
			t.Errorf("%v is made at %v, want %v", size, got, want)
		}
	}
}

func TestMaskIsPaintedOnTheFirstPicture(t *testing.T) {
	b := newBench(t, nil)
	if b.Paint(false) {
		t.Error("there is nothing to paint on")
	}
	b.Drop(fyne.Position{}, file(t, "start.png", plain(64, 64, 90)))
	b.until("the picture", func() bool { return b.form.begin.from.given != nil })
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
	m = b.form.begin.mask
	if at(44, 32) != 0 || at(32, 32) != 255 {
		t.Errorf("after erasing: %d, %d", at(44, 32), at(32, 32))
	}
	if !b.Undo(false) || b.form.begin.mask.cover[32*64+44] != 255 {
		t.Error("Ctrl+Z takes the last stroke back")
	}
	b.Undo(false)
	if b.form.begin.mask != nil {
		t.Error("a second Ctrl+Z takes the first stroke back")
	}
	b.Undo(true)
	b.Undo(true)
	if m = b.form.begin.mask; at(44, 32) != 0 || at(32, 32) != 255 {
		t.Errorf("Ctrl+Shift+Z brings both back: %d, %d", at(44, 32), at(32, 32))
	}
	b.Brush(true)
	if got := b.form.begin.brush.size.Value(); got != 13 {
		t.Errorf("a larger brush is %v wide", got)
	}
	b.Brush(false)
	if got := b.form.begin.brush.size.Value(); got != 10 {
		t.Errorf("a smaller brush is %v wide", got)
	}
	b.form.prompt.SetText("a fox")
	r := b.ask()
	if r.Mask == nil || r.Mask.W != 64 || r.Mask.C != 1 || r.Mask.Data[32*64+32] != 1 || r.Mask.Data[32*64+44] != 0 || b.stage.picture.OnPaint != nil {
		t.Errorf("the request's mask is %v, painting %v", r.Mask != nil, b.stage.picture.OnPaint != nil)
	}
	if r.MaskBlur != 4 || r.Padding != 32 || r.OnlyMasked || r.Strength != 0.75 {
		t.Errorf("blur %d, padding %d, only masked %v, strength %v", r.MaskBlur, r.Padding, r.OnlyMasked, r.Strength)
	}
	b.form.begin.blur.Set(0)
	b.form.begin.padding.Set(0)
	b.form.begin.area.OnChanged(0)
	b.form.begin.area.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	if r := b.ask(); r.MaskBlur != -1 || r.Padding != -1 || !r.OnlyMasked {
		t.Errorf("none are asked for as %d and %d, only masked %v", r.MaskBlur, r.Padding, r.OnlyMasked)
	}
	test.Tap(b.form.begin.brush.clear)
	if r := b.ask(); r.Mask != nil || r.Init == nil || r.OnlyMasked {
		t.Error("a cleared mask is in the request")
	}
	b.session.choose(1) // made with the mask
	b.Reuse(fyne.KeyA)
	if r := b.ask(); r.Mask == nil || r.Mask.Data[32*64+32] != 1 || !r.OnlyMasked || r.MaskBlur != -1 || r.Init == nil {
		t.Error("reusing all brings the mask back")
	}
}

func TestMasksComeFromFiles(t *testing.T) {
	b := newBench(t, nil)
	b.Drop(fyne.Position{}, file(t, "start.png", plain(64, 32, 90)))
	b.until("the picture", func() bool { return b.form.begin.from.given != nil })
	half := plain(128, 64, 0)
	for i := range half.Pix {
		if i%(4*128) >= 4*64 {
			half.Pix[i] = 255
		}
	}
	b.picked = file(t, "mask.png", half)
	b.pickMask()
	b.until("the mask", func() bool { return b.form.begin.mask != nil })
	m := b.form.begin.mask
	if m.width != 64 || m.height != 32 || m.cover[16*64+10] != 0 || m.cover[16*64+50] != 255 || !b.form.begin.brush.on {
		t.Errorf("%d × %d, %d at the left and %d at the right, shown %v", m.width, m.height, m.cover[16*64+10], m.cover[16*64+50], b.form.begin.brush.on)
	}
	black := file(t, "black.png", plain(16, 16, 0))
	b.Drop(fyne.CurrentApp().Driver().AbsolutePositionForObject(b.form.begin.fold).AddXY(4, 4), black)
	b.until("the refusal", func() bool { return strings.Contains(b.stage.notice.Text(), "black all over") })
	if b.form.begin.mask != m {
		t.Error("a black mask took the place of another")
	}
	if b.Undo(false); b.form.begin.mask != nil || b.form.begin.from.given == nil {
		t.Error("undo takes the loaded mask out, and not the picture")
	}
}

func TestControlNetsAreOfferedWhereTheyFit(t *testing.T) {
	b := newBench(t, nil)
	section := b.form.controls
	c, second, third := section.all[0], section.all[1], section.all[2]
	b.engine.controls = []studio.ControlNet{{Named: studio.Named{ID: "/c/pose.safetensors", Label: "pose"}, Kind: "small"}, {Named: studio.Named{ID: "/c/edges.safetensors", Label: "edges"}, Kind: "large"}, {Named: studio.Named{ID: "/c/depth.safetensors", Label: "depth"}, Kind: "small"}}
	if section.fold.Visible() {
		t.Error("a ControlNet is offered where there is none")
	}
	b.ModelsChanged()
	if len(section.fitting) != 2 || !section.fold.Visible() || c.rows.Visible() || second.content.Visible() {
		t.Errorf("%d fit, shown %v, rows %v, a second %v", len(section.fitting), section.fold.Visible(), c.rows.Visible(), second.content.Visible())
	}
	c.net.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	c.net.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	b.form.prompt.SetText("a fox")
	b.Generate(false)
	if got := b.config.Tips.Shown(); !strings.Contains(got, "needs a picture to follow") || !b.config.Queue.Idle() {
		t.Errorf("without a picture it says %q", got)
	}
	section.fold.SetOpen(true)
	b.Drop(fyne.CurrentApp().Driver().AbsolutePositionForObject(section.fold).AddXY(4, 4), file(t, "depth.png", plain(40, 24, 200)))
	b.until("the picture", func() bool { return c.picture.given != nil })
	if b.form.begin.from.given != nil {
		t.Error("it was taken to begin with")
	}
	c.weight.Set(0.6)
	c.weight.OnChanged(0.6)
	c.start.Set(0.5)
	c.start.OnChanged(0.5)
	c.end.Set(0.25)
	c.end.OnChanged(0.25) // before the start, which goes with it
	r := b.ask()
	if len(r.Controls) != 1 || r.Controls[0].Model != "/c/depth.safetensors" || r.Controls[0].Scale != 0.6 || r.Controls[0].Start != 0.25 || r.Controls[0].End != 0.25 || r.Controls[0].Picture.W != 40 {
		t.Errorf("asked for %+v", r.Controls)
	}
	if !second.content.Visible() || third.content.Visible() {
		t.Errorf("beside one, a second is offered: %v, a third: %v", second.content.Visible(), third.content.Visible())
	}
	second.net.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	b.Drop(fyne.CurrentApp().Driver().AbsolutePositionForObject(section.fold).AddXY(4, 4), file(t, "pose.png", plain(30, 30, 100))) // to the one that lacks a picture
	b.until("the second picture", func() bool { return second.picture.given != nil })
	if r := b.ask(); len(r.Controls) != 2 || r.Controls[0].Picture.W != 40 || r.Controls[1].Model != "/c/pose.safetensors" || r.Controls[1].Picture.W != 30 || r.Controls[1].Scale != 1 {
		t.Errorf("asked for %+v", r.Controls)
	}
	b.form.model.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown}) // follows none
	if r := b.ask(); len(r.Controls) != 0 || section.fold.Visible() {
		t.Errorf("the other model was asked to follow %d", len(r.Controls))
	}
	b.session.choose(1)
	b.Reuse(fyne.KeyA)
	if r := b.ask(); len(r.Controls) != 2 || r.Controls[0].Scale != 0.6 {
		t.Errorf("reusing all follows %+v", r.Controls)
	}
	b.Leave()
	if got := b.store.Get().Last.Controls; got != [4]settings.Control{{Model: "/c/depth.safetensors", Weight: 0.6, Start: 0.25, End: 0.25}, {Model: "/c/pose.safetensors", Weight: 1, End: 1}} {
		t.Errorf("kept %+v", got)
	}
	c.weight.Set(0)
	c.weight.OnChanged(0)
	if r := b.ask(); len(r.Controls) != 1 || r.Controls[0].Model != "/c/pose.safetensors" {
		t.Error("a weight of 0 is asked for as the usual one")
	}
}

func TestNoiseAndTextReachTheRequestAndComeBack(t *testing.T) {
	b := newBench(t, nil)
	n := b.form.noise
	b.form.prompt.SetText("a fox")
	if r := b.ask(); r.RNG != "atelier" || r.Eta != nil || r.Spacing != "" || r.ZeroSNR || r.ClipSkip != 1 || r.GuidanceRescale != 0 {
		t.Errorf("as usual: %+v", r)
	}
	n.rng.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	n.spacing.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	n.spacing.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	n.eta.Set(0.5)
	n.skip.Set(2)
	n.rescale.Set(0.7)
	test.Tap(n.zero)
	r := b.ask()
	if r.RNG != "cpu" || r.Eta == nil || *r.Eta != 0.5 || r.Spacing != "trailing" || !r.ZeroSNR || r.ClipSkip != 2 || r.GuidanceRescale != 0.7 {
		t.Errorf("asked for %+v", r)
	}
	if got := n.fold.Summary(); got != "CPU · eta 0.5 · trailing · zero SNR · clip skip 2 · rescale 0.7" {
		t.Errorf("the closed section says %q", got)
	}
	want := b.form.parameters()
	b.Leave()
	if got := b.store.Get().Last; got != want || got.Eta != "0.5" {
		t.Errorf("kept %+v", got)
	}
	path := b.session.pictures[1].path
	b.session.choose(0)
	b.Reuse(fyne.KeyA)
	if p := b.form.parameters(); p.RNG != "atelier" || p.Eta != "" || p.Spacing != "" || p.ZeroSNR || p.ClipSkip != 1 || p.Rescale != 0 {
		t.Errorf("reusing the first: %+v", p)
	}
	b.Drop(fyne.Position{}, path)
	b.until("the offer", func() bool { return strings.Contains(b.stage.notice.Text(), "says how it was made") })
	how, err := library.ReadParameters(path)
	if err != nil {
		t.Fatal(err)
	}
	b.again(how)
	got := b.form.parameters()
	want.Seed, want.Batch = how.Fields["Seed"], 1
	if got != want {
		t.Errorf("the file gives\n%+v, want\n%+v", got, want)
	}
	b.form.sampler.Select(0) // Euler draws no noise
	b.form.sampler.OnChanged(0)
	if p := b.form.parameters(); p.Eta != "" || n.etaRow.Visible() {
		t.Errorf("Euler has eta %q, shown %v", p.Eta, n.etaRow.Visible())
	}
}

// TestOldPicturesAreForgotten counts what is kept to undo, and to make pictures again: pictures are large.
func TestOldPicturesAreForgotten(t *testing.T) {
	large := func() *given { // 64 MB
		return &given{pixels: &pipeline.Pixels{Data: make([]float32, 16<<20)}, image: &image.NRGBA{}}
	}
	s := &session{}
	tr := trail{}
	shared := large()
	for i := range 12 {
		asked := state{from: large()}
		if i >= 8 {
			asked.from = shared // counts once
		}
		s.pictures = append(s.pictures, &made{asked: asked})
		tr.note(asked, "", time.Time{})
	}
	s.forget()
	kept := 0
	for _, m := range s.pictures {
		if m.asked.from != nil {
			kept++
		}
	}
	if kept != 4+3 || s.pictures[11].asked.from != shared {
		t.Errorf("%d pictures can be made again, want the shared one's 4 and 3 more", kept)
	}
	if n := len(tr.past); n != 3+1 {
		t.Errorf("%d steps can be taken back", n)
	}
}

func TestAutoencodersAreOfferedWhereTheyFit(t *testing.T) {
	b := newBench(t, nil)
	v := b.form.vae
	b.engine.vaes = map[string][]studio.Named{"sticker": {{ID: "/v/clear.safetensors", Label: "clear"}}}
	if v.row.Visible() {
		t.Error("the row shows without one")
	}
	b.ModelsChanged()
	b.form.prompt.SetText("a fox")
	v.choice.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	if r := b.ask(); r.VAE != "/v/clear.safetensors" || !v.row.Visible() {
		t.Errorf("asked for %q, shown %v", r.VAE, v.row.Visible())
	}
	b.form.model.TypedKey(&fyne.KeyEvent{Name: fyne.KeyDown})
	if r := b.ask(); r.VAE != "" || v.row.Visible() {
		t.Errorf("the other model has %q, shown %v", r.VAE, v.row.Visible())
	}
	how, err := library.ReadParameters(b.session.pictures[0].path)
	if err != nil || how.Fields["VAE"] != "clear" {
		t.Fatalf("the file says %q, %v", how.Fields["VAE"], err)
	}
	b.form.vae.load("")
	b.again(how)
	if p := b.form.parameters(); p.VAE != "/v/clear.safetensors" || b.form.vae.path() != p.VAE {
		t.Errorf("the file gives %q", p.VAE)
	}
}

// TestWhatWasLeftIsThereOnceTheModelIsOpen begins with a model that must be opened first: its settings stay as they were left.
func TestWhatWasLeftIsThereOnceTheModelIsOpen(t *testing.T) {
	b := newBench(t, func(s *settings.Settings) {
		s.Last = settings.Parameters{Model: "found", Prompt: "kept", Width: 448, Height: 128, Steps: 33, CFG: 2.5, Sampler: "ddim", Schedule: "karras", Seed: "5", Eta: "0.25"}
	})
	b.form.start(nil, b.store.Get().Last) // there is no list before the engine is ready
	b.EngineReady()
	if p := b.form.parameters(); p.Model != "sticker" {
		t.Errorf("before it is found the model is %s", p.Model)
	}
	b.engine.models = append(b.engine.models, pipeline.ModelInfo{Name: "found"})
	b.ModelsChanged()
	b.until("the model", func() bool { return b.form.current().Width == 320 })
	if p := b.form.parameters(); p.Width != 448 || p.Height != 128 || p.Steps != 33 || p.CFG != 2.5 || p.Sampler != "ddim" || p.Schedule != "karras" || p.Eta != "0.25" || p.Prompt != "kept" {
		t.Errorf("the form says %+v", p)
	}
}
