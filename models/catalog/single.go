package catalog

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"atelier/models/checkpoint"
	"atelier/models/gan"
	"atelier/models/ldm"
	"atelier/models/nn"
	"atelier/models/taesd"
)

// openFile opens one file on disk: a whole model in the original layout, or one network in any.
func openFile(abs string, o Options) (*Model, error) {
	base := filepath.Base(abs)
	m := newModel(os.DirFS(filepath.Dir(abs)), ".", strings.TrimSuffix(base, filepath.Ext(base)))
	t, err := checkpoint.Open(abs)
	if err != nil {
		return nil, err
	}
	m.opened, m.weights = append(m.opened, t), []string{base}
	if err := m.fromTensors(t, base, o); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// fromTensors finds out what a file holds.
func (m *Model) fromTensors(t checkpoint.Tensors, base string, o Options) error {
	m.Spec = t.Metadata()
	if title := m.Spec["modelspec.title"]; title != "" {
		m.Name = title
	}
	s := nn.Load(base, t)
	c := ldm.Open(t)
	switch tiny := taesd.Find(s); {
	case !c.Empty():
		return m.fromContents(&c, base, o)
	case tiny.HasEncoder || tiny.HasDecoder:
		p := Part{Class: familyOf("taesd").Classes[0], File: base, Weights: t}
		if tiny.HasEncoder {
			m.TinyEncoder = p
		}
		if tiny.HasDecoder {
			m.TinyDecoder = p
		}
		return nil
	case gan.Detect(s):
		m.Upscaler = &Part{Class: familyOf("upscaler").Classes[0], File: base, Weights: t}
		return nil
	case slices.ContainsFunc(t.Names(), isLoRA):
		return fmt.Errorf("%s is a LoRA, which changes a model and is none: open a model, and give it this file with --lora or <lora:%s:1> in the prompt", base, m.Name)
	}
	return unknown(base, t.Names())
}

func isLoRA(name string) bool {
	return strings.HasPrefix(name, "lora_") || strings.Contains(name, ".lora_") || strings.Contains(name, "_lora.") || strings.Contains(name, "lora_linear_layer")
}

// unknown says what little can be said about a file of no known network.
func unknown(base string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("%s holds no tensors; download it again", base)
	}
	const shown = 4
	some := names[:min(shown, len(names))]
	more := ""
	if n := len(names) - len(some); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%s holds no network that this program knows: Stable Diffusion 1, 2 and XL with their ControlNets and autoencoders, TAESD, RRDB and compact upscalers are. Its tensors are %s%s", base, strings.Join(some, ", "), more)
}

// fromContents takes the networks of a file in the original layout, or a single one.
func (m *Model) fromContents(c *ldm.Contents, base string, o Options) error {
	part := func(p *Part, name string, t checkpoint.Tensors) {
		*p = Part{Class: familyOf(name).Classes[0], File: base, Weights: t}
		p.Config = m.configBeside(name)
	}
	if c.UNet != nil {
		part(&m.UNet, "unet", c.UNet)
	}
	if c.VAE != nil {
		part(&m.VAE, "vae", c.VAE)
	}
	if c.ControlNet != nil {
		part(&m.ControlNet, "controlnet", c.ControlNet)
	}
	for i, e := range []struct {
		text *ldm.Text
		part *Part
		name string
	}{{c.Text, &m.TextEncoder, "text_encoder"}, {c.Text2, &m.TextEncoder2, "text_encoder_2"}} {
		if e.text == nil {
			continue
		}
		part(e.part, e.name, e.text)
		if e.text.Kind == ldm.OpenCLIP || i == 1 {
			e.part.Overrides, m.pads[i] = []byte(`{"hidden_act": "gelu"}`), 0
		}
	}
	if n := len(c.Rest); n > 0 {
		const shown = 8
		m.Warnings = append(m.Warnings, fmt.Sprintf("%s holds %d tensors that are part of no network: %s", base, n, strings.Join(c.Rest[:min(n, shown)], ", ")))
	}
	return m.settle(c, base, o)
}

// configBeside is the config.json in the file's folder, where it belongs to the network of this name: files that were taken
// from a model folder have theirs still beside them.
func (m *Model) configBeside(name string) []byte {
	if !slices.Contains(familyOf(name).Classes, m.classIn(".")) {
		return nil
	}
	data, err := fs.ReadFile(m.fsys, path.Join(m.dir, "config.json"))
	if err != nil {
		return nil
	}
	return data
}

// settle decides what the tensors of a whole model don't tell: from its family, from what the person or a file beside it
// says, and from its metadata.
func (m *Model) settle(c *ldm.Contents, base string, o Options) error {
	said, xl := m.yamlBeside(base), m.xl()
	if m.VAE.Here() && m.VAE.Config == nil && xl {
		m.VAE.Overrides = []byte(`{"scaling_factor": 0.13025}`)
	}
	if !m.UNet.Here() {
		return nil
	}
	prediction, err := m.prediction(c, o, said)
	if err != nil {
		return err
	}
	if m.UNet.Config == nil {
		if m.UNet.Overrides, err = m.denoiserOverrides(said, xl, prediction); err != nil {
			return err
		}
	}
	m.SchedulerClass = "PNDMScheduler"
	scheduler := map[string]any{
		"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000,
		"clip_sample": false, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "prediction_type": prediction,
	}
	switch {
	case xl:
		m.SchedulerClass = "EulerDiscreteScheduler"
		scheduler["timestep_spacing"], scheduler["interpolation_type"] = "leading", "linear"
	case prediction == vPrediction:
		m.SchedulerClass = "DDIMScheduler"
	}
	if c.Marked("ztsnr") {
		scheduler["rescale_betas_zero_snr"], scheduler["timestep_spacing"] = true, "trailing"
	}
	scheduler["_class_name"] = m.SchedulerClass
	m.SchedulerConfig, err = json.Marshal(scheduler)
	return err
}

// xl tells Stable Diffusion XL: it has a second text encoder, and its denoiser reads sizes.
func (m *Model) xl() bool {
	if m.TextEncoder2.Here() {
		return true
	}
	if !m.UNet.Here() {
		return false
	}
	_, sized := m.UNet.Weights.Get("add_embedding.linear_1.weight")
	return sized
}

// What a denoiser may predict.
const (
	epsilon     = "epsilon"
	vPrediction = "v_prediction"
)

// prediction is what the denoiser predicts. The person's word goes first, then that of a configuration beside the file, then
// its metadata and marks. Stable Diffusion 2 comes as both, and no tensor says which: as ComfyUI does, the spread of one
// norm's offsets decides, which is wider in the models that predict v.
func (m *Model) prediction(c *ldm.Contents, o Options, said yaml) (string, error) {
	for _, p := range []string{o.Prediction, said.prediction, m.Spec["modelspec.prediction_type"]} {
		switch p {
		case "":
		case "epsilon", "eps":
			return epsilon, nil
		case "v_prediction", "v":
			return vPrediction, nil
		default:
			return "", fmt.Errorf("a denoiser predicts epsilon or v_prediction, and %q is neither", p)
		}
	}
	if c.Marked("v_pred") {
		return vPrediction, nil
	}
	const told, inputs = 0.09, 4
	in, _ := m.UNet.Weights.Get("conv_in.weight")
	if m.xl() || c.Text == nil || c.Text.Kind != ldm.OpenCLIP || len(in.Shape) != 4 || in.Shape[1] != inputs {
		return epsilon, nil
	}
	offsets, ok := m.UNet.Weights.Get("up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias")
	if !ok {
		return epsilon, nil
	}
	x, err := offsets.Float32s()
	if err != nil {
		return "", err
	}
	if deviation(x) > told {
		return vPrediction, nil
	}
	return epsilon, nil
}

// deviation is the standard deviation of a sample.
func deviation(x []float32) float64 {
	mean, sum := 0.0, 0.0
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		sum += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(sum / float64(max(len(x)-1, 1)))
}

// yaml is the few facts of a configuration in the original's form that tensors don't tell; "" where it is silent.
type yaml struct{ prediction, heads string }

var (
	yamlPrediction = regexp.MustCompile(`(?m)^\s*parameterization:\s*["']?(v|eps)\b`)
	yamlHeads      = regexp.MustCompile(`(?m)^\s*num_heads:\s*(\d{1,3})\s*(#.*)?$`)
)

// yamlBeside reads the configuration that A1111's users keep beside a checkpoint, under its name.
func (m *Model) yamlBeside(base string) yaml {
	name := strings.TrimSuffix(base, path.Ext(base)) + ".yaml"
	const most = 1 << 20
	info, err := fs.Stat(m.fsys, name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return yaml{}
	}
	data, err := fs.ReadFile(m.fsys, name)
	if err != nil {
		return yaml{}
	}
	first := func(r *regexp.Regexp) string {
		if found := r.FindSubmatch(data); found != nil {
			return string(found[1])
		}
		return ""
	}
	return yaml{first(yamlPrediction), first(yamlHeads)}
}

// resolution is how metadata gives the size that a model was trained at, in pixels.
var resolution = regexp.MustCompile(`^(\d{2,5})x(\d{2,5})$`)

// denoiserOverrides says, in the form of a denoiser's config.json, the number of heads, which goes by another name there, and
// the size in latents that it was trained at: as its metadata says, or that of its family.
func (m *Model) denoiserOverrides(said yaml, xl bool, prediction string) ([]byte, error) {
	const pixels = 8 // of a latent along an axis, in all families
	all := map[string]any{}
	if n, err := strconv.Atoi(said.heads); err == nil {
		all["num_attention_heads"] = n
	}
	size := 512
	switch {
	case xl:
		size = 1024
	case prediction == vPrediction:
		size = 768
	}
	if r := resolution.FindStringSubmatch(m.Spec["modelspec.resolution"]); r != nil {
		if n, err := strconv.Atoi(r[1]); err == nil && n >= 8*pixels {
			size = n
		}
	}
	all["sample_size"] = size / pixels
	return json.Marshal(all)
}
