package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/catalog"
	"atelier/models/diffusion"
	"atelier/models/goldentest"
	"atelier/models/nn"
	"atelier/models/unet"
)

// TestSDXL is the case sdxl: both text encoders, the denoiser with sizes, and the pipeline of five Euler steps.
func TestSDXL(t *testing.T) {
	m, err := catalog.Open(filepath.Join(goldentest.Dir, "sdxl"), catalog.Options{})
	must(t, err)
	defer m.Close()
	c := goldentest.Load(t, "sdxl")
	in, want := goldentest.Read(t, "sdxl/in.safetensors"), goldentest.Read(t, "sdxl/out.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		x := &sdxl{t: t, m: m, dev: dev, got: map[string]goldentest.Tensor{}}
		x.encode("prompt_embeds", "pooled", in["ids_1"], in["ids_2"])
		x.encode("negative_prompt_embeds", "negative_pooled", in["neg_ids_1"], in["neg_ids_2"])
		out, warnings, err := Probe(context.Background(), dev, m, "unet", map[string]Tensor{
			"sample": Tensor(in["latents"]), "timestep": {Shape: []int{1}, Data: []float32{500}},
			"encoder_hidden_states": Tensor(want["prompt_embeds"]), "text_embeds": Tensor(want["pooled"]), "time_ids": Tensor(in["time_ids_unet_sample"]),
		}, ProbeOptions{})
		must(t, err)
		if len(warnings) > 0 {
			t.Errorf("warnings %q", warnings)
		}
		x.got["unet_sample"] = goldentest.Tensor(out["sample"])
		x.walk(in["latents"], in["time_ids_pipeline"])
		if len(x.got) != len(want) {
			t.Errorf("%d results, and there are %d goldens", len(x.got), len(want))
		}
		goldentest.Compare(t, c, x.got, want)
	})
}

type sdxl struct {
	t   *testing.T
	m   *catalog.Model
	dev compute.Device
	got map[string]goldentest.Tensor
}

// encode joins what the two encoders give.
func (x *sdxl) encode(states, pooled string, ids1, ids2 goldentest.Tensor) {
	x.t.Helper()
	run := func(component string, ids goldentest.Tensor) map[string]Tensor {
		out, _, err := Probe(context.Background(), x.dev, x.m, component, map[string]Tensor{"input_ids": Tensor(ids)}, ProbeOptions{})
		must(x.t, err)
		return out
	}
	first, second := run("text_encoder", ids1), run("text_encoder_2", ids2)
	const before = "hidden_states.2" // the last but one of three layers
	a, b := first[before], second[before]
	joined := Tensor{Shape: []int{1, a.Shape[1], a.Shape[2] + b.Shape[2]}}
	for row := range a.Shape[1] {
		joined.Data = append(joined.Data, a.Data[row*a.Shape[2]:(row+1)*a.Shape[2]]...)
		joined.Data = append(joined.Data, b.Data[row*b.Shape[2]:(row+1)*b.Shape[2]]...)
	}
	x.got[states], x.got[pooled] = goldentest.Tensor(joined), goldentest.Tensor(second["text_embeds"])
}

// walk samples with the plan that the pipeline compiles.
func (x *sdxl) walk(latents, sizes goldentest.Tensor) {
	x.t.Helper()
	const steps, guidance = 5, 6.0
	networks, err := newConditioned(x.m, nil)
	must(x.t, err)
	p := &parts{conditioned: networks}
	g := compute.NewGraph()
	g.Output("prediction", p.unet.Predict(p.denoiserInputs(g, setting{h: latents.Shape[2], w: latents.Shape[3], guided: true}), nil))
	plan, err := g.Compile(x.dev.Limits())
	must(x.t, err)
	exe, err := x.dev.Load(context.Background(), plan)
	must(x.t, err)
	defer exe.Close()
	config, err := diffusion.ParseConfig([]byte(`{"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
		"timestep_spacing": "leading", "steps_offset": 1}`))
	must(x.t, err)
	sampler, err := diffusion.New("euler", "normal", config, steps)
	must(x.t, err)
	z := append([]float32(nil), latents.Data...)
	for i, v := range z {
		z[i] = float32(float64(v) * sampler.InitNoiseSigma())
	}
	both := func(a, b goldentest.Tensor) []float32 { return append(append([]float32(nil), a.Data...), b.Data...) }
	answer := make([]float32, 2*len(z))
	for i, time := range sampler.Timesteps() {
		sample := goldentest.Tensor{Data: nn.ChannelsLast(sampler.ScaleInput(i, z), 1, 4, latents.Shape[2], latents.Shape[3])}
		must(x.t, exe.Run(context.Background(), map[string][]float32{
			"sample": both(sample, sample), "timestep": {float32(time), float32(time)}, "sizes": both(sizes, sizes),
			"context": both(x.got["negative_prompt_embeds"], x.got["prompt_embeds"]), "pooled": both(x.got["negative_pooled"], x.got["pooled"]),
		}, map[string][]float32{"prediction": answer}))
		guided := make([]float32, len(z))
		for k, v := range answer[:len(z)] {
			guided[k] = v + guidance*(answer[len(z)+k]-v)
		}
		guided = nn.ChannelsFirst(guided, 1, latents.Shape[2], latents.Shape[3], 4)
		z, _, err = sampler.Step(i, guided, z, nil)
		must(x.t, err)
		x.got[fmt.Sprintf("step%02d.noise_pred", i)] = goldentest.Tensor{Shape: latents.Shape, Data: guided}
		x.got[fmt.Sprintf("step%02d.latents", i)] = goldentest.Tensor{Shape: latents.Shape, Data: z}
	}
	x.got["final_latents"] = goldentest.Tensor{Shape: latents.Shape, Data: z}
	x.got["timesteps"], x.got["sigmas"] = list(sampler.Timesteps()), list(sampler.Sigmas())
}

func list(v []float64) goldentest.Tensor {
	out := goldentest.Tensor{Shape: []int{len(v)}}
	for _, x := range v {
		out.Data = append(out.Data, float32(x))
	}
	return out
}

// TestSDXLFromWords runs the case sdxl through the whole pipeline: letters whose ids are the golden's, in the first tokenizer
// padded with its end, in the second with 0.
func TestSDXLFromWords(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"sdxl/text_encoder": "text_encoder", "sdxl/text_encoder_2": "text_encoder_2", "sdxl/unet": "unet", "sd15/model/vae": "vae"} {
		must(t, os.CopyFS(filepath.Join(dir, to), os.DirFS(filepath.Join(goldentest.Dir, from))))
	}
	write(t, filepath.Join(dir, "model_index.json"), []byte(`{"_class_name": "StableDiffusionXLPipeline", "scheduler": ["diffusers", "EulerDiscreteScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
		"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "CLIPTokenizer"],
		"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}`))
	write(t, filepath.Join(dir, "scheduler/scheduler_config.json"), []byte(`{"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "timestep_spacing": "leading", "steps_offset": 1}`))
	c := goldentest.Load(t, "sdxl")
	in, want := goldentest.Read(t, "sdxl/in.safetensors"), goldentest.Read(t, "sdxl/out.safetensors")
	vocab := map[string]int{"<|startoftext|>": 998, "<|endoftext|>": 999, "!": 0}
	spell := func(ids []float32) string {
		var words []string
		for _, id := range ids[1:] {
			if id == 999 {
				break
			}
			word := string(rune('a' + len(vocab)))
			vocab[word+"</w>"] = int(id)
			words = append(words, word)
		}
		return strings.Join(words, " ")
	}
	prompt, negative := spell(in["ids_1"].Data), spell(in["neg_ids_1"].Data)
	text, err := json.Marshal(vocab)
	must(t, err)
	for name, pad := range map[string]string{"tokenizer": "<|endoftext|>", "tokenizer_2": "!"} {
		write(t, filepath.Join(dir, name, "vocab.json"), text)
		write(t, filepath.Join(dir, name, "merges.txt"), []byte("#version: 0.2\n"))
		write(t, filepath.Join(dir, name, "tokenizer_config.json"), []byte(`{"pad_token": "`+pad+`", "model_max_length": 77}`))
	}
	m, err := catalog.Open(dir, catalog.Options{})
	must(t, err)
	defer m.Close()
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		p, err := NewText2Image(dev, m)
		must(t, err)
		defer p.Close()
		r := Request{Prompt: prompt, Negative: negative, Width: 64, Height: 128, Steps: 5, CFG: 6, Latents: in["latents"].Data}
		_, got := traced(t, p, r)
		compareSteps(t, c, got, want)
		// Two rows of tokens, and weights, reach both encoders.
		r.Prompt = "(" + prompt + ":1.4) BREAK " + negative
		if _, other := traced(t, p, r); p.stages.chunks != 2 || different(other["final_latents"].Data, got["final_latents"].Data) < 1e-3 {
			t.Errorf("%d rows of tokens", p.stages.chunks)
		}
	})
}

// TestScaleAsCondition checks that a latent consistency model, which reads the scale, runs the conditional half alone.
func TestScaleAsCondition(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	r, err := p.Resolve(Request{Prompt: "a horse", CFG: 8})
	must(t, err)
	if !p.setting(r).guided {
		t.Error("an ordinary model runs without guidance")
	}
	p.parts.unet.GuidanceDim = 16
	s := p.setting(r)
	if s.guided {
		t.Error("a model that reads the scale is guided besides")
	}
	j := &job{Text2Image: p, Request: r}
	j.stages = &stages{setting: s}
	in := map[string][]float32{}
	j.conditions(in)
	if want := unet.GuidanceEmbedding(8, 16); !slices.Equal(in["guidance"], want) {
		t.Errorf("guidance %v, want %v", in["guidance"], want)
	}
	p.stages = nil
}
