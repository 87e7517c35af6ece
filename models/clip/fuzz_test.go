package clip

import "testing"

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"hidden_size": 16, "num_attention_heads": 2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := ParseConfig(data); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
