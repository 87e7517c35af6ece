package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/clip"
	"atelier/models/gan"
	"atelier/models/nn"
	"atelier/models/unet"
)

// Tensor is named numbers as files hold them: row-major, pictures and latents B C H W.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Components lists what Probe can run.
func Components() []string {
	return []string{"text_encoder", "text_encoder_2", "unet", "controlnet", "vae.encode", "vae.decode", "taesd.encode", "taesd.decode", "upscaler"}
}

// ProbeOptions are the choices of Probe.
type ProbeOptions struct {
	Activations bool // also give the denoiser's intermediate results, as act.<module>
	LoRAs       []LoRA
	Embeddings  []string // files of textual inversion, whose vectors have the ids after the vocabulary's, in this order
}

// probe builds one component's graph over its inputs and names the outputs.
type probe struct {
	in      map[string]Tensor
	used    map[string]bool
	g       *compute.Graph
	feed    map[string][]float32
	spatial map[string]bool // outputs that are B H W C in the graph
	err     error

	activations bool
	adapters    adapters
}

// Probe runs one part of a model on given tensors:
//
//	text_encoder    input_ids [B T] → last_hidden_state, clip_skip_2_with_final_ln, hidden_states.N [B T C],
//	                pooler_output [B C], text_embeds [B P]
//	text_encoder_2  the same
//	unet            sample [B C H W], timestep [B] or [1], encoder_hidden_states [B S D] → sample, and act.<module>; in the
//	                families that read them also text_embeds [B P] and time_ids [B N], timestep_cond [B G], class_labels;
//	                and where they are given, a ControlNet's residuals down_block_res_samples.N, mid_block_res_sample
//	controlnet      as unet, and controlnet_cond [B C H·f W·f] in [0, 1], conditioning_scale [1] where given
//	                → down_block_res_samples.N, mid_block_res_sample, and act.<module>
//	vae.encode      image [B C H W] in [−1, 1] → mean, logvar [B Z h w]
//	vae.decode      z [B Z h w], already divided by the scaling factor → decode [B C H W]
//	taesd.encode    image01 [B C H W] in [0, 1] → latents [B Z h w]
//	taesd.decode    z [B Z h w] of unit variance → decoded [B C H W]
//	upscaler        x [B C H W] in [0, 1] → y [B C H·s W·s]
//
// Inputs that the component doesn't need are ignored; warnings says which.
func Probe(ctx context.Context, dev compute.Device, m *catalog.Model, component string, in map[string]Tensor, o ProbeOptions) (out map[string]Tensor, warnings []string, err error) {
	p := &probe{in: in, used: map[string]bool{}, g: compute.NewGraph(), feed: map[string][]float32{}, spatial: map[string]bool{}, activations: o.Activations}
	defer p.adapters.close()
	switch component {
	case textEncoder, textEncoder2, denoiser:
		warnings, err = p.conditioned(m, component, o)
	case "controlnet":
		err = p.control(m)
	case "vae.encode", "vae.decode":
		err = p.vae(m, component == "vae.encode")
	case "taesd.encode":
		err = p.tiny(m, &m.TinyEncoder, "image01", "latents")
	case "taesd.decode":
		err = p.tiny(m, &m.TinyDecoder, "z", "decoded")
	case "upscaler":
		err = p.upscaler(m)
	default:
		err = fmt.Errorf("there is no component %q; choose one of %s", component, strings.Join(Components(), ", "))
	}
	if err == nil {
		err = p.err
	}
	if err != nil {
		return nil, nil, err
	}
	var unneeded []string
	for name := range in {
		if !p.used[name] {
			unneeded = append(unneeded, fmt.Sprintf("%s does not need the input %s", component, name))
		}
	}
	sort.Strings(unneeded)
	out, streamed, err := p.run(ctx, dev)
	if streamed > 0 {
		warnings = append(warnings, streamedNote(dev, streamed))
	}
	return out, append(warnings, unneeded...), err
}

// take finds an input of the given rank; an extent that is not 0 in want must be matched.
func (p *probe) take(name string, want ...int) Tensor {
	t, ok := p.in[name]
	p.used[name] = true
	switch {
	case p.err != nil:
	case !ok:
		p.err = fmt.Errorf("the input %s is missing; the file has %s", name, p.names())
	case !fits(t.Shape, want):
		p.err = fmt.Errorf("the input %s has shape %v where %s is needed", name, compute.Shape(t.Shape), pattern(want))
	case compute.Shape(t.Shape).Size() != len(t.Data) || len(t.Data) == 0:
		p.err = fmt.Errorf("the input %s has shape %v and %d numbers", name, compute.Shape(t.Shape), len(t.Data))
	}
	if p.err != nil {
		return Tensor{Shape: make([]int, len(want))}
	}
	return t
}

func fits(shape, want []int) bool {
	if len(shape) != len(want) {
		return false
	}
	for i, d := range want {
		if shape[i] <= 0 || d != 0 && shape[i] != d {
			return false
		}
	}
	return true
}

func pattern(want []int) string {
	parts := make([]string, len(want))
	for i, d := range want {
		if parts[i] = fmt.Sprint(d); d == 0 {
			parts[i] = "any"
		}
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func (p *probe) names() string {
	var list []string
	for name := range p.in {
		list = append(list, name)
	}
	sort.Strings(list)
	if len(list) == 0 {
		return "no tensors"
	}
	return strings.Join(list, ", ")
}

// picture feeds a B C H W input with c channels and gives it as B H W C.
func (p *probe) picture(name string, c int) *compute.Tensor {
	t := p.take(name, 0, c, 0, 0)
	if p.err != nil {
		return nil
	}
	b, h, w := t.Shape[0], t.Shape[2], t.Shape[3]
	p.feed[name] = nn.ChannelsLast(t.Data, b, c, h, w)
	return p.g.Input(name, b, h, w, c)
}

func (p *probe) output(name string, t *compute.Tensor) {
	p.spatial[name] = len(t.Shape()) == 4
	p.g.Output(name, t)
}

// conditioned runs a text encoder or the denoiser, with adapters.
func (p *probe) conditioned(m *catalog.Model, component string, o ProbeOptions) (warnings []string, err error) {
	var names []string // all, to tell layers that are elsewhere from layers that are nowhere
	if len(o.LoRAs) == 0 {
		names = []string{component}
	}
	c, err := newConditioned(m, nil, names...)
	if err != nil {
		return nil, err
	}
	if err := p.adapters.use(c.networks(), o.LoRAs, m.Path); err != nil {
		return nil, err
	}
	switch {
	case component == textEncoder && c.text != nil:
		err = p.textEncoder(c.text, "clip_l", o.Embeddings)
	case component == textEncoder2 && c.text2 != nil:
		err = p.textEncoder(c.text2, "clip_g", o.Embeddings)
	case component == denoiser && c.unet != nil:
		p.unet(c.unet)
	default:
		err = lacks(m, component)
	}
	return p.adapters.warnings, err
}

// learn reads files of textual inversion for an encoder, which those for two encoders call by its name.
func learn(text *clip.Model, encoder string, files []string) error {
	var rows []float32
	for _, name := range files {
		list, err := checkpoint.ReadEmbeddings(name)
		if err != nil {
			return err
		}
		for _, e := range list {
			for _, v := range e.Vectors {
				if v.Encoder != "" && v.Encoder != encoder {
					continue
				}
				if v.Width != text.HiddenSize {
					return fmt.Errorf("the embedding %s has vectors of %d numbers, and this text encoder's have %d: it was made for another family", name, v.Width, text.HiddenSize)
				}
				rows = append(rows, v.Data...)
			}
		}
	}
	return text.Extend(rows)
}

func (p *probe) textEncoder(text *clip.Model, name string, embeddings []string) error {
	if err := learn(text, name, embeddings); err != nil {
		return err
	}
	ids := p.take("input_ids", 0, 0)
	if p.err != nil {
		return nil
	}
	b, n := ids.Shape[0], ids.Shape[1]
	if n > text.MaxPositions {
		return fmt.Errorf("the input input_ids has %d tokens a row, and this text encoder has %d positions", n, text.MaxPositions)
	}
	for _, id := range ids.Data {
		if id < 0 || int(id) >= text.Tokens() || id != float32(int(id)) {
			return fmt.Errorf("the input input_ids has %v, which is not a token from 0 to %d", id, text.Tokens()-1)
		}
	}
	pool := make([]float32, b*n)
	for i := range b {
		text.PoolRow(ids.Data[i*n:(i+1)*n], pool[i*n:(i+1)*n])
	}
	p.feed["input_ids"], p.feed["pool"] = ids.Data, pool
	o := text.Forward(p.g.Input("input_ids", b, n), p.g.Input("pool", b, 1, n))
	for i, h := range o.HiddenStates {
		p.output(fmt.Sprintf("hidden_states.%d", i), h)
	}
	if n := len(o.HiddenStates); n > 2 {
		p.output("clip_skip_2_with_final_ln", text.Final(o.HiddenStates[n-2]))
	}
	p.output("last_hidden_state", o.Last)
	p.output("pooler_output", o.Pooled)
	if o.Projected != nil {
		p.output("text_embeds", o.Projected)
	}
	return nil
}

// watch names intermediate results as outputs, where they are wanted.
func (p *probe) watch() unet.Watch {
	if !p.activations {
		return nil
	}
	return func(name string, t *compute.Tensor) { p.output("act."+name, t) }
}

// input feeds an input of the given shape as it is, its first axis that of the sample.
func (p *probe) input(name string, want ...int) *compute.Tensor {
	t := p.take(name, want...)
	if p.err != nil {
		return nil
	}
	p.feed[name] = t.Data
	return p.g.Input(name, t.Shape...)
}

// denoiser feeds what a denoiser or a ControlNet with this configuration reads.
func (p *probe) denoiser(c *unet.Config) (in unet.Inputs) {
	in.Sample = p.picture("sample", c.InChannels)
	if p.err != nil {
		return in
	}
	b := in.Sample.Dim(0)
	if t := p.in["timestep"]; len(t.Data) == 1 && len(t.Shape) <= 1 { // one for all rows, or a scalar
		p.used["timestep"] = true
		p.feed["timestep"] = slices.Repeat(t.Data, b)
		in.Timestep = p.g.Input("timestep", b)
	} else {
		in.Timestep = p.input("timestep", b)
	}
	in.Context = p.input("encoder_hidden_states", b, 0, c.ContextDim[0])
	if c.TextTime {
		in.Pooled = p.input("text_embeds", b, 0)
		in.Sizes = p.input("time_ids", b, 0)
		if p.err == nil && in.Pooled.Dim(1)+in.Sizes.Dim(1)*c.SizeDim != c.AdditionDim {
			p.err = fmt.Errorf("the inputs text_embeds and time_ids have %d and %d columns; with %d for each of the latter they must make %d", in.Pooled.Dim(1), in.Sizes.Dim(1), c.SizeDim, c.AdditionDim)
		}
	}
	if _, given := p.in["timestep_cond"]; given && c.GuidanceDim > 0 {
		in.Guidance = p.input("timestep_cond", b, c.GuidanceDim)
	}
	switch c.Class {
	case unet.NoClass:
	case unet.ClassTable, unet.ClassTimestep:
		in.Class = p.input("class_labels", b)
	case unet.ClassIdentity:
		in.Class = p.input("class_labels", b, 4*c.Channels[0])
	default:
		in.Class = p.input("class_labels", b, c.ClassDim)
	}
	return in
}

const midResidual = "mid_block_res_sample"

func downResidual(i int) string { return fmt.Sprintf("down_block_res_samples.%d", i) }

func (p *probe) unet(u *unet.Model) {
	in := p.denoiser(&u.Config)
	if _, given := p.in[midResidual]; given && p.err == nil {
		for i, ch := range u.Skips() {
			in.Down = append(in.Down, p.picture(downResidual(i), ch))
		}
		in.Mid = p.picture(midResidual, u.Channels[len(u.Channels)-1])
	}
	if p.err == nil {
		p.output("sample", u.Predict(in, p.watch()))
	}
}

func (p *probe) control(m *catalog.Model) error {
	c, err := newControl(m)
	if err != nil {
		return err
	}
	in := p.denoiser(&c.Config)
	picture := p.picture("controlnet_cond", c.HintIn)
	var scale *compute.Tensor
	if _, given := p.in["conditioning_scale"]; given {
		scale = p.input("conditioning_scale", 1)
	}
	if p.err != nil {
		return nil
	}
	if f := c.Factor(); picture.Dim(1) != f*in.Sample.Dim(1) || picture.Dim(2) != f*in.Sample.Dim(2) {
		return fmt.Errorf("the input controlnet_cond is %d × %d pixels, and latents of %d × %d need %d × %d", picture.Dim(2), picture.Dim(1), in.Sample.Dim(2), in.Sample.Dim(1), f*in.Sample.Dim(2), f*in.Sample.Dim(1))
	}
	down, mid := c.Forward(in, picture, scale, p.watch())
	for i, d := range down {
		p.output(downResidual(i), d)
	}
	p.output(midResidual, mid)
	return nil
}

// tiny runs one half of a tiny autoencoder.
func (p *probe) tiny(m *catalog.Model, part *catalog.Part, input, output string) error {
	decoder := part == &m.TinyDecoder
	if !part.Here() {
		return lacks(m, "such half of a tiny autoencoder")
	}
	c, err := newTiny(part, decoder)
	if err != nil {
		return err
	}
	x := p.picture(input, c.In)
	if p.err != nil {
		return nil
	}
	if f := c.Factor; !decoder && (x.Dim(1)%f != 0 || x.Dim(2)%f != 0) {
		return fmt.Errorf("the input %s is %d × %d pixels, and this encoder needs multiples of %d", input, x.Dim(2), x.Dim(1), f)
	}
	p.output(output, c.Forward(x))
	return nil
}

func (p *probe) vae(m *catalog.Model, encode bool) error {
	v, _, err := newVAE(m)
	if err != nil {
		return err
	}
	if !encode {
		if z := p.picture("z", v.LatentChannels); p.err == nil {
			p.output("decode", v.Decode(z))
		}
		return nil
	}
	x := p.picture("image", v.InChannels)
	if p.err != nil {
		return nil
	}
	if f := v.Factor(); x.Dim(1)%f != 0 || x.Dim(2)%f != 0 {
		return fmt.Errorf("the input image is %d × %d pixels, and this autoencoder needs multiples of %d", x.Dim(2), x.Dim(1), f)
	}
	mean, logvar := v.Encode(x)
	p.output("mean", mean)
	p.output("logvar", logvar)
	return nil
}

func (p *probe) upscaler(m *catalog.Model) error {
	if m.Upscaler == nil {
		return lacks(m, "upscaler")
	}
	u, err := gan.NewUpscaler(nn.Load(m.Upscaler.File, m.Upscaler.Weights))
	if err != nil {
		return err
	}
	x := p.picture("x", u.Channels)
	if p.err != nil {
		return nil
	}
	if f := u.Multiple; x.Dim(1)%f != 0 || x.Dim(2)%f != 0 {
		return fmt.Errorf("the input x is %d × %d pixels, and this upscaler needs multiples of %d", x.Dim(2), x.Dim(1), f)
	}
	p.output("y", u.Forward(x))
	return nil
}

// run gives the outputs, and the bytes of weights that did not fit and were streamed.
func (p *probe) run(ctx context.Context, dev compute.Device) (map[string]Tensor, int64, error) {
	plan, err := p.g.Compile(dev.Limits())
	if err != nil {
		return nil, 0, err
	}
	exe, err := dev.Load(ctx, plan)
	if err != nil {
		return nil, 0, err
	}
	defer exe.Close()
	raw := map[string][]float32{}
	for _, o := range plan.Outputs {
		raw[o.Name] = make([]float32, o.T.Shape().Size())
	}
	in := map[string][]float32{}
	for _, t := range plan.Inputs { // inputs that no output depends on are pruned
		in[t.Name()] = p.feed[t.Name()]
	}
	if err := exe.Run(ctx, in, raw); err != nil {
		return nil, 0, err
	}
	out := map[string]Tensor{}
	for _, o := range plan.Outputs {
		s, v := append([]int(nil), o.T.Shape()...), raw[o.Name]
		if p.spatial[o.Name] {
			v = nn.ChannelsFirst(v, s[0], s[1], s[2], s[3])
			s = []int{s[0], s[3], s[1], s[2]}
		}
		out[o.Name] = Tensor{Shape: s, Data: v}
	}
	return out, compute.Streamed(exe), nil
}
