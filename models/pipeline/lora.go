package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/clip"
	"atelier/models/ldm"
	"atelier/models/lora"
	"atelier/models/nn"
	"atelier/models/unet"
)

// adapters keeps the LoRA files that were opened, and knows which are added to a model.
type adapters struct {
	folders  []string             // where files are looked for first
	open     map[string]opened    // by name
	stale    []checkpoint.Tensors // of files that were replaced, which the model's parameters may still read
	added    string               // key of the selection: its files, their state and their weights
	warnings []string
}

type opened struct {
	stamp   string // tells the state of the file that was opened from others
	path    string
	file    *lora.File
	tensors checkpoint.Tensors
}

// use adds a selection to networks, in place of whatever was added before. Weights of other layers are not touched, so that
// devices keep them. model is the path of the model, near which files are looked for.
func (a *adapters) use(networks []lora.Network, list []LoRA, model string) error {
	key := ""
	var uses []lora.Use
	for _, l := range list {
		o, err := a.get(l.Name, model)
		if err != nil {
			return err
		}
		key += fmt.Sprintf("%s %v %v\n", o.stamp, l.Text, l.UNet)
		uses = append(uses, lora.Use{File: o.file, UNet: l.UNet, Text: l.Text})
	}
	if key == a.added {
		return nil
	}
	warnings, err := lora.Apply(networks, uses)
	if err != nil {
		return err
	}
	a.added, a.warnings = key, warnings
	for _, t := range a.stale {
		t.Close()
	}
	a.stale = nil
	return nil
}

// get opens the file of an adapter, again where it is another than before: training writes a new one under the old name.
func (a *adapters) get(name, model string) (opened, error) {
	path, err := a.find(name, model)
	if err != nil {
		return opened{}, err
	}
	stamp, err := stampOf(path)
	if err != nil {
		return opened{}, fmt.Errorf("the LoRA cannot be read: %w", err)
	}
	old, ok := a.open[name]
	if ok && old.stamp == stamp {
		return old, nil
	}
	o := opened{stamp: stamp, path: path}
	if o.file, o.tensors, err = lora.Open(path); err != nil {
		return opened{}, err
	}
	if ok {
		a.stale = append(a.stale, old.tensors)
	}
	if a.open == nil {
		a.open = map[string]opened{}
	}
	a.open[name] = o
	return o, nil
}

// stampOf tells the state of a file from others, by its path, its size and the time of its last change.
func stampOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%q %d %d", path, info.Size(), info.ModTime().UnixNano()), nil
}

// loraFolders are where programs keep adapters, seen from a model's folder; loraEndings are what their files end in.
var (
	loraFolders = []string{".", "loras", "lora", "Lora"}
	loraEndings = []string{"", ".safetensors", ".pt", ".ckpt", ".bin"}
)

// find gives the file of an adapter: name itself where it is one, else the file of that name in the folders that were set,
// or in those that programs keep beside their models.
func (a *adapters) find(name, model string) (string, error) {
	dirs := append([]string{""}, a.folders...)
	if model != "" {
		near := model
		for range 3 {
			for _, f := range loraFolders {
				dirs = append(dirs, filepath.Join(near, f))
			}
			near = filepath.Dir(near)
		}
	}
	for _, dir := range dirs {
		for _, ending := range loraEndings {
			path := filepath.Join(dir, name+ending)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("there is no LoRA %q: put %s.safetensors into a folder \"loras\" beside the model, or give its path", name, name)
}

func (a *adapters) close() {
	for _, o := range a.open {
		o.tensors.Close()
	}
	for _, t := range a.stale {
		t.Close()
	}
	a.open, a.stale = nil, nil
}

// conditioned is the networks of a model that adapters may change, each nil where the model lacks it.
type conditioned struct {
	text, text2 *clip.Model
	unet        *unet.Model
	scopes      map[string]*nn.Scope
}

// newConditioned builds those of a model's networks that have one of the names, or all without names, of the weights that fresh
// gives or their own. Its error says what is wrong with each of them.
func newConditioned(m *catalog.Model, fresh origin, names ...string) (conditioned, error) {
	c := conditioned{scopes: map[string]*nn.Scope{}}
	wanted := func(name string, p *catalog.Part) bool {
		return p.Here() && (len(names) == 0 || slices.Contains(names, name))
	}
	var errs [3]error
	if wanted(textEncoder, &m.TextEncoder) {
		c.text, c.scopes[textEncoder], errs[0] = newText(m, &m.TextEncoder, fresh)
	}
	if wanted(textEncoder2, &m.TextEncoder2) {
		c.text2, c.scopes[textEncoder2], errs[1] = newText(m, &m.TextEncoder2, fresh)
	}
	if wanted(denoiser, &m.UNet) {
		c.unet, c.scopes[denoiser], errs[2] = newUNet(m, fresh)
	}
	return c, together(errs[:]...)
}

// together makes one error of several, each part of a sentence; nil where all are.
func together(errs ...error) error {
	var all error
	for _, err := range errs {
		switch {
		case err == nil:
		case all == nil:
			all = err
		default:
			all = fmt.Errorf("%w. And %w", all, err)
		}
	}
	return all
}

// Names of networks in models' folders and in files of adapters.
const (
	textEncoder  = "text_encoder"
	textEncoder2 = "text_encoder_2"
	denoiser     = "unet"
)

// networks lists what adapters may change.
func (c *conditioned) networks() []lora.Network {
	var list []lora.Network
	for _, name := range []string{textEncoder, textEncoder2, denoiser} {
		s := c.scopes[name]
		if s == nil {
			continue
		}
		n := lora.Network{Name: name, Params: s.Params(), Alone: c.text2 == nil}
		if name == denoiser {
			n.Table = ldm.UNetTable(len(c.unet.Channels), c.unet.Layers[0])
		}
		list = append(list, n)
	}
	return list
}

// adapt adds the adapters that a request asks for to the weights.
func (t *Text2Image) adapt(r Request) error {
	s, err := newScript(r)
	if err != nil {
		return err
	}
	return t.adapters.use(t.parts.networks(), s.loras, t.model.Path)
}

// SetLoRAFolders says where the adapters that prompts name are looked for, before the folders beside the model.
func (t *Text2Image) SetLoRAFolders(dirs ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.adapters.folders = dirs
}
