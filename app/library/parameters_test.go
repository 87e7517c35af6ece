package library

import (
	"bytes"
	"compress/zlib"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"atelier/models/pipeline"
)

func TestParametersTextIsA1111s(t *testing.T) {
	want := "a red apple\nNegative prompt: blurry\nSteps: 20, Sampler: DDIM, Schedule type: Normal, CFG scale: 4, Seed: 1, Size: 37x23, Model hash: 6ce0161689, Model: sticker, RNG: NV, Version: atelier 0.1"
	if got := meta.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := (Meta{Prompt: "x", Seed: 3, Model: `a, "b": c`, Version: "v"}).String(); got != "x\nSeed: 3, Model: \"a, \\\"b\\\": c\", Version: v" {
		t.Errorf("quoted: %q", got)
	}
}

func TestParametersSurviveTheFile(t *testing.T) {
	for name, m := range map[string]Meta{
		"plain":     meta,
		"latin":     {Prompt: "café, crème: <brûlée> & (x:1.3)", Seed: 1<<64 - 1, Steps: 3, Sampler: "Euler a", CFG: 7.5, Version: "v: 1, a"},
		"unicode":   {Prompt: "日本の山 🗻\nsecond line", Negative: "два\nстроки", Steps: 1, Sampler: "DPM++ 2M SDE", Schedule: "Karras", Seed: 9, Model: "модель, \"x\"\nnew"},
		"no fields": {Prompt: "just words", Seed: 4},
	} {
		path := filepath.Join(t.TempDir(), "p.png")
		if err := WriteTo(path, sample(), m); err != nil {
			t.Fatal(err)
		}
		p, err := ReadParameters(path)
		if err != nil {
			t.Fatal(err)
		}
		if p.Raw != m.String() {
			t.Errorf("%s: raw %q, want %q", name, p.Raw, m.String())
		}
		if name == "no fields" { // one field alone is not a last line; A1111 reads it as prompt too
			continue
		}
		if p.Prompt != m.Prompt || p.Negative != m.Negative {
			t.Errorf("%s: prompt %q, negative %q", name, p.Prompt, p.Negative)
		}
		for key, want := range map[string]string{"Sampler": m.Sampler, "Model": m.Model, "Version": m.Version, "Schedule type": m.Schedule} {
			if p.Fields[key] != want {
				t.Errorf("%s: %s is %q, want %q", name, key, p.Fields[key], want)
			}
		}
	}
}

func TestChunkKinds(t *testing.T) {
	latin, err := Encode(sample(), meta)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(latin, []byte("tEXtparameters\x00a red apple")) {
		t.Error("no tEXt chunk")
	}
	for _, want := range []string{"iTXtXML:com.adobe.xmp\x00", "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia<"} {
		if !bytes.Contains(latin, []byte(want)) {
			t.Errorf("no %q", want)
		}
	}
	m := meta
	m.Prompt = "日本\x00"
	wide, err := Encode(sample(), m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(wide, []byte("iTXtparameters\x00\x00\x00\x00\x00日本 ")) || bytes.Contains(wide, []byte("tEXtparameters")) {
		t.Error("words outside Latin-1 must be in iTXt")
	}
	if _, err := png.Decode(bytes.NewReader(wide)); err != nil { // checks the CRC of every chunk
		t.Error(err)
	}
}

func TestForeignForms(t *testing.T) {
	p := Parse("masterpiece <lora:x:0.8>\nNegative prompt: bad\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Lora hashes: \"x: ab12\", Version: v1.10")
	if p.Prompt != "masterpiece <lora:x:0.8>" || p.Negative != "bad" || p.Fields["Lora hashes"] != "x: ab12" || p.Fields["Sampler"] != "DPM++ 2M" || len(p.Fields) != 8 {
		t.Errorf("%+v", p)
	}
	if p := Parse("only: words, here"); p.Prompt != "only: words, here" || len(p.Fields) != 0 {
		t.Errorf("%+v", p)
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write([]byte("caf\xe9"))
	w.Close()
	zipped := append([]byte("parameters\x00\x00"), z.Bytes()...)
	if _, text, ok := decodeText("zTXt", zipped); !ok || text != "café" {
		t.Errorf("zTXt: %q %v", text, ok)
	}
	if _, text, ok := decodeText("iTXt", append([]byte("parameters\x00\x01\x00en\x00\x00"), z.Bytes()...)); ok {
		t.Errorf("iTXt with Latin-1 inside was taken: %q", text)
	}
}

func TestReadErrors(t *testing.T) {
	folder := t.TempDir()
	if _, err := ReadParameters(filepath.Join(folder, "none.png")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	text := filepath.Join(folder, "text.png")
	os.WriteFile(text, []byte("hello, this is text"), 0o644)
	if _, err := ReadParameters(text); err == nil || !strings.Contains(err.Error(), "not a PNG") {
		t.Errorf("text: %v", err)
	}
	bare := filepath.Join(folder, "bare.png")
	f, _ := os.Create(bare)
	png.Encode(f, sample())
	f.Close()
	if _, err := ReadParameters(bare); !errors.Is(err, ErrNoParameters) {
		t.Errorf("bare: %v", err)
	}
}

func FuzzReadTexts(f *testing.F) {
	good, err := Encode(sample(), meta)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:60])
	f.Add([]byte("\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXt"))
	f.Add([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x05iTXta\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		texts, err := readTexts(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, text := range texts {
			if len(text) > 2*longestText {
				t.Fatalf("%d bytes of text", len(text))
			}
			Parse(text)
		}
	})
}

// TestRequestRoundTrip checks that what a picture says of itself is the request that made it.
func TestRequestRoundTrip(t *testing.T) {
	eta := 0.5
	req := pipeline.Request{
		Prompt: "a (red:1.2) [apple|pear], <lora:ink: 0.8>\nBREAK {x}", Negative: "blurry, \"bad\": ugly", Steps: 30, CFG: 7.5, Sampler: "DPM++ 2M SDE", Schedule: "Karras",
		Seed: 1<<64 - 1, Width: 512, Height: 768, ClipSkip: 2, Strength: 0.6, RNG: "NV", Eta: &eta, GuidanceRescale: 0.7, Spacing: "trailing", ZeroSNR: true, MaskBlur: 4, OnlyMasked: true, Padding: 32,
	}
	m := Meta{
		Prompt: req.Prompt, Negative: req.Negative, Steps: req.Steps, Sampler: req.Sampler, Schedule: req.Schedule, CFG: req.CFG, Seed: req.Seed, Width: 512, Height: 768,
		Model: "a, b: c", ModelHash: "6ce0161689", Strength: 0.6, ClipSkip: 2, RNG: "NV", Eta: &eta, Rescale: 0.7, Spacing: "trailing", ZeroSNR: true, Masked: true, MaskBlur: 4, OnlyMasked: true, Padding: 32, Edited: true,
		Loras: map[string]string{"ink": "ab12cd34ef56", "a": "001122334455"}, Version: "Atelier 1",
	}
	want := "\nSteps: 30, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, Model hash: 6ce0161689, Model: \"a, b: c\", Denoising strength: 0.6, Clip skip: 2, RNG: NV, Eta: 0.5, CFG rescale: 0.7, Timestep spacing: trailing, Noise schedule: Zero Terminal SNR, Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, Lora hashes: \"a: 001122334455, ink: ab12cd34ef56\", Version: Atelier 1"
	if got := m.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	p := Parse(m.String())
	got, err := p.Request()
	if err != nil || !reflect.DeepEqual(got, req) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, req)
	}
	if loras := p.Loras(); !reflect.DeepEqual(loras, m.Loras) {
		t.Errorf("adapters %v", loras)
	}
	old, err := Parse("x\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x512, Eta DDIM: 0.25, Mask blur: 0").Request()
	if err != nil || old.Sampler != "Euler a" || *old.Eta != 0.25 || old.MaskBlur != -1 || old.RNG != "" {
		t.Errorf("%+v, %v", old, err)
	}
	for _, bad := range []string{"Steps: many", "Steps: 1, Seed: -3", "Steps: 1, Size: 512", "Steps: 1, CFG scale: x"} {
		if _, err := Parse("x\n" + bad + ", Model: a, Version: b").Request(); err == nil || !strings.Contains(err.Error(), "parameters say") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add("a\nNegative prompt: b\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Lora hashes: \"x: ab12\", Eta: 1e400")
	f.Add("Steps: 1, Seed: \"\\u0000\", Size: x, Eta: NaN, Steps: 2, Padding: \"\\\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		p := Parse(text)
		r, err := p.Request()
		p.Loras()
		if err != nil {
			return
		}
		m := Meta{Prompt: r.Prompt, Negative: r.Negative, Steps: 7, Sampler: r.Sampler, Schedule: r.Schedule, Seed: r.Seed, Model: p.Fields["Model"], Version: "v"}
		again := Parse(m.String())
		if again.Fields["Sampler"] != r.Sampler && strings.TrimSpace(r.Sampler) == r.Sampler || again.Fields["Seed"] != strconv.FormatUint(r.Seed, 10) {
			t.Errorf("%q is read back as %v", m.String(), again.Fields)
		}
	})
}

func TestControlNetsComeBack(t *testing.T) {
	m := meta
	m.Controls = []Control{{"canny", 0.65, 0, 0.5}, {"depth", 1, 0.25, 1}}
	p := Parse(m.String())
	if got := p.Controls(); !slices.Equal(got, m.Controls) || p.Prompt != m.Prompt {
		t.Errorf("%+v from %s", got, m)
	}
	p = Parse("a fox\nSteps: 20, Sampler: Euler, Seed: 1, ControlNet 0: \"Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.8, Resize Mode: Crop and Resize, Low Vram: False, Processor Res: 512, Guidance Start: 0.1, Guidance End: 0.9, Pixel Perfect: True\"")
	if got := p.Controls(); len(got) != 1 || got[0] != (Control{"control_v11p_sd15_canny", 0.8, 0.1, 0.9}) {
		t.Errorf("as A1111's extension writes it: %+v", got)
	}
	if got := Parse("a fox").Controls(); got != nil {
		t.Errorf("none: %+v", got)
	}
}
