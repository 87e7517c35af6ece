package training

import (
	"fmt"
	"strconv"
	"strings"
)

// line is one key of a recipe's text.
type line struct {
	key, value, comment string
}

// Text writes the recipe as TOML, with a comment on every key. Parsing it gives the same recipe.
func (r Recipe) Text() string {
	var b strings.Builder
	k, err := kindOf(r.Kind)
	about := "something that can be trained"
	if err == nil {
		about = k.about
	}
	fmt.Fprintf(&b, "# A training recipe of Atelier: %s.\n# Start it with: atelier train THIS-FILE    Go on after a stop with: atelier train THIS-FILE --resume\n\n", about)
	writeLines(&b, "", r.headLines())
	writeLines(&b, "data", r.dataLines())
	writeLines(&b, "data.augment", r.augmentLines())
	writeLines(&b, "train", r.trainLines())
	writeLines(&b, "samples", r.sampleLines())
	if err == nil && k.section != "" {
		writeLines(&b, k.section, r.sectionLines(k.section))
	}
	return b.String()
}

// commentColumn is where comments begin.
const commentColumn = 44

func writeLines(b *strings.Builder, section string, lines []line) {
	if section != "" {
		fmt.Fprintf(b, "\n[%s]\n", section)
	}
	for _, l := range lines {
		if l.value == "" {
			continue // left out: the default depends on other things
		}
		text := l.key + " = " + l.value
		if l.comment != "" {
			text = fmt.Sprintf("%-*s # %s", commentColumn, text, l.comment)
		}
		fmt.Fprintln(b, text)
	}
}

// quoted is a TOML basic string.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// optional leaves out empty texts.
func optional(s string) string {
	if s == "" {
		return ""
	}
	return quoted(s)
}

// float is a TOML float; the shortest text that gives the same number.
func float(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

func pointed(v *float64) string {
	if v == nil {
		return ""
	}
	return float(*v)
}

// positive leaves out zeros.
func positive(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func list[T any](vs []T, text func(T) string) string {
	if vs == nil {
		return ""
	}
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = text(v)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (r *Recipe) headLines() []line {
	return []line{
		{"kind", quoted(r.Kind), "what is trained: " + strings.Join(kindNames(), ", ")},
		{"name", quoted(r.Name), "of what is made"},
		{"base", optional(r.Base), "the model it starts from: a model folder, or " + builtIn},
		{"folder", optional(r.Folder), "where the run is kept; without it, a folder of the name beside this file"},
		{"seed", strconv.FormatUint(r.Seed, 10), "of everything that is drawn"},
		{"author", optional(r.Author), "these go into the model card and the file"},
		{"description", optional(r.Description), "in a sentence or two"},
		{"licence", optional(r.Licence), "of what is made, such as CC0-1.0"},
	}
}

func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

func (r *Recipe) dataLines() []line {
	d := &r.Data
	return []line{
		{"path", quoted(d.Path), "folder or zip archive of pictures; captions in text files beside them, in metadata or in names"},
		{"licence", optional(d.Licence), "of the pictures, for the model card"},
		{"trigger", optional(d.Trigger), "words put before every caption, which call what is learnt"},
		{"trigger_last", strconv.FormatBool(d.TriggerLast), "the trigger stands after captions instead, as the built-in model's words of style do"},
		{"width", positive(d.Width), "pixels; without it, the model's own size"},
		{"height", positive(d.Height), ""},
		{"buckets", strconv.FormatBool(d.Buckets), "keep the shapes of pictures: train at several sizes of about that area"},
		{"crop", quoted(d.Crop), "centre, random or none"},
		{"caption_dropout", pointed(d.CaptionDropout), "share of captions that are left out, for guidance"},
		{"shuffle_tags", strconv.FormatBool(d.ShuffleTags), "what commas part, in another order each time"},
		{"keep_tags", positive(d.KeepTags), "of these, how many stay in front"},
		{"repeats", strconv.FormatBool(d.Repeats), "show pictures of a folder named 10_x ten times an epoch"},
		{"validation", pointed(d.Validation), "share of the pictures that is only looked at; 0 for none"},
		{"split", quoted(d.Split), "pictures, each by itself unless some look alike, or folders, which stay whole: for several pictures of one thing"},
		{"folds", positive(d.Folds), "train this many times with other pictures set aside, then once with all: for small sets"},
	}
}

func (r *Recipe) augmentLines() []line {
	a := &r.Data.Augment
	return []line{
		{"mirror", strconv.FormatBool(a.Mirror), "left to right, half of the time; not for writing"},
		{"shift", float(a.Shift), "up to this share of the side"},
		{"rotate", float(a.Rotate), "up to this many degrees"},
		{"zoom", float(a.Zoom), "up to this share closer"},
		{"brightness", float(a.Brightness), "factor up to this far from 1; likewise the next two"},
		{"contrast", float(a.Contrast), ""},
		{"saturation", float(a.Saturation), ""},
		{"hue", float(a.Hue), "up to this many degrees"},
	}
}

func (r *Recipe) trainLines() []line {
	t := &r.Train
	return []line{
		{"steps", positive(t.Steps), "changes of the parameters; or give epochs"},
		{"epochs", positive(t.Epochs), "times that all pictures are shown"},
		{"batch", strconv.Itoa(t.Batch), "pictures at once"},
		{"accumulate", strconv.Itoa(t.Accumulate), "batches to a step: larger steps in the same memory"},
		{"optimiser", quoted(t.Optimiser), "adamw, adam, rmsprop or sgd"},
		{"learning_rate", float(t.Rate), ""},
		{"weight_decay", pointed(t.Decay), ""},
		{"beta1", float(t.Beta1), "of adam and adamw"},
		{"beta2", float(t.Beta2), ""},
		{"momentum", float(t.Momentum), "of rmsprop and sgd"},
		{"nesterov", strconv.FormatBool(t.Nesterov), "sgd: look ahead along the momentum"},
		{"centred", strconv.FormatBool(t.Centred), "rmsprop: take the mean gradient off"},
		{"schedule", quoted(t.Schedule), "constant, constant_with_warmup, linear, cosine, cosine_with_restarts or polynomial"},
		{"warmup", strconv.Itoa(t.Warmup), "steps over which the learning rate rises"},
		{"clip", pointed(t.Clip), "most length of the gradient; 0 for no bound"},
		{"ema", float(t.EMA), "keep a moving average of the parameters, such as 0.999; 0 for none"},
		{"half", strconv.FormatBool(t.Half), "compute with half-precision copies of the parameters"},
		{"validate_every", positive(t.Every), "steps; without it, twenty times a run"},
		{"patience", strconv.Itoa(t.Patience), "stop after so many validations without a better one; 0 for never"},
		{"save_every", strconv.Itoa(t.Save), "keep a checkpoint every so many steps; 0 for the best and the last only"},
	}
}

func (r *Recipe) sampleLines() []line {
	s := &r.Samples
	return []line{
		{"every", positive(s.Every), "steps between samples; without it, ten times a run"},
		{"prompts", list(s.Prompts, quoted), "without them, some of the captions"},
		{"seeds", list(s.Seeds, func(v uint64) string { return strconv.FormatUint(v, 10) }), "each prompt with each of them; [] for no samples"},
		{"steps", strconv.Itoa(s.Steps), "of denoising"},
		{"cfg", float(s.CFG), "guidance; 0 for the model's own"},
	}
}

func (r *Recipe) sectionLines(section string) []line {
	switch section {
	case "lora":
		return []line{
			{"rank", strconv.Itoa(r.LoRA.Rank), "size: how much can be learnt"},
			{"alpha", float(r.LoRA.Alpha), "strength, as against the rank"},
			{"targets", list(r.LoRA.Targets, quoted), "layers of the denoiser whose names end so"},
			{"text_targets", list(r.LoRA.TextTargets, quoted), `layers of the text encoder, such as "q_proj"; [] for none`},
		}
	case "textual_inversion":
		return []line{
			{"token", quoted(r.Inversion.Token), "the new word"},
			{"initial", optional(r.Inversion.Initial), "a known word that comes near it"},
			{"vectors", strconv.Itoa(r.Inversion.Vectors), "how many words' room it takes"},
		}
	case "diffusion":
		return []line{
			{"from_scratch", strconv.FormatBool(r.Diffusion.Scratch), "forget the base model's denoiser and text encoder, keep their shape"},
			{"train_text_encoder", strconv.FormatBool(r.Diffusion.TextEncoder), "train the text encoder too"},
			{"min_snr", float(r.Diffusion.MinSNR), "weigh noise levels by min-SNR with this gamma, such as 5; 0 for evenly"},
		}
	case "generator":
		return r.generatorLines()
	}
	v := &r.VAE
	attention := ""
	if v.Attention != nil {
		attention = strconv.FormatBool(*v.Attention)
	}
	return []line{
		{"channels", list(v.Channels, func(n int) string { return strconv.Itoa(n) }), "of every level; each after the first halves the size"},
		{"layers", positive(v.Layers), "residual blocks a level"},
		{"groups", positive(v.Groups), "of the norms"},
		{"latent_channels", positive(v.Latents), ""},
		{"picture_channels", positive(v.Pixels), "1 grey, 3 RGB, 4 RGB and transparency"},
		{"attention", attention, "in the middle"},
		{"kl", pointed(v.KL), "weight of keeping latents like noise"},
		{"gradient", pointed(v.Gradient), "weight of the edges' error"},
		{"decoder_only", strconv.FormatBool(v.Decoder), "leave the base model's encoder as it is"},
	}
}

func (r *Recipe) generatorLines() []line {
	g := &r.Generator
	labels := ""
	if g.Labels != nil {
		labels = strconv.FormatBool(*g.Labels)
	}
	lines := []line{
		{"labels", labels, "captions are the names of what can be asked for"},
		{"picture_channels", positive(g.Pixels), "1 grey, 3 RGB, 4 RGB and transparency"},
		{"smooth", strconv.FormatBool(g.Smooth), "enlarge finished pictures smoothly, not as squares"},
	}
	if r.Kind == "flow" {
		return append(lines, line{"levels", positive(g.Levels), "of detail; each halves the size"}, line{"steps", positive(g.Steps), "at each level"},
			line{"hidden", positive(g.Hidden), "channels within a step"})
	}
	return append(lines,
		line{"channels", list(g.Channels, func(n int) string { return strconv.Itoa(n) }), "at 4 × 4 pixels, 8 × 8, and so on up to the size"},
		line{"latent", positive(g.Latent), "numbers that a picture is made of"}, line{"style", positive(g.Style), "numbers that its look is made of"},
		line{"r1", pointed(g.R1), "gan: weight of the critic's gradient penalty"}, line{"kl", pointed(g.KL), "conditional_vae: weight of keeping latents like noise"})
}
