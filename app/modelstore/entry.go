// Package modelstore knows the models on this machine: those of the studio's own folder, and those of other programs, which stay
// where they are. It finds them, says what each is and whether it can be used, and brings further ones in.
package modelstore

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what a model file is for.
type Kind string

// The kinds of models. A checkpoint is a whole model, a generator a small one that makes pictures in one step, as training here makes them; the
// others are parts or helpers of one.
const (
	Checkpoint  Kind = "checkpoint"
	Generator   Kind = "generator"
	UNet        Kind = "unet"
	VAE         Kind = "vae"
	TextEncoder Kind = "text_encoder"
	LoRA        Kind = "lora"
	ControlNet  Kind = "controlnet"
	Upscaler    Kind = "upscaler"
	Embedding   Kind = "embedding"
	TAESD       Kind = "taesd"
	LLM         Kind = "llm"
	Unknown     Kind = "unknown"
)

// Kinds lists all kinds in the order of a menu.
func Kinds() []Kind {
	return []Kind{Checkpoint, Generator, UNet, VAE, TextEncoder, LoRA, ControlNet, Upscaler, Embedding, TAESD, LLM, Unknown}
}

// Families that models belong to. Those that this program does not run have names of their own, as the file tells.
const (
	SD1     = "Stable Diffusion 1"
	SD2     = "Stable Diffusion 2"
	SDXL    = "Stable Diffusion XL"
	Refiner = "Stable Diffusion XL Refiner"
)

// Entry is a model: a file, or a folder that holds one.
type Entry struct {
	Name     string   `json:"name"`
	Path     string   `json:"path"`
	Kind     Kind     `json:"kind"`
	Family   string   `json:"family,omitempty"`
	Variants []string `json:"variants,omitempty"` // such as "inpainting", "v-prediction", "LCM"
	Format   string   `json:"format"`             // safetensors, pickle, gguf, or diffusers for a folder
	DType    string   `json:"dtype,omitempty"`    // of most of its numbers
	Params   int64    `json:"parameters,omitempty"`
	Size     int64    `json:"size"`               // bytes on the disk
	Program  Program  `json:"program"`            // whose folder it is in
	Folder   string   `json:"folder"`             // the linked folder that it was found in
	Source   string   `json:"source,omitempty"`   // where it came from, as far as the folder tells: org/name@revision
	Modified string   `json:"modified,omitempty"` // RFC 3339

	Card
	Memory  Memory `json:"memory"`
	Problem string `json:"problem,omitempty"` // one sentence on why it can't be used
	Note    string `json:"note,omitempty"`    // one sentence on what else a person should know
	Hashes
}

// Card is what people say about a model, in its file or beside it.
type Card struct {
	Title       string   `json:"title,omitempty"`
	Author      string   `json:"author,omitempty"`
	Description string   `json:"description,omitempty"`
	Licence     string   `json:"licence,omitempty"`
	LicenceURL  string   `json:"licence_url,omitempty"`
	Triggers    []string `json:"trigger_words,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Base        string   `json:"base_model,omitempty"`
	Facts       []Fact   `json:"facts,omitempty"`     // further ones, in the order to show them
	Thumbnail   string   `json:"thumbnail,omitempty"` // a picture file; "in the file" for one inside the model file
}

// Fact is what a file says of itself under a name.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Memory is how much a device will hold, in bytes, and how that is known.
type Memory struct {
	Bytes int64  `json:"bytes"`
	Least int64  `json:"least_bytes,omitempty"` // with one network on the device at a time; 0 unknown
	Basis string `json:"basis,omitempty"`       // a clause
}

// Hashes name a file's contents. All are empty until they are asked for.
type Hashes struct {
	SHA256 string `json:"sha256,omitempty"`
	Short  string `json:"hash,omitempty"`   // the first ten digits, as A1111 writes them
	AutoV2 string `json:"autov2,omitempty"` // the same in capitals, as Civitai does
	AutoV3 string `json:"autov3,omitempty"` // the first twelve of what follows the header of a safetensors file
}

// ParamsText says how many numbers a model has, as people do; "" where that is not known.
func (e *Entry) ParamsText() string {
	switch n := float64(e.Params); {
	case n <= 0:
		return ""
	case n < 1e4:
		return strconv.FormatInt(e.Params, 10)
	case n < 1e6:
		return fmt.Sprintf("%.0f thousand", n/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f million", n/1e6)
	default:
		return fmt.Sprintf("%.1f billion", n/1e9)
	}
}

// Usable reports whether this version can work with the model.
func (e *Entry) Usable() bool { return e.Problem == "" && e.Kind != LLM && e.Kind != Unknown }

// Whole reports whether the model makes pictures by itself.
func (e *Entry) Whole() bool { return e.Kind == Checkpoint || e.Kind == Generator }

// Query picks entries out of a list. Zero values pick all.
type Query struct {
	Words  string // all of them must occur, in any case, in the name, title, family, kind, tags, trigger words, licence or path, or begin the SHA-256
	Kind   Kind
	Family string // the beginning of a family's name, in any case
	Usable bool   // only those that this version can work with
	Sort   string // name (the default), size, family, kind, params or date
}

// Sorts lists what Query.Sort may be.
func Sorts() []string { return []string{"name", "size", "family", "kind", "params", "date"} }

// Search gives the entries that a query picks, sorted; the largest or the newest first where the order is by size, parameters or date.
func Search(entries []Entry, q Query) []Entry {
	words := strings.Fields(strings.ToLower(q.Words))
	var out []Entry
	for _, e := range entries {
		switch {
		case q.Kind != "" && e.Kind != q.Kind, q.Usable && !e.Usable():
			continue
		case !strings.HasPrefix(strings.ToLower(e.Family), strings.ToLower(q.Family)):
			continue
		}
		text := strings.ToLower(strings.Join(append(append([]string{e.Name, e.Title, e.Family, string(e.Kind), e.Licence, e.Base, e.Author, e.Path}, e.Tags...), append(e.Triggers, e.Variants...)...), "\n"))
		const digits = 8 // of a hash, below which a word would find some by chance
		if !slices.ContainsFunc(words, func(w string) bool {
			return !strings.Contains(text, w) && (len(w) < digits || !strings.HasPrefix(e.SHA256, w))
		}) {
			out = append(out, e)
		}
	}
	sortBy(out, q.Sort)
	return out
}

func sortBy(list []Entry, order string) {
	name := func(a, b Entry) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Path, b.Path))
	}
	by := map[string]func(a, b Entry) int{
		"size":   func(a, b Entry) int { return cmp.Compare(b.Size, a.Size) },
		"params": func(a, b Entry) int { return cmp.Compare(b.Params, a.Params) },
		"date":   func(a, b Entry) int { return cmp.Compare(b.Modified, a.Modified) },
		"family": func(a, b Entry) int { return cmp.Compare(a.Family, b.Family) },
		"kind": func(a, b Entry) int {
			return cmp.Compare(slices.Index(Kinds(), a.Kind), slices.Index(Kinds(), b.Kind))
		},
	}[order]
	slices.SortStableFunc(list, func(a, b Entry) int {
		if by != nil {
			return cmp.Or(by(a, b), name(a, b))
		}
		return name(a, b)
	})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
