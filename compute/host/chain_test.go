package host

import (
	"math"
	"testing"

	"atelier/compute"
)

// A chain of elementwise nodes is one pass, and gives what its nodes give one after the other: also where a row that a node
// broadcasts lies in a slot that a later node would write to.
func TestChainIsOnePass(t *testing.T) {
	d := New(Options{Workers: 2})
	defer d.Close()
	const rows, c = 513, 37
	g := compute.NewGraph()
	x, row := g.Input("x", rows, c), g.Input("row", c)
	narrow := compute.Affine(row, 2, 0)
	h := compute.Mul(compute.SiLU(compute.Add(x, narrow)), x) // narrow is dead after the sum
	y := compute.Sub(compute.Square(h), compute.Tanh(h))
	g.Output("y", y)
	p, err := g.Compile(d.Limits())
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := d.Load(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	passes := 0
	for _, s := range loaded.(*executable).steps {
		if s.run != nil {
			passes++
		}
	}
	if passes > 3 { // the row's; perhaps the sum, whose row a later result may overwrite; everything else
		t.Errorf("%d passes for a row and one chain", passes)
	}
	in := map[string][]float32{"x": make([]float32, rows*c), "row": make([]float32, c)}
	for i := range in["x"] {
		in["x"][i] = float32(math.Sin(float64(i)))
	}
	for i := range in["row"] {
		in["row"][i] = float32(i) / 10
	}
	out := make([]float32, rows*c)
	if err := loaded.Run(t.Context(), in, map[string][]float32{"y": out}); err != nil {
		t.Fatal(err)
	}
	for i, got := range out {
		v := float64(in["x"][i])
		s := v + 2*float64(in["row"][i%c])
		h := s / (1 + math.Exp(-s)) * v
		if want := h*h - math.Tanh(h); math.Abs(float64(got)-want) > 1e-5*(1+math.Abs(want)) {
			t.Fatalf("element %d is %g, not %g", i, got, want)
		}
	}
}

// A step whose broadcast operand lies where another step of the pass writes stays out of the pass.
func TestChainKeepsBroadcastOperands(t *testing.T) {
	g := compute.NewGraph()
	wide, row := g.Input("wide", 4, 8), g.Input("row", 8)
	shared, other, result := make([]float32, 32), make([]float32, 32), make([]float32, 32)
	reads := step{node: compute.Add(wide, row), in: [][]float32{other, shared[:8]}, out: result}
	writes := step{node: compute.Neg(wide), in: [][]float32{other}, out: shared}
	if joins([]step{reads}, &writes) {
		t.Error("a result would overwrite a row that is still read")
	}
	if joins([]step{writes}, &reads) {
		t.Error("a row would be read before it is whole")
	}
	if !joins([]step{{node: compute.Neg(wide), in: [][]float32{other}, out: result}}, &writes) {
		t.Error("two steps that do not touch each other's memory were kept apart")
	}
}
