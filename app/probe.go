package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"atelier/app/engine"
	"atelier/app/library"
	"atelier/models/checkpoint"
	"atelier/models/pipeline"
)

type probeCmd struct {
	Model       string `arg:"" help:"The built-in model (sticker) or a model folder."`
	Component   string `arg:"" help:"text_encoder, unet, vae.encode, vae.decode or upscaler."`
	In          string `required:"" placeholder:"FILE" help:"Inputs, a safetensors file: names and layouts (B C H W, f32) of the component."`
	Out         string `required:"" placeholder:"FILE" help:"Outputs, a safetensors file."`
	Device      string `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
	MemoryLimit int64  `placeholder:"MB" help:"Most device memory to use, in megabytes; 0 asks the driver."`
	Activations bool   `help:"With unet: also write act.<block>."`
}

// Run computes the component and writes its outputs.
func (c *probeCmd) Run(ctx context.Context) error {
	if err := library.CheckFolder(filepath.Dir(c.Out)); err != nil {
		return err
	}
	in, err := readTensors(c.In)
	if err != nil {
		return err
	}
	m, err := engine.OpenModel(c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	e, err := engine.Open(engine.Options{Choice: c.Device, MemoryLimit: c.MemoryLimit * 1_000_000})
	if err != nil {
		return err
	}
	defer e.Close()
	out, warnings, err := pipeline.Probe(ctx, e.Device, m, c.Component, in, pipeline.ProbeOptions{Activations: c.Activations})
	for _, w := range warnings {
		fmt.Fprintln(os.Stderr, "atelier: warning:", w)
	}
	if err != nil {
		return err
	}
	var ts []checkpoint.Tensor
	for _, name := range slices.Sorted(maps.Keys(out)) {
		ts = append(ts, checkpoint.NewF32(name, out[name].Shape, out[name].Data))
	}
	return checkpoint.Write(c.Out, ts, map[string]string{"device": e.Device.Name()})
}

// readTensors reads every tensor of a safetensors file as float32.
func readTensors(path string) (map[string]pipeline.Tensor, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := map[string]pipeline.Tensor{}
	for _, name := range f.Names() {
		t, _ := f.Get(name)
		data, err := t.Float32s()
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %s: %w", path, name, err)
		}
		all[name] = pipeline.Tensor{Shape: t.Shape, Data: data}
	}
	return all, nil
}

// readTensor reads one tensor of a safetensors file.
func readTensor(path, name string) (pipeline.Tensor, error) {
	all, err := readTensors(path)
	if err != nil {
		return pipeline.Tensor{}, err
	}
	t, ok := all[name]
	if !ok {
		return t, fmt.Errorf("%s has no tensor %q; it has %v", path, name, slices.Sorted(maps.Keys(all)))
	}
	return t, nil
}
