package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/clip"
	"atelier/models/ldm"
	"atelier/models/lora"
	"atelier/models/nn"
	"atelier/models/unet"
)

// LoRA is a file of adapters that is added to a model's weights, 1 being as it was trained.
type LoRA struct {
	File   string
	Weight float64  // for the denoiser
	Text   *float64 // for the text encoders; nil for Weight
}

// loraKey tells selections of adapters apart.
func loraKey(list []LoRA) string {
	var b strings.Builder
	for _, l := range list {
		fmt.Fprintf(&b, "%q %v %v\n", l.File, l.Weight, l.text())
	}
	return b.String()
}

func (l LoRA) text() float64 {
	if l.Text != nil {
		return *l.Text
	}
	return l.Weight
}

// adapters keeps the LoRA files that were opened, and knows which are added to a model.
type adapters struct {
	open    map[string]opened
	added   string // key of the selection
	warning []string
}

type opened struct {
	file    *lora.File
	tensors checkpoint.Tensors
}

// use adds a selection to networks, in place of whatever was added before. Weights of other layers are not touched, so that
// devices keep them.
func (a *adapters) use(networks []lora.Network, list []LoRA) error {
	key := loraKey(list)
	if key == a.added {
		return nil
	}
	var uses []lora.Use
	for _, l := range list {
		o, ok := a.open[l.File]
		if !ok {
			var err error
			if o.file, o.tensors, err = lora.Open(l.File); err != nil {
				return err
			}
			if a.open == nil {
				a.open = map[string]opened{}
			}
			a.open[l.File] = o
		}
		uses = append(uses, lora.Use{File: o.file, UNet: l.Weight, Text: l.text()})
	}
	warning, err := lora.Apply(networks, uses)
	if err != nil {
		return err
	}
	a.added, a.warning = key, warning
	return nil
}

func (a *adapters) close() {
	for _, o := range a.open {
		o.tensors.Close()
	}
	a.open = nil
}

// conditioned is the networks of a model that adapters may change, each nil where the model lacks it.
type conditioned struct {
	text, text2 *clip.Model
	unet        *unet.Model
	scopes      map[string]*nn.Scope
}

// newConditioned builds those of a model's networks that have one of the names, or all without names.
func newConditioned(m *catalog.Model, names ...string) (c conditioned, err error) {
	c.scopes = map[string]*nn.Scope{}
	wanted := func(name string, p *catalog.Part) bool {
		return err == nil && p.Here() && (len(names) == 0 || slices.Contains(names, name))
	}
	if wanted(textEncoder, &m.TextEncoder) {
		c.text, c.scopes[textEncoder], err = newText(m, &m.TextEncoder)
	}
	if wanted(textEncoder2, &m.TextEncoder2) {
		c.text2, c.scopes[textEncoder2], err = newText(m, &m.TextEncoder2)
	}
	if wanted(denoiser, &m.UNet) {
		c.unet, c.scopes[denoiser], err = newUNet(m)
	}
	return c, err
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
