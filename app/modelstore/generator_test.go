package modelstore

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
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
	alone, err := s.Look(filepath.Join(root, "palette"))
	if at := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == "palette" }); err != nil || at < 0 || !reflect.DeepEqual(alone.Card, entries[at].Card) || alone.Memory != entries[at].Memory {
		t.Errorf("looked at by its path, palette is %+v, %v", alone, err)
	}
	for _, e := range entries {
		if e.Kind != Generator || e.Family != want[e.Name] || !e.Usable() || !e.Whole() {
			t.Errorf("%s is a %s of the family %q: %s", e.Name, e.Kind, e.Family, e.Problem)
		}
		if e.Licence != "Apache-2.0" || e.LicenceURL == "" || e.Author == "" || e.Title != e.Name {
			t.Errorf("%s says of itself %+v", e.Name, e.Card)
		}
		if _, err := s.Hash(t.Context(), e.Path, nil); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if e.Params < 100_000 || e.Memory.Bytes < e.Params || e.Memory.Bytes > 100_000_000 {
			t.Errorf("%s has %d parameters and needs %d bytes", e.Name, e.Params, e.Memory.Bytes)
		}
	}
}
