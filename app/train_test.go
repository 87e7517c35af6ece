package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/app/training"
)

func TestTrainMistakes(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		cmd  trainCmd
		want string
	}{
		{trainCmd{}, "name a recipe"},
		{trainCmd{New: "lora"}, "--new needs --data FOLDER"},
		{trainCmd{New: "lora", Data: "x"}, "--new needs --data FOLDER"},
		{trainCmd{New: "lora", Data: "x", Name: "y", Recipe: "z.toml"}, "leave RECIPE.toml out"},
		{trainCmd{New: "nothing", Data: "x", Name: "y", Out: dir}, `nothing of the kind "nothing" can be trained; choose one of lora,`},
		{trainCmd{New: "lora", Data: "x", Name: "a/b", Out: dir}, `name: "a/b" cannot be the name of a file`},
		{trainCmd{Recipe: filepath.Join(dir, "none.toml")}, "check the path"},
		{trainCmd{Recipe: "z.toml", Steps: -1}, "--steps -1"},
	} {
		if _, err := c.cmd.open(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.cmd, err, c.want)
		}
	}
}

// TestTrain trains a small autoencoder by a recipe: the lines that --json prints, an interrupt, going on, and a folder that is taken.
func TestTrain(t *testing.T) {
	dir := t.TempDir()
	pictures := filepath.Join(dir, "pictures")
	if err := os.Mkdir(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		m := image.NewNRGBA(image.Rect(0, 0, 16, 16))
		for k := range m.Pix {
			m.Pix[k] = uint8(k*(2*i+3)) | 3
		}
		f, err := os.Create(filepath.Join(pictures, fmt.Sprintf("p%d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(png.Encode(f, m), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	recipe := filepath.Join(dir, "small.toml")
	text := "kind = \"autoencoder\"\nname = \"small\"\n[data]\npath = \"pictures\"\nwidth = 16\n[train]\nsteps = 4\nbatch = 2\n[autoencoder]\nchannels = [8, 8]\ngroups = 4\n"
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := trainCmd{Recipe: recipe, Device: "host", JSON: true}
	ctx, cancel := context.WithCancel(t.Context())
	err := cmd.train(ctx, writer(func(line []byte) {
		if bytes.Contains(line, []byte(`"event":"step","step":2`)) {
			cancel()
		}
	}))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupt gives %v", err)
	}
	if err := cmd.train(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("a folder with a run gives %v", err)
	}
	cmd.Resume = true
	var out bytes.Buffer
	if err := cmd.train(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	var steps []int
	var last struct {
		Event, Product string
		Step, Steps    int
	}
	for line := range strings.Lines(out.String()) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if last.Event == training.EventStep {
			steps = append(steps, last.Step)
		}
	}
	if fmt.Sprint(steps) != "[3 4]" || last.Event != "result" || last.Product != filepath.Join(dir, "small", "small") || last.Steps != 4 {
		t.Errorf("steps %v, result %+v", steps, last)
	}
	cmd.JSON = false
	out.Reset()
	if err := cmd.train(t.Context(), &out); err != nil || !strings.Contains(out.String(), "4 steps on processor") || !strings.Contains(out.String(), "PSNR") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// writer hands every write on.
type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func TestTrainLine(t *testing.T) {
	got := trainLine(training.Event{What: training.EventStep, Stage: "fold 1 of 3", Step: 6, Steps: 24, Loss: 0.12345, Speed: 5.14, Left: 720})
	if want := "fold 1 of 3  ██████░░░░░░░░░░░░░░░░░░ 6/24  loss 0.1235  5.14 pictures/s  12 min left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := longTime(9000); got != "2.5 h" {
		t.Errorf("%s", got)
	}
}

// TestUse checks the command that draws with what was trained: a LoRA goes by its path and weight, with the words that call it where
// training put them.
func TestUse(t *testing.T) {
	dir := t.TempDir()
	r, err := training.New("lora", "ink", dir, "")
	if err == nil {
		_, err = training.Create(filepath.Join(dir, "run"), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	product := filepath.Join(dir, "run", "ink.safetensors")
	if got, want := useOf(&training.Outcome{Kind: "lora", Name: "x", Product: product}), `atelier image --prompt "…, ink" --lora "`+product+`:1"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := useOf(&training.Outcome{Kind: "gan", Product: "/a/faces"}), `atelier image --prompt … --model "/a/faces"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := useOf(&training.Outcome{Kind: "autoencoder", Product: "/a/vae"}); got != "" {
		t.Errorf("an autoencoder is used by %s", got)
	}
}
