// Package lora reads files of low-rank adapters (Hu et al. 2021) and adds them to a model's weights: W + Σ weight·scale·up·down.
//
// Files come from several trainers, which name the layers in their own ways: kohya's scripts and LyCORIS, peft, and diffusers of
// several years. A layer's scale is alpha/rank, or 1 where the file has no alpha for it.
package lora

import (
	"fmt"
	"slices"
	"strings"

	"atelier/models/checkpoint"
)

// File is the adapters of one file.
type File struct {
	Name    string // for messages
	modules map[string]*module
	base    string   // the family that its metadata says it was made for; "" where silent
	strange []string // tensors that are no part of an adapter
}

// module is the adapter of one layer.
type module struct {
	down, up checkpoint.Tensor // [rank in …] and [out rank …]
	mid      checkpoint.Tensor // of convolutions taken apart further: [rank rank kh kw]; no Data otherwise
	has      [3]bool
	alpha    float64
	scaled   bool // alpha is given
}

// The three factors of an adapter.
const (
	down = iota
	up
	mid
)

// endings are what trainers write after a layer's name, and which factor it is. The longest come first.
var endings = []struct {
	ending string
	factor int
}{
	{".lora_linear_layer.down.weight", down}, {".lora_linear_layer.up.weight", up},
	{".lora_down.weight", down}, {".lora_up.weight", up}, {".lora_mid.weight", mid},
	{".lora.down.weight", down}, {".lora.up.weight", up},
	{".lora_A.default.weight", down}, {".lora_B.default.weight", up},
	{".lora_A.weight", down}, {".lora_B.weight", up},
	{"_lora.down.weight", down}, {"_lora.up.weight", up},
}

// foreign are the marks of other kinds of adapters.
var foreign = []struct{ mark, name string }{
	{"dora_scale", "DoRA, whose layers also have a magnitude"}, {"lora_magnitude_vector", "DoRA, whose layers also have a magnitude"},
	{"hada_w1", "LoHa, products of two low-rank factors"}, {"lokr_w1", "LoKr, Kronecker products"}, {"oft_blocks", "OFT, rotations"},
	{"oft_diag", "OFT, rotations"},
}

// Read takes the adapters from an open file, which must stay open.
func Read(name string, t checkpoint.Tensors) (*File, error) {
	f := &File{Name: name, modules: map[string]*module{}, base: t.Metadata()["ss_base_model_version"]}
	if b := t.Metadata()["modelspec.architecture"]; b != "" {
		f.base = b
	}
	for _, key := range t.Names() {
		for _, k := range foreign {
			if strings.Contains(key, k.mark) {
				return nil, fmt.Errorf("%s holds %s: this program adds LoRA and LoCon only; choose another version of the file", name, k.name)
			}
		}
		x, _ := t.Get(key)
		if layer, ok := strings.CutSuffix(key, ".alpha"); ok {
			v, err := x.Float32s()
			if err != nil || len(v) != 1 || v[0]-v[0] != 0 {
				return nil, fmt.Errorf("%s: %s is not a number", name, key)
			}
			m := f.module(layerName(layer))
			m.alpha, m.scaled = float64(v[0]), true
			continue
		}
		if layer, factor, ok := split(key); ok {
			f.module(layer).set(factor, x)
		} else {
			f.strange = append(f.strange, key)
		}
	}
	if len(f.modules) == 0 {
		return nil, fmt.Errorf("%s is not a LoRA: none of its %d tensors is a factor of one", name, len(t.Names()))
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, f.fromMetadata(t.Metadata()[peftMetadata])
}

func (f *File) module(layer string) *module {
	m := f.modules[layer]
	if m == nil {
		m = &module{}
		f.modules[layer] = m
	}
	return m
}

func (m *module) set(factor int, t checkpoint.Tensor) {
	m.has[factor] = true
	switch factor {
	case down:
		m.down = t
	case up:
		m.up = t
	case mid:
		m.mid = t
	}
}

func (m *module) rank() int { return m.down.Shape[0] }

// scale is what the product is multiplied by.
func (m *module) scale() float64 {
	if !m.scaled {
		return 1
	}
	return m.alpha / float64(m.rank())
}

// check refuses adapters without one of their factors, or whose factors do not fit each other.
func (f *File) check() error {
	for _, layer := range f.layers() {
		m := f.modules[layer]
		if !m.has[down] && !m.has[up] {
			return fmt.Errorf("%s: the layer %s has an alpha but no factors", f.Name, layer)
		}
		if !m.has[down] || !m.has[up] {
			return fmt.Errorf("%s: the layer %s has one of its two factors only; download the file again", f.Name, layer)
		}
		d, u := m.down.Shape, m.up.Shape
		fits := len(d) >= 2 && len(u) >= 2 && d[0] > 0 && u[1] == d[0] && elements(u[2:]) == 1
		if m.has[mid] {
			k := m.mid.Shape
			fits = fits && len(k) == 4 && k[0] == d[0] && k[1] == d[0] && elements(d[2:]) == 1
		}
		if !fits {
			return fmt.Errorf("%s: the factors of the layer %s have shapes %v and %v, which make no product", f.Name, layer, d, u)
		}
	}
	return nil
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func (f *File) layers() []string {
	names := make([]string, 0, len(f.modules))
	for n := range f.modules {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// split takes a tensor's name apart: the layer, as layerName has it, and the factor.
func split(key string) (layer string, factor int, ok bool) {
	for _, e := range endings {
		if rest, found := strings.CutSuffix(key, e.ending); found {
			return layerName(rest), e.factor, true
		}
	}
	return "", 0, false
}

// projections are what old files of diffusers call the four projections of an attention.
var projections = map[string]string{"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}

// textProjections are the same in a text encoder.
var textProjections = map[string]string{"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}

// layerName brings a layer's name to one of two forms: kohya's, with underscores, as it is, or a dotted path below "unet" or
// "text_encoder".
func layerName(name string) string {
	if strings.HasPrefix(name, "lora_") {
		return name
	}
	name = strings.TrimPrefix(name, "base_model.model.")
	if at, leaf, ok := cutLast(name, ".processor."); ok { // unet.….attn1.processor.to_q
		if to, known := projections[leaf]; known {
			name = at + "." + to
		}
	} else if at, leaf, ok := cutLast(name, ".self_attn."); ok {
		if to, known := textProjections[leaf]; known {
			name = at + ".self_attn." + to
		}
	}
	for _, known := range []string{"unet.", "text_encoder.", "text_encoder_2.", "diffusion_model."} {
		if strings.HasPrefix(name, known) {
			return name
		}
	}
	if strings.HasPrefix(name, "text_model.") {
		return "text_encoder." + name
	}
	return "unet." + name // files of a denoiser alone leave it out
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// few lists the first of some names.
func few(names []string) string {
	const shown = 6
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}
