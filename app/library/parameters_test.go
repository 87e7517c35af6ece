package library

import (
	"bytes"
	"compress/zlib"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
