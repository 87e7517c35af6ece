package modelstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"atelier/app/download"
	"atelier/models/tokenize"
)

// Vocabulary is where CLIP's vocabulary was found, for checkpoints that come without one.
type Vocabulary struct {
	Dir  string `json:"folder"` // with vocab.json and merges.txt, or bpe_simple_vocab_16e6.txt.gz
	From string `json:"from"`   // whose it is, as a clause
}

// ErrNoVocabulary says that there is none on this machine.
var ErrNoVocabulary = errors.New("no program on this machine has CLIP's vocabulary, which checkpoints in one file need: fetch it once with models download " + vocabularyID + ", or link a folder of a program that has it")

// Vocabulary finds CLIP's vocabulary: the one that was fetched, or a tokenizer folder that the last scan met, of any program. Where there
// was no scan yet, folders in the usual places are looked at. The error is ErrNoVocabulary where there is none.
func (s *Store) Vocabulary() (Vocabulary, error) {
	if own := filepath.Join(s.Own(), vocabularyID); isCLIP(own) {
		return Vocabulary{own, "the studio's own copy"}, nil
	}
	s.mu.Lock()
	known := slices.Clone(s.cache.Vocabularies)
	s.mu.Unlock()
	if v, ok := firstCLIP(known); ok {
		return v, nil
	}
	if v, ok := firstCLIP(s.lookForVocabularies()); ok {
		return v, nil
	}
	return Vocabulary{}, ErrNoVocabulary
}

func firstCLIP(dirs []string) (Vocabulary, bool) {
	for _, d := range dirs {
		if isCLIP(d) {
			return Vocabulary{d, "found in " + d}, true
		}
	}
	return Vocabulary{}, false
}

func isCLIP(dir string) bool {
	if _, err := os.Stat(dir); err != nil {
		return false
	}
	t, err := tokenize.Load(os.DirFS(dir), ".")
	return err == nil && t.IsOriginal()
}

// lookForVocabularies walks the folders without reading models.
func (s *Store) lookForVocabularies() []string {
	w := &walker{ctx: context.Background(), tell: func(string, string) {}, seenDirs: map[string]bool{}, seenFiles: map[string]bool{}}
	for _, f := range s.Folders() {
		if _, err := os.Stat(f.Path); err != nil {
			continue
		}
		w.vocab = append(w.vocab, vocabularyFolders(f.Path)...)
		for _, p := range places(f.Program, f.Path, w.tell) {
			w.place(p, f)
		}
	}
	return w.vocab
}

// FetchVocabulary downloads CLIP's vocabulary with m unless it can be found. The person must have accepted its licence: else the error is
// a *LicenceError.
func (s *Store) FetchVocabulary(ctx context.Context, m *download.Manager) (Vocabulary, error) {
	if v, err := s.Vocabulary(); err == nil {
		return v, nil
	}
	offer, err := FindOffer(vocabularyID)
	if err != nil {
		return Vocabulary{}, err
	}
	requests, err := s.Requests(offer)
	if err != nil {
		return Vocabulary{}, err
	}
	for _, r := range requests {
		id, err := m.Add(r)
		if err != nil {
			return Vocabulary{}, err
		}
		if _, err := m.Wait(ctx, id); err != nil {
			return Vocabulary{}, err
		}
	}
	v, err := s.Vocabulary()
	if err != nil {
		return v, fmt.Errorf("CLIP's vocabulary in %s is damaged; remove it, and fetch it again", filepath.Join(s.Own(), vocabularyID))
	}
	return v, nil
}
