package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"atelier/models/checkpoint"
	"atelier/models/tokenize"
)

// openFolder reads a whole model, or, from a folder without model_index.json, the networks that are in it.
func (m *Model) openFolder() error {
	index, err := m.index()
	if errors.Is(err, fs.ErrNotExist) {
		return m.openParts()
	}
	if err != nil {
		return err
	}
	if err := m.readJSON("atelier.json", &m.Card); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var problems []string
	for _, p := range m.parts() {
		class, needed := index[p.name], p.name == "text_encoder" || p.name == "unet" || p.name == "vae"
		if class == "" && !needed {
			continue
		}
		if err := m.openPart(p.name, p.name, class, p.part); err != nil {
			problems = append(problems, err.Error())
		}
	}
	m.SchedulerClass = index["scheduler"]
	if m.SchedulerConfig, err = m.readScheduler(); err != nil {
		problems = append(problems, "scheduler/scheduler_config.json is missing")
	}
	if len(problems) > 0 {
		return fmt.Errorf("the model %s is not complete: %s", m.Name, strings.Join(problems, "; "))
	}
	if _, err := fs.Stat(m.fsys, path.Join(m.dir, "upscaler")); err == nil {
		m.Upscaler = &Part{Class: familyOf("upscaler").Classes[0]}
		if err := m.openWeights("upscaler", m.Upscaler); err != nil {
			return err
		}
	}
	return m.openTokenizers()
}

// parts lists the networks that have a folder with a configuration.
func (m *Model) parts() []struct {
	name string
	part *Part
} {
	return []struct {
		name string
		part *Part
	}{{"text_encoder", &m.TextEncoder}, {"text_encoder_2", &m.TextEncoder2}, {"unet", &m.UNet}, {"controlnet", &m.ControlNet}, {"vae", &m.VAE}, {"generator", &m.Generator}}
}

func (m *Model) readScheduler() ([]byte, error) {
	return fs.ReadFile(m.fsys, path.Join(m.dir, "scheduler", "scheduler_config.json"))
}

// openTokenizers reads the tokenizers of a folder that has some.
func (m *Model) openTokenizers() error {
	for _, t := range []struct {
		name string
		to   **tokenize.Tokenizer
	}{{"tokenizer", &m.Tokenizer}, {"tokenizer_2", &m.Tokenizer2}} {
		dir := path.Join(m.dir, t.name)
		loaded, err := tokenize.Load(m.fsys, dir)
		if _, missing := fs.Stat(m.fsys, dir); err != nil && missing == nil {
			return err // it has one, and that one is damaged
		}
		*t.to = loaded
		if t.name == "tokenizer" {
			m.TokenizerDir, m.TokenizerError = dir, err
		}
	}
	return nil
}

// openParts reads what networks a folder without an index has: in folders of their own, or one in the folder itself.
func (m *Model) openParts() error {
	found := false
	for _, p := range m.parts() {
		class := m.classIn(p.name)
		if class == "" {
			continue
		}
		if err := m.openPart(p.name, p.name, class, p.part); err != nil {
			return fmt.Errorf("the folder %s: %w", m.Name, err)
		}
		found = true
	}
	if found {
		if err := m.readJSON("atelier.json", &m.Card); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m.SchedulerConfig, _ = m.readScheduler() // a folder of parts may lack it
		return m.openTokenizers()
	}
	class := m.classIn(".")
	for _, p := range m.parts() {
		if slices.Contains(familyOf(p.name).Classes, class) {
			return m.openPart(p.name, ".", class, p.part)
		}
	}
	if slices.Contains(familyOf("taesd").Classes, class) {
		return m.openTiny(".")
	}
	if m.tinyIn(m.fsys, m.dir, tinyNames...); m.TinyEncoder.Here() || m.TinyDecoder.Here() {
		return nil
	}
	if class != "" {
		return fmt.Errorf("the folder %s holds a %s, which is no network that this program knows", m.Name, class)
	}
	return fmt.Errorf("%s is not a model folder: it has no model_index.json; choose a folder in the layout of diffusers, or a model file", m.Name)
}

// classIn is the class that config.json in a folder names; "" where there is none.
func (m *Model) classIn(dir string) string {
	var c struct {
		Class         string   `json:"_class_name"`
		Architectures []string `json:"architectures"`
	}
	if m.readJSON(path.Join(dir, "config.json"), &c) != nil {
		return ""
	}
	if c.Class == "" && len(c.Architectures) > 0 {
		return c.Architectures[0]
	}
	return c.Class
}

// openTiny opens both halves of a tiny autoencoder in the layout of diffusers.
func (m *Model) openTiny(dir string) error {
	var p Part
	if err := m.openWeights(dir, &p); err != nil {
		return err
	}
	p.Class = familyOf("taesd").Classes[0]
	m.TinyEncoder, m.TinyDecoder = p, p
	return nil
}

// index reads model_index.json: the class of each part.
func (m *Model) index() (map[string]string, error) {
	var raw map[string]json.RawMessage
	if err := m.readJSON("model_index.json", &raw); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
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

// openPart opens one network, in the folder dir; its errors are phrases for the list of what is missing.
func (m *Model) openPart(name, dir, class string, p *Part) error {
	if class == "" {
		return fmt.Errorf("model_index.json names no %s", name)
	}
	if tiny := familyOf("taesd"); name == "vae" && slices.Contains(tiny.Classes, class) {
		return m.openTiny(dir)
	}
	family := familyOf(name)
	if !slices.Contains(family.Classes, class) {
		return fmt.Errorf("its %s is a %s, and this program runs %s", name, class, strings.Join(family.Classes, " and "))
	}
	p.Class = class
	var raw json.RawMessage
	if err := m.readJSON(path.Join(dir, "config.json"), &raw); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s/config.json is missing", name)
		}
		return err
	}
	p.Config = raw
	return m.openWeights(dir, p)
}

func (m *Model) openWeights(dir string, p *Part) error {
	file, err := checkpoint.ComponentFile(m.fsys, path.Join(m.dir, dir))
	if err != nil {
		return fmt.Errorf("%s has no weights", dir)
	}
	p.File = path.Join(m.Name, dir, path.Base(file))
	if p.Weights, err = checkpoint.OpenFS(m.fsys, file); err != nil {
		return err
	}
	m.opened = append(m.opened, p.Weights)
	if p != &m.UNet && p != &m.Generator {
		return nil
	}
	m.weights, err = checkpoint.Files(m.fsys, file)
	return err
}
