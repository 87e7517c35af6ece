package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// floors is the house: a package may import packages of lower floors only, and of its own floor where siblings says so.
// The first matching pattern holds.
var floors = []struct {
	pattern  string
	floor    int
	siblings bool
}{
	{"app", 6, false},
	{"ui", 5, true},
	{"ui/*", 5, true},
	{"app/*", 4, true},
	{"models/pipeline", 3, false},
	{"models/parity", 3, false},
	{"models/catalog", 2, true}, // the one model package that may know every family
	{"models/nn", 1, true},      // reads checkpoints
	{"models/ldm", 1, true},     // reads checkpoints
	{"models/checkpoint", 1, false},
	{"models/tokenize", 1, false},
	{"models/diffusion", 1, false},
	{"models/*", 2, false},
	{"compute/computetest", 1, false},
	{"compute/host/vector", 0, false}, // arithmetic on slices
	{"compute/*", 1, false},
	{"compute", 0, false},
	{"shaders", 0, false},
	{"assets", 0, false},
	{"assets/*", 0, false},
	{"render/*", 0, false},
}

// owners are the packages that alone may import a foreign library; everybody above reaches it through them.
var owners = map[string][]string{
	"fyne.io/":                   {"ui", "ui/*"},
	"github.com/go-gl/":          {"compute/opengl"},
	"gorgonia.org/":              {"compute/host"},
	"github.com/ebitengine/oto":  {"render/audio"},
	"github.com/alecthomas/kong": {"app"},
	"gonum.org/":                 {"models/judge"},
}

type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImportsGoDownwards(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "atelier/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	count := 0
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		count++
		checkPackage(t, p)
	}
	if count < 10 {
		t.Fatalf("go list found %d packages", count)
	}
}

func checkPackage(t *testing.T, p pkg) {
	from := strings.TrimPrefix(p.ImportPath, "atelier/")
	floor, siblings := floorOf(from)
	if floor < 0 {
		t.Errorf("%s stands on no floor: add a row to floors", from)
		return
	}
	for _, imp := range p.Imports {
		for prefix, who := range owners {
			if strings.HasPrefix(imp, prefix) && !slices.ContainsFunc(who, func(w string) bool { return match(w, from) }) {
				t.Errorf("%s imports %s, which belongs to %v", from, imp, who)
			}
		}
		to, ours := strings.CutPrefix(imp, "atelier/")
		if !ours {
			continue
		}
		below, _ := floorOf(to)
		if below > floor || below == floor && !siblings {
			t.Errorf("%s (floor %d) imports %s (floor %d)", from, floor, to, below)
		}
	}
}

func floorOf(name string) (int, bool) {
	for _, f := range floors {
		if match(f.pattern, name) {
			return f.floor, f.siblings
		}
	}
	return -1, false
}

func match(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok
}

func TestTopLevelIsTheHouse(t *testing.T) {
	out, err := exec.Command("git", "-C", "..", "ls-files").Output()
	if err != nil {
		t.Skip("not a git checkout")
	}
	allowed := []string{"app", "ui", "render", "compute", "models", "shaders", "assets", "go.mod", "go.sum", "FyneApp.toml", "README.md", "LICENSE", "Makefile"}
	for line := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(line), "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(allowed, top) {
			t.Errorf("%s does not belong at the top level", top)
		}
	}
}
