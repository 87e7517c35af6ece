package modelstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCatalogueIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Catalogue() {
		if seen[o.ID] || o.Name == "" || o.GoodFor == "" || o.Licence.Name == "" || !strings.HasPrefix(o.Licence.URL, "https://") || o.Licence.Says == "" || len(o.Files) == 0 {
			t.Errorf("%+v", o)
		}
		seen[o.ID] = true
		if _, known := ownFolders[o.Kind]; !known && o.Kind != "" {
			t.Errorf("%s is of kind %s", o.ID, o.Kind)
		}
		for _, f := range o.Files {
			if (f.Repo == "") != (f.File == "") || (f.URL == "") == (f.Repo == "") || f.SHA256 != "" && len(f.SHA256) != 64 || f.URL != "" && f.Name == "" {
				t.Errorf("%s: %+v", o.ID, f)
			}
		}
	}
}

func TestDownloadFromTheCatalogue(t *testing.T) {
	s := newStore(t)
	data, _ := os.ReadFile(filepath.Join(testdata, "lora/kohya.safetensors"))
	sum := sha256.Sum256(data)
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		http.ServeContent(w, r, "x.bin", time.Unix(1, 0), bytes.NewReader(data))
	}))
	defer server.Close()
	if err := s.SetSource("nonsense"); err == nil {
		t.Error("a mirror without a host")
	}
	if err := s.SetSource(server.URL); err != nil {
		t.Fatal(err)
	}
	o := Offer{ID: "x", Name: "X", Kind: LoRA, Licence: Licence{Name: "L", URL: "https://l"}, Files: []OfferFile{
		{Repo: "org/x", File: "sub/w.safetensors", Name: "x.safetensors", Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])},
		{URL: "https://files.example/y/z.safetensors", Name: "z.safetensors"},
	}}
	var licence *LicenceError
	if _, err := s.Requests(o); !errors.As(err, &licence) || !strings.Contains(err.Error(), "https://l") {
		t.Fatalf("without consent: %v", err)
	}
	if err := s.Accept(o); err != nil {
		t.Fatal(err)
	}
	later, err := Open(s.o)
	if err != nil || !later.Accepted(o) {
		t.Error("the consent was forgotten", err)
	}
	requests, err := s.Requests(o)
	if err != nil || len(requests) != 2 {
		t.Fatal(requests, err)
	}
	m := s.Downloads("test", nil)
	defer m.Close()
	for _, r := range requests {
		id, err := m.Add(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Wait(context.Background(), id); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"/org/x/resolve/main/sub/w.safetensors", "/y/z.safetensors"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q", asked)
	}
	if e, _ := scan(t, s); len(e) != 2 || e[0].Kind != LoRA || filepath.Dir(e[0].Path) != filepath.Join(s.Own(), "loras") {
		t.Errorf("%+v", e)
	}
	if err := s.Checked(requests[0].Path, requests[0].SHA256); err != nil {
		t.Error(err)
	}
	if e, err := s.Find("x"); err != nil || e.Short != requests[0].SHA256[:10] {
		t.Errorf("%+v, %v", e, err)
	}
	if again, err := s.Requests(o); err != nil || len(again) != 0 {
		t.Errorf("what is there is asked for again: %v, %v", again, err)
	}
	os.WriteFile(requests[0].Path, []byte("other"), 0o644)
	if _, err := s.Requests(o); err == nil {
		t.Error("another file of that name went unnoticed")
	}
}

func TestDirectDownloadFindsItsPlace(t *testing.T) {
	s := newStore(t)
	for _, address := range []string{"https://h/x.zip", "https://h/", "https://h/..", "https://h/api/download/123", "://"} {
		if r, err := s.Direct(address, "", 0, ""); err == nil {
			t.Errorf("%s would go to %s", address, r.Path)
		}
	}
	if r, err := s.Direct("https://h/x", "../x.safetensors", 0, ""); err == nil {
		t.Errorf("it would go to %s", r.Path)
	}
	r, err := s.Direct("https://h/api/123?type=Model", "k.safetensors", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	put(t, "lora/kohya.safetensors", r.Path)
	if got, err := s.Settle(r.Path); err != nil || got != filepath.Join(s.Own(), "loras", "k.safetensors") || !isFile(got) || isFile(r.Path) {
		t.Errorf("%s, %v", got, err)
	}
	put(t, "lora/peft.safetensors", r.Path) // the name is taken
	if got, err := s.Settle(r.Path); err == nil || got != r.Path || !isFile(got) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestTokens(t *testing.T) {
	s := newStore(t)
	if err := s.SetToken("models.example:8080", "secret"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.o.Config); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the tokens: %v, %v", info.Mode(), err)
	}
	t.Setenv("HF_TOKEN", "hf")
	t.Setenv("ATELIER_TOKEN_OTHER_EXAMPLE", "env")
	for host, want := range map[string]string{"models.example:8080": "secret", "models.example": "", "huggingface.co": "hf", "other.example": "env", "cdn.huggingface.co": ""} {
		if got := s.Token(host); got != want {
			t.Errorf("%s: %q", host, got)
		}
	}
	s.SetToken("models.example:8080", "")
	if data, _ := os.ReadFile(s.o.Config); bytes.Contains(data, []byte("secret")) {
		t.Error("a token that was removed is still there")
	}
}

// clipFolder has CLIP's vocabulary in both forms; it is third-party data and no part of this repository.
func clipFolder(t *testing.T) string {
	dirs := []string{os.Getenv("ATELIER_PARITY")}
	for up := "../.."; len(up) < 20; up += "/.." {
		dirs = append(dirs, filepath.Join(up, "shared/parity"))
	}
	for _, d := range dirs {
		if d = filepath.Join(d, "data/clip_tokenizer"); isFile(filepath.Join(d, "vocab.json")) {
			return d
		}
	}
	t.Skip("set ATELIER_PARITY to the folder with the reference answers to test with CLIP's own vocabulary")
	return ""
}

func TestVocabulary(t *testing.T) {
	clip := clipFolder(t)
	packed, err := os.ReadFile(filepath.Join(clip, "bpe_simple_vocab_16e6.txt.gz"))
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	other := t.TempDir()
	putTree(t, "sd15/model", filepath.Join(other, "m"))
	putTree(t, "sd15/tokenizer", filepath.Join(other, "m", "tokenizer"))
	s.Link(other)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/openai/CLIP/main/clip/bpe_simple_vocab_16e6.txt.gz" {
			w.WriteHeader(404)
			return
		}
		http.ServeContent(w, r, "x.bin", time.Unix(1, 0), bytes.NewReader(packed))
	}))
	defer server.Close()
	s.SetSource(server.URL)
	m := s.Downloads("test", nil)
	defer m.Close()
	var licence *LicenceError
	if _, err := s.Vocabulary(); !errors.Is(err, ErrNoVocabulary) {
		t.Fatalf("another model's tokenizer was taken: %v", err)
	}
	if _, err := s.FetchVocabulary(context.Background(), m); !errors.As(err, &licence) {
		t.Fatalf("fetched without consent: %v", err)
	}
	if err := s.Accept(licence.Offer); err != nil {
		t.Fatal(err)
	}
	v, err := s.FetchVocabulary(context.Background(), m)
	if err != nil || v.Dir != filepath.Join(s.Own(), vocabularyID) {
		t.Fatalf("%+v, %v", v, err)
	}
	os.RemoveAll(v.Dir)
	// A program's own folder goes before a download.
	linked := filepath.Join(t.TempDir(), "snap")
	write(t, filepath.Join(linked, "model_index.json"), []byte("{}"))
	for _, n := range []string{"vocab.json", "merges.txt", "tokenizer_config.json"} {
		data, _ := os.ReadFile(filepath.Join(clip, n))
		write(t, filepath.Join(linked, "tokenizer", n), data)
	}
	s.Link(linked)
	if v, err = s.FetchVocabulary(context.Background(), m); err != nil || v.Dir != filepath.Join(linked, "tokenizer") || !strings.Contains(v.From, linked) {
		t.Errorf("%+v, %v", v, err)
	}
	if len(m.List()) != 1 {
		t.Errorf("%d downloads", len(m.List()))
	}
}

// TestVocabularyOfPrograms finds the vocabulary where other programs keep it, which is beside their models and not among them; with
// and without a scan.
func TestVocabularyOfPrograms(t *testing.T) {
	clip := clipFolder(t)
	packed, pair := []string{packedVocabulary}, []string{"vocab.json", "merges.txt"}
	for _, c := range []struct {
		linked, at string
		files      []string
	}{
		{"ComfyUI", "ComfyUI/comfy/sd1_tokenizer", pair},
		{"ComfyUI/models", "ComfyUI/comfy/sd1_tokenizer", pair},
		{"portable/ComfyUI", "portable/python_embeded/Lib/site-packages/open_clip", packed},
		{"webui", "webui/venv/lib/python3.10/site-packages/clip", packed},
		{"webui", "webui/venv/Lib/site-packages/open_clip", packed},
		{"forge", "forge/backend/huggingface/runwayml/stable-diffusion-v1-5/tokenizer", pair},
	} {
		dir := t.TempDir()
		for _, models := range []string{"ComfyUI/models/checkpoints", "ComfyUI/models/loras", "portable/ComfyUI/models/vae", "portable/ComfyUI/models/unet", "webui/models/Stable-diffusion", "forge/models/Stable-diffusion"} {
			if err := os.MkdirAll(filepath.Join(dir, models), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range c.files {
			data, err := os.ReadFile(filepath.Join(clip, n))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, c.at, n), data)
		}
		s := newStore(t)
		if _, err := s.Link(filepath.Join(dir, c.linked)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			v, err := s.Vocabulary()
			if err != nil {
				t.Fatalf("%s: %v", c.at, err)
			}
			want, _ := filepath.EvalSymlinks(filepath.Join(dir, c.at))
			if got, _ := filepath.EvalSymlinks(v.Dir); got != want {
				t.Errorf("%s: found in %s", c.at, v.Dir)
			}
			s.Scan(context.Background(), nil)
		}
	}
}
