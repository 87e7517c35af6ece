package pipeline

import (
	"fmt"
	"slices"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/unet"
)

// MostControls is how many ControlNets a picture follows at once.
const MostControls = 4

// hintChannels is what the pictures are read as that ControlNets follow.
const hintChannels = 3

// maxControl bounds the scale of a ControlNet's influence.
const maxControl = 10

// ControlNet is a network that makes a denoiser follow a picture. One may serve several pipelines of its family.
type ControlNet struct {
	Name string
	net  *unet.Control
}

// NewControlNet builds the ControlNet of an open model, which must stay open.
func NewControlNet(m *catalog.Model) (*ControlNet, error) {
	net, err := newControl(m)
	if err != nil {
		return nil, err
	}
	return &ControlNet{m.Name, net}, nil
}

// Kind tells which models can follow the ControlNet: those whose ModelInfo.Follows is the same.
func (c *ControlNet) Kind() string {
	n := c.net
	if n.HintIn != hintChannels {
		return ""
	}
	return controlKind(n.InChannels, n.ContextDim[0], n.TextTime, n.Skips(), n.Factor())
}

// follows is the kind of ControlNet that the parts' denoiser takes.
func (p *parts) follows() string {
	u := p.unet
	return controlKind(p.vae.LatentChannels, u.ContextDim[0], u.TextTime, u.Skips(), p.vae.Factor())
}

func controlKind(latents, context int, sizes bool, skips []int, factor int) string {
	return fmt.Sprint(latents, context, sizes, skips, factor)
}

// checkControls refuses ControlNets of another family, and numbers that cannot be.
func (t *Text2Image) checkControls(r Request) error {
	if len(r.Controls) > MostControls {
		return fmt.Errorf("a picture follows at most %d ControlNets, not %d", MostControls, len(r.Controls))
	}
	for _, c := range r.Controls {
		if c.Net == nil || c.Picture == nil {
			return fmt.Errorf("a ControlNet needs a picture to follow, and a picture to follow needs a ControlNet")
		}
		n, u := c.Net.net, t.parts.unet
		switch {
		case n.InChannels != t.parts.vae.LatentChannels || n.ContextDim[0] != u.ContextDim[0] || n.TextTime != u.TextTime || !slices.Equal(n.Skips(), u.Skips()):
			return fmt.Errorf("the ControlNet %s was made for another family of models than %s; choose one of the same family", c.Net.Name, t.model.Name)
		case n.HintIn != hintChannels:
			return fmt.Errorf("the ControlNet %s follows pictures of %d channels; %d are wanted", c.Net.Name, n.HintIn, hintChannels)
		case n.Factor() != t.parts.vae.Factor():
			return fmt.Errorf("the ControlNet %s reads %d pixels for each latent, and %s has %d; choose one of the same family", c.Net.Name, n.Factor(), t.model.Name, t.parts.vae.Factor())
		case !(c.Scale >= 0 && c.Scale <= maxControl):
			return fmt.Errorf("the influence of a ControlNet is from 0 to %d, not %g", maxControl, c.Scale)
		case !(c.Start >= 0 && c.End <= 1 && c.Start <= c.End):
			return fmt.Errorf("a ControlNet counts from a start to an end between 0 and 1, not from %g to %g", c.Start, c.End)
		}
		if err := c.Picture.check("picture to follow"); err != nil {
			return err
		}
	}
	return nil
}

func controlInput(i int, what string) string { return fmt.Sprintf("control%d.%s", i, what) }

// recordControls adds to the denoiser's inputs what the ControlNets of a setting make of their pictures [rows H W C], times
// their scales [1].
func (p *parts) recordControls(g *compute.Graph, s setting, in *unet.Inputs) {
	for i, c := range s.controls {
		if c == nil {
			continue
		}
		f := c.net.Factor()
		picture := g.Input(controlInput(i, "picture"), s.rows(), s.h*f, s.w*f, c.net.HintIn)
		own := *in
		own.Down, own.Mid = nil, nil
		if z := p.vae.LatentChannels; p.unet.InChannels > z { // it knows nothing of masks
			own.Sample = compute.Slice(in.Sample, -1, 0, z)
		}
		down, mid := c.net.Forward(own, picture, g.Input(controlInput(i, "scale"), 1), nil)
		if in.Mid == nil {
			in.Down, in.Mid = down, mid
			continue
		}
		in.Mid = compute.Add(in.Mid, mid)
		for k := range down {
			in.Down[k] = compute.Add(in.Down[k], down[k])
		}
	}
}

// follow sets what the denoiser follows at a step of the picture, counted from 0.
func (j *job) follow(step int) {
	if len(j.Controls) == 0 {
		return
	}
	if j.controls == nil {
		j.controls = map[string][]float32{}
		for i, c := range j.Controls {
			f := c.Net.net.Factor()
			p := c.Picture.channels(hintChannels).resized(j.stages.w*f, j.stages.h*f)
			j.controls[controlInput(i, "picture")] = slices.Repeat(p.Data, j.stages.rows())
		}
	}
	steps := float64(j.planned())
	for i, c := range j.Controls {
		scale := c.Scale
		if float64(step)/steps < c.Start || float64(step+1)/steps > c.End {
			scale = 0
		}
		j.controls[controlInput(i, "scale")] = []float32{float32(scale)}
	}
}
