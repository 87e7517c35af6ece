package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"atelier/app/modelstore"
	"atelier/assets"
	"atelier/models/catalog"
	"atelier/models/pipeline"
)

// OpenModel opens a built-in model by its name, or another by its path or by the name that the list of models has it under. A model
// without a vocabulary of its own takes CLIP's from wherever it is on this machine, as its TokenizerDir says.
func OpenModel(name string) (*catalog.Model, error) {
	if name == "" {
		name = assets.StickerName
	}
	if built, ok := assets.Model(name); ok {
		return catalog.OpenFS(built, ".", name)
	}
	store, storeErr := modelstore.Open(modelstore.Options{})
	name = ModelPath(name)
	m, err := catalog.Open(name, catalog.Options{})
	if err != nil || m.Tokenizer != nil || !m.TextEncoder.Here() || storeErr != nil {
		return m, err
	}
	vocabulary, err := store.Vocabulary()
	if err != nil {
		m.TokenizerError = fmt.Errorf("the model %s comes without a vocabulary, and %w", m.Name, err)
		return m, nil
	}
	m.Close()
	return catalog.Open(name, catalog.Options{TokenizerDir: vocabulary.Dir})
}

// ModelPath is the path of a model that the list of models has under a name; a path, and a name that it lacks, stay as they are.
func ModelPath(name string) string {
	if _, err := os.Stat(name); err == nil {
		return name
	}
	store, err := modelstore.Open(modelstore.Options{})
	if err != nil {
		return name
	}
	e, err := store.Find(name)
	if err != nil {
		return name
	}
	return e.Path
}

// helpers tells a pipeline where LoRAs and learned words are that prompts name: in the folders of all programs, too.
func helpers(p pipeline.Pipeline) {
	t, ok := p.(*pipeline.Text2Image)
	if !ok {
		return
	}
	if store, err := modelstore.Open(modelstore.Options{}); err == nil {
		t.SetLoRAFolders(store.FoldersOf(modelstore.LoRA)...)
		t.SetEmbeddingFolders(store.FoldersOf(modelstore.Embedding)...)
	}
}

// Pipelines keeps the pipelines that were opened on one device. It is safe for concurrent use.
type Pipelines struct {
	engine    *Engine
	mu        sync.Mutex
	open      map[string]*opened
	upscalers map[string]*upscaler
	controls  map[string]*control
}

// upscaler is an open upscaler.
type upscaler struct {
	model *catalog.Model
	*pipeline.Upscaler
}

func (u *upscaler) close() {
	u.Upscaler.Close()
	u.model.Close()
}

// Upscaler opens the upscaler of a model by name or path, or gives the one that is open already.
func (p *Pipelines) Upscaler(name string) (*pipeline.Upscaler, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.upscalers[name]; u != nil {
		return u.Upscaler, nil
	}
	m, err := OpenModel(name)
	if err != nil {
		return nil, err
	}
	u, err := pipeline.NewUpscaler(p.engine.Device, m)
	if err != nil {
		m.Close()
		return nil, err
	}
	p.upscalers[name] = &upscaler{m, u}
	return u, nil
}

// control is an open ControlNet.
type control struct {
	model *catalog.Model
	net   *pipeline.ControlNet
}

// openControl opens the ControlNet of a path, or of a name that the list of models has it under.
func openControl(name string) (*control, error) {
	m, err := catalog.Open(ModelPath(name), catalog.Options{})
	if err != nil {
		return nil, err
	}
	net, err := pipeline.NewControlNet(m)
	if err != nil {
		m.Close()
		return nil, err
	}
	return &control{m, net}, nil
}

// ControlKind is which models can follow the ControlNet of a path; see pipeline.ModelInfo.Follows.
func ControlKind(path string) (string, error) {
	c, err := openControl(path)
	if err != nil {
		return "", err
	}
	defer c.model.Close()
	return c.net.Kind(), nil
}

// Follow opens the ControlNets that a request names and does not hold yet. They stay open, mapped and not read, until Close, for what
// a pipeline keeps on the device comes from them.
func (p *Pipelines) Follow(r *pipeline.Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Controls = slices.Clone(r.Controls)
	for i := range r.Controls {
		c := &r.Controls[i]
		if c.Net != nil {
			continue
		}
		if p.controls[c.Model] == nil {
			opened, err := openControl(c.Model)
			if err != nil {
				return err
			}
			p.controls[c.Model] = opened
		}
		c.Net = p.controls[c.Model].net
	}
	return nil
}

type opened struct {
	model *catalog.Model
	pipe  pipeline.Pipeline
}

// NewPipelines has nothing open yet.
func NewPipelines(e *Engine) *Pipelines {
	return &Pipelines{engine: e, open: map[string]*opened{}, upscalers: map[string]*upscaler{}, controls: map[string]*control{}}
}

// With names a model whose autoencoder is another one than its own; an empty path leaves that.
func With(name, vae string) string {
	if vae == "" {
		return name
	}
	return name + apart + vae
}

// apart stands between a model's name and the path of another autoencoder.
const apart = "\x00"

// Get opens the model under a name or path, or under what With makes of that, or gives the one that is open already.
func (p *Pipelines) Get(name string) (pipeline.Pipeline, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.open[name]; o != nil {
		return o.pipe, nil
	}
	own, vae, other := strings.Cut(name, apart)
	m, err := OpenModel(own)
	if err == nil && other {
		if err = m.UseVAE(ModelPath(vae)); err != nil {
			m.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	pipe, err := pipeline.Open(p.engine.Device, m)
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("the model does not open: %w", err)
	}
	helpers(pipe)
	p.open[name] = &opened{m, pipe}
	return pipe, nil
}

// Vocabulary is the folder whose vocabulary an open model reads words with, where that is not the model's own; else "".
func (p *Pipelines) Vocabulary(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.open[name]; o != nil && o.model.Tokenizer != nil && filepath.IsAbs(o.model.TokenizerDir) {
		return o.model.TokenizerDir
	}
	return ""
}

// Only closes what is open under other names than these. Nothing of it may be running.
func (p *Pipelines) Only(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, o := range p.open {
		if !slices.Contains(names, name) {
			o.pipe.Close()
			o.model.Close()
			delete(p.open, name)
		}
	}
	for name, u := range p.upscalers {
		if !slices.Contains(names, name) {
			u.close()
			delete(p.upscalers, name)
		}
	}
}

// Close frees every pipeline and closes its model.
func (p *Pipelines) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, o := range p.open {
		o.pipe.Close()
		o.model.Close()
		delete(p.open, name)
	}
	for name, u := range p.upscalers {
		u.close()
		delete(p.upscalers, name)
	}
	for path, c := range p.controls {
		c.model.Close()
		delete(p.controls, path)
	}
}
