// Package shaders holds the compute shaders and puts their sources together: version, defines, includes.
//
// The preprocessor is strict, so that a typing error is found here, with its file and line, and not by one of many drivers.
package shaders

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

//go:embed *.comp include/*.glsl
var files embed.FS

// Source is the complete text of shaders/<name>.comp for OpenGL 4.3: the version, a #define per entry of defines (sorted, so
// that equal defines give equal text), then the file with each #include "x.glsl" (from shaders/include) expanded at its first
// mention. #line directives number the files as Files lists them. Errors name file and line.
func Source(name string, defines map[string]string) (string, error) {
	return source(files, name, defines)
}

// Files lists what Source(name, …) puts together, in the order of the file numbers in compilers' logs.
func Files(name string) ([]string, error) {
	e := expander{fsys: files, seen: map[string]bool{}}
	err := e.file(name+".comp", &strings.Builder{})
	return e.files, err
}

// Names lists all shaders, sorted, without ".comp".
func Names() []string {
	all, _ := fs.Glob(files, "*.comp")
	for i, f := range all {
		all[i] = strings.TrimSuffix(f, ".comp")
	}
	sort.Strings(all)
	return all
}

// Digest identifies the shaders as a whole: the SHA-256 of every file's name and text, in hexadecimal.
func Digest() string {
	h := sha256.New()
	fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			text, _ := files.ReadFile(name)
			fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil))
}

// logPlace matches where a compiler's message points, at the start of a line: "0:12(5):" (Mesa), "0(12) :" (NVIDIA) and
// "ERROR: 0:12:" (AMD, Intel, Apple).
var logPlace = regexp.MustCompile(`(?m)^((?:ERROR|WARNING): )?(\d+)(?::(\d+)(?:\(\d+\))?|\((\d+)\)) ?:`)

// MapLog rewrites the places in a compiler's log for shader name from file numbers to "shaders/x.comp:12:".
func MapLog(name, log string) string {
	list, err := Files(name)
	if err != nil {
		return log
	}
	return mapLog(list, log)
}

func mapLog(list []string, log string) string {
	return logPlace.ReplaceAllStringFunc(log, func(s string) string {
		m := logPlace.FindStringSubmatch(s)
		i, err := strconv.Atoi(m[2])
		if err != nil || i >= len(list) {
			return s
		}
		return m[1] + "shaders/" + list[i] + ":" + m[3] + m[4] + ":"
	})
}

// identifier is what a define may be called; GLSL reserves names with two underscores in a row and those that begin with gl_.
var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

func source(fsys fs.FS, name string, defines map[string]string) (string, error) {
	var b strings.Builder
	b.WriteString("#version 430 core\n")
	keys := make([]string, 0, len(defines))
	for k, v := range defines {
		if !identifier.MatchString(k) || strings.HasPrefix(k, "gl_") || strings.Contains(k, "__") || strings.ContainsAny(v, "\n\\") {
			return "", fmt.Errorf("shaders: %s: define %q as %q is not possible", name, k, v)
		}
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, "#define %s %s\n", k, defines[k])
	}
	e := expander{fsys: fsys, seen: map[string]bool{}}
	if err := e.file(name+".comp", &b); err != nil {
		return "", err
	}
	return b.String(), nil
}

// directives that pass through to the driver's own preprocessor.
var passed = map[string]bool{"define": true, "undef": true, "if": true, "ifdef": true, "ifndef": true, "elif": true, "else": true, "endif": true, "error": true, "extension": true}

// directive matches a preprocessor line: its name and the rest.
var directive = regexp.MustCompile(`^\s*#\s*(\w*)\s*(.*?)\s*$`)

// included matches an include's operand.
var included = regexp.MustCompile(`^"([A-Za-z0-9_./]+)"$`)

type expander struct {
	fsys  fs.FS
	files []string // by number
	seen  map[string]bool
}

// file appends one file with its includes.
func (e *expander) file(name string, b *strings.Builder) error {
	text, err := fs.ReadFile(e.fsys, name)
	if err != nil {
		return fmt.Errorf("shaders: there is no shaders/%s", name)
	}
	number := len(e.files)
	e.files = append(e.files, name)
	e.seen[name] = true
	fmt.Fprintf(b, "#line 1 %d\n", number)
	depth := 0
	comment := false
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		where := fmt.Sprintf("shaders/%s:%d", name, i+1)
		var m []string
		if !comment {
			m = directive.FindStringSubmatch(line)
		}
		if m == nil {
			comment = openComment(line, comment)
			b.WriteString(line + "\n")
			continue
		}
		switch m[1] {
		case "if", "ifdef", "ifndef":
			depth++
		case "endif":
			depth--
		}
		if depth < 0 {
			return fmt.Errorf("%s: #endif without #if", where)
		}
		switch {
		case m[1] == "include":
			if err := e.include(m[2], where, b); err != nil {
				return err
			}
			fmt.Fprintf(b, "#line %d %d\n", i+2, number)
		case passed[m[1]]:
			b.WriteString(line + "\n")
			comment = openComment(line, comment)
		default:
			return fmt.Errorf("%s: unknown directive #%s", where, m[1])
		}
	}
	if depth != 0 {
		return fmt.Errorf("shaders/%s: an #if has no #endif", name)
	}
	return nil
}

func (e *expander) include(operand, where string, b *strings.Builder) error {
	m := included.FindStringSubmatch(operand)
	if m == nil {
		return fmt.Errorf("%s: #include wants a name in quotes, not %s", where, operand)
	}
	name := path.Join("include", m[1])
	if e.seen[name] {
		return nil
	}
	if _, err := fs.Stat(e.fsys, name); err != nil {
		return fmt.Errorf("%s: there is no shaders/%s to include", where, name)
	}
	return e.file(name, b)
}

// openComment reports whether a /* comment is open after line.
func openComment(line string, open bool) bool {
	for line != "" {
		if open {
			_, rest, closed := strings.Cut(line, "*/")
			if !closed {
				return true
			}
			open, line = false, rest
			continue
		}
		start, end := strings.Index(line, "/*"), strings.Index(line, "//")
		if start < 0 || end >= 0 && end < start {
			return false
		}
		open, line = true, line[start+2:]
	}
	return open
}
