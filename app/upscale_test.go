package main

import (
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/app/engine"
	"atelier/app/library"
	"atelier/app/modelstore"
	"atelier/models/pipeline"
)

// TestUpscaleCommand enlarges pictures of every sort from the command line, on both devices: what is written where, what it says of
// itself, and that nothing is overwritten that nobody named.
func TestUpscaleCommand(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	create := func(name string, encode func(f *os.File) error) string {
		t.Helper()
		f, err := os.Create(at(name))
		if err == nil {
			err = encode(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		return at(name)
	}
	clear := image.NewNRGBA(image.Rect(0, 0, 7, 5))
	clear.SetNRGBA(3, 2, color.NRGBA{200, 50, 25, 255})
	made := at("made.png")
	if err := library.WriteTo(made, clear, library.Meta{Prompt: "a fox, red", Steps: 9, Sampler: "Euler", CFG: 5, Seed: 77, Width: 7, Height: 5, Model: "sticker", Version: "v"}); err != nil {
		t.Fatal(err)
	}
	pictures := []string{made,
		create("deep.png", func(f *os.File) error { return png.Encode(f, image.NewGray16(image.Rect(0, 0, 6, 3))) }),
		create("one.png", func(f *os.File) error { return png.Encode(f, image.NewGray(image.Rect(0, 0, 1, 1))) }),
		create("photo.jpg", func(f *os.File) error { return jpeg.Encode(f, image.NewGray(image.Rect(0, 0, 9, 4)), nil) })}
	const model = "../models/testdata/gan/rrdb.pth"
	for _, device := range []string{"host", "opengl"} {
		out := at(device)
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		said := upscaled(t, append([]string{"--model", model, "--out", out, "--device", device}, pictures...)...)
		if len(said.Files) != 4 || said.Own != 4 || len(said.Hash) != 10 || said.Model != "rrdb" || said.Peak <= 0 {
			t.Fatalf("%s: said %+v", device, said)
		}
		for i, want := range []struct {
			name string
			w, h int
		}{{"made-x4.png", 28, 20}, {"deep-x4.png", 24, 12}, {"one-x4.png", 4, 4}, {"photo-x4.png", 36, 16}} {
			m := decoded(t, filepath.Join(out, want.name))
			if said.Files[i] != filepath.Join(out, want.name) || m.Bounds().Dx() != want.w || m.Bounds().Dy() != want.h || said.Pictures[i].Width != want.w {
				t.Errorf("%s: %+v, the file is %v", device, said.Pictures[i], m.Bounds())
			}
		}
		m := decoded(t, said.Files[0])
		if _, _, _, far := m.At(0, 0).RGBA(); far != 0 {
			t.Errorf("%s: what is transparent all round has alpha %d", device, far)
		}
		if _, _, _, near := m.At(13, 9).RGBA(); near == 0 {
			t.Errorf("%s: what is opaque has alpha %d", device, near)
		}
		p, err := library.ReadParameters(said.Files[0])
		if err != nil || p.Prompt != "a fox, red" || p.Fields["Seed"] != "77" || p.Fields["Size"] != "7x5" || p.Fields["Postprocess upscale to"] != "28x20" || p.Fields["Postprocess upscaler"] != "rrdb" {
			t.Errorf("%s: the file says %+v, %v", device, p, err)
		}
		p, err = library.ReadParameters(said.Files[3])
		if _, seeded := p.Fields["Seed"]; err != nil || seeded || p.Prompt != "" || p.Fields["Postprocess upscaler"] != "rrdb" {
			t.Errorf("%s: the photograph's file says %+v, %v", device, p, err)
		}
		for name, want := range map[string]string{said.Files[0]: "/trainedAlgorithmicMedia<", said.Files[3]: "/compositeWithTrainedAlgorithmicMedia<"} {
			if data, err := os.ReadFile(name); err != nil || !strings.Contains(string(data), want) {
				t.Errorf("%s: %s does not say %s", device, name, want)
			}
		}
	}
	upscaled(t, made, "--model", model, "--scale", "1.5", "--out", at("named.png"), "--device", "host")
	if m := decoded(t, at("named.png")); m.Bounds().Dx() != 11 || m.Bounds().Dy() != 8 {
		t.Errorf("one and a half times: %v", m.Bounds())
	}
	for want, c := range map[string]upscaleCmd{
		"enlarges no pictures":      {Model: "palette", Pictures: pictures},
		"is there already":          {Model: model, Pictures: pictures, Out: at("host")},
		"names one picture":         {Model: model, Pictures: pictures, Out: at("x.png")},
		"would be written as":       {Model: model, Pictures: []string{made, made}},
		"cannot be used":            {Model: model, Pictures: []string{model}, Out: at("x.png")},
		"up to 32 times":            {Model: model, Pictures: pictures, Scale: 33},
		"the model no-such cannot":  {Model: "no-such", Pictures: pictures},
		"1 to 268 million are made": {Model: model, Pictures: []string{create("huge.png", func(f *os.File) error { return png.Encode(f, image.NewGray(image.Rect(0, 0, 600, 600))) })}, Out: at("x.png"), Scale: 32},
	} {
		c.Device, c.JSON = "host", true
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v; %q is wanted in it", err, want)
		}
	}
	if _, err := os.Stat(at("x.png")); err == nil {
		t.Error("a refused picture left a file")
	}
}

// upscaled runs the command and gives what it says.
func upscaled(t *testing.T, line ...string) (said enlarged) {
	t.Helper()
	text, err := runLine(t, append([]string{"upscale", "--json"}, line...)...)
	if err == nil {
		err = json.Unmarshal([]byte(text), &said)
	}
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// TestStudioEnlarges lists the upscalers that the model manager knows, and enlarges a picture by one, whatever the model.
func TestStudioEnlarges(t *testing.T) {
	path, err := filepath.Abs("../models/testdata/gan/rrdb.pth")
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(engine.Options{Choice: engine.Host})
	if err != nil {
		t.Fatal(err)
	}
	s := testStudio(t)
	s.engine, s.pipes, s.ready, s.busy = e, engine.NewPipelines(e), make(chan struct{}), make(turn, 1)
	close(s.ready)
	defer e.Close()
	defer s.pipes.Close()
	s.SetEntries([]modelstore.Entry{
		{Kind: modelstore.Upscaler, Name: "rrdb", Path: path}, {Kind: modelstore.Upscaler, Name: "broken", Path: "/x", Problem: "cut off"}, {Kind: modelstore.VAE, Name: "vae", Path: "/y"},
	})
	if got := s.Upscalers(); len(got) != 1 || got[0].ID != path || got[0].Label != "rrdb" {
		t.Fatalf("upscalers %v", got)
	}
	ask := func(upscaler string) (*pipeline.Result, error) {
		return s.Generate(t.Context(), "sticker", pipeline.Request{Upscaler: upscaler, Init: pipeline.PixelsOf(image.NewGray(image.Rect(0, 0, 5, 3)))}, func(pipeline.Progress) {})
	}
	for range 2 {
		if res, err := ask(path); err != nil || res.Images[0].Rect.Dx() != 20 || res.Model != "rrdb" {
			t.Errorf("%+v, %v", res, err)
		}
	}
	if _, err := ask(path + "x"); err == nil || !s.busy.free() {
		t.Errorf("a file that went: %v; the device is free: %v", err, s.busy.free())
	}
}

func decoded(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
