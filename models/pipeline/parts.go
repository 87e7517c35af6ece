package pipeline

import (
	"fmt"

	"atelier/models/catalog"
	"atelier/models/clip"
	"atelier/models/diffusion"
	"atelier/models/gan"
	"atelier/models/nn"
	"atelier/models/unet"
	"atelier/models/vae"
)

// parts is the networks of a model, built over the tensors of an open model folder.
type parts struct {
	text      *clip.Model
	unet      *unet.Model
	vae       *vae.Model
	upscaler  *gan.Compact // nil where the model has none
	scheduler diffusion.Config
}

func newParts(m *catalog.Model) (*parts, error) {
	var p parts
	var err error
	if p.text, err = newText(m); err != nil {
		return nil, err
	}
	if p.unet, err = newUNet(m); err != nil {
		return nil, err
	}
	if p.vae, err = newVAE(m); err != nil {
		return nil, err
	}
	if m.Upscaler != nil {
		if p.upscaler, err = gan.NewCompact(nn.Load(m.Upscaler.File, m.Upscaler.Weights)); err != nil {
			return nil, err
		}
	}
	if p.scheduler, err = diffusion.ParseConfig(m.SchedulerConfig); err != nil {
		return nil, err
	}
	return &p, p.check(m.Name)
}

func newText(m *catalog.Model) (*clip.Model, error) {
	c, err := clip.ParseConfig(m.TextEncoder.Config)
	if err != nil {
		return nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	return clip.New(nn.Load(m.TextEncoder.File, m.TextEncoder.Weights), c)
}

func newUNet(m *catalog.Model) (*unet.Model, error) {
	c, err := unet.ParseConfig(m.UNet.Config)
	if err != nil {
		return nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	return unet.New(nn.Load(m.UNet.File, m.UNet.Weights), c)
}

func newVAE(m *catalog.Model) (*vae.Model, error) {
	c, err := vae.ParseConfig(m.VAE.Config)
	if err != nil {
		return nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	return vae.New(nn.Load(m.VAE.File, m.VAE.Weights), c)
}

// check refuses parts that each are sound but do not belong together.
func (p *parts) check(name string) error {
	z := p.vae.LatentChannels
	switch {
	case p.unet.InChannels != z || p.unet.OutChannels != z:
		return fmt.Errorf("the model %s does not fit together: its denoiser maps %d to %d channels and its latents have %d; text-to-image needs all alike", name, p.unet.InChannels, p.unet.OutChannels, z)
	case p.unet.ContextDim[0] != p.text.HiddenSize:
		return fmt.Errorf("the model %s does not fit together: its denoiser reads text of width %d and its text encoder writes %d", name, p.unet.ContextDim[0], p.text.HiddenSize)
	case p.vae.OutChannels != 3 && p.vae.OutChannels != 4:
		return fmt.Errorf("the model %s decodes to %d channels; 3 (RGB) and 4 (premultiplied RGBA) are pictures", name, p.vae.OutChannels)
	case p.upscaler != nil && p.upscaler.Channels != p.vae.OutChannels:
		return fmt.Errorf("the model %s does not fit together: its upscaler takes %d channels and its autoencoder gives %d", name, p.upscaler.Channels, p.vae.OutChannels)
	}
	return nil
}

// factor is the pixels of the finished picture per latent along an axis.
func (p *parts) factor() int {
	if p.upscaler != nil {
		return p.vae.Factor() * p.upscaler.Scale
	}
	return p.vae.Factor()
}
