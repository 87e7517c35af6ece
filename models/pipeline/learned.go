package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"atelier/models/checkpoint"
	"atelier/models/clip"
)

// learned is a word beside the vocabulary: its vectors for the first text encoder and the second, [count·width] each.
type learned struct {
	name    string
	vectors [2][]float32
	count   int
}

// lessons is the words that a pipeline has learned, in order of loading: their ids follow on from the vocabulary's.
type lessons struct {
	words   []learned
	count   int                // how often one was added
	folders []string           // where files are looked for, before those beside the model
	read    map[string]reading // files that prompts named, by path
}

// reading is what came of a file of learned words.
type reading struct {
	stamp string // of the file as it was
	err   error
}

// Learn adds a word of a textual inversion (Gal et al. 2022), under a name that prompts may use. vectors are its rows for
// the text encoder, or for both of a model that has two; all must be as wide as the encoder they are for, and of one number.
func (t *Text2Image) Learn(name string, vectors ...[]float32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learn(name, vectors)
}

// LearnFile adds the words of a textual inversion's file.
func (t *Text2Image) LearnFile(path string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learnFile(path)
}

// SetEmbeddingFolders says where the words that prompts name are looked for, before the folders beside the model.
func (t *Text2Image) SetEmbeddingFolders(dirs ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lessons.folders = dirs
}

// encoders are the model's text encoders, one or two.
func (t *Text2Image) encoders() []*clip.Model {
	if t.parts.text2 != nil {
		return []*clip.Model{t.parts.text, t.parts.text2}
	}
	return []*clip.Model{t.parts.text}
}

func (t *Text2Image) learn(name string, vectors [][]float32) error {
	encoders := t.encoders()
	if len(vectors) != len(encoders) {
		return fmt.Errorf("the word %q was learned for %d text encoders, and %s has %d: choose one that was made for this kind of model", name, len(vectors), t.model.Name, len(encoders))
	}
	w := learned{name: strings.TrimSpace(name)}
	for i, m := range encoders {
		n := len(vectors[i]) / m.HiddenSize
		if len(vectors[i]) == 0 || len(vectors[i])%m.HiddenSize != 0 || i > 0 && n != w.count || n > m.MaxPositions-2 {
			return fmt.Errorf("the word %q does not fit %s: its vectors hold %d numbers, and the text encoder's are %d wide, at most %d of them", name, t.model.Name, len(vectors[i]), m.HiddenSize, m.MaxPositions-2)
		}
		w.vectors[i], w.count = vectors[i], n
	}
	if w.name == "" {
		return fmt.Errorf("a learned word needs a name")
	}
	l := &t.lessons
	l.words = append(slices.DeleteFunc(l.words, func(old learned) bool { return strings.EqualFold(old.name, w.name) }), w)
	l.count++
	for i, m := range encoders {
		var rows []float32
		for _, w := range l.words {
			rows = append(rows, w.vectors[i]...)
		}
		if err := m.Extend(rows); err != nil {
			return err
		}
	}
	return nil
}

func (t *Text2Image) learnFile(path string) error {
	list, err := checkpoint.ReadEmbeddings(path)
	if err != nil {
		return err
	}
	for _, e := range list {
		var vectors [][]float32
		for _, encoder := range []string{"", "clip_l", "clip_g"} { // in the order of a model's encoders
			for _, v := range e.Vectors {
				if v.Encoder == encoder {
					if i, all := len(vectors), t.encoders(); i < len(all) && v.Width != all[i].HiddenSize {
						return fmt.Errorf("%s: the word %q is %d wide, and the text encoder of %s is %d: choose one that was made for this kind of model", path, e.Names[0], v.Width, t.model.Name, all[i].HiddenSize)
					}
					vectors = append(vectors, v.Data)
				}
			}
		}
		for _, name := range e.Names {
			if err := t.learn(name, vectors); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

// embeddingEndings are what files of learned words end in.
var embeddingEndings = []string{".safetensors", ".pt", ".bin"}

// learnNamed reads the files of learned words whose names come up in texts, from the folders that were set and from a folder
// "embeddings" near the model; of two of one name the first counts. A file that changed is read again, and one of another family
// of models is passed over with a warning.
func (t *Text2Image) learnNamed(texts ...string) (warnings []string) {
	dirs := slices.Clone(t.lessons.folders)
	if near := t.model.Path; near != "" {
		for range 4 {
			dirs = append(dirs, filepath.Join(near, "embeddings"))
			near = filepath.Dir(near)
		}
	}
	have := map[string]bool{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there need not be one
		}
		for _, e := range entries {
			ending := filepath.Ext(e.Name())
			path, word := filepath.Join(dir, e.Name()), strings.ToLower(strings.TrimSuffix(e.Name(), ending))
			named := slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), word) })
			if !named || !slices.Contains(embeddingEndings, ending) || have[word] {
				continue
			}
			if err := t.readLesson(path); err != nil {
				warnings = append(warnings, fmt.Sprintf("the prompt's word %s was passed over: %v", word, err))
				continue
			}
			have[word] = true
		}
	}
	return warnings
}

// readLesson learns the words of a file, unless they were learned from it as it is. Its error is that of the last reading.
func (t *Text2Image) readLesson(path string) error {
	stamp, err := stampOf(path)
	if err != nil {
		return err
	}
	if t.lessons.read == nil {
		t.lessons.read = map[string]reading{}
	}
	r, ok := t.lessons.read[path]
	if !ok || r.stamp != stamp {
		r = reading{stamp, t.learnFile(path)}
		t.lessons.read[path] = r
	}
	return r.err
}
