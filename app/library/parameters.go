package library

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"atelier/models/pipeline"
)

// Meta is what is written into a picture about how it was made. Empty fields are left out.
type Meta struct {
	Prompt, Negative string
	Steps            int
	Sampler          string // label, such as "DPM++ 2M"
	Schedule         string // label, such as "Karras"
	CFG              float64
	Seed             uint64
	Width, Height    int // of the picture
	ModelHash, Model string
	VAE              string   // name of the autoencoder, where it is not the model's own
	Strength         float64  // of denoising, where a picture was given
	ClipSkip         int      // 1 is none
	RNG              string   // who drew the noise, as A1111 writes it
	Eta              *float64 // nil is the sampler's own
	Rescale          float64  // of guidance
	Spacing          string   // of timesteps; "" is the model's own
	ZeroSNR          bool
	MaskBlur         int
	Masked           bool              // only a part of the picture was made new
	OnlyMasked       bool              // the mask's surroundings were worked on alone
	Padding          int               // of these surroundings, in pixels
	Loras            map[string]string // hashes by name
	Controls         []Control         // that the picture follows
	Edited           bool              // the picture began from another
	Upscaled         *Upscaled         // the picture is another one enlarged; nil where it is not
	Version          string            // program and version
}

// Control is a ControlNet that a picture follows: its name, how much it counts, and from which part of the steps to which.
type Control struct {
	Model              string
	Weight, Start, End float64
}

// Upscaled is how a picture was enlarged.
type Upscaled struct {
	About          string // what the picture said of how it was made before; empty where it said nothing
	Upscaler, Hash string // name of the network, and its hash
}

// upscaled is the text of an enlarged picture: what it said before, and, as A1111 writes it, what became of it since.
func (m Meta) upscaled() string {
	u := m.Upscaled
	line := fmt.Sprintf("Postprocess upscale to: %dx%d, Postprocess upscaler: %s", m.Width, m.Height, quote(u.Upscaler))
	if u.Hash != "" {
		line += ", Postprocess upscaler hash: " + u.Hash
	}
	before := strings.TrimSpace(u.About)
	switch {
	case before == "":
		return line + ", Version: " + quote(m.Version)
	case len(Parse(before).Fields) == 0:
		return before + "\n" + line + ", Version: " + quote(m.Version)
	}
	return before + ", " + line
}

// Labels turn a sampler's and a schedule's id into the words that metadata carries; nil keeps the id.
type Labels struct {
	Sampler, Schedule func(id string) string
}

// MetaOf describes picture i of a result.
func MetaOf(result *pipeline.Result, i int, labels Labels, version string) Meta {
	r := result.Request
	m := Meta{
		Prompt: r.Prompt, Negative: r.Negative, Steps: r.Steps, Sampler: r.Sampler, Schedule: r.Schedule, CFG: r.CFG,
		Seed: r.Seed + uint64(i), Model: result.Model, ModelHash: result.ModelHash, VAE: stem(r.VAE), Version: version,
	}
	if i < len(result.Prompts) {
		m.Prompt, m.Negative = result.Prompts[i], result.Negatives[i]
	}
	for _, n := range pipeline.RNGs() {
		if n.ID == r.RNG {
			m.RNG = n.Label
		}
	}
	m.Spacing, m.ZeroSNR = r.Spacing, r.ZeroSNR
	m.Loras, m.ClipSkip, m.Eta, m.Rescale = result.LoRAHashes, r.ClipSkip, r.Eta, r.GuidanceRescale
	if m.Edited = result.Edited; m.Edited {
		m.Strength = r.Strength
	}
	if m.Masked = result.Masked; m.Masked {
		m.MaskBlur = r.MaskBlur
		m.OnlyMasked, m.Padding = r.OnlyMasked, r.Padding
	}
	for _, c := range r.Controls {
		if c.Net != nil {
			m.Controls = append(m.Controls, Control{c.Net.Name, c.Scale, c.Start, c.End})
		}
	}
	if i < len(result.Seeds) {
		m.Seed = result.Seeds[i]
	}
	if r.Upscaler != "" {
		m.Upscaled = &Upscaled{About: r.About, Upscaler: result.Model, Hash: result.ModelHash}
		// What a model made from noise alone stays so, however large.
		m.Edited = r.About == "" || Parse(r.About).Fields["Denoising strength"] != ""
	}
	if i < len(result.Images) {
		size := result.Images[i].Rect.Size()
		m.Width, m.Height = size.X, size.Y
	}
	if labels.Sampler != nil {
		m.Sampler = labels.Sampler(r.Sampler)
	}
	if labels.Schedule != nil {
		m.Schedule = labels.Schedule(r.Schedule)
	}
	return m
}

// String is the text of the `parameters` chunk in A1111's form: the prompt, the negative prompt on a line of its own if
// there is one, and a last line of comma-separated "Key: value".
func (m Meta) String() string {
	if m.Upscaled != nil {
		return m.upscaled()
	}
	var b strings.Builder
	b.WriteString(m.Prompt)
	if m.Negative != "" {
		b.WriteString("\nNegative prompt: " + m.Negative)
	}
	b.WriteString("\n")
	separator := ""
	add := func(key, value string) {
		if value != "" {
			b.WriteString(separator + key + ": " + quote(value))
			separator = ", "
		}
	}
	add("Steps", number(m.Steps))
	add("Sampler", m.Sampler)
	add("Schedule type", m.Schedule)
	if m.CFG != 0 {
		add("CFG scale", strconv.FormatFloat(m.CFG, 'f', -1, 64))
	}
	add("Seed", strconv.FormatUint(m.Seed, 10))
	if m.Width > 0 && m.Height > 0 {
		add("Size", strconv.Itoa(m.Width)+"x"+strconv.Itoa(m.Height))
	}
	add("Model hash", m.ModelHash)
	add("Model", m.Model)
	add("VAE", m.VAE)
	add("Denoising strength", decimal(m.Strength))
	if m.ClipSkip > 1 {
		add("Clip skip", strconv.Itoa(m.ClipSkip))
	}
	add("RNG", m.RNG)
	if m.Eta != nil {
		add("Eta", strconv.FormatFloat(*m.Eta, 'f', -1, 64))
	}
	add("CFG rescale", decimal(m.Rescale))
	add("Timestep spacing", m.Spacing)
	if m.ZeroSNR {
		add("Noise schedule", zeroSNR)
	}
	if m.Masked {
		add("Mask blur", strconv.Itoa(m.MaskBlur))
	}
	if m.OnlyMasked {
		add("Inpaint area", onlyMasked)
		add("Masked area padding", strconv.Itoa(m.Padding))
	}
	if len(m.Loras) > 0 {
		var list []string
		for _, name := range slices.Sorted(maps.Keys(m.Loras)) {
			list = append(list, name+": "+m.Loras[name])
		}
		add("Lora hashes", strings.Join(list, ", "))
	}
	for i, c := range m.Controls {
		add(controlKey(i), fmt.Sprintf("Module: none, Model: %s, Weight: %g, Guidance Start: %g, Guidance End: %g", c.Model, c.Weight, c.Start, c.End))
	}
	add("Version", m.Version)
	return b.String()
}

// stem is the name of a model's file or folder.
func stem(path string) string {
	base := filepath.Base(path)
	switch ext := filepath.Ext(base); {
	case path == "":
		return ""
	case slices.Contains([]string{".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}, strings.ToLower(ext)):
		return strings.TrimSuffix(base, ext)
	}
	return base
}

// controlKey is under what A1111's extension writes ControlNet i, counted from 0.
func controlKey(i int) string { return fmt.Sprintf("ControlNet %d", i) }

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// A1111's words for beginning from pure noise, and for working on a mask's surroundings alone.
const zeroSNR, onlyMasked = "Zero Terminal SNR", "Only masked"

func decimal(v float64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// quote writes a value as a JSON string if a plain one would end early or start a new field.
func quote(value string) string {
	if !strings.ContainsAny(value, ",:\n") {
		return value
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil { // a string always encodes
		return value
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func unquote(value string) string {
	var s string
	if strings.HasPrefix(value, `"`) && json.Unmarshal([]byte(value), &s) == nil {
		return s
	}
	return value
}

// Parameters is a parsed `parameters` chunk.
type Parameters struct {
	Raw              string // the whole text
	Prompt, Negative string
	Fields           map[string]string // the last line, by key, without quotes
}

var field = regexp.MustCompile(`\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`)

// fewestFields is how many fields a last line must have to count as one and not as part of the prompt.
const fewestFields = 3

// Parse reads the text of a `parameters` chunk. Anything parses: what is not a field is prompt.
func Parse(text string) Parameters {
	p := Parameters{Raw: text, Fields: map[string]string{}}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := lines[len(lines)-1]
	if found := field.FindAllStringSubmatch(last, -1); len(found) >= fewestFields {
		lines = lines[:len(lines)-1]
		for _, f := range found {
			p.Fields[f[1]] = unquote(strings.TrimSpace(f[2]))
		}
	}
	var prompt, negative []string
	inNegative := false
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "Negative prompt:"); ok {
			inNegative = true
			line = strings.TrimSpace(rest)
		}
		if inNegative {
			negative = append(negative, line)
		} else {
			prompt = append(prompt, line)
		}
	}
	p.Prompt, p.Negative = strings.Join(prompt, "\n"), strings.Join(negative, "\n")
	return p
}

// Request is what would make the picture again, as far as the parameters tell: what they leave out is the zero value. Values
// that cannot be are errors.
func (p Parameters) Request() (pipeline.Request, error) {
	r := pipeline.Request{Prompt: p.Prompt, Negative: p.Negative, Sampler: p.Fields["Sampler"], Schedule: p.Fields["Schedule type"], RNG: p.Fields["RNG"],
		Spacing: p.Fields["Timestep spacing"], ZeroSNR: p.Fields["Noise schedule"] == zeroSNR}
	var failed error
	read := func(key string, take func(text string) error) {
		if text, ok := p.Fields[key]; ok && failed == nil {
			if err := take(strings.TrimSpace(text)); err != nil {
				failed = fmt.Errorf("library: the parameters say %q of %s, which is not a value that it has", text, key)
			}
		}
	}
	whole := func(to *int) func(string) error {
		return func(text string) (err error) { *to, err = strconv.Atoi(text); return err }
	}
	real := func(to *float64) func(string) error {
		return func(text string) (err error) { *to, err = strconv.ParseFloat(text, 64); return err }
	}
	read("Steps", whole(&r.Steps))
	read("CFG scale", real(&r.CFG))
	read("Seed", func(text string) (err error) { r.Seed, err = strconv.ParseUint(text, 10, 64); return err })
	read("Size", func(text string) error {
		w, h, _ := strings.Cut(text, "x")
		return cmp.Or(whole(&r.Width)(w), whole(&r.Height)(h))
	})
	read("Clip skip", whole(&r.ClipSkip))
	read("Denoising strength", real(&r.Strength))
	read("CFG rescale", real(&r.GuidanceRescale))
	for _, key := range []string{"Eta", "Eta DDIM"} {
		read(key, func(text string) error {
			r.Eta = new(float64)
			return real(r.Eta)(text)
		})
	}
	r.OnlyMasked = p.Fields["Inpaint area"] == onlyMasked
	for key, to := range map[string]*int{"Mask blur": &r.MaskBlur, "Masked area padding": &r.Padding} {
		read(key, func(text string) error {
			err := whole(to)(text)
			if *to == 0 { // a request's 0 is the usual
				*to = -1
			}
			return err
		})
	}
	return r, failed
}

// Loras are the hashes of adapters by their names, as the parameters list them.
func (p Parameters) Loras() map[string]string {
	out := map[string]string{}
	for _, entry := range strings.Split(p.Fields["Lora hashes"], ",") {
		if name, hash, ok := strings.Cut(entry, ":"); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(hash)
		}
	}
	return out
}

// controlModel is the name of a ControlNet as A1111's extension writes it, with a hash behind.
var controlModel = regexp.MustCompile(`^(.*?)(?: \[[0-9a-fA-F]+\])?$`)

// Controls are the ControlNets that the parameters list; those of other programs' extensions, too.
func (p Parameters) Controls() (list []Control) {
	for i := 0; ; i++ {
		text, ok := p.Fields[controlKey(i)]
		if !ok {
			return list
		}
		c := Control{Weight: 1, End: 1}
		for _, part := range strings.Split(text, ",") {
			key, value, _ := strings.Cut(strings.TrimSpace(part), ":")
			value = strings.TrimSpace(value)
			to := map[string]*float64{"Weight": &c.Weight, "Guidance Start": &c.Start, "Guidance End": &c.End}[key]
			if v, err := strconv.ParseFloat(value, 64); to != nil && err == nil {
				*to = v
			}
			if key == "Model" {
				c.Model = controlModel.FindStringSubmatch(value)[1]
			}
		}
		list = append(list, c)
	}
}
