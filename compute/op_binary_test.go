package compute_test

import (
	"math"
	"testing"

	"atelier/compute"
)

func TestBinary(t *testing.T) {
	checkOps(t, "add", "sub", "mul", "div", "minimum", "maximum", "pow", "less", "equal", "prelu")
}

// TestBinarySpecials: NaN comes through, ties share the gradient, and pow has signs.
func TestBinarySpecials(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	a := []float32{nan, 1, 2, 2, -2, -2, 0, 0, inf, -8}
	b := []float32{1, nan, 2, 3, 3, 2, 0, 2, -1, 1.0 / 3}
	for _, c := range []struct {
		name  string
		build func(a, b *compute.Tensor) *compute.Tensor
		want  []float32
		tol   float64
	}{
		{"minimum", compute.Minimum, []float32{nan, nan, 2, 2, -2, -2, 0, 0, -1, -8}, 0},
		{"maximum", compute.Maximum, []float32{nan, nan, 2, 3, 3, 2, 0, 2, inf, 1.0 / 3}, 0},
		{"less", compute.Less, []float32{0, 0, 0, 1, 1, 1, 0, 1, 0, 1}, 0},
		{"equal", compute.Equal, []float32{0, 0, 1, 0, 0, 0, 1, 0, 0, 0}, 0},
		{"pow", compute.Pow, []float32{nan, 1, 4, 8, -8, 4, 1, 0, 0, nan}, 1e-5},
	} {
		for _, dev := range devs {
			g := compute.NewGraph()
			got := runOn(t, dev, g, c.build(g.Input("a", len(a)), g.Input("b", len(a))), map[string][]float32{"a": a, "b": b})
			for i, w := range c.want {
				v, w := float64(got[i]), float64(w)
				if math.IsNaN(v) != math.IsNaN(w) || v != w && !math.IsNaN(w) && !(math.Abs(v-w) <= c.tol*math.Abs(w)) {
					t.Errorf("%s of %v and %v on %s is %v, not %v", c.name, a[i], b[i], dev.Name(), v, w)
				}
			}
		}
	}
	for _, dev := range devs {
		g := compute.NewGraph()
		x, y := g.Input("a", 3), g.Input("b", 3)
		d := compute.Grad(compute.Sum(compute.Maximum(x, y), false), x)[0]
		got := runOn(t, dev, g, d, map[string][]float32{"a": {1, 2, 3}, "b": {2, 2, 2}})
		if got[0] != 0 || got[1] != 0.5 || got[2] != 1 {
			t.Errorf("gradient of maximum on %s is %v, not [0 0.5 1]", dev.Name(), got)
		}
	}
}

func TestBinaryMistakes(t *testing.T) {
	wantMistake(t, "add: shapes do not broadcast: [2 3] · [4]", func(g *compute.Graph) *compute.Tensor {
		return compute.Add(g.Input("a", 2, 3), g.Input("b", 4))
	})
	wantMistake(t, "prelu: slopes [2 3] do not broadcast to [3]", func(g *compute.Graph) *compute.Tensor {
		return compute.PReLU(g.Input("a", 3), g.Input("b", 2, 3))
	})
	wantMistake(t, "mul: [2 2 2 2 2 2 2] has more than the 6 separate axes", func(g *compute.Graph) *compute.Tensor {
		return compute.Mul(g.Input("a", 2, 2, 2, 2, 2, 2, 2), g.Input("b", 2, 1, 2, 1, 2, 1, 2))
	})
	g := compute.NewGraph()
	x := g.Input("x", 3)
	if d := compute.Grad(compute.Sum(compute.Less(x, x), false), x)[0]; d.Err() == nil {
		t.Error("the gradient of less has no error")
	}
}
