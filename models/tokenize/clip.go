// Package tokenize turns words into the token ids that text encoders know.
//
// The tokenizer is CLIP's byte-level BPE (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
// Supervision"; byte alphabet of GPT-2), with the text cleaning that transformers' CLIPTokenizer applies where ftfy is absent.
package tokenize

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

const (
	startOfText = "<|startoftext|>"
	endOfText   = "<|endoftext|>"
	wordEnd     = "</w>"

	defaultMaxLength = 77 // of every CLIP that OpenAI and OpenCLIP published
	maxMaxLength     = 1 << 16
	cacheWords       = 1 << 12
)

// Tokenizer encodes text. It may be used from several goroutines.
type Tokenizer struct {
	vocab     map[string]int // token → id
	size      int            // largest id + 1
	symbols   map[string]int32
	spelling  []string // symbol → token
	ids       []int    // symbol → id, the unknown id where the vocabulary lacks it
	merges    map[[2]int32]merge
	special   []specialToken // longest first
	bos, eos  int
	pad       int
	unknown   int
	maxLength int

	mu    sync.Mutex
	cache map[string][]int // of short words, dropped when full
}

// merge joins two symbols into result; a lower rank goes first.
type merge struct{ rank, result int32 }

type specialToken struct {
	text string
	id   int
}

// MaxLength is the number of ids that EncodePadded gives, such as 77.
func (t *Tokenizer) MaxLength() int { return t.maxLength }

// Vocab is the number of rows that an embedding of all ids needs: the largest id + 1.
func (t *Tokenizer) Vocab() int { return t.size }

// BOS, EOS and Pad are the ids that EncodePadded puts around and after the text.
func (t *Tokenizer) BOS() int { return t.bos }
func (t *Tokenizer) EOS() int { return t.eos }
func (t *Tokenizer) Pad() int { return t.pad }

// Token is the spelling of an id, "" for an id outside the vocabulary. A word's last token ends in "</w>".
func (t *Tokenizer) Token(id int) string {
	for token, have := range t.vocab {
		if have == id {
			return token
		}
	}
	return ""
}

// Encode gives the ids of text, without start, end or padding. Special tokens that are spelled out in the text, such as
// "<|endoftext|>", become their ids, as in transformers.
func (t *Tokenizer) Encode(text string) []int { return t.encode(text, -1) }

// EncodePadded gives MaxLength ids: start, text, end, padding. Text that is too long loses its tail; the end token stays.
func (t *Tokenizer) EncodePadded(text string) []int {
	ids := make([]int, 0, t.maxLength)
	ids = append(ids, t.bos)
	ids = append(ids, t.encode(text, t.maxLength-2)...)
	ids = append(ids, t.eos)
	for len(ids) < t.maxLength {
		ids = append(ids, t.pad)
	}
	return ids
}

// encode stops after limit ids; a negative limit is none.
func (t *Tokenizer) encode(text string, limit int) []int {
	ids := []int{}
	for text != "" {
		at, token := t.nextSpecial(text)
		for _, word := range split(clean(text[:at])) {
			ids = append(ids, t.word(word)...)
			if limit >= 0 && len(ids) >= limit {
				return ids[:limit]
			}
		}
		if token.text == "" {
			break
		}
		ids = append(ids, token.id)
		text = text[at+len(token.text):]
	}
	if limit >= 0 && len(ids) > limit {
		ids = ids[:limit]
	}
	return ids
}

// nextSpecial finds the leftmost special token, the longest at that place; without one, it gives the text's length.
func (t *Tokenizer) nextSpecial(text string) (int, specialToken) {
	at, found := len(text), specialToken{}
	for _, s := range t.special {
		if i := strings.Index(text, s.text); i >= 0 && i < at {
			at, found = i, s
		}
	}
	return at, found
}

// word gives the ids of one piece of split text.
func (t *Tokenizer) word(w string) []int {
	if w == startOfText || w == endOfText { // in capitals, or uncovered by cleaning
		return []int{t.vocab[w]}
	}
	t.mu.Lock()
	ids, ok := t.cache[w]
	t.mu.Unlock()
	if ok {
		return ids
	}
	symbols := make([]int32, len(w))
	for i := range len(w) {
		symbols[i] = t.symbols[byteSymbol[w[i]]]
	}
	symbols[len(w)-1] = t.symbols[byteSymbol[w[len(w)-1]]+wordEnd]
	for _, s := range t.join(symbols) {
		ids = append(ids, t.ids[s])
	}
	if len(w) <= 64 {
		t.mu.Lock()
		if len(t.cache) >= cacheWords {
			clear(t.cache)
		}
		t.cache[w] = ids
		t.mu.Unlock()
	}
	return ids
}

// byteSymbol spells each byte as one printable character: itself where it is printable in Latin-1, else the next free
// character from U+0100 on, in byte order (GPT-2's alphabet).
var byteSymbol = func() (table [256]string) {
	next := rune(256)
	for b := range table {
		if printable(b) {
			table[b] = string(rune(b))
		} else {
			table[b] = string(next)
			next++
		}
	}
	return table
}()

func printable(b int) bool {
	return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae && b <= 0xff
}

// byteOrder lists the byte symbols as the published vocabulary numbers them: printable bytes first.
func byteOrder() (order []string) {
	for _, want := range []bool{true, false} {
		for b := range 256 {
			if printable(b) == want {
				order = append(order, byteSymbol[b])
			}
		}
	}
	return order
}

// intern gives the number of a symbol, a new one where it is unseen.
func (t *Tokenizer) intern(token string) int32 {
	if s, ok := t.symbols[token]; ok {
		return s
	}
	s := int32(len(t.spelling))
	t.symbols[token] = s
	t.spelling = append(t.spelling, token)
	return s
}

// build finishes a tokenizer from its vocabulary, its merges in order of rank, and the named special tokens.
func build(vocab map[string]int, pairs [][2]string, config config) (*Tokenizer, error) {
	t := &Tokenizer{vocab: vocab, symbols: map[string]int32{}, merges: make(map[[2]int32]merge, len(pairs)), cache: map[string][]int{}}
	for _, id := range vocab {
		t.size = max(t.size, id+1)
	}
	for _, b := range byteSymbol {
		t.intern(b)
		t.intern(b + wordEnd)
	}
	for rank, p := range pairs {
		a, b := t.intern(p[0]), t.intern(p[1])
		t.merges[[2]int32{a, b}] = merge{int32(rank), t.intern(p[0] + p[1])}
	}
	for _, s := range []struct {
		what, text string
		id         *int
	}{{"start", config.bos, &t.bos}, {"end", config.eos, &t.eos}, {"unknown", config.unk, &t.unknown}, {"padding", config.pad, &t.pad}} {
		id, ok := vocab[s.text]
		if !ok || s.text == "" {
			return nil, fmt.Errorf("the vocabulary lacks the %s token %q", s.what, s.text)
		}
		*s.id = id
		if token := (specialToken{s.text, id}); !slices.Contains(t.special, token) {
			t.special = append(t.special, token)
		}
	}
	slices.SortStableFunc(t.special, func(a, b specialToken) int { return len(b.text) - len(a.text) })
	t.ids = make([]int, len(t.spelling))
	for s, token := range t.spelling {
		id, ok := vocab[token]
		if !ok {
			id = t.unknown
		}
		t.ids[s] = id
	}
	t.maxLength = config.maxLength
	return t, nil
}
