package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"atelier/app/engine"
	"atelier/app/modelstore"
	"atelier/models/pipeline"
	"atelier/ui"
)

// choice is a model that the window offers.
type choice struct {
	info pipeline.ModelInfo // with the name alone while it was not opened
	path string             // of its file or folder; empty for the built-in model
	base bool               // training can start from it
	own  bool               // it is built in or was trained here, and need not be known to the model manager
}

// Models lists the models that can be asked for.
func (s *studio) Models() []pipeline.ModelInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]pipeline.ModelInfo, len(s.models))
	for i, c := range s.models {
		out[i] = c.info
	}
	return out
}

// OpenModel opens a model of the list and says what it wants.
func (s *studio) OpenModel(ctx context.Context, name string) (pipeline.ModelInfo, error) {
	if err := s.started(ctx); err != nil {
		return pipeline.ModelInfo{}, err
	}
	if err := s.busy.take(ctx); err != nil { // another model may have to make room
		return pipeline.ModelInfo{}, err
	}
	defer s.busy.leave()
	pipe, err := s.pipe(name, "")
	if err != nil {
		return pipeline.ModelInfo{}, err
	}
	info := pipe.Info()
	info.Name = name
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.models {
		if s.models[i].info.Name == name {
			s.models[i].info = info
		}
	}
	return info, nil
}

// pipe opens the model of a name, with the autoencoder of a path where one is given, and with room made by closing others but the built-in one. The caller has the turn.
func (s *studio) pipe(name, vae string) (pipeline.Pipeline, error) {
	s.mu.Lock()
	at := slices.IndexFunc(s.models, func(c choice) bool { return c.info.Name == name })
	path := ""
	if at >= 0 {
		path = s.models[at].path
	}
	s.mu.Unlock()
	if at < 0 && name != "" {
		return nil, fmt.Errorf("the model %s is not in the list any more; choose another one", name)
	}
	key := engine.With(path, vae)
	s.pipes.Only("", key)
	pipe, err := s.pipes.Get(key)
	if err != nil {
		return nil, err
	}
	if t, ok := pipe.(*pipeline.Text2Image); ok {
		t.SetLoRAFolders(s.folders("loras")...)
		t.SetEmbeddingFolders(s.folders("embeddings")...)
	}
	return pipe, nil
}

// SetEntries takes over what the model manager knows.
func (s *studio) SetEntries(entries []modelstore.Entry) {
	here := map[string]bool{"": true}
	folders := map[string][]string{}
	var adapters []ui.Named
	var controls []ui.ControlNet
	var upscalers []ui.Named
	vaes, families := map[string][]ui.Named{}, map[string]string{}
	for _, e := range entries {
		if words := wordsFor(e); words != "" && e.Problem == "" {
			adapters = append(adapters, ui.Named{ID: words, Label: e.Name})
		}
		if e.Kind == modelstore.ControlNet && e.Usable() {
			if kind, err := engine.ControlKind(e.Path); err == nil {
				controls = append(controls, ui.ControlNet{Named: ui.Named{ID: e.Path, Label: e.Name}, Kind: kind})
			}
		}
		kind := map[modelstore.Kind]string{modelstore.LoRA: "loras", modelstore.Embedding: "embeddings"}[e.Kind]
		if dir := filepath.Dir(e.Path); kind != "" && e.Problem == "" && !slices.Contains(folders[kind], dir) {
			folders[kind] = append(folders[kind], dir)
		}
		if e.Kind == modelstore.Upscaler && e.Usable() {
			upscalers = append(upscalers, ui.Named{ID: e.Path, Label: e.Name})
		}
		if e.Kind == modelstore.VAE && e.Usable() {
			vaes[e.Family] = append(vaes[e.Family], ui.Named{ID: e.Path, Label: e.Name})
		}
		if e.Whole() && e.Usable() {
			families[e.Path] = e.Family
			here[e.Path] = true
			s.offer(e.Name, e.Path)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.linked, s.adapters, s.controls, s.vaes, s.families, s.upscalers = folders, adapters, controls, vaes, families, upscalers
	s.models = slices.DeleteFunc(s.models, func(c choice) bool { return !here[c.path] && !c.own })
}

// wordsFor is what a prompt says to have an adapter or a learned word; empty for other models.
func wordsFor(e modelstore.Entry) string {
	switch e.Kind {
	case modelstore.LoRA:
		words := "<lora:" + stem(e.Path) + ":1>"
		if len(e.Triggers) > 0 {
			words = e.Triggers[0] + " " + words
		}
		return words
	case modelstore.Embedding:
		return stem(e.Path)
	}
	return ""
}

// Adapters lists what prompts can name.
func (s *studio) Adapters() []ui.Named {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.adapters
}

// ControlNets lists what pictures can follow.
func (s *studio) ControlNets() []ui.ControlNet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.controls
}

// VAEs lists the autoencoders of a model's family.
func (s *studio) VAEs(model string) []ui.Named {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.models {
		if family := s.families[c.path]; c.info.Name == model && family != "" {
			return s.vaes[family]
		}
	}
	return nil
}

// Upscalers lists what pictures can be enlarged by.
func (s *studio) Upscalers() []ui.Named {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.upscalers
}

// NameOf is the name under which a model is in the list.
func (s *studio) NameOf(path string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.models {
		if c.path == path {
			return c.info.Name, true
		}
	}
	return "", false
}

// offer puts a model into the list under a name of its own, unless it is there; it gives the name.
func (s *studio) offer(name, path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := func(name string) bool {
		return slices.ContainsFunc(s.models, func(c choice) bool { return c.info.Name == name })
	}
	for _, c := range s.models {
		if c.path == path {
			return c.info.Name
		}
	}
	own := name
	for i := 2; taken(own); i++ {
		own = fmt.Sprintf("%s (%d)", name, i)
	}
	s.models = append(s.models, choice{info: pipeline.ModelInfo{Name: own}, path: path, base: wholeModel(path)})
	return own
}

// wholeModel tells a file of a whole model, and a folder of its parts, from a folder of one network.
func wholeModel(path string) bool {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		_, err = os.Stat(filepath.Join(path, "model_index.json"))
	}
	return err == nil
}
