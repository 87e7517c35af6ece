package main

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atelier/app/engine"
	"atelier/app/library"
	"atelier/models/checkpoint"
	"atelier/models/pipeline"
)

// describing is a pipeline that only says what it is.
type describing struct{ info pipeline.ModelInfo }

func (d describing) Info() pipeline.ModelInfo                             { return d.info }
func (d describing) ModelHash() string                                    { return "" }
func (d describing) Resolve(r pipeline.Request) (pipeline.Request, error) { return r, nil }
func (d describing) Memory(pipeline.Request) (int64, error)               { return 0, nil }
func (d describing) Warm(context.Context, pipeline.Request) error         { return nil }
func (d describing) Close()                                               {}
func (d describing) Run(context.Context, pipeline.Request, func(pipeline.Progress)) (*pipeline.Result, error) {
	return nil, nil
}

// TestImageFlags checks what flags ask a pipeline for: pictures of both kinds of file, noise in order, adapters, folders.
func TestImageFlags(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	m := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	m.Set(2, 1, color.NRGBA{255, 0, 51, 255})
	f, err := os.Create(at("p.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
	f.Close()
	given := []checkpoint.Tensor{
		checkpoint.NewF32("mask", []int{1, 1, 1, 2}, []float32{0, 1}), checkpoint.NewF32("image01", []int{1, 3, 1, 2}, []float32{1, 2, 3, 4, 5, 6}),
		checkpoint.NewF32("noise00", []int{1, 4, 2, 3}, make([]float32, 24)), checkpoint.NewF32("noise01", []int{1}, []float32{7}),
		checkpoint.NewF32("latents", []int{1, 4, 2, 3}, make([]float32, 24)),
	}
	if err := checkpoint.Write(at("n.safetensors"), given, nil); err != nil {
		t.Fatal(err)
	}
	c := imageCmd{
		Prompt: "x", Batch: 1, Wildcards: dir, Lora: []string{"ink:0.5", "line:0.25:1"}, Init: at("p.png"), Mask: at("n.safetensors"), MaskBlur: 0, Padding: 12, OnlyMask: true,
		Latents: at("n.safetensors"), ClipSkip: 2, RNG: "nv",
	}
	r, _, err := c.request(describing{pipeline.ModelInfo{SizeStep: 8}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Init.W != 3 || r.Init.H != 2 || r.Init.C != 4 || !slices.Equal(r.Init.Data[20:], []float32{1, 0, 0.2, 1}) {
		t.Errorf("picture %+v", r.Init)
	}
	if r.Mask.W != 2 || r.Mask.Data[1] != 1 || r.MaskBlur != -1 || r.Padding != 12 || !r.OnlyMasked {
		t.Errorf("mask %+v, blur %d", r.Mask, r.MaskBlur)
	}
	if len(r.Noises) != 2 || r.Noises[1][0] != 7 || len(r.Latents) != 24 || r.Width != 24 || r.Height != 16 {
		t.Errorf("%d noises, latents for %d × %d", len(r.Noises), r.Width, r.Height)
	}
	if len(r.LoRAs) != 2 || r.LoRAs[0] != (pipeline.LoRA{Name: "ink", Text: 0.5, UNet: 0.5}) || r.LoRAs[1].UNet != 1 || r.Wildcards == nil || r.ClipSkip != 2 || r.RNG != "nv" {
		t.Errorf("%+v", r)
	}
	p, err := readPixels(at("n.safetensors"), "image01")
	if err != nil || !slices.Equal(p.Data, []float32{1, 3, 5, 2, 4, 6}) {
		t.Errorf("%+v, %v", p, err)
	}
	for want, c := range map[string]imageCmd{
		"not a folder":               {Wildcards: at("p.png")},
		"is not a picture file":      {Like: dir},
		"with --init":                {Mask: at("p.png")},
		"how much: name":             {Strength: 0.5},
		"0 or more, not -1 and 32":   {Init: at("p.png"), MaskBlur: -1, Padding: 32},
		"is not NAME or NAME:WEIGHT": {Lora: []string{"a>b"}},
		"cannot be used":             {Init: at("none.png")},
		"learns no words":            {Embedding: []string{at("n.safetensors")}},
		"neither a tensor latents":   {Latents: at("e.safetensors")},
	} {
		if err := checkpoint.Write(at("e.safetensors"), given[:1], nil); err != nil {
			t.Fatal(err)
		}
		_, _, err := c.request(describing{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; %q is wanted in it", err, want)
		}
	}
}

// TestImageLike takes settings from a picture, but for those that flags give.
func TestImageLike(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.png")
	eta := 0.5
	meta := library.Meta{Prompt: "a (fox:1.2) <lora:ink:0.8>", Negative: "blurry", Steps: 9, Sampler: "Euler a", Schedule: "Karras", CFG: 5, Seed: 77, Width: 64, Height: 32, ClipSkip: 2, RNG: "NV",
		Eta: &eta, Loras: map[string]string{"ink": "ab12cd34ef56"}, Version: "v"}
	if err := library.WriteTo(path, image.NewNRGBA(image.Rect(0, 0, 64, 32)), meta); err != nil {
		t.Fatal(err)
	}
	c := imageCmd{Like: path, Batch: 1, Steps: 4, Seed: seed{random: true}}
	r, _, err := c.request(describing{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Prompt != meta.Prompt || r.Negative != "blurry" || r.Seed != 77 || r.Steps != 4 || r.Sampler != "Euler a" || r.Schedule != "Karras" || r.Width != 64 || r.Height != 32 || r.ClipSkip != 2 || r.RNG != "NV" || *r.Eta != 0.5 {
		t.Errorf("%+v", r)
	}
	for hash, want := range map[string]int{"ab12cd34ef56": 0, "ab12cd34ef": 0, "0012cd34ef56": 1} {
		if got := c.otherAdapters(&pipeline.Result{LoRAHashes: map[string]string{"ink": hash}}); len(got) != want {
			t.Errorf("%s: %q", hash, got)
		}
	}
	c = imageCmd{Like: path, Batch: 1, Sampler: "ddim", Prompt: "b", Seed: seed{value: 5}}
	if r, _, err = c.request(describing{}); err != nil || r.Sampler != "ddim" || r.Schedule != "" || r.Prompt != "b" || r.Seed != 5 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestImageControls pairs several ControlNets with their pictures and numbers, in order.
func TestImageControls(t *testing.T) {
	dir := t.TempDir()
	net := filepath.Join(dir, "edges")
	if err := os.Mkdir(net, 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"control.safetensors": "diffusion_pytorch_model.safetensors", "control.json": "config.json"} {
		data, err := os.ReadFile(filepath.Join("../models/testdata/control", from))
		if err == nil {
			err = os.WriteFile(filepath.Join(net, to), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var pictures []string
	for i, v := range []float32{0.25, 0.5, 0.75} {
		path := filepath.Join(dir, string(rune('a'+i))+".safetensors")
		if err := checkpoint.Write(path, []checkpoint.Tensor{checkpoint.NewF32("control", []int{1, 3, 1, 1}, []float32{v, v, v})}, nil); err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, path)
	}
	c := imageCmd{Control: []string{net, net, net}, ControlImage: pictures, ControlScale: []float64{0.5, 0}, ControlStart: []float64{0.1, 0.2, 0.3}, ControlEnd: []float64{0.6}}
	var r pipeline.Request
	if err := c.follow(&r); err != nil {
		t.Fatal(err)
	}
	pipes := engine.NewPipelines(nil)
	defer pipes.Close()
	if err := pipes.Follow(&r); err != nil {
		t.Fatal(err)
	}
	if len(r.Controls) != 2 { // that of scale 0 does not count
		t.Fatalf("%d ControlNets", len(r.Controls))
	}
	for i, want := range [][4]float64{{0.5, 0.1, 0.6, 0.25}, {1, 0.3, 1, 0.75}} {
		if k := r.Controls[i]; k.Net == nil || k.Model != net || [4]float64{k.Scale, k.Start, k.End, float64(k.Picture.Data[0])} != want {
			t.Errorf("ControlNet %d has %v %v %v and the picture %v, want %v", i, k.Scale, k.Start, k.End, k.Picture.Data, want)
		}
	}
	for want, c := range map[string]imageCmd{
		"as often as each other": {Control: []string{net}, ControlImage: pictures},
		"leave out those beyond": {Control: []string{net}, ControlImage: pictures[:1], ControlEnd: []float64{1, 1}},
		"as often":               {ControlImage: pictures[:1]},
	} {
		if err := c.follow(&pipeline.Request{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; %q is wanted in it", err, want)
		}
	}
}

// TestSaveLosesNoPicture saves a batch of which one name is taken by a folder: the others are where they should be, and that one
// is kept elsewhere, beside what is there already.
func TestSaveLosesNoPicture(t *testing.T) {
	spare, dir := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", spare)
	if err := os.Mkdir(filepath.Join(dir, "a-2.png"), 0o755); err != nil {
		t.Fatal(err)
	}
	res := &pipeline.Result{Request: pipeline.Request{Batch: 4}, Seeds: []uint64{5, 6, 7}, Prompts: make([]string, 3), Negatives: make([]string, 3)}
	for range 3 { // the fourth was not finished
		res.Images = append(res.Images, image.NewNRGBA(image.Rect(0, 0, 8, 8)))
	}
	files, err := save(res, filepath.Join(dir, "a.png"))
	if want := []string{filepath.Join(dir, "a-1.png"), filepath.Join(dir, "a-3.png")}; !slices.Equal(files, want) {
		t.Errorf("saved %q, want %q", files, want)
	}
	kept, _ := filepath.Glob(filepath.Join(spare, "atelier-*-6.png"))
	if len(kept) != 1 || err == nil || !strings.Contains(err.Error(), "this is a folder") || !strings.HasSuffix(err.Error(), "kept as "+kept[0]) {
		t.Errorf("kept %q, %v", kept, err)
	}
}
