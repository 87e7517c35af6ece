package pipeline

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/diffusion"
	"atelier/models/goldentest"
)

// predictions lists the denoiser's answers of a traced run.
func predictions(got map[string]goldentest.Tensor) (list [][]float32) {
	for i := 0; ; i++ {
		v, ok := got[fmt.Sprintf("step%02d.noise_pred", i)]
		if !ok {
			return list
		}
		list = append(list, v.Data)
	}
}

// TestPromptsChangeBetweenSteps checks at which step each text of a schedule and of an alternation holds.
func TestPromptsChangeBetweenSteps(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	run := func(text, sampler string, steps int) [][]float32 {
		_, got := traced(t, p, Request{Prompt: text, Seed: 3, Steps: steps, Sampler: sampler, Negative: "mars"})
		return predictions(got)
	}
	for _, c := range []struct {
		text, first string
		same        int // calls that the first text's run shares
	}{
		{"[a horse:mars:2]", "a horse", 2}, {"[a horse:mars:0.5]", "a horse", 2}, {"[a horse|mars]", "a horse", 1}, {"a [horse::1]", "a horse", 1}, {"[a horse:mars:4]", "a horse", 4},
	} {
		got, plain := run(c.text, "ddim", 4), run(c.first, "ddim", 4)
		for i := range got {
			if equal := slices.Equal(got[i], plain[i]); equal != (i < c.same) {
				t.Errorf("%s: call %d is the first text's: %v", c.text, i, equal)
			}
		}
	}
	// Two calls make a step of Heun's method.
	got, plain := run("[a horse:mars:2]", "heun", 4), run("a horse", "heun", 4)
	for i := range got {
		if equal := slices.Equal(got[i], plain[i]); equal != (i < 4) {
			t.Errorf("Heun: call %d is the first text's: %v", i, equal)
		}
	}
}

// TestWordsOfPrompts checks weights, rows beyond the first, and that plain words stay what they were.
func TestWordsOfPrompts(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	run := func(text string) *Result {
		r, err := p.Run(context.Background(), Request{Prompt: text, Seed: 3}, nil)
		must(t, err)
		return r
	}
	plain := run("a horse")
	for text, same := range map[string]bool{"(a horse:1.0)": true, `a \horse`: true, "a (horse:1.6)": false, "a [horse]": false, "a horse BREAK": true, "a horse BREAK mars": false} {
		if samePixels(run(text).Images[0], plain.Images[0]) != same {
			t.Errorf("%q makes the picture of \"a horse\": %v", text, !same)
		}
	}
	long := strings.Repeat("horse, ", 20)
	if samePixels(run(long + "mars").Images[0], run(long + "horse").Images[0]) {
		t.Error("words beyond the first row change nothing")
	}
	if p.stages.chunks < 2 {
		t.Errorf("%d rows of tokens for %q", p.stages.chunks, long)
	}
	if m, err := p.Memory(Request{Prompt: long}); err != nil || m <= 0 {
		t.Errorf("memory %d, %v", m, err)
	}
	if _, err := p.Run(context.Background(), Request{ClipSkip: 2}, nil); err == nil || !strings.Contains(err.Error(), "clip skip is from 1 to 1") {
		t.Errorf("clip skip 2 of one layer: %v", err)
	}
}

// TestClipSkip reads an earlier layer on both devices.
func TestClipSkip(t *testing.T) {
	m := openGolden(t)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		p, err := NewText2Image(dev, m)
		must(t, err)
		defer p.Close()
		var first [][]float32
		for skip := 1; skip <= 3; skip++ {
			_, got := traced(t, p, Request{Prompt: "a photo of mars", Width: 64, Height: 64, Steps: 1, Seed: 1, ClipSkip: skip})
			first = append(first, predictions(got)[0])
		}
		if slices.Equal(first[0], first[1]) || slices.Equal(first[1], first[2]) {
			t.Error("skipping layers changes nothing")
		}
	})
}

// TestChoicesOfABatch checks that each picture of a batch has its own words, those that it has alone.
func TestChoicesOfABatch(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	r := Request{Prompt: "{a|the} __what__", Negative: "{blue|red}", Seed: 5, Batch: 4, Wildcards: fstest.MapFS{"what.txt": {Data: []byte("horse\nmars\na long horse on mars riding a horse on mars, a photo of a horse")}}}
	batch, err := p.Run(context.Background(), r, nil)
	must(t, err)
	seen := map[string]bool{}
	for i := range 4 {
		alone, err := p.Run(context.Background(), r.picture(i), nil)
		must(t, err)
		if !samePixels(alone.Images[0], batch.Images[i]) || alone.Prompts[0] != batch.Prompts[i] || alone.Negatives[0] != batch.Negatives[i] {
			t.Errorf("picture %d, %q, differs from the one alone, %q", i, batch.Prompts[i], alone.Prompts[0])
		}
		seen[batch.Prompts[i]] = true
	}
	if len(seen) < 2 || strings.ContainsAny(batch.Prompts[0], "{_|") {
		t.Errorf("prompts %q", batch.Prompts)
	}
	r.Prompt = "__none__"
	if _, err := p.Run(context.Background(), r, nil); err == nil || !strings.Contains(err.Error(), "none.txt") {
		t.Errorf("%v", err)
	}
}

// TestGenerators checks that every generator of noise gives a picture of its own, the same in a batch and alone.
func TestGenerators(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	for _, sampler := range []string{"euler_ancestral", "dpmpp_sde", "ddim"} {
		var seen []*Result
		for _, rng := range RNGs() {
			batch, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: math.MaxUint64, Batch: 2, Sampler: sampler, RNG: rng.Label}, nil)
			must(t, err)
			alone, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: 0, Sampler: sampler, RNG: rng.ID}, nil)
			must(t, err)
			if !samePixels(alone.Images[0], batch.Images[1]) {
				t.Errorf("%s, %s: the second picture differs from the one alone", sampler, rng.ID)
			}
			if batch.Request.RNG != rng.ID {
				t.Errorf("RNG %q as run", batch.Request.RNG)
			}
			for _, other := range seen {
				if samePixels(other.Images[0], batch.Images[0]) {
					t.Errorf("%s: %s draws what another draws", sampler, rng.ID)
				}
			}
			seen = append(seen, batch)
		}
	}
}

// TestLearnedWords checks that a word with the vector of another is the same word.
func TestLearnedWords(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	want, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: 2}, nil)
	must(t, err)
	id := p.model.Tokenizer.Encode("horse")
	width := p.parts.text.HiddenSize
	table := make([]float32, p.parts.text.VocabSize*width)
	for _, param := range p.parts.scopes[textEncoder].Params() {
		if strings.HasSuffix(param.Name, "token_embedding.weight") {
			must(t, param.Source.Read(table))
		}
	}
	var rows []float32
	for _, i := range id {
		rows = append(rows, table[i*width:(i+1)*width]...)
	}
	must(t, p.Learn("<steed>", make([]float32, width)))
	zero, err := p.Run(context.Background(), Request{Prompt: "a <Steed>", Seed: 2}, nil)
	must(t, err)
	must(t, p.Learn("other", make([]float32, 3*width)))
	must(t, p.Learn("<steed>", rows))
	got, err := p.Run(context.Background(), Request{Prompt: "a <steed>", Seed: 2}, nil)
	must(t, err)
	if !samePixels(got.Images[0], want.Images[0]) || samePixels(zero.Images[0], want.Images[0]) {
		t.Error("a learned word is not what was learned")
	}
	if err := p.Learn("bad", make([]float32, width+1)); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("%v", err)
	}
	if err := p.Learn("bad", rows, rows); err == nil || !strings.Contains(err.Error(), "2 text encoders") {
		t.Errorf("%v", err)
	}
}

// TestWordsFoundByName puts a file of a learned word into the folder that A1111 and ComfyUI keep them in.
func TestWordsFoundByName(t *testing.T) {
	dir := writeSmall(t)
	near := filepath.Join(dir, "embeddings")
	must(t, os.MkdirAll(near, 0o700))
	vector := diffusion.Noise(1, 0, 2*8)
	must(t, checkpoint.Write(filepath.Join(near, "Steed.safetensors"), []checkpoint.Tensor{checkpoint.NewF32("emb_params", []int{2, 8}, vector)}, nil))
	must(t, checkpoint.Write(filepath.Join(near, "wide.safetensors"), []checkpoint.Tensor{checkpoint.NewF32("emb_params", []int{2, 12}, diffusion.Noise(1, 0, 24))}, nil))
	m, err := catalog.Open(dir, catalog.Options{})
	must(t, err)
	defer m.Close()
	p, err := NewText2Image(newHost(t, host.Options{}), m)
	must(t, err)
	defer p.Close()
	r := func(text string) *Result {
		r, err := p.Run(context.Background(), Request{Prompt: text, Seed: 2}, nil)
		must(t, err)
		return r
	}
	named, words := r("a steed, wide"), p.lessons.words
	if len(words) != 1 || words[0].name != "Steed" || words[0].count != 2 || !slices.Equal(words[0].vectors[0], vector) {
		t.Errorf("learned %+v", words)
	}
	if len(named.Warnings) != 1 || !strings.Contains(named.Warnings[0], "the prompt's word wide was passed over") {
		t.Errorf("warnings %q", named.Warnings)
	}
	if samePixels(named.Images[0], r("a , wide").Images[0]) {
		t.Error("the word changes nothing")
	}
	if again := r("a steed, wide"); !samePixels(named.Images[0], again.Images[0]) || len(again.Warnings) != 1 || p.lessons.count != 1 {
		t.Errorf("the second time: warnings %q, learned %d times", again.Warnings, p.lessons.count)
	}
	save := func(folder string, vectors int) []float32 {
		v := diffusion.Noise(uint64(vectors), 1, vectors*8)
		must(t, checkpoint.Write(filepath.Join(folder, "Steed.safetensors"), []checkpoint.Tensor{checkpoint.NewF32("emb_params", []int{vectors, 8}, v)}, nil))
		return v
	}
	trained := save(near, 3)
	if r("a steed"); len(p.lessons.words) != 1 || !slices.Equal(p.lessons.words[0].vectors[0], trained) {
		t.Error("a word that was trained anew is the old one")
	}
	chosen := t.TempDir()
	first := save(chosen, 1)
	p.SetEmbeddingFolders(chosen)
	if r("a steed"); len(p.lessons.words) != 1 || !slices.Equal(p.lessons.words[0].vectors[0], first) {
		t.Error("the word beside the model comes before that of the folder that was set")
	}
	fresh, err := NewText2Image(newHost(t, host.Options{}), m)
	must(t, err)
	defer fresh.Close()
	fresh.SetEmbeddingFolders(chosen)
	if fresh.learnNamed("a steed"); len(fresh.lessons.words) != 1 || !slices.Equal(fresh.lessons.words[0].vectors[0], first) {
		t.Error("of both at once, the word beside the model counts")
	}
}

// TestRescale checks the equation: at phi = 1 the deviation is the prompt's own, at ½ half way.
func TestRescale(t *testing.T) {
	cond := []float32{1, -1, 2, -2}
	for phi, want := range map[float64]float64{0: 3, 0.5: 2, 1: 1} {
		guided := []float32{3, -3, 6, -6}
		rescale(guided, cond, phi)
		if d := math.Abs(float64(guided[2]) - 2*want); d > 1e-6 {
			t.Errorf("phi %v: %v", phi, guided)
		}
	}
	flat := []float32{0, 0}
	if rescale(flat, flat, 1); flat[0] != 0 {
		t.Errorf("flat: %v", flat)
	}
}
