// Package catalog knows which model families there are and opens model folders: what is in them, not what it computes.
//
// A model folder has the layout of diffusers: model_index.json names the parts, and each part has a folder with its
// configuration and its weights. Two additions are ours, both optional: a folder "upscaler" with a generator that enlarges
// the decoded picture, and a file "atelier.json" with the model's name, defaults and example prompts. The folder may lie on
// disk or inside the program; nothing else differs.
package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"atelier/models/checkpoint"
	"atelier/models/tokenize"
)

// Family is one kind of network: the part of a model it plays and the class names that checkpoints give it.
type Family struct {
	Part    string
	Classes []string
	Package string // that builds it
}

// Families lists the networks that the program can run.
var Families = []Family{
	{Part: "text_encoder", Classes: []string{"CLIPTextModel", "CLIPTextModelWithProjection"}, Package: "clip"},
	{Part: "unet", Classes: []string{"UNet2DConditionModel"}, Package: "unet"},
	{Part: "vae", Classes: []string{"AutoencoderKL"}, Package: "vae"},
	{Part: "upscaler", Classes: []string{"SRVGGNetCompact"}, Package: "gan"},
}

// Part is one network of a model: its configuration and its weights.
type Part struct {
	Class   string
	Config  []byte // config.json; nil for parts without one
	File    string // the weights' file, for messages
	Weights checkpoint.Tensors
}

// Card is what atelier.json may say about a model; zero values leave the choice to the program.
type Card struct {
	Name      string   `json:"name"`
	Steps     int      `json:"steps"`
	CFG       float64  `json:"cfg"`
	Sampler   string   `json:"sampler"`
	Schedule  string   `json:"schedule"`
	MaxSize   int      `json:"max_size"` // pixels
	Examples  []string `json:"examples"`
	Prompting string   `json:"prompting"` // a sentence on how to word prompts
}

// Model is an open model folder.
type Model struct {
	Card
	TextEncoder, UNet, VAE Part
	Upscaler               *Part // nil where the folder has none

	SchedulerClass  string // as in model_index.json, such as "PNDMScheduler"
	SchedulerConfig []byte // scheduler_config.json

	Tokenizer      *tokenize.Tokenizer // nil where TokenizerError says why
	TokenizerDir   string              // where it was found
	TokenizerError error

	fsys fs.FS
	dir  string
	hash func() string
}

// Options are the choices of Open.
type Options struct {
	TokenizerDir string // a folder with vocab.json and merges.txt, in place of the model's own
}

// tokenizerEnv names a tokenizer folder for models that come without one.
const tokenizerEnv = "ATELIER_TOKENIZER"

// Open opens the model folder dir on disk. A folder without a tokenizer takes the one in $ATELIER_TOKENIZER, or else the
// nearest "tokenizer" or "data/clip_tokenizer" beside it or above it.
func Open(dir string, o Options) (*Model, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("the model folder %s cannot be found: %w", dir, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("the model folder %s cannot be read; check the path: %w", dir, errors.Unwrap(err))
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file; choose a model folder, the one that holds model_index.json", dir)
	}
	m, err := OpenFS(os.DirFS(abs), ".", filepath.Base(abs))
	if err != nil {
		return nil, err
	}
	if m.Tokenizer == nil || o.TokenizerDir != "" {
		m.findTokenizer(abs, o)
	}
	return m, nil
}

// OpenFS opens the model folder dir of fsys; name is what the model is called where its card doesn't say.
func OpenFS(fsys fs.FS, dir, name string) (*Model, error) {
	m := &Model{fsys: fsys, dir: dir, Card: Card{Name: name}}
	if err := m.open(); err != nil {
		m.Close()
		return nil, err
	}
	m.hash = sync.OnceValue(m.sum)
	return m, nil
}

func (m *Model) open() error {
	index, err := m.index()
	if err != nil {
		return err
	}
	if err := m.readJSON("atelier.json", &m.Card); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []string
	for _, p := range []struct {
		name string
		part *Part
	}{{"text_encoder", &m.TextEncoder}, {"unet", &m.UNet}, {"vae", &m.VAE}} {
		if err := m.part(p.name, index[p.name], p.part); err != nil {
			problems = append(problems, err.Error())
		}
	}
	m.SchedulerClass = index["scheduler"]
	if m.SchedulerConfig, err = fs.ReadFile(m.fsys, path.Join(m.dir, "scheduler", "scheduler_config.json")); err != nil {
		problems = append(problems, "scheduler/scheduler_config.json is missing")
	}
	if len(problems) > 0 {
		return fmt.Errorf("the model %s is not complete: %s", m.Name, strings.Join(problems, "; "))
	}
	if _, err := fs.Stat(m.fsys, path.Join(m.dir, "upscaler")); err == nil {
		up := &Part{Class: familyOf("upscaler").Classes[0]}
		if err := m.weights("upscaler", up); err != nil {
			return err
		}
		m.Upscaler = up
	}
	m.TokenizerDir = path.Join(m.dir, "tokenizer")
	m.Tokenizer, m.TokenizerError = tokenize.Load(m.fsys, m.TokenizerDir)
	if _, err := fs.Stat(m.fsys, m.TokenizerDir); m.TokenizerError != nil && err == nil {
		return m.TokenizerError // it has one, and that one is damaged
	}
	return nil
}

// index reads model_index.json: the class of each part.
func (m *Model) index() (map[string]string, error) {
	var raw map[string]json.RawMessage
	if err := m.readJSON("model_index.json", &raw); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not a model folder: it has no model_index.json; choose a folder in the layout of diffusers", m.Name)
		}
		return nil, err
	}
	classes := map[string]string{}
	for part, v := range raw {
		var pair []*string
		if json.Unmarshal(v, &pair) == nil && len(pair) == 2 && pair[1] != nil {
			classes[part] = *pair[1]
		}
	}
	return classes, nil
}

const maxJSON = 16 << 20

func (m *Model) readJSON(name string, v any) error {
	full := path.Join(m.dir, name)
	info, err := fs.Stat(m.fsys, full)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxJSON {
		return fmt.Errorf("%s of the model %s is not a regular file of at most %d MB", name, m.Name, maxJSON>>20)
	}
	data, err := fs.ReadFile(m.fsys, full)
	if err != nil {
		return fmt.Errorf("%s of the model %s cannot be read: %w", name, m.Name, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s of the model %s is not the JSON that is expected there: %w", name, m.Name, err)
	}
	return nil
}

func familyOf(part string) Family {
	for _, f := range Families {
		if f.Part == part {
			return f
		}
	}
	return Family{}
}

// part opens one network; its errors are phrases for the list of what is missing.
func (m *Model) part(name, class string, p *Part) error {
	if class == "" {
		return fmt.Errorf("model_index.json names no %s", name)
	}
	family := familyOf(name)
	known := false
	for _, c := range family.Classes {
		known = known || c == class
	}
	if !known {
		return fmt.Errorf("its %s is a %s, and this program runs %s", name, class, strings.Join(family.Classes, " and "))
	}
	p.Class = class
	var raw json.RawMessage
	if err := m.readJSON(name+"/config.json", &raw); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s/config.json is missing", name)
		}
		return err
	}
	p.Config = raw
	return m.weights(name, p)
}

func (m *Model) weights(name string, p *Part) error {
	file, err := checkpoint.ComponentFile(m.fsys, path.Join(m.dir, name))
	if err != nil {
		return fmt.Errorf("%s has no weights", name)
	}
	p.File = m.Name + "/" + name + "/" + path.Base(file)
	p.Weights, err = checkpoint.OpenFS(m.fsys, file)
	return err
}

// findTokenizer looks outside the model folder at abs.
func (m *Model) findTokenizer(abs string, o Options) {
	var tried []string
	try := func(dir string) bool {
		t, err := tokenize.Load(os.DirFS(dir), ".")
		if err == nil {
			m.Tokenizer, m.TokenizerDir, m.TokenizerError = t, dir, nil
			return true
		}
		tried = append(tried, dir)
		return false
	}
	if o.TokenizerDir != "" {
		if !try(o.TokenizerDir) {
			m.Tokenizer = nil
			m.TokenizerError = fmt.Errorf("there is no tokenizer in %s; choose a folder with vocab.json and merges.txt", o.TokenizerDir)
		}
		return
	}
	if env := os.Getenv(tokenizerEnv); env != "" && try(env) {
		return
	}
	for up := filepath.Dir(abs); ; up = filepath.Dir(up) {
		for _, sub := range []string{"tokenizer", filepath.Join("data", "clip_tokenizer")} {
			dir := filepath.Join(up, sub)
			if _, err := os.Stat(filepath.Join(dir, "vocab.json")); err == nil && try(dir) {
				return
			}
		}
		if up == filepath.Dir(up) {
			break
		}
	}
	m.TokenizerError = fmt.Errorf("the model %s has no tokenizer: put vocab.json and merges.txt into its folder tokenizer, or name a folder with them in %s", m.Name, tokenizerEnv)
}

// Hash is the first ten hex digits of the SHA-256 of the denoiser's weights (of its shards in order), as A1111 writes it;
// "" where they cannot be read. The first call reads the whole file: make it away from anything that a person waits for.
func (m *Model) Hash() string { return m.hash() }

func (m *Model) sum() string {
	file, err := checkpoint.ComponentFile(m.fsys, path.Join(m.dir, "unet"))
	if err != nil {
		return ""
	}
	files, err := checkpoint.Files(m.fsys, file)
	if err != nil {
		return ""
	}
	h := sha256.New()
	for _, name := range files {
		f, err := m.fsys.Open(name)
		if err != nil {
			return ""
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return ""
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:10]
}

// Close releases the weights. No part may be used afterwards.
func (m *Model) Close() error {
	parts := []Part{m.TextEncoder, m.UNet, m.VAE}
	if m.Upscaler != nil {
		parts = append(parts, *m.Upscaler)
	}
	var errs []error
	for _, p := range parts {
		if p.Weights != nil {
			errs = append(errs, p.Weights.Close())
		}
	}
	return errors.Join(errs...)
}
