package checkpoint

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Embedding is a textual inversion (Gal et al. 2022): vectors that stand for a word of a prompt in place of the vocabulary's.
type Embedding struct {
	Names   []string // that prompts call it by; the first is the usual one
	Vectors []Vectors
}

// Vectors are an embedding's rows for one text encoder.
type Vectors struct {
	Encoder string // "clip_l" or "clip_g" in files for SDXL, "" where the model's only encoder is meant
	Width   int
	Data    []float32 // rows × Width
}

// Rows is how many tokens the word takes.
func (v Vectors) Rows() int { return len(v.Data) / v.Width }

// maxRows bounds the tokens of a word: a prompt holds no more.
const maxRows = 75

// ReadEmbeddings reads a textual inversion in any of its forms: diffusers' learned_embeds.bin or .safetensors, {token: vector}
// of one word or several; A1111's .pt, string_to_param with the word's vectors; .safetensors with emb_params, or for SDXL with
// clip_l and clip_g. Words of the last three go by the file's name, and by the name within where there is one.
func ReadEmbeddings(name string) ([]Embedding, error) {
	ts, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer ts.Close()
	list, err := embeddings(ts, filepath.Base(name))
	if err != nil {
		return nil, &FormatError{name, err.Error(), "choose a textual inversion: learned_embeds.bin, or the .pt or .safetensors of one word"}
	}
	return list, nil
}

func embeddings(ts Tensors, base string) ([]Embedding, error) {
	one := Embedding{Names: []string{strings.TrimSuffix(base, path.Ext(base))}}
	if n := ts.Metadata()["name"]; n != "" && n != one.Names[0] {
		one.Names = append(one.Names, n)
	}
	var words []Embedding
	for _, name := range ts.Names() {
		t, _ := ts.Get(name)
		encoder := ""
		switch {
		case strings.HasPrefix(name, "string_to_token."):
			continue // the placeholder's id in the tokenizer, which has no meaning here
		case name == "clip_l" || name == "clip_g":
			encoder = name
		case name == "emb_params" || strings.HasPrefix(name, "string_to_param."):
		default:
			v, err := vectors(t, "")
			if err != nil {
				return nil, err
			}
			words = append(words, Embedding{[]string{name}, []Vectors{v}})
			continue
		}
		v, err := vectors(t, encoder)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(one.Vectors, func(o Vectors) bool { return o.Encoder == encoder }) {
			return nil, fmt.Errorf("it holds vectors for the same encoder twice")
		}
		one.Vectors = append(one.Vectors, v)
	}
	switch {
	case len(one.Vectors) > 0 && len(words) > 0:
		return nil, fmt.Errorf("it holds %s beside the vectors of a word", quote(words[0].Names[0]))
	case len(one.Vectors) > 1 && (len(one.Vectors) != 2 || one.Vectors[0].Encoder == "" || one.Vectors[0].Rows() != one.Vectors[1].Rows()):
		return nil, fmt.Errorf("its encoders' vectors do not belong to one word")
	case len(one.Vectors) > 0:
		return []Embedding{one}, nil
	case len(words) == 0:
		return nil, fmt.Errorf("it holds no vectors")
	}
	return words, nil
}

// vectors reads a tensor [width] or [rows width].
func vectors(t Tensor, encoder string) (Vectors, error) {
	shape := t.Shape
	if len(shape) == 1 {
		shape = []int{1, shape[0]}
	}
	if len(shape) != 2 || shape[0] < 1 || shape[0] > maxRows || shape[1] < 1 || shape[1] > 1<<16 || t.DType == Bool {
		return Vectors{}, fmt.Errorf("%s has shape %v where one vector or up to %d are wanted", quote(t.Name), t.Shape, maxRows)
	}
	data, err := t.Float32s()
	return Vectors{encoder, shape[1], data}, err
}
