package compute_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/compute/computetest"
	"atelier/compute/opengl"
)

func TestUpdates(t *testing.T) { checkOps(t, "adam", "rmsprop", "sgd", "accumulate") }

// load compiles and loads g.
func load(t *testing.T, dev compute.Device, g *compute.Graph) compute.Executable {
	t.Helper()
	plan, err := g.Compile(dev.Limits())
	if err != nil {
		t.Fatal(err)
	}
	exe, err := dev.Load(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exe.Close)
	return exe
}

// TestVariablesStay trains y = w·x by three replays of one plan, reads w by a plan that computes nothing, and resumes from it.
func TestVariablesStay(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range devs {
		w := &compute.Variable{Start: &compute.Values{Data: []float32{1, 2, 3}}}
		count := &compute.Variable{}
		g := compute.NewGraph()
		x := g.Input("x", 3)
		p, n := g.Param("w", w, 3), g.Param("count", count, 1)
		loss := compute.Sum(compute.Square(compute.Mul(p, x)), false)
		compute.SGD(p, nil, compute.Grad(loss, p)[0], g.Const("one", []float32{1}, 1), g.Const("rate", []float32{0.25, 0, 0, 0}, 4), compute.SGDAttr{})
		compute.Accumulate(n, g.Const("one more", []float32{1}, 1), g.Const("sum", []float32{1, 1, 0, 0}, 4))
		g.Output("loss", loss)
		g.Output("w", p) // what the replay leaves
		step := load(t, dev, g)
		var losses [3]float32
		after := make([]float32, 3)
		for i := range losses {
			out := []float32{0}
			if err := step.Run(t.Context(), map[string][]float32{"x": {1, 0, -1}}, map[string][]float32{"loss": out, "w": after}); err != nil {
				t.Fatal(err)
			}
			losses[i] = out[0]
		}
		if losses != [3]float32{10, 2.5, 0.625} { // each replay halves what x sees
			t.Errorf("%s: losses %v", dev.Name(), losses)
		}
		r := compute.NewGraph()
		r.Output("w", r.Param("w", w, 3))
		r.Output("count", r.Param("count", count, 1))
		got, steps := make([]float32, 3), make([]float32, 1)
		if err := load(t, dev, r).Run(t.Context(), nil, map[string][]float32{"w": got, "count": steps}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []float32{0.125, 2, 0.375} {
			if got[i] != want || after[i] != want || steps[0] != 3 {
				t.Errorf("%s: w = %v and %v after %v replays", dev.Name(), got, after, steps)
			}
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := step.Run(cancelled, map[string][]float32{"x": {1, 0, -1}}, nil); err == nil {
			t.Errorf("%s: a cancelled replay ran", dev.Name())
		}
	}
}

// TestUpdatesByDefinition runs an update whose shader is not trusted, and compares one that is in a checked run.
func TestUpdatesByDefinition(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	gl := devs[0].(*opengl.Device)
	gl.Distrust("adam", "accumulate")
	defer gl.Distrust()
	for _, c := range append(computetest.Of("adam"), computetest.Of("accumulate")...) {
		if err := computetest.CheckDevice(t.Context(), gl, c); err != nil {
			t.Error(err)
		}
	}
	gl.Distrust()
	g := compute.NewGraph()
	v := g.Param("v", &compute.Variable{}, 5)
	compute.Assign(v, compute.Exp(g.Input("x", 5)))
	compute.Accumulate(v, v, g.Const("twice", []float32{1, 1, 0, 0}, 4))
	exe := load(t, gl, g)
	if err := opengl.RunChecked(t.Context(), exe, map[string][]float32{"x": {1, 2, 3, 4, 5}}, opengl.CheckOptions{Tolerance: 1e-5}); err != nil {
		t.Error(err)
	}
	got := make([]float32, 5)
	r := compute.NewGraph()
	r.Output("v", r.Param("v", v.Src, 5))
	if err := load(t, gl, r).Run(t.Context(), nil, map[string][]float32{"v": got}); err != nil {
		t.Fatal(err)
	}
	if want := 2 * math.Exp(5); math.Abs(float64(got[4])-want) > 1e-4*want {
		t.Errorf("v = %v, want %v at the end", got, want)
	}
}

func TestUpdateMistakes(t *testing.T) {
	for want, build := range map[string]func(g *compute.Graph){
		"is no variable": func(g *compute.Graph) { compute.Assign(g.Input("x", 2), g.Input("y", 2)) },
		"one shape":      func(g *compute.Graph) { compute.Assign(g.Param("v", &compute.Variable{}, 2), g.Input("y", 3)) },
		"must be [4]": func(g *compute.Graph) {
			compute.Accumulate(g.Param("v", &compute.Variable{}, 2), g.Input("y", 2), g.Input("c", 2))
		},
		"must be [1]": func(g *compute.Graph) {
			v := g.Param("v", &compute.Variable{}, 2)
			compute.SGD(v, nil, g.Input("y", 2), g.Input("s", 2), g.Input("r", 4), compute.SGDAttr{})
		},
		"stands for": func(g *compute.Graph) {
			src := &compute.Values{Data: []float32{1}}
			g.Bind(src, g.Input("y", 2))
			g.Output("z", g.Param("p", src, 1))
		},
	} {
		g := compute.NewGraph()
		build(g)
		if _, err := g.Compile(compute.Limits{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "_test.go:") {
			t.Errorf("error %v does not say %q with the caller's line", err, want)
		}
	}
}
