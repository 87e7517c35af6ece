package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atelier/app/engine"
	"atelier/app/training"
)

type trainCmd struct {
	Recipe      string `arg:"" optional:"" placeholder:"RECIPE.toml" help:"Recipe to train by; of a run that was begun, its folder's recipe.toml."`
	Resume      bool   `help:"Go on exactly where the run stopped, also after a crash; starts it where there is none."`
	Steps       int    `placeholder:"N" help:"Stop after N steps in all; more than the recipe's are made too."`
	New         string `placeholder:"KIND" help:"Write a recipe of this kind and start: ${train_kinds}. Needs --data and --name."`
	Data        string `placeholder:"FOLDER" help:"With --new: folder or zip archive of pictures, with captions beside them, in metadata or in their names."`
	Name        string `help:"With --new: the name of what is made."`
	Base        string `placeholder:"MODEL" help:"With --new: the model to start from, a folder, a file or a name of the list; without it, the built-in model where one is needed."`
	Out         string `placeholder:"FOLDER" help:"With --new: the run's folder; without it, a folder of the name here."`
	RecipeOnly  bool   `help:"With --new: write the recipe and do not start."`
	Device      string `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
	MemoryLimit int64  `placeholder:"MB" help:"Most device memory to use, in megabytes; 0 asks the driver."`
	JSON        bool   `name:"json" help:"Print one JSON object a line: what happens (event: data, start, step, validation, sample, saved, warning, done), and at last the result (event: result)."`
}

// Run trains. An interrupt saves the state first.
func (c *trainCmd) Run(ctx context.Context) error { return c.train(ctx, os.Stdout) }

func (c *trainCmd) train(ctx context.Context, to io.Writer) error {
	run, err := c.open()
	if err != nil || c.RecipeOnly {
		return err
	}
	e, err := engine.Open(engine.Options{Choice: c.Device, MemoryLimit: megabytes(c.MemoryLimit)})
	if err != nil {
		return err
	}
	defer e.Close()
	bar := newProgressBar(c.JSON)
	out := json.NewEncoder(to)
	o, err := run.Train(ctx, e.Device, training.Options{Steps: c.Steps, Events: func(v training.Event) {
		if c.JSON {
			out.Encode(v) // a closed pipe ends the program by itself
			return
		}
		bar.training(v)
	}})
	bar.done()
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "atelier: the state is saved; go on with: atelier train %s --resume\n", filepath.Join(run.Folder, "recipe.toml"))
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return out.Encode(struct {
			Event string `json:"event"`
			*training.Outcome
		}{"result", o})
	}
	_, err = fmt.Fprintln(to, trained(o))
	return err
}

// open finds or makes the run.
func (c *trainCmd) open() (*training.Run, error) {
	switch {
	case c.Steps < 0:
		return nil, fmt.Errorf("--steps %d: give a number of steps above 0", c.Steps)
	case c.New != "" && c.Recipe != "":
		return nil, errors.New("--new writes a recipe of its own; leave RECIPE.toml out, or --new")
	case c.New != "" && (c.Data == "" || c.Name == ""):
		return nil, errors.New("--new needs --data FOLDER with the pictures and --name NAME for what is made")
	case c.New == "" && c.Recipe == "":
		return nil, errors.New("name a recipe, or let one be written: atelier train --new lora --data FOLDER --name NAME")
	case c.New != "":
		return c.begin()
	}
	r, err := training.Load(c.Recipe)
	if err != nil {
		return nil, err
	}
	folder := training.FolderOf(r, c.Recipe)
	if !c.Resume {
		return training.Create(folder, r)
	}
	run, err := training.Reopen(folder)
	if err != nil {
		return training.Create(folder, r)
	}
	return run, run.Change(r)
}

// begin writes a new recipe into a new run's folder.
func (c *trainCmd) begin() (*training.Run, error) {
	paths := []string{c.Data, c.Base, c.Out}
	if c.Out == "" {
		paths[2] = c.Name
	}
	for i, p := range paths {
		if p == "" || i == 1 && p == "sticker" {
			continue
		}
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, fmt.Errorf("the path %s cannot be found: %w", p, err)
		}
		paths[i] = abs
	}
	r, err := training.New(c.New, c.Name, paths[0], paths[1])
	if err != nil {
		return nil, err
	}
	run, err := training.Create(paths[2], r)
	if err == nil {
		fmt.Fprintf(os.Stderr, "The recipe is %s\n", filepath.Join(run.Folder, "recipe.toml"))
	}
	return run, err
}

// kindNames are what --new takes.
func kindNames() string {
	var names []string
	for _, k := range training.Kinds() {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

// trained says what a run came to.
func trained(o *training.Outcome) string {
	text := fmt.Sprintf("%s\n%d steps on %s in %s, %.3g pictures/s; loss %.4g → %.4g", o.Product, o.Steps, o.Device, longTime(o.Seconds), o.Speed, o.First, o.Loss)
	if o.BestStep > 0 {
		text += fmt.Sprintf("; validation %.4g → %.4g at step %d", o.Before, o.Validation, o.BestStep)
	}
	if len(o.Folds) > 0 {
		text += fmt.Sprintf("; %d folds: %.4g ± %.2g", len(o.Folds), o.Mean, o.Deviation)
	}
	for _, f := range o.Figures {
		text += fmt.Sprintf("; %s %.4g", f.Name, f.Value)
		if f.Unit != "" {
			text += " " + f.Unit
		}
	}
	text = fmt.Sprintf("%s; %d MB of device memory\nreport %s", text, o.Peak>>20, o.Report)
	if use := useOf(o); use != "" {
		text += "\ndraw with it: " + use
	}
	return text
}

// useOf is the command that draws with what a run made; empty for what makes no pictures by itself.
func useOf(o *training.Outcome) string {
	prompt := "…"
	if run, err := training.Reopen(filepath.Dir(o.Product)); err == nil {
		prompt = run.Recipe.Data.Called(prompt)
	}
	switch o.Kind {
	case "lora":
		return fmt.Sprintf("atelier image --prompt %q --lora %q", prompt, o.Product+":1")
	case "textual_inversion":
		return fmt.Sprintf("atelier image --prompt %q --embedding %q", prompt, o.Product)
	case "autoencoder":
		return ""
	}
	return fmt.Sprintf("atelier image --prompt … --model %q", o.Product)
}

// training draws what happened: steps in the line that is rewritten, the rest in lines of its own.
func (b *progressBar) training(e training.Event) {
	switch e.What {
	case training.EventWarning, training.EventData:
		b.done()
		fmt.Fprintln(os.Stderr, e.Message)
		return
	case training.EventStep, training.EventStart:
	default:
		return
	}
	if b.out != nil {
		b.shown = true
		fmt.Fprint(b.out, "\r\x1b[K"+trainLine(e))
	}
}

// trainLine is "████░░░░ 120/1000  loss 0.123  5.1 pictures/s  12 min left".
func trainLine(e training.Event) string {
	line := ""
	if e.Stage != "" {
		line = e.Stage + "  "
	}
	const width = 24
	n := width * min(e.Step, e.Steps) / max(e.Steps, 1)
	line += fmt.Sprintf("%s%s %d/%d", strings.Repeat("█", n), strings.Repeat("░", width-n), e.Step, e.Steps)
	if e.What == training.EventStep {
		line += fmt.Sprintf("  loss %.4g  %.3g pictures/s", e.Loss, e.Speed)
	}
	if e.Left > 0 {
		line += "  " + longTime(e.Left) + " left"
	}
	return line
}

// longTime prints seconds as people say long times: 12 s, 3 min, 2.5 h.
func longTime(seconds float64) string {
	if seconds < 7200 {
		return roundTime(time.Duration(seconds * float64(time.Second)))
	}
	return fmt.Sprintf("%.1f h", seconds/3600)
}
