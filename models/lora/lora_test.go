package lora

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atelier/models/checkpoint"
	"atelier/models/ldm"
	"atelier/models/nn"
)

// memory is a checkpoint in memory.
type memory struct {
	tensors map[string]checkpoint.Tensor
	meta    map[string]string
}

func (m memory) Names() (names []string) {
	for n := range m.tensors {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
func (m memory) Get(name string) (checkpoint.Tensor, bool) { t, ok := m.tensors[name]; return t, ok }
func (m memory) Metadata() map[string]string               { return m.meta }
func (m memory) Close() error                              { return nil }

func newMemory() memory { return memory{map[string]checkpoint.Tensor{}, map[string]string{}} }

// add puts a tensor of drawn numbers.
func (m memory) add(r *rand.Rand, name string, shape ...int) []float32 {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	m.tensors[name] = checkpoint.NewF32(name, shape, x)
	return x
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func values(t *testing.T, p *nn.Param) []float32 {
	t.Helper()
	x := make([]float32, p.Shape.Size())
	must(t, p.Source.Read(x))
	return x
}

// close32 compares with the plain loops that define a product.
func close32(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i, w := range want {
		if math.Abs(float64(got[i]-w)) > 1e-4*(1+math.Abs(float64(w))) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], w)
		}
	}
}

// TestLinear checks W + Σ weight·alpha/rank·up·down over sizes that are no multiples of a tile.
func TestLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ out, in, rank int }{{1, 1, 1}, {5, 33, 4}, {64, 32, 8}, {7, 100, 3}, {66, 65, 17}} {
		base, file, second := newMemory(), newMemory(), newMemory()
		w := base.add(r, "a.b.weight", c.out, c.in)
		down, up := file.add(r, "lora_unet_a_b.lora_down.weight", c.rank, c.in), file.add(r, "lora_unet_a_b.lora_up.weight", c.out, c.rank)
		file.tensors["lora_unet_a_b.alpha"] = checkpoint.NewF32("alpha", nil, []float32{2})
		down2, up2 := second.add(r, "unet.a.b.lora_A.weight", c.rank, c.in), second.add(r, "unet.a.b.lora_B.weight", c.out, c.rank)
		s := nn.Load("base", base)
		p := s.Param("a.b.weight", nn.ConstInit(0), c.out, c.in)
		f, err := Read("first", file)
		must(t, err)
		g, err := Read("second", second)
		must(t, err)
		warnings, err := Apply([]Network{{Name: "unet", Params: s.Params()}}, []Use{{f, 9, 0.7}, {g, 9, -0.4}})
		must(t, err)
		if len(warnings) > 0 {
			t.Errorf("warnings %q", warnings)
		}
		want := slices.Clone(w)
		for o := range c.out {
			for i := range c.in {
				sum := 0.0
				for k := range c.rank {
					sum += 0.7*2/float64(c.rank)*float64(up[o*c.rank+k])*float64(down[k*c.in+i]) - 0.4*float64(up2[o*c.rank+k])*float64(down2[k*c.in+i])
				}
				want[o*c.in+i] += float32(sum)
			}
		}
		close32(t, "sum", values(t, p), want)
		_, err = Apply([]Network{{Name: "unet", Params: s.Params()}}, nil)
		must(t, err)
		if !slices.Equal(values(t, p), w) {
			t.Error("without adapters the weights are not their own")
		}
	}
}

// TestConvolutions checks LoCon: a convolution down and a 1×1 one up, with and without one of its own size in the middle.
func TestConvolutions(t *testing.T) {
	const out, in, k, rank = 6, 5, 3, 4
	r := rand.New(rand.NewPCG(3, 4))
	for _, middle := range []bool{false, true} {
		base, file := newMemory(), newMemory()
		w := base.add(r, "conv.weight", out, in, k, k)
		up := file.add(r, "lora_unet_conv.lora_up.weight", out, rank, 1, 1)
		var down, mid []float32
		if middle {
			down, mid = file.add(r, "lora_unet_conv.lora_down.weight", rank, in, 1, 1), file.add(r, "lora_unet_conv.lora_mid.weight", rank, rank, k, k)
		} else {
			down = file.add(r, "lora_unet_conv.lora_down.weight", rank, in, k, k)
		}
		s := nn.Load("base", base)
		p := s.Kernel("conv.weight", out, in, k, k)
		f, err := Read("file", file)
		must(t, err)
		_, err = Apply([]Network{{Name: "unet", Params: s.Params()}}, []Use{{f, 1, 1}})
		must(t, err)
		want := make([]float32, out*k*k*in) // channels last
		for o := range out {
			for i := range in {
				for c := range k * k {
					sum := float64(w[(o*in+i)*k*k+c])
					for a := range rank {
						if !middle {
							sum += float64(up[o*rank+a]) * float64(down[(a*in+i)*k*k+c])
							continue
						}
						for b := range rank {
							sum += float64(up[o*rank+a]) * float64(mid[(a*rank+b)*k*k+c]) * float64(down[b*in+i])
						}
					}
					want[(o*k*k+c)*in+i] = float32(sum)
				}
			}
		}
		close32(t, "convolution", values(t, p), want)
	}
}

// TestNames checks the names that trainers give the same layer.
func TestNames(t *testing.T) {
	const attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
	for key, want := range map[string]string{
		"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight":                           "lora_unet_down_blocks_0_attentions_0_proj_in",
		"unet." + attention + ".to_out.0.lora_A.weight":                                           "unet." + attention + ".to_out.0",
		"unet." + attention + ".to_q.lora.up.weight":                                              "unet." + attention + ".to_q",
		attention + ".processor.to_out_lora.down.weight":                                          "unet." + attention + ".to_out.0",
		"unet." + attention + ".processor.to_v_lora.up.weight":                                    "unet." + attention + ".to_v",
		"base_model.model." + attention + ".to_k.lora_B.default.weight":                           "unet." + attention + ".to_k",
		"text_encoder.text_model.encoder.layers.3.self_attn.q_proj.lora_linear_layer.down.weight": "text_encoder.text_model.encoder.layers.3.self_attn.q_proj",
		"text_encoder.text_model.encoder.layers.3.self_attn.to_out_lora.up.weight":                "text_encoder.text_model.encoder.layers.3.self_attn.out_proj",
		"text_encoder_2.text_model.encoder.layers.3.mlp.fc1.lora_A.weight":                        "text_encoder_2.text_model.encoder.layers.3.mlp.fc1",
		"diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_A.weight":          "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q",
		"text_model.encoder.layers.3.self_attn.k_proj.lora_A.weight":                              "text_encoder.text_model.encoder.layers.3.self_attn.k_proj",
	} {
		if got, _, ok := split(key); !ok || got != want {
			t.Errorf("%s is of the layer %q, want %q", key, got, want)
		}
	}
}

// TestPlaces checks that each encoder of Stable Diffusion XL takes its own layers, and a denoiser those of both layouts.
func TestPlaces(t *testing.T) {
	xl := Network{Name: "text_encoder_2"}
	if k := xl.keys("text_model.encoder.layers.0.mlp.fc1"); !slices.Equal(k, []string{"text_encoder_2.text_model.encoder.layers.0.mlp.fc1", "lora_te2_text_model_encoder_layers_0_mlp_fc1"}) {
		t.Errorf("%q", k)
	}
	one := Network{Name: "text_encoder", Alone: true}
	if k := one.keys("a.b"); !slices.Contains(k, "lora_te_a_b") || !slices.Contains(k, "lora_te1_a_b") {
		t.Errorf("%q", k)
	}
	u := Network{Name: "unet", Table: ldm.UNetTable(3, 2)}
	for layer, want := range map[string]string{
		"down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
		"mid_block.attentions.0.proj_in":                             "lora_unet_middle_block_1_proj_in",
		"up_blocks.0.upsamplers.0.conv":                              "lora_unet_output_blocks_2_2_conv",
		"up_blocks.1.resnets.0.conv1":                                "lora_unet_output_blocks_3_0_in_layers_2",
		"time_embedding.linear_1":                                    "lora_unet_time_embed_0",
		"down_blocks.0.downsamplers.0.conv":                          "lora_unet_input_blocks_3_0_op",
	} {
		if k := u.keys(layer); !slices.Contains(k, want) {
			t.Errorf("%s has the keys %q, which lack %s", layer, k, want)
		}
	}
}

// TestMistakes checks what is said of files that do not fit.
func TestMistakes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pair := func(m memory) memory {
		m.add(r, "lora_unet_a.lora_down.weight", 2, 3)
		m.add(r, "lora_unet_a.lora_up.weight", 4, 2)
		return m
	}
	for want, file := range map[string]memory{
		"is not a LoRA": func() memory { m := newMemory(); m.add(r, "conv_in.weight", 1); return m }(),
		"holds DoRA":    func() memory { m := pair(newMemory()); m.add(r, "lora_unet_a.dora_scale", 1, 3); return m }(),
		"holds LoHa":    func() memory { m := newMemory(); m.add(r, "lora_unet_a.hada_w1_a", 1, 3); return m }(),
		"one of its two factors": func() memory {
			m := newMemory()
			m.add(r, "lora_unet_a.lora_up.weight", 1, 3)
			return m
		}(),
		"make no product": func() memory {
			m := pair(newMemory())
			m.add(r, "lora_unet_a.lora_up.weight", 4, 3)
			return m
		}(),
		"alpha is not a number": func() memory { m := pair(newMemory()); m.add(r, "lora_unet_a.alpha", 2); return m }(),
		"an alpha but no factors": func() memory {
			m := pair(newMemory())
			m.add(r, "lora_unet_b.alpha")
			return m
		}(),
	} {
		if _, err := Read("x.safetensors", file); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.safetensors") {
			t.Errorf("%q: %v", want, err)
		}
	}
	base := newMemory()
	base.add(r, "a.weight", 4, 5)
	base.add(r, "b.weight", 4, 3)
	s := nn.Load("base", base)
	s.Param("a.weight", nn.ConstInit(0), 4, 5)
	s.Param("b.weight", nn.ConstInit(0), 4, 3)
	networks := []Network{{Name: "unet", Params: s.Params()}}
	file := pair(newMemory())
	file.meta["ss_base_model_version"] = "sdxl_base_v1-0"
	f, err := Read("x", file)
	must(t, err)
	if _, err := Apply(networks, []Use{{f, 1, 1}}); err == nil || !strings.Contains(err.Error(), "lora_unet_a makes a matrix of 4 × 3, where the model's is [4 5] (it was made for sdxl_base_v1-0)") {
		t.Errorf("another shape gives %v", err)
	}
	elsewhere := newMemory()
	elsewhere.add(r, "lora_te_c.lora_down.weight", 1, 3)
	elsewhere.add(r, "lora_te_c.lora_up.weight", 1, 1)
	f, err = Read("x", elsewhere)
	must(t, err)
	if _, err := Apply(networks, []Use{{f, 1, 1}}); err == nil || !strings.Contains(err.Error(), "none of its 1 layers is there") {
		t.Errorf("no layer gives %v", err)
	}
	elsewhere.add(r, "lora_unet_b.lora_down.weight", 1, 3)
	elsewhere.add(r, "lora_unet_b.lora_up.weight", 4, 1)
	elsewhere.add(r, "bundle_emb.x.string_to_param.*", 1, 3)
	f, err = Read("x", elsewhere)
	must(t, err)
	warnings, err := Apply(networks, []Use{{f, 1, 1}})
	must(t, err)
	if len(warnings) != 2 || !strings.Contains(warnings[0], "1 of 2 layers") || !strings.Contains(warnings[0], "lora_te_c") || !strings.Contains(warnings[1], "bundle_emb") {
		t.Errorf("warnings %q", warnings)
	}
}

// TestPeftConfiguration checks where peft keeps the alphas that its files lack: in a configuration beside them, and in metadata.
func TestPeftConfiguration(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	file := newMemory()
	var list []checkpoint.Tensor
	for _, layer := range []string{"unet.a.to_q", "unet.a.to_k", "text_encoder.b.q_proj"} {
		file.add(r, layer+".lora_A.weight", 4, 5)
		file.add(r, layer+".lora_B.weight", 6, 4)
	}
	file.tensors["unet.a.to_k.alpha"] = checkpoint.NewF32("unet.a.to_k.alpha", nil, []float32{1})
	for _, n := range file.Names() {
		x := file.tensors[n]
		x.Name = n
		list = append(list, x)
	}
	scales := func(f *File) [3]float64 {
		return [3]float64{f.modules["unet.a.to_q"].scale(), f.modules["unet.a.to_k"].scale(), f.modules["text_encoder.b.q_proj"].scale()}
	}
	for metadata, want := range map[string][3]float64{
		"":                       {1, 0.25, 1},
		`{"unet.lora_alpha": 8}`: {2, 0.25, 1},
		`{"unet.lora_alpha": 8, "unet.use_rslora": true, "text_encoder.lora_alpha": 2}`: {4, 0.25, 0.5},
	} {
		file.meta[peftMetadata] = metadata
		f, err := Read("x", file)
		must(t, err)
		if got := scales(f); got != want {
			t.Errorf("%s: scales %v, want %v", metadata, got, want)
		}
	}
	file.meta[peftMetadata] = "{"
	if _, err := Read("x", file); err == nil || !strings.Contains(err.Error(), "peft") {
		t.Errorf("broken metadata: %v", err)
	}
	for config, want := range map[string][3]float64{
		"":                  {1, 0.25, 1},
		`{"lora_alpha": 2}`: {0.5, 0.25, 0.5},
		`{"lora_alpha": 2, "alpha_pattern": {"q": 9, "b.q_proj": 12, "q_proj": 3}}`: {0.5, 0.25, 3},
	} {
		path := filepath.Join(t.TempDir(), "adapter_model.safetensors")
		must(t, checkpoint.Write(path, list, nil))
		if config != "" {
			must(t, os.WriteFile(filepath.Join(filepath.Dir(path), peftConfig), []byte(config), 0o644))
		}
		f, open, err := Open(path)
		must(t, err)
		if got := scales(f); got != want {
			t.Errorf("%s: scales %v, want %v", config, got, want)
		}
		open.Close()
	}
}
