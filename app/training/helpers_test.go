package training

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/checkpoint"
	"atelier/models/clip"
	"atelier/models/nn"
	"atelier/models/unet"
	"atelier/models/vae"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// smallConfigs make a model as small as its kind can be: RGBA, velocity prediction, pictures of 16 pixels, latents of 8.
var smallConfigs = map[string]string{
	"model_index.json": `{"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
		"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "DDIMScheduler"]}`,
	"scheduler/scheduler_config.json": `{"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
		"prediction_type": "v_prediction", "clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1, "timestep_spacing": "trailing"}`,
	"text_encoder/config.json": `{"vocab_size": 2514, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16, "eos_token_id": 2513}`,
	"unet/config.json": `{"sample_size": 8, "block_out_channels": [8, 16], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
		"layers_per_block": 1, "cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 4}`,
	"vae/config.json": `{"in_channels": 4, "out_channels": 4, "block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4, "scaling_factor": 0.6, "sample_size": 16}`,
	"atelier.json":    `{"name": "Small", "steps": 3, "cfg": 2, "examples": ["a horse"]}`,
}

// smallModel writes the folder of the small model with drawn weights.
func smallModel(t testing.TB) string { return modelOf(t, nil) }

// modelOf is the small model with other configurations in place of some.
func modelOf(t testing.TB, other map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	configs := maps.Clone(smallConfigs)
	maps.Copy(configs, other)
	for name, text := range configs {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	for _, name := range []string{"vocab.json", "merges.txt", "tokenizer_config.json"} {
		data, err := os.ReadFile(filepath.Join("../../models/tokenize/testdata/own", name))
		must(t, err)
		write(t, filepath.Join(dir, "tokenizer", name), data)
	}
	for i, part := range []struct {
		file string
		make func(s *nn.Scope) error
	}{
		{"text_encoder/model.safetensors", func(s *nn.Scope) error {
			c, err := clip.ParseConfig([]byte(configs["text_encoder/config.json"]))
			must(t, err)
			_, err = clip.New(s, c)
			return err
		}},
		{"unet/diffusion_pytorch_model.safetensors", func(s *nn.Scope) error {
			c, err := unet.ParseConfig([]byte(configs["unet/config.json"]))
			must(t, err)
			_, err = unet.New(s, c)
			return err
		}},
		{"vae/diffusion_pytorch_model.safetensors", func(s *nn.Scope) error {
			c, err := vae.ParseConfig([]byte(configs["vae/config.json"]))
			must(t, err)
			_, err = vae.New(s, c)
			return err
		}},
	} {
		s := nn.Initialise(uint64(i + 1))
		must(t, part.make(s))
		var ts []checkpoint.Tensor
		for _, p := range s.Params() {
			values := make([]float32, p.Shape.Size())
			must(t, p.Source.Read(values))
			ts = append(ts, p.Tensor(p.Name, values))
		}
		must(t, checkpoint.Write(filepath.Join(dir, part.file), ts, nil))
	}
	return dir
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, data, 0o644))
}

// pictures writes n different pictures with captions, and gives their folder.
func pictures(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, 16, 16))
		cx, cy, r := 4+float64(i*5%9), 4+float64(i*7%9), 3+float64(i%3)
		for y := range 16 {
			for x := range 16 {
				c := color.NRGBA{uint8(20 * i), 40, uint8(255 - 12*x), 255}
				if math.Hypot(float64(x)-cx, float64(y)-cy) < r {
					c = color.NRGBA{230, uint8(30 * i), 20, 255}
				}
				m.SetNRGBA(x, y, c)
			}
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("p%02d.png", i)))
		must(t, err)
		must(t, png.Encode(f, m))
		must(t, f.Close())
		write(t, filepath.Join(dir, fmt.Sprintf("p%02d.txt", i)), fmt.Appendf(nil, "a red ball, number %d", i))
	}
	return dir
}

// labelled is pictures with one of two captions each.
func labelled(t testing.TB, n int) string {
	t.Helper()
	dir := pictures(t, n)
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("p%02d.txt", i)), fmt.Appendf(nil, "kind %d", i%2))
	}
	return dir
}

func device(t testing.TB) compute.Device {
	dev := host.New(host.Options{Workers: 2})
	t.Cleanup(dev.Close)
	return dev
}

// recipe is a short one on the small model.
func recipe(t testing.TB, kind, base, data string) Recipe {
	t.Helper()
	r, err := New(kind, "toy", data, base)
	must(t, err)
	r.Train.Steps, r.Train.Batch, r.Train.Warmup, r.Train.Rate = 6, 2, 0, 1e-3
	r.Train.Every, r.Samples.Steps, r.Samples.Every = 3, 2, 3
	r.Samples.Prompts = []string{"a red ball"}
	r.LoRA.Rank, r.LoRA.Alpha, r.LoRA.Targets = 2, 2, []string{"to_q", "to_k", "to_v", "to_out.0"}
	if kind == "autoencoder" && base == "" {
		r.VAE.Channels, r.VAE.Groups, r.VAE.Pixels = []int{8, 8}, 4, 4
		r.Data.Width, r.Data.Height = 16, 16
	}
	switch kind {
	case "gan", "conditional_vae":
		r.Data.Width, r.Data.Height = 8, 8
		r.Generator.Channels, r.Generator.Latent, r.Generator.Style = []int{8, 8}, 4, 4
	case "flow":
		r.Data.Width, r.Data.Height = 8, 8
		r.Generator.Levels, r.Generator.Steps, r.Generator.Hidden = 1, 2, 8
	}
	r, err = r.Fill()
	must(t, err)
	return r
}

// create makes a run of a recipe in a new folder.
func create(t testing.TB, r Recipe) *Run {
	t.Helper()
	run, err := Create(filepath.Join(t.TempDir(), "run"), r)
	must(t, err)
	return run
}

// events collects what a run tells.
type events []Event

func (e *events) add(v Event) { *e = append(*e, v) }

func (e events) of(what string) []Event {
	var out []Event
	for _, v := range e {
		if v.What == what {
			out = append(out, v)
		}
	}
	return out
}

// losses are those of a run's log, by step.
func losses(t testing.TB, run *Run) map[int]float64 {
	t.Helper()
	log, err := ReadLog(filepath.Join(run.Folder, logName))
	must(t, err)
	out := map[int]float64{}
	for _, e := range log {
		if e.What == EventStep {
			if _, twice := out[e.Step]; twice {
				t.Errorf("the log has step %d twice", e.Step)
			}
			out[e.Step] = e.Loss
		}
	}
	return out
}

// sameState compares the states of two runs to the bit.
func sameState(t testing.TB, a, b *Run) {
	t.Helper()
	x, err := checkpoint.Open(filepath.Join(a.Folder, stateFile))
	must(t, err)
	defer x.Close()
	y, err := checkpoint.Open(filepath.Join(b.Folder, stateFile))
	must(t, err)
	defer y.Close()
	if len(x.Names()) == 0 || len(x.Names()) != len(y.Names()) {
		t.Fatalf("states of %d and %d tensors", len(x.Names()), len(y.Names()))
	}
	for _, name := range x.Names() {
		p, _ := x.Get(name)
		q, ok := y.Get(name)
		if !ok || string(p.Data) != string(q.Data) {
			t.Fatalf("%s differs", name)
		}
	}
	if p, q := losses(t, a), losses(t, b); fmt.Sprint(p) != fmt.Sprint(q) {
		t.Errorf("losses %v and %v", p, q)
	}
}
