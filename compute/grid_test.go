package compute_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"atelier/compute"
	"atelier/compute/computetest"
)

// narrow is a device that says it takes three workgroups on the first axis, so that every grid folds.
type narrow struct{ compute.Device }

func (n narrow) Limits() compute.Limits {
	lim := n.Device.Limits()
	lim.Groups[0] = 3
	return lim
}

// TestFoldedGrids: shaders find their work, and drop what is beyond it, when a grid is folded into two axes.
func TestFoldedGrids(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, c := range computetest.Cases() {
		if c.Bench || seen[c.Op] >= 12 {
			continue
		}
		seen[c.Op]++
		if err := computetest.CheckDevice(t.Context(), narrow{devs[0]}, c); err != nil {
			t.Error(err)
		}
	}
}

// TestSameBits: a second run gives the same bits, and so does a second device.
func TestSameBits(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	g := compute.NewGraph()
	x := compute.RandomNormal(g.Const("key", compute.RandomKey(9, 0), 8), 2, 33, 31, 48)
	h := compute.GroupNorm(x, nil, nil, 8, 1e-5, compute.ActSiLU)
	table := compute.Reshape(h, -1, 48)
	ids := g.Const("ids", []float32{3, 3, 3, 7, 7, 1}, 6)
	loss := compute.Sum(compute.Square(compute.Softmax(compute.Embedding(table, ids))), false)
	g.Output("loss", loss)
	g.Output("grad", compute.Grad(loss, x)[0])
	plan, err := g.Compile(devs[0].Limits())
	if err != nil {
		t.Fatal(err)
	}
	exe, err := devs[0].Load(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	var first map[string][]float32
	for range 3 {
		out := map[string][]float32{"loss": make([]float32, 1), "grad": make([]float32, x.Shape().Size())}
		if err := exe.Run(t.Context(), nil, out); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = out
		}
		for name, v := range out {
			for i := range v {
				if math.Float32bits(v[i]) != math.Float32bits(first[name][i]) {
					t.Fatalf("%s[%d] is %v and then %v", name, i, first[name][i], v[i])
				}
			}
		}
	}
}

// TestNaNSpreads: a NaN reaches everything that is computed from it, and nothing else.
func TestNaNSpreads(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 2*8*8)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	x[3] = float32(math.NaN())
	for name, c := range map[string]struct {
		build func(x *compute.Tensor) *compute.Tensor
		count int // results that are NaN
	}{
		"softmax":    {compute.Softmax, 8},
		"layer_norm": {func(x *compute.Tensor) *compute.Tensor { return compute.LayerNorm(x, nil, nil, 1e-5) }, 8},
		"rms_norm":   {func(x *compute.Tensor) *compute.Tensor { return compute.RMSNorm(x, nil, 1e-5) }, 8},
		"group_norm": {func(x *compute.Tensor) *compute.Tensor {
			return compute.GroupNorm(x, nil, nil, 2, 1e-5, compute.ActReLU)
		}, 32},
		"sum": {func(x *compute.Tensor) *compute.Tensor { return compute.Sum(x, false, 1) }, 1},
		"max": {func(x *compute.Tensor) *compute.Tensor { return compute.MaxOf(x, false, 0, 2) }, 1},
		"glu": {func(x *compute.Tensor) *compute.Tensor { return compute.GLU(x, compute.ActReLU) }, 1},
		"resize": {func(x *compute.Tensor) *compute.Tensor {
			return compute.ResizeNearest(compute.Reshape(x, 1, 2, 8, 8), 4, 16)
		}, 4},
		"cast": {func(x *compute.Tensor) *compute.Tensor {
			return compute.Cast(compute.Cast(x, compute.F16), compute.F32)
		}, 1},
		"max of two": {func(x *compute.Tensor) *compute.Tensor { return compute.Maximum(x, compute.Affine(x, 0, 9)) }, 1},
	} {
		for _, dev := range devs {
			g := compute.NewGraph()
			got, count := runOn(t, dev, g, c.build(g.Input("x", 2, 8, 8)), map[string][]float32{"x": x}), 0
			for _, v := range got {
				if v != v {
					count++
				}
			}
			if count != c.count {
				t.Errorf("%s on %s: %d results are NaN, not %d", name, dev.Name(), count, c.count)
			}
		}
	}
}

// TestPassThroughGradients: floor has none, and a cast hands its own on.
func TestPassThroughGradients(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range devs {
		g := compute.NewGraph()
		x := g.Input("x", 3)
		y := compute.Add(compute.Floor(x), compute.Square(compute.Cast(x, compute.F16)))
		got := runOn(t, dev, g, compute.Grad(compute.Sum(y, false), x)[0], map[string][]float32{"x": {0.5, 1.5, -2.25}})
		for i, w := range []float32{1, 3, -4.5} {
			if got[i] != w {
				t.Errorf("%s: the gradient is %v, not [1 3 -4.5]", dev.Name(), got)
				break
			}
		}
	}
}

// otherForms is a device that takes the last form of every launch, where the software driver takes the first.
type otherForms struct{ compute.Device }

var errOneForm = errors.New("no launch has a choice of forms")

func (o otherForms) Load(ctx context.Context, p *compute.Plan) (compute.Executable, error) {
	choice := false
	for _, s := range p.Steps {
		for i := range s.Launches {
			if f := s.Launches[i].Forms; len(f) > 1 {
				s.Launches[i].Forms, choice = f[len(f)-1:], true
			}
		}
	}
	if !choice {
		return nil, errOneForm
	}
	return o.Device.Load(ctx, p)
}

// TestOtherForms: the forms that a GPU would choose compute the same.
func TestOtherForms(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]int{}
	for _, c := range computetest.Cases() {
		if c.Bench || checked[c.Op] >= 12 {
			continue
		}
		if err := computetest.CheckDevice(t.Context(), otherForms{devs[0]}, c); err == nil {
			checked[c.Op]++
		} else if !errors.Is(err, errOneForm) {
			t.Error(err)
		}
	}
	for _, op := range []string{"group_norm", "layer_norm", "rms_norm", "softmax"} {
		if checked[op] == 0 {
			t.Errorf("%s has no case with a choice of forms", op)
		}
	}
}
