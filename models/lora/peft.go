package lora

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// peft's own files have no alphas: they are in adapter_config.json beside adapter_model.safetensors, or, where diffusers since 0.34
// wrote the file, in its metadata, with the network's name before each key.
const (
	peftModel, peftConfig = "adapter_model", "adapter_config.json"
	peftMetadata          = "lora_adapter_metadata"
	mostPeft              = 1 << 20 // bytes of a configuration
)

// peft is the settings of one network's adapters.
type peft struct {
	Alpha    float64            `json:"lora_alpha"`
	Root     bool               `json:"use_rslora"`    // the scale is alpha/√rank
	Patterns map[string]float64 `json:"alpha_pattern"` // for layers whose path ends so
}

// settle gives the modules without an alpha of their own what peft's configuration says; network is "unet" and so on, "" for all.
func (f *File) settle(network string, config []byte) error {
	var c peft
	if err := json.Unmarshal(config, &c); err != nil {
		return fmt.Errorf("%s: peft's configuration of it cannot be understood (%v); download it again", f.Name, err)
	}
	for layer, m := range f.modules {
		if m.scaled || network != "" && !strings.HasPrefix(layer, network+".") {
			continue
		}
		alpha, longest := c.Alpha, -1
		for pattern, a := range c.Patterns {
			if strings.HasSuffix("."+layer, "."+pattern) && len(pattern) > longest {
				alpha, longest = a, len(pattern)
			}
		}
		if alpha == 0 {
			continue
		}
		if m.alpha, m.scaled = alpha, true; c.Root {
			m.alpha *= math.Sqrt(float64(m.rank()))
		}
	}
	return nil
}

// fromMetadata reads what diffusers keeps in a file's metadata: {"unet.lora_alpha": 8, "text_encoder.lora_alpha": …}.
func (f *File) fromMetadata(text string) error {
	if text == "" {
		return nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return fmt.Errorf("%s: its metadata about peft cannot be understood (%v); download it again", f.Name, err)
	}
	networks := map[string]map[string]json.RawMessage{}
	for key, value := range all {
		network, name, _ := strings.Cut(key, ".")
		if networks[network] == nil {
			networks[network] = map[string]json.RawMessage{}
		}
		networks[network][name] = value
	}
	for network, values := range networks {
		config, err := json.Marshal(values)
		if err != nil {
			return err
		}
		if err := f.settle(network, config); err != nil {
			return err
		}
	}
	return nil
}

// besides reads the configuration beside one of peft's own files.
func (f *File) besides(path string) error {
	if name := filepath.Base(path); strings.TrimSuffix(name, filepath.Ext(name)) != peftModel {
		return nil
	}
	file, err := os.Open(filepath.Join(filepath.Dir(path), peftConfig))
	if err != nil {
		return nil // without it the scale is 1, as in files of others
	}
	defer file.Close()
	config, err := io.ReadAll(io.LimitReader(file, mostPeft))
	if err != nil {
		return fmt.Errorf("%s beside %s cannot be read: %w", peftConfig, f.Name, err)
	}
	return f.settle("", config)
}
