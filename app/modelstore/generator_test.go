package modelstore

import (
	"os"
	"path/filepath"
	"testing"

	"atelier/assets"
)

// TestGenerators finds the small models that training here makes: each is one model, of its family, with what it needs.
func TestGenerators(t *testing.T) {
	root := t.TempDir()
	want := map[string]string{"pixel-faces": "GAN", "typeface": "Variational autoencoder", "palette": "Normalising flow"}
	for name := range want {
		files, ok := assets.Model(name)
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		if err := os.CopyFS(filepath.Join(root, name), files); err != nil {
			t.Fatal(err)
		}
	}
	s := newStore(t)
	if _, err := s.Link(root); err != nil {
		t.Fatal(err)
	}
	entries, _, err := s.Scan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("%d models, want %d: %+v", len(entries), len(want), entries)
	}
	for _, e := range entries {
		if e.Kind != Generator || e.Family != want[e.Name] || !e.Usable() || !e.Whole() {
			t.Errorf("%s is a %s of the family %q: %s", e.Name, e.Kind, e.Family, e.Problem)
		}
		if e.Params < 100_000 || e.Memory.Bytes < e.Params || e.Memory.Bytes > 100_000_000 {
			t.Errorf("%s has %d parameters and needs %d bytes", e.Name, e.Params, e.Memory.Bytes)
		}
	}
}
