package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"atelier/app/engine"
	"atelier/app/library"
	"atelier/models/checkpoint"
	"atelier/models/pipeline"
)

// probeCmd writes numbers to compare with another engine's.
type probeCmd struct {
	Part     probePartCmd     `cmd:"" default:"withargs" help:"Run one part of a model on given tensors."`
	Train    probeTrainCmd    `cmd:"" help:"Train a network on given batches; write the first gradients and the parameters at the end."`
	Ops      probeOpsCmd      `cmd:"" help:"Compute the results and gradients of single ops."`
	RNN      probeRNNCmd      `cmd:"" name:"rnn" help:"Compute the outputs and gradients of a recurrent network."`
	Schedule probeScheduleCmd `cmd:"" help:"Print what a schedule multiplies the learning rate by at each step."`
}

type probePartCmd struct {
	Model       string `arg:"" help:"The built-in model (sticker), a model folder, or a file: a checkpoint, one network, an upscaler."`
	Component   string `arg:"" help:"text_encoder, text_encoder_2, unet, controlnet, vae.encode, vae.decode, taesd.encode, taesd.decode or upscaler."`
	In          string `required:"" placeholder:"FILE" help:"Inputs, a safetensors file: names and layouts (B C H W, f32) of the component."`
	Out         string `required:"" placeholder:"FILE" help:"Outputs, a safetensors file."`
	Device      string `enum:"auto,opengl,host" default:"auto" help:"auto, opengl or host."`
	MemoryLimit int64  `placeholder:"MB" help:"Most device memory to use, in megabytes; 0 asks the driver."`
	Activations bool   `help:"With unet and controlnet: also write act.<block>."`

	LoRA      []string `name:"lora" sep:"none" placeholder:"FILE:WEIGHT" help:"Add a LoRA to the weights; may be given several times."`
	Embedding []string `sep:"none" placeholder:"FILE" help:"With text encoders: a textual inversion, whose vectors have the ids after the vocabulary's; may be given several times."`
}

// Run computes the component and writes its outputs.
func (c *probePartCmd) Run(ctx context.Context) error {
	if err := library.CheckFolder(filepath.Dir(c.Out)); err != nil {
		return err
	}
	in, err := readTensors(c.In)
	if err != nil {
		return err
	}
	options := pipeline.ProbeOptions{Activations: c.Activations, Embeddings: c.Embedding}
	for _, text := range c.LoRA {
		options.LoRAs = append(options.LoRAs, parseLoRA(text))
	}
	m, err := engine.OpenModel(c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	for _, w := range m.Warnings {
		fmt.Fprintln(os.Stderr, "atelier: warning:", w)
	}
	e, err := engine.Open(engine.Options{Choice: c.Device, MemoryLimit: megabytes(c.MemoryLimit)})
	if err != nil {
		return err
	}
	defer e.Close()
	out, warnings, err := pipeline.Probe(ctx, e.Device, m, c.Component, in, options)
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

// parseLoRA reads FILE:WEIGHT; a file without a weight has 1.
func parseLoRA(text string) pipeline.LoRA {
	if i := strings.LastIndexByte(text, ':'); i > 0 {
		if w, err := strconv.ParseFloat(text[i+1:], 64); err == nil && w-w == 0 {
			return pipeline.LoRA{Name: text[:i], Text: w, UNet: w}
		}
	}
	return pipeline.LoRA{Name: text, Text: 1, UNet: 1}
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
