// Package training is what lies between a person and the trainer: a recipe that can be read, a run that can be stopped at any
// moment and goes on exactly where it was, what is watched meanwhile, and what is kept and reported at the end.
package training

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Recipe is everything that a run is determined by. The zero value of a field means its default; Fill puts it in.
type Recipe struct {
	Kind        string `toml:"kind"`
	Name        string `toml:"name"`
	Base        string `toml:"base"`
	Folder      string `toml:"folder"`
	Seed        uint64 `toml:"seed"`
	Author      string `toml:"author"`
	Description string `toml:"description"`
	Licence     string `toml:"licence"`

	Data      Data            `toml:"data"`
	Train     Train           `toml:"train"`
	Samples   Samples         `toml:"samples"`
	LoRA      LoRA            `toml:"lora"`
	Inversion Inversion       `toml:"textual_inversion"`
	Diffusion Diffusion       `toml:"diffusion"`
	VAE       VAE             `toml:"autoencoder"`
	Generator GeneratorRecipe `toml:"generator"`
}

// Data is the pictures and what is made of them.
type Data struct {
	Path           string   `toml:"path"`
	Licence        string   `toml:"licence"`
	Trigger        string   `toml:"trigger"`
	TriggerLast    bool     `toml:"trigger_last"`
	Width          int      `toml:"width"`
	Height         int      `toml:"height"`
	Buckets        bool     `toml:"buckets"`
	Crop           string   `toml:"crop"`
	CaptionDropout *float64 `toml:"caption_dropout"`
	ShuffleTags    bool     `toml:"shuffle_tags"`
	KeepTags       int      `toml:"keep_tags"`
	Repeats        bool     `toml:"repeats"`
	Validation     *float64 `toml:"validation"`
	Folds          int      `toml:"folds"`
	Split          string   `toml:"split"`
	Augment        Augment  `toml:"augment"`
}

// Augment is how much pictures are varied each time they are shown.
type Augment struct {
	Mirror     bool    `toml:"mirror"`
	Shift      float64 `toml:"shift"`
	Rotate     float64 `toml:"rotate"`
	Zoom       float64 `toml:"zoom"`
	Brightness float64 `toml:"brightness"`
	Contrast   float64 `toml:"contrast"`
	Saturation float64 `toml:"saturation"`
	Hue        float64 `toml:"hue"`
}

// varies reports whether the same picture hardly ever comes out the same twice; mirroring has two results only.
func (a Augment) varies() bool {
	a.Mirror = false
	return a != Augment{}
}

// Train is how the parameters are changed.
type Train struct {
	Steps      int      `toml:"steps"`
	Epochs     int      `toml:"epochs"`
	Batch      int      `toml:"batch"`
	Accumulate int      `toml:"accumulate"`
	Optimiser  string   `toml:"optimiser"`
	Rate       float64  `toml:"learning_rate"`
	Decay      *float64 `toml:"weight_decay"`
	Beta1      float64  `toml:"beta1"`
	Beta2      float64  `toml:"beta2"`
	Momentum   float64  `toml:"momentum"`
	Nesterov   bool     `toml:"nesterov"`
	Centred    bool     `toml:"centred"`
	Schedule   string   `toml:"schedule"`
	Warmup     int      `toml:"warmup"`
	Clip       *float64 `toml:"clip"`
	EMA        float64  `toml:"ema"`
	Half       bool     `toml:"half"`
	Every      int      `toml:"validate_every"`
	Patience   int      `toml:"patience"`
	Save       int      `toml:"save_every"`
}

// Samples is the pictures that show how far training has come.
type Samples struct {
	Every   int      `toml:"every"`
	Prompts []string `toml:"prompts"`
	Seeds   []uint64 `toml:"seeds"`
	Steps   int      `toml:"steps"`
	CFG     float64  `toml:"cfg"`
}

// LoRA is the size and the place of adapters.
type LoRA struct {
	Rank        int      `toml:"rank"`
	Alpha       float64  `toml:"alpha"`
	Targets     []string `toml:"targets"`
	TextTargets []string `toml:"text_targets"`
}

// Inversion is the word that is learnt.
type Inversion struct {
	Token   string `toml:"token"`
	Initial string `toml:"initial"`
	Vectors int    `toml:"vectors"`
}

// Diffusion is the choices of training a denoiser.
type Diffusion struct {
	Scratch     bool    `toml:"from_scratch"`
	TextEncoder bool    `toml:"train_text_encoder"`
	MinSNR      float64 `toml:"min_snr"`
}

// VAE is the network and the loss of an autoencoder.
type VAE struct {
	Channels  []int    `toml:"channels"`
	Layers    int      `toml:"layers"`
	Groups    int      `toml:"groups"`
	Latents   int      `toml:"latent_channels"`
	Pixels    int      `toml:"picture_channels"`
	Attention *bool    `toml:"attention"`
	KL        *float64 `toml:"kl"`
	Gradient  *float64 `toml:"gradient"`
	Decoder   bool     `toml:"decoder_only"`
}

// GeneratorRecipe is the network and the loss of what makes pictures of noise in one step.
type GeneratorRecipe struct {
	Labels   *bool    `toml:"labels"`
	Pixels   int      `toml:"picture_channels"`
	Channels []int    `toml:"channels"`
	Latent   int      `toml:"latent"`
	Style    int      `toml:"style"`
	R1       *float64 `toml:"r1"`
	KL       *float64 `toml:"kl"`
	Levels   int      `toml:"levels"`
	Steps    int      `toml:"steps"`
	Hidden   int      `toml:"hidden"`
	Smooth   bool     `toml:"smooth"`
}

// keys are all keys of a recipe, with their tables.
func keys() []string {
	var out []string
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for i := range t.NumField() {
			name := prefix + t.Field(i).Tag.Get("toml")
			out = append(out, name)
			if t.Field(i).Type.Kind() == reflect.Struct {
				walk(t.Field(i).Type, name+".")
			}
		}
	}
	walk(reflect.TypeFor[Recipe](), "")
	return out
}

// nearest is the known key that an unknown one may be a slip for: the same word in another table, or one a few letters off. Empty
// where there is none.
func nearest(key string) string {
	leaf := key[strings.LastIndex(key, ".")+1:]
	best, distance := "", 3
	if len(key) > 100 {
		return ""
	}
	for _, k := range keys() {
		if k[strings.LastIndex(k, ".")+1:] == leaf {
			return k
		}
		if d := edits(key, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// edits is Levenshtein's distance between short texts.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, last+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// most is the largest recipe that is read: a hundred times a long one.
const most = 1 << 20

// Load reads a recipe. Relative paths in it are meant from the recipe's own folder, and are made absolute.
func Load(path string) (Recipe, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Recipe{}, fmt.Errorf("the recipe %s cannot be read: %w; check the path", path, errors.Unwrap(err))
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return Recipe{}, fmt.Errorf("%s is not a recipe, which is a text file of at most 1 MB", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Recipe{}, fmt.Errorf("the recipe %s cannot be read: %w; check the path", path, errors.Unwrap(err))
	}
	r, err := Parse(text)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return r, fmt.Errorf("the folder of the recipe %s cannot be found: %w", path, err)
	}
	r.resolve(dir)
	return r, nil
}

// Parse reads a recipe's text, fills in defaults and checks it.
func Parse(text []byte) (Recipe, error) {
	var r Recipe
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, sentence(err)
	}
	return r.Fill()
}

// sentence says what is wrong with a recipe's text, and in which line.
func sentence(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		e := &unknown.Errors[0]
		line, _ := e.Position()
		key := strings.Join(e.Key(), ".")
		if len(key) > 200 {
			return fmt.Errorf("line %d: a recipe has no such key", line)
		}
		if near := nearest(key); near != "" {
			return fmt.Errorf("line %d: a recipe has no key %q; did you mean %q?", line, key, near)
		}
		return fmt.Errorf("line %d: a recipe has no key %q; see a new recipe for all keys (train --new)", line, key)
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, _ := wrong.Position()
		what := strings.TrimPrefix(wrong.Error(), "toml: ")
		if key := strings.Join(wrong.Key(), "."); key != "" {
			return fmt.Errorf("line %d: the value of %s must be %s", line, key, wanted(what))
		}
		return fmt.Errorf("line %d cannot be read as TOML: %s", line, what)
	}
	return fmt.Errorf("the recipe cannot be read as TOML: %s", strings.TrimPrefix(err.Error(), "toml: "))
}

// resolve makes relative paths absolute, as seen from dir. The built-in model's name is no path.
func (r *Recipe) resolve(dir string) {
	for _, p := range []*string{&r.Data.Path, &r.Base, &r.Folder} {
		if *p == "" || filepath.IsAbs(*p) || p == &r.Base && *p == builtIn {
			continue
		}
		*p = filepath.Join(dir, *p)
	}
}

// wanted is what a key takes, in words, from what the decoder says of a value of another type.
func wanted(complaint string) string {
	_, kind, _ := strings.Cut(complaint, " of type ")
	switch {
	case strings.HasPrefix(kind, "[]"):
		return "a list in square brackets of values such as a new recipe has (train --new)"
	case strings.HasPrefix(kind, "float"):
		return "a number, without quotes"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number, without quotes"
	case kind == "bool":
		return "true or false, without quotes"
	case kind == "string":
		return "a text in quotes"
	}
	return "of the kind that a new recipe has (train --new)"
}
