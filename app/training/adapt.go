package training

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"atelier/app/dataset"
	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/nn"
	"atelier/models/train"
)

func fillLoRA(r *Recipe) {
	setInt(&r.LoRA.Rank, 16)
	setFloat(&r.LoRA.Alpha, float64(r.LoRA.Rank)/2)
	if r.LoRA.Targets == nil {
		r.LoRA.Targets = append([]string(nil), train.AttentionProjections...)
	}
}

func loraBounds(r *Recipe) []bound {
	return []bound{{"lora.rank", float64(r.LoRA.Rank), 1, 4096}, {"lora.alpha", r.LoRA.Alpha, 1e-6, 1e6}}
}

// openLoRA trains adapters to the layers of the denoiser, and of the text encoder where the recipe names some.
func openLoRA(_ context.Context, dev compute.Device, r *Recipe, set *dataset.Dataset) (*subject, error) {
	d, err := newDenoising(dev, r, set)
	if err != nil {
		return nil, err
	}
	type part struct {
		name train.Part
		lora *train.LoRA
	}
	var parts []part
	add := func(name train.Part, params []*nn.Param, targets []string, seed uint64) error {
		if len(targets) == 0 {
			return nil
		}
		l, err := train.NewLoRA(params, targets, r.LoRA.Rank, r.LoRA.Alpha, seed)
		if err == nil {
			parts = append(parts, part{name, l})
		}
		return err
	}
	if err = add(train.PartUNet, d.unetParams, r.LoRA.Targets, r.Seed); err == nil {
		err = add(train.PartTextEncoder, d.textParams, r.LoRA.TextTargets, r.Seed+1)
	}
	if err == nil && len(parts) == 0 {
		err = fmt.Errorf("there are no layers to adapt; name some, such as %q", train.AttentionProjections)
	}
	if err != nil {
		d.close()
		return nil, fmt.Errorf("lora.targets: %w", err)
	}
	d.bind = func(g *compute.Graph) {
		for _, p := range parts {
			p.lora.Bind(g)
		}
	}
	s := d.subject()
	for _, p := range parts {
		s.params = append(s.params, p.lora.Params()...)
	}
	s.export = func(_ context.Context, weights []checkpoint.Tensor, dir, name string, o Outcome) (string, error) {
		var all []checkpoint.Tensor
		for _, p := range parts {
			ts, err := p.lora.Kohya(p.name, weights)
			if err != nil {
				return "", err
			}
			all = append(all, ts...)
		}
		path := filepath.Join(dir, name+".safetensors")
		return path, checkpoint.Write(path, all, parts[0].lora.Metadata(d.loraInfo(name, o, set)))
	}
	return s, nil
}

// loraInfo is what the file says about its training.
func (d *denoising) loraInfo(name string, o Outcome, set *dataset.Dataset) train.LoRAInfo {
	r := d.recipe
	i := train.LoRAInfo{
		Title: r.Name, Author: r.Author, Description: r.Description, License: r.Licence, OutputName: name, BaseModel: d.model.Name,
		Architecture: "stable-diffusion-v1", BaseVersion: "sd_v1", Prediction: "epsilon", Trigger: r.Data.Trigger,
		Width: d.width, Height: d.height, Steps: o.Steps, Epochs: o.Epochs, Batch: r.Train.Batch, Images: len(set.Items),
		Optimiser: r.optimiser(), Schedule: r.config(o.Planned).Schedule, Seed: r.Seed, Tags: tagFrequency(set), Started: o.Started, Finished: o.Finished,
	}
	if d.text.HiddenSize == 1024 {
		i.Architecture, i.BaseVersion = "stable-diffusion-v2", "sd_v2"
	}
	if d.scheduler.PredictionType == "v_prediction" {
		i.Prediction = "v"
	}
	if d.text.HiddenSize != 768 && d.text.HiddenSize != 1024 { // a network of its own
		i.Architecture, i.BaseVersion = "atelier-"+strings.ToLower(d.model.Name), "atelier_"+strings.ToLower(d.model.Name)
	}
	return i
}

// tagFrequency counts what commas part in the captions, as kohya's scripts write it.
func tagFrequency(set *dataset.Dataset) map[string]map[string]int {
	tags := map[string]int{}
	for _, it := range set.Items {
		for tag := range strings.SplitSeq(it.Caption, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				tags[tag]++
			}
		}
	}
	if len(tags) == 0 {
		return nil
	}
	return map[string]map[string]int{filepath.Base(set.Path): tags}
}

func fillInversion(r *Recipe) {
	setString(&r.Inversion.Token, "<"+strings.ReplaceAll(r.Name, " ", "-")+">")
	setString(&r.Data.Trigger, r.Inversion.Token)
	setInt(&r.Inversion.Vectors, 1)
	if r.Train.Decay != nil && r.Train.Optimiser == "adamw" && *r.Train.Decay == 0.01 {
		r.Train.Decay = number(0) // a word's vector has a length that decay would take from it
	}
}

func inversionBounds(r *Recipe) []bound {
	return []bound{{"textual_inversion.vectors", float64(r.Inversion.Vectors), 1, 32}}
}

func checkInversion(r *Recipe) error {
	token := r.Inversion.Token
	switch {
	case token == "" || strings.ContainsAny(token, " \t\n,"):
		return fmt.Errorf("textual_inversion.token: %q is no single word; choose one such as <my-style>", token)
	case !strings.Contains(r.Data.Trigger, token):
		return fmt.Errorf("data.trigger: %q lacks the word %q that is to be learnt, so captions would never say it; add it", r.Data.Trigger, token)
	}
	return nil
}

// openInversion learns the vectors of one new word (Gal et al. 2022). In the text encoder's table they stand in rows that no caption
// uses, so that the encoder stays as it is; in the file they stand under the word itself.
func openInversion(_ context.Context, dev compute.Device, r *Recipe, set *dataset.Dataset) (*subject, error) {
	d, err := newDenoising(dev, r, set)
	if err != nil {
		return nil, err
	}
	table, err := param(d.textParams, "text_model.embeddings.token_embedding.weight")
	var rows []int
	if err == nil {
		rows, err = d.unusedRows(set, r.Inversion.Vectors)
	}
	var start []float32
	if err == nil {
		start, err = d.initialVectors(table)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	vocab, width, n := d.text.VocabSize, d.text.HiddenSize, r.Inversion.Vectors
	d.speller.word, d.speller.ids = r.Inversion.Token, rows
	word := nn.NewParam(r.Inversion.Token, start, n, width)
	place, keep := make([]float32, vocab*n), make([]float32, vocab)
	for i := range keep {
		keep[i] = 1
	}
	for i, row := range rows {
		place[row*n+i], keep[row] = 1, 0
	}
	frozen := table.Source
	d.bind = func(g *compute.Graph) {
		known := compute.Mul(g.Param(table.Name, frozen, table.Shape...), g.Const("known words", keep, vocab, 1))
		learnt := compute.MatMul(g.Const("places of the word", place, vocab, n), word.InGraph(g), compute.MatMulOpts{})
		g.Bind(frozen, compute.Add(known, learnt))
	}
	s := d.subject()
	s.params = []*nn.Param{word}
	s.export = func(_ context.Context, weights []checkpoint.Tensor, dir, name string, o Outcome) (string, error) {
		for i := range weights {
			if weights[i].Name == word.Name && n == 1 {
				weights[i].Shape = []int{width}
			}
		}
		path := filepath.Join(dir, name+".safetensors")
		return path, checkpoint.Write(path, weights, map[string]string{
			"format": "pt", "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "stable-diffusion-v1/textual-inversion", "modelspec.implementation": "diffusers",
			"modelspec.title": r.Name, "modelspec.trigger_phrase": r.Inversion.Token, "modelspec.license": r.Licence, "modelspec.author": r.Author,
			"modelspec.resolution": fmt.Sprintf("%dx%d", d.width, d.height), "modelspec.date": o.Finished.UTC().Format("2006-01-02T15:04:05Z"),
		})
	}
	return s, nil
}

// unusedRows finds ids that no caption and no prompt uses, from the vocabulary's end: its rarest words.
func (d *denoising) unusedRows(set *dataset.Dataset, n int) ([]int, error) {
	t := d.model.Tokenizer
	used := map[int]bool{t.BOS(): true, t.EOS(): true, t.Pad(): true}
	spell := func(text string) {
		for _, id := range t.Encode(text) {
			used[id] = true
		}
	}
	for _, it := range set.Items {
		spell(it.Caption)
	}
	spell(d.recipe.Data.Trigger)
	for _, p := range d.prompts() {
		spell(p)
	}
	var rows []int
	for id := min(d.text.VocabSize, t.Vocab()) - 1; id >= 0 && len(rows) < n; id-- {
		if !used[id] {
			rows = append(rows, id)
		}
	}
	if len(rows) < n {
		return nil, fmt.Errorf("textual_inversion.vectors: the captions use nearly all words of the vocabulary, which leaves no room for %d vectors", n)
	}
	return rows, nil
}

// initialVectors starts the word as another one that comes near it, or as the mean of all words.
func (d *denoising) initialVectors(table *nn.Param) ([]float32, error) {
	width, n, i := d.text.HiddenSize, d.recipe.Inversion.Vectors, &d.recipe.Inversion
	all := make([]float32, table.Shape.Size())
	if err := table.Source.Read(all); err != nil {
		return nil, err
	}
	ids := d.model.Tokenizer.Encode(i.Initial)
	if i.Initial != "" && len(ids) == 0 {
		return nil, fmt.Errorf("textual_inversion.initial: %q is no word that the model knows", i.Initial)
	}
	out := make([]float32, 0, n*width)
	for k := range n {
		if len(ids) > 0 {
			id := ids[k%len(ids)]
			out = append(out, all[id*width:(id+1)*width]...)
			continue
		}
		mean := make([]float64, width)
		for j, v := range all {
			mean[j%width] += float64(v) / float64(d.text.VocabSize)
		}
		for _, v := range mean {
			out = append(out, float32(v))
		}
	}
	return out, nil
}
