package goldentest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Training is a training run of the authors' own code: what each step gave, and the tolerance of each tensor.
type Training struct {
	Scalars struct {
		Loss     []float64 `json:"loss"`
		GradNorm []float64 `json:"grad_norm"`
		Rate     []float64 `json:"lr"`
	} `json:"scalars"`
	Files   map[string]map[string]float64 // tolerances by file, "grads" and "after3"
	Tensors map[string]float64            // tolerances where there is one file
}

// LoadTraining reads a case of testdata/training/cases.json.
func LoadTraining(t testing.TB, id string) Training {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Dir, "training/cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]struct {
		Training
		Atol json.RawMessage `json:"atol"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	c, ok := all[id]
	if !ok {
		t.Fatalf("there is no case %q", id)
	}
	if json.Unmarshal(c.Atol, &c.Tensors) != nil {
		if err := json.Unmarshal(c.Atol, &c.Files); err != nil {
			t.Fatal(err)
		}
	}
	return c.Training
}
