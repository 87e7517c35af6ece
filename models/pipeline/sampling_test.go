package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/goldentest"
)

// givenNoises lists the noiseNN of a golden's inputs in order.
func givenNoises(in map[string]goldentest.Tensor) (list [][]float32) {
	for i := 0; ; i++ {
		z, ok := in[fmt.Sprintf("noise%02d", i)]
		if !ok {
			return list
		}
		list = append(list, z.Data)
	}
}

// traced runs a request and keeps its trace.
func traced(t *testing.T, p *Text2Image, r Request) (*Result, map[string]goldentest.Tensor) {
	t.Helper()
	got := map[string]goldentest.Tensor{}
	r.Trace = func(name string, shape []int, data []float32) {
		got[name] = goldentest.Tensor{Shape: slices.Clone(shape), Data: slices.Clone(data)}
	}
	result, err := p.Run(context.Background(), r, nil)
	must(t, err)
	return result, got
}

// TestGoldenSamplers is the cases sd15-pipe-*, end to end, with the model folder's own scheduler file and the sampler named; the
// inputs and outputs lie with the tests of the samplers alone.
func TestGoldenSamplers(t *testing.T) {
	m := openGolden(t)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		p, err := NewText2Image(dev, m)
		must(t, err)
		defer p.Close()
		for name, sampler := range map[string]string{
			"ddpm": "DDPM", "dpmpp_2m_karras": "DPM++ 2M Karras", "euler_a": "Euler a", "heun": "Heun", "lcm": "LCM", "pndm": "PLMS", "unipc": "UniPC",
		} {
			t.Run(name, func(t *testing.T) {
				c, golden := goldentest.Load(t, "sd15-pipe-"+name), goldentest.Read(t, "../diffusion/testdata/"+name+".safetensors")
				_, got := traced(t, p, Request{
					Prompt: c.Prompt, Negative: c.Negative, Width: c.Width, Height: c.Height, Steps: c.Steps, CFG: c.CFG,
					Sampler: sampler, Latents: golden["latents"].Data, Noises: givenNoises(golden),
				})
				compareSteps(t, c, got, golden)
			})
		}
	})
}

// TestTeacherForced feeds the reference's predictions to every sampler of the goldens.
func TestTeacherForced(t *testing.T) {
	p, err := NewText2Image(newHost(t, host.Options{}), openGolden(t))
	must(t, err)
	defer p.Close()
	for name, sampler := range map[string]string{
		"ddim": "DDIM", "ddpm": "DDPM", "dpmpp_2m_karras": "DPM++ 2M Karras", "euler": "Euler", "euler_a": "Euler a", "heun": "Heun", "lcm": "LCM", "pndm": "PLMS", "unipc": "UniPC",
	} {
		c, golden := goldentest.Load(t, "sd15-pipe-"+name), goldentest.Read(t, "../diffusion/testdata/"+name+".safetensors")
		r := Request{Width: c.Width, Height: c.Height, Steps: c.Steps, CFG: c.CFG, Sampler: sampler, Latents: golden["latents"].Data, Noises: givenNoises(golden)}
		for i := 0; ; i++ {
			v, ok := golden[fmt.Sprintf("step%02d.noise_pred", i)]
			if !ok {
				break
			}
			r.Answers = append(r.Answers, v.Data)
		}
		_, got := traced(t, p, r)
		compareSteps(t, c, got, golden)
		r.Answers = r.Answers[:1]
		if _, err := p.Run(context.Background(), r, nil); err == nil || !strings.Contains(err.Error(), "the given answers are 1") {
			t.Errorf("%s with one answer: %v", name, err)
		}
	}
}

// compareSteps judges every call's prediction and latents by the latents' tolerance.
func compareSteps(t *testing.T, c goldentest.Case, got, want map[string]goldentest.Tensor) {
	t.Helper()
	for name, atol := range c.Atol {
		step, ok := strings.CutSuffix(name, ".latents")
		if !ok {
			continue
		}
		goldentest.Close(t, name, got[name], want[name], atol)
		goldentest.Close(t, step+".noise_pred", got[step+".noise_pred"], want[step+".noise_pred"], atol)
	}
	if final, ok := want["final_latents"]; ok {
		goldentest.Close(t, "final_latents", got["final_latents"], final, c.Atol["final_latents"])
	}
}

// pixelsOf reads a golden picture, 1 C H W.
func pixelsOf(v goldentest.Tensor) *Pixels {
	p := &Pixels{W: v.Shape[3], H: v.Shape[2], C: v.Shape[1]}
	for i := range p.W * p.H {
		for c := range p.C {
			p.Data = append(p.Data, v.Data[c*p.W*p.H+i])
		}
	}
	return p
}

// TestGoldenEdits is the cases sd15-img2img_ddim and sd15-inpaint4_ddim.
func TestGoldenEdits(t *testing.T) {
	m := openGolden(t)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		p, err := NewText2Image(dev, m)
		must(t, err)
		defer p.Close()
		for _, name := range []string{"img2img_ddim", "inpaint4_ddim"} {
			c, in := goldentest.Load(t, "sd15-"+name), goldentest.Read(t, "sd15/pipeline/"+name+".in.safetensors")
			r := Request{Prompt: c.Prompt, Negative: c.Negative, Steps: c.Steps, CFG: c.CFG, Sampler: "ddim", Init: pixelsOf(in["image01"]), Strength: c.Strength, Noises: givenNoises(in)}
			if mask, ok := in["mask"]; ok {
				r.Mask, r.Strength, r.Steps = pixelsOf(mask), 1, 6
			}
			result, got := traced(t, p, r)
			compareSteps(t, c, got, goldentest.Read(t, "sd15/pipeline/"+name+".out.safetensors"))
			if !result.Edited || result.Request.Init != nil {
				t.Errorf("%s: edited %v", name, result.Edited)
			}
		}
	})
}
