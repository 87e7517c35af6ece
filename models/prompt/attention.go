// Package prompt reads the little language that people write prompts in, as A1111's Stable Diffusion web UI defined it, and
// turns a prompt into the rows of tokens that text encoders take. In the order in which a prompt goes through it:
//
//	Expand     __file__ and {a|b}: one choice, by the picture's seed
//	LoRAs      <lora:name:0.8>, taken out of the text
//	Schedule   [from:to:0.5] and [a|b]: which text holds at which step
//	Attention  (more), [less], (x:1.3), BREAK: pieces of text with weights
//	Chunks     75 tokens at a time, with their weights
//
// Any text is a prompt: what is not syntax is words.
package prompt

import (
	"regexp"
	"strconv"
	"strings"
)

// Piece is a run of text of one weight. A Break is the word BREAK with the weight −1: the next piece begins a new chunk.
type Piece struct {
	Text   string
	Weight float64
}

// Break is the piece that BREAK becomes.
const Break = "BREAK"

// attention is a token of the syntax of weights; its first group is the number of "(text:number)".
var attention = regexp.MustCompile(`\\\(|\\\)|\\\[|\\\]|\\\\|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|\]|[^\\()\[\]:]+|:`)

var breaks = regexp.MustCompile(`\s*\bBREAK\b\s*`)

// Attention splits a text into pieces: (x) multiplies the weight by 1.1, [x] divides it, (x:1.3) multiplies it by 1.3, all
// of them nest, and a backslash makes the next bracket or backslash a character. Brackets that are never closed hold to
// the end. An empty text is one empty piece.
func Attention(text string) []Piece {
	var pieces []Piece
	var round, square []int // where the open brackets began
	scale := func(from int, by float64) {
		for i := from; i < len(pieces); i++ {
			pieces[i].Weight *= by
		}
	}
	pop := func(stack *[]int) int {
		last := len(*stack) - 1
		at := (*stack)[last]
		*stack = (*stack)[:last]
		return at
	}
	const more, less = 1.1, 1 / 1.1
	for _, m := range attention.FindAllStringSubmatchIndex(text, -1) {
		token := text[m[0]:m[1]]
		weight, isWeight := 0.0, false
		if m[2] >= 0 {
			w, err := strconv.ParseFloat(text[m[2]:m[3]], 64)
			weight, isWeight = w, err == nil && w-w == 0
		}
		switch {
		case token[0] == '\\':
			pieces = append(pieces, Piece{token[1:], 1})
		case token == "(":
			round = append(round, len(pieces))
		case token == "[":
			square = append(square, len(pieces))
		case isWeight && len(round) > 0:
			scale(pop(&round), weight)
		case token == ")" && len(round) > 0:
			scale(pop(&round), more)
		case token == "]" && len(square) > 0:
			scale(pop(&square), less)
		default:
			for i, part := range breaks.Split(token, -1) {
				if i > 0 {
					pieces = append(pieces, Piece{Break, -1})
				}
				pieces = append(pieces, Piece{part, 1})
			}
		}
	}
	unclosed(pieces, round, more)
	unclosed(pieces, square, less)
	if len(pieces) == 0 {
		return []Piece{{"", 1}}
	}
	return merge(pieces)
}

// unclosed multiplies the pieces by a factor for each bracket that is open before them; the brackets' places ascend. The powers
// are shared, for thousands of brackets may be open.
func unclosed(pieces []Piece, open []int, by float64) {
	power := 1.0
	for i := range pieces {
		for ; len(open) > 0 && open[0] == i; open = open[1:] {
			power *= by
		}
		pieces[i].Weight *= power
	}
}

// merge joins neighbours of equal weight.
func merge(pieces []Piece) []Piece {
	var out []Piece
	var run strings.Builder
	for i, p := range pieces {
		run.WriteString(p.Text)
		if i+1 == len(pieces) || pieces[i+1].Weight != p.Weight {
			out = append(out, Piece{run.String(), p.Weight})
			run.Reset()
		}
	}
	return out
}
