// Package catalog knows which model families there are and opens models: what is in them, not what it computes.
//
// A model is a folder in the layout of diffusers, a folder or a file with one of its networks, or one file with all of them in
// the layout of the original code. In a model's folder model_index.json names the parts, and each part has a folder with its
// configuration and its weights. Two additions are ours, both optional: a folder "upscaler" with a generator that enlarges
// the decoded picture, and a file "atelier.json" with the model's name, defaults and example prompts. A folder may lie on
// disk or inside the program; nothing else differs.
package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	{Part: "text_encoder_2", Classes: []string{"CLIPTextModelWithProjection", "CLIPTextModel"}, Package: "clip"},
	{Part: "unet", Classes: []string{"UNet2DConditionModel"}, Package: "unet"},
	{Part: "controlnet", Classes: []string{"ControlNetModel"}, Package: "unet"},
	{Part: "vae", Classes: []string{"AutoencoderKL"}, Package: "vae"},
	{Part: "taesd", Classes: []string{"AutoencoderTiny"}, Package: "taesd"},
	{Part: "generator", Classes: []string{"StyleGenerator", "ConditionalVAE", "Glow"}, Package: "gan, cvae, flow"},
	{Part: "upscaler", Classes: []string{"SRVGGNetCompact", "RRDBNet"}, Package: "gan"},
}

// Part is one network of a model: its configuration and its weights. The zero value is a network that the model lacks.
type Part struct {
	Class     string
	Config    []byte // config.json; nil for parts without one, whose families take it from the weights' shapes
	Overrides []byte // where Config is nil: JSON in its form with what shapes don't tell; nil says nothing
	File      string // the weights' file, for messages
	Weights   checkpoint.Tensors
}

// Here reports whether the model has this part.
func (p *Part) Here() bool { return p.Weights != nil }

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

	Temperature float64 `json:"temperature,omitempty"` // generators: how far from the mean noise is drawn
	Enlarge     int     `json:"enlarge,omitempty"`     // generators: how many times pixels are enlarged
	Smooth      bool    `json:"smooth,omitempty"`      // generators: enlarged pixels are no squares
}

// Model is an open model, or some of its parts.
type Model struct {
	Card
	TextEncoder, UNet, VAE   Part
	TextEncoder2, ControlNet Part
	Generator                Part              // of a model that makes pictures of noise in one step
	TinyEncoder, TinyDecoder Part              // of one of the TAESD family, beside the model or alone
	Upscaler                 *Part             // nil where there is none
	Path                     string            // of the folder or file, absolute; "" inside the program
	Spec                     map[string]string // the "modelspec.*" and other metadata of a single file
	Warnings                 []string          // what was passed over on opening

	SchedulerClass  string // as in model_index.json, such as "PNDMScheduler"
	SchedulerConfig []byte // scheduler_config.json

	Tokenizer      *tokenize.Tokenizer // nil where TokenizerError says why
	Tokenizer2     *tokenize.Tokenizer // of TextEncoder2, where the model has another for it; else nil
	TokenizerDir   string              // where it was found
	TokenizerError error

	fsys    fs.FS
	dir     string
	pads    [2]int   // ids that fill up the text of each encoder; −1 for the tokenizer's own
	weights []string // files of the denoiser, within fsys, for the hash
	opened  []checkpoint.Tensors
	hash    func() string
}

// Options are the choices of Open.
type Options struct {
	TokenizerDir string // a folder with vocab.json and merges.txt, in place of the model's own
	Prediction   string // what a single file's denoiser predicts, "epsilon" or "v_prediction"; "" lets the file tell
}

// tokenizerEnv names a tokenizer folder for models that come without one.
const tokenizerEnv = "ATELIER_TOKENIZER"

// Open opens a model folder or a model file on disk. A model without a tokenizer takes the one in $ATELIER_TOKENIZER, or else
// the nearest "tokenizer" or "data/clip_tokenizer" beside it or above it.
func Open(name string, o Options) (*Model, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("the model %s cannot be found: %w", name, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("the model %s cannot be read; check the path: %w", name, errors.Unwrap(err))
	}
	var m *Model
	if info.IsDir() {
		m, err = OpenFS(os.DirFS(abs), ".", filepath.Base(abs))
	} else {
		m, err = openFile(abs, o)
	}
	if err != nil {
		return nil, err
	}
	if m.TextEncoder.Here() && (m.Tokenizer == nil || o.TokenizerDir != "") {
		m.findTokenizer(abs, o)
	}
	m.Path = abs
	m.findTiny(abs)
	return m, nil
}

// OpenFS opens the model folder dir of fsys; name is what the model is called where its card doesn't say.
func OpenFS(fsys fs.FS, dir, name string) (*Model, error) {
	m := newModel(fsys, dir, name)
	if err := m.openFolder(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func newModel(fsys fs.FS, dir, name string) *Model {
	m := &Model{fsys: fsys, dir: dir, Card: Card{Name: name}, pads: [2]int{-1, -1}}
	m.hash = sync.OnceValue(m.sum)
	return m
}

// Pad is the id that fills up the text of an encoder, 0 for the first and 1 for the second.
func (m *Model) Pad(encoder int) int {
	switch {
	case m.pads[encoder] >= 0:
		return m.pads[encoder]
	case encoder == 1 && m.Tokenizer2 != nil:
		return m.Tokenizer2.Pad()
	case m.Tokenizer == nil:
		return 0
	}
	return m.Tokenizer.Pad()
}

// Hash is the first ten hex digits of the SHA-256 of the denoiser's weights (of its shards in order), as A1111 writes it;
// "" where they cannot be read. The first call reads the whole file: make it away from anything that a person waits for.
func (m *Model) Hash() string { return m.hash() }

func (m *Model) sum() string {
	h := sha256.New()
	for _, name := range m.weights {
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
	if len(m.weights) == 0 {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))[:10]
}

// Close releases the weights. No part may be used afterwards.
func (m *Model) Close() error {
	var errs []error
	for _, t := range m.opened {
		errs = append(errs, t.Close())
	}
	m.opened = nil
	return errors.Join(errs...)
}

// Generating is a model of one generator whose weights are held by the caller.
func Generating(name string, generator Part, card Card) *Model {
	m := newModel(nil, "", name)
	m.Card, m.Generator = card, generator
	m.Name = name
	m.hash = func() string { return "" }
	return m
}
