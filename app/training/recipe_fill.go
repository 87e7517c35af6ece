package training

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"atelier/app/dataset"
	"atelier/assets"
	"atelier/models/train"
)

// What validation sets aside.
const splitPictures, splitFolders = "pictures", "folders"

// builtIn is the name of the model inside the program.
const builtIn = assets.StickerName

// Fill puts defaults in the place of what a recipe leaves out, and says in one sentence what is wrong with the rest.
func (r Recipe) Fill() (Recipe, error) {
	k, err := kindOf(r.Kind)
	if err != nil {
		return r, err
	}
	d := k.defaults
	setString(&r.Base, map[bool]string{true: builtIn}[k.needsBase])
	setString(&r.Data.Crop, string(dataset.CropCentre))
	setString(&r.Data.Split, splitPictures)
	setInt(&r.Train.Batch, d.Train.Batch)
	setInt(&r.Train.Accumulate, 1)
	setString(&r.Train.Optimiser, d.Train.Optimiser)
	setString(&r.Train.Optimiser, "adamw")
	setString(&r.Train.Schedule, d.Train.Schedule)
	setString(&r.Train.Schedule, "cosine")
	setFloat(&r.Train.Rate, d.Train.Rate)
	setFloat(&r.Train.Beta1, d.Train.Beta1)
	setFloat(&r.Train.Beta2, d.Train.Beta2)
	setFloat(&r.Train.Beta1, 0.9)
	setFloat(&r.Train.Beta2, 0.999)
	if r.Train.Steps == 0 && r.Train.Epochs == 0 {
		r.Train.Steps = d.Train.Steps
	}
	if r.Train.Decay == nil {
		r.Train.Decay = d.Train.Decay
	}
	if r.Train.Decay == nil {
		r.Train.Decay = number(map[bool]float64{true: 0.01}[r.Train.Optimiser == "adamw"])
	}
	if r.Train.Clip == nil {
		r.Train.Clip = number(1)
	}
	if r.Data.CaptionDropout == nil {
		r.Data.CaptionDropout = number(map[bool]float64{true: 0.1}[k.captions && k.name != "textual_inversion"])
	}
	if r.Data.Validation == nil {
		r.Data.Validation = d.Data.Validation
	}
	if r.Data.Validation == nil {
		r.Data.Validation = number(0.1)
	}
	setInt(&r.Samples.Steps, 20)
	if r.Samples.Seeds == nil {
		r.Samples.Seeds = []uint64{1}
	}
	k.fill(&r)
	return r, r.check(k)
}

func number(v float64) *float64 { return &v }

func setString(v *string, d string) {
	if *v == "" {
		*v = d
	}
}

func setInt(v *int, d int) {
	if *v == 0 {
		*v = d
	}
}

func setFloat(v *float64, d float64) {
	if *v == 0 {
		*v = d
	}
}

// bound is a number of a recipe with its limits.
type bound struct {
	key         string
	v, min, max float64
}

// check refuses what cannot be meant, naming the key.
func (r *Recipe) check(k *kind) error {
	t, d := &r.Train, &r.Data
	switch {
	case !plainName(r.Name):
		return fmt.Errorf("name: %q cannot be the name of a file; give what is trained a short name of letters, digits, blanks, - and _", r.Name)
	case d.Path == "":
		return fmt.Errorf("data.path: there is no folder or zip archive of pictures; name one")
	case t.Steps != 0 && t.Epochs != 0:
		return fmt.Errorf("train.steps and train.epochs are both given; keep one of them")
	case !slices.Contains(train.ScheduleKinds, t.Schedule):
		return fmt.Errorf("train.schedule: there is no schedule %q; choose one of %s", t.Schedule, strings.Join(train.ScheduleKinds, ", "))
	case t.Optimiser != "adamw" && t.Optimiser != "adam" && t.Optimiser != "rmsprop" && t.Optimiser != "sgd":
		return fmt.Errorf("train.optimiser: there is no optimiser %q; choose adamw, adam, rmsprop or sgd", t.Optimiser)
	case t.Nesterov && (t.Optimiser != "sgd" || t.Momentum == 0):
		return fmt.Errorf("train.nesterov looks ahead along a momentum; it needs optimiser = \"sgd\" and a momentum such as 0.9")
	case t.Centred && t.Optimiser != "rmsprop":
		return fmt.Errorf("train.centred is a form of rmsprop; the optimiser is %s", t.Optimiser)
	case t.Patience > 0 && *d.Validation == 0 && d.Folds == 0:
		return fmt.Errorf("train.patience: stopping early is decided on validation pictures, and data.validation is 0; set some aside, such as 0.1")
	case d.Folds == 1:
		return fmt.Errorf("data.folds: 1 fold is no cross-validation; choose 2 or more, or 0 for none")
	case d.Crop != string(dataset.CropCentre) && d.Crop != string(dataset.CropRandom) && d.Crop != string(dataset.CropNone):
		return fmt.Errorf("data.crop: there is no crop %q; choose centre, random or none", d.Crop)
	case d.Split != splitPictures && d.Split != splitFolders:
		return fmt.Errorf("data.split: validation cannot be parted by %q; choose pictures or folders", d.Split)
	case d.Buckets && !k.captions && k.name != "autoencoder":
		return fmt.Errorf("data.buckets: a %s has pictures of one size only", k.name)
	case k.needsBase && r.Base == "":
		return fmt.Errorf("base: a %s is trained on a model; name a model folder, or %s", k.name, builtIn)
	case len(r.Samples.Seeds)*max(len(r.Samples.Prompts), 1) > 64:
		return fmt.Errorf("samples: %d prompts by %d seeds are more than the 64 pictures that a sample sheet has room for", len(r.Samples.Prompts), len(r.Samples.Seeds))
	}
	for _, seed := range append([]uint64{r.Seed}, r.Samples.Seeds...) {
		if seed > math.MaxInt64 {
			return fmt.Errorf("seed: %d is beyond what TOML can hold; choose one up to %d", seed, int64(math.MaxInt64))
		}
	}
	return r.checkNumbers(k)
}

func (r *Recipe) checkNumbers(k *kind) error {
	t, d, a := &r.Train, &r.Data, &r.Data.Augment
	const far = 1e9
	bounds := []bound{
		{"train.steps", float64(t.Steps), 0, far}, {"train.epochs", float64(t.Epochs), 0, 1e6}, {"train.batch", float64(t.Batch), 1, 4096},
		{"train.accumulate", float64(t.Accumulate), 1, 4096}, {"train.learning_rate", t.Rate, 1e-12, 100}, {"train.weight_decay", *t.Decay, 0, 10},
		{"train.beta1", t.Beta1, 0, 0.99999999}, {"train.beta2", t.Beta2, 0, 0.99999999}, {"train.momentum", t.Momentum, 0, 0.99999999},
		{"train.warmup", float64(t.Warmup), 0, far}, {"train.clip", *t.Clip, 0, 1e9}, {"train.ema", t.EMA, 0, 0.99999999},
		{"train.validate_every", float64(t.Every), 0, far}, {"train.patience", float64(t.Patience), 0, far}, {"train.save_every", float64(t.Save), 0, far},
		{"data.width", float64(d.Width), 0, 8192}, {"data.height", float64(d.Height), 0, 8192}, {"data.caption_dropout", *d.CaptionDropout, 0, 1},
		{"data.keep_tags", float64(d.KeepTags), 0, 1000}, {"data.validation", *d.Validation, 0, 0.9}, {"data.folds", float64(d.Folds), 0, 20},
		{"data.augment.shift", a.Shift, 0, 0.5}, {"data.augment.rotate", a.Rotate, 0, 180}, {"data.augment.zoom", a.Zoom, 0, 4},
		{"data.augment.brightness", a.Brightness, 0, 1}, {"data.augment.contrast", a.Contrast, 0, 1}, {"data.augment.saturation", a.Saturation, 0, 1},
		{"data.augment.hue", a.Hue, 0, 180}, {"samples.every", float64(r.Samples.Every), 0, far}, {"samples.steps", float64(r.Samples.Steps), 1, 1000},
		{"samples.cfg", r.Samples.CFG, 0, 30},
	}
	for _, b := range append(bounds, k.bounds(r)...) {
		if !(b.v >= b.min && b.v <= b.max) || math.IsInf(b.v, 0) {
			return fmt.Errorf("%s: %v is not possible; choose a number from %v to %v", b.key, b.v, b.min, b.max)
		}
	}
	return k.check(r)
}

// plainName reports whether a name can be a file's on every system.
func plainName(s string) bool {
	if s == "" || len(s) > 80 || strings.TrimSpace(s) != s || s != filepath.Base(s) || strings.HasPrefix(s, ".") {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune(" -_.", c)
	})
}

// optimiser is the recipe's update rule.
func (r *Recipe) optimiser() train.Optimiser {
	t := &r.Train
	o := train.Optimiser{Kind: t.Optimiser, Rate: t.Rate, WeightDecay: *t.Decay, Momentum: t.Momentum, Nesterov: t.Nesterov, Centred: t.Centred}
	switch t.Optimiser {
	case "adamw", "adam":
		o.Beta1, o.Beta2, o.Eps = t.Beta1, t.Beta2, 1e-8
	case "rmsprop":
		o.Alpha, o.Eps = 0.99, 1e-8
	}
	return o
}

// config is the trainer's settings for a run of so many steps.
func (r *Recipe) config(steps int) train.Config {
	return train.Config{
		Optimiser: r.optimiser(), Schedule: train.Schedule{Kind: r.Train.Schedule, Warmup: min(r.Train.Warmup, max(steps-1, 0)), Steps: steps},
		ClipNorm: *r.Train.Clip, Accumulate: r.Train.Accumulate, EMADecay: r.Train.EMA, EMAWarmup: true, Half: r.Train.Half, Seed: r.Seed, Decays: train.Matrices,
	}
}

// batchOptions is how pictures are shown to training, or, in order and unvaried, to validation.
func (r *Recipe) batchOptions(s *subject, training bool) dataset.BatchOptions {
	d := &r.Data
	o := dataset.BatchOptions{
		Size: r.Train.Batch, Buckets: dataset.BucketOptions{Width: s.width, Height: s.height, Step: max(s.step, 1), Single: !d.Buckets}, Channels: s.channels,
		Crop: dataset.Crop(d.Crop), Last: dataset.LastFill, InOrder: !training,
	}
	if !training {
		if o.Crop == dataset.CropRandom {
			o.Crop = dataset.CropCentre
		}
		return o
	}
	a := d.Augment
	o.Augment = dataset.Augment{Mirror: a.Mirror, Shift: a.Shift, Rotate: a.Rotate, Zoom: a.Zoom, Brightness: a.Brightness, Contrast: a.Contrast, Saturation: a.Saturation, Hue: a.Hue}
	o.ShuffleTags, o.KeepTags, o.Repeats, o.Alternatives = d.ShuffleTags, d.KeepTags, d.Repeats, true
	return o
}
