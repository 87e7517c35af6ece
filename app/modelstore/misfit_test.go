package modelstore

import (
	"errors"
	"fmt"
	"testing"

	"atelier/models/nn"
)

func TestTensorsOfOneFileAreListedOnce(t *testing.T) {
	text, vae := &nn.Misfit{Label: "m.ckpt", Missing: []string{"a"}, Unused: []string{"b"}}, &nn.Misfit{Label: "m.ckpt", Missing: []string{"c"}, Misshapen: []string{"d is [1], not [2]"}}
	both := fmt.Errorf("%w. And %w", text, vae)
	want := "it does not fit its configuration, which its config.json or its other tensors say: tensors missing: a, c; of another shape than the configuration says: d is [1], not [2]; not part of this model: b"
	if got := misfit(both, "m.ckpt").Error(); got != want {
		t.Errorf("%s", got)
	}
	for _, err := range []error{fmt.Errorf("%w. And %w", text, errors.New("its scheduler is not known"))} {
		if got := misfit(err, "m.ckpt"); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
	folder := fmt.Errorf("%w. And %w", &nn.Misfit{Label: "m/unet/w.safetensors", Missing: []string{"a"}}, &nn.Misfit{Label: "m/vae/w.safetensors", Missing: []string{"a"}, Unused: []string{"b"}})
	want = "it does not fit its configuration, which its config.json or its other tensors say: tensors missing: unet/a, vae/a; not part of this model: vae/b"
	if got := misfit(folder, "m").Error(); got != want {
		t.Errorf("%s", got)
	}
}
