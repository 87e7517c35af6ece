package prompt

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"atelier/models/tokenize"
)

// Chunk is one row of tokens for a text encoder: start, up to 75 tokens, end, padding; and the weight of each.
type Chunk struct {
	IDs     []int
	Weights []float64
}

// Embedding is a learned word (textual inversion): its name in prompts, and the ids of its vectors, which lie behind the
// vocabulary's own.
type Embedding struct {
	Name           string
	First, Vectors int
}

// Words turns text into the tokens of one text encoder.
type Words struct {
	Tokenizer  *tokenize.Tokenizer
	Length     int         // ids of a row, such as 77
	Pad        int         // what follows the end token; another than the tokenizer's own in SDXL's second encoder
	Embeddings []Embedding // in order of loading
}

// backtrack is how far before the end of a chunk a comma may be for what follows it to move to the next chunk.
const backtrack = 20

// Chunks gives the rows of a text, at least one. A full row ends at the last comma of its last 20 tokens; a learned word is
// never divided; BREAK ends a row.
func (w *Words) Chunks(text string) []Chunk {
	c := chunker{w: w, comma: -1, last: -1}
	if ids := w.Tokenizer.Encode(","); len(ids) == 1 {
		c.comma = ids[0]
	}
	for _, p := range Attention(text) {
		if p.Text == Break && p.Weight < 0 {
			c.next()
			continue
		}
		for _, u := range w.units(p.Text) {
			c.add(u, p.Weight)
		}
	}
	if len(c.ids) > 0 || len(c.done) == 0 {
		c.next()
	}
	return c.done
}

// Empty is the row without words, which pads prompts of fewer rows.
func (w *Words) Empty() Chunk { return w.row(nil, nil) }

// row puts start, end and padding round a chunk's tokens.
func (w *Words) row(ids []int, weights []float64) Chunk {
	c := Chunk{IDs: make([]int, 0, w.Length), Weights: make([]float64, 0, w.Length)}
	c.IDs, c.Weights = append(c.IDs, w.Tokenizer.BOS()), append(c.Weights, 1)
	c.IDs, c.Weights = append(c.IDs, ids...), append(c.Weights, weights...)
	c.IDs, c.Weights = append(c.IDs, w.Tokenizer.EOS()), append(c.Weights, 1)
	for len(c.IDs) < w.Length {
		c.IDs, c.Weights = append(c.IDs, w.Pad), append(c.Weights, 1)
	}
	return c
}

// units gives the tokens of a text; those of a learned word stay together.
func (w *Words) units(text string) (out [][]int) {
	for text != "" {
		at, e := w.find(text)
		for _, id := range w.Tokenizer.Encode(text[:at]) {
			out = append(out, []int{id})
		}
		if e == nil {
			break
		}
		ids := make([]int, e.Vectors)
		for i := range ids {
			ids[i] = e.First + i
		}
		out = append(out, ids)
		text = text[at+len(e.Name):]
	}
	return out
}

// find gives the first learned word of a text, the longest at its place, in any case; words that only contain its name are
// others.
func (w *Words) find(text string) (int, *Embedding) {
	if len(w.Embeddings) == 0 {
		return len(text), nil
	}
	order := slices.Clone(w.Embeddings)
	slices.SortStableFunc(order, func(a, b Embedding) int { return cmp.Compare(len(b.Name), len(a.Name)) })
	for at := range text {
		for _, e := range order {
			if e.Name == "" || len(text)-at < len(e.Name) || !strings.EqualFold(text[at:at+len(e.Name)], e.Name) {
				continue
			}
			if joined(text[:at], e.Name) || joined(e.Name, text[at+len(e.Name):]) {
				continue
			}
			return at, &e
		}
	}
	return len(text), nil
}

// joined says whether a ends and b begins within one word.
func joined(a, b string) bool {
	last, _ := utf8.DecodeLastRuneInString(a)
	first, _ := utf8.DecodeRuneInString(b)
	wordly := func(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	return wordly(last) && wordly(first)
}

// chunker fills rows with tokens.
type chunker struct {
	w       *Words
	comma   int // the comma's id
	last    int // place of the last comma in the row; −1 without one
	ids     []int
	weights []float64
	done    []Chunk
}

// next closes the row.
func (c *chunker) next() {
	c.done = append(c.done, c.w.row(c.ids, c.weights))
	c.ids, c.weights, c.last = nil, nil, -1
}

// add takes a unit of tokens into the row, or into the next one.
func (c *chunker) add(unit []int, weight float64) {
	room := c.w.Length - 2
	if unit[0] == c.comma {
		c.last = len(c.ids)
	} else if len(c.ids) == room && c.last != -1 && len(c.ids)-c.last <= backtrack {
		cut := c.last + 1
		ids, weights := c.ids[cut:], c.weights[cut:]
		c.ids, c.weights = c.ids[:cut], c.weights[:cut]
		c.next()
		c.ids, c.weights = slices.Clone(ids), slices.Clone(weights)
	}
	unit = unit[:min(len(unit), room)]
	if len(c.ids)+len(unit) > room {
		c.next()
	}
	c.ids = append(c.ids, unit...)
	for range unit {
		c.weights = append(c.weights, weight)
	}
}

// Weigh multiplies columns from … to of the states of one row of tokens, [len(weights) width], by the tokens' weights, and
// brings their mean back to what it was, as A1111 does for every encoder.
func Weigh(states []float32, width, from, to int, weights []float64) {
	if !slices.ContainsFunc(weights, func(w float64) bool { return w != 1 }) {
		return
	}
	var before, after float64
	for i, w := range weights {
		for k := from; k < to; k++ {
			v := float64(states[i*width+k])
			before += v
			states[i*width+k] = float32(v * w)
			after += v * w
		}
	}
	scale := before / after
	if scale-scale != 0 { // a mean of nothing cannot be brought back
		return
	}
	for i := range weights {
		for k := from; k < to; k++ {
			states[i*width+k] = float32(float64(states[i*width+k]) * scale)
		}
	}
}
