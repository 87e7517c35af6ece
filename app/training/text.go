package training

import (
	"strings"

	"atelier/models/clip"
	"atelier/models/tokenize"
)

// speller turns captions into the ids that a text encoder reads. A learnt word, if there is one, stands for ids of its own.
type speller struct {
	tokens *tokenize.Tokenizer
	length int
	word   string
	ids    []int // of word; empty without one
}

func newSpeller(t *tokenize.Tokenizer, text *clip.Model) *speller {
	return &speller{tokens: t, length: text.MaxPositions}
}

// spell gives a caption's ids: begin, the words, end, filled up. What is too long is cut off.
func (s *speller) spell(caption string) []float32 {
	ids := []int{s.tokens.BOS()}
	for i, part := range s.parts(caption) {
		if i > 0 {
			ids = append(ids, s.ids...)
		}
		ids = append(ids, s.tokens.Encode(part)...)
	}
	ids = append(ids[:min(len(ids), s.length-1)], s.tokens.EOS())
	row := make([]float32, s.length)
	for i := range row {
		if row[i] = float32(s.tokens.Pad()); i < len(ids) {
			row[i] = float32(ids[i])
		}
	}
	return row
}

// parts cuts a caption at the learnt word.
func (s *speller) parts(caption string) []string {
	if len(s.ids) == 0 {
		return []string{caption}
	}
	return strings.Split(caption, s.word)
}

// withTrigger puts the words that call what is learnt before a caption that lacks them. A caption that was left out stays so.
func withTrigger(trigger, caption string) string {
	switch {
	case trigger == "" || strings.Contains(caption, trigger):
		return caption
	case caption == "":
		return trigger
	}
	return trigger + ", " + caption
}
