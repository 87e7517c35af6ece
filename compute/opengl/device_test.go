//go:build cgo

package opengl

import (
	stdcontext "context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/shaders"
)

// testShaders are sources that the tests' own ops use, beside the package's.
var testShaders = map[string]string{
	"test_scale": `#version 430 core
layout(local_size_x = 64) in;
uniform samplerBuffer X;
uniform samplerBuffer W;
uniform int n, m;
uniform float a;
layout(std430, binding = 0) writeonly buffer Y0 { float y[]; };
void main() {
    int i = int(gl_GlobalInvocationID.x);
    if (i < n) y[i] = a * texelFetch(X, i).x + texelFetch(W, i % m).x;
}`,
	"test_broken": `#version 430 core
layout(local_size_x = 1) in;
void main() { undeclared = 1; }`,
	"test_wrong": `#version 430 core
layout(local_size_x = 64) in;
uniform samplerBuffer X;
uniform samplerBuffer W;
uniform int n, m;
uniform float a;
layout(std430, binding = 0) writeonly buffer Y0 { float y[]; };
void main() {
    int i = int(gl_GlobalInvocationID.x);
    if (i < n) y[i] = a * texelFetch(X, i).x + texelFetch(W, i % m).x + float(i == 70);
}`,
}

// scaleAttr is y[i] = A x[i] + w[i mod len w], computed by Shader.
type scaleAttr struct {
	Shader string
	A      float32
	Forms  []string
	Int    bool // give "a" as an int: a mistake
}

var opScale = &compute.Op{
	Name:  "test_scale",
	Shape: func(n *compute.Tensor) (compute.Shape, error) { return n.In[0].Shape(), nil },
	Ref: func(n *compute.Tensor, in [][]float32, out []float32, lo, hi int) {
		a := n.Attr.(*scaleAttr).A
		for i := lo; i < hi; i++ {
			out[i] = a*in[0][i] + in[1][i%len(in[1])]
		}
	},
	Lower: func(n *compute.Tensor, lw *compute.Lowering) []compute.Launch {
		a, size := n.Attr.(*scaleAttr), n.Shape().Size()
		l := compute.Launch{
			Shader:   a.Shader,
			Reads:    []compute.Operand{compute.Read("X", n.In[0], 1), compute.Read("W", n.In[1], 1)},
			Writes:   []compute.Operand{compute.Write(n)},
			Uniforms: []compute.Uniform{compute.Int("n", size), compute.Int("m", n.In[1].Shape().Size()), compute.Float("a", a.A), compute.Int("unused", 7)},
			Groups:   lw.Grid((size + 63) / 64),
		}
		if a.Int {
			l.Uniforms[2] = compute.Int("a", 2)
		}
		for _, f := range a.Forms {
			l.Forms = append(l.Forms, compute.Form{Name: f, Defines: map[string]string{"FORM_" + f: "1"}, Groups: l.Groups})
		}
		return []compute.Launch{l}
	},
}

// openTest opens a device with the tests' shaders added. Without OpenGL the test fails.
func openTest(t *testing.T, opts Options) *Device {
	t.Helper()
	d, err := NewEGL(opts)
	if err != nil {
		t.Fatal(err)
	}
	d.source = func(name string, defines map[string]string) (string, error) {
		if s, ok := testShaders[name]; ok {
			for k, v := range defines {
				s = strings.Replace(s, "core\n", fmt.Sprintf("core\n#define %s %s\n", k, v), 1)
				if k == "FORM_broken" {
					s = testShaders["test_broken"]
				}
				if k == "FORM_idle" {
					s = strings.Replace(s, "i < n", "i < 0", 1)
				}
				if k == "FORM_bad" {
					s = strings.Replace(testShaders["test_wrong"], "core\n", "core\n#define "+k+"\n", 1)
				}
			}
			return s, nil
		}
		return shaders.Source(name, defines)
	}
	t.Cleanup(d.Close)
	return d
}

type graph struct {
	*compute.Graph
	t *testing.T
}

func newGraph(t *testing.T) graph { return graph{compute.NewGraph(), t} }

func (g graph) load(d *Device) compute.Executable {
	g.t.Helper()
	p, err := g.Compile(d.Limits())
	if err != nil {
		g.t.Fatal(err)
	}
	e, err := d.Load(g.t.Context(), p)
	if err != nil {
		g.t.Fatal(err)
	}
	return e
}

func ramp(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%97) - 40
	}
	return x
}

func scale(x, w *compute.Tensor, a float32) *compute.Tensor {
	return compute.NewNode(opScale, &scaleAttr{Shader: "test_scale", A: a}, x, w)
}

func TestRun(t *testing.T) {
	d := openTest(t, Options{})
	if d.Info().Major*10+d.Info().Minor < 43 || !strings.HasPrefix(d.Name(), "OpenGL 4.") {
		t.Errorf("device %q", d.Name())
	}
	for _, n := range []int{1, 63, 64, 65, 257, 10007} {
		g := newGraph(t)
		w := g.Param("w", &compute.Values{Data: []float32{1, 2.0001, -3}, Type: compute.F16}, 3)
		v := g.Const("v", []float32{0.5}, 1)
		y := scale(g.Input("x", n), w, 2)
		z := scale(compute.Reshape(y, 1, n), v, -1)
		g.Output("y", y)
		g.Output("z", z)
		g.Output("w", w)
		e := g.load(d)
		yv, zv, wv := make([]float32, n), make([]float32, n), make([]float32, 3)
		for round := range 2 {
			x := ramp(n)
			x[0] = float32(round)
			if err := e.Run(t.Context(), map[string][]float32{"x": x}, map[string][]float32{"y": yv, "z": zv, "w": wv}); err != nil {
				t.Fatal(err)
			}
			for i := range x {
				want := 2*x[i] + []float32{1, 2, -3}[i%3]
				if yv[i] != want || zv[i] != 0.5-want {
					t.Fatalf("n = %d: index %d: got %g and %g, want %g and %g", n, i, yv[i], zv[i], want, 0.5-want)
				}
			}
			if wv[1] != 2 {
				t.Errorf("half parameter reads back as %g", wv[1])
			}
		}
		e.Close()
	}
	if used, peak := d.Memory(); used != 0 || peak == 0 {
		t.Errorf("after closing all plans: %d bytes used, peak %d", used, peak)
	}
}

// A long chain reuses slots, so it also checks barriers.
func TestChain(t *testing.T) {
	d := openTest(t, Options{})
	const n, depth = 5000, 100
	g := newGraph(t)
	x := g.Input("x", n)
	w := g.Const("w", []float32{1, 2}, 2)
	y := x
	for range depth {
		y = scale(y, w, 1)
	}
	g.Output("y", y)
	e := g.load(d)
	in, out := ramp(n), make([]float32, n)
	for range 3 {
		if err := e.Run(t.Context(), map[string][]float32{"x": in}, map[string][]float32{"y": out}); err != nil {
			t.Fatal(err)
		}
		for i := range out {
			if want := in[i] + depth*float32(1+i%2); out[i] != want {
				t.Fatalf("index %d: got %g, want %g", i, out[i], want)
			}
		}
	}
}

type raw struct {
	compute.Values
	bytes []byte
}

func (r *raw) ReadRaw(dst []byte) error {
	copy(dst, r.bytes)
	return nil
}

func (r *raw) Read([]float32) error { return errors.New("Read was called") }

func TestParameters(t *testing.T) {
	d := openTest(t, Options{})
	one, two := compute.HalfBits(1), compute.HalfBits(-2)
	src := &raw{Values: compute.Values{Type: compute.F16}, bytes: []byte{byte(one), byte(one >> 8), byte(two), byte(two >> 8)}}
	load := func() compute.Executable {
		g := newGraph(t)
		g.Output("y", scale(g.Input("x", 4), g.Param("w", src, 2), 3))
		return g.load(d)
	}
	a := load()
	first, _ := d.Memory()
	b := load()
	if second, _ := d.Memory(); second != first {
		t.Errorf("first plan holds %d bytes, the second %d: parameter and slots are not shared", first, second-first)
	}
	a.Close()
	y := make([]float32, 4)
	if err := b.Run(t.Context(), map[string][]float32{"x": {1, 1, 2, 2}}, map[string][]float32{"y": y}); err != nil {
		t.Fatal(err)
	}
	if want := [4]float32{4, 1, 7, 4}; [4]float32(y) != want {
		t.Errorf("got %v, want %v", y, want)
	}
	if err := a.Run(t.Context(), map[string][]float32{"x": y}, nil); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed plan runs: %v", err)
	}
}

func TestMemoryIsRefusedFirst(t *testing.T) {
	d := openTest(t, Options{MemoryLimit: 10000})
	g := newGraph(t)
	g.Output("y", scale(g.Input("x", 100000), g.Const("w", []float32{1}, 1), 3))
	p, err := g.Compile(d.Limits())
	if err != nil {
		t.Fatal(err)
	}
	var refused *compute.MemoryError
	if _, err = d.Load(t.Context(), p); !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	if refused.Need < 800000 || refused.Available != 10000 {
		t.Errorf("refused with %+v", refused)
	}
	if _, peak := d.Memory(); peak != 0 {
		t.Errorf("%d bytes were allocated", peak)
	}
}

func TestBrokenShaderFallsBack(t *testing.T) {
	d := openTest(t, Options{})
	g := newGraph(t)
	x, w := g.Input("x", 130), g.Const("w", []float32{1}, 1)
	y := compute.NewNode(opScale, &scaleAttr{Shader: "test_broken", A: 2}, scale(x, w, 1), w)
	g.Output("y", scale(y, w, 1))
	e := g.load(d)
	in, out := ramp(130), make([]float32, 130)
	for range 2 {
		if err := e.Run(t.Context(), map[string][]float32{"x": in}, map[string][]float32{"y": out}); err != nil {
			t.Fatal(err)
		}
		for i, v := range out {
			if want := 2*in[i] + 4; v != want {
				t.Fatalf("index %d: got %g, want %g", i, v, want)
			}
		}
	}
	warnings := strings.Join(d.Warnings(), "\n")
	if !strings.Contains(warnings, "test_scale runs on the processor") || !strings.Contains(warnings, "undeclared") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestUniformMistakes(t *testing.T) {
	d := openTest(t, Options{})
	g := newGraph(t)
	g.Output("y", compute.NewNode(opScale, &scaleAttr{Shader: "test_scale", A: 2, Int: true}, g.Input("x", 130), g.Const("w", []float32{1}, 1)))
	p, err := g.Compile(d.Limits())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = d.Load(t.Context(), p); err == nil || !strings.Contains(err.Error(), "declares a with another type") || !strings.Contains(err.Error(), "device_test.go") {
		t.Errorf("got %v", err)
	}
	if used, _ := d.Memory(); used != 0 {
		t.Errorf("%d bytes stay after a failed load", used)
	}
}

func TestCheckedRunFindsTheNode(t *testing.T) {
	d := openTest(t, Options{})
	g := newGraph(t)
	x, w := g.Input("x", 130), g.Const("w", []float32{1}, 1)
	good := scale(x, w, 1)
	g.Output("good", good)
	in := map[string][]float32{"x": ramp(130)}
	if err := RunChecked(t.Context(), g.load(d), in, CheckOptions{Finite: true}); err != nil {
		t.Errorf("a correct plan: %v", err)
	}
	g.Output("bad", compute.NewNode(opScale, &scaleAttr{Shader: "test_wrong", A: 1}, good, w))
	var div *Divergence
	err := RunChecked(t.Context(), g.load(d), in, CheckOptions{})
	if !errors.As(err, &div) || div.Index != 70 || div.Got != div.Want+1 || !strings.Contains(div.At, "device_test.go") {
		t.Errorf("got %v", err)
	}
	in["x"][3] = float32(math.NaN())
	if err := RunChecked(t.Context(), g.load(d), in, CheckOptions{Finite: true}); !errors.As(err, &div) || div.Index != 3 {
		t.Errorf("NaN: got %v", err)
	}
}

func TestCancelAndClose(t *testing.T) {
	d := openTest(t, Options{})
	g := newGraph(t)
	g.Output("y", scale(g.Input("x", 130), g.Const("w", []float32{1}, 1), 2))
	e := g.load(d)
	in := map[string][]float32{"x": ramp(130)}
	ended, cancel := stdcontext.WithCancel(t.Context())
	cancel()
	if err := e.Run(ended, in, nil); !errors.Is(err, stdcontext.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if err := e.Run(t.Context(), in, nil); err != nil {
		t.Error(err)
	}
	d.Close()
	d.Close()
	e.Close()
	if err := e.Run(t.Context(), in, nil); !errors.Is(err, errClosed) {
		t.Errorf("closed device: %v", err)
	}
	if used, _ := d.Memory(); used != 0 {
		t.Errorf("%d bytes stay", used)
	}
}

func TestTwoDevicesAtOnce(t *testing.T) {
	done := make(chan error)
	for range 2 {
		d := openTest(t, Options{})
		g := newGraph(t)
		g.Output("y", scale(g.Input("x", 1000), g.Const("w", []float32{1}, 1), 2))
		e := g.load(d)
		go func() {
			var err error
			for i := 0; i < 20 && err == nil; i++ {
				err = e.Run(stdcontext.Background(), map[string][]float32{"x": make([]float32, 1000)}, nil)
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// An op without a shader runs by its definition; a plan compiled for another device is refused.
func TestNoShader(t *testing.T) {
	d := openTest(t, Options{})
	bare := *opScale
	bare.Name, bare.Lower = "bare", nil
	g := newGraph(t)
	g.Output("y", compute.NewNode(&bare, &scaleAttr{A: 2}, g.Input("x", 3), g.Const("w", []float32{1}, 1)))
	y := make([]float32, 3)
	if err := g.load(d).Run(t.Context(), map[string][]float32{"x": {1, 2, 3}}, map[string][]float32{"y": y}); err != nil || [3]float32(y) != [3]float32{3, 5, 7} {
		t.Errorf("got %v, %v", y, err)
	}
	if w := strings.Join(d.Warnings(), "\n"); !strings.Contains(w, "bare runs on the processor") {
		t.Errorf("warnings: %q", w)
	}
	g = newGraph(t)
	g.Output("y", scale(g.Input("x", 3), g.Const("w", []float32{1}, 1), 1))
	p, err := g.Compile(compute.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(t.Context(), p); err == nil || !strings.Contains(err.Error(), "compile the plan with this device's limits") {
		t.Errorf("got %v", err)
	}
}
