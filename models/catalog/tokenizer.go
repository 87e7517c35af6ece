package catalog

import (
	"fmt"
	"os"
	"path/filepath"

	"atelier/models/tokenize"
)

// findTokenizer looks outside the model folder at abs.
func (m *Model) findTokenizer(abs string, o Options) {
	var tried []string
	try := func(dir string) bool {
		t, err := tokenize.Load(os.DirFS(dir), ".")
		if err == nil {
			m.Tokenizer, m.TokenizerDir, m.TokenizerError = t, dir, nil
			return true
		}
		tried = append(tried, dir)
		return false
	}
	if o.TokenizerDir != "" {
		if !try(o.TokenizerDir) {
			m.Tokenizer = nil
			m.TokenizerError = fmt.Errorf("there is no tokenizer in %s; choose a folder with vocab.json and merges.txt", o.TokenizerDir)
		}
		return
	}
	if env := os.Getenv(tokenizerEnv); env != "" && try(env) {
		return
	}
	for up := filepath.Dir(abs); ; up = filepath.Dir(up) {
		for _, sub := range []string{"tokenizer", filepath.Join("data", "clip_tokenizer")} {
			dir := filepath.Join(up, sub)
			if _, err := os.Stat(filepath.Join(dir, "vocab.json")); err == nil && try(dir) {
				return
			}
		}
		if up == filepath.Dir(up) {
			break
		}
	}
	m.TokenizerError = fmt.Errorf("the model %s has no tokenizer: put vocab.json and merges.txt into its folder tokenizer, or name a folder with them in %s", m.Name, tokenizerEnv)
}
