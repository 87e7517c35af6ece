package pipeline

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/clip"
	"atelier/models/diffusion"
	"atelier/models/goldentest"
	"atelier/models/nn"
	"atelier/models/unet"
	"atelier/models/vae"
)

// singleFile writes the golden model's file of the original layout.
func singleFile(t *testing.T, change func(name string, x checkpoint.Tensor) (checkpoint.Tensor, bool)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sd15.safetensors")
	goldentest.WriteSingleFile(t, path, change)
	return path
}

func openSingle(t *testing.T, path string, o catalog.Options) *catalog.Model {
	t.Helper()
	t.Setenv("ATELIER_TOKENIZER", filepath.Join(goldentest.Dir, "sd15/tokenizer"))
	m, err := catalog.Open(path, o)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// sameParams checks that two loads of a network hold the same numbers under the same names.
func sameParams(t *testing.T, what string, a, b *nn.Scope) {
	t.Helper()
	have, want := a.Params(), b.Params()
	if len(have) != len(want) || len(have) == 0 {
		t.Fatalf("%s: %d parameters, want %d", what, len(have), len(want))
	}
	for i, p := range have {
		q := want[i]
		if p.Name != q.Name || !p.Shape.Equal(q.Shape) {
			t.Fatalf("%s: parameter %d is %s %v, want %s %v", what, i, p.Name, p.Shape, q.Name, q.Shape)
		}
		x, y := make([]float32, p.Shape.Size()), make([]float32, p.Shape.Size())
		must(t, p.Source.Read(x))
		must(t, q.Source.Read(y))
		if !slices.Equal(x, y) {
			t.Fatalf("%s: the values of %s differ", what, p.Name)
		}
	}
}

// TestSingleFile holds the networks that are found in the file to be those of the folder, setting for setting and number
// for number, so that all goldens of the folder are the file's.
func TestSingleFile(t *testing.T) {
	one, folder := openSingle(t, singleFile(t, nil), catalog.Options{}), openGolden(t)
	if one.Name != "Fifteen" || len(one.Warnings) > 0 || one.Pad(0) != folder.Pad(0) {
		t.Errorf("name %q, warnings %q, pad %d", one.Name, one.Warnings, one.Pad(0))
	}
	a, err := newParts(one)
	must(t, err)
	b, err := newParts(folder)
	must(t, err)
	for _, name := range []string{"text_encoder", "unet"} {
		sameParams(t, name, a.scopes[name], b.scopes[name])
	}
	vaes := [2]*nn.Scope{nn.Load("", one.VAE.Weights), nn.Load("", folder.VAE.Weights)}
	for _, s := range vaes {
		_, err := vae.New(s, b.vae.Config)
		must(t, err)
	}
	sameParams(t, "vae", vaes[0], vaes[1])

	text := b.text.Config
	text.ProjectionDim = 0 // of no tensor here
	if a.text.Config != text {
		t.Errorf("text encoder %+v, want %+v", a.text.Config, text)
	}
	v := b.vae.Config
	v.DownBlocks, v.UpBlocks, v.SampleSize = nil, nil, 0
	if !reflect.DeepEqual(a.vae.Config, v) {
		t.Errorf("autoencoder %+v, want %+v", a.vae.Config, v)
	}
	u := b.unet.Config
	u.SampleSize = 48 // as the file's metadata says
	if !reflect.DeepEqual(a.unet.Config, u) {
		t.Errorf("denoiser %+v, want %+v", a.unet.Config, u)
	}
	for _, sampler := range []string{"ddim", "euler"} {
		x, err := diffusion.New(sampler, "", a.scheduler, 6)
		must(t, err)
		y, err := diffusion.New(sampler, "", b.scheduler, 6)
		must(t, err)
		if !slices.Equal(x.Timesteps(), y.Timesteps()) || !slices.Equal(x.Sigmas(), y.Sigmas()) {
			t.Errorf("%s: timesteps %v, want %v", sampler, x.Timesteps(), y.Timesteps())
		}
	}
}

// TestSingleFileProbe runs the denoiser of the file on both devices.
func TestSingleFileProbe(t *testing.T) {
	m := openSingle(t, singleFile(t, nil), catalog.Options{})
	c, want := goldentest.Load(t, "sd15-unet"), goldentest.Read(t, "sd15/unet.out.safetensors")
	in := map[string]Tensor{}
	for name, v := range goldentest.Read(t, "sd15/unet.in.safetensors") {
		in[name] = Tensor(v)
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		out, _, err := Probe(context.Background(), dev, m, "unet", in, ProbeOptions{})
		must(t, err)
		goldentest.Close(t, "sample", goldentest.Tensor(out["sample"]), want["sample"], c.Atol["sample"])
	})
}

// TestContainers holds a model to be the same in every container: PyTorch's archive and its stream of old, GGUF.
func TestContainers(t *testing.T) {
	path := singleFile(t, nil)
	file, err := checkpoint.Open(path)
	must(t, err)
	defer file.Close()
	var list []checkpoint.Tensor
	for _, name := range file.Names() {
		x, _ := file.Get(name)
		list = append(list, x)
	}
	dir := t.TempDir()
	goldentest.WriteTorch(t, filepath.Join(dir, "archive.ckpt"), list, false)
	goldentest.WriteTorch(t, filepath.Join(dir, "stream.ckpt"), list, true)
	goldentest.WriteGGUF(t, filepath.Join(dir, "half.gguf"), list)
	want, err := newParts(openSingle(t, path, catalog.Options{}))
	must(t, err)
	for _, name := range []string{"archive.ckpt", "stream.ckpt", "half.gguf"} {
		m := openSingle(t, filepath.Join(dir, name), catalog.Options{})
		if len(m.Warnings) > 0 {
			t.Errorf("%s: warnings %q", name, m.Warnings)
		}
		got, err := newParts(m)
		must(t, err)
		for part := range want.scopes {
			sameParams(t, name+" "+part, got.scopes[part], want.scopes[part])
		}
	}
}

// TestQuantisedUNet opens a denoiser alone, in GGUF with blocks that run across the rows of its weights, and holds its numbers
// to be those of the same values in single precision.
func TestQuantisedUNet(t *testing.T) {
	file, err := checkpoint.Open(singleFile(t, nil))
	must(t, err)
	defer file.Close()
	blocks, decoded := goldentest.Quantised(t, file, compute.Q4_K, compute.Q6_K, compute.Q8_0)
	dir := t.TempDir()
	bare := func(r *goldentest.Replaced) (list []checkpoint.Tensor) {
		for _, name := range r.Names() {
			if own, ok := strings.CutPrefix(name, "model.diffusion_model."); ok {
				x, _ := r.Get(name)
				x.Name = own
				list = append(list, x)
			}
		}
		return list
	}
	goldentest.WriteGGUF(t, filepath.Join(dir, "unet.gguf"), bare(blocks))
	must(t, checkpoint.Write(filepath.Join(dir, "unet.safetensors"), bare(decoded), nil))
	var scopes []*nn.Scope
	quantised := 0
	for _, name := range []string{"unet.gguf", "unet.safetensors"} {
		m := openSingle(t, filepath.Join(dir, name), catalog.Options{})
		_, s, err := newUNet(m, nil)
		must(t, err)
		scopes = append(scopes, s)
		for _, p := range s.Params() {
			if p.Source.DType().Blocks() {
				quantised++
			}
		}
	}
	sameParams(t, "unet", scopes[0], scopes[1])
	if quantised < 50 {
		t.Errorf("%d weights stay quantised", quantised)
	}
}

// TestPrediction checks who decides what a denoiser predicts.
func TestPrediction(t *testing.T) {
	path := singleFile(t, nil)
	predicted := func(path, option string) string {
		var c struct {
			Prediction string `json:"prediction_type"`
		}
		must(t, json.Unmarshal(openSingle(t, path, catalog.Options{Prediction: option}).SchedulerConfig, &c))
		return c.Prediction
	}
	if p := predicted(path, ""); p != "epsilon" {
		t.Errorf("by itself: %s", p)
	}
	if p := predicted(path, "v_prediction"); p != "v_prediction" {
		t.Errorf("as the person says: %s", p)
	}
	write(t, strings.TrimSuffix(path, "safetensors")+"yaml", []byte("model:\n  params:\n    parameterization: \"v\"\n    unet_config:\n      params:\n        num_heads: 4\n"))
	if p := predicted(path, ""); p != "v_prediction" {
		t.Errorf("with a configuration beside it: %s", p)
	}
	if p := predicted(path, "epsilon"); p != "epsilon" {
		t.Errorf("the person against the configuration: %s", p)
	}
	u, _, err := newUNet(openSingle(t, path, catalog.Options{}), nil)
	must(t, err)
	if !slices.Equal(u.Heads, []int{4, 4, 4, 4}) {
		t.Errorf("heads %v", u.Heads)
	}
	if _, err := catalog.Open(path, catalog.Options{Prediction: "x0"}); err == nil || !strings.Contains(err.Error(), "neither") {
		t.Errorf("an unknown prediction gives %v", err)
	}
}

// TestBrokenSingleFiles checks that what is wrong with a file is said once, under the file's own names.
func TestBrokenSingleFiles(t *testing.T) {
	const conv, bias = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight", "model.diffusion_model.middle_block.2.out_layers.3.bias"
	path := singleFile(t, func(name string, x checkpoint.Tensor) (checkpoint.Tensor, bool) {
		switch name {
		case conv:
			return checkpoint.NewF32(name, []int{32, 32, 1, 1}, make([]float32, 32*32)), true
		case bias:
			return x, false
		case "cond_stage_model.transformer.text_model.final_layer_norm.bias", "first_stage_model.decoder.up.2.block.0.nin_shortcut.bias":
			return x, false
		case "model.diffusion_model.out.2.bias":
			x.Name = "model.diffusion_model.out.2.offset"
		case "betas":
			x.Name = "something.else"
		}
		return x, true
	})
	m := openSingle(t, path, catalog.Options{})
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "something.else") {
		t.Errorf("warnings %q", m.Warnings)
	}
	_, err := newParts(m)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{bias, "model.diffusion_model.out.2.bias", "cond_stage_model.transformer.text_model.final_layer_norm.bias", "first_stage_model.decoder.up.2.block.0.nin_shortcut.bias", conv + " is [32 32 1 1], not [32 32 3 3]", "model.diffusion_model.out.2.offset"} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("%q is wanted once in %q", want, err)
		}
	}
	part := singleFile(t, func(name string, x checkpoint.Tensor) (checkpoint.Tensor, bool) {
		return x, strings.HasPrefix(name, "model.diffusion_model.")
	})
	m = openSingle(t, part, catalog.Options{})
	if _, err := NewText2Image(nil, m); err == nil || !strings.Contains(err.Error(), "no text encoder and no autoencoder") {
		t.Errorf("a denoiser alone gives %v", err)
	}
	if _, _, err := newUNet(m, nil); err != nil {
		t.Errorf("a denoiser alone: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other.safetensors")
	must(t, checkpoint.Write(other, []checkpoint.Tensor{checkpoint.NewF32("a.b", []int{1}, []float32{1})}, nil))
	if _, err := catalog.Open(other, catalog.Options{}); err == nil || !strings.Contains(err.Error(), "other.safetensors holds no network that this program knows") || !strings.Contains(err.Error(), "a.b") {
		t.Errorf("an unknown file gives %v", err)
	}
	if _, err := catalog.Open(filepath.Join(goldentest.Dir, "lora/kohya.safetensors"), catalog.Options{}); err == nil || !strings.Contains(err.Error(), "is a LoRA") {
		t.Errorf("a LoRA gives %v", err)
	}
}

// TestOpenCLIP sees the golden text encoder through OpenCLIP's layout, its queries, keys and values fused.
func TestOpenCLIP(t *testing.T) {
	whole := goldentest.Open(t, "sdxl/text_encoder_2/model.safetensors")
	names := strings.NewReplacer("text_model.embeddings.token_embedding", "token_embedding", "text_model.embeddings.position_embedding.weight", "positional_embedding",
		"text_model.final_layer_norm", "ln_final", "text_model.encoder.layers", "transformer.resblocks", "layer_norm1", "ln_1", "layer_norm2", "ln_2",
		"self_attn.out_proj", "attn.out_proj", "fc1", "c_fc", "fc2", "c_proj")
	var list []checkpoint.Tensor
	fused := map[string][3][]float32{}
	for _, name := range whole.Names() {
		x, _ := whole.Get(name)
		values, err := x.Float32s()
		must(t, err)
		layer, rest, ok := strings.Cut(name, ".self_attn.")
		i := slices.Index([]string{"q_proj", "k_proj", "v_proj"}, strings.Split(rest, ".")[0])
		switch {
		case ok && i >= 0:
			key := names.Replace(layer) + ".attn.in_proj_" + strings.Split(rest, ".")[1]
			f := fused[key]
			f[i] = values
			fused[key] = f
		case name == "text_projection.weight": // [out in] → [in out]
			turned := make([]float32, len(values))
			for r := range x.Shape[0] {
				for c := range x.Shape[1] {
					turned[c*x.Shape[0]+r] = values[r*x.Shape[1]+c]
				}
			}
			list = append(list, checkpoint.NewF32("conditioner.embedders.1.model.text_projection", []int{x.Shape[1], x.Shape[0]}, turned))
		case strings.HasSuffix(name, "position_ids"):
		default:
			list = append(list, checkpoint.NewF32("conditioner.embedders.1.model."+names.Replace(name), x.Shape, values))
		}
	}
	const width = 24
	for key, f := range fused {
		shape := []int{3 * width, width}
		if strings.HasSuffix(key, "bias") {
			shape = shape[:1]
		}
		list = append(list, checkpoint.NewF32("conditioner.embedders.1.model."+key, shape, slices.Concat(f[0], f[1], f[2])))
	}
	list = append(list, checkpoint.NewF32("conditioner.embedders.1.model.logit_scale", nil, []float32{1}))
	slices.SortFunc(list, func(a, b checkpoint.Tensor) int { return strings.Compare(a.Name, b.Name) })
	path := filepath.Join(t.TempDir(), "text.safetensors")
	must(t, checkpoint.Write(path, list, nil))
	m := openSingle(t, path, catalog.Options{})
	if m.Pad(1) != 0 {
		t.Errorf("the second encoder's text is filled up with %d", m.Pad(1))
	}
	a, _, err := newText(m, &m.TextEncoder2, nil)
	must(t, err)
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "sdxl/text_encoder_2/config.json"))
	must(t, err)
	c, err := clip.ParseConfig(data)
	must(t, err)
	if a.Config != c {
		t.Errorf("configuration %+v, want %+v", a.Config, c)
	}
	b, err := clip.New(nn.Load("", whole), c)
	must(t, err)
	ids := goldentest.Read(t, "sdxl/in.safetensors")["ids_2"]
	pool := goldentest.Tensor{Shape: []int{1, 1, len(ids.Data)}, Data: make([]float32, len(ids.Data))}
	a.PoolRow(ids.Data, pool.Data)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		x, row := goldentest.Input(g, feed, "ids", ids), goldentest.Input(g, feed, "pool", pool)
		g.Output("a", a.Forward(x, row).Projected)
		g.Output("b", b.Forward(x, row).Projected)
		got := goldentest.Run(t, dev, g, feed)
		goldentest.Close(t, "projection", got["a"], got["b"], 1e-6)
	})
}

// TestInferSDXL holds what shapes tell about the golden denoiser of Stable Diffusion XL against its config.json.
func TestInferSDXL(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "sdxl/unet/config.json"))
	must(t, err)
	want, err := unet.ParseConfig(data)
	must(t, err)
	s := nn.Load("", goldentest.Open(t, "sdxl/unet/diffusion_pytorch_model.fp16.safetensors"))
	for _, pooled := range []int{20, 0} { // with its text encoder beside it, and alone
		got, err := unet.Infer(s, unet.Hints{Pooled: pooled})
		must(t, err)
		want.SampleSize, want.Heads[0] = 0, got.Heads[0] // the first level has no attention
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
}
