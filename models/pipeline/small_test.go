package pipeline

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/clip"
	"atelier/models/diffusion"
	"atelier/models/nn"
	"atelier/models/unet"
	"atelier/models/vae"
)

// smallConfigs make a model of the built-in one's kind, as small as its kind can be: premultiplied RGBA, velocity
// prediction, latents halved once, an upscaler by two.
var smallConfigs = map[string]string{
	"model_index.json": `{"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
		"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "DDIMScheduler"], "safety_checker": [null, null]}`,
	"scheduler/scheduler_config.json": `{"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
		"prediction_type": "v_prediction", "clip_sample": false, "set_alpha_to_one": false, "steps_offset": 1, "timestep_spacing": "trailing"}`,
	"text_encoder/config.json": `{"vocab_size": 2514, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16, "eos_token_id": 2513}`,
	"unet/config.json": `{"sample_size": 8, "block_out_channels": [8, 16], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
		"layers_per_block": 1, "cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 4}`,
	"vae/config.json": `{"in_channels": 4, "out_channels": 4, "block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4, "scaling_factor": 0.6}`,
	"atelier.json":    `{"name": "Small", "steps": 3, "cfg": 2, "examples": ["a horse"]}`,
}

// writeSmall makes the folder of the small model with weights drawn from a seed.
func writeSmall(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range smallConfigs {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	for _, name := range []string{"vocab.json", "merges.txt", "tokenizer_config.json"} {
		data, err := os.ReadFile(filepath.Join("../tokenize/testdata/own", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "tokenizer", name), data)
	}
	text, err := clip.ParseConfig([]byte(smallConfigs["text_encoder/config.json"]))
	must(t, err)
	u, err := unet.ParseConfig([]byte(smallConfigs["unet/config.json"]))
	must(t, err)
	v, err := vae.ParseConfig([]byte(smallConfigs["vae/config.json"]))
	must(t, err)
	s := nn.Initialise(1)
	_, err = clip.New(s, text)
	must(t, err)
	save(t, filepath.Join(dir, "text_encoder/model.safetensors"), s)
	s = nn.Initialise(2)
	_, err = unet.New(s, u)
	must(t, err)
	save(t, filepath.Join(dir, "unet/diffusion_pytorch_model.safetensors"), s)
	s = nn.Initialise(3)
	_, err = vae.New(s, v)
	must(t, err)
	save(t, filepath.Join(dir, "vae/diffusion_pytorch_model.safetensors"), s)

	r := rand.New(rand.NewPCG(4, 0))
	var list []checkpoint.Tensor
	for _, p := range []struct {
		name  string
		shape compute.Shape
	}{{"body.0.weight", []int{8, 4, 3, 3}}, {"body.0.bias", []int{8}}, {"body.1.weight", []int{8}}, {"body.2.weight", []int{16, 8, 3, 3}}, {"body.2.bias", []int{16}}} {
		x := make([]float32, p.shape.Size())
		for i := range x {
			x[i] = float32(r.NormFloat64() * 0.05)
		}
		list = append(list, checkpoint.NewF32(p.name, p.shape, x))
	}
	write(t, filepath.Join(dir, "upscaler/.keep"), nil)
	must(t, checkpoint.Write(filepath.Join(dir, "upscaler/model.safetensors"), list, nil))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, data, 0o600))
}

// save writes the parameters of s as half-precision tensors, convolutions in the checkpoint's order.
func save(t *testing.T, path string, s *nn.Scope) {
	t.Helper()
	var list []checkpoint.Tensor
	for _, p := range s.Params() {
		x := make([]float32, p.Shape.Size())
		must(t, p.Source.Read(x))
		shape := []int(p.Shape)
		if len(shape) == 4 {
			x = nn.ChannelsFirst(x, shape[0], shape[1], shape[2], shape[3])
			shape = []int{shape[0], shape[3], shape[1], shape[2]}
		}
		list = append(list, checkpoint.NewF16(p.Name, shape, x))
	}
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, checkpoint.Write(path, list, nil))
}

func openSmall(t *testing.T) *catalog.Model {
	t.Helper()
	m, err := catalog.Open(writeSmall(t), catalog.Options{})
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// TestModelFoldersThatAreNot checks that what is missing is said in one sentence.
func TestModelFoldersThatAreNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(dir string)
		want   []string
	}{
		{"no index", func(d string) { os.Remove(d + "/model_index.json") }, []string{"not a model folder", "model_index.json"}},
		{"no weights", func(d string) {
			os.Remove(d + "/unet/diffusion_pytorch_model.safetensors")
			os.Remove(d + "/vae/config.json")
			os.Remove(d + "/scheduler/scheduler_config.json")
		}, []string{"not complete", "unet has no weights", "vae/config.json is missing", "scheduler/scheduler_config.json is missing"}},
		{"another class", func(d string) {
			write(t, d+"/model_index.json", []byte(strings.ReplaceAll(smallConfigs["model_index.json"], "AutoencoderKL", "VQModel")))
		}, []string{"VQModel", "AutoencoderKL"}},
		{"other configuration", func(d string) {
			write(t, d+"/unet/config.json", []byte(strings.ReplaceAll(smallConfigs["unet/config.json"], `"cross_attention_dim": 8`, `"cross_attention_dim": 12`)))
		}, []string{"unet/diffusion_pytorch_model.safetensors does not fit its configuration", "attn2.to_k.weight is [8 8], not [8 12]"}},
		{"damaged tokenizer", func(d string) { write(t, d+"/tokenizer/vocab.json", []byte("{")) }, []string{"vocab.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := writeSmall(t)
			c.damage(dir)
			m, err := catalog.Open(dir, catalog.Options{})
			if err == nil {
				defer m.Close()
				_, err = NewText2Image(nil, m)
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

// TestTokenizerElsewhere checks where a folder without a tokenizer finds one.
func TestTokenizerElsewhere(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "cases", "sd15", "diffusers")
	must(t, os.MkdirAll(filepath.Dir(dir), 0o700))
	must(t, os.Rename(writeSmall(t), dir))
	elsewhere := filepath.Join(root, "data", "clip_tokenizer")
	must(t, os.MkdirAll(filepath.Dir(elsewhere), 0o700))
	must(t, os.Rename(filepath.Join(dir, "tokenizer"), elsewhere))
	m, err := catalog.Open(dir, catalog.Options{})
	must(t, err)
	if m.Tokenizer == nil || m.TokenizerDir != elsewhere {
		t.Errorf("tokenizer in %q (%v), want %q", m.TokenizerDir, m.TokenizerError, elsewhere)
	}
	m.Close()

	moved := filepath.Join(t.TempDir(), "vocabulary")
	must(t, os.Rename(elsewhere, moved))
	m, err = catalog.Open(dir, catalog.Options{})
	must(t, err)
	if _, err := NewText2Image(nil, m); err == nil || !strings.Contains(err.Error(), "no tokenizer") || !strings.Contains(err.Error(), "ATELIER_TOKENIZER") {
		t.Errorf("without a tokenizer: %v", err)
	}
	m.Close()
	for _, o := range []catalog.Options{{TokenizerDir: moved}, {}} {
		if o.TokenizerDir == "" {
			t.Setenv("ATELIER_TOKENIZER", moved)
		}
		m, err = catalog.Open(dir, o)
		must(t, err)
		if m.Tokenizer == nil || m.TokenizerDir != moved {
			t.Errorf("%+v: tokenizer in %q (%v), want %q", o, m.TokenizerDir, m.TokenizerError, moved)
		}
		m.Close()
	}
}

// TestCardAndHash checks what the model says about itself.
func TestCardAndHash(t *testing.T) {
	m := openSmall(t)
	p, err := NewText2Image(nil, m)
	must(t, err)
	i := p.Info()
	got, _ := json.Marshal(i)
	want := `{"Name":"Small","Hash":"","Kind":"","Width":32,"Height":32,"MinSize":32,"MaxSize":2048,"SizeStep":4,"Steps":3,"CFG":2,"Sampler":"ddim","Schedule":"normal","Transparent":true,"Examples":["a horse"],"MaxPromptTokens":14,"TextLayers":1,"Follows":"4 8 false [8 8 8 16] 2","Labels":null,"Prompting":"","Free":false}`
	if string(got) != want {
		t.Errorf("info %s\nwant %s", got, want)
	}
	if h := p.ModelHash(); len(h) != 10 || h != m.Hash() {
		t.Errorf("hash %q", h)
	}
}

// saveFilled writes the parameters of s, those that begin as zeros with small numbers in their place.
func saveFilled(t *testing.T, path string, s *nn.Scope) {
	t.Helper()
	var list []checkpoint.Tensor
	for i, p := range s.Params() {
		x := make([]float32, p.Shape.Size())
		must(t, p.Source.Read(x))
		if !slices.ContainsFunc(x, func(v float32) bool { return v != 0 }) {
			for k, v := range diffusion.Noise(uint64(i), 0, len(x)) {
				x[k] = 0.1 * v
			}
		}
		shape := []int(p.Shape)
		if len(shape) == 4 {
			x = nn.ChannelsFirst(x, shape[0], shape[1], shape[2], shape[3])
			shape = []int{shape[0], shape[3], shape[1], shape[2]}
		}
		list = append(list, checkpoint.NewF32(p.Name, shape, x))
	}
	must(t, checkpoint.Write(path, list, nil))
}

func openTensors(t *testing.T, path string) checkpoint.Tensors {
	t.Helper()
	f, err := checkpoint.Open(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}
