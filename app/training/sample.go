package training

import (
	"context"
	"fmt"
	"maps"

	"atelier/app/dataset"
	"atelier/compute"
	"atelier/models/diffusion"
	"atelier/models/nn"
	"atelier/models/train"
)

// fewPrompts is how many captions stand in for prompts where a recipe names none.
const fewPrompts = 4

// prompts are what samples are drawn of: the recipe's, or else some of the set's captions.
func (d *denoising) prompts() []string {
	if len(d.recipe.Samples.Prompts) > 0 {
		return d.recipe.Samples.Prompts
	}
	var out []string
	seen := map[string]bool{}
	for i := range d.set.Items {
		// spread over the set, which is sorted by name
		c := d.set.Items[i*7919%len(d.set.Items)].Caption
		if c = d.recipe.Data.Called(c); c != "" && !seen[c] && len(out) < fewPrompts {
			seen[c] = true
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		out = append(out, "")
	}
	return out
}

// guidance is the recipe's CFG scale, or the model's.
func (d *denoising) guidance() float64 {
	for _, v := range []float64{d.recipe.Samples.CFG, d.model.CFG} {
		if v > 0 {
			return v
		}
	}
	return 7
}

// painter draws samples with the parameters as they are.
type painter struct {
	*denoising
	text, denoise, decode compute.Executable
	rows                  int // 2 with guidance: the unconditional one first
}

// sample draws every prompt with every seed.
func (d *denoising) sample(ctx context.Context, t *train.Trainer, _ *dataset.Dataset) ([]shot, error) {
	p := &painter{denoising: d, rows: 1}
	if d.guidance() != 1 {
		p.rows = 2
	}
	defer p.close()
	if err := p.load(ctx, t); err != nil {
		return nil, err
	}
	var shots []shot
	for _, prompt := range d.prompts() {
		for _, seed := range d.recipe.Samples.Seeds {
			s, err := p.paint(ctx, prompt, seed)
			if err != nil {
				return nil, err
			}
			shots = append(shots, s)
		}
	}
	return shots, nil
}

func (p *painter) close() {
	for _, exe := range []compute.Executable{p.text, p.denoise, p.decode} {
		if exe != nil {
			exe.Close()
		}
	}
}

// graph is one in which the parameters stand as they are trained.
func (p *painter) graph(t *train.Trainer) *compute.Graph {
	g := compute.NewGraph()
	t.BindAverages(g)
	if p.bind != nil {
		p.bind(g)
	}
	return g
}

func (p *painter) load(ctx context.Context, t *train.Trainer) (err error) {
	h, w, z := p.latentSize()
	g := p.graph(t)
	states, pooled := p.recordText(g, p.rows)
	g.Output("states", states)
	if pooled != nil {
		g.Output("pooled", pooled)
	}
	if p.text, err = load(ctx, p.dev, g); err != nil {
		return err
	}
	g = p.graph(t)
	context := g.Input("context", p.rows, states.Dim(1), states.Dim(2))
	if pooled != nil {
		pooled = g.Input("pooled", p.rows, pooled.Dim(1))
	}
	g.Output("answer", p.answer(g, g.Input("sample", p.rows, h, w, z), context, pooled))
	if p.denoise, err = load(ctx, p.dev, g); err != nil {
		return err
	}
	g = compute.NewGraph()
	g.Output("picture", p.VAE.Decode(g.Input("latents", 1, h, w, z)))
	p.decode, err = load(ctx, p.dev, g)
	return err
}

// paint draws one picture, with the noise that the image workspace draws from the same seed.
func (p *painter) paint(ctx context.Context, prompt string, seed uint64) (shot, error) {
	texts := []string{prompt}
	if p.rows == 2 {
		texts = []string{"", prompt}
	}
	said, err := p.read(ctx, texts)
	if err != nil {
		return shot{}, err
	}
	sampler, err := diffusion.New("ddim", "normal", p.Scheduler, p.recipe.Samples.Steps)
	if err != nil {
		return shot{}, fmt.Errorf("samples: %w", err)
	}
	h, w, z := p.latentSize()
	x := nn.ChannelsLast(diffusion.Noise(seed, 0, h*w*z), 1, z, h, w)
	for i := range x {
		x[i] *= float32(sampler.InitNoiseSigma())
	}
	for i, t := range sampler.Timesteps() {
		answer, err := p.predict(ctx, sampler.ScaleInput(i, x), float32(t), said)
		if err != nil {
			return shot{}, err
		}
		if x, _, err = sampler.Step(i, answer, x, nil); err != nil {
			return shot{}, err
		}
	}
	k, shift := float32(1/p.VAE.ScalingFactor), float32(p.VAE.Shift())
	for i, v := range x {
		x[i] = v*k + shift
	}
	f, c := p.VAE.Factor(), p.VAE.OutChannels
	picture := make([]float32, h*f*w*f*c)
	if err := p.decode.Run(ctx, map[string][]float32{"latents": x}, map[string][]float32{"picture": picture}); err != nil {
		return shot{}, err
	}
	return shot{fmt.Sprintf("%s, seed %d", prompt, seed), dataset.Picture(picture, w*f, h*f, c)}, nil
}

// read gives what the denoiser is told beside the noisy latents and the time, for texts.
func (p *painter) read(ctx context.Context, texts []string) (map[string][]float32, error) {
	in, said := map[string][]float32{}, map[string][]float32{}
	for _, text := range texts {
		p.spell(in, text)
	}
	said["context"] = make([]float32, p.rows*p.Encoders[0].MaxPositions*p.UNet.ContextDim[0])
	out := map[string][]float32{"states": said["context"]}
	if len(p.Encoders) > 1 {
		said["pooled"] = make([]float32, p.rows*p.Encoders[1].ProjectionDim)
		out["pooled"] = said["pooled"]
	}
	if err := p.text.Run(ctx, in, out); err != nil {
		return nil, err
	}
	if !p.UNet.TextTime {
		delete(said, "pooled")
	}
	return said, p.surroundings(ctx, said, p.rows, dataset.Size{Width: p.width, Height: p.height})
}

// predict gives the denoiser's answer, guided away from that for no words.
func (p *painter) predict(ctx context.Context, x []float32, t float32, said map[string][]float32) ([]float32, error) {
	in := maps.Clone(said)
	var sample, times []float32
	for range p.rows {
		sample, times = append(sample, x...), append(times, t)
	}
	answer := make([]float32, len(sample))
	in["sample"], in["time"] = sample, times
	if err := p.denoise.Run(ctx, in, map[string][]float32{"answer": answer}); err != nil {
		return nil, err
	}
	if p.rows == 1 {
		return answer, nil
	}
	guided, scale := make([]float32, len(x)), float32(p.guidance())
	for i := range guided {
		guided[i] = answer[i] + scale*(answer[len(x)+i]-answer[i])
	}
	return guided, nil
}

// prefixed puts the part's name before the names of its parameters.
func prefixed(params []*nn.Param, prefix string) []*nn.Param {
	for _, p := range params {
		p.Name = prefix + p.Name
	}
	return params
}
