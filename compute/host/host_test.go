package host

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"atelier/compute"
)

// opScaledSum is y[i] = 2 x[i] + w[i mod len w].
var opScaledSum = &compute.Op{
	Name:  "scaled_sum",
	Shape: func(n *compute.Tensor) (compute.Shape, error) { return n.In[0].Shape(), nil },
	Ref: func(_ *compute.Tensor, in [][]float32, out []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			out[i] = 2*in[0][i] + in[1][i%len(in[1])]
		}
	},
}

func plan(t *testing.T, d *Device, w compute.Source, n, m int) *compute.Plan {
	t.Helper()
	g := compute.NewGraph()
	x := g.Input("x", n)
	y := compute.NewNode(opScaledSum, nil, x, g.Param("w", w, m))
	z := compute.NewNode(opScaledSum, nil, compute.Reshape(y, 1, n), g.Param("w", w, m))
	g.Output("y", y)
	g.Output("z", z)
	p, err := g.Compile(d.Limits())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRun(t *testing.T) {
	d := New(Options{Workers: 3})
	defer d.Close()
	const n = 1001
	e, err := d.Load(t.Context(), plan(t, d, &compute.Values{Data: []float32{1, 2.0001}, Type: compute.F16}, n, 2))
	if err != nil {
		t.Fatal(err)
	}
	x, y, z := make([]float32, n), make([]float32, n), make([]float32, n)
	for round := range 3 {
		for i := range x {
			x[i] = float32(i + round)
		}
		if err := e.Run(t.Context(), map[string][]float32{"x": x}, map[string][]float32{"y": y, "z": z}); err != nil {
			t.Fatal(err)
		}
		for i := range y {
			w := float32(1 + i%2) // 2.0001 is 2 as a half float
			if y[i] != 2*x[i]+w || z[i] != 4*x[i]+3*w {
				t.Fatalf("round %d: index %d: got %g and %g, want %g and %g", round, i, y[i], z[i], 2*x[i]+w, 4*x[i]+3*w)
			}
		}
	}
}

func TestParametersAreShared(t *testing.T) {
	d := New(Options{})
	defer d.Close()
	w := &compute.Values{Data: make([]float32, 1000)}
	a, err := d.Load(t.Context(), plan(t, d, w, 10, 1000))
	if err != nil {
		t.Fatal(err)
	}
	one, _ := d.Memory()
	b, err := d.Load(t.Context(), plan(t, d, w, 10, 1000))
	if err != nil {
		t.Fatal(err)
	}
	if two, _ := d.Memory(); two-one >= 4000 {
		t.Errorf("a second plan took %d bytes: the parameter is not shared", two-one)
	}
	a.Close()
	b.Close()
	b.Close()
	if used, peak := d.Memory(); used != 0 || peak < 4000 {
		t.Errorf("after closing: %d bytes used, peak %d", used, peak)
	}
}

type broken struct{ compute.Values }

func (*broken) Read([]float32) error { return errors.New("the file is cut short") }

func TestErrors(t *testing.T) {
	d := New(Options{MemoryLimit: 1 << 16})
	w := &compute.Values{Data: []float32{1}}
	var refused *compute.MemoryError
	if _, err := d.Load(t.Context(), plan(t, d, w, 1<<20, 1)); !errors.As(err, &refused) || refused.Available != 1<<16 {
		t.Errorf("too large a plan: %v", err)
	}
	if _, err := d.Load(t.Context(), plan(t, d, &broken{}, 4, 1)); err == nil || !strings.Contains(err.Error(), `parameter "w": the file is cut short`) {
		t.Errorf("unreadable parameter: %v", err)
	}
	if used, _ := d.Memory(); used != 0 {
		t.Errorf("%d bytes stay after a failed load", used)
	}
	e, err := d.Load(t.Context(), plan(t, d, w, 4, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), `input "x"`) {
		t.Errorf("missing input: %v", err)
	}
	in := map[string][]float32{"x": make([]float32, 4)}
	if err := e.Run(t.Context(), in, map[string][]float32{"q": nil}); err == nil {
		t.Error("an unknown output was accepted")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Run(ended, in, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	d.Close()
	if err := e.Run(t.Context(), in, nil); err != nil {
		t.Errorf("a loaded plan lost its memory: %v", err)
	}
	if _, err := d.Load(t.Context(), plan(t, d, w, 4, 1)); err == nil {
		t.Error("a closed device loads")
	}
}

func TestRoundToHalf(t *testing.T) {
	for bits := range uint32(1 << 17) {
		v := math.Float32frombits(bits << 15)
		got := []float32{v}
		roundToHalf(got)
		if want := compute.HalfFloat(compute.HalfBits(v)); math.Float32bits(got[0]) != math.Float32bits(want) {
			t.Fatalf("%g becomes %g, want %g", v, got[0], want)
		}
	}
}
