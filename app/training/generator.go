package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atelier/app/dataset"
	"atelier/app/engine"
	"atelier/app/report"
	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/cvae"
	"atelier/models/flow"
	"atelier/models/gan"
	"atelier/models/nn"
	"atelier/models/pipeline"
	"atelier/models/train"
)

// Parts of a generator's training in the names of parameters.
const generatorPart, discriminatorPart = "generator/", "discriminator/"

// mostLabelled bounds the distinct captions that may serve as labels.
const mostLabelled = 1024

func fillGenerator(r *Recipe) {
	g := &r.Generator
	if g.Labels == nil {
		yes := r.Kind == "conditional_vae"
		g.Labels = &yes
	}
	setInt(&g.Pixels, 3)
	setInt(&r.Data.Width, 32)
	setInt(&r.Data.Height, r.Data.Width)
	if r.Kind == "flow" {
		setInt(&g.Levels, 3)
		setInt(&g.Steps, 8)
		setInt(&g.Hidden, 64)
		return
	}
	if g.Channels == nil {
		for side, c := 4, 128; side <= r.Data.Width && len(g.Channels) < 9; side *= 2 {
			g.Channels = append(g.Channels, c)
			c = max(c*2/3/8*8, 16)
		}
	}
	setInt(&g.Latent, 32)
	setInt(&g.Style, 64)
	if r.Kind == "gan" && g.R1 == nil {
		g.R1 = number(1)
	}
	if r.Kind == "conditional_vae" && g.KL == nil {
		g.KL = number(1)
	}
}

func generatorBounds(r *Recipe) []bound {
	g := &r.Generator
	b := []bound{{"generator.picture_channels", float64(g.Pixels), 1, 4}}
	if r.Kind == "flow" {
		return append(b, bound{"generator.levels", float64(g.Levels), 1, 8}, bound{"generator.steps", float64(g.Steps), 1, 128}, bound{"generator.hidden", float64(g.Hidden), 1, 4096})
	}
	b = append(b, bound{"generator.latent", float64(g.Latent), 1, 4096}, bound{"generator.style", float64(g.Style), 1, 4096})
	if g.R1 != nil {
		b = append(b, bound{"generator.r1", *g.R1, 0, 1e6})
	}
	if g.KL != nil {
		b = append(b, bound{"generator.kl", *g.KL, 0, 1e6})
	}
	return b
}

func checkGenerator(r *Recipe) error {
	g := &r.Generator
	if r.Data.Width != r.Data.Height {
		return fmt.Errorf("data.width and data.height: a %s makes square pictures, not %d × %d", r.Kind, r.Data.Width, r.Data.Height)
	}
	if r.Kind == "flow" {
		c := g.flow(r, nil)
		return c.Check()
	}
	p := g.pyramid(r, nil)
	if err := p.Check(); err != nil {
		return fmt.Errorf("generator.channels: %w", err)
	}
	return nil
}

func (g *GeneratorRecipe) pyramid(r *Recipe, labels []string) nn.Pyramid {
	return nn.Pyramid{Size: r.Data.Width, Channels: g.Channels, Pixels: g.Pixels, Latent: g.Latent, Style: g.Style, Labels: len(labels)}
}

func (g *GeneratorRecipe) flow(r *Recipe, labels []string) flow.Config {
	return flow.Config{Size: r.Data.Width, Pixels: g.Pixels, Levels: g.Levels, Steps: g.Steps, Hidden: g.Hidden, Labels: len(labels), LabelNames: labels}
}

// generating is the training of a network that makes pictures of noise in one step.
type generating struct {
	dev    compute.Device
	recipe *Recipe
	labels []string
	index  map[string]int
	class  string
	config []byte
	params []*nn.Param
	loss   train.Loss
	start  func(ctx context.Context, in map[string][]float32) error // as a subject's
}

func openGenerator(_ context.Context, dev compute.Device, r *Recipe, set *dataset.Dataset) (*subject, error) {
	g := &generating{dev: dev, recipe: r, index: map[string]int{}}
	if *r.Generator.Labels {
		for _, it := range set.Items {
			g.index[it.Caption] = 0
		}
		if g.labels = slices.Sorted(maps.Keys(g.index)); len(g.labels) > mostLabelled {
			return nil, fmt.Errorf("generator.labels: the pictures have %d different captions, and at most %d can be labels; leave labels out, or give pictures of a kind the same caption", len(g.labels), mostLabelled)
		}
		for i, l := range g.labels {
			g.index[l] = i
		}
	}
	build := map[string]func() (any, error){"gan": g.gan, "conditional_vae": g.cvae, "flow": g.flow}[r.Kind]
	config, err := build()
	if err == nil {
		g.config, err = withClass(config, g.class)
	}
	if err != nil {
		return nil, err
	}
	return &subject{params: g.params, loss: g.loss, width: r.Data.Width, height: r.Data.Height, channels: r.Generator.Pixels, random: true,
		bits: r.Kind == "flow", inputs: g.inputs, start: g.start, prompts: g.prompts, sample: g.sample, compare: g.evaluate, export: g.export, close: func() {}}, nil
}

// withClass is a configuration as JSON with its class name.
func withClass(config any, class string) ([]byte, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	all["_class_name"] = class
	return json.MarshalIndent(all, "", " ")
}

// feed declares what every loss reads: pictures, their labels (nil without), and each picture's weight.
func (g *generating) feed(p train.Pass) (x, label, weight *compute.Tensor) {
	x, label = g.pictures(p.Graph)
	return x, label, p.Graph.Input("weight", g.recipe.Train.Batch, 1, 1, 1)
}

// pictures declares pictures and their labels (nil without).
func (g *generating) pictures(in *compute.Graph) (x, label *compute.Tensor) {
	r := g.recipe
	b := r.Train.Batch
	x = in.Input("pictures", b, r.Data.Height, r.Data.Width, r.Generator.Pixels)
	if len(g.labels) > 0 {
		label = in.Input("labels", b)
	}
	return x, label
}

func (g *generating) inputs(_ context.Context, b *dataset.Batch, v view) (map[string][]float32, error) {
	in := map[string][]float32{"pictures": b.Data}
	for i, caption := range b.Captions {
		share := v.share(b, i)
		l, known := g.index[caption]
		if len(g.labels) > 0 {
			if in["labels"] = append(in["labels"], float32(l)); !known {
				share = 0 // a label that validation alone has
			}
		}
		in["weight"] = append(in["weight"], float32(share))
	}
	in["noise key"] = v.key(g.recipe, b)
	return in, nil
}

// gan is a style-based generator against its discriminator, both trained at once: each sees the other as it is.
func (g *generating) gan() (any, error) {
	r := g.recipe
	c := gan.StyleConfig{Pyramid: r.Generator.pyramid(r, g.labels), LabelNames: g.labels}
	gs, ds := nn.Initialise(r.Seed), nn.Initialise(r.Seed+1)
	net, err := gan.NewGenerator(gs, c)
	if err != nil {
		return nil, err
	}
	critic, err := gan.NewDiscriminator(ds, c.Pyramid)
	if err != nil {
		return nil, err
	}
	critics := ds.Params()
	g.class = gan.StyleClass
	g.params = append(prefixed(gs.Params(), generatorPart), prefixed(critics, discriminatorPart)...)
	g.loss = func(p train.Pass) *compute.Tensor {
		x, label, weight := g.feed(p)
		z := compute.RandomNormal(p.Graph.Input("noise key", compute.RandomKeySize), r.Train.Batch, c.Latent)
		made := net.Forward(z, label)
		real := critic.Forward(x, label)
		loss := gan.DiscriminatorLoss(real, critic.Forward(compute.Detach(made), label))
		p.Graph.Output("discriminator", loss)
		if *r.Generator.R1 > 0 && p.Training {
			loss = compute.Add(loss, compute.Affine(gan.R1(real, x), *r.Generator.R1, 0))
		}
		for _, d := range critics { // from here on the discriminator is a judge, not a pupil
			p.Graph.Bind(d.Source, compute.Detach(d.In(x)))
		}
		own := gan.GeneratorLoss(critic.Forward(made, label))
		p.Graph.Output("generator", own)
		return compute.Add(compute.Add(loss, own), compute.Affine(compute.Sum(weight, false), 0, 0))
	}
	return c, nil
}

// cvae is a conditional variational autoencoder.
func (g *generating) cvae() (any, error) {
	r := g.recipe
	c := cvae.Config{Pyramid: r.Generator.pyramid(r, g.labels), LabelNames: g.labels}
	s := nn.Initialise(r.Seed)
	m, err := cvae.New(s, c)
	if err != nil {
		return nil, err
	}
	g.class = cvae.Class
	g.params = prefixed(s.Params(), generatorPart)
	g.loss = func(p train.Pass) *compute.Tensor {
		x, label, weight := g.feed(p)
		mean, logvar := m.Encode(x, label)
		z := cvae.Sample(mean, logvar, p.Graph.Input("noise key", compute.RandomKeySize))
		error, divergence := cvae.Loss(x, m.Forward(z, label), mean, logvar, compute.Reshape(weight, r.Train.Batch))
		p.Graph.Output("reconstruction", error)
		p.Graph.Output("divergence", divergence)
		return compute.Add(error, compute.Affine(divergence, *r.Generator.KL, 0))
	}
	return c, nil
}

// flow is a normalising flow; its loss is in bits a value.
func (g *generating) flow() (any, error) {
	r := g.recipe
	c := r.Generator.flow(r, g.labels)
	s := nn.Initialise(r.Seed)
	m, err := flow.New(s, c)
	if err != nil {
		return nil, err
	}
	g.class = flow.Class
	g.params = prefixed(s.Params(), generatorPart)
	spread := func(x *compute.Tensor) *compute.Tensor {
		return flow.Dequantise(x, compute.RandomUniform(x.Graph().Input("noise key", compute.RandomKeySize), x.Shape()...))
	}
	g.start = func(ctx context.Context, in map[string][]float32) error {
		graph := compute.NewGraph()
		x, label := g.pictures(graph)
		return g.begin(ctx, graph, m.Starts(spread(x), label), in)
	}
	g.loss = func(p train.Pass) *compute.Tensor {
		x, label, weight := g.feed(p)
		z, logdet := m.Forward(spread(x), label)
		return compute.Mean(compute.Mul(m.Bits(z, logdet), compute.Reshape(weight, r.Train.Batch)), false)
	}
	return c, nil
}

// begin computes parameters' values in a graph of a batch's inputs, and gives them to the parameters.
func (g *generating) begin(ctx context.Context, graph *compute.Graph, starts map[*nn.Param]*compute.Tensor, in map[string][]float32) error {
	for p, start := range starts {
		graph.Output(p.Name, start)
	}
	values, err := compute.Evaluate(ctx, g.dev, graph, in)
	if err != nil {
		return err
	}
	for p := range starts {
		if !finite(values[p.Name]) {
			return fmt.Errorf("the first pictures give %s numbers that are not finite on %s; try --device host", p.Name, g.dev.Name())
		}
		p.Source = &compute.Values{Data: values[p.Name]}
	}
	return nil
}

// prompts are what samples are drawn of.
func (g *generating) prompts() []string {
	if p := g.recipe.Samples.Prompts; len(p) > 0 {
		return p
	}
	letters := 0
	for _, l := range g.labels {
		if len([]rune(l)) == 1 {
			letters++
		}
	}
	switch {
	case len(g.labels) == 0:
		return []string{""}
	case letters == len(g.labels):
		return []string{strings.Join(g.labels[:min(len(g.labels), 16)], "")}
	}
	return g.labels[:min(len(g.labels), fewPrompts)]
}

// kept is tensors in memory.
type kept map[string]checkpoint.Tensor

// Names implements checkpoint.Tensors.
func (k kept) Names() []string { return slices.Sorted(maps.Keys(k)) }

// Get implements checkpoint.Tensors.
func (k kept) Get(name string) (checkpoint.Tensor, bool) {
	t, ok := k[name]
	return t, ok
}

// Metadata implements checkpoint.Tensors.
func (k kept) Metadata() map[string]string { return map[string]string{} }

// Close implements checkpoint.Tensors.
func (k kept) Close() error { return nil }

// own is the generator's tensors among all weights.
func own(weights []checkpoint.Tensor) kept {
	k := kept{}
	for _, w := range weights {
		if name, ok := strings.CutPrefix(w.Name, generatorPart); ok {
			w.Name = name
			k[name] = w
		}
	}
	return k
}

// plainSamples is how many pictures without words a sample shows, side by side.
const plainSamples = 16

// open is the pipeline of the image workspace, with the weights as they are.
func (g *generating) open(ctx context.Context, t *train.Trainer) (pipeline.Pipeline, error) {
	weights, err := t.Weights(ctx, g.recipe.Train.EMA > 0)
	if err != nil {
		return nil, err
	}
	m := catalog.Generating(g.recipe.Name, catalog.Part{Class: g.class, Config: g.config, File: g.recipe.Name, Weights: own(weights)}, g.card())
	return pipeline.Open(g.dev, m)
}

// mostJudged is how many pictures are made to be judged, and fewer where fewer are trained on.
const mostJudged = 100

// evaluate makes pictures, with the labels that the set has, and judges them by the built-in model's autoencoder.
func (g *generating) evaluate(ctx context.Context, t *train.Trainer, _ []shot, shown, held *dataset.Dataset) (*report.Evaluation, error) {
	pipe, err := g.open(ctx, t)
	if err != nil {
		return nil, err
	}
	defer pipe.Close()
	var made []image.Image
	n := min(len(shown.Items), mostJudged)
	for i := range n {
		r := pipeline.Request{Seed: uint64(i) + 1, Height: g.recipe.Data.Height, Batch: 1}
		if len(g.labels) > 0 {
			r.Prompt = shown.Items[i*len(shown.Items)/n].Caption
		}
		res, err := pipe.Run(ctx, r, nil)
		if err != nil {
			return nil, err
		}
		for _, m := range res.Images {
			made = append(made, m)
		}
	}
	m, err := engine.OpenModel(builtIn)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return judged(ctx, g.dev, m, made, g.recipe.Generator.Pixels, shown, held)
}

// sample draws as the image workspace does.
func (g *generating) sample(ctx context.Context, t *train.Trainer, _ *dataset.Dataset) ([]shot, error) {
	pipe, err := g.open(ctx, t)
	if err != nil {
		return nil, err
	}
	defer pipe.Close()
	var shots []shot
	for _, prompt := range g.prompts() {
		for _, seed := range g.recipe.Samples.Seeds {
			r := pipeline.Request{Prompt: prompt, Seed: seed, Height: g.recipe.Data.Height, Batch: 1}
			n := 1
			if len(g.labels) == 0 {
				n = plainSamples
			}
			var pictures []*image.NRGBA
			for i := range n {
				r.Seed = seed + uint64(i)
				res, err := pipe.Run(ctx, r, nil)
				if err != nil {
					return nil, err
				}
				pictures = append(pictures, res.Images...)
			}
			label := fmt.Sprintf("%s, seed %d", prompt, seed)
			if n > 1 {
				label = fmt.Sprintf("seeds %d to %d", seed, seed+uint64(n)-1)
			}
			shots = append(shots, shot{label, square(pictures)})
		}
	}
	return shots, nil
}

// square lays pictures of one size out in a square.
func square(pictures []*image.NRGBA) *image.NRGBA {
	if len(pictures) == 1 {
		return pictures[0]
	}
	side := int(math.Ceil(math.Sqrt(float64(len(pictures)))))
	w, h := pictures[0].Rect.Dx(), pictures[0].Rect.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, side*w, (len(pictures)+side-1)/side*h))
	for i, p := range pictures {
		at := image.Pt(i%side*w, i/side*h)
		draw.Draw(out, p.Rect.Add(at), p, image.Point{}, draw.Src)
	}
	return out
}

// card is what the model says of itself.
func (g *generating) card() catalog.Card {
	c := catalog.Card{Name: g.recipe.Name, Examples: g.prompts(), Enlarge: max(256/g.recipe.Data.Width, 1), Smooth: g.recipe.Generator.Smooth}
	if len(g.labels) == 0 {
		c.Examples = nil
	}
	return c
}

// export writes a model folder that the image workspace opens.
func (g *generating) export(_ context.Context, weights []checkpoint.Tensor, dir, name string, o Outcome) (string, error) {
	folder := filepath.Join(dir, name)
	part := filepath.Join(folder, "generator")
	if err := os.MkdirAll(part, 0o755); err != nil {
		return "", unsaved(folder, err)
	}
	var ts []checkpoint.Tensor
	k := own(weights)
	for _, n := range k.Names() {
		half, err := inHalf(k[n], n)
		if err != nil {
			return "", err
		}
		ts = append(ts, half)
	}
	if len(ts) == 0 {
		return "", errors.New("there are no weights of the generator to save")
	}
	if err := checkpoint.Write(filepath.Join(part, "model.safetensors"), ts, map[string]string{"format": "pt"}); err != nil {
		return "", err
	}
	if err := writeText(filepath.Join(part, "config.json"), string(g.config)+"\n"); err != nil {
		return "", err
	}
	if err := writeJSON(filepath.Join(folder, "atelier.json"), g.card()); err != nil {
		return "", err
	}
	return folder, writeText(filepath.Join(folder, "README.md"), o.Card)
}
