package tokenize

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// clean does what transformers' BasicTokenizer does to text: invalid and control characters go, white space becomes single
// spaces, CJK ideographs stand alone, NFC, lower case. Accents stay.
func clean(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == ' ' || r == '\t' || r == '\n' || r == '\r' || unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case r == 0 || r == unicode.ReplacementChar || unicode.Is(unicode.C, r) || unicode.Is(unicode.Cn, r):
		case isIdeograph(r):
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	words := strings.Fields(norm.NFC.String(b.String()))
	for i, w := range words {
		words[i] = lower(w)
	}
	return strings.Join(words, " ")
}

// isIdeograph tells the CJK blocks that are split character by character.
func isIdeograph(r rune) bool {
	switch {
	case r >= 0x4e00 && r <= 0x9fff, r >= 0x3400 && r <= 0x4dbf, r >= 0xf900 && r <= 0xfaff:
		return true
	case r >= 0x20000 && r <= 0x2ceaf, r >= 0x2f800 && r <= 0x2fa1f: // extensions B to E, and the supplement
		return true
	}
	return false
}

// lower is Unicode's full lower-casing, which differs from rune by rune in two letters: İ becomes i with a dot above, and Σ
// ends a word as ς.
func lower(word string) string {
	if !strings.ContainsAny(word, "İΣ") {
		return strings.ToLower(word)
	}
	runes := []rune(word)
	var b strings.Builder
	for i, r := range runes {
		switch {
		case r == 'İ':
			b.WriteString("i̇")
		case r == 'Σ' && endsWord(runes, i):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// endsWord is Unicode's Final_Sigma condition (Standard, table 3-17): a cased letter before, none after, looking past what
// is case-ignorable.
func endsWord(runes []rune, i int) bool {
	before, after := i-1, i+1
	for before >= 0 && caseIgnorable(runes[before]) {
		before--
	}
	for after < len(runes) && caseIgnorable(runes[after]) {
		after++
	}
	return before >= 0 && cased(runes[before]) && !(after < len(runes) && cased(runes[after]))
}

func cased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune("'.:··՟״‘’․‧︓︐﹒﹕＇．：", r)
}

// contractions are split from the word they follow.
var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// split cuts clean text into CLIP's pieces: special tokens, contractions, runs of letters, single digits, runs of anything
// else that isn't space.
func split(text string) []string {
	var pieces []string
	for text != "" {
		if text[0] == ' ' {
			text = text[1:]
			continue
		}
		n := pieceLen(text)
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// pieceLen is the length in bytes of the piece that text begins with.
func pieceLen(text string) int {
	for _, s := range []string{startOfText, endOfText} {
		if strings.HasPrefix(text, s) {
			return len(s)
		}
	}
	if text[0] == '\'' {
		for _, c := range contractions {
			if strings.HasPrefix(text, c) {
				return len(c)
			}
		}
		if strings.HasPrefix(text, "'ſ") { // the long s folds to s, and is lower case already
			return len("'ſ")
		}
	}
	kind := 0
	for i, r := range text {
		k := kindOf(r)
		switch {
		case i == 0 && k == digit:
			return len(string(r))
		case i == 0:
			kind = k
		case k != kind:
			return i
		}
	}
	return len(text)
}

const (
	letter = iota
	digit
	space
	other
)

func kindOf(r rune) int {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.Is(unicode.N, r):
		return digit
	case unicode.IsSpace(r):
		return space
	}
	return other
}
