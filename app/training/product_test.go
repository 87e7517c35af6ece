package training

import (
	"image"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/pipeline"
)

// TestEveryKind trains every kind for a few steps, and looks at what comes of it.
func TestEveryKind(t *testing.T) {
	base, data := smallModel(t), pictures(t, 8)
	check := map[string]func(t *testing.T, o *Outcome){
		"lora": func(t *testing.T, o *Outcome) {
			f, err := checkpoint.Open(o.Product)
			must(t, err)
			defer f.Close()
			const key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
			up, ok := f.Get(key + ".lora_up.weight")
			if !ok || f.Metadata()["ss_network_dim"] != "2" || f.Metadata()["ss_steps"] != "6" || f.Metadata()["modelspec.prediction_type"] != "v" || !strings.Contains(f.Metadata()["ss_tag_frequency"], "a red ball") {
				t.Fatalf("names %v, metadata %v", f.Names()[:3], f.Metadata())
			}
			values, err := up.Float32s()
			must(t, err)
			moved := false
			for _, v := range values {
				moved = moved || v != 0
			}
			if !moved {
				t.Error("the upper half is still zero")
			}
		},
		"textual_inversion": func(t *testing.T, o *Outcome) {
			f, err := checkpoint.Open(o.Product)
			must(t, err)
			defer f.Close()
			if v, ok := f.Get("<toy>"); !ok || len(v.Shape) != 1 || v.Shape[0] != 8 || len(f.Names()) != 1 {
				t.Errorf("names %v, shape %v", f.Names(), v.Shape)
			}
		},
		"latent_diffusion": func(t *testing.T, o *Outcome) { draws(t, o, "ddim") },
		"rectified_flow":   func(t *testing.T, o *Outcome) { draws(t, o, "euler") },
		"gan":              func(t *testing.T, o *Outcome) { generates(t, o.Product) },
		"conditional_vae":  func(t *testing.T, o *Outcome) { generates(t, o.Product) },
		"flow": func(t *testing.T, o *Outcome) {
			generates(t, o.Product)
			if len(o.Figures) != 1 || o.Figures[0].Name != "bits per dimension" || !(o.Figures[0].Value > 0) {
				t.Errorf("figures %+v", o.Figures)
			}
		},
		"autoencoder": func(t *testing.T, o *Outcome) {
			if len(o.Figures) != 3 || !(o.Figures[0].Value > 3) {
				t.Errorf("figures %+v", o.Figures)
			}
			for _, name := range []string{"config.json", "diffusion_pytorch_model.safetensors", "README.md"} {
				if _, err := os.Stat(filepath.Join(o.Product, name)); err != nil {
					t.Error(err)
				}
			}
		},
	}
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			r := recipe(t, k.Name, "", data)
			if r.Base != "" {
				r.Base = base
			}
			r.Data.Validation = number(0.1)
			if k.Name == "conditional_vae" {
				r.Data.Path, r.Samples.Prompts = labelled(t, 8), nil
			}
			run := create(t, r)
			var told events
			o, err := run.Train(t.Context(), device(t), Options{Events: told.add})
			must(t, err)
			if o.Steps != 6 || o.Held != 1 || o.Pictures != 7 || len(told.of(EventStep)) != 6 || len(told.of(EventValidation)) != 3 || !(o.Validation > 0) || o.BestStep == 0 {
				t.Errorf("%+v", o)
			}
			for _, e := range told.of(EventWarning) {
				t.Errorf("a warning: %s", e.Message)
			}
			if n := len(told.of(EventSample)); n < 3 {
				t.Errorf("%d samples", n)
			}
			page, err := os.ReadFile(o.Report)
			must(t, err)
			for _, want := range []string{"<table", "<svg", "data:image/png", "best validation loss", "before"} {
				if !strings.Contains(string(page), want) {
					t.Errorf("the report lacks %s", want)
				}
			}
			card, err := os.ReadFile(filepath.Join(run.Folder, "card.md"))
			must(t, err)
			if !strings.Contains(string(card), "## Limits") || !strings.Contains(string(card), "kind = \""+k.Name) {
				t.Errorf("the card is %s", card)
			}
			if k.Name != "autoencoder" && (o.Made == 0 || !strings.Contains(string(page), "suspected copies")) {
				t.Error("the samples were not compared with the pictures")
			}
			check[k.Name](t, o)
		})
	}
}

// generates makes a picture in one step as the image workspace does.
func generates(t *testing.T, folder string) {
	t.Helper()
	m, err := catalog.Open(folder, catalog.Options{})
	must(t, err)
	defer m.Close()
	p, err := pipeline.Open(device(t), m)
	must(t, err)
	defer p.Close()
	prompt := ""
	if len(m.Examples) > 0 {
		prompt = m.Examples[0]
	}
	res, err := p.Run(t.Context(), pipeline.Request{Prompt: prompt, Seed: 3, Batch: 1}, nil)
	must(t, err)
	if m.Name != "toy" || res.Images[0].Rect.Empty() {
		t.Errorf("name %s, size %v", m.Name, res.Images[0].Rect)
	}
}

// final is the sample that was drawn with the product.
func final(t *testing.T, o *Outcome) *image.NRGBA {
	t.Helper()
	m, err := readPicture(filepath.Join(filepath.Dir(o.Report), samplesDir, finalShots+"-01.png"))
	must(t, err)
	return m
}

// apart is the mean difference of two pictures.
func apart(a, b *image.NRGBA) float64 {
	if a.Rect != b.Rect {
		return math.Inf(1)
	}
	sum := 0.0
	for i := range a.Pix {
		sum += math.Abs(float64(a.Pix[i]) - float64(b.Pix[i]))
	}
	return sum / float64(len(a.Pix))
}

// draws makes the sample that training showed with a model folder as the image workspace does.
func draws(t *testing.T, o *Outcome, sampler string) {
	t.Helper()
	m, err := catalog.Open(o.Product, catalog.Options{})
	must(t, err)
	defer m.Close()
	p, err := pipeline.NewText2Image(device(t), m)
	must(t, err)
	defer p.Close()
	if d := apart(drawn(t, p, pipeline.Request{Prompt: "a red ball", Seed: 1, Steps: 2}), final(t, o)); p.Info().Sampler != sampler || m.Name != "toy" || d > 2 {
		t.Errorf("sampler %s, name %s, %v of 255 off the sample", p.Info().Sampler, m.Name, d)
	}
}
