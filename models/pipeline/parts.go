package pipeline

import (
	"fmt"
	"strings"

	"atelier/models/catalog"
	"atelier/models/clip"
	"atelier/models/diffusion"
	"atelier/models/gan"
	"atelier/models/nn"
	"atelier/models/taesd"
	"atelier/models/unet"
	"atelier/models/vae"
)

// parts is the networks of a model, built over the tensors of an open model.
type parts struct {
	conditioned
	vae       *vae.Model
	tiny      *taesd.Coder  // a small decoder for previews; nil where there is none
	upscaler  *gan.Upscaler // nil where the model has none
	scheduler diffusion.Config
}

func newParts(m *catalog.Model) (*parts, error) {
	if err := whole(m); err != nil {
		return nil, err
	}
	var p parts
	var err, other error
	p.conditioned, err = newConditioned(m, nil)
	p.vae, _, other = newVAE(m)
	if err := together(err, other); err != nil {
		return nil, err
	}
	p.tiny = p.tinyDecoder(m)
	if m.Upscaler != nil {
		if p.upscaler, err = gan.NewUpscaler(nn.Load(m.Upscaler.File, m.Upscaler.Weights)); err != nil {
			return nil, err
		}
	}
	if p.scheduler, err = diffusion.ParseConfig(m.SchedulerConfig); err != nil {
		return nil, err
	}
	return &p, p.check(m.Name)
}

// whole refuses a model that lacks one of the networks that make a picture of words.
func whole(m *catalog.Model) error {
	var missing []string
	for _, p := range []struct {
		name string
		part *catalog.Part
	}{{"text encoder", &m.TextEncoder}, {"denoiser", &m.UNet}, {"autoencoder", &m.VAE}} {
		if !p.part.Here() {
			missing = append(missing, p.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if m.Upscaler != nil && !m.UNet.Here() {
		return fmt.Errorf("the model %s enlarges pictures and makes none: use it with upscale, and choose a whole model here", m.Name)
	}
	return fmt.Errorf("the model %s makes no pictures by itself: it has no %s; choose a whole model", m.Name, strings.Join(missing, " and no "))
}

// origin gives the scope that a network is built in; nil is for those of its file.
type origin func(p *catalog.Part) *nn.Scope

func (w origin) of(p *catalog.Part, file *nn.Scope) *nn.Scope {
	if w == nil {
		return file
	}
	return w(p)
}

func stored(p *catalog.Part) *nn.Scope { return nn.Load(p.File, p.Weights) }

// lacks says that a model has no part of a kind.
func lacks(m *catalog.Model, what string) error {
	return fmt.Errorf("the model %s has no %s", m.Name, what)
}

func newText(m *catalog.Model, p *catalog.Part, fresh origin) (*clip.Model, *nn.Scope, error) {
	if !p.Here() {
		return nil, nil, lacks(m, "text encoder of this number")
	}
	s := stored(p)
	var c clip.Config
	var err error
	if p.Config != nil {
		c, err = clip.ParseConfig(p.Config)
	} else {
		c, err = clip.Infer(s, p.Overrides)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	s = fresh.of(p, s)
	text, err := clip.New(s, c)
	return text, s, err
}

func newUNet(m *catalog.Model, fresh origin) (*unet.Model, *nn.Scope, error) {
	p := &m.UNet
	if !p.Here() {
		return nil, nil, lacks(m, "denoiser")
	}
	s := stored(p)
	var c unet.Config
	var err error
	if p.Config != nil {
		c, err = unet.ParseConfig(p.Config)
	} else {
		c, err = unet.Infer(s, unet.Hints{Pooled: pooledWidth(m), Overrides: p.Overrides})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	s = fresh.of(p, s)
	u, err := unet.New(s, c)
	return u, s, err
}

// pooledWidth is the width of the second text encoder's pooled state; 0 without one.
func pooledWidth(m *catalog.Model) int {
	if !m.TextEncoder2.Here() {
		return 0
	}
	if m.TextEncoder2.Config != nil {
		c, err := clip.ParseConfig(m.TextEncoder2.Config)
		if err != nil {
			return 0 // as building the encoder will say
		}
		return c.ProjectionDim
	}
	c, err := clip.Infer(stored(&m.TextEncoder2), m.TextEncoder2.Overrides)
	if err != nil {
		return 0
	}
	return c.ProjectionDim
}

func newControl(m *catalog.Model) (*unet.Control, error) {
	p := &m.ControlNet
	if !p.Here() {
		return nil, lacks(m, "ControlNet")
	}
	s := stored(p)
	var c unet.Config
	var err error
	if p.Config != nil {
		c, err = unet.ParseControlConfig(p.Config)
	} else {
		c, err = unet.InferControl(s, unet.Hints{Overrides: p.Overrides})
	}
	if err != nil {
		return nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	return unet.NewControl(s, c)
}

func newVAE(m *catalog.Model) (*vae.Model, *nn.Scope, error) {
	p := &m.VAE
	if !p.Here() {
		return nil, nil, lacks(m, "autoencoder")
	}
	s := stored(p)
	var c vae.Config
	var err error
	if p.Config != nil {
		c, err = vae.ParseConfig(p.Config)
	} else {
		c, err = vae.Infer(s, p.Overrides)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	v, err := vae.New(s, c)
	return v, s, err
}

// newTiny builds one half of a tiny autoencoder. Its file may hold the other too, which is built to account for its tensors.
func newTiny(p *catalog.Part, decoder bool) (*taesd.Coder, error) {
	s := stored(p)
	at := taesd.Find(s)
	var halves [2]*taesd.Coder // encoder, decoder
	var err error
	if at.HasEncoder {
		halves[0], err = taesd.NewEncoder(s.At(at.Encoder))
	}
	if at.HasDecoder && err == nil {
		halves[1], err = taesd.NewDecoder(s.At(at.Decoder))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.File, err)
	}
	half, name := halves[0], "encoder"
	if decoder {
		half, name = halves[1], "decoder"
	}
	if half == nil {
		return nil, fmt.Errorf("%s holds no %s of a tiny autoencoder", p.File, name)
	}
	return half, s.Finish()
}

// tinyDecoder is the small decoder beside a model, where it fits; previews do without one that does not.
func (p *parts) tinyDecoder(m *catalog.Model) *taesd.Coder {
	if !m.TinyDecoder.Here() {
		return nil
	}
	c, err := newTiny(&m.TinyDecoder, true)
	if err != nil || c.In != p.vae.LatentChannels || c.Out != p.vae.OutChannels || c.Factor != p.vae.Factor() {
		return nil
	}
	return c
}

// check refuses parts that each are sound but do not belong together.
func (p *parts) check(name string) error {
	z, width, in := p.vae.LatentChannels, p.text.HiddenSize, p.unet.InChannels
	if p.text2 != nil {
		width += p.text2.HiddenSize
	}
	switch {
	case in != z && in != 2*z+1 || p.unet.OutChannels != z:
		return fmt.Errorf("the model %s does not fit together: its denoiser maps %d to %d channels and its latents have %d; text-to-image needs all alike, and inpainting reads a mask and another %d", name, in, p.unet.OutChannels, z, z)
	case p.unet.ContextDim[0] != width:
		return fmt.Errorf("the model %s does not fit together: its denoiser reads text of width %d and its text encoder writes %d", name, p.unet.ContextDim[0], width)
	case p.unet.TextTime && (p.text2 == nil || p.unet.Sizes(p.text2.ProjectionDim) != len(sizes{})):
		return fmt.Errorf("the model %s does not fit together: its denoiser reads pooled text and %d sizes, which needs a second text encoder with a projection", name, len(sizes{}))
	case p.text2 != nil && p.text2.MaxPositions != p.text.MaxPositions:
		return fmt.Errorf("the model %s does not fit together: its text encoders have %d and %d positions", name, p.text.MaxPositions, p.text2.MaxPositions)
	case p.vae.OutChannels != 3 && p.vae.OutChannels != 4:
		return fmt.Errorf("the model %s decodes to %d channels; 3 (RGB) and 4 (premultiplied RGBA) are pictures", name, p.vae.OutChannels)
	case p.upscaler != nil && p.upscaler.Channels != p.vae.OutChannels:
		return fmt.Errorf("the model %s does not fit together: its upscaler takes %d channels and its autoencoder gives %d", name, p.upscaler.Channels, p.vae.OutChannels)
	}
	return nil
}

// sizes is what Stable Diffusion XL's denoiser is told about a picture, in pixels: the original's height and width, where it
// was cropped from the top and left, and the height and width that are wanted.
type sizes [6]float32

// factor is the pixels of the finished picture per latent along an axis.
func (p *parts) factor() int {
	if p.upscaler != nil {
		return p.vae.Factor() * p.upscaler.Scale
	}
	return p.vae.Factor()
}
