package catalog

import (
	"encoding/json"
	"fmt"
)

// UseVAE takes the autoencoder of another model file or folder in place of the model's own. It works on the same latents, so where
// that does not say how these are scaled, what is said of the model's own holds.
func (m *Model) UseVAE(name string) error {
	other, err := Open(name, Options{})
	if err != nil {
		return err
	}
	if !other.VAE.Here() {
		other.Close()
		return fmt.Errorf("%s holds no autoencoder; choose a VAE", name)
	}
	own := m.VAE
	m.VAE = other.VAE
	m.opened = append(m.opened, other.opened...)
	if m.VAE.Config != nil {
		return nil
	}
	said := own.Config
	if said == nil {
		said = own.Overrides
	}
	var scale struct {
		Factor *float64 `json:"scaling_factor,omitempty"`
		Shift  *float64 `json:"shift_factor,omitempty"`
	}
	if said == nil {
		return nil
	}
	if err := json.Unmarshal(said, &scale); err != nil {
		return fmt.Errorf("what is said about the autoencoder of %s cannot be read: %w", m.Name, err)
	}
	m.VAE.Overrides, err = json.Marshal(scale)
	return err
}
