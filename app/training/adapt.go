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

// openLoRA trains adapters to the layers of the denoiser, and of the text encoders where the recipe names some.
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
			if len(d.Encoders) > 1 { // whose layers have the same names
				prefixed(l.Params(), string(name)+"/")
			}
		}
		return err
	}
	err = add(train.PartUNet, d.UNetParams, r.LoRA.Targets, r.Seed)
	for i, params := range d.EncoderParams {
		name := train.PartTextEncoder
		if len(d.Encoders) > 1 {
			name = []train.Part{train.PartTextEncoder1, train.PartTextEncoder2}[i]
		}
		if err == nil {
			err = add(name, params, r.LoRA.TextTargets, r.Seed+1+uint64(i))
		}
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
	v := ""
	if d.Scheduler.PredictionType == "v_prediction" {
		i.Prediction, v = "v", "_v"
	}
	switch width := d.Encoders[0].HiddenSize; {
	case d.UNet.TextTime && d.UNet.ContextDim[0] == 2048:
		i.Architecture, i.BaseVersion = "stable-diffusion-xl-v1-base", "sdxl_base_v1-0"
	case width == 1024:
		i.Architecture, i.BaseVersion = "stable-diffusion-v2"+map[string]string{"": "-512", "_v": "-768-v"}[v], "sd_v2"+v
	case width == 768:
		i.BaseVersion += v
	default: // a network of its own
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

// openInversion learns the vectors of one new word (Gal et al. 2022), for each of the text encoders. In an encoder's table they stand in
// rows that no caption uses, so that the encoder stays as it is; in the file they stand under the word itself, or under the encoders' names.
func openInversion(_ context.Context, dev compute.Device, r *Recipe, set *dataset.Dataset) (*subject, error) {
	d, err := newDenoising(dev, r, set)
	if err != nil {
		return nil, err
	}
	names := []string{r.Inversion.Token}
	if len(d.Encoders) > 1 {
		names = []string{"clip_l", "clip_g"}
	}
	var words []*train.Inversion
	s := d.subject()
	for i := range d.Encoders {
		w, err := d.newWord(i)
		if err != nil {
			d.close()
			return nil, err
		}
		w.Vectors.Name = names[i]
		words, s.params = append(words, w), append(s.params, w.Vectors)
	}
	d.bind = func(g *compute.Graph) {
		for _, w := range words {
			w.Bind(g)
		}
	}
	s.export = func(_ context.Context, weights []checkpoint.Tensor, dir, name string, o Outcome) (string, error) {
		for i := range weights {
			if len(weights) == 1 && r.Inversion.Vectors == 1 {
				weights[i].Shape = weights[i].Shape[1:]
			}
		}
		path := filepath.Join(dir, name+".safetensors")
		return path, checkpoint.Write(path, weights, map[string]string{
			"format": "pt", "name": r.Inversion.Token, "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": d.loraInfo(name, o, set).Architecture + "/textual-inversion", "modelspec.implementation": "diffusers",
			"modelspec.title": r.Name, "modelspec.trigger_phrase": r.Inversion.Token, "modelspec.license": r.Licence, "modelspec.author": r.Author,
			"modelspec.resolution": fmt.Sprintf("%dx%d", d.width, d.height), "modelspec.date": o.Finished.UTC().Format("2006-01-02T15:04:05Z"),
		})
	}
	return s, nil
}

// newWord makes the vectors of the recipe's word for a text encoder, and has its captions read it there.
func (d *denoising) newWord(encoder int) (*train.Inversion, error) {
	n := d.recipe.Inversion.Vectors
	table, err := param(d.EncoderParams[encoder], "text_model.embeddings.token_embedding.weight")
	if err != nil {
		return nil, err
	}
	first, err := d.unusedRows(encoder)
	if err != nil {
		return nil, err
	}
	w, err := train.NewInversion(table, first, n, d.startRows(encoder, first)...)
	if err == nil && d.recipe.Inversion.Initial == "" {
		err = startAsMean(w.Vectors, table)
	}
	s := d.spellers[encoder]
	s.word = d.recipe.Inversion.Token
	for i := range n {
		s.ids = append(s.ids, first+i)
	}
	return w, err
}

// unusedRows finds ids in a row, as many as the word has vectors, that no caption and no prompt uses, as near to the vocabulary's end, its
// rarest words, as there are.
func (d *denoising) unusedRows(encoder int) (first int, err error) {
	t, n := d.tokenizer(encoder), d.recipe.Inversion.Vectors
	used := map[int]bool{t.BOS(): true, t.EOS(): true, d.model.Pad(encoder): true}
	spell := func(text string) {
		for _, id := range t.Encode(text) {
			used[id] = true
		}
	}
	for _, it := range d.set.Items {
		spell(it.Caption)
	}
	spell(d.recipe.Data.Trigger)
	for _, p := range d.prompts() {
		spell(p)
	}
	free := 0
	for id := min(d.Encoders[encoder].VocabSize, t.Vocab()) - 1; id >= 0; id-- {
		if free++; used[id] {
			free = 0
		}
		if free == n {
			return id, nil
		}
	}
	return 0, fmt.Errorf("textual_inversion.vectors: the captions use nearly all words of the vocabulary, which leaves no room for %d vectors", n)
}

// startRows are the rows that the vectors start as: those of the initial word's pieces, over and over; without one, their own.
func (d *denoising) startRows(encoder, first int) []int {
	ids := d.tokenizer(encoder).Encode(d.recipe.Inversion.Initial)
	rows := make([]int, d.recipe.Inversion.Vectors)
	for i := range rows {
		if rows[i] = first + i; len(ids) > 0 {
			rows[i] = ids[i%len(ids)]
		}
	}
	return rows
}

// startAsMean starts vectors as the mean of all words.
func startAsMean(vectors, table *nn.Param) error {
	words, width := table.Shape[0], table.Shape[1]
	all := make([]float32, table.Shape.Size())
	if err := table.Source.Read(all); err != nil {
		return err
	}
	mean := make([]float64, width)
	for i, v := range all {
		mean[i%width] += float64(v) / float64(words)
	}
	start := make([]float32, vectors.Shape.Size())
	for i := range start {
		start[i] = float32(mean[i%width])
	}
	vectors.Source = &compute.Values{Data: start}
	return nil
}
