package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/diffusion"
	"atelier/models/goldentest"
)

func openGolden(t *testing.T) *catalog.Model {
	t.Helper()
	m, err := catalog.Open(filepath.Join(goldentest.Dir, "sd15/model"), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestGoldenPipelines is the cases sd15-pipe-ddim and sd15-pipe-euler, end to end.
func TestGoldenPipelines(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for _, sampler := range []string{"ddim", "euler"} {
			t.Run(sampler, func(t *testing.T) {
				c := goldentest.Load(t, "sd15-pipe-"+sampler)
				in, want := goldentest.Read(t, "sd15/pipeline/"+sampler+".in.safetensors"), goldentest.Read(t, "sd15/pipeline/"+sampler+".out.safetensors")
				m := openGolden(t)
				if sampler == "ddim" { // the other runs with the model's own file, which TestOldScheduler holds to be the same
					m.SchedulerConfig = c.SchedulerConfig
				}
				p, err := NewText2Image(dev, m)
				must(t, err)
				defer p.Close()
				got := map[string]goldentest.Tensor{}
				r, err := p.Run(context.Background(), Request{
					Prompt: c.Prompt, Negative: c.Negative, Width: c.Width, Height: c.Height, Steps: c.Steps, CFG: c.CFG,
					Sampler: sampler, Latents: in["latents"].Data,
					Trace: func(name string, shape []int, data []float32) {
						got[name] = goldentest.Tensor{Shape: shape, Data: data}
					},
				}, nil)
				must(t, err)
				compareTrace(t, c, got, want)
				comparePixels(t, r, want)
			})
		}
	})
}

// TestOldScheduler checks that the model folder's own scheduler file, a PNDM scheduler of 2022 that leaves most settings out,
// samples as the configuration that diffusers made of it for each case.
func TestOldScheduler(t *testing.T) {
	own, err := diffusion.ParseConfig(openGolden(t).SchedulerConfig)
	must(t, err)
	for _, sampler := range []string{"ddim", "euler"} {
		c := goldentest.Load(t, "sd15-pipe-"+sampler)
		full, err := diffusion.ParseConfig(c.SchedulerConfig)
		must(t, err)
		a, err := diffusion.New(sampler, "", own, c.Steps)
		must(t, err)
		b, err := diffusion.New(sampler, "", full, c.Steps)
		must(t, err)
		if !slices.Equal(a.Timesteps(), b.Timesteps()) || !slices.Equal(a.Sigmas(), b.Sigmas()) {
			t.Errorf("%s: timesteps %v, want %v; sigmas %v, want %v", sampler, a.Timesteps(), b.Timesteps(), a.Sigmas(), b.Sigmas())
		}
	}
}

// compareTrace judges what cases.json gives a tolerance for, and the noise predictions by the latents' tolerance.
func compareTrace(t *testing.T, c goldentest.Case, got, want map[string]goldentest.Tensor) {
	t.Helper()
	for name, atol := range c.Atol {
		if name == "sigmas" {
			continue // not a tensor of a run; package diffusion has its own test of them
		}
		w, ok := want[name]
		if !ok {
			t.Errorf("%s has no golden", name)
		}
		if _, ok := got[name]; !ok {
			t.Errorf("the trace lacks %s", name)
			continue
		}
		goldentest.Close(t, name, got[name], w, atol)
	}
	for i := range c.Steps {
		name := fmt.Sprintf("step%02d.noise_pred", i)
		goldentest.Close(t, name, got[name], want[name], c.Atol[fmt.Sprintf("step%02d.latents", i)])
	}
}

// comparePixels judges the finished picture: at most one step of 256 off, from rounding.
func comparePixels(t *testing.T, r *Result, want map[string]goldentest.Tensor) {
	t.Helper()
	w, ok := want["image_u8_hwc"]
	if !ok {
		return
	}
	m := r.Images[0]
	if m.Rect.Dx() != w.Shape[1] || m.Rect.Dy() != w.Shape[0] {
		t.Fatalf("the picture is %v, want %v", m.Rect, w.Shape)
	}
	for i, v := range w.Data {
		if d := float32(m.Pix[i/3*4+i%3]) - v; d > 1 || d < -1 {
			t.Fatalf("pixel %d is %v, want %v", i, m.Pix[i/3*4+i%3], v)
		}
	}
}

// TestGoldenProbe runs the components through Probe, under the names and layouts of the goldens' files.
func TestGoldenProbe(t *testing.T) {
	m := openGolden(t)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for component, golden := range map[string]string{"text_encoder": "text-encoder", "unet": "unet", "vae.encode": "vae", "vae.decode": "vae"} {
			c := goldentest.Load(t, "sd15-"+golden)
			file := "sd15/" + strings.ReplaceAll(golden, "-", "_")
			in, want := map[string]Tensor{}, goldentest.Read(t, file+".out.safetensors")
			for name, v := range goldentest.Read(t, file+".in.safetensors") {
				in[name] = Tensor(v)
			}
			out, warnings, err := Probe(context.Background(), dev, m, component, in, ProbeOptions{Activations: true})
			if err != nil {
				t.Fatalf("%s: %v", component, err)
			}
			wanted := map[string]string{
				"text_encoder": "hidden_states.0 hidden_states.1 hidden_states.2 hidden_states.3 last_hidden_state pooler_output",
				"unet":         "act.conv_in act.down_blocks.0 act.down_blocks.0.attentions.0 act.mid_block act.time_embedding act.time_proj act.up_blocks.3 sample",
				"vae.encode":   "logvar mean", "vae.decode": "decode",
			}[component]
			for _, name := range strings.Fields(wanted) {
				if _, ok := out[name]; !ok {
					t.Errorf("%s gives no %s", component, name)
				}
			}
			for name, v := range out {
				if atol, ok := c.Atol[name]; ok {
					goldentest.Close(t, name, goldentest.Tensor(v), want[name], atol)
				}
			}
			unneeded := map[string]int{"text_encoder": 0, "unet": 1, "vae.encode": 2, "vae.decode": 2}[component]
			if len(warnings) != unneeded {
				t.Errorf("%s warns %q; %d warnings are wanted", component, warnings, unneeded)
			}
		}
	})
}
