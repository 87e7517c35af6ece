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
	"atelier/models/clip"
	"atelier/models/diffusion"
	"atelier/models/nn"
	"atelier/models/unet"
	"atelier/models/vae"
)

// base is a model that training starts from, with the parameters of its networks.
type base struct {
	model     *catalog.Model
	files     fs.FS // the model's folder
	text      *clip.Model
	unet      *unet.Model
	vae       *vae.Model
	scheduler diffusion.Config

	textParams, unetParams, vaeParams []*nn.Param
}

// openBase opens a model folder or the built-in model. With scratch, the denoiser and the text encoder have the model's shape and
// newly drawn weights.
func openBase(name string, scratch bool, seed uint64) (*base, error) {
	m, err := engine.OpenModel(name)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	b := &base{model: m, files: assets.Sticker()}
	if name != builtIn {
		b.files = os.DirFS(name)
	}
	if err := b.build(scratch, seed); err != nil {
		m.Close()
		return nil, fmt.Errorf("base: %w", err)
	}
	return b, nil
}

func (b *base) build(scratch bool, seed uint64) error {
	m := b.model
	if m.Tokenizer == nil {
		return m.TokenizerError
	}
	for _, p := range []catalog.Part{m.TextEncoder, m.UNet, m.VAE} {
		if p.Config == nil || p.Weights == nil {
			return fmt.Errorf("the model %s is no folder in the layout of diffusers with text encoder, denoiser and autoencoder, which training needs", m.Name)
		}
	}
	scope := func(p catalog.Part, stream uint64) *nn.Scope {
		if scratch {
			return nn.Initialise(seed*4 + stream)
		}
		return nn.Load(p.File, p.Weights)
	}
	textConfig, err := clip.ParseConfig(m.TextEncoder.Config)
	if err != nil {
		return err
	}
	s := scope(m.TextEncoder, 1)
	if b.text, err = clip.New(s, textConfig); err != nil {
		return err
	}
	b.textParams = s.Params()
	unetConfig, err := unet.ParseConfig(m.UNet.Config)
	if err != nil {
		return err
	}
	s = scope(m.UNet, 2)
	if b.unet, err = unet.New(s, unetConfig); err != nil {
		return err
	}
	b.unetParams = s.Params()
	vaeConfig, err := vae.ParseConfig(m.VAE.Config)
	if err != nil {
		return err
	}
	s = nn.Load(m.VAE.File, m.VAE.Weights)
	if b.vae, err = vae.New(s, vaeConfig); err != nil {
		return err
	}
	b.vaeParams = s.Params()
	if b.scheduler, err = diffusion.ParseConfig(m.SchedulerConfig); err != nil {
		return err
	}
	return b.fits()
}

// fits refuses parts that each are sound but do not belong together.
func (b *base) fits() error {
	z, c := b.vae.LatentChannels, b.vae.InChannels
	switch {
	case b.unet.InChannels != z || b.unet.OutChannels != z:
		return fmt.Errorf("the model %s has a denoiser from %d to %d channels and latents of %d; only models of text to pictures can be trained", b.model.Name, b.unet.InChannels, b.unet.OutChannels, z)
	case b.unet.ContextDim[0] != b.text.HiddenSize:
		return fmt.Errorf("the model %s has a denoiser that reads text of width %d and a text encoder that writes %d; models with several text encoders cannot be trained yet", b.model.Name, b.unet.ContextDim[0], b.text.HiddenSize)
	case b.text.VocabSize < b.model.Tokenizer.Vocab():
		return fmt.Errorf("the tokenizer of the model %s has %d words and its text encoder knows %d", b.model.Name, b.model.Tokenizer.Vocab(), b.text.VocabSize)
	case c != b.vae.OutChannels || c != 3 && c != 4:
		return fmt.Errorf("the autoencoder of the model %s takes %d channels and gives %d; 3 (RGB) and 4 (RGBA) are pictures", b.model.Name, c, b.vae.OutChannels)
	}
	return nil
}

// step is what widths and heights of pictures are multiples of.
func (b *base) step() int { return b.vae.Factor() << b.unet.Levels() }

// side is the size of pictures that the denoiser was made for.
func (b *base) side() int {
	n := b.unet.SampleSize
	if n <= 0 {
		n = 64
	}
	return n * b.vae.Factor()
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
