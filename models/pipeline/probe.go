package pipeline

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/gan"
	"atelier/models/nn"
)

// Tensor is named numbers as files hold them: row-major, pictures and latents B C H W.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Components lists what Probe can run.
func Components() []string {
	return []string{"text_encoder", "unet", "vae.encode", "vae.decode", "upscaler"}
}

// ProbeOptions are the choices of Probe.
type ProbeOptions struct {
	Activations bool // also give the denoiser's intermediate results, as act.<module>
}

// probe builds one component's graph over its inputs and names the outputs.
type probe struct {
	in      map[string]Tensor
	used    map[string]bool
	g       *compute.Graph
	feed    map[string][]float32
	spatial map[string]bool // outputs that are B H W C in the graph
	err     error
}

// Probe runs one part of a model on given tensors:
//
//	text_encoder  input_ids [B T] → last_hidden_state, hidden_states.N [B T C], pooler_output [B C]
//	unet          sample [B C H W], timestep [B] or [1], encoder_hidden_states [B S D] → sample, and act.<module>
//	vae.encode    image [B C H W] in [−1, 1] → mean, logvar [B Z h w]
//	vae.decode    z [B Z h w], already divided by the scaling factor → decode [B C H W]
//	upscaler      x [B C H W] in [0, 1] → y [B C H·s W·s]
//
// Inputs that the component doesn't need are ignored; warnings says which.
func Probe(ctx context.Context, dev compute.Device, m *catalog.Model, component string, in map[string]Tensor, o ProbeOptions) (out map[string]Tensor, warnings []string, err error) {
	p := &probe{in: in, used: map[string]bool{}, g: compute.NewGraph(), feed: map[string][]float32{}, spatial: map[string]bool{}}
	switch component {
	case "text_encoder":
		err = p.textEncoder(m)
	case "unet":
		err = p.unet(m, o.Activations)
	case "vae.encode", "vae.decode":
		err = p.vae(m, component == "vae.encode")
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
	for name := range in {
		if !p.used[name] {
			warnings = append(warnings, fmt.Sprintf("%s does not need the input %s", component, name))
		}
	}
	sort.Strings(warnings)
	out, err = p.run(ctx, dev)
	return out, warnings, err
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

func (p *probe) textEncoder(m *catalog.Model) error {
	text, err := newText(m)
	if err != nil {
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
		if id < 0 || int(id) >= text.VocabSize || id != float32(int(id)) {
			return fmt.Errorf("the input input_ids has %v, which is not a token from 0 to %d", id, text.VocabSize-1)
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
	p.output("last_hidden_state", o.Last)
	p.output("pooler_output", o.Pooled)
	if o.Projected != nil {
		p.output("text_embeds", o.Projected)
	}
	return nil
}

func (p *probe) unet(m *catalog.Model, activations bool) error {
	u, err := newUNet(m)
	if err != nil {
		return err
	}
	sample := p.picture("sample", u.InChannels)
	if p.err != nil {
		return nil
	}
	b := sample.Dim(0)
	t := p.in["timestep"]
	if len(t.Data) == 1 && len(t.Shape) <= 1 { // one for all rows, or a scalar
		p.used["timestep"] = true
		one := t.Data[0]
		t = Tensor{Shape: []int{b}, Data: make([]float32, b)}
		for i := range t.Data {
			t.Data[i] = one
		}
	} else {
		t = p.take("timestep", b)
	}
	context := p.take("encoder_hidden_states", b, 0, u.ContextDim[0])
	if p.err != nil {
		return nil
	}
	p.feed["timestep"], p.feed["encoder_hidden_states"] = t.Data, context.Data
	watch := func(name string, t *compute.Tensor) { p.output("act."+name, t) }
	if !activations {
		watch = nil
	}
	p.output("sample", u.Forward(sample, p.g.Input("timestep", b), p.g.Input("encoder_hidden_states", context.Shape...), watch))
	return nil
}

func (p *probe) vae(m *catalog.Model, encode bool) error {
	v, err := newVAE(m)
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
		return fmt.Errorf("the model %s has no upscaler", m.Name)
	}
	c, err := gan.NewCompact(nn.Load(m.Upscaler.File, m.Upscaler.Weights))
	if err != nil {
		return err
	}
	if x := p.picture("x", c.Channels); p.err == nil {
		p.output("y", c.Forward(x))
	}
	return nil
}

func (p *probe) run(ctx context.Context, dev compute.Device) (map[string]Tensor, error) {
	plan, err := p.g.Compile(dev.Limits())
	if err != nil {
		return nil, err
	}
	exe, err := dev.Load(ctx, plan)
	if err != nil {
		return nil, err
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
		return nil, err
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
	return out, nil
}
