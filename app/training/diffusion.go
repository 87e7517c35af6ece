package training

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"atelier/app/dataset"
	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/diffusion"
)

func diffusionBounds(r *Recipe) []bound {
	return []bound{{"diffusion.min_snr", r.Diffusion.MinSNR, 0, 1000}}
}

func checkFlow(r *Recipe) error {
	if r.Diffusion.MinSNR != 0 {
		return fmt.Errorf("diffusion.min_snr weighs the noise levels of latent_diffusion; a rectified flow has none to weigh, so leave it out")
	}
	return nil
}

// subject is the part that all trainings of a denoiser have in common.
func (d *denoising) subject() *subject {
	return &subject{
		loss: d.loss, width: d.width, height: d.height, channels: d.VAE.InChannels, step: d.step(), resize: func(sizes []dataset.Size) { d.sizes = sizes }, random: true, inputs: d.inputs, prompts: d.prompts, sample: d.sample, compare: d.evaluate, close: d.close,
	}
}

// openDiffusion trains all of a model's denoiser, and its text encoder where the recipe says so.
func openDiffusion(_ context.Context, dev compute.Device, r *Recipe, set *dataset.Dataset) (*subject, error) {
	d, err := newDenoising(dev, r, set)
	if err != nil {
		return nil, err
	}
	if d.Scheduler.ClassName == diffusion.FlowClass && r.Kind != "rectified_flow" {
		d.close()
		return nil, fmt.Errorf("kind: the model %s is a rectified flow; train it as one", d.model.Name)
	}
	if err := d.folder(); err != nil {
		d.close()
		return nil, err
	}
	if r.Kind == "rectified_flow" {
		d.Scheduler.ClassName = diffusion.FlowClass
	}
	s := d.subject()
	s.params = prefixed(d.UNetParams, unetPart)
	if r.Diffusion.TextEncoder || r.Diffusion.Scratch {
		s.params = append(s.params, prefixed(d.EncoderParams[0], textPart)...)
	}
	s.export = d.exportFolder
	return s, nil
}

// Parts of a model in the names of trained parameters.
const unetPart, textPart = "unet/", "text_encoder/"

// exportFolder writes a whole model folder: the base model with the trained networks in place of its own.
func (d *denoising) exportFolder(_ context.Context, weights []checkpoint.Tensor, dir, name string, o Outcome) (string, error) {
	folder := filepath.Join(dir, name)
	byPart := map[string][]checkpoint.Tensor{}
	for _, w := range weights {
		part, leaf, _ := strings.Cut(w.Name, "/")
		half, err := inHalf(w, leaf)
		if err != nil {
			return "", err
		}
		byPart[part] = append(byPart[part], half)
	}
	flow := d.recipe.Kind == "rectified_flow"
	replaced := func(file string) bool {
		part, leaf, _ := strings.Cut(file, "/")
		weights := byPart[part] != nil && (strings.HasSuffix(leaf, ".safetensors") || strings.Contains(leaf, ".index."))
		return weights || file == "README.md" || file == "samples.png" || file == "atelier.json" || flow && (part == "scheduler" || file == "model_index.json")
	}
	if err := copyFolder(d.files, folder, replaced); err != nil {
		return "", err
	}
	for part, file := range map[string]string{"unet": "diffusion_pytorch_model.safetensors", "text_encoder": "model.safetensors"} {
		if byPart[part] == nil {
			continue
		}
		if err := checkpoint.Write(filepath.Join(folder, part, file), byPart[part], map[string]string{"format": "pt"}); err != nil {
			return "", err
		}
	}
	if flow {
		if err := d.exportScheduler(folder); err != nil {
			return "", err
		}
	}
	card := d.model.Card
	card.Name, card.Examples = name, d.recipe.Samples.Prompts
	if len(card.Examples) == 0 {
		card.Examples = d.model.Examples
	}
	if flow {
		card.Sampler, card.Schedule = "euler", "normal"
	}
	if err := writeJSON(filepath.Join(folder, "atelier.json"), card); err != nil {
		return "", err
	}
	return folder, writeText(filepath.Join(folder, "README.md"), o.Card)
}

// exportScheduler makes the folder's scheduler that of a rectified flow.
func (d *denoising) exportScheduler(folder string) error {
	if err := os.MkdirAll(filepath.Join(folder, "scheduler"), 0o755); err != nil {
		return unsaved(folder, err)
	}
	config := map[string]any{"_class_name": diffusion.FlowClass, "num_train_timesteps": flowSteps, "shift": 1.0}
	if err := writeJSON(filepath.Join(folder, "scheduler", "scheduler_config.json"), config); err != nil {
		return err
	}
	data, err := fs.ReadFile(d.files, "model_index.json")
	if err != nil {
		return err
	}
	var index map[string]any
	if err := json.Unmarshal(data, &index); err != nil {
		return err
	}
	index["scheduler"] = []string{"diffusers", diffusion.FlowClass}
	return writeJSON(filepath.Join(folder, "model_index.json"), index)
}

// inHalf is a tensor in half precision under another name; the trained copy in float32 stays in the run's folder.
func inHalf(t checkpoint.Tensor, name string) (checkpoint.Tensor, error) {
	values, err := t.Float32s()
	if err != nil {
		return t, err
	}
	return checkpoint.NewF16(name, t.Shape, values), nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return writeText(path, string(data)+"\n")
}
