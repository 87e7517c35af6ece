package modelstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atelier/models/catalog"
	"atelier/models/checkpoint"
)

const testdata = "../../models/testdata"

// newStore is a store of nobody: its files and the home that it looks in are the test's.
func newStore(t *testing.T) *Store {
	t.Helper()
	for _, env := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "HF_TOKEN", sourceEnv} {
		t.Setenv(env, "")
	}
	dir := t.TempDir()
	s, err := Open(Options{Config: filepath.Join(dir, "config", "models.json"), Cache: filepath.Join(dir, "cache", "models.json"), Home: filepath.Join(dir, "home")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetOwn(filepath.Join(dir, "own")); err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// put copies a file of the models' testdata.
func put(t *testing.T, from, to string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, from))
	if err != nil {
		t.Fatal(err)
	}
	return write(t, to, data)
}

func putTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(filepath.Join(testdata, from))); err != nil {
		t.Fatal(err)
	}
}

// tensors writes a safetensors file with zeros of the given shapes.
func tensors(t *testing.T, path string, metadata map[string]string, shapes map[string][]int) string {
	t.Helper()
	var list []checkpoint.Tensor
	for name, shape := range shapes {
		n := 1
		for _, d := range shape {
			n *= d
		}
		list = append(list, checkpoint.NewF32(name, shape, make([]float32, n)))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.Write(path, list, metadata); err != nil {
		t.Fatal(err)
	}
	return path
}

// gguf is the head of a GGUF file with one tensor.
func gguf(values map[string]string, tensor string, types uint32) []byte {
	var b bytes.Buffer
	le := binary.LittleEndian
	text := func(s string) {
		binary.Write(&b, le, uint64(len(s)))
		b.WriteString(s)
	}
	b.WriteString("GGUF")
	binary.Write(&b, le, uint32(3))
	binary.Write(&b, le, uint64(1))
	binary.Write(&b, le, uint64(len(values)+1))
	for k, v := range values {
		text(k)
		binary.Write(&b, le, uint32(ggufText))
		text(v)
	}
	text("tokenizer.ggml.tokens")
	binary.Write(&b, le, []uint32{ggufList, ggufText})
	binary.Write(&b, le, uint64(2))
	text("a")
	text("b")
	text(tensor)
	binary.Write(&b, le, uint32(2))
	binary.Write(&b, le, []uint64{64, 32})
	binary.Write(&b, le, types)
	binary.Write(&b, le, uint64(0))
	b.Write(make([]byte, 8192+32))
	return b.Bytes()
}

func scan(t *testing.T, s *Store) ([]Entry, []Problem) {
	t.Helper()
	entries, problems, err := s.Scan(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return entries, problems
}

func named(t *testing.T, list []Entry, name string) Entry {
	t.Helper()
	var found []Entry
	for _, e := range list {
		if e.Name == name {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d entries are called %s: %+v", len(found), name, found)
	}
	return found[0]
}

func TestDetect(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]Program{
		"webui/models/Stable-diffusion/x":                 A1111,
		"comfy/models/checkpoints/x":                      ComfyUI,
		"half/models/checkpoints/x":                       Plain,
		"hub/models--org--name/snapshots/1/x":             HuggingFace,
		"hfhome/hub/models--org--name/snapshots/1/x":      HuggingFace,
		"lm/models/publisher/model/m.gguf":                LMStudio,
		"home/.lmstudio/settings.json":                    LMStudio,
		"diff/model_index.json":                           Diffusers,
		"things/a/b.safetensors":                          Plain,
		"models/Stable-diffusion/y":                       A1111,
		"alone/models--a--b/snapshots/2/model_index.json": HuggingFace,
		"portable/extra_model_paths.yaml":                 ComfyUI,
		"brackets[1]/models/publisher/model/quant*.gguf":  LMStudio,
	} {
		write(t, filepath.Join(dir, filepath.FromSlash(path)), nil)
		top := filepath.Join(dir, strings.Split(path, "/")[0])
		switch {
		case strings.HasPrefix(path, "home"):
			top = filepath.Join(top, ".lmstudio")
		case strings.HasPrefix(path, "alone"):
			top = filepath.Join(top, "models--a--b")
		case path == "comfy/models/checkpoints/x":
			write(t, filepath.Join(dir, "comfy/models/loras/y"), nil)
		}
		if got := Detect(top); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if got := Detect(filepath.Join(dir, "portable", extraPaths)); got != ComfyUI {
		t.Errorf("the file itself is %s", got)
	}
}

func TestFoldersOfOtherPrograms(t *testing.T) {
	s := newStore(t)
	root := t.TempDir()
	at := func(path string) string { return filepath.Join(root, filepath.FromSlash(path)) }
	// A1111
	put(t, "lora/kohya.safetensors", at("webui/models/Lora/deep/down/kohya.safetensors"))
	put(t, "gan/rrdb.pth", at("webui/models/ESRGAN/4x.pth"))
	put(t, "sd15/textual_inversion/my-style.safetensors", at("webui/embeddings/my-style.safetensors"))
	write(t, at("webui/models/Stable-diffusion/page.safetensors"), []byte("<!DOCTYPE html><html>sign in</html>"))
	write(t, at("webui/models/Stable-diffusion/notes.txt"), []byte("no model"))
	write(t, at("webui/models/Stable-diffusion/optimizer.bin"), []byte("no model"))
	// ComfyUI
	put(t, "taesd/taesd_decoder.safetensors", at("comfy/models/vae_approx/taesd_decoder.safetensors"))
	put(t, "control/control.safetensors", at("comfy/models/controlnet/edges/diffusion_pytorch_model.safetensors"))
	put(t, "control/control.json", at("comfy/models/controlnet/edges/config.json"))
	os.MkdirAll(at("comfy/models/checkpoints"), 0o755)
	write(t, at("comfy/models/diffusion_models/flux.gguf"), gguf(map[string]string{"general.architecture": "flux"}, "double_blocks.0.img_attn.qkv.weight", 0))
	put(t, "lora/peft.safetensors", at("elsewhere/loras1/peft.safetensors"))
	put(t, "lora/peft.safetensors", at("elsewhere/loras2/other.safetensors"))
	write(t, at("comfy/extra_model_paths.yaml"), []byte("# mine\na111:\n  base_path: "+at("elsewhere")+"\n  is_default: true\n  loras: |\n    loras1\n    loras2\n  checkpoints: gone\n  configs: x\nempty:\nrelative:\n  embeddings: ../elsewhere/words\n"))
	put(t, "sd15/textual_inversion/cat-toy.safetensors", at("elsewhere/words/cat-toy.safetensors"))
	// Hugging Face: links into blobs, two revisions of which one is named
	blob := put(t, "lora/kohya.safetensors", at("hub/models--org--adapter/blobs/abc"))
	for _, rev := range []string{"111", "222"} {
		os.MkdirAll(at("hub/models--org--adapter/snapshots/"+rev), 0o755)
		os.Symlink(blob, at("hub/models--org--adapter/snapshots/"+rev+"/pytorch_lora_weights.safetensors"))
	}
	write(t, at("hub/models--org--adapter/snapshots/222/README.md"), []byte("---\nlicense: openrail++\nbase_model: stabilityai/sdxl\ntags:\n- lora\ninstance_prompt: a photo of sks\n---\n# Adapter\n"))
	write(t, at("hub/models--org--adapter/refs/main"), []byte("222"))
	putTree(t, "sd15/model", at("hub/models--org--whole/snapshots/333"))
	write(t, at("hub/models--org--whole/refs/main"), []byte("333\n"))
	os.MkdirAll(at("hub/models--org--none"), 0o755)
	write(t, at("comfy/models/text_encoders/t5.gguf"), gguf(map[string]string{"general.architecture": "t5encoder"}, "enc.blk.0.attn_q.weight", 12))
	os.MkdirAll(at("comfy/models/checkpoints"), 0o755)
	// LM Studio
	write(t, at("lm/models/publisher/model/chat-Q4.gguf"), gguf(map[string]string{"general.architecture": "llama", "general.name": "Chat", "general.license": "apache-2.0"}, "blk.0.attn_q.weight", 23))
	for _, name := range []string{"webui", "comfy", "hub", "lm"} {
		if _, err := s.Link(at(name)); err != nil {
			t.Fatal(err)
		}
	}
	entries, problems := scan(t, s)
	for name, want := range map[string]struct {
		kind    Kind
		program Program
		problem string
	}{
		"kohya": {LoRA, A1111, ""}, "4x": {Upscaler, A1111, ""}, "my-style": {Embedding, A1111, ""}, "page": {Checkpoint, A1111, "web page"},
		"taesd_decoder": {TAESD, ComfyUI, ""}, "edges": {ControlNet, ComfyUI, ""}, "flux": {UNet, ComfyUI, "FLUX"}, "peft": {LoRA, ComfyUI, ""},
		"other": {LoRA, ComfyUI, ""}, "cat-toy": {Embedding, ComfyUI, ""}, "pytorch_lora_weights": {LoRA, HuggingFace, ""},
		"org/whole": {Checkpoint, HuggingFace, ""}, "chat-Q4": {LLM, LMStudio, ""}, "t5": {TextEncoder, ComfyUI, "T5"},
	} {
		e := named(t, entries, name)
		if e.Kind != want.kind || e.Program != want.program || (want.problem == "") != (e.Problem == "") || !strings.Contains(e.Problem, want.problem) || strings.Contains(e.Problem, "\n") {
			t.Errorf("%s: %s of %s, problem %q; want %+v", name, e.Kind, e.Program, e.Problem, want)
		}
		if e.Size == 0 || e.Modified == "" {
			t.Errorf("%s: size %d, modified %q", name, e.Size, e.Modified)
		}
	}
	if len(entries) != 14 {
		t.Errorf("%d entries", len(entries))
		for _, e := range entries {
			t.Log(e.Path, e.Kind)
		}
	}
	hf := named(t, entries, "pytorch_lora_weights")
	if hf.Source != "org/adapter@main" || hf.Title != "org/adapter" || hf.Licence != "CreativeML Open RAIL++-M" || hf.Base != "stabilityai/sdxl" || !slices.Equal(hf.Triggers, []string{"a photo of sks"}) {
		t.Errorf("from the cache: %+v", hf)
	}
	chat := named(t, entries, "chat-Q4")
	if chat.Title != "Chat" || chat.Licence != "Apache-2.0" || chat.DType != "IQ4_XS" || chat.Params != 2048 || chat.Note != notUsed || chat.Family != "llama" || chat.Source != "publisher/model" {
		t.Errorf("language model: %+v", chat)
	}
	whole := named(t, entries, "org/whole")
	if whole.Family != SD1 || whole.Memory.Bytes <= 0 || whole.Memory.Least > whole.Memory.Bytes || whole.Params == 0 || whole.Format != "diffusers" {
		t.Errorf("whole model: %+v", whole)
	}
	if got := s.FoldersOf(Embedding); !slices.Contains(got, at("webui/embeddings")) || !slices.Contains(got, at("elsewhere/words")) || len(got) != 2 {
		t.Errorf("learned words are in %q", got)
	}
	if got := s.FoldersOf(Unknown); len(got) != 0 {
		t.Errorf("unknown models are in %q", got)
	}
	var told []string
	for _, p := range problems {
		told = append(told, p.Error())
	}
	if len(problems) != 2 || !strings.Contains(strings.Join(told, "\n"), "extra_model_paths.yaml names it") || !strings.Contains(strings.Join(told, "\n"), "holds no snapshot") {
		t.Errorf("problems: %q", told)
	}
}

func TestLinksThatLeadNowhereAndInCircles(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	put(t, "lora/kohya.safetensors", filepath.Join(dir, "a", "x.safetensors"))
	os.Symlink(dir, filepath.Join(dir, "a", "up"))
	os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "again"))
	os.Symlink("self.ckpt", filepath.Join(dir, "self.ckpt"))
	os.Symlink("nowhere", filepath.Join(dir, "lost.safetensors"))
	os.Symlink("nowhere", filepath.Join(dir, "lost.txt"))
	os.Symlink(filepath.Join(dir, "a", "x.safetensors"), filepath.Join(dir, "b.safetensors"))
	if os.Getuid() > 0 {
		os.Mkdir(filepath.Join(dir, "closed"), 0)
	}
	if _, err := s.Link(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		entries, problems := scan(t, s)
		if len(entries) != 1 {
			t.Errorf("one file is %d entries", len(entries))
		}
		want := 2
		if os.Getuid() > 0 {
			want++
		}
		if len(problems) != want {
			t.Errorf("problems: %v", problems)
		}
		for _, p := range problems {
			if !strings.Contains(p.Reason, "nowhere") && !strings.Contains(p.Reason, "circle") && !strings.Contains(p.Reason, "permissions") {
				t.Errorf("%v", p)
			}
		}
	}
}

func TestOnlyWhatChangedIsOpened(t *testing.T) {
	s := newStore(t)
	opened := 0
	s.o.Predict = func(*catalog.Model) (int64, int64, error) { opened++; return 42, 7, nil }
	dir := t.TempDir()
	model := filepath.Join(dir, "mine")
	putTree(t, "sd15/model", model)
	s.Link(dir)
	first, _ := scan(t, s)
	second, _ := scan(t, s)
	again, err := Open(s.o) // a later start
	if err != nil {
		t.Fatal(err)
	}
	third, _ := scan(t, again)
	if opened != 1 || len(first) != 1 || len(second) != 1 || len(third) != 1 || third[0].Memory.Bytes != 42 {
		t.Errorf("opened %d times; %d, %d, %d entries", opened, len(first), len(second), len(third))
	}
	if got := again.Entries(); len(got) != 1 || got[0].Path != model {
		t.Errorf("%+v", got)
	}
	later := time.Now().Add(time.Hour)
	os.Chtimes(filepath.Join(model, "unet", "diffusion_pytorch_model.safetensors"), later, later)
	if scan(t, again); opened != 2 {
		t.Errorf("after a change opened %d times", opened)
	}
	if _, err := again.Hash(context.Background(), model, nil); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(s.o.Cache)
	write(t, s.o.Cache, bytes.Replace(data, []byte(thisProgram()), []byte("another build"), 1))
	if again, err = Open(s.o); err != nil {
		t.Fatal(err)
	}
	if list, _ := scan(t, again); opened != 3 || len(list) != 1 || list[0].SHA256 == "" {
		t.Errorf("by another build opened %d times; %+v", opened, list)
	}
	write(t, s.o.Cache, []byte("{damaged"))
	if s, err = Open(s.o); err != nil {
		t.Fatal(err)
	}
	if scan(t, s); opened != 4 {
		t.Errorf("after the cache was lost opened %d times", opened)
	}
	os.RemoveAll(model)
	write(t, filepath.Join(filepath.Dir(model), "notes.txt"), []byte("the folder is still there"))
	if gone, _ := scan(t, s); len(gone) != 0 || len(s.cache.Models) != 0 {
		t.Errorf("after it was removed: %v", gone)
	}
}

func TestBrokenModelsSayWhatIsWrong(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	model := filepath.Join(dir, "broken")
	putTree(t, "sd15/model", model)
	unet := filepath.Join(model, "unet", "diffusion_pytorch_model.safetensors")
	f, err := checkpoint.Open(unet)
	if err != nil {
		t.Fatal(err)
	}
	var list []checkpoint.Tensor
	for _, n := range f.Names() {
		x, _ := f.Get(n)
		switch n {
		case "conv_in.bias":
			continue
		case "conv_out.bias":
			x = checkpoint.NewF32(n, []int{1}, []float32{0})
		}
		list = append(list, x)
	}
	list = append(list, checkpoint.NewF32("extra.weight", []int{1}, []float32{0}))
	if err := checkpoint.Write(unet+".new", list, nil); err != nil {
		t.Fatal(err)
	}
	f.Close()
	os.Rename(unet+".new", unet)
	whole, _ := os.ReadFile(filepath.Join(testdata, "lora/kohya.safetensors"))
	write(t, filepath.Join(dir, "short.safetensors"), whole[:len(whole)/2])
	tensors(t, filepath.Join(dir, "strange.safetensors"), nil, map[string][]int{"something.weight": {2, 2}})
	write(t, filepath.Join(dir, "part-00001-of-00002.safetensors"), whole)
	write(t, filepath.Join(dir, "part-00002-of-00002.safetensors"), whole)
	s.Link(dir)
	entries, problems := scan(t, s)
	if len(entries) != 4 || len(problems) != 0 {
		t.Errorf("%d entries, problems %v", len(entries), problems)
	}
	for name, want := range map[string][]string{
		"broken": {"missing: unet/conv_in.bias", "unet/conv_out.bias is [1], not", "not part of this model: unet/extra.weight"}, "short": {"outside the"}, "strange": {"no network that this program knows", "something.weight"},
		"part": {"2 parts"},
	} {
		e := named(t, entries, name)
		for _, w := range want {
			if !strings.Contains(e.Problem, w) || strings.Count(e.Problem, w) > 1 || strings.Contains(e.Problem, "\n") || e.Usable() {
				t.Errorf("%s: %q lacks %q once", name, e.Problem, w)
			}
		}
	}
}

func TestCards(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	pic := []byte("\x89PNG\r\n\x1a\nnot really")
	shapes := map[string][]int{"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": {4, 768}, "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": {320, 4}}
	tensors(t, filepath.Join(dir, "spec.safetensors"), map[string]string{
		"modelspec.title": "The Title", "modelspec.author": "Somebody", "modelspec.license": "mit", "modelspec.trigger_phrase": "ohwx, sks",
		"modelspec.resolution": "768x768", "modelspec.prediction_type": "v", "modelspec.usage_hint": "use it\nwell", "modelspec.merged_from": "a, b", "modelspec.tags": "one, two", "modelspec.description": "What it is",
		"modelspec.thumbnail": "data:image/png;base64," + base64.StdEncoding.EncodeToString(pic),
	}, shapes)
	tensors(t, filepath.Join(dir, "kohya.safetensors"), map[string]string{"ss_output_name": "out", "ss_tag_frequency": `{"10_cat": {"cat": 9, "sofa": 3}, "b": {"cat": 1}}`}, shapes)
	tensors(t, filepath.Join(dir, "civitai.safetensors"), nil, shapes)
	write(t, filepath.Join(dir, "civitai.civitai.info"), []byte(`{"name": "v2", "baseModel": "SD 1.5", "description": "<p>Nice &amp; small</p>", "trainedWords": ["foo, bar"], "model": {"name": "Thing"}}`))
	write(t, filepath.Join(dir, "civitai.preview.png"), pic)
	tensors(t, filepath.Join(dir, "a1111.safetensors"), nil, shapes)
	write(t, filepath.Join(dir, "a1111.json"), []byte(`{"description": "d", "sd version": "SD1", "activation text": "trigger", "preferred weight": 0.8, "notes": "n"}`))
	write(t, filepath.Join(dir, "odd.json"), []byte(`[1,2`))
	tensors(t, filepath.Join(dir, "odd.safetensors"), nil, shapes)
	s.Link(dir)
	entries, _ := scan(t, s)
	spec := named(t, entries, "spec")
	if spec.Title != "The Title" || spec.Author != "Somebody" || spec.Licence != "MIT" || !slices.Equal(spec.Triggers, []string{"ohwx", "sks"}) || spec.Family != SD1 || spec.Params != 4*768+320*4 || spec.DType != "F32" {
		t.Errorf("%+v", spec)
	}
	facts := []Fact{{"Resolution", "768x768"}, {"Prediction", "v"}, {"How to use it", "use it well"}, {"Merged from", "a, b"}}
	if !slices.Equal(spec.Facts, facts) || !slices.Equal(spec.Tags, []string{"one", "two"}) || spec.Description != "What it is" {
		t.Errorf("%+v", spec.Card)
	}
	if data, err := Thumbnail(spec); err != nil || !bytes.Equal(data, pic) {
		t.Errorf("in the file: %q, %v", data, err)
	}
	if k := named(t, entries, "kohya"); k.Title != "out" || !slices.Equal(k.Triggers, []string{"cat", "sofa"}) {
		t.Errorf("%+v", k)
	}
	c := named(t, entries, "civitai")
	if c.Title != "Thing v2" || c.Description != "Nice & small" || c.Base != "SD 1.5" || !slices.Equal(c.Triggers, []string{"foo", "bar"}) {
		t.Errorf("%+v", c)
	}
	if data, err := Thumbnail(c); err != nil || !bytes.Equal(data, pic) {
		t.Errorf("beside the file: %q, %v", data, err)
	}
	if a := named(t, entries, "a1111"); a.Description != "d" || a.Base != "SD1" || !slices.Equal(a.Triggers, []string{"trigger"}) {
		t.Errorf("%+v", a)
	}
	// Search, filters and order.
	for _, c := range []struct {
		q    Query
		want []string
	}{
		{Query{Words: "THING foo"}, []string{"civitai"}}, {Query{Words: "mit"}, []string{"spec"}}, {Query{Words: "nothing like it"}, nil},
		{Query{Kind: VAE}, nil}, {Query{Family: "stable diffusion 1", Words: "a1111"}, []string{"a1111"}},
		{Query{Kind: LoRA, Sort: "name"}, []string{"a1111", "civitai", "kohya", "odd", "spec"}},
	} {
		var got []string
		for _, e := range Search(entries, c.q) {
			got = append(got, e.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	if list := Search(entries, Query{Sort: "size"}); list[0].Size < list[len(list)-1].Size {
		t.Error("the smallest comes first")
	}
	// What lies beside a model changes: the card is read again, hashes stay.
	if _, err := s.Hash(context.Background(), c.Path, nil); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "civitai.civitai.info"), []byte(`{"model": {"name": "Renamed"}}`))
	entries, _ = scan(t, s)
	if c := named(t, entries, "civitai"); c.Title != "Renamed" || c.SHA256 == "" {
		t.Errorf("%+v", c)
	}
}

func TestUsualPlacesAreFoundAndCanBeLeftOut(t *testing.T) {
	s := newStore(t)
	lm := filepath.Join(s.o.Home, ".lmstudio", "models", "p", "m", "x.gguf")
	write(t, lm, gguf(map[string]string{"general.architecture": "qwen3"}, "blk.0.attn_q.weight", 12))
	entries, _ := scan(t, s)
	if len(entries) != 1 || entries[0].Kind != LLM || entries[0].DType != "Q4_K" {
		t.Fatalf("%+v", entries)
	}
	folder := filepath.Join(s.o.Home, ".lmstudio")
	if err := s.Unlink(folder); err != nil {
		t.Fatal(err)
	}
	if entries, _ = scan(t, s); len(entries) != 0 {
		t.Errorf("%+v", entries)
	}
	if f, err := s.Link(folder); err != nil || f.Program != LMStudio {
		t.Errorf("%+v, %v", f, err)
	}
	if entries, _ = scan(t, s); len(entries) != 1 {
		t.Errorf("%+v", entries)
	}
	if _, err := s.Link(lm); err == nil || !strings.Contains(err.Error(), "import") {
		t.Errorf("a file was linked: %v", err)
	}
	if _, err := s.Link(filepath.Join(folder, "not there")); err == nil {
		t.Error("nothing was linked")
	}
}

func TestParamsText(t *testing.T) {
	for n, want := range map[int64]string{0: "", 9999: "9999", 18_432: "18 thousand", 3_460_000: "3.5 million", 859_520_964: "859.5 million", 2_567_463_684: "2.6 billion"} {
		if got := (&Entry{Params: n}).ParamsText(); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
