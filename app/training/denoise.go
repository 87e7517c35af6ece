package training

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"

	"atelier/app/dataset"
	"atelier/compute"
	"atelier/models/diffusion"
	"atelier/models/nn"
	"atelier/models/pipeline"
	"atelier/models/train"
	"atelier/models/unet"
)

// denoising is the training of a denoiser, or of something that changes it: latents of pictures are made noisy, and the network
// is asked for what was added.
type denoising struct {
	*base
	dev           compute.Device
	recipe        *Recipe
	set           *dataset.Dataset
	spellers      []*speller // of the text encoders
	level         func(u float64, training bool) level
	bind          func(g *compute.Graph) // puts adapters or a learnt word into a graph; nil for none
	encoder       *encoder
	width, height int            // of pictures
	sizes         []dataset.Size // of batches, by variant
}

// level is how noisy a picture is made, what the network is asked for, and how much that counts.
type level struct {
	diffusion.Mixture
	time, weight float64
}

// newDenoising opens the recipe's base model.
func newDenoising(dev compute.Device, r *Recipe, set *dataset.Dataset) (*denoising, error) {
	b, err := openBase(r.Base, r.Diffusion.Scratch, r.Seed)
	if err != nil {
		return nil, err
	}
	d := &denoising{base: b, dev: dev, recipe: r, set: set, spellers: newSpellers(b)}
	if d.width, d.height, err = b.size(r); err == nil {
		d.level, err = levels(b.Scheduler, r)
	}
	if err != nil {
		b.model.Close()
		return nil, err
	}
	d.encoder = &encoder{denoising: d, rows: 1, left: latentCache, cache: map[[16]byte][]float32{}, exes: map[dataset.Size]compute.Executable{}, grey: map[dataset.Size][]float32{}}
	if r.Data.Augment.varies() || r.Data.Crop == string(dataset.CropRandom) {
		d.encoder.rows, d.encoder.left = r.Train.Batch, 0 // hardly any picture comes twice
	}
	return d, nil
}

func (d *denoising) close() {
	d.encoder.close()
	d.model.Close()
}

// flowSteps is what a timestep of rectified flow is counted in.
const flowSteps = 1000

// levels gives the noise of a recipe's kind: u, from 0 to 1, is the share of the trained steps.
func levels(c diffusion.Config, r *Recipe) (func(u float64, training bool) level, error) {
	if r.Kind == "rectified_flow" || c.ClassName == diffusion.FlowClass {
		return func(u float64, training bool) level {
			s := u
			if training { // logit-normal (Esser et al. 2024): the middle of the path is the hardest and comes most often
				s = 1 / (1 + math.Exp(-math.Sqrt2*math.Erfinv(2*min(max(u, 1e-6), 1-1e-6)-1)))
			}
			return level{diffusion.Mixture{Signal: 1 - s, Noise: s, OfNoise: 1, OfData: -1}, s * flowSteps, 1}
		}, nil
	}
	f, err := diffusion.NewForward(c)
	if err != nil {
		return nil, err
	}
	return func(u float64, training bool) level {
		t := min(int(u*float64(f.Steps())), f.Steps()-1)
		l := level{f.At(t), float64(t), 1}
		if training {
			l.weight = f.MinSNR(t, r.Diffusion.MinSNR)
		}
		return l
	}, nil
}

// loss is the weighted mean squared error of what the network says about noisy latents.
func (d *denoising) loss(p train.Pass) *compute.Tensor {
	g, b := p.Graph, d.recipe.Train.Batch
	h, w, z := d.latentsOf(d.sizes[p.Variant])
	if d.bind != nil {
		d.bind(g)
	}
	each := func(name string) *compute.Tensor { return g.Input(name, b, 1, 1, 1) }
	latents := g.Input("mean", b, h, w, z)
	var noise *compute.Tensor
	if p.Training {
		draws := compute.RandomNormal(g.Input("key", compute.RandomKeySize), 2, b, h, w, z)
		half := func(i int) *compute.Tensor { return compute.Reshape(compute.Slice(draws, 0, i, i+1), b, h, w, z) }
		noise = half(0)
		latents = compute.Add(latents, compute.Mul(g.Input("deviation", b, h, w, z), half(1)))
	} else {
		noise = g.Input("drawn", b, h, w, z)
	}
	noisy := compute.Add(compute.Mul(each("signal"), latents), compute.Mul(each("noise"), noise))
	target := compute.Add(compute.Mul(each("of_noise"), noise), compute.Mul(each("of_data"), latents))
	states, pooled := d.recordText(g, b)
	y := d.answer(g, noisy, states, pooled)
	return compute.Mean(compute.Mul(compute.Square(compute.Sub(y, target)), each("weight")), false)
}

// answer records the denoiser's answer to noisy latents [B H W C] and a text, and declares its other inputs: time, and in the families
// that have them sizes, and the mask with the masked picture.
func (d *denoising) answer(g *compute.Graph, noisy, states, pooled *compute.Tensor) *compute.Tensor {
	n, h, w := noisy.Dim(0), noisy.Dim(1), noisy.Dim(2)
	in := unet.Inputs{Sample: noisy, Timestep: g.Input("time", n), Context: states, Pooled: pooled}
	if d.UNet.TextTime {
		in.Sizes = g.Input("sizes", n, len(pipeline.Sizes(0, 0)))
	}
	if d.Masked() {
		in.Sample = compute.Concat(-1, noisy, g.Input("hidden", n, h, w, d.UNet.InChannels-noisy.Dim(3)))
	}
	return d.UNet.Predict(in, nil)
}

// surroundings fills in those other inputs but the time for n pictures of a size.
func (d *denoising) surroundings(ctx context.Context, in map[string][]float32, n int, s dataset.Size) error {
	for range n {
		if d.UNet.TextTime {
			in["sizes"] = append(in["sizes"], pipeline.Sizes(s.Width, s.Height)...)
		}
		if !d.Masked() {
			continue
		}
		hidden, err := d.encoder.hidden(ctx, s)
		if err != nil {
			return err
		}
		in["hidden"] = append(in["hidden"], hidden...)
	}
	return nil
}

func (d *denoising) latentSize() (h, w, z int) {
	f := d.VAE.Factor()
	return d.height / f, d.width / f, d.VAE.LatentChannels
}

// latentsOf is the size of the latents of pictures of a size.
func (d *denoising) latentsOf(s dataset.Size) (h, w, z int) {
	f := d.VAE.Factor()
	return s.Height / f, s.Width / f, d.VAE.LatentChannels
}

// goldenRatio spreads validation's noise levels: any number of its multiples, taken without their whole part, lie evenly.
const goldenRatio = 0.6180339887498949

// inputs makes a batch of pictures the loss's inputs. What is drawn in training depends on the seed and the batch's place alone, and
// in validation on the picture and the pass, so that validation losses of all runs on the same pictures compare.
func (d *denoising) inputs(ctx context.Context, b *dataset.Batch, v view) (map[string][]float32, error) {
	n := b.Shape[0]
	mean, deviation, err := d.encoder.encode(ctx, b)
	if err != nil {
		return nil, err
	}
	in := map[string][]float32{"mean": mean, "deviation": deviation, "key": v.key(d.recipe, b)}
	for _, name := range []string{"signal", "noise", "of_noise", "of_data", "time", "weight"} {
		in[name] = make([]float32, n)
	}
	rng := rand.New(rand.NewPCG(d.recipe.Seed, uint64(b.Position)^0x6c6576656c))
	start := rng.Float64()
	for i := range n {
		u, keep := start+float64(i)/float64(n), rng.Float64() >= *d.recipe.Data.CaptionDropout
		caption := d.recipe.Data.Called(b.Captions[i])
		if v.validation {
			u, keep = (float64(b.Items[i])+0.5)*goldenRatio+float64(v.pass[i])/float64(v.passes), true
			size := len(mean) / n
			h, w, z := d.latentsOf(b.Size)
			in["drawn"] = append(in["drawn"], nn.ChannelsLast(diffusion.Noise(validationSeed+uint64(b.Items[i]), uint32(v.pass[i]), size), 1, z, h, w)...)
		}
		if !keep {
			caption = ""
		}
		l := d.level(u-math.Floor(u), !v.validation)
		in["signal"][i], in["noise"][i] = float32(l.Signal), float32(l.Noise)
		in["of_noise"][i], in["of_data"][i] = float32(l.OfNoise), float32(l.OfData)
		in["time"][i], in["weight"][i] = float32(l.time), float32(l.weight*v.share(b, i))
		d.spell(in, caption)
	}
	return in, d.surroundings(ctx, in, n, b.Size)
}

// latentCache bounds the memory that encoded pictures are kept in.
const latentCache = 512 << 20

// encoder gives pictures' latents, keeping those of pictures that come again. A picture is known by its pixels.
type encoder struct {
	*denoising
	rows  int // pictures at once
	exes  map[dataset.Size]compute.Executable
	cache map[[16]byte][]float32 // mean and deviation
	grey  map[dataset.Size][]float32
	left  int64
}

// encode gives the mean and the standard deviation of the latents of a batch, of unit variance over the set.
func (e *encoder) encode(ctx context.Context, b *dataset.Batch) (mean, deviation []float32, err error) {
	h, w, z := e.latentsOf(b.Size)
	data, n := b.Data, b.Shape[0]
	size, row := h*w*z, len(data)/n
	for from := 0; from < n; from += e.rows {
		to := min(from+e.rows, n)
		part := data[from*row : to*row]
		var key [16]byte
		if e.left > 0 || len(e.cache) > 0 {
			key = fingerprint(part, b.Size)
			if have := e.cache[key]; have != nil {
				mean, deviation = append(mean, have[:size]...), append(deviation, have[size:]...)
				continue
			}
		}
		got, err := e.run(ctx, part, b.Size, size)
		if err != nil {
			return nil, nil, err
		}
		rows := to - from
		mean, deviation = append(mean, got[:rows*size]...), append(deviation, got[len(got)/2:len(got)/2+rows*size]...)
		if bytes := int64(len(got) * 4); e.rows == 1 && bytes <= e.left {
			e.left -= bytes
			e.cache[key] = got
		}
	}
	return mean, deviation, nil
}

// hidden is what a denoiser that reads a mask is told where all of a picture is to be made: a mask of ones and the latents of grey, [H W 1+Z].
func (e *encoder) hidden(ctx context.Context, s dataset.Size) ([]float32, error) {
	if have := e.grey[s]; have != nil {
		return have, nil
	}
	h, w, z := e.latentsOf(s)
	got, err := e.run(ctx, make([]float32, s.Width*s.Height*e.VAE.InChannels), s, h*w*z)
	if err != nil {
		return nil, err
	}
	var all []float32
	for i := range h * w {
		all = append(append(all, 1), got[i*z:(i+1)*z]...)
	}
	e.grey[s] = all
	return all, nil
}

// run encodes up to rows pictures: all means, then all deviations.
func (e *encoder) run(ctx context.Context, part []float32, s dataset.Size, size int) ([]float32, error) {
	pictures := e.rows * s.Width * s.Height * e.VAE.InChannels
	exe := e.exes[s]
	if exe == nil {
		g := compute.NewGraph()
		mean, logvar := e.VAE.Encode(g.Input("pictures", e.rows, s.Height, s.Width, e.VAE.InChannels))
		k := e.VAE.ScalingFactor
		g.Output("mean", compute.Affine(mean, k, -e.VAE.Shift()*k))
		g.Output("deviation", compute.Affine(compute.Exp(compute.Affine(logvar, 0.5, 0)), k, 0))
		var err error
		if exe, err = load(ctx, e.dev, g); err != nil {
			return nil, err
		}
		e.exes[s] = exe
	}
	if len(part) < pictures {
		part = append(append(make([]float32, 0, pictures), part...), make([]float32, pictures-len(part))...)
	}
	out := make([]float32, 2*e.rows*size)
	err := exe.Run(ctx, map[string][]float32{"pictures": part}, map[string][]float32{"mean": out[:e.rows*size], "deviation": out[e.rows*size:]})
	if err == nil && !finite(out) {
		err = fmt.Errorf("the autoencoder of the model %s gave numbers that are not finite on %s; try --device host", e.model.Name, e.dev.Name())
	}
	return out, err
}

func (e *encoder) close() {
	for s, exe := range e.exes {
		exe.Close()
		delete(e.exes, s)
	}
}

// load compiles a graph and puts it on the device.
func load(ctx context.Context, dev compute.Device, g *compute.Graph) (compute.Executable, error) {
	plan, err := g.Compile(dev.Limits())
	if err != nil {
		return nil, err
	}
	return dev.Load(ctx, plan)
}

// fingerprint tells pictures apart by their pixels.
func fingerprint(x []float32, s dataset.Size) (key [16]byte) {
	h := sha256.New()
	fmt.Fprintln(h, s.Width, s.Height)
	buf := make([]byte, 0, 1<<14)
	for i, v := range x {
		bits := math.Float32bits(v)
		buf = append(buf, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
		if len(buf) == cap(buf) || i == len(x)-1 {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	copy(key[:], h.Sum(nil))
	return key
}

func finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}
