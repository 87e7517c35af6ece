package pipeline

import (
	"fmt"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/clip"
	"atelier/models/diffusion"
	"atelier/models/nn"
	"atelier/models/unet"
	"atelier/models/vae"
)

// Networks is the networks of a whole model with their parameters, for training.
type Networks struct {
	Encoders      []*clip.Model // of text, one or two
	UNet          *unet.Model
	VAE           *vae.Model
	Scheduler     diffusion.Config
	EncoderParams [][]*nn.Param
	UNetParams    []*nn.Param
	VAEParams     []*nn.Param

	parts parts
}

// OpenNetworks builds the networks of a whole model of any layout. Where fresh is not nil, the encoders of text and the denoiser are built
// in the scopes that it gives, instead of the model's weights.
func OpenNetworks(m *catalog.Model, fresh func(p *catalog.Part) *nn.Scope) (*Networks, error) {
	if err := whole(m); err != nil {
		return nil, err
	}
	if fresh != nil && m.TextEncoder2.Here() {
		return nil, fmt.Errorf("the model %s has two text encoders, which are not trained from scratch here; go on from its weights, or adapt it", m.Name)
	}
	var p parts
	var vaeScope *nn.Scope
	var err, other error
	p.conditioned, err = newConditioned(m, fresh)
	p.vae, vaeScope, other = newVAE(m)
	if err := together(err, other); err != nil {
		return nil, err
	}
	if p.scheduler, err = diffusion.ParseConfig(m.SchedulerConfig); err != nil {
		return nil, err
	}
	n := &Networks{
		Encoders: []*clip.Model{p.text}, UNet: p.unet, VAE: p.vae, Scheduler: p.scheduler,
		EncoderParams: [][]*nn.Param{p.scopes[textEncoder].Params()}, UNetParams: p.scopes[denoiser].Params(), VAEParams: vaeScope.Params(), parts: p,
	}
	if p.text2 != nil {
		n.Encoders, n.EncoderParams = append(n.Encoders, p.text2), append(n.EncoderParams, p.scopes[textEncoder2].Params())
	}
	return n, p.check(m.Name)
}

// Read records what the denoiser reads of a text: states [B T width] of ids [B T], and, for a model of two encoders, the pooled state
// [B width] beside it, of ids2 [B T] where pool2 [B 1 T] has clip's PoolRow.
func (n *Networks) Read(ids, ids2, pool2 *compute.Tensor) (states, pooled *compute.Tensor) {
	return n.parts.read(ids, ids2, pool2, 1)
}

// Sizes is what Stable Diffusion XL's denoiser is told of a picture of this size that was not cropped, in pixels.
func Sizes(width, height int) []float32 {
	h, w := float32(height), float32(width)
	own := sizes{h, w, 0, 0, h, w}
	return own[:]
}

// Masked reports whether the denoiser reads a mask and a masked picture beside the latents.
func (n *Networks) Masked() bool { return n.parts.reads() }
