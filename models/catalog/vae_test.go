package catalog

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUseVAE(t *testing.T) {
	const model = "../testdata/sd15/model"
	m, err := Open(model, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	was := m.VAE
	if err := m.UseVAE(model + "/vae"); err != nil {
		t.Fatal(err)
	}
	if m.VAE.Config == nil || m.VAE.Weights == was.Weights || len(m.VAE.Weights.Names()) != len(was.Weights.Names()) {
		t.Errorf("the autoencoder is %+v", m.VAE)
	}
	// A file that says nothing of how latents are scaled takes that from the model.
	m.VAE = Part{Config: []byte(`{"scaling_factor": 0.5, "sample_size": 9}`)}
	data, err := os.ReadFile(model + "/vae/diffusion_pytorch_model.safetensors")
	alone := filepath.Join(t.TempDir(), "alone.safetensors")
	if err == nil {
		err = os.WriteFile(alone, data, 0o644)
	}
	if err == nil {
		err = m.UseVAE(alone)
	}
	if err != nil {
		t.Fatal(err)
	}
	var said map[string]float64
	if err := json.Unmarshal(m.VAE.Overrides, &said); m.VAE.Config != nil || err != nil || said["scaling_factor"] != 0.5 || len(said) != 1 {
		t.Errorf("overrides %s: %v", m.VAE.Overrides, err)
	}
	if err := m.UseVAE(model + "/unet"); err == nil || !strings.Contains(err.Error(), "no autoencoder") {
		t.Errorf("a denoiser as autoencoder: %v", err)
	}
}
