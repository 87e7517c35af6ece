package vae

import "testing"

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"block_out_channels": [32, 64], "shift_factor": 0.1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := ParseConfig(data); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
