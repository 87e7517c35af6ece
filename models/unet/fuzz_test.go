package unet

import "testing"

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"block_out_channels": [32, 64], "layers_per_block": [1, 2], "sample_size": [8, 8]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := ParseConfig(data); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
