package training

import (
	"context"
	"fmt"
	"image"
	"strings"

	"atelier/app/dataset"
	"atelier/app/report"
	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/nn"
	"atelier/models/train"
)

// kind is one thing that can be trained. A new one is a row of kinds and the function that opens it.
type kind struct {
	name      string
	about     string // one line for menus and recipes
	needsBase bool   // without a base model there is nothing to train
	captions  bool   // words are trained on
	section   string // of the recipe, with what only this kind reads; empty for none
	defaults  Recipe
	fill      func(r *Recipe)
	bounds    func(r *Recipe) []bound
	check     func(r *Recipe) error
	open      func(ctx context.Context, dev compute.Device, r *Recipe, set *dataset.Dataset) (*subject, error)
}

// kinds are the things that can be trained, in the order of a menu.
func kinds() []*kind {
	return []*kind{
		{name: "lora", about: "a small addition to a model that teaches it a style or a subject", needsBase: true, captions: true, section: "lora",
			defaults: Recipe{Train: Train{Steps: 1000, Batch: 4, Rate: 1e-4}}, fill: fillLoRA, bounds: loraBounds, check: passes, open: openLoRA},
		{name: "textual_inversion", about: "a new word for a model, learnt from a few pictures", needsBase: true, captions: true, section: "textual_inversion",
			defaults: Recipe{Train: Train{Steps: 1000, Batch: 4, Rate: 5e-3, Decay: number(0)}}, // decay would take from a word's length
			fill:     fillInversion, bounds: inversionBounds, check: checkInversion, open: openInversion},
		{name: "latent_diffusion", about: "a model of pictures from words, trained onward or from scratch", needsBase: true, captions: true, section: "diffusion",
			defaults: Recipe{Train: Train{Steps: 10000, Batch: 16, Rate: 1e-4}}, fill: nothing, bounds: diffusionBounds, check: passes, open: openDiffusion},
		{name: "rectified_flow", about: "a model of pictures from words on straight paths from noise", needsBase: true, captions: true, section: "diffusion",
			defaults: Recipe{Train: Train{Steps: 10000, Batch: 16, Rate: 1e-4}}, fill: nothing, bounds: diffusionBounds, check: checkFlow, open: openDiffusion},
		{name: "autoencoder", about: "a KL autoencoder, which makes pictures small and large again", section: "autoencoder",
			defaults: Recipe{Train: Train{Steps: 5000, Batch: 16, Rate: 5e-4}}, fill: fillVAE, bounds: vaeBounds, check: checkVAE, open: openVAE},
		{name: "gan", about: "a generator of small pictures from noise, against a critic", section: "generator",
			defaults: Recipe{Train: Train{Steps: 5000, Batch: 16, Rate: 1e-3, Optimiser: "adam", Schedule: "constant", Beta1: 0.01, Beta2: 0.99}, Data: Data{Validation: number(0)}},
			fill:     fillGenerator, bounds: generatorBounds, check: checkGenerator, open: openGenerator},
		{name: "conditional_vae", about: "small pictures of named things in many looks, such as letters in styles of type", section: "generator",
			defaults: Recipe{Train: Train{Steps: 5000, Batch: 32, Rate: 1e-3}}, fill: fillGenerator, bounds: generatorBounds, check: checkGenerator, open: openGenerator},
		{name: "flow", about: "a normalising flow, which knows how likely each picture is", section: "generator",
			defaults: Recipe{Train: Train{Steps: 5000, Batch: 32, Rate: 1e-3}}, fill: fillGenerator, bounds: generatorBounds, check: checkGenerator, open: openGenerator},
	}
}

func nothing(*Recipe)      {}
func passes(*Recipe) error { return nil }

// Kind describes a thing that can be trained, for menus.
type Kind struct{ Name, About string }

// Kinds lists what can be trained.
func Kinds() []Kind {
	var out []Kind
	for _, k := range kinds() {
		out = append(out, Kind{k.name, k.about})
	}
	return out
}

func kindOf(name string) (*kind, error) {
	var names []string
	for _, k := range kinds() {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	return nil, fmt.Errorf("kind: nothing of the kind %q can be trained; choose one of %s", name, strings.Join(names, ", "))
}

// view says how a batch is looked at.
type view struct {
	validation bool
	pass       []int // of each row: validation looks at a picture several times, at other noise levels
	passes     int
}

// share weighs row i of a batch: those that only fill the last batch of a validation do not count.
func (v view) share(b *dataset.Batch, i int) float64 {
	if !v.validation {
		return 1
	}
	if i >= b.Real {
		return 0
	}
	return float64(b.Shape[0]) / float64(b.Real)
}

// key is what a batch's noise is drawn from: in training its place and the recipe's seed, in validation its place alone.
func (v view) key(r *Recipe, b *dataset.Batch) []float32 {
	if v.validation {
		return compute.RandomKey(validationSeed, uint32(b.Position))
	}
	return compute.RandomKey(r.Seed, uint32(b.Position))
}

// validationSeed draws validation's noise and parts sets, alike for all recipes, so that their validation losses compare.
const validationSeed = 0x76616c6964617465

// subject is what is trained in one run: opened anew for every run, since a trainer takes its parameters over.
type subject struct {
	params                  []*nn.Param
	loss                    train.Loss
	width, height, channels int
	step                    int                        // widths and heights of buckets are multiples of it
	resize                  func(sizes []dataset.Size) // says the sizes of batches, by variant of the loss; nil where there is one
	random                  bool                       // the loss of a picture depends on what is drawn: validation looks several times
	bits                    bool                       // the loss is the bits that a number of a picture costs
	inputs                  func(ctx context.Context, b *dataset.Batch, v view) (map[string][]float32, error)
	// start gives parameters the values that they best begin with, seen from the inputs of the first batch; nil where they begin as drawn.
	start   func(ctx context.Context, in map[string][]float32) error
	prompts func() []string // what samples are drawn of; nil where nothing is said to it
	// sample draws the pictures that show the state of training; averages says that the parameters' averages are meant.
	sample func(ctx context.Context, t *train.Trainer, set *dataset.Dataset) ([]shot, error)
	// measure gives what is reported of the finished result beside losses; nil for nothing.
	measure func(ctx context.Context, t *train.Trainer, set *dataset.Dataset) ([]Figure, error)
	// compare judges the product's samples beside the pictures trained on and those set aside, which may be nil; nil for no judgement.
	compare func(ctx context.Context, t *train.Trainer, made []shot, shown, held *dataset.Dataset) (*report.Evaluation, error)
	// export writes weights, as Trainer.Weights gives them, in the form that others read, into dir under a name.
	export func(ctx context.Context, weights []checkpoint.Tensor, dir, name string, o Outcome) (path string, err error)
	close  func()
}

// shot is one sample picture.
type shot struct {
	Label   string
	Picture *image.NRGBA
}

// Figure is one measured number with what it means.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Note  string  `json:"note,omitempty"`
}
