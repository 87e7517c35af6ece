package training

import (
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/pipeline"
)

// families are the kinds of models that can be adapted, each by what makes a small one.
var families = map[string]func(t *testing.T) string{
	"a folder": func(t *testing.T) string { return smallModel(t) },
	"one file": func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "fifteen.safetensors")
		goldentest.WriteSingleFile(t, path, nil)
		t.Setenv("ATELIER_TOKENIZER", filepath.Join(goldentest.Dir, "sd15/tokenizer"))
		return path
	},
	"inpainting": func(t *testing.T) string {
		dir := modelOf(t, map[string]string{"unet/config.json": strings.Replace(smallConfigs["unet/config.json"], `{"sample_size": 8,`, `{"sample_size": 8, "in_channels": 9,`, 1)})
		narrow(t, filepath.Join(dir, "vae/diffusion_pytorch_model.safetensors"))
		return dir
	},
	"two text encoders": twoEncoders,
}

// narrow makes an autoencoder's latents all but certain, as trained ones' are, so that it does not matter which of them are drawn.
func narrow(t *testing.T, path string) {
	f, err := checkpoint.Open(path)
	must(t, err)
	defer f.Close()
	var all []checkpoint.Tensor
	for _, name := range f.Names() {
		x, _ := f.Get(name)
		if name == "quant_conv.bias" {
			values, err := x.Float32s()
			must(t, err)
			for i := len(values) / 2; i < len(values); i++ {
				values[i] = -25
			}
			x = checkpoint.NewF32(name, x.Shape, values)
		}
		all = append(all, x)
	}
	must(t, checkpoint.Write(path, all, nil))
}

// twoEncoders is a small model of Stable Diffusion XL's layout: the goldens' networks and a vocabulary of letters.
func twoEncoders(t *testing.T) string {
	dir := t.TempDir()
	for from, to := range map[string]string{"sdxl/text_encoder": "text_encoder", "sdxl/text_encoder_2": "text_encoder_2", "sdxl/unet": "unet", "sd15/model/vae": "vae", "sd15/model/scheduler": "scheduler"} {
		must(t, os.CopyFS(filepath.Join(dir, to), os.DirFS(filepath.Join(goldentest.Dir, from))))
	}
	write(t, filepath.Join(dir, "model_index.json"), []byte(`{"_class_name": "StableDiffusionXLPipeline", "scheduler": ["diffusers", "PNDMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
		"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "CLIPTokenizer"],
		"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}`))
	vocab := map[string]int{"!": 0, "<|startoftext|>": 998, "<|endoftext|>": 999}
	for c := 'a'; c <= 'z'; c++ {
		vocab[string(c)], vocab[string(c)+"</w>"] = 300+int(c), 500+int(c)
	}
	text, err := json.Marshal(vocab)
	must(t, err)
	for name, pad := range map[string]string{"tokenizer": "<|endoftext|>", "tokenizer_2": "!"} {
		write(t, filepath.Join(dir, name, "vocab.json"), text)
		write(t, filepath.Join(dir, name, "merges.txt"), []byte("#version: 0.2\n"))
		write(t, filepath.Join(dir, name, "tokenizer_config.json"), []byte(`{"pad_token": "`+pad+`", "model_max_length": 77}`))
	}
	return dir
}

// TestAdaptersOfEveryFamily trains a LoRA and a word for each family, and draws with them as the image workspace does: the picture is that
// which training showed, and another than the base model's.
func TestAdaptersOfEveryFamily(t *testing.T) {
	for name, base := range families {
		for _, kind := range []string{"lora", "textual_inversion"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				path := base(t)
				r := recipe(t, kind, path, pictures(t, 2))
				r.Train.Steps, r.Train.Rate, r.Data.Validation, r.Data.Width, r.Data.Height = 2, 0.05, number(0), 64, 128
				r.Samples.Prompts, r.Samples.CFG = []string{"a red ball"}, 5
				r.LoRA.Targets, r.LoRA.TextTargets = []string{"to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.2", "conv1"}, []string{"q_proj", "mlp.fc1"}
				if kind == "textual_inversion" {
					r.Train.Rate, r.Inversion.Vectors, r.Samples.Prompts = 1, 2, []string{"a <toy> ball"}
				}
				o, err := create(t, r).Train(t.Context(), device(t), Options{})
				must(t, err)
				m, err := catalog.Open(path, catalog.Options{})
				must(t, err)
				defer m.Close()
				p, err := pipeline.NewText2Image(device(t), m)
				must(t, err)
				defer p.Close()
				q := pipeline.Request{Prompt: r.Samples.Prompts[0], Seed: 1, Steps: 2, Sampler: "ddim", Schedule: "normal", CFG: 5, Width: 64, Height: 128}
				plain := drawn(t, p, q)
				if kind == "lora" {
					q.LoRAs = []pipeline.LoRA{{Name: o.Product, Text: 1, UNet: 1}}
				} else {
					must(t, p.LearnFile(o.Product))
				}
				if d := apart(plain, final(t, o)); d < 1 {
					t.Errorf("without what was learnt the picture is %v off the sample, hardly anything", d)
				}
				if d := apart(drawn(t, p, q), final(t, o)); d > 1 {
					t.Errorf("with what was learnt the picture is %v of 255 off the sample", d)
				}
			})
		}
	}
}

func drawn(t *testing.T, p *pipeline.Text2Image, r pipeline.Request) *image.NRGBA {
	t.Helper()
	res, err := p.Run(t.Context(), r, nil)
	must(t, err)
	return res.Images[0]
}

// TestWholeModelsOfOneFile checks that what could not be written at the end is refused at the start.
func TestWholeModelsOfOneFile(t *testing.T) {
	for name, kinds := range map[string][]string{"one file": {"latent_diffusion", "autoencoder"}, "two text encoders": {"latent_diffusion"}, "inpainting": {"rectified_flow"}} {
		for _, kind := range kinds {
			r := recipe(t, kind, families[name](t), pictures(t, 2))
			r.Data.Width, r.Data.Height = 64, 64
			if _, err := create(t, r).Train(t.Context(), device(t), Options{}); err == nil || !strings.HasPrefix(err.Error(), "base: the model ") {
				t.Errorf("%s of %s: %v", kind, name, err)
			}
		}
	}
}
