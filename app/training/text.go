package training

import (
	"strings"

	"atelier/compute"
	"atelier/models/tokenize"
)

// speller turns captions into the ids that a text encoder reads. A learnt word, if there is one, stands for ids of its own.
type speller struct {
	tokens *tokenize.Tokenizer
	length int
	pad    int
	word   string
	ids    []int // of word; empty without one
}

// newSpellers gives one for each of a model's text encoders.
func newSpellers(b *base) []*speller {
	var list []*speller
	for i, e := range b.Encoders {
		list = append(list, &speller{tokens: b.tokenizer(i), length: e.MaxPositions, pad: b.model.Pad(i)})
	}
	return list
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
		if row[i] = float32(s.pad); i < len(ids) {
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

// Called puts the words that call what is learnt before or after a caption that lacks them. A caption that was left out stays so.
func (d *Data) Called(caption string) string {
	switch {
	case d.Trigger == "" || strings.Contains(caption, d.Trigger):
		return caption
	case caption == "":
		return d.Trigger
	case d.TriggerLast:
		return caption + ", " + d.Trigger
	}
	return d.Trigger + ", " + caption
}

// spell adds a caption to the inputs of a graph that recordText wrote. No words at all are what the denoiser was taught they are: the
// empty text, or zeros where there are two encoders.
func (d *denoising) spell(in map[string][]float32, caption string) {
	for i, s := range d.spellers {
		ids := s.spell(caption)
		if i == 0 {
			in["ids"] = append(in["ids"], ids...)
			continue
		}
		row, said := make([]float32, len(ids)), float32(1)
		if d.Encoders[i].PoolRow(ids, row); caption == "" {
			said = 0
		}
		in["ids2"], in["pool2"], in["said"] = append(in["ids2"], ids...), append(in["pool2"], row...), append(in["said"], said)
	}
}

// recordText records what the denoiser reads of rows texts, and declares its inputs.
func (d *denoising) recordText(g *compute.Graph, rows int) (states, pooled *compute.Tensor) {
	n := d.Encoders[0].MaxPositions
	ids := g.Input("ids", rows, n)
	if len(d.Encoders) == 1 {
		return d.Read(ids, nil, nil)
	}
	said := g.Input("said", rows, 1, 1)
	states, pooled = d.Read(ids, g.Input("ids2", rows, n), g.Input("pool2", rows, 1, n))
	return compute.Mul(states, said), compute.Mul(pooled, compute.Reshape(said, rows, 1))
}
