package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atelier/app/disk"
	"atelier/app/engine"
	"atelier/app/training"
	"atelier/assets"
	"atelier/compute"
	"atelier/ui"

	"github.com/adrg/xdg"
)

// TrainingFolder is where runs that the window begins are kept.
func (s *studio) TrainingFolder() string { return filepath.Join(xdg.DataHome, "atelier", "training") }

// Bases lists what training can start from: the built-in model, and whole models of the list.
func (s *studio) Bases() []ui.Named {
	out := []ui.Named{{ID: assets.StickerName, Label: assets.StickerName}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.models {
		if c.base {
			out = append(out, ui.Named{ID: c.path, Label: c.info.Name})
		}
	}
	return out
}

// Train goes on with a run. It has the device for one launch of a plan at a time, so that pictures are made between its steps.
func (s *studio) Train(ctx context.Context, run *training.Run, events func(training.Event)) (*training.Outcome, error) {
	if err := s.started(ctx); err != nil {
		return nil, err
	}
	s.done.Add(1)
	defer s.done.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	dev := &sharedDevice{Device: s.engine.Device, busy: s.busy, wait: func() {
		events(training.Event{What: ui.EventWaiting, Message: "Waiting while a picture is made"})
	}}
	return run.Train(ctx, dev, training.Options{Events: events})
}

// sharedDevice is a device whose plans take turns with other jobs.
type sharedDevice struct {
	compute.Device
	busy turn
	wait func() // called before a wait
}

// Load implements compute.Device.
func (d *sharedDevice) Load(ctx context.Context, p *compute.Plan) (compute.Executable, error) {
	if err := d.take(ctx); err != nil {
		return nil, err
	}
	defer d.busy.leave()
	exe, err := d.Device.Load(ctx, p)
	if err != nil {
		return nil, err
	}
	return &sharedExecutable{exe, d}, nil
}

// Close leaves the device to its owner.
func (d *sharedDevice) Close() {}

func (d *sharedDevice) take(ctx context.Context) error {
	if !d.busy.free() {
		d.wait()
	}
	return d.busy.take(ctx)
}

type sharedExecutable struct {
	compute.Executable
	device *sharedDevice
}

// Run implements compute.Executable.
func (e *sharedExecutable) Run(ctx context.Context, in, out map[string][]float32) error {
	if err := e.device.take(ctx); err != nil {
		return err
	}
	defer e.device.busy.leave()
	return e.Executable.Run(ctx, in, out)
}

// Adopt makes what a run made usable in the image workspace: it is copied to the studio's own models, and stays when the run is
// thrown away.
func (s *studio) Adopt(ctx context.Context, o *training.Outcome) (ui.Use, error) {
	name := strings.TrimSuffix(filepath.Base(o.Product), ".safetensors")
	kept := func(kind string) (string, error) { return keep(ctx, o.Product, filepath.Join(s.modelsFolder(), kind)) }
	switch o.Kind {
	case "lora":
		path, err := kept("loras")
		if err != nil {
			return ui.Use{}, err
		}
		words := "<lora:" + stem(path) + ":1>"
		use := ui.Use{Words: words, Example: strings.TrimSpace(o.Example + " " + words)}
		if run, err := training.Reopen(filepath.Dir(o.Product)); err == nil && run.Recipe.Data.Trigger != "" {
			use.Words = run.Recipe.Data.Trigger + " " + words
		}
		return use, nil
	case "textual_inversion":
		path, err := kept("embeddings")
		if err != nil {
			return ui.Use{}, err
		}
		word := stem(path)
		if run, err := training.Reopen(filepath.Dir(o.Product)); err == nil && strings.Contains(run.Recipe.Inversion.Token, word) {
			word = run.Recipe.Inversion.Token // as the file itself calls it
		}
		return ui.Use{Words: word, Example: o.Example}, nil
	}
	if info, err := os.Stat(o.Product); err != nil || !info.IsDir() {
		return ui.Use{}, fmt.Errorf("%s is no model that makes pictures by itself; it is in %s", name, filepath.Dir(o.Product))
	}
	m, err := engine.OpenModel(o.Product)
	if err != nil {
		return ui.Use{}, fmt.Errorf("%s makes no pictures by itself: %w", name, err)
	}
	m.Close()
	path, err := kept("checkpoints")
	if err != nil {
		return ui.Use{}, err
	}
	use := ui.Use{Model: s.offer(filepath.Base(path), path), Example: o.Example}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.models {
		s.models[i].own = s.models[i].own || s.models[i].path == path
	}
	return use, nil
}

// modelsFolder is the studio's own folder of models, with a folder in it for each kind.
func (s *studio) modelsFolder() string { return s.store.Own() }

// folders are where models of a kind are looked for: the studio's own folder, and those that the model manager found.
func (s *studio) folders(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{filepath.Join(s.store.Own(), kind)}, s.linked[kind]...)
}

// stem is a file's name without its ending.
func stem(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// keep copies a file or a folder into a folder, under its own name or, where something else has that, under its name and a number. What
// is there already with the same contents is taken as it is.
func keep(ctx context.Context, from, folder string) (string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("the folder %s cannot be made: %s", folder, disk.Reason(err))
	}
	base, ending := filepath.Base(from), ""
	if info, err := os.Stat(from); err != nil {
		return "", fmt.Errorf("%s cannot be read: %s; train it again, or look for it in another folder", from, disk.Reason(err))
	} else if !info.IsDir() {
		ending = filepath.Ext(base)
	}
	name := strings.TrimSuffix(base, ending)
	for i := 1; ; i++ {
		to := filepath.Join(folder, name+ending)
		if i > 1 {
			to = filepath.Join(folder, fmt.Sprintf("%s-%d%s", name, i, ending))
		}
		if _, err := os.Lstat(to); err == nil {
			if alike(from, to) {
				return to, nil
			}
			continue
		}
		return to, copyWhole(ctx, from, to)
	}
}

// copyWhole copies a file or folder so that it has its name only when it is whole.
func copyWhole(ctx context.Context, from, to string) error {
	temp, err := os.MkdirTemp(filepath.Dir(to), ".keep-*")
	if err != nil {
		return fmt.Errorf("nothing can be written in %s: %s", filepath.Dir(to), disk.Reason(err))
	}
	defer os.RemoveAll(temp)
	part := filepath.Join(temp, filepath.Base(to))
	err = filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(part, rel)
		if e.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		return copyFile(path, target)
	})
	if err == nil {
		err = os.Rename(part, to)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s could not be copied to %s: %s", from, filepath.Dir(to), disk.Reason(err))
	}
	return err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	return errors.Join(err, out.Sync(), out.Close())
}

// alike tells whether two files, or two folders' files, hold the same bytes.
func alike(a, b string) bool {
	ours, theirs := contents(a), contents(b)
	return len(ours) == len(theirs) && !slices.ContainsFunc(ours, func(rel string) bool {
		return !slices.Contains(theirs, rel) || !sameBytes(filepath.Join(a, rel), filepath.Join(b, rel))
	})
}

// contents lists the files of a folder, relative to it; of a file, "." alone.
func contents(path string) []string {
	var out []string
	filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(path, p)
			out = append(out, rel)
		}
		return nil
	})
	return out
}

func sameBytes(a, b string) bool {
	x, errX := os.Open(a)
	if errX != nil {
		return false
	}
	defer x.Close()
	y, errY := os.Open(b)
	if errY != nil {
		return false
	}
	defer y.Close()
	p, q := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, errX := io.ReadFull(x, p)
		m, errY := io.ReadFull(y, q)
		if n != m || !bytes.Equal(p[:n], q[:m]) {
			return false
		}
		if errX != nil || errY != nil {
			return errX == errY
		}
	}
}
