package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"atelier/app/dataset"
	"atelier/compute"
)

// Files of a run's folder.
const (
	recipeFile = "recipe.toml"
	stateFile  = "state.safetensors"
	logName    = "log.jsonl"
	// previousFile is the state before the latest.
	previousFile = "state-previous.safetensors"
	bestFile     = "best.safetensors"
	lastFile     = "last.safetensors"
	resultFile   = "result.json"
	dataFile     = "data.json"
	samplesDir   = "samples"
)

// Run is one training and its folder. Pause and Resume may be called from any goroutine; Train is called once at a time.
type Run struct {
	Folder string
	Recipe Recipe

	mu   sync.Mutex
	wake chan struct{} // closed by Resume; nil while running
}

// FolderOf is where a recipe that was read from a file keeps its run: the folder that it names, else its own folder where it is a
// run's recipe.toml, else a folder of its name beside it.
func FolderOf(r Recipe, path string) string {
	switch {
	case r.Folder != "":
		return r.Folder
	case filepath.Base(path) == recipeFile:
		return filepath.Dir(path)
	}
	return filepath.Join(filepath.Dir(path), r.Name)
}

// Create makes a run's folder and keeps the recipe in it. A folder in which something was trained is refused.
func Create(folder string, r Recipe) (*Run, error) {
	r, err := r.Fill()
	if err != nil {
		return nil, err
	}
	if started(folder) {
		return nil, fmt.Errorf("%s already holds a training run: go on with it (--resume), or choose another name or folder", folder)
	}
	if err := os.MkdirAll(filepath.Join(folder, samplesDir), 0o755); err != nil {
		return nil, unsaved(folder, err)
	}
	run := &Run{Folder: folder, Recipe: r}
	return run, run.keepRecipe()
}

func started(folder string) bool {
	for _, name := range []string{stateFile, logName, resultFile, "fold-1"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
			return true
		}
	}
	return false
}

// Reopen opens the run in a folder, with the recipe that it was begun by.
func Reopen(folder string) (*Run, error) {
	r, err := Load(filepath.Join(folder, recipeFile))
	if err != nil {
		return nil, fmt.Errorf("there is no training run in %s: %w", folder, err)
	}
	return &Run{Folder: folder, Recipe: r}, nil
}

// Change makes a run go on by another recipe, such as one with more steps.
func (r *Run) Change(recipe Recipe) error {
	recipe, err := recipe.Fill()
	if err != nil {
		return err
	}
	if recipe.Kind != r.Recipe.Kind {
		return fmt.Errorf("kind: the run in %s trains a %s and cannot go on as a %s; choose another name or folder", r.Folder, r.Recipe.Kind, recipe.Kind)
	}
	r.Recipe = recipe
	return r.keepRecipe()
}

func (r *Run) keepRecipe() error {
	return writeText(filepath.Join(r.Folder, recipeFile), r.Recipe.Text())
}

// Info is a run as a list shows it.
type Info struct {
	Folder, Kind, Name string
	Step, Steps        int
	Loss               float64
	Changed            time.Time
	Finished           bool
	Product            string // where finished
}

// List finds the runs in a folder, the latest first. Folders that are no runs are passed over.
func List(folder string) ([]Info, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the folder %s cannot be read: %w", folder, err)
	}
	var out []Info
	for _, e := range entries {
		run, err := Reopen(filepath.Join(folder, e.Name()))
		if err != nil {
			continue
		}
		out = append(out, run.info())
	}
	slices.SortStableFunc(out, func(a, b Info) int { return b.Changed.Compare(a.Changed) })
	return out, nil
}

func (r *Run) info() Info {
	i := Info{Folder: r.Folder, Kind: r.Recipe.Kind, Name: r.Recipe.Name}
	log := filepath.Join(r.Folder, logName)
	if stat, err := os.Stat(log); err == nil {
		i.Changed = stat.ModTime()
	}
	if events, err := ReadLog(log); err == nil && len(events) > 0 {
		last := events[len(events)-1]
		i.Step, i.Steps, i.Loss = last.Step, last.Steps, last.Loss
	}
	if o, err := r.Result(); err == nil {
		i.Finished, i.Product = true, o.Product
	}
	return i
}

// Result is what a finished run came to.
func (r *Run) Result() (*Outcome, error) { return readOutcome(r.Folder) }

func readOutcome(folder string) (*Outcome, error) {
	data, err := os.ReadFile(filepath.Join(folder, resultFile))
	if err != nil {
		return nil, err
	}
	var o Outcome
	return &o, json.Unmarshal(data, &o)
}

// Pause makes Train save and wait after the step that is being made.
func (r *Run) Pause() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
}

// Resume ends a pause.
func (r *Run) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// Paused reports whether the run waits or is about to.
func (r *Run) Paused() bool { return r.waiting() != nil }

func (r *Run) waiting() chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wake
}

// Options are the choices of one sitting.
type Options struct {
	Steps  int // stop after this many steps in all; 0 means the recipe's. More than the recipe's are made too.
	Events func(Event)
}

// Outcome is what a run came to.
type Outcome struct {
	Kind       string    `json:"kind"`
	Name       string    `json:"name"`
	Device     string    `json:"device"`
	Steps      int       `json:"steps"`
	Planned    int       `json:"planned_steps"`
	Epochs     int       `json:"epochs"`
	Parameters int       `json:"trained_parameters"`
	Width      int       `json:"width"`
	Height     int       `json:"height"`
	Pictures   int       `json:"pictures"`
	Held       int       `json:"validation_pictures"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished"`
	Seconds    float64   `json:"seconds"`
	Speed      float64   `json:"pictures_per_second"`
	Peak       int64     `json:"peak_device_bytes"`
	First      float64   `json:"first_loss"`
	Loss       float64   `json:"loss"` // mean of the last tenth of the steps
	Before     float64   `json:"first_validation_loss,omitempty"`
	Validation float64   `json:"best_validation_loss,omitempty"`
	BestStep   int       `json:"best_step,omitempty"`
	Early      bool      `json:"stopped_early"`
	Folds      []Fold    `json:"folds,omitempty"`
	Mean       float64   `json:"folds_mean,omitempty"`
	Deviation  float64   `json:"folds_deviation,omitempty"`
	Figures    []Figure  `json:"figures,omitempty"`
	Copies     int       `json:"suspected_copies"` // samples that come suspiciously near to a picture trained on
	Made       int       `json:"samples_compared,omitempty"`
	Product    string    `json:"product,omitempty"`
	Example    string    `json:"example,omitempty"` // a prompt that it was shown to answer
	Report     string    `json:"report,omitempty"`

	Card string `json:"-"` // the model card, for exports
}

// Fold is what one part of a cross-validation came to.
type Fold struct {
	Validation float64 `json:"best_validation_loss"`
	BestStep   int     `json:"best_step"`
	Steps      int     `json:"steps"`
	Pictures   int     `json:"pictures"`
	Held       int     `json:"validation_pictures"`
}

// Train trains until the run is done, and writes what was made, the card and the report. Where ctx ends, the state is saved and the
// error is ctx's; a later Train goes on exactly there.
func (r *Run) Train(ctx context.Context, dev compute.Device, o Options) (*Outcome, error) {
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	if err := os.MkdirAll(filepath.Join(r.Folder, samplesDir), 0o755); err != nil {
		return nil, unsaved(r.Folder, err)
	}
	k, err := kindOf(r.Recipe.Kind)
	if err != nil {
		return nil, err
	}
	set, err := dataset.Open(r.Recipe.Data.Path, dataset.Options{Folders: r.Recipe.Data.Split == splitFolders})
	if err != nil {
		return nil, fmt.Errorf("data.path: %w", err)
	}
	defer set.Close()
	report, usable, err := r.look(ctx, set, o)
	if err != nil {
		return nil, err
	}
	main := &stage{run: r, kind: k, dev: dev, options: o, dir: r.Folder, train: usable, report: report}
	var folds []Fold
	switch share := *r.Recipe.Data.Validation; {
	case r.Recipe.Data.Folds >= 2:
		if folds, err = r.crossValidate(ctx, main, usable); err != nil {
			return nil, err
		}
		if r.Recipe.Train.Patience > 0 { // as long as was best for the parts
			for _, f := range folds {
				main.steps += max(f.BestStep, 1)
			}
			main.steps /= len(folds)
		}
	case share > 0 && len(usable.Items) > 1:
		parts, err := usable.Split(ctx, share, validationSeed)
		if err != nil {
			return nil, fmt.Errorf("data.validation: %w", err)
		}
		main.train, main.held = parts.Train, parts.Validation
	}
	main.folds = folds
	return main.do(ctx)
}

// look checks the pictures, keeps the report beside the run, and gives those that can be trained on.
func (r *Run) look(ctx context.Context, set *dataset.Dataset, o Options) (*dataset.Report, *dataset.Dataset, error) {
	d := &r.Recipe.Data
	check := dataset.CheckOptions{Buckets: dataset.BucketOptions{Width: d.Width, Height: d.Height, Single: !d.Buckets}}
	if r.Recipe.Base != "" {
		b, err := openBase(r.Recipe.Base, false, 0)
		if err != nil {
			return nil, nil, err
		}
		defer b.model.Close()
		if check.Buckets.Width, check.Buckets.Height, err = b.size(&r.Recipe); err != nil {
			return nil, nil, err
		}
		check.Buckets.Step = b.step()
	}
	report, err := set.Check(ctx, check)
	if err != nil {
		return nil, nil, err
	}
	if report.Usable == 0 {
		return nil, nil, fmt.Errorf("data.path: none of the %d pictures in %s can be read; %v", report.Pictures, d.Path, report.Findings[0].Error())
	}
	if err := writeJSON(filepath.Join(r.Folder, dataFile), report); err != nil {
		o.Events(Event{What: EventWarning, Message: err.Error()})
	}
	o.Events(Event{What: EventData, Path: d.Path, Message: fmt.Sprintf("%d of %s used; %s", report.Usable, dataset.Count(report.Pictures, "picture"), dataset.Count(len(report.Findings), "finding"))})
	for _, f := range report.Findings {
		if f.Skipped {
			o.Events(Event{What: EventWarning, Message: f.Error()})
		}
	}
	return report, set.Usable(report), nil
}

// crossValidate trains once for every fold, those that are done already apart.
func (r *Run) crossValidate(ctx context.Context, main *stage, usable *dataset.Dataset) ([]Fold, error) {
	k := r.Recipe.Data.Folds
	parts, err := usable.Folds(ctx, k, validationSeed)
	if err != nil {
		return nil, fmt.Errorf("data.folds: %w", err)
	}
	var folds []Fold
	for i, part := range parts {
		dir := filepath.Join(r.Folder, fmt.Sprintf("fold-%d", i+1))
		out, err := readOutcome(dir)
		if err != nil {
			if err := os.MkdirAll(filepath.Join(dir, samplesDir), 0o755); err != nil {
				return nil, unsaved(dir, err)
			}
			s := &stage{run: r, kind: main.kind, dev: main.dev, options: main.options, dir: dir, label: fmt.Sprintf("fold %d of %d", i+1, k),
				train: part.Train, held: part.Validation, report: main.report, fold: true}
			if out, err = s.do(ctx); err != nil {
				return nil, err
			}
		}
		folds = append(folds, Fold{out.Validation, out.BestStep, out.Steps, len(part.Train.Items), len(part.Validation.Items)})
	}
	return folds, nil
}

// spread gives the mean and the standard deviation of the folds' validation losses.
func spread(folds []Fold) (mean, deviation float64) {
	for _, f := range folds {
		mean += f.Validation / float64(len(folds))
	}
	for _, f := range folds {
		deviation += (f.Validation - mean) * (f.Validation - mean) / float64(max(len(folds)-1, 1))
	}
	return mean, math.Sqrt(deviation)
}
