package tokenize

// Ids of CLIP's own vocabulary (Radford et al. 2021): 256 bytes, 256 that end a word, 48,894 merges and two marks.
const (
	originalSize  = 256 + 256 + openMerges + 2
	originalA     = 320 // "a</w>"
	originalThe   = 518 // "the</w>"
	originalStart = originalSize - 2
	originalEnd   = originalSize - 1
)

// IsOriginal reports whether the vocabulary is the one that OpenAI trained CLIP with, which the text encoders of Stable Diffusion read
// too: as many tokens as ids, and well-known ones where they belong.
func (t *Tokenizer) IsOriginal() bool {
	if len(t.vocab) != originalSize || t.size != originalSize {
		return false
	}
	for token, id := range map[string]int{"!": 0, "!" + wordEnd: 256, "a" + wordEnd: originalA, "the" + wordEnd: originalThe, startOfText: originalStart, endOfText: originalEnd} {
		if got, ok := t.vocab[token]; !ok || got != id {
			return false
		}
	}
	return true
}
