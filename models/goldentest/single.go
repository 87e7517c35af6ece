package goldentest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
)

// WriteSingleFile writes the case fmt-single-file-safetensors: the file of the original layout that the authors' script made of
// the golden model. testdata/sd15/single.json says for each of its tensors which of the model's it equals, byte for byte; the
// eleven others are buffers, of which only names and shapes matter.
func WriteSingleFile(t testing.TB, path string, change func(name string, x checkpoint.Tensor) (checkpoint.Tensor, bool)) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Dir, "sd15/single.json"))
	must(t, err)
	var file struct {
		Tensors map[string][2]json.RawMessage
		Others  map[string][2]json.RawMessage
	}
	must(t, json.Unmarshal(data, &file))
	parts := map[string]checkpoint.Tensors{
		"text_encoder": Open(t, "sd15/model/text_encoder/model.safetensors"),
		"unet":         Open(t, "sd15/model/unet/diffusion_pytorch_model.safetensors"),
		"vae":          Open(t, "sd15/model/vae/diffusion_pytorch_model.safetensors"),
	}
	var list []checkpoint.Tensor
	for name, v := range file.Tensors {
		var from string
		var shape []int
		must(t, json.Unmarshal(v[0], &from))
		must(t, json.Unmarshal(v[1], &shape))
		part, key, _ := strings.Cut(from, "/")
		x, ok := parts[part].Get(key)
		if !ok {
			t.Fatalf("there is no %s", from)
		}
		values, err := x.Float32s()
		must(t, err)
		list = append(list, checkpoint.NewF16(name, shape, values))
	}
	for name, v := range file.Others {
		var shape []int
		must(t, json.Unmarshal(v[1], &shape))
		list = append(list, checkpoint.NewF32(name, shape, make([]float32, compute.Shape(shape).Size())))
	}
	if change != nil {
		var changed []checkpoint.Tensor
		for _, x := range list {
			if y, keep := change(x.Name, x); keep {
				changed = append(changed, y)
			}
		}
		list = changed
	}
	slices.SortFunc(list, func(a, b checkpoint.Tensor) int { return strings.Compare(a.Name, b.Name) })
	must(t, checkpoint.Write(path, list, map[string]string{"modelspec.title": "Fifteen", "modelspec.resolution": "384x384"}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
