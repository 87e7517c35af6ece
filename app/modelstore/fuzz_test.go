package modelstore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzGGUFHead(f *testing.F) {
	f.Add(gguf(map[string]string{"general.architecture": "llama"}, "blk.0.attn_q.weight", 12))
	f.Add(gguf(nil, "x", 99)[:60])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x.gguf")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		head, err := readGGUF(path)
		if err != nil {
			return
		}
		for k, v := range head.values {
			if len(k)+len(v) > len(data) {
				t.Fatalf("a value of %d bytes in a file of %d", len(v), len(data))
			}
		}
	})
}

func FuzzExtraPaths(f *testing.F) {
	f.Add([]byte("a111:\n  base_path: /x\n  loras: |\n    a\n    b\n"))
	f.Add([]byte("a: &a [*a]\nb: {loras: *a, base_path: [1]}"))
	f.Add([]byte("x: null\ny:\n  vae: [a, b]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), extraPaths)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, p := range extraPlaces(path, func(path, problem string) {
			if strings.Contains(problem, "\n") {
				t.Fatalf("%q", problem)
			}
		}) {
			if !filepath.IsAbs(p.dir) {
				t.Fatalf("%q is relative", p.dir)
			}
		}
	})
}

func FuzzCards(f *testing.F) {
	f.Add([]byte(`{"name": "v", "model": {"name": "x"}, "trainedWords": ["a, b"]}`))
	f.Add([]byte("---\nlicense: [mit, other]\nbase_model:\n- a\n---\n# x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "README.md")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, c := range []Card{sidecarCard(data), readmeCard(path)} {
			var e Entry
			e.Card.fill(c)
			if strings.ContainsAny(e.Title+e.Licence+e.Base, "\n\r") {
				t.Fatalf("%+v", e.Card)
			}
		}
		frequentTags(string(data))
	})
}
