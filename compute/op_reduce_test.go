package compute_test

import (
	"math"
	"testing"

	"atelier/compute"
)

func TestReduce(t *testing.T) { checkOps(t, "sum", "mean", "max") }

func TestReduceSpecials(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	nan := float32(math.NaN())
	for _, dev := range devs {
		for _, c := range []struct {
			x    []float32
			want float32
		}{{[]float32{1, nan, 2}, nan}, {[]float32{1, 2, 3, nan}, nan}, {[]float32{nan, 5, 7, 7, 6}, nan}, {[]float32{-3, -2, -5, -4}, -2}} {
			g := compute.NewGraph()
			got := runOn(t, dev, g, compute.MaxOf(g.Input("x", len(c.x)), false), map[string][]float32{"x": c.x})[0]
			if got != c.want && !(got != got && c.want != c.want) {
				t.Errorf("%s: the largest of %v is %v", dev.Name(), c.x, got)
			}
		}
		g := compute.NewGraph()
		x := g.Input("x", 4)
		d := compute.Grad(compute.MaxOf(x, false), x)[0]
		got := runOn(t, dev, g, d, map[string][]float32{"x": {1, 3, 3, 2}})
		if got[0] != 0 || got[1] != 0.5 || got[2] != 0.5 || got[3] != 0 {
			t.Errorf("%s: gradient of max is %v, not [0 0.5 0.5 0]", dev.Name(), got)
		}
	}
}

// TestLongSum: a sum of a million ones and small numbers keeps the small ones.
func TestLongSum(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 1<<20)
	for i := range x {
		x[i] = 1.0 + float32(i&1)*0.001
	}
	for _, dev := range devs {
		g := compute.NewGraph()
		got := float64(runOn(t, dev, g, compute.Mean(g.Input("x", 1, len(x)), false), map[string][]float32{"x": x})[0])
		if math.Abs(got-1.0005) > 5e-7 {
			t.Errorf("%s: the mean is %.8f, not 1.0005", dev.Name(), got)
		}
	}
}

func TestReduceMistakes(t *testing.T) {
	wantMistake(t, "sum: axis 2 is outside [2 3]", func(g *compute.Graph) *compute.Tensor {
		return compute.Sum(g.Input("x", 2, 3), false, 2)
	})
	wantMistake(t, "mean: axis -1 of [2 3] is named twice", func(g *compute.Graph) *compute.Tensor {
		return compute.Mean(g.Input("x", 2, 3), false, 1, -1)
	})
}
