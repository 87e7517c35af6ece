package kit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sentence makes an error's text begin with a capital and end with a full stop.
func Sentence(err error) string {
	text := strings.TrimSpace(err.Error())
	if text == "" {
		return "Something went wrong without saying what."
	}
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if last := text[len(text)-1]; last != '.' && last != '!' && last != '?' {
		text += "."
	}
	return text
}

// WholePath is a path that a person typed, with ~ written out. One that depends on where the program was started is an error.
func WholePath(typed string) (string, error) {
	typed = strings.TrimSpace(typed)
	if home, err := os.UserHomeDir(); err == nil && (typed == "~" || strings.HasPrefix(typed, "~/")) {
		typed = filepath.Join(home, strings.TrimPrefix(typed, "~"))
	}
	if !filepath.IsAbs(typed) {
		return "", fmt.Errorf("give the whole path, from the root of the disk: %q could be anywhere", typed)
	}
	return typed, nil
}
