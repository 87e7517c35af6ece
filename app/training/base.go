package training

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"atelier/app/engine"
	"atelier/assets"
	"atelier/models/catalog"
	"atelier/models/nn"
	"atelier/models/pipeline"
	"atelier/models/tokenize"
)

// base is a model that training starts from, with the parameters of its networks.
type base struct {
	*pipeline.Networks
	model *catalog.Model
	files fs.FS // the model's folder; nil for a model of one file
}

// openBase opens a model of any layout or the built-in model. With scratch, the denoiser and the text encoder have the model's shape and
// newly drawn weights.
func openBase(name string, scratch bool, seed uint64) (*base, error) {
	m, err := engine.OpenModel(name)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	b := &base{model: m}
	if m.Path == "" {
		b.files = assets.Sticker()
	} else if info, err := os.Stat(m.Path); err == nil && info.IsDir() {
		b.files = os.DirFS(m.Path)
	}
	var fresh func(p *catalog.Part) *nn.Scope
	if scratch {
		fresh = func(p *catalog.Part) *nn.Scope {
			stream := uint64(1)
			if p == &m.UNet {
				stream = 2
			}
			return nn.Initialise(seed*4 + stream)
		}
	}
	if b.Networks, err = pipeline.OpenNetworks(m, fresh); err == nil {
		err = b.fits()
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("base: %w", err)
	}
	return b, nil
}

// fits refuses what cannot be trained though it makes pictures.
func (b *base) fits() error {
	m, in, out := b.model, b.VAE.InChannels, b.VAE.OutChannels
	if m.Tokenizer == nil {
		return m.TokenizerError
	}
	for i, e := range b.Encoders {
		if t := b.tokenizer(i); e.VocabSize < t.Vocab() {
			return fmt.Errorf("the tokenizer of the model %s has %d words and its text encoder knows %d", m.Name, t.Vocab(), e.VocabSize)
		}
	}
	if in != out {
		return fmt.Errorf("the autoencoder of the model %s takes %d channels and gives %d; to be trained on pictures it needs as many of both", m.Name, in, out)
	}
	return nil
}

// tokenizer is that of a text encoder.
func (b *base) tokenizer(encoder int) *tokenize.Tokenizer {
	if encoder == 1 && b.model.Tokenizer2 != nil {
		return b.model.Tokenizer2
	}
	return b.model.Tokenizer
}

// folder refuses to train the whole of a model that could not be written as it came.
func (b *base) folder() error {
	if b.files != nil && len(b.Encoders) == 1 && !b.Masked() {
		return nil
	}
	return fmt.Errorf("base: the model %s can be adapted (lora, textual_inversion); to be trained whole it must be a folder in the layout of diffusers, with one text encoder, that makes pictures of words alone", b.model.Name)
}

// step is what widths and heights of pictures are multiples of.
func (b *base) step() int { return b.VAE.Factor() << b.UNet.Levels() }

// side is the size of pictures that the denoiser was made for.
func (b *base) side() int {
	n := b.UNet.SampleSize
	if n <= 0 {
		n = 64
	}
	return n * b.VAE.Factor()
}

// size is the recipe's size of pictures, or the model's own.
func (b *base) size(r *Recipe) (w, h int, err error) {
	w, h = r.Data.Width, r.Data.Height
	if w == 0 && h == 0 {
		w, h = b.side(), b.side()
	}
	setInt(&w, h)
	setInt(&h, w)
	for _, v := range []struct {
		key string
		n   int
	}{{"data.width", w}, {"data.height", h}} {
		if v.n%b.step() != 0 {
			return 0, 0, fmt.Errorf("%s: %d is no multiple of %d, which the model %s needs; choose %d", v.key, v.n, b.step(), b.model.Name, max((v.n+b.step()/2)/b.step(), 1)*b.step())
		}
	}
	return w, h, nil
}

// param is a parameter by its name.
func param(params []*nn.Param, name string) (*nn.Param, error) {
	for _, p := range params {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("the model has no parameter %s", name)
}

// copyFolder copies a model's folder but for the files that skip names, with slashes.
func copyFolder(from fs.FS, to string, skip func(name string) bool) error {
	return fs.WalkDir(from, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, filepath.FromSlash(name))
		if e.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if !e.Type().IsRegular() || skip(name) || strings.HasPrefix(path.Base(name), ".") {
			return nil
		}
		return copyFile(from, name, target)
	})
}

func copyFile(from fs.FS, name, to string) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeFile(to, func(out *os.File) error {
		_, err := out.ReadFrom(in)
		return err
	})
}
