package tokenize

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func own(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Load(os.DirFS("testdata"), "own")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestOwnVocabulary holds the ids to those of the program that trained the vocabulary (the built-in model's).
func TestOwnVocabulary(t *testing.T) {
	tok := own(t)
	if tok.MaxLength() != 32 || tok.Vocab() != 2514 || tok.BOS() != 2512 || tok.EOS() != 2513 || tok.Pad() != 2513 {
		t.Errorf("max length %d, vocab %d, ids %d %d %d", tok.MaxLength(), tok.Vocab(), tok.BOS(), tok.EOS(), tok.Pad())
	}
	data, err := os.ReadFile("testdata/own_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text string
		IDs  []int
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 100 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		for range 2 { // the second time from the cache
			if got := tok.EncodePadded(c.Text); !slices.Equal(got, c.IDs) {
				t.Errorf("%q:\n got %v\nwant %v", c.Text, got, c.IDs)
			}
		}
	}
}

// parityDir finds the reference answers, which are third-party data and no part of this repository.
func parityDir(t *testing.T) string {
	dirs := []string{os.Getenv("ATELIER_PARITY")}
	for up := "../.."; len(up) < 20; up += "/.." {
		dirs = append(dirs, filepath.Join(up, "shared/parity"))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "data/clip_tokenizer/vocab.json")); dir != "" && err == nil {
			return dir
		}
	}
	t.Skip("set ATELIER_PARITY to the folder with the reference answers to compare with CLIP's own vocabulary")
	return ""
}

// TestCLIPVocabulary compares with transformers' CLIPTokenizer, or OpenAI's where the two differ.
func TestCLIPVocabulary(t *testing.T) {
	dir := parityDir(t)
	data, err := os.ReadFile(filepath.Join(dir, "cases/sd15/tokenizer_cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text   string
		IDs    []int
		IDs77  []int `json:"ids_77"`
		OpenAI []int `json:"openai_clip_ids"`
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	folder := os.DirFS(filepath.Join(dir, "data/clip_tokenizer"))
	packed, err := fs.ReadFile(folder, packedName)
	if err != nil {
		t.Fatal(err)
	}
	for name, fsys := range map[string]fs.FS{"folder": folder, "packed": fstest.MapFS{packedName: {Data: packed}}} {
		tok, err := Load(fsys, ".")
		if err != nil {
			t.Fatal(err)
		}
		if tok.Vocab() != 49408 || tok.MaxLength() != 77 {
			t.Errorf("%s: vocab %d, max length %d", name, tok.Vocab(), tok.MaxLength())
		}
		for _, c := range cases {
			if got := tok.Encode(c.Text); !slices.Equal(got, c.IDs) {
				t.Errorf("%s: %q:\n got %v\nwant %v", name, c.Text, got, c.IDs)
			}
			if got := tok.EncodePadded(c.Text); !slices.Equal(got, c.IDs77) {
				t.Errorf("%s: %q padded:\n got %v\nwant %v", name, c.Text, got, c.IDs77)
			}
		}
	}
}

// TestClean checks the cleaning where a vocabulary would blur it.
func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		" A\tB\n\nC\u3000D ":   "a b c d",
		"a\u200db\x00c\ufffdd": "abcd",
		"日本go":                 "日 本 go",
		"e\u0301":              "é",
		"İ":                    "i\u0307",
		"ΟΔΟΣ ΣΑΣ. Σ":          "οδος σας. σ",
		"a\u2028b":             "a b",
		"\u0378x":              "x", // unassigned
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%+q) = %+q, want %+q", in, got, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for in, want := range map[string][]string{
		"it's we've 'tis":       {"it", "'s", "we", "'ve", "'t", "is"},
		"!!'s 12ab":             {"!!'", "s", "1", "2", "ab"},
		"½² x<|endoftext|>y":    {"½", "²", "x", "<|endoftext|>", "y"},
		"<|endoftext|>y 'ſ":     {"<|endoftext|>", "y", "'ſ"},
		"e\u0301\u0302 --> ok.": {"e", "\u0301\u0302", "-->", "ok", "."},
	} {
		if got := split(in); !slices.Equal(got, want) {
			t.Errorf("split(%q) = %q, want %q", in, got, want)
		}
	}
}

// tiny is a folder with a vocabulary of single letters and one merge.
func tiny(config string) fstest.MapFS {
	vocab := map[string]int{"!": 0, startOfText: 1, endOfText: 2, "a": 3, "a</w>": 4, "b</w>": 5, "ab</w>": 6, "!</w>": 7, "aa": 8}
	data, _ := json.Marshal(vocab)
	return fstest.MapFS{
		"t/vocab.json":            {Data: data},
		"t/merges.txt":            {Data: []byte("#version: 0.2\na b</w>\na a\n")},
		"t/tokenizer_config.json": {Data: []byte(config)},
	}
}

func TestPaddingAndLengthFromConfig(t *testing.T) {
	tok, err := Load(tiny(`{"model_max_length": 8, "pad_token": "!", "bos_token": {"content": "<|startoftext|>"}}`), "t")
	if err != nil {
		t.Fatal(err)
	}
	// The padding token is special, so that spelled out in a prompt it is its own id, as in transformers.
	if got, want := tok.EncodePadded("AB a! z"), []int{1, 6, 4, 0, 2, 2, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := tok.EncodePadded("ab ab ab ab ab ab ab ab"), []int{1, 6, 6, 6, 6, 6, 6, 2}; !slices.Equal(got, want) {
		t.Errorf("cut: got %v, want %v", got, want)
	}
	if got := tok.Encode(""); got == nil || len(got) != 0 {
		t.Errorf("empty: %v", got)
	}
	if got := tok.Token(6); got != "ab</w>" {
		t.Errorf("token 6 = %q", got)
	}
	tok, err = Load(tiny(`{"model_max_length": 1000000000000000019884624838656}`), "t")
	if err != nil || tok.MaxLength() != 77 || tok.Pad() != 2 {
		t.Errorf("unlimited: %v", err)
	}
}

// TestJoinMatchesDefinition compares the heap with the plain loop on pairs whose ranks are out of order.
func TestJoinMatchesDefinition(t *testing.T) {
	pairs := [][2]string{{"aab", "a"}, {"a", "a"}, {"aa", "b"}, {"b", "aa"}, {"b", "b"}, {"a", "b"}, {"aa", "aa"}}
	vocab := map[string]int{startOfText: 0, endOfText: 1}
	tok, err := build(vocab, pairs, config{startOfText, endOfText, endOfText, endOfText, 77})
	if err != nil {
		t.Fatal(err)
	}
	for bits := range 1 << 12 {
		var symbols []int32
		for i := range 12 {
			symbols = append(symbols, tok.symbols["ab"[bits>>i&1:][:1]])
		}
		want := slices.Clone(symbols)
		for {
			best, pair := int32(1<<30), [2]int32{}
			for i := range len(want) - 1 {
				p := [2]int32{want[i], want[i+1]}
				if m, ok := tok.merges[p]; ok && m.rank < best {
					best, pair = m.rank, p
				}
			}
			if best == 1<<30 {
				break
			}
			var next []int32
			for i := 0; i < len(want); i++ {
				if i+1 < len(want) && want[i] == pair[0] && want[i+1] == pair[1] {
					next = append(next, tok.merges[pair].result)
					i++
				} else {
					next = append(next, want[i])
				}
			}
			want = next
		}
		if got := tok.join(slices.Clone(symbols)); !slices.Equal(got, want) {
			t.Fatalf("%012b: got %v, want %v", bits, got, want)
		}
	}
}

func TestLongWordIsNoTrap(t *testing.T) {
	tok := own(t)
	begin := time.Now()
	if n := len(tok.Encode(strings.Repeat("ab", 1<<18))); n < 1000 {
		t.Errorf("%d ids", n)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("half a million letters took %v", took)
	}
}

func TestHostileFiles(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	w.Write(bytes.Repeat([]byte("a"), 1000))
	w.Close()
	for name, change := range map[string]fstest.MapFS{
		"vocab.json: it is not a JSON object":            {"t/vocab.json": {Data: []byte("[]")}},
		"vocab.json: it is cut short":                    {"t/vocab.json": {Data: []byte(`{"a": 1`)}},
		"not a whole number":                             {"t/vocab.json": {Data: []byte(`{"a": -1}`)}},
		"which is not a whole number below":              {"t/vocab.json": {Data: []byte(`{"a": 1e300}`)}},
		"the id 1 is given twice":                        {"t/vocab.json": {Data: []byte(`{"a": 1, "b": 1}`)}},
		"appears twice":                                  {"t/vocab.json": {Data: []byte(`{"a": 1, "a": 2}`)}},
		"lacks the start token":                          {"t/vocab.json": {Data: []byte(`{"a": 1}`)}},
		"merges.txt: line 2 does not hold two tokens":    {"t/merges.txt": {Data: []byte("#v\nabc\n")}},
		"merges.txt: it is not valid UTF-8":              {"t/merges.txt": {Data: []byte("#v\na \xff\n")}},
		"tokenizer_config.json: model_max_length is 1,":  {"t/tokenizer_config.json": {Data: []byte(`{"model_max_length": 1}`)}},
		"tokenizer_config.json: it cannot be understood": {"t/tokenizer_config.json": {Data: []byte(`{"pad_token": 7}`)}},
		"vocab.json cannot be read":                      {"t/vocab.json": nil},
		packedName:                                       {"t/vocab.json": nil, "t/" + packedName: {Data: bomb.Bytes()[:20]}},
	} {
		files := tiny("{}")
		maps.Copy(files, change)
		maps.DeleteFunc(files, func(_ string, f *fstest.MapFile) bool { return f == nil })
		if _, err := Load(files, "t"); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", name, err)
		}
	}
}

func FuzzEncode(f *testing.F) {
	tok := own(f)
	for _, s := range []string{"a red apple", "日本語 👩‍👩‍👧 e\u0301", "<|endoftext|><|ENDOFTEXT|>", "\xff\xfe'ſ", "İΣ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, padded := tok.Encode(text), tok.EncodePadded(text)
		if len(padded) != tok.MaxLength() || padded[0] != tok.BOS() || !slices.Contains(padded[1:], tok.EOS()) {
			t.Fatalf("%q: %v", text, padded)
		}
		for i, id := range ids {
			if id < 0 || id >= tok.Vocab() {
				t.Fatalf("%q: id %d", text, id)
			}
			if i < tok.MaxLength()-2 && padded[i+1] != id {
				t.Fatalf("%q: %v does not begin with %v", text, padded, ids)
			}
		}
	})
}

func FuzzVocab(f *testing.F) {
	f.Add([]byte(`{"a": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}`), []byte("#version: 0.2\na a</w>\n"))
	f.Fuzz(func(t *testing.T, vocab, merges []byte) {
		tok, err := Load(fstest.MapFS{"vocab.json": {Data: vocab}, "merges.txt": {Data: merges}}, ".")
		if err == nil {
			tok.EncodePadded("aaa bb")
		}
	})
}
