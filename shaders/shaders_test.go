package shaders

import (
	"strings"
	"testing"
	"testing/fstest"
)

func lib(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func TestSourceExpands(t *testing.T) {
	fsys := lib(map[string]string{
		"a.comp":         "// a\n#include \"x.glsl\"\n#include \"y.glsl\"\nvoid main() {}\n",
		"include/x.glsl": "#include \"y.glsl\"\nint x;\n",
		"include/y.glsl": "int y;\n",
	})
	got, err := source(fsys, "a", map[string]string{"N": "4", "A": "x+1"})
	if err != nil {
		t.Fatal(err)
	}
	want := `#version 430 core
#define A x+1
#define N 4
#line 1 0
// a
#line 1 1
#line 1 2
int y;
#line 2 1
int x;
#line 3 0
#line 4 0
void main() {}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSourceIsStrict(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"unknown include":   {"\n#include \"no.glsl\"\n", "shaders/a.comp:2: there is no shaders/include/no.glsl"},
		"include form":      {"#include <x>\n", "shaders/a.comp:1: #include wants a name in quotes"},
		"unknown directive": {"int a;\n\n#defien N 4\n", "shaders/a.comp:3: unknown directive #defien"},
		"version":           {"#version 450\n", "unknown directive #version"},
		"open if":           {"#if 1\n", "an #if has no #endif"},
		"extra endif":       {"#endif\n", "shaders/a.comp:1: #endif without #if"},
		"leaves the folder": {"#include \"../../a.comp\"\n", "there is no shaders/"},
	}
	for name, c := range cases {
		_, err := source(lib(map[string]string{"a.comp": c.text}), "a", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := source(lib(nil), "a", nil); err == nil || !strings.Contains(err.Error(), "there is no shaders/a.comp") {
		t.Errorf("missing shader: %v", err)
	}
	for _, bad := range []map[string]string{{"1N": "4"}, {"N": "4\nint x;"}, {"gl_X": "1"}} {
		if _, err := source(lib(map[string]string{"a.comp": ""}), "a", bad); err == nil {
			t.Errorf("define %v was accepted", bad)
		}
	}
}

func TestCommentsHideDirectives(t *testing.T) {
	text := "/* one\n#nonsense\n*/ int a; // #b /*\n# define X 1\n"
	if _, err := source(lib(map[string]string{"a.comp": text}), "a", nil); err != nil {
		t.Error(err)
	}
}

func TestMapLog(t *testing.T) {
	list := []string{"a.comp", "include/x.glsl"}
	for in, want := range map[string]string{
		"0:12(5): error: bad":       "shaders/a.comp:12: error: bad",
		"1(7) : error C1008: bad":   "shaders/include/x.glsl:7: error C1008: bad",
		"ERROR: 1:3: 'q' : unknown": "ERROR: shaders/include/x.glsl:3: 'q' : unknown",
		"9:1(1): error: elsewhere":  "9:1(1): error: elsewhere",
	} {
		if got := mapLog(list, in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Every shader in the package must expand, and its files must be listed in the order of their numbers.
func TestAllShadersExpand(t *testing.T) {
	for _, name := range Names() {
		text, err := Source(name, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		list, err := Files(name)
		if err != nil || len(list) == 0 || list[0] != name+".comp" {
			t.Errorf("%s: files %v, %v", name, list, err)
		}
		if !strings.Contains(text, "void main(") {
			t.Errorf("%s has no main", name)
		}
	}
}
