package pipeline

import (
	"context"
	"fmt"
	"image"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/image/draw"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/cvae"
	"atelier/models/diffusion"
	"atelier/models/flow"
	"atelier/models/gan"
	"atelier/models/nn"
)

// Pipeline makes pictures by one model on one device. Its methods may be called from any goroutine; runs wait for each other.
type Pipeline interface {
	Info() ModelInfo
	ModelHash() string
	Resolve(r Request) (Request, error)
	Memory(r Request) (int64, error)
	Warm(ctx context.Context, r Request) error
	Run(ctx context.Context, r Request, progress func(Progress)) (*Result, error)
	Close()
}

// Open builds the pipeline of an open model, which must stay open. The device is not touched before the first run.
func Open(dev compute.Device, m *catalog.Model) (Pipeline, error) {
	if m.Generator.Here() {
		return newGenerator(dev, m)
	}
	return NewText2Image(dev, m)
}

// Generator makes small pictures of noise in one step: a GAN's generator, a conditional VAE's decoder, or a flow run backwards. Where
// it knows kinds of pictures by name, the prompt says which; where all of these are single letters, the prompt is a word, which
// is set in letters of one style.
type Generator struct {
	dev   compute.Device
	model *catalog.Model
	net   vectorNet
	card  catalog.Card

	mu     sync.Mutex // held by a run
	plan   *compute.Plan
	cells  int // of the plan
	loaded compute.Executable
}

// vectorNet is what a family tells of its network.
type vectorNet struct {
	size, pixels int
	labels       []string
	temperature  float64 // where the card is silent
	// record declares inputs z0, z1, … and, with labels, label [cells], and gives pictures [cells size size pixels] in [−1, 1].
	record func(g *compute.Graph, cells int) (*compute.Tensor, error)
	noises []int // numbers of z0, z1, … for one picture
}

func newGenerator(dev compute.Device, m *catalog.Model) (*Generator, error) {
	net, err := openVectorNet(m)
	if err != nil {
		return nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	return &Generator{dev: dev, model: m, net: net, card: m.Card}, nil
}

// openVectorNet builds the network of a model's generator.
func openVectorNet(m *catalog.Model) (vectorNet, error) {
	p := m.Generator
	s := nn.Load(p.File, p.Weights)
	switch p.Class {
	case gan.StyleClass:
		c, err := gan.ParseStyleConfig(p.Config)
		if err != nil {
			return vectorNet{}, err
		}
		n, err := gan.NewGenerator(s, c)
		return styled(c.Pyramid, c.LabelNames, 0.9, func(z, l *compute.Tensor) *compute.Tensor { return n.Forward(z, l) }), err
	case cvae.Class:
		c, err := cvae.ParseConfig(p.Config)
		if err != nil {
			return vectorNet{}, err
		}
		n, err := cvae.New(s, c)
		return styled(c.Pyramid, c.LabelNames, 1, func(z, l *compute.Tensor) *compute.Tensor { return n.Forward(z, l) }), err
	case flow.Class:
		c, err := flow.ParseConfig(p.Config)
		if err != nil {
			return vectorNet{}, err
		}
		n, err := flow.New(s, c)
		if err != nil {
			return vectorNet{}, err
		}
		return backwards(n), nil
	}
	return vectorNet{}, fmt.Errorf("its generator is a %s, which is no network that this program knows", p.Class)
}

// styled is a network from one vector.
func styled(p nn.Pyramid, labels []string, temperature float64, forward func(z, label *compute.Tensor) *compute.Tensor) vectorNet {
	return vectorNet{size: p.Size, pixels: p.Pixels, labels: labels, temperature: temperature, noises: []int{p.Latent},
		record: func(g *compute.Graph, cells int) (*compute.Tensor, error) {
			var label *compute.Tensor
			if p.Labels > 0 {
				label = g.Input("label", cells)
			}
			return forward(g.Input("z0", cells, p.Latent), label), nil
		}}
}

// backwards is a flow from noise to picture.
func backwards(m *flow.Model) vectorNet {
	n := vectorNet{size: m.Size, pixels: m.Pixels, labels: m.LabelNames, temperature: 0.7}
	for _, s := range m.Shapes(1) {
		n.noises = append(n.noises, s[1]*s[2]*s[3])
	}
	n.record = func(g *compute.Graph, cells int) (*compute.Tensor, error) {
		var z []*compute.Tensor
		for i, s := range m.Shapes(cells) {
			z = append(z, g.Input(fmt.Sprint("z", i), s...))
		}
		var label *compute.Tensor
		if m.Labels > 0 {
			label = g.Input("label", cells)
		}
		x, err := m.Inverse(z, label)
		if err != nil {
			return nil, err
		}
		return flow.Quantised(x), nil
	}
	return n
}

// Close gives the device's memory back. The model stays open.
func (t *Generator) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unload()
}

func (t *Generator) unload() {
	if t.loaded != nil {
		t.loaded.Close()
		t.loaded = nil
	}
}

// mostCells bounds the letters of a word.
const mostCells = 24

// enlarge is how many times a picture's pixels are enlarged where nothing is asked for.
func (t *Generator) enlarge() int {
	if t.card.Enlarge > 0 {
		return t.card.Enlarge
	}
	return max(256/t.net.size, 1)
}

// Info says what the model wants where the person is silent.
func (t *Generator) Info() ModelInfo {
	side := t.net.size * t.enlarge()
	return ModelInfo{Name: t.model.Name, Kind: KindGenerator, Width: side, Height: side, MinSize: t.net.size, MaxSize: max(2048/t.net.size*t.net.size, side),
		SizeStep: t.net.size, Steps: 1, CFG: 1, Transparent: t.net.pixels == 4, Examples: slices.Clone(t.card.Examples), Labels: slices.Clone(t.net.labels),
		Prompting: t.prompting(), Free: !t.spelled()}
}

// prompting says how to word a prompt, in the card's words where it has some.
func (t *Generator) prompting() string {
	switch {
	case t.card.Prompting != "" || len(t.net.labels) == 0:
		return t.card.Prompting
	case t.spelled():
		return "A word of the letters " + some(t.net.labels)
	}
	return "One of " + some(t.net.labels) + "; or nothing, and the seed decides"
}

// ModelHash is the first ten hex digits of the weights' SHA-256.
func (t *Generator) ModelHash() string { return t.model.Hash() }

// spelled reports whether every label is a single letter, so that a prompt is a word.
func (t *Generator) spelled() bool {
	return len(t.net.labels) > 1 && !slices.ContainsFunc(t.net.labels, func(l string) bool { return utf8.RuneCountInString(l) != 1 })
}

// Cells of a picture that are no label's.
const (
	blankCell = -1
	anyCell   = -2 // which label it is, the seed decides
)

// labels gives the labels that a prompt asks for, one a cell; nil for a model without labels.
func (t *Generator) labels(prompt string) ([]int, error) {
	prompt = strings.TrimSpace(prompt)
	switch {
	case len(t.net.labels) == 0:
		return nil, nil
	case t.spelled():
		return t.spell(prompt)
	case prompt == "":
		return []int{anyCell}, nil
	}
	find := func(same func(l string) bool) int { return slices.IndexFunc(t.net.labels, same) }
	for _, same := range []func(l string) bool{
		func(l string) bool { return l == prompt },
		func(l string) bool { return strings.EqualFold(l, prompt) },
		func(l string) bool {
			return slices.Contains(strings.FieldsFunc(strings.ToLower(prompt), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }), strings.ToLower(l))
		},
	} {
		if i := find(same); i >= 0 {
			return []int{i}, nil
		}
	}
	return nil, fmt.Errorf("%s draws %s, and nothing called %.40q", t.model.Name, some(t.net.labels), prompt)
}

func (t *Generator) spell(prompt string) ([]int, error) {
	var cells []int
	known := false
	for _, r := range prompt {
		i := slices.Index(t.net.labels, string(r))
		if i < 0 {
			i = slices.IndexFunc(t.net.labels, func(l string) bool { return strings.EqualFold(l, string(r)) })
		}
		if i < 0 && !unicode.IsSpace(r) {
			return nil, fmt.Errorf("%s has the letters %s, and no %q", t.model.Name, some(t.net.labels), string(r))
		}
		known = known || i >= 0
		cells = append(cells, i)
	}
	switch {
	case !known:
		return nil, fmt.Errorf("%s sets words in letters of its own: give it one, such as %q", t.model.Name, "Atelier")
	case len(cells) > mostCells:
		return nil, fmt.Errorf("%s sets at most %d letters, and the prompt has %d", t.model.Name, mostCells, len(cells))
	}
	return cells, nil
}

// some lists labels for a sentence.
func some(labels []string) string {
	const most = 60
	if len(labels) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(labels[:most], ", "), len(labels)-most)
	}
	return strings.Join(labels, ", ")
}

// Resolve fills in a request's defaults, or says in one sentence what is wrong with it. The height is that of a picture; the width
// follows from the letters of a word.
func (t *Generator) Resolve(r Request) (Request, error) {
	i := t.Info()
	setDefault(&r.Height, i.Height)
	setDefault(&r.Batch, 1)
	cells, err := t.labels(r.Prompt)
	if err != nil {
		return r, err
	}
	if r.Height%t.net.size != 0 || r.Height < i.MinSize || r.Height > i.MaxSize {
		near := min(max((r.Height+t.net.size/2)/t.net.size*t.net.size, i.MinSize), i.MaxSize)
		return r, fmt.Errorf("%s makes pictures whose height is a multiple of %d from %d to %d pixels, and %d is not: try %d", i.Name, t.net.size, i.MinSize, i.MaxSize, r.Height, near)
	}
	if r.Batch < 1 || r.Batch > maxBatch {
		return r, fmt.Errorf("the batch is from 1 to %d pictures, not %d", maxBatch, r.Batch)
	}
	if r.Init != nil || r.Mask != nil || r.Latents != nil {
		return r, fmt.Errorf("%s makes pictures of noise in one step: it takes no picture to begin from, and no latents", i.Name)
	}
	r.Width = r.Height * max(len(cells), 1)
	r.Steps, r.CFG, r.Sampler, r.Schedule, r.Negative = 1, 1, "", "", ""
	return r, nil
}

// compile makes the plan for so many pictures at once.
func (t *Generator) compile(cells int) (*compute.Plan, error) {
	if t.plan != nil && t.cells == cells {
		return t.plan, nil
	}
	return t.net.compile(cells, t.dev.Limits())
}

func (n *vectorNet) compile(cells int, lim compute.Limits) (*compute.Plan, error) {
	g := compute.NewGraph()
	y, err := n.record(g, cells)
	if err != nil {
		return nil, err
	}
	g.Output("picture", y)
	return g.Compile(lim)
}

// predictGenerator is Predict for a picture of one cell, which is made with all of the network at once.
func predictGenerator(m *catalog.Model, lim compute.Limits) (all, least int64, err error) {
	n, err := openVectorNet(m)
	if err != nil {
		return 0, 0, err
	}
	lim.MemoryBytes = 0
	p, err := n.compile(1, lim)
	if err != nil {
		return 0, 0, err
	}
	all = p.SlotBytes() + p.ParamBytes()
	return all, all, nil
}

// Memory is the device memory that a request will hold, in bytes. Nothing is allocated.
func (t *Generator) Memory(r Request) (int64, error) {
	r, err := t.Resolve(r)
	if err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.compile(r.Width / r.Height)
	if err != nil {
		return 0, err
	}
	return p.SlotBytes() + p.ParamBytes(), nil
}

// Warm loads the model for a request.
func (t *Generator) Warm(ctx context.Context, r Request) error {
	r, err := t.Resolve(r)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.prepare(ctx, r.Width/r.Height)
}

func (t *Generator) prepare(ctx context.Context, cells int) error {
	p, err := t.compile(cells)
	if err != nil || t.loaded != nil && p == t.plan {
		return err
	}
	t.unload()
	t.plan, t.cells = p, cells
	t.loaded, err = t.dev.Load(ctx, p)
	return err
}

// Run makes the pictures of a request, one after the other.
func (t *Generator) Run(ctx context.Context, r Request, progress func(Progress)) (*Result, error) {
	r, err := t.Resolve(r)
	if err != nil {
		return nil, err
	}
	labels, err := t.labels(r.Prompt)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if progress == nil {
		progress = func(Progress) {}
	}
	start := time.Now()
	out := &Result{Request: r, Seconds: map[string]float64{}, Device: t.dev.Name(), Model: t.model.Name}
	out.Request.Trace, out.Request.Wildcards = nil, nil
	if len(t.net.labels) == 0 && strings.TrimSpace(r.Prompt) != "" {
		out.Warnings = append(out.Warnings, t.model.Name+" draws without words: the prompt was not read")
	}
	progress(Progress{Phase: "load", Steps: r.Batch})
	if err := t.prepare(ctx, r.Width/r.Height); err != nil {
		return out, err
	}
	out.Seconds["load"] = seconds(time.Since(start))
	begin := time.Now()
	for i := range r.Batch {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		seed := r.Seed + uint64(i)
		drawn, prompt := t.settle(labels, r.Prompt, seed)
		m, err := t.one(ctx, r, seed, drawn)
		if err != nil {
			return out, err
		}
		out.Images, out.Seeds = append(out.Images, m), append(out.Seeds, seed)
		out.Prompts, out.Negatives = append(out.Prompts, prompt), append(out.Negatives, "")
		used, _ := t.dev.Memory()
		done := time.Since(begin)
		progress(Progress{Phase: "denoise", Step: i + 1, Steps: r.Batch, Elapsed: time.Since(start), Left: done / time.Duration(i+1) * time.Duration(r.Batch-i-1), Preview: m, Bytes: used})
	}
	out.Seconds["denoise"], out.Seconds["total"] = seconds(time.Since(begin)), seconds(time.Since(start))
	_, out.PeakBytes = t.dev.Memory()
	out.ModelHash = t.model.Hash()
	return out, nil
}

// settle has the seed decide what the prompt leaves open, and gives the prompt that says so.
func (t *Generator) settle(labels []int, prompt string, seed uint64) ([]int, string) {
	if !slices.Contains(labels, anyCell) {
		return labels, prompt
	}
	l := int(seed % uint64(len(t.net.labels)))
	return []int{l}, t.net.labels[l]
}

// one makes a picture: all letters of a word from the same noise, and so in one style.
func (t *Generator) one(ctx context.Context, r Request, seed uint64, labels []int) (*image.NRGBA, error) {
	cells, s, c := t.cells, t.net.size, t.net.pixels
	heat := t.card.Temperature
	if heat <= 0 {
		heat = t.net.temperature
	}
	in := map[string][]float32{}
	for i, n := range t.net.noises {
		z := diffusion.Noise(seed, uint32(i), n)
		for k := range z {
			z[k] *= float32(heat)
		}
		in[fmt.Sprint("z", i)] = slices.Repeat(z, cells)
	}
	if len(t.net.labels) > 0 {
		for _, l := range labels {
			in["label"] = append(in["label"], float32(max(l, 0)))
		}
	}
	x := make([]float32, cells*s*s*c)
	if err := t.loaded.Run(ctx, in, map[string][]float32{"picture": x}); err != nil {
		return nil, err
	}
	if firstBad(x) >= 0 {
		return nil, fmt.Errorf("the generator gave numbers that are not finite on %s: the picture is lost; try another device (--device host), and run doctor", t.dev.Name())
	}
	fromSigned(x)
	side := make([]float32, len(x)) // the cells side by side
	for k := range cells {
		for y := range s {
			row := side[(y*cells+k)*s*c:][:s*c]
			if labels != nil && labels[k] == blankCell {
				for i := range row {
					row[i] = t.blank()
				}
				continue
			}
			copy(row, x[(k*s+y)*s*c:])
		}
	}
	return t.enlarged(toPicture(rgb(side, c), cells*s, s, max(c, 3)), r.Height/s), nil
}

// blank is the value of a space between words: nothing where pictures are transparent, else paper.
func (t *Generator) blank() float32 {
	if t.net.pixels == 4 {
		return 0
	}
	return 1
}

// rgb repeats grey values three times; other pictures stay as they are.
func rgb(x []float32, channels int) []float32 {
	if channels != 1 {
		return x
	}
	out := make([]float32, 0, 3*len(x))
	for _, v := range x {
		out = append(out, v, v, v)
	}
	return out
}

// enlarged makes pixels n times as large: as squares, or smoothly where the card says so.
func (t *Generator) enlarged(m *image.NRGBA, n int) *image.NRGBA {
	if n == 1 {
		return m
	}
	out := image.NewNRGBA(image.Rect(0, 0, m.Rect.Dx()*n, m.Rect.Dy()*n))
	var how draw.Interpolator = draw.NearestNeighbor
	if t.card.Smooth {
		how = draw.CatmullRom
	}
	how.Scale(out, out.Rect, m, m.Rect, draw.Src, nil)
	return out
}
