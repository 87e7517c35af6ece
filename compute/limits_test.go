package compute_test

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/compute/computetest"
	"atelier/shaders"
)

// What every driver of OpenGL 4.3 gives, and what the engine asks for at most: GPUs are not here to test on. One of the 16
// texture units is kept for making views.
const (
	portableReads       = 15
	portableWrites      = 8
	portableInvocations = 256
	portableShared      = 32 << 10
)

// portable is a device of the least that graphics processors have.
var portable = compute.Limits{Shaders: true, Groups: [3]int{65535, 65535, 65535}, SharedBytes: portableShared,
	Invocations: portableInvocations, StorageBytes: 128 << 20, TextureTexels: 1 << 27}

// TestPortableLaunches: each launch of each case, in each form, keeps within portable limits.
func TestPortableLaunches(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range computetest.Cases() {
		y, err := c.Tensor()
		if err != nil {
			t.Fatal(err)
		}
		y.Graph().Output("y", y)
		p, err := y.Graph().Compile(portable)
		if err != nil {
			t.Errorf("%v: %v", &c, err)
			continue
		}
		for _, s := range p.Steps {
			for i := range s.Launches {
				l := &s.Launches[i]
				if len(l.Reads) > portableReads || len(l.Writes) > portableWrites {
					t.Errorf("%v: %s has %d reads and %d writes", &c, l.Shader, len(l.Reads), len(l.Writes))
				}
				forms := l.Forms
				if len(forms) == 0 {
					forms = []compute.Form{{Groups: l.Groups}}
				}
				for _, f := range forms {
					for axis, n := range f.Groups {
						if n < 1 || n > portable.Groups[axis] {
							t.Errorf("%v: %s wants %v workgroups", &c, l.Key(&f), f.Groups)
						}
					}
					if key := l.Key(&f); !seen[key] {
						seen[key] = true
						if err := workgroup(l, f); err != nil {
							t.Errorf("%v: %s: %v", &c, key, err)
						}
					}
				}
			}
		}
	}
}

var (
	localSize  = regexp.MustCompile(`layout\(local_size_x = (\d+)\) in;`)
	sharedLine = regexp.MustCompile(`(?m)^shared (float|vec4) (.*);`)
	sharedName = regexp.MustCompile(`\w+((?:\[[^\]]+\])+)`)
	number     = regexp.MustCompile(`(?m)^(?:#define|const int) (\w+)(?: =)? (\d+);?$`)
)

// workgroup checks the size and shared memory of a launch's workgroups in the text of its shader. Branches of the
// preprocessor are not followed: it is enough that all of them together fit.
func workgroup(l *compute.Launch, f compute.Form) error {
	defines := map[string]string{}
	maps.Copy(defines, l.Defines)
	maps.Copy(defines, f.Defines)
	text, err := shaders.Source(l.Shader, defines)
	if err != nil {
		return err
	}
	sizes := localSize.FindAllStringSubmatch(text, -1)
	if len(sizes) == 0 {
		return fmt.Errorf("it gives its workgroups no size")
	}
	for _, m := range sizes {
		if n, _ := strconv.Atoi(m[1]); n > portableInvocations {
			return fmt.Errorf("a workgroup has %d invocations", n)
		}
	}
	numbers := map[string]int{}
	for _, m := range number.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[2])
		numbers[m[1]] = max(n, numbers[m[1]])
	}
	bytes := 0
	for _, line := range sharedLine.FindAllStringSubmatch(text, -1) {
		for _, name := range sharedName.FindAllStringSubmatch(line[2], -1) {
			n := map[string]int{"float": 4, "vec4": 16}[line[1]]
			for _, factor := range strings.FieldsFunc(name[1], func(r rune) bool { return strings.ContainsRune("[]* ", r) }) {
				v, err := strconv.Atoi(factor)
				if err != nil {
					v = numbers[factor]
				}
				if n *= v; n == 0 && f.Name != "direct" && f.Name != "invocation" {
					return fmt.Errorf("shared memory of an unknown extent %s", factor)
				}
			}
			bytes += n
		}
	}
	if strings.Count(text, "\nshared ") != len(sharedLine.FindAllString(text, -1)) {
		return fmt.Errorf("shared memory of another type than float and vec4")
	}
	if bytes > portableShared {
		return fmt.Errorf("a workgroup shares %d bytes", bytes)
	}
	return nil
}

// TestPortableWorkgroups: the check finds what is too large.
func TestPortableWorkgroups(t *testing.T) {
	l := &compute.Launch{Shader: "attention", Defines: map[string]string{"QUADS": "32"}}
	form := func(keys string) compute.Form {
		return compute.Form{Name: "shared", Defines: map[string]string{"TILE_SHARED": "1", "KEYS": keys}}
	}
	if err := workgroup(l, form("16")); err != nil {
		t.Errorf("16 KiB: %v", err)
	}
	if err := workgroup(l, form("40")); err == nil || !strings.Contains(err.Error(), "shares 40960 bytes") {
		t.Errorf("40 KiB: %v", err)
	}
}

// TestSmallLimits: a device with the least that OpenGL 4.3 promises is told no in one sentence, before anything runs.
func TestSmallLimits(t *testing.T) {
	small := portable
	small.TextureTexels = 65536
	build := func(side int) error {
		g := compute.NewGraph()
		x := g.Input("x", 1, side, side, 16)
		g.Output("y", compute.Conv2D(x, g.Const("w", make([]float32, 16*9*16), 16, 3, 3, 16), compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}}))
		_, err := g.Compile(small)
		return err
	}
	if err := build(128); err != nil { // 65,536 texels exactly
		t.Errorf("128 × 128: %v", err)
	}
	err := build(129)
	if want := "compute: conv2d: an operand of 1.1 MB is larger than this device's largest texture buffer (1.0 MB)"; err == nil || !strings.HasPrefix(err.Error(), want) ||
		!strings.HasSuffix(err.Error(), "; use a smaller picture or batch") {
		t.Errorf("129 × 129: %v", err)
	}
	g := compute.NewGraph()
	g.Output("y", compute.Embedding(g.Const("table", make([]float32, 70000*4), 70000, 4), g.Input("ids", 3)))
	if _, err := g.Compile(small); err == nil || !strings.Contains(err.Error(), "embedding: an operand of 1.1 MB") || !strings.HasSuffix(err.Error(), "; use a smaller model") {
		t.Errorf("a large table: %v", err)
	}
	small.TextureTexels, small.StorageBytes = 1<<27, 1<<20
	if err := build(129); err == nil || !strings.Contains(err.Error(), "a result of 1.1 MB is larger than this device's largest storage block (1.0 MB)") {
		t.Errorf("a small storage block: %v", err)
	}
}
