package training

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"atelier/app/dataset"
	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/judge"
	"atelier/models/nn"
	"atelier/models/train"
	"atelier/models/vae"
)

func fillVAE(r *Recipe) {
	v := &r.VAE
	if v.KL == nil {
		v.KL = number(1e-3)
	}
	if v.Gradient == nil {
		v.Gradient = number(0.5)
	}
	if r.Base != "" {
		return // the network is the base model's
	}
	if v.Channels == nil {
		v.Channels = []int{32, 64, 96}
	}
	setInt(&v.Layers, 1)
	setInt(&v.Groups, 16)
	setInt(&v.Latents, 4)
	setInt(&v.Pixels, 3)
	if v.Attention == nil {
		yes := true
		v.Attention = &yes
	}
	setInt(&r.Data.Width, 64)
	setInt(&r.Data.Height, r.Data.Width)
}

func vaeBounds(r *Recipe) []bound {
	v := &r.VAE
	b := []bound{{"autoencoder.kl", *v.KL, 0, 1e6}, {"autoencoder.gradient", *v.Gradient, 0, 1e6}}
	if r.Base == "" {
		b = append(b, bound{"autoencoder.layers", float64(v.Layers), 1, 16}, bound{"autoencoder.groups", float64(v.Groups), 1, 1024},
			bound{"autoencoder.latent_channels", float64(v.Latents), 1, 256}, bound{"autoencoder.picture_channels", float64(v.Pixels), 1, 4})
	}
	return b
}

func checkVAE(r *Recipe) error {
	v := &r.VAE
	switch {
	case r.Base != "" && (v.Channels != nil || v.Layers != 0 || v.Groups != 0 || v.Latents != 0 || v.Pixels != 0 || v.Attention != nil):
		return fmt.Errorf("autoencoder: the network is that of the model %s, so channels, layers, groups, latent_channels, picture_channels and attention must be left out", r.Base)
	case r.Base == "" && v.Decoder:
		return fmt.Errorf("autoencoder.decoder_only: there is no encoder to keep; name a base model, or leave it out")
	case r.Base == "" && v.Pixels == 2:
		return fmt.Errorf("autoencoder.picture_channels: pictures have 1 (grey), 3 (RGB) or 4 (RGBA) channels, not 2")
	case r.Base == "" && (len(v.Channels) < 1 || len(v.Channels) > 8):
		return fmt.Errorf("autoencoder.channels: %d levels are not possible; give 1 to 8 numbers, such as [32, 64, 96]", len(v.Channels))
	}
	for _, c := range v.Channels {
		if c < 1 || c > 4096 || c%v.Groups != 0 {
			return fmt.Errorf("autoencoder.channels: %d is no multiple of autoencoder.groups, %d, or beyond 4096", c, v.Groups)
		}
	}
	return nil
}

// coding is the training of an autoencoder.
type coding struct {
	*vae.Model
	dev           compute.Device
	recipe        *Recipe
	set           *dataset.Dataset
	base          *base // nil from scratch
	width, height int
	sizes         []dataset.Size // of batches, by variant
	config        []byte
}

func openVAE(_ context.Context, dev compute.Device, r *Recipe, set *dataset.Dataset) (*subject, error) {
	c := &coding{dev: dev, recipe: r, set: set}
	params, err := c.build()
	if err != nil {
		c.close()
		return nil, err
	}
	return &subject{
		params: params, loss: c.loss, width: c.width, height: c.height, channels: c.InChannels, step: c.Factor(), resize: func(sizes []dataset.Size) { c.sizes = sizes },
		inputs: c.inputs, sample: c.sample, measure: c.measure, export: c.export, close: c.close,
	}, nil
}

func (c *coding) close() {
	if c.base != nil {
		c.base.model.Close()
	}
}

// build makes the network and gives what is trained of it.
func (c *coding) build() ([]*nn.Param, error) {
	r := c.recipe
	if r.Base != "" {
		b, err := openBase(r.Base, false, r.Seed)
		if err != nil {
			return nil, err
		}
		c.base, c.Model, c.config = b, b.VAE, b.model.VAE.Config
		if b.files == nil {
			return nil, fmt.Errorf("base: the model %s is one file; its autoencoder can be trained onward where it is a folder in the layout of diffusers", b.model.Name)
		}
		if c.width, c.height, err = b.size(r); err != nil {
			return nil, err
		}
		params := b.VAEParams
		if r.VAE.Decoder {
			params = nil
			for _, p := range b.VAEParams {
				if strings.HasPrefix(p.Name, "decoder.") || strings.HasPrefix(p.Name, "post_quant_conv.") {
					params = append(params, p)
				}
			}
		}
		return params, nil
	}
	v := &r.VAE
	down, up := make([]string, len(v.Channels)), make([]string, len(v.Channels))
	for i := range down {
		down[i], up[i] = "DownEncoderBlock2D", "UpDecoderBlock2D"
	}
	config := map[string]any{"_class_name": "AutoencoderKL", "in_channels": v.Pixels, "out_channels": v.Pixels, "block_out_channels": v.Channels, "layers_per_block": v.Layers,
		"latent_channels": v.Latents, "norm_num_groups": v.Groups, "sample_size": r.Data.Width, "act_fn": "silu", "mid_block_add_attention": *v.Attention,
		"down_block_types": down, "up_block_types": up, "scaling_factor": 1.0}
	var err error
	if c.config, err = json.Marshal(config); err != nil {
		return nil, err
	}
	parsed, err := vae.ParseConfig(c.config)
	if err != nil {
		return nil, err
	}
	c.width, c.height = r.Data.Width, r.Data.Height
	if f := parsed.Factor(); c.width%f != 0 || c.height%f != 0 {
		return nil, fmt.Errorf("data.width and data.height: %d × %d are no multiples of %d, by which the autoencoder makes pictures smaller", c.width, c.height, f)
	}
	s := nn.Initialise(r.Seed)
	if c.Model, err = vae.New(s, parsed); err != nil {
		return nil, err
	}
	return s.Params(), nil
}

// loss is the mean absolute error of pictures and of their slopes, and the latents' divergence from a standard normal distribution
// an element of the picture (Kingma & Welling 2014, Rombach et al. 2022).
func (c *coding) loss(p train.Pass) *compute.Tensor {
	g, b, v := p.Graph, c.recipe.Train.Batch, &c.recipe.VAE
	size := c.sizes[p.Variant]
	x := g.Input("pictures", b, size.Height, size.Width, c.InChannels)
	weight := g.Input("weight", b, 1, 1, 1)
	mean, logvar := c.Encode(x)
	z := mean
	if p.Training {
		s := mean.Shape()
		z = compute.Add(mean, compute.Mul(compute.Exp(compute.Affine(logvar, 0.5, 0)), compute.RandomNormal(g.Input("key", compute.RandomKeySize), s...)))
	}
	y := c.Decode(z)
	error := compute.Sub(y, x)
	weighted := func(t *compute.Tensor) *compute.Tensor {
		return compute.Mean(compute.Mul(compute.Abs(t), weight), false)
	}
	loss := weighted(error)
	g.Output("reconstruction", loss)
	if *v.Gradient > 0 && size.Height > 1 && size.Width > 1 {
		for axis, n := range []int{1: size.Height, 2: size.Width} {
			if n > 0 {
				slope := compute.Sub(compute.Slice(error, axis, 1, n), compute.Slice(error, axis, 0, n-1))
				loss = compute.Add(loss, compute.Affine(weighted(slope), *v.Gradient/2, 0))
			}
		}
	}
	if *v.KL > 0 && !v.Decoder {
		terms := compute.Sub(compute.Add(compute.Square(mean), compute.Exp(logvar)), compute.Affine(logvar, 1, 1))
		share := float64(terms.Shape().Size()) / float64(x.Shape().Size())
		loss = compute.Add(loss, compute.Affine(compute.Mean(compute.Mul(terms, weight), false), 0.5**v.KL*share, 0))
	}
	return loss
}

func (c *coding) inputs(_ context.Context, b *dataset.Batch, v view) (map[string][]float32, error) {
	weight := make([]float32, b.Shape[0])
	for i := range weight {
		weight[i] = float32(v.share(b, i))
	}
	return map[string][]float32{"pictures": b.Data, "weight": weight, "key": v.key(c.recipe, b)}, nil
}

// through calls do for pictures of the set with what the network makes of them and their latents' means.
func (c *coding) through(ctx context.Context, t *train.Trainer, set *dataset.Dataset, most int, do func(in, out, latents []float32)) error {
	g := compute.NewGraph()
	t.BindAverages(g)
	mean, _ := c.Encode(g.Input("pictures", 1, c.height, c.width, c.InChannels))
	g.Output("latents", mean)
	g.Output("pictures", c.Decode(mean))
	exe, err := load(ctx, c.dev, g)
	if err != nil {
		return err
	}
	defer exe.Close()
	o := c.recipe.batchOptions(&subject{width: c.width, height: c.height, channels: c.InChannels}, false)
	o.Size, o.Buckets.Single = 1, true
	batches, err := set.Batches(c.recipe.Seed, o)
	if err != nil {
		return err
	}
	latents, n := make([]float32, mean.Shape().Size()), min(most, batches.PerEpoch())
	for i := range n {
		b, err := batches.At(ctx, int64(i)*int64(batches.PerEpoch())/int64(n))
		if err != nil {
			return err
		}
		out := make([]float32, len(b.Data))
		if err := exe.Run(ctx, map[string][]float32{"pictures": b.Data}, map[string][]float32{"latents": latents, "pictures": out}); err != nil {
			return err
		}
		do(b.Data, out, latents)
	}
	return nil
}

// Numbers of pictures that a sample sheet, the figures and the latents' spread are made of.
const sheetPictures, figurePictures = 4, 256

// sample puts some pictures through the network: each beside what comes back.
func (c *coding) sample(ctx context.Context, t *train.Trainer, set *dataset.Dataset) ([]shot, error) {
	var shots []shot
	err := c.through(ctx, t, set, sheetPictures, func(in, out, _ []float32) {
		n := len(shots)/2 + 1
		shots = append(shots, shot{fmt.Sprintf("picture %d", n), dataset.Picture(in, c.width, c.height, c.InChannels)},
			shot{fmt.Sprintf("picture %d again", n), dataset.Picture(out, c.width, c.height, c.InChannels)})
	})
	return shots, err
}

// measure gives the fidelity of what comes back, and how far latents spread.
func (c *coding) measure(ctx context.Context, t *train.Trainer, set *dataset.Dataset) ([]Figure, error) {
	var psnr, ssim, sum, squares, count, n float64
	var first error
	large := min(c.width, c.height) >= ssimWindow
	err := c.through(ctx, t, set, figurePictures, func(in, out, latents []float32) {
		for i, v := range out {
			out[i] = min(max(v, -1), 1)
		}
		a, b := judge.Picture{H: c.height, W: c.width, C: c.InChannels, X: in}, judge.Picture{H: c.height, W: c.width, C: c.InChannels, X: out}
		p, err := judge.PSNR(a, b, 2)
		s := 0.0
		if err == nil && large {
			s, err = judge.SSIM(a, b, 2)
		}
		if first == nil {
			first = err
		}
		if !math.IsInf(p, 1) {
			psnr += p
		} else {
			psnr += 100
		}
		ssim += s
		n++
		for _, v := range latents {
			sum += float64(v)
			squares += float64(v) * float64(v)
			count++
		}
	})
	if err == nil {
		err = first
	}
	if err != nil {
		return nil, err
	}
	spread := math.Sqrt(max(squares/count-(sum/count)*(sum/count), 1e-12))
	where := fmt.Sprintf("mean of %.0f pictures", n)
	figures := []Figure{{"PSNR", psnr / n, "dB", where}, {latentSpread, spread, "", "standard deviation over all latents"}}
	if large {
		figures = append(figures, Figure{"SSIM", ssim / n, "", where})
	}
	return figures, nil
}

// ssimWindow is the least side of pictures that have a structural similarity.
const ssimWindow = 11

// latentSpread is the figure from which the scaling factor follows.
const latentSpread = "spread of the latents"

// export writes the autoencoder as diffusers do; trained from a model, the whole model with it in place of its own.
func (c *coding) export(_ context.Context, weights []checkpoint.Tensor, dir, name string, o Outcome) (string, error) {
	folder := filepath.Join(dir, name)
	part := folder
	all := map[string]checkpoint.Tensor{}
	for _, w := range weights {
		all[w.Name] = w
	}
	if c.base != nil {
		part = filepath.Join(folder, "vae")
		own := func(file string) bool {
			return strings.HasPrefix(file, "vae/") || file == "README.md" || file == "samples.png"
		}
		if err := copyFolder(c.base.files, folder, own); err != nil {
			return "", err
		}
		for _, p := range c.base.VAEParams { // those that stayed as they were
			if stored, ok := c.base.model.VAE.Weights.Get(p.Name); ok {
				if _, trained := all[p.Name]; !trained {
					all[p.Name] = stored
				}
			}
		}
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return "", unsaved(part, err)
	}
	var config map[string]any
	if err := json.Unmarshal(c.config, &config); err != nil {
		return "", err
	}
	for _, f := range o.Figures {
		if f.Name == latentSpread && c.base == nil {
			config["scaling_factor"] = 1 / f.Value
		}
	}
	if err := writeJSON(filepath.Join(part, "config.json"), config); err != nil {
		return "", err
	}
	var ts []checkpoint.Tensor
	for _, t := range all {
		half, err := inHalf(t, t.Name)
		if err != nil {
			return "", err
		}
		ts = append(ts, half)
	}
	if err := checkpoint.Write(filepath.Join(part, "diffusion_pytorch_model.safetensors"), ts, map[string]string{"format": "pt"}); err != nil {
		return "", err
	}
	return folder, writeText(filepath.Join(folder, "README.md"), o.Card)
}
