package prompt

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"atelier/models/tokenize"
)

func clip(t testing.TB) *Words {
	t.Helper()
	tok, err := tokenize.Load(os.DirFS("../testdata/sd15/tokenizer"), ".")
	if err != nil {
		t.Fatal(err)
	}
	return &Words{Tokenizer: tok, Length: 77, Pad: tok.Pad()}
}

const (
	bos, eos, comma, photo = 49406, 49407, 267, 1125
)

// TestPlainChunkIsTheTokenizers checks that a short prompt without syntax is the row that the tokenizer itself gives.
func TestPlainChunkIsTheTokenizers(t *testing.T) {
	w := clip(t)
	for _, text := range []string{"", "a photo of an astronaut riding a horse on mars", "blurry, low quality"} {
		got := w.Chunks(text)
		if len(got) != 1 || !slices.Equal(got[0].IDs, w.Tokenizer.EncodePadded(text)) {
			t.Errorf("%q: %v", text, got)
		}
		if slices.ContainsFunc(got[0].Weights, func(v float64) bool { return v != 1 }) {
			t.Errorf("%q: weights %v", text, got[0].Weights)
		}
	}
	w.Pad = 0
	if e := w.Empty(); e.IDs[0] != bos || e.IDs[1] != eos || e.IDs[2] != 0 || e.IDs[76] != 0 || len(e.IDs) != 77 {
		t.Errorf("%v", e.IDs)
	}
}

// TestTextualInversion has the words of the case sd15-textual-inversion, whose ids diffusers gives so, in a text of the small
// vocabulary that lies here.
func TestTextualInversion(t *testing.T) {
	w := clip(t)
	w.Embeddings = []Embedding{{"<cat-toy>", 49408, 1}, {"my-style", 49409, 3}}
	got := w.Chunks("a photo of <cat-toy> riding my-style, mars")
	want := []int{bos, 320, photo, 539, 49408, 6765, 49409, 49410, 49411, comma, 7496, eos}
	if len(got) != 1 || !slices.Equal(got[0].IDs[:12], want) || got[0].IDs[12] != eos {
		t.Errorf("%v, want %v", got[0].IDs[:13], want)
	}
	got = w.Chunks("(MY-STYLE:1.5)")
	if !slices.Equal(got[0].IDs[:5], []int{bos, 49409, 49410, 49411, eos}) || !slices.Equal(got[0].Weights[:5], []float64{1, 1.5, 1.5, 1.5, 1}) {
		t.Errorf("%v %v", got[0].IDs[:5], got[0].Weights[:5])
	}
	if ids := w.Chunks("my-styles")[0].IDs; slices.Contains(ids, 49409) {
		t.Errorf("part of a word: %v", ids[:8])
	}
	// A learned word at the end of a row moves to the next whole.
	got = w.Chunks(strings.Repeat("photo ", 74) + "my-style")
	if len(got) != 2 || got[0].IDs[75] != eos || !slices.Equal(got[1].IDs[1:5], []int{49409, 49410, 49411, eos}) {
		t.Errorf("divided: %v", got)
	}
}

func TestLongPrompts(t *testing.T) {
	w := clip(t)
	count := func(c Chunk) int { return slices.Index(c.IDs, eos) - 1 }
	for name, c := range map[string]struct {
		text string
		want []int // tokens in each row
	}{
		"75 fit":                   {strings.Repeat("photo ", 75), []int{75}},
		"76 don't":                 {strings.Repeat("photo ", 76), []int{75, 1}},
		"a near comma moves":       {strings.Repeat("photo ", 60) + ", " + strings.Repeat("photo ", 20), []int{61, 20}},
		"a far one doesn't":        {strings.Repeat("photo ", 50) + ", " + strings.Repeat("photo ", 30), []int{75, 6}},
		"at the limit of 20":       {strings.Repeat("photo ", 55) + ", " + strings.Repeat("photo ", 30), []int{56, 30}},
		"one beyond it":            {strings.Repeat("photo ", 54) + ", " + strings.Repeat("photo ", 30), []int{75, 10}},
		"a comma as number 76":     {strings.Repeat("photo ", 75) + ", photo", []int{75, 2}},
		"BREAK":                    {"photo BREAK photo photo", []int{1, 2}},
		"BREAK in front":           {"BREAK photo", []int{0, 1}},
		"BREAK at the end":         {"photo BREAK", []int{1}},
		"BREAK in brackets":        {"(photo BREAK photo:1.2)", []int{1, 1}},
		"a row of commas":          {strings.Repeat(",", 1) + strings.Repeat(" ,", 99), []int{75, 25}},
		"weights cross the border": {strings.Repeat("photo ", 70) + "(" + strings.Repeat("photo ", 10) + ":1.5)", []int{75, 5}},
	} {
		got := w.Chunks(c.text)
		var counts []int
		for _, chunk := range got {
			if len(chunk.IDs) != 77 || len(chunk.Weights) != 77 || chunk.IDs[0] != bos {
				t.Fatalf("%s: %v", name, chunk)
			}
			counts = append(counts, count(chunk))
		}
		if !slices.Equal(counts, c.want) {
			t.Errorf("%s: rows of %v, want %v", name, counts, c.want)
		}
	}
	got := w.Chunks(strings.Repeat("photo ", 70) + "(" + strings.Repeat("photo ", 10) + ":1.5)")
	if got[0].Weights[70] != 1 || got[0].Weights[71] != 1.5 || got[0].Weights[75] != 1.5 || got[0].Weights[76] != 1 || got[1].Weights[5] != 1.5 || got[1].Weights[6] != 1 {
		t.Errorf("weights %v %v", got[0].Weights, got[1].Weights)
	}
	if got[0].IDs[1] != photo || w.Chunks("a, b")[0].IDs[2] != comma {
		t.Errorf("ids %v", got[0].IDs)
	}
}

// TestWeigh: the weighted numbers keep their mean.
func TestWeigh(t *testing.T) {
	states := []float32{1, 2, 3, 4, 5, 6}
	Weigh(states, 2, 0, 2, []float64{1, 2, 0.5})
	// 1 2 | 6 8 | 2.5 3 sum to 22.5, before to 21.
	for i, want := range []float64{1, 2, 6, 8, 2.5, 3} {
		if d := math.Abs(float64(states[i]) - want*21/22.5); d > 1e-6 {
			t.Errorf("%d is %v, want %v", i, states[i], want*21/22.5)
		}
	}
	same := []float32{1, -1, 0.1}
	Weigh(same, 1, 0, 1, []float64{1, 1, 1})
	if !slices.Equal(same, []float32{1, -1, 0.1}) {
		t.Errorf("weights of one change %v", same)
	}
	half := []float32{1, 10, 2, 20}
	Weigh(half, 2, 1, 2, []float64{1, 3})
	if !slices.Equal(half, []float32{1, 10 * 30 / 70., 2, 60 * 30 / 70.}) {
		t.Errorf("one column of two: %v", half)
	}
	zero := []float32{1, -1}
	Weigh(zero, 1, 0, 1, []float64{2, 2})
	if zero[0] != 2 || zero[1] != -2 {
		t.Errorf("a mean of nothing: %v", zero)
	}
}

func TestExpand(t *testing.T) {
	files := fstest.MapFS{
		"colour.txt":      {Data: []byte("\ufeff# colours\nred\n\n  green \nblue\n")},
		"animals/cat.txt": {Data: []byte("a __colour__ cat\r\n{big|small} cat\r\n")},
		"loop.txt":        {Data: []byte("x __loop__\n")},
		"none.txt":        {Data: []byte("# nothing\n")},
	}
	seen := map[string]bool{}
	for seed := range uint64(200) {
		one, err := Expand("__animals/cat__ on {grass|{warm|cold} snow}, {plain}", seed, 1, files)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := Expand("__animals/cat__ on {grass|{warm|cold} snow}, {plain}", seed, 1, files)
		if one != again {
			t.Fatalf("seed %d gives %q and %q", seed, one, again)
		}
		seen[one] = true
	}
	if len(seen) != 5*3 || !seen["a green cat on warm snow, {plain}"] || !seen["small cat on grass, {plain}"] {
		t.Errorf("%d different: %v", len(seen), seen)
	}
	for in, want := range map[string]string{`\{a|b\} c`: `\{a|b\} c`, "a | b {c": "a | b {c", "{|}": "", "no__x": "no__x", "}{": "}{", "snake_case and __ x __": "snake_case and __ x __"} {
		if got, err := Expand(in, 1, 1, files); got != want || err != nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if got, err := Expand("__colour__", 1, 1, nil); got != "__colour__" || err != nil {
		t.Errorf("without a folder: %q, %v", got, err)
	}
	for in, want := range map[string]string{"__color__": "no file color.txt; it has colour.txt, loop.txt, none.txt", "__loop__": "break the circle", "__none__": "no lines", "__animals/../../x__": "not the name of a file",
		strings.Repeat("wordy ", 3000): `begins "wordy wordy wordy wordy wordy wordy word" has 18000 bytes, and at most 16384 are read`} {
		if _, err := Expand(in, 1, 1, files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v", in, err)
		}
	}
}

func TestLoRAs(t *testing.T) {
	rest, list := LoRAs("a <lora:ink:0.8> fox <lora:Old Style v2:0.5:0.25>, <lyco:x:te=0.1:unet=2> <lora:plain> <cat-toy> <lora:ink:-1> <lora:bad:abc>")
	if rest != "a  fox ,   <cat-toy>  " {
		t.Errorf("left %q", rest)
	}
	want := []LoRA{{"Old Style v2", 0.5, 0.25}, {"x", 0.1, 2}, {"plain", 1, 1}, {"ink", -1, -1}, {"bad", 1, 1}}
	if !slices.Equal(list, want) {
		t.Errorf("%v, want %v", list, want)
	}
	for _, l := range want {
		if _, again := LoRAs(l.String()); len(again) != 1 || again[0] != l {
			t.Errorf("%s is read as %v", l, again)
		}
	}
}

func FuzzPrompt(f *testing.F) {
	for _, s := range []string{"a (b:1.2) [c:d:0.5] [e|f] BREAK {g|h} <lora:x:1> __colour__", "((((((", "[[[:::0.5]]]", `\`, "[a:b:1e400]", "(a:1e400)", "({[|:)}]", "<lora:a:b:c:d:e>", "\xff(\xfe:1.1)"} {
		f.Add(s, uint16(20))
	}
	w := clip(f)
	w.Embeddings = []Embedding{{"x", 49408, 2}, {"<y>", 49410, 80}}
	files := fstest.MapFS{"colour.txt": {Data: []byte("red\n{a|b}\n__colour__")}}
	f.Fuzz(func(t *testing.T, text string, steps uint16) {
		n := int(steps%150) + 1
		expanded, err := Expand(text, 7, 0, files)
		if err != nil {
			expanded = text
		}
		rest, list := LoRAs(expanded)
		for _, l := range list {
			if l.Text-l.Text != 0 || l.UNet-l.UNet != 0 {
				t.Fatalf("weights of %v", l)
			}
		}
		last := 0
		for _, p := range Schedule(rest, n) {
			if p.Until <= last || p.Until > n {
				t.Fatalf("phase until %d after %d of %d", p.Until, last, n)
			}
			last = p.Until
			if len(p.Text) > 4096 {
				continue
			}
			for _, c := range w.Chunks(p.Text) {
				if len(c.IDs) != 77 || len(c.Weights) != 77 {
					t.Fatalf("a row of %d ids and %d weights", len(c.IDs), len(c.Weights))
				}
			}
		}
		if last != n {
			t.Fatalf("the last phase ends at %d of %d", last, n)
		}
	})
}
