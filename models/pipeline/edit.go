package pipeline

import (
	"context"
	"fmt"
	"image"
	"math"

	"atelier/models/diffusion"
	"atelier/models/nn"
)

// canvas is the picture that a job begins from, and where in it the work belongs.
type canvas struct {
	init *Pixels // at the size that the autoencoder takes, with its channels, premultiplied
	mask *Pixels // there, 0 or 1; nil where all of it is made new

	whole *Pixels         // what the finished work is laid into, four channels, premultiplied; nil where it is the picture
	soft  *Pixels         // of whole's size: how much of the new shows
	box   image.Rectangle // the part of whole that was worked on
}

// maskLevel is where a mask's grey begins to mean that the picture is made new.
const maskLevel = 0.5

// newCanvas reads a request's picture and mask for pictures of width × height at the autoencoder's end.
func newCanvas(r Request, width, height, channels int) *canvas {
	c := &canvas{}
	init := r.Init.channels(4).premultiplied()
	part := image.Rect(0, 0, init.W, init.H) // of the given picture that is worked on
	if r.Mask != nil {
		grey := r.Mask.grey().resized(init.W, init.H)
		if r.OnlyMasked {
			part = grey.surroundings(r.Padding, r.Width, r.Height)
			c.whole, c.soft, c.box = init, grey, part
		} else {
			c.whole, c.soft, c.box = init.resized(r.Width, r.Height), grey.resized(r.Width, r.Height), image.Rect(0, 0, r.Width, r.Height)
		}
		c.soft = c.soft.blurred(r.MaskBlur)
		c.mask = grey.crop(part).resized(width, height)
		for i, v := range c.mask.Data {
			c.mask.Data[i] = 0
			if v >= maskLevel {
				c.mask.Data[i] = 1
			}
		}
	}
	c.init = r.Init.crop(part).channels(channels).premultiplied().resized(width, height)
	return c
}

// finish lays a finished picture into what it belongs in.
func (c *canvas) finish(m *image.NRGBA) *image.NRGBA {
	if c == nil || c.whole == nil {
		return m
	}
	fresh := PixelsOf(m).channels(4).premultiplied().resized(c.box.Dx(), c.box.Dy())
	out := append([]float32(nil), c.whole.Data...)
	for y := range fresh.H {
		for x := range fresh.W {
			at := (c.box.Min.Y+y)*c.whole.W + c.box.Min.X + x
			share, from, to := c.soft.Data[at], fresh.Data[4*(y*fresh.W+x):][:4], out[4*at:][:4]
			for k, v := range from {
				to[k] = share*v + (1-share)*to[k]
			}
		}
	}
	return toPicture(out, c.whole.W, c.whole.H, 4)
}

// edit is what the denoising of one picture keeps to: the given picture, as latents B C H W.
type edit struct {
	image  []float32 // unit variance; nil where the mask covers everything
	mask   []float32 // [H W], 1 where the picture is made new; nil where all of it is
	masked []float32 // the picture with grey in place of what is made new, for denoisers that read it
	noise  []float32 // what the picture began from
	blend  bool      // keep what is not made new after every step; denoisers that read the mask do so by themselves
}

// reads says whether the denoiser reads a mask and a masked picture beside the latents.
func (p *parts) reads() bool { return p.unet.InChannels == 2*p.vae.LatentChannels+1 }

// begin gives the latents that the first call takes, its number, and what the calls keep to.
//
// Given noises are used as diffusers' pipelines use theirs: where the given picture lies in the autoencoder's distribution,
// the noise over it, where the masked picture lies, the steps.
func (j *job) begin(ctx context.Context, i int, z *noises, s diffusion.Sampler) (x []float32, first int, e *edit, err error) {
	n := j.latents(j.stages.setting)
	e = &edit{}
	if j.canvas != nil {
		first = (j.Steps - j.planned()) * s.Stages()
		if c := j.canvas; c.mask != nil {
			e.mask = c.mask.nearest(j.stages.w, j.stages.h).Data
			e.blend = !j.parts.reads()
		}
	}
	// All noise and a denoiser that reads the mask: the picture itself is not needed.
	all := e.mask != nil && j.Strength == 1
	if j.canvas != nil && (e.blend || !all) {
		if e.image, err = j.latentsOf(ctx, j.canvas.init.Data, z.posterior()); err != nil {
			return nil, 0, nil, err
		}
	}
	if j.Latents != nil {
		e.noise = j.Latents[i*n : (i+1)*n]
	} else {
		e.noise = z.initial()
	}
	if e.mask != nil || j.parts.reads() {
		if err := j.maskedPicture(ctx, e, z); err != nil {
			return nil, 0, nil, err
		}
	}
	if e.image == nil || all {
		return scaled(e.noise, s.InitNoiseSigma()), first, e, z.err
	}
	alpha, sigma := s.Level(first)
	return mixed(e.image, e.noise, alpha, sigma), first, e, z.err
}

// maskedPicture gives a denoiser that reads it the picture without what is made new; without a picture, grey alone. Its
// noise is drawn for others too, as diffusers does.
func (j *job) maskedPicture(ctx context.Context, e *edit, z *noises) error {
	noise := z.posterior()
	if !j.parts.reads() {
		return nil
	}
	v, s := j.parts.vae, j.stages
	picture := make([]float32, s.h*v.Factor()*s.w*v.Factor()*v.InChannels)
	for i := range picture {
		picture[i] = 0.5
		if c := j.canvas; c != nil && c.mask != nil && c.mask.Data[i/v.InChannels] == 0 {
			picture[i] = c.init.Data[i]
		}
	}
	if e.mask == nil {
		e.mask = make([]float32, s.h*s.w)
		for i := range e.mask {
			e.mask[i] = 1
		}
	}
	var err error
	e.masked, err = j.latentsOf(ctx, picture, noise)
	return err
}

// latentsOf encodes a picture [H W C] in [0, 1] to latents of unit variance, C H W, at the place that noise names in their
// distribution.
func (j *job) latentsOf(ctx context.Context, picture, noise []float32) ([]float32, error) {
	v, s := j.parts.vae, j.stages
	signed := make([]float32, len(picture))
	for i, p := range picture {
		signed[i] = 2*p - 1
	}
	mean, logvar := make([]float32, len(noise)), make([]float32, len(noise))
	if err := s.run(ctx, j.dev, s.encode, map[string][]float32{"picture": signed}, map[string][]float32{"mean": mean, "logvar": logvar}); err != nil {
		return nil, err
	}
	if firstBad(mean) >= 0 {
		return nil, fmt.Errorf("the encoder gave numbers that are not finite on %s: the picture cannot be worked on; try another device (--device host), and run doctor", j.dev.Name())
	}
	mean, logvar = nn.ChannelsFirst(mean, 1, s.h, s.w, v.LatentChannels), nn.ChannelsFirst(logvar, 1, s.h, s.w, v.LatentChannels)
	out := make([]float32, len(mean))
	for i, m := range mean {
		at := float64(m) + math.Exp(0.5*float64(logvar[i]))*float64(noise[i])
		out[i] = float32((at - v.Shift()) * v.ScalingFactor)
	}
	return out, nil
}

// keep puts the given picture back where it is not made new, after call c of a run: as noisy as x is then.
func (e *edit) keep(x []float32, s diffusion.Sampler, c int) []float32 {
	if !e.blend {
		return x
	}
	old := e.image
	if c+1 < len(s.Timesteps()) {
		alpha, sigma := s.Level(c + 1)
		old = mixed(e.image, e.noise, alpha, sigma)
	}
	out := make([]float32, len(x))
	for i, v := range x {
		share := e.mask[i%len(e.mask)]
		out[i] = (1-share)*old[i] + share*v
	}
	return out
}

// sample gives the denoiser's input for x, C H W: H W C, with the mask and the masked picture behind where it reads them.
func (e *edit) sample(x []float32, h, w int) []float32 {
	if e == nil || e.masked == nil {
		return nn.ChannelsLast(x, 1, len(x)/(h*w), h, w)
	}
	all := append(append(append([]float32(nil), x...), e.mask...), e.masked...)
	return nn.ChannelsLast(all, 1, len(all)/(h*w), h, w)
}

// mixed is alpha·x + sigma·noise.
func mixed(x, noise []float32, alpha, sigma float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(float64(alpha*float64(v)) + float64(sigma*float64(noise[i])))
	}
	return out
}

func scaled(x []float32, k float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(float64(v) * k)
	}
	return out
}
