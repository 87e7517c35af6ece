package modelstore

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atelier/models/checkpoint"

	"go.yaml.in/yaml/v4"
)

// inTheFile stands for a thumbnail that the model file itself holds.
const inTheFile = "in the file"

// fill takes from other what c does not say.
func (c *Card) fill(other Card) {
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&c.Title, other.Title}, {&c.Author, other.Author}, {&c.Description, other.Description}, {&c.Licence, other.Licence},
		{&c.LicenceURL, other.LicenceURL}, {&c.Base, other.Base}, {&c.Thumbnail, other.Thumbnail},
	} {
		if *f.to == "" {
			*f.to = short(f.from)
		}
	}
	if len(c.Triggers) == 0 {
		c.Triggers = other.Triggers
	}
	if len(c.Tags) == 0 {
		c.Tags = other.Tags
	}
	if len(c.Facts) == 0 {
		c.Facts = other.Facts
	}
}

// short keeps a text from the outside to what a list can show.
func short(s string) string {
	const most = 1000
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// split makes a list of a text with commas.
func split(s string) []string {
	var out []string
	for _, w := range strings.Split(s, ",") {
		if w = short(w); w != "" && len(out) < 50 && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// specFacts are the keys of the specification that a person choosing a model wants to know and that have no place of their own.
var specFacts = []struct{ key, name string }{
	{"resolution", "Resolution"}, {"prediction_type", "Prediction"}, {"usage_hint", "How to use it"}, {"preprocessor", "Preprocessor"},
	{"is_negative_embedding", "For the negative prompt"}, {"encoder_layer", "Layer of the text encoder"}, {"timestep_range", "Timesteps"},
	{"merged_from", "Merged from"}, {"date", "Date"}, {"architecture", "Architecture"}, {"implementation", "Implementation"},
}

// metadata takes what the file says of itself: the "modelspec." of Stability AI's specification, the "ss_" of kohya's trainer.
func (e *Entry) metadata(m map[string]string) {
	c := Card{
		Title: m["modelspec.title"], Author: m["modelspec.author"], Description: m["modelspec.description"],
		Licence: licenceName(m["modelspec.license"]), LicenceURL: licenceURL(m["modelspec.license"]),
		Triggers: split(m["modelspec.trigger_phrase"]), Tags: split(m["modelspec.tags"]), Base: m["ss_sd_model_name"],
	}
	if m["modelspec.thumbnail"] != "" {
		c.Thumbnail = inTheFile
	}
	for _, f := range specFacts {
		if v := short(m["modelspec."+f.key]); v != "" {
			c.Facts = append(c.Facts, Fact{f.name, v})
		}
	}
	c.fill(Card{Title: m["ss_output_name"], Description: m["ss_training_comment"]})
	if len(c.Triggers) == 0 {
		c.Triggers = frequentTags(m["ss_tag_frequency"])
	}
	e.Card.fill(c)
}

// frequentTags are the words that a LoRA's captions held most often, {folder: {tag: count}}.
func frequentTags(text string) []string {
	var folders map[string]map[string]int
	if text == "" || json.Unmarshal([]byte(text), &folders) != nil {
		return nil
	}
	count := map[string]int{}
	for _, tags := range folders {
		for tag, n := range tags {
			if tag = short(tag); tag != "" {
				count[tag] += n
			}
		}
	}
	var all []string
	for tag := range count {
		all = append(all, tag)
	}
	slices.SortFunc(all, func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	const shown = 5
	return all[:min(shown, len(all))]
}

// previews are the names, after a model's own, of pictures that programs put beside it.
var previews = []string{".preview.png", ".preview.jpg", ".preview.jpeg", ".preview.webp", ".thumb.jpg", ".png", ".jpg", ".jpeg", ".webp"}

// besideNames lists the names of the files beside a candidate that may speak of it.
func besideNames(c candidate) []string {
	stem := strings.TrimSuffix(filepath.Base(c.path), filepath.Ext(c.path))
	names := []string{stem + ".civitai.info", stem + ".cm-info.json", stem + ".metadata.json", stem + ".json"}
	for _, p := range previews {
		names = append(names, stem+p)
	}
	return names
}

// sidecars takes what lies beside a model: what Civitai's helpers and A1111 write, a picture, the README of a repository.
func (e *Entry) sidecars(c candidate) {
	dir := filepath.Dir(c.path)
	stem := strings.TrimSuffix(filepath.Base(c.path), filepath.Ext(c.path))
	for _, name := range besideNames(c) {
		full := filepath.Join(dir, name)
		if c.folder && !isFile(full) || !c.folder && !c.beside.has[name] {
			continue
		}
		switch {
		case strings.HasSuffix(name, ".json"), strings.HasSuffix(name, ".info"):
			if data, err := readSmall(full); err == nil && !c.folder {
				e.Card.fill(sidecarCard(data))
			}
		default:
			e.Card.fill(Card{Thumbnail: full})
		}
	}
	if readme := readmeOf(c, stem); readme != "" {
		e.Card.fill(readmeCard(readme))
	}
}

// readmeOf is the README of the repository that a model is from; "" where there is none that could speak of it.
func readmeOf(c candidate, stem string) string {
	dirs := []string{}
	if c.folder {
		dirs = append(dirs, c.path)
	}
	if c.place.source != "" {
		dirs = append(dirs, c.place.dir)
	} else if !c.folder && c.beside.has[stem+".md"] {
		return filepath.Join(filepath.Dir(c.path), stem+".md")
	}
	for _, d := range dirs {
		if path := filepath.Join(d, "README.md"); isFile(path) {
			return path
		}
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// sidecarCard reads NAME.civitai.info, Civitai's answer about a version of a model, or NAME.json, A1111's notes.
func sidecarCard(data []byte) Card {
	var s struct {
		Name          string   `json:"name"`
		Description   string   `json:"description"`
		BaseModel     string   `json:"baseModel"`
		TrainedWords  []string `json:"trainedWords"`
		Activation    string   `json:"activation text"`
		Version       string   `json:"sd version"`
		Notes         string   `json:"notes"`
		ModelName     string   `json:"ModelName"`
		ModelAuthor   string   `json:"Author"`
		License       string   `json:"license"`
		Tags          []string `json:"tags"`
		ModelDocument struct {
			Name string   `json:"name"`
			Tags []string `json:"tags"`
		} `json:"model"`
	}
	if json.Unmarshal(data, &s) != nil {
		return Card{} // of another program, whose words are not known
	}
	c := Card{Title: s.ModelDocument.Name, Description: plainText(s.Description), Base: s.BaseModel, Author: s.ModelAuthor, Licence: licenceName(s.License), Tags: s.Tags}
	c.fill(Card{Title: s.ModelName, Description: s.Notes, Base: s.Version, Tags: s.ModelDocument.Tags})
	if c.Title != "" && s.Name != "" && s.ModelDocument.Name != "" {
		c.Title += " " + s.Name // the version's
	}
	for _, w := range append(s.TrainedWords, s.Activation) {
		c.Triggers = append(c.Triggers, split(w)...)
	}
	return c
}

// plainText drops the marks of HTML.
func plainText(s string) string {
	var b strings.Builder
	inside := false
	for _, r := range s {
		switch {
		case r == '<':
			inside = true
			b.WriteByte(' ')
		case r == '>' && inside:
			inside = false
		case !inside:
			b.WriteRune(r)
		}
	}
	return strings.NewReplacer("&nbsp;", " ", "&amp;", "&", "&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#39;", "'").Replace(b.String())
}

// ownCard reads the model card that training here writes: its name, and the list before its sections.
func ownCard(data []byte) Card {
	const title, unknown = "# Model card: ", "not stated"
	var c Card
	plain := strings.NewReplacer(`\\`, `\`, `\`, "")
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if value = plain.Replace(value); value == unknown {
			continue
		}
		switch key + ": " {
		case title:
			c.Title = value
		case "- Author: ":
			c.Author = value
		case "- Licence: ":
			c.Licence, c.LicenceURL = licenceName(value), licenceURL(value)
		case "- Trained from: ":
			c.Base = value
		case "- Date: ":
			c.Facts = append(c.Facts, Fact{"Date", value})
		}
		if strings.HasPrefix(line, "## ") {
			break
		}
	}
	return c
}

// readmeCard reads the YAML at the head of a repository's README, or the model card of training here.
func readmeCard(path string) Card {
	data, err := readSmall(path)
	if err != nil {
		return Card{}
	}
	data = bytes.ReplaceAll(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	if bytes.HasPrefix(data, []byte("# Model card: ")) {
		return ownCard(data)
	}
	body, ok := bytes.CutPrefix(data, []byte("---\n"))
	head, _, closed := bytes.Cut(body, []byte("\n---"))
	if !ok || !closed {
		return Card{}
	}
	var front struct {
		License  text     `yaml:"license"`
		Name     string   `yaml:"license_name"`
		Link     string   `yaml:"license_link"`
		Base     text     `yaml:"base_model"`
		Tags     []string `yaml:"tags"`
		Instance string   `yaml:"instance_prompt"`
	}
	if yaml.Unmarshal(head, &front) != nil {
		return Card{}
	}
	c := Card{Licence: licenceName(string(front.License)), LicenceURL: front.Link, Base: string(front.Base), Tags: front.Tags, Triggers: split(front.Instance)}
	if front.Name != "" && (c.Licence == "" || strings.EqualFold(c.Licence, "other")) {
		c.Licence = front.Name
	}
	if c.LicenceURL == "" {
		c.LicenceURL = licenceURL(string(front.License))
	}
	return c
}

// text is a YAML value that may be one text or a list of some.
type text string

// UnmarshalYAML joins lists with commas.
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	*t = text(strings.Join(lines(n), ", "))
	return nil
}

// licences are the names and texts behind the identifiers in use.
var licences = map[string][2]string{
	"mit":                   {"MIT", "https://opensource.org/license/mit"},
	"apache-2.0":            {"Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"},
	"bsd-3-clause":          {"BSD-3-Clause", "https://opensource.org/license/bsd-3-clause"},
	"cc-by-4.0":             {"CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"},
	"cc-by-sa-4.0":          {"CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"},
	"cc-by-nc-4.0":          {"CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/"},
	"cc-by-nc-sa-4.0":       {"CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"},
	"cc0-1.0":               {"CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"},
	"agpl-3.0":              {"AGPL-3.0", "https://www.gnu.org/licenses/agpl-3.0.html"},
	"gpl-3.0":               {"GPL-3.0", "https://www.gnu.org/licenses/gpl-3.0.html"},
	"creativeml-openrail-m": {"CreativeML OpenRAIL-M", "https://huggingface.co/spaces/CompVis/stable-diffusion-license"},
	"openrail++":            {"CreativeML Open RAIL++-M", "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md"},
}

// licenceName is what people call a licence; a name that is not known stays as it is.
func licenceName(id string) string {
	if l, ok := licences[strings.ToLower(strings.TrimSpace(id))]; ok {
		return l[0]
	}
	return short(id)
}

func licenceURL(id string) string {
	return licences[strings.ToLower(strings.TrimSpace(id))][1]
}

// Thumbnail gives the encoded picture that stands for a model; nil where it has none.
func Thumbnail(e Entry) ([]byte, error) {
	switch e.Card.Thumbnail {
	case "":
		return nil, nil
	case inTheFile:
	default:
		return readSmall(e.Card.Thumbnail)
	}
	t, err := checkpoint.Open(e.Path)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	kind, data, ok := strings.Cut(t.Metadata()["modelspec.thumbnail"], ";base64,")
	if !ok || !strings.HasPrefix(kind, "data:image/") {
		return nil, errors.New("its thumbnail is no picture in base64")
	}
	pic, err := base64.StdEncoding.DecodeString(strings.TrimSpace(data))
	if err != nil {
		return nil, fmt.Errorf("its thumbnail is damaged: %w", err)
	}
	return pic, nil
}
