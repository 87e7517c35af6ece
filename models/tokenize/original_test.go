package tokenize

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

// TestPackedVocabularyIsTheSame compares what follows from openai/CLIP's packed file with vocab.json and merges.txt, id for id and
// rank for rank.
func TestPackedVocabularyIsTheSame(t *testing.T) {
	folder := os.DirFS(filepath.Join(parityDir(t), "data/clip_tokenizer"))
	packed, err := fs.ReadFile(folder, packedName)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Load(folder, ".")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Load(fstest.MapFS{packedName: {Data: packed}}, ".")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.vocab) != originalSize || originalSize != 49408 || !maps.Equal(got.vocab, want.vocab) {
		t.Errorf("%d tokens, %d in vocab.json, or other ids", len(got.vocab), len(want.vocab))
	}
	if len(got.merges) != openMerges || len(want.merges) != openMerges {
		t.Errorf("%d and %d merges, want %d", len(got.merges), len(want.merges), openMerges)
	}
	for pair, m := range want.merges {
		left, right := want.spelling[pair[0]], want.spelling[pair[1]]
		g, ok := got.merges[[2]int32{got.symbols[left], got.symbols[right]}]
		if !ok || g.rank != m.rank || got.spelling[g.result] != want.spelling[m.result] {
			t.Fatalf("the merge of %q and %q has rank %d, want %d", left, right, g.rank, m.rank)
		}
	}
	for _, tok := range []*Tokenizer{got, want} {
		if !tok.IsOriginal() || tok.bos != 49406 || tok.eos != 49407 {
			t.Errorf("start %d, end %d, original %v", tok.bos, tok.eos, tok.IsOriginal())
		}
	}
}

func TestOtherVocabulariesAreNotTheOriginal(t *testing.T) {
	if own(t).IsOriginal() {
		t.Error("the built-in model's vocabulary passes for CLIP's")
	}
	sparse, err := Load(os.DirFS("../testdata/sd15"), "tokenizer") // a few tokens with CLIP's ids
	if err != nil {
		t.Fatal(err)
	}
	if sparse.Vocab() != originalSize || sparse.IsOriginal() {
		t.Errorf("%d ids, original %v", sparse.Vocab(), sparse.IsOriginal())
	}
}
