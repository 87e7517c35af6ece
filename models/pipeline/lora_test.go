package pipeline

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

// loraGoldens are the cases fmt-kohya_lora and fmt-peft-lora.
var loraGoldens = []struct {
	id, file string
	weight   float64
}{{"fmt-kohya_lora", "kohya", 0.8}, {"fmt-peft-lora", "peft", 0.7}}

// oldNames writes peft's golden under the names that diffusers gave the same numbers before.
func oldNames(t *testing.T) string {
	t.Helper()
	file := goldentest.Open(t, "lora/peft.safetensors")
	var list []checkpoint.Tensor
	for _, name := range file.Names() {
		x, _ := file.Get(name)
		for factor, half := range map[string]string{".lora_A.weight": "down", ".lora_B.weight": "up"} {
			layer, ok := strings.CutSuffix(name, factor)
			at, projection, attention := strings.Cut(layer, ".attn")
			switch {
			case !ok:
			case attention && !strings.HasPrefix(name, "text_encoder"): // unet.….attn1.to_out.0 → unet.….attn1.processor.to_out_lora
				number, leaf, _ := strings.Cut(projection, ".")
				x.Name = at + ".attn" + number + ".processor." + strings.TrimSuffix(leaf, ".0") + "_lora." + half + ".weight"
			default:
				x.Name = layer + ".lora_linear_layer." + half + ".weight"
			}
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b checkpoint.Tensor) int { return strings.Compare(a.Name, b.Name) })
	path := filepath.Join(t.TempDir(), "old.safetensors")
	must(t, checkpoint.Write(path, list, nil))
	return path
}

func TestLoRAGoldens(t *testing.T) {
	m := openGolden(t)
	ids := goldentest.Read(t, "sd15/text_encoder.in.safetensors")["input_ids"]
	in := goldentest.Read(t, "sd15/unet.in.safetensors")
	old := oldNames(t)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for _, g := range loraGoldens {
			want := goldentest.Read(t, "lora/"+g.file+".out.safetensors")
			files := []string{filepath.Join(goldentest.Dir, "lora", g.file+".safetensors")}
			if g.file == "peft" {
				files = append(files, old)
			}
			for _, file := range files {
				o := ProbeOptions{LoRAs: []LoRA{{Name: file, Text: g.weight, UNet: g.weight}}}
				run := func(component string, in map[string]Tensor) map[string]Tensor {
					t.Helper()
					out, warnings, err := Probe(context.Background(), dev, m, component, in, o)
					must(t, err)
					if len(warnings) > 0 {
						t.Errorf("%s: warnings %q", file, warnings)
					}
					return out
				}
				got := map[string]goldentest.Tensor{}
				text := run("text_encoder", map[string]Tensor{"input_ids": Tensor(ids)})["last_hidden_state"]
				got["text_last_hidden_state"] = goldentest.Tensor(text)
				denoise := func(context Tensor) goldentest.Tensor {
					t.Helper()
					return goldentest.Tensor(run("unet", map[string]Tensor{"sample": Tensor(in["sample"]), "timestep": Tensor(in["timestep"]), "encoder_hidden_states": context})["sample"])
				}
				got["unet_sample_base_ctx"] = denoise(Tensor(in["encoder_hidden_states"]))
				two := text.Shape[1] * text.Shape[2] * 2
				got["unet_sample_lora_ctx"] = denoise(Tensor{Shape: []int{2, text.Shape[1], text.Shape[2]}, Data: text.Data[:two]})
				goldentest.Compare(t, goldentest.Load(t, g.id), got, want)
			}
		}
	})
}

// TestLoRAOfOriginalNames gives the golden's layers the names of the original layout, as files for Stable Diffusion XL have
// them, and finds every one again.
func TestLoRAOfOriginalNames(t *testing.T) {
	c, err := newConditioned(openGolden(t), nil)
	must(t, err)
	file := goldentest.Open(t, "lora/kohya.safetensors")
	networks := c.networks()
	flat := func(s string) string { return strings.ReplaceAll(s, ".", "_") }
	renames := map[string]string{}
	for _, p := range c.scopes[denoiser].Params() {
		if layer, ok := strings.CutSuffix(p.Name, ".weight"); ok {
			names := networks[1].Table.Originals(layer)
			renames["lora_unet_"+flat(layer)] = "lora_unet_" + flat(names[0])
		}
	}
	var list []checkpoint.Tensor
	for _, name := range file.Names() {
		x, _ := file.Get(name)
		layer, leaf, _ := strings.Cut(name, ".")
		if to, ok := renames[layer]; ok {
			x.Name = to + "." + leaf
		}
		list = append(list, x)
	}
	if !slices.ContainsFunc(list, func(x checkpoint.Tensor) bool {
		return x.Name == "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_up.weight"
	}) {
		t.Error("the renamed file lacks the layer that begins every file of this kind")
	}
	slices.SortFunc(list, func(a, b checkpoint.Tensor) int { return strings.Compare(a.Name, b.Name) })
	path := filepath.Join(t.TempDir(), "original.safetensors")
	must(t, checkpoint.Write(path, list, nil))

	values := func(file string) [][]float32 {
		t.Helper()
		c, err := newConditioned(openGolden(t), nil)
		must(t, err)
		var a adapters
		defer a.close()
		must(t, a.use(c.networks(), []LoRA{{Name: file, UNet: 0.5}}, ""))
		if len(a.warnings) > 0 {
			t.Errorf("%s: %q", file, a.warnings)
		}
		var all [][]float32
		for _, p := range c.scopes[denoiser].Params() {
			all = append(all, read(t, p))
		}
		return all
	}
	a, b := values(filepath.Join(goldentest.Dir, "lora/kohya.safetensors")), values(path)
	for i := range a {
		if !slices.Equal(a[i], b[i]) {
			t.Fatalf("parameter %d differs", i)
		}
	}
}

func read(t *testing.T, p *nn.Param) []float32 {
	t.Helper()
	x := make([]float32, p.Shape.Size())
	must(t, p.Source.Read(x))
	return x
}

// TestLoRASwitch adds and removes adapters in one pipeline: without them the picture is what it was, layers that no adapter
// changes keep their place on the device, and the order of files does not matter.
func TestLoRASwitch(t *testing.T) {
	c, err := newConditioned(openGolden(t), nil)
	must(t, err)
	var a adapters
	defer a.close()
	kohya, peft := filepath.Join(goldentest.Dir, "lora/kohya.safetensors"), filepath.Join(goldentest.Dir, "lora/peft.safetensors")
	snapshot := func() map[string][]float32 {
		all := map[string][]float32{}
		for _, p := range c.scopes[denoiser].Params() {
			all[p.Name] = read(t, p)
		}
		return all
	}
	same := func(x, y map[string][]float32, tol float32) bool {
		for name, v := range x {
			for i, w := range y[name] {
				if d := v[i] - w; d > tol || d < -tol {
					return false
				}
			}
		}
		return true
	}
	before := snapshot()
	sources := map[string]compute.Source{}
	for _, p := range c.scopes[denoiser].Params() {
		sources[p.Name] = p.Source
	}
	must(t, a.use(c.networks(), []LoRA{{Name: kohya, UNet: 0.8}, {Name: peft, UNet: 0.3}}, ""))
	both := snapshot()
	if same(before, both, 1e-3) {
		t.Error("two adapters change nothing")
	}
	kept := 0
	for _, p := range c.scopes[denoiser].Params() {
		if p.Source == sources[p.Name] {
			kept++
		}
	}
	if n := len(sources); kept < n/3 || kept == n {
		t.Errorf("%d of %d parameters kept their values", kept, n)
	}
	must(t, a.use(c.networks(), []LoRA{{Name: peft, UNet: 0.3}, {Name: kohya, UNet: 0.8}}, ""))
	if !same(both, snapshot(), 1e-6) {
		t.Error("the order of files matters")
	}
	must(t, a.use(c.networks(), []LoRA{{Name: kohya}}, ""))
	if !same(before, snapshot(), 0) {
		t.Error("an adapter of weight 0 changes something")
	}
	must(t, a.use(c.networks(), nil, ""))
	for _, p := range c.scopes[denoiser].Params() {
		if p.Source != sources[p.Name] {
			t.Fatalf("%s does not have its own values back", p.Name)
		}
	}
}

// TestReplacedLoRA trains an adapter anew under its old name: the next picture is the new one's.
func TestReplacedLoRA(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.safetensors")
	save := func(value float32) {
		must(t, checkpoint.Write(path, []checkpoint.Tensor{
			checkpoint.NewF32("lora_unet_conv_in.lora_down.weight", []int{1, 4, 3, 3}, slices.Repeat([]float32{value}, 36)),
			checkpoint.NewF32("lora_unet_conv_in.lora_up.weight", []int{8, 1, 1, 1}, []float32{-3, -2, -1, 0, 1, 2, 3, 4}),
		}, map[string]string{"value": strings.Repeat("x", int(value*10))})) // another size: no clock decides
	}
	list := []LoRA{{Name: path, Text: 1, UNet: 1}}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		picture := func(p *Text2Image) (pix []uint8, hash string) {
			t.Helper()
			r, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: 1, LoRAs: list}, nil)
			must(t, err)
			return r.Images[0].Pix, r.LoRAHashes["own"]
		}
		p := newSmall(t, dev)
		save(0.5)
		first, firstHash := picture(p)
		save(0.9)
		second, secondHash := picture(p)
		want, wantHash := picture(newSmall(t, dev))
		if slices.Equal(first, second) || firstHash == secondHash {
			t.Error("the adapter that was replaced is still in use")
		}
		if !slices.Equal(second, want) || secondHash != wantHash {
			t.Error("the new adapter makes another picture than in a fresh pipeline")
		}
		if len(p.adapters.stale) > 0 {
			t.Error("the replaced file is still open")
		}
	})
}

// TestLoRAInPipeline runs the small model with and without an adapter and back: the last picture is the first.
func TestLoRAInPipeline(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "own.safetensors")
	up := make([]float32, 8)
	for i := range up {
		up[i] = float32(i) - 3
	}
	must(t, checkpoint.Write(path, []checkpoint.Tensor{
		checkpoint.NewF32("lora_unet_conv_in.lora_down.weight", []int{1, 4, 3, 3}, slices.Repeat([]float32{0.5}, 36)),
		checkpoint.NewF32("lora_unet_conv_in.lora_up.weight", []int{8, 1, 1, 1}, up),
		checkpoint.NewF32("lora_unet_no_such_layer.lora_down.weight", []int{1, 8}, up),
		checkpoint.NewF32("lora_unet_no_such_layer.lora_up.weight", []int{8, 1}, up),
	}, nil))
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		p := newSmall(t, dev)
		run := func(list ...LoRA) *Result {
			t.Helper()
			r, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: 1, LoRAs: list}, nil)
			must(t, err)
			return r
		}
		first, with := run(), run(LoRA{Name: path, Text: 1, UNet: 1})
		p.SetLoRAFolders(dir)
		named, err := p.Run(context.Background(), Request{Prompt: "a horse <lora:own:1>", Seed: 1}, nil)
		must(t, err)
		if !slices.Equal(named.Images[0].Pix, with.Images[0].Pix) {
			t.Error("the adapter by its name in the prompt makes another picture")
		}
		if _, err := p.Run(context.Background(), Request{Prompt: "a horse <lora:none:1>", Seed: 1}, nil); err == nil || !strings.Contains(err.Error(), `there is no LoRA "none"`) {
			t.Errorf("an adapter that is not there gives %v", err)
		}
		again := run()
		if slices.Equal(first.Images[0].Pix, with.Images[0].Pix) {
			t.Error("the adapter changes nothing")
		}
		if !slices.Equal(first.Images[0].Pix, again.Images[0].Pix) {
			t.Error("the picture without the adapter is another afterwards")
		}
		if len(with.Warnings) != 1 || !strings.Contains(with.Warnings[0], "lora_unet_no_such_layer") || len(again.Warnings) != 0 {
			t.Errorf("warnings %q, then %q", with.Warnings, again.Warnings)
		}
	})
}
