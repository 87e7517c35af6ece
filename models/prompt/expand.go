package prompt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"regexp"
	"slices"
	"strings"
)

const (
	mostNested   = 16      // wildcard files that name wildcard files
	maxWildcards = 4 << 20 // bytes of a wildcard file
)

var wildcard = regexp.MustCompile(`__([A-Za-z0-9](?:[\w./-]*?[A-Za-z0-9])??)__`)

// Expand chooses one of every {a|b} and one line of the file of every __file__, by the picture's seed; stream tells apart the
// prompts of one picture. {a|b} nests; {a} without a | stays as it is, and so does a brace after a backslash. __colour__ is a
// line of colour.txt in the folder wildcards, __animals/cat__ one of animals/cat.txt; empty lines and those that begin with #
// don't count. Without a folder, __colour__ stays as it is.
func Expand(text string, seed, stream uint64, wildcards fs.FS) (string, error) {
	if len(text) > maxText {
		return "", fmt.Errorf("the prompt that begins %.40q has %d bytes, and at most %d are read: shorten it", text, len(text), maxText)
	}
	e := expander{dice: rand.New(rand.NewPCG(seed, stream)), files: wildcards}
	return e.expand(text, 0)
}

type expander struct {
	dice  *rand.Rand
	files fs.FS
}

func (e *expander) expand(text string, depth int) (string, error) {
	text = e.choose(text)
	if e.files == nil {
		return text, nil
	}
	var b strings.Builder
	at := 0
	for _, m := range wildcard.FindAllStringSubmatchIndex(text, -1) {
		if depth == mostNested {
			return "", fmt.Errorf("the wildcard %.60q names wildcards that name wildcards, more than %d deep; break the circle", text[m[0]:m[1]], mostNested)
		}
		line, err := e.line(text[m[2]:m[3]])
		if err == nil {
			line, err = e.expand(line, depth+1)
		}
		if err != nil {
			return "", err
		}
		b.WriteString(text[at:m[0]])
		b.WriteString(line)
		if at = m[1]; b.Len() > maxText {
			return "", fmt.Errorf("the prompt's wildcards make more than %d bytes of text", maxText)
		}
	}
	b.WriteString(text[at:])
	return b.String(), nil
}

// line draws a line of a wildcard file.
func (e *expander) line(name string) (string, error) {
	file := name + ".txt"
	if !fs.ValidPath(file) {
		return "", fmt.Errorf("the wildcard __%.60s__ is not the name of a file in the folder of wildcards", name)
	}
	info, err := fs.Stat(e.files, file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("the prompt names the wildcard __%.60s__, and the folder of wildcards has no file %s%s", name, file, e.others(path.Dir(file)))
		}
		return "", fmt.Errorf("the wildcard file %s cannot be read: %w", file, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxWildcards {
		return "", fmt.Errorf("the wildcard file %s is not a text file of at most %d MB", file, maxWildcards>>20)
	}
	data, err := fs.ReadFile(e.files, file)
	if err != nil {
		return "", fmt.Errorf("the wildcard file %s cannot be read: %w", file, err)
	}
	var lines []string
	scanner := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	scanner.Buffer(nil, maxWildcards)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); err != nil {
		return "", fmt.Errorf("the wildcard file %s cannot be read: %w", file, err)
	}
	if len(lines) == 0 {
		return "", fmt.Errorf("the wildcard file %s has no lines to choose from", file)
	}
	return lines[e.dice.IntN(len(lines))], nil
}

// others says which wildcards a folder has.
func (e *expander) others(dir string) string {
	found, err := fs.Glob(e.files, path.Join(dir, "*.txt"))
	if err != nil || len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	more := ""
	if len(found) > 8 {
		found, more = found[:8], " …"
	}
	return "; it has " + strings.Join(found, ", ") + more
}

// choose resolves {a|b}, the innermost first.
func (e *expander) choose(text string) string {
	if len(text) > maxText || !strings.Contains(text, "{") {
		return text
	}
	out := make([]byte, 0, len(text))
	type open struct {
		at   int // of the brace in out
		bars []int
	}
	var stack []open
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			out = append(out, c, text[i+1])
			i++
			continue
		case c == '{':
			stack = append(stack, open{at: len(out)})
		case c == '|' && len(stack) > 0:
			top := &stack[len(stack)-1]
			top.bars = append(top.bars, len(out))
		case c == '}' && len(stack) > 0:
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if len(top.bars) > 0 {
				pick := e.dice.IntN(len(top.bars) + 1)
				from, to := top.at+1, len(out)
				if pick > 0 {
					from = top.bars[pick-1] + 1
				}
				if pick < len(top.bars) {
					to = top.bars[pick]
				}
				out = append(out[:top.at], out[from:to]...)
				continue
			}
		}
		out = append(out, c)
	}
	return string(out)
}
