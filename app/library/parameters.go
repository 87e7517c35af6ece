package library

import (
	"encoding/json"
	"regexp"
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
	RNG              string // who drew the noise, as A1111 writes it
	Version          string // program and version
}

// Labels turn a sampler's and a schedule's id into the words that metadata carries; nil keeps the id.
type Labels struct {
	Sampler, Schedule func(id string) string
}

// MetaOf describes picture i of a result.
func MetaOf(result *pipeline.Result, i int, labels Labels, rng, version string) Meta {
	r := result.Request
	m := Meta{
		Prompt: r.Prompt, Negative: r.Negative, Steps: r.Steps, Sampler: r.Sampler, Schedule: r.Schedule, CFG: r.CFG,
		Seed: r.Seed + uint64(i), Model: result.Model, ModelHash: result.ModelHash, RNG: rng, Version: version,
	}
	if i < len(result.Seeds) {
		m.Seed = result.Seeds[i]
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
	add("RNG", m.RNG)
	add("Version", m.Version)
	return b.String()
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
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
