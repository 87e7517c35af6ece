package nn

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
)

// counting writes a file of one tensor holding 0, 1, 2, … and opens it.
func counting(t *testing.T, half bool, names map[string][]int) checkpoint.Tensors {
	t.Helper()
	var list []checkpoint.Tensor
	for name, shape := range names {
		v := make([]float32, compute.Shape(shape).Size())
		for i := range v {
			v[i] = float32(i)
		}
		make := checkpoint.NewF32
		if half {
			make = checkpoint.NewF16
		}
		list = append(list, make(name, shape, v))
	}
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := checkpoint.Write(path, list, nil); err != nil {
		t.Fatal(err)
	}
	ts, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ts.Close() })
	return ts
}

// TestKernelOrder checks both convolution orders, read as numbers and as raw bytes, against the index formulas.
func TestKernelOrder(t *testing.T) {
	const co, ci, kh, kw, groups = 4, 6, 2, 3, 2
	for _, half := range []bool{false, true} {
		s := Load("w", counting(t, half, map[string][]int{"k": {co, ci, kh, kw}, "t": {ci, co / groups, kh, kw}}))
		kernel, transposed := s.Kernel("k", co, ci, kh, kw), s.TransposedKernel("t", ci, co, groups, kh, kw)
		if err := s.Finish(); err != nil {
			t.Fatal(err)
		}
		k := values(t, kernel)
		for i, at := 0, 0; i < co; i++ {
			for y := range kh {
				for x := range kw {
					for c := range ci {
						if want := float32(((i*ci+c)*kh+y)*kw + x); k[at] != want {
							t.Fatalf("kernel[%d %d %d %d] = %v, want %v", i, y, x, c, k[at], want)
						}
						at++
					}
				}
			}
		}
		tr := values(t, transposed)
		for o, at := 0, 0; o < co; o++ {
			for y := range kh {
				for x := range kw {
					for c := range ci / groups {
						in, out := o/(co/groups)*(ci/groups)+c, o%(co/groups)
						if want := float32(((in*(co/groups)+out)*kh+y)*kw + x); tr[at] != want {
							t.Fatalf("transposed[%d %d %d %d] = %v, want %v", o, y, x, c, tr[at], want)
						}
						at++
					}
				}
			}
		}
	}
}

// values reads a parameter both ways and checks that they agree.
func values(t *testing.T, p *Param) []float32 {
	t.Helper()
	src := p.Source.(*Stored)
	v := make([]float32, p.Shape.Size())
	raw := make([]byte, len(v)*src.DType().Bytes())
	if err := src.Read(v); err != nil {
		t.Fatal(err)
	}
	if err := src.ReadRaw(raw); err != nil {
		t.Fatal(err)
	}
	for i, want := range v {
		got := float32(0)
		if src.DType() == compute.F16 {
			got = compute.HalfFloat(binary.LittleEndian.Uint16(raw[2*i:]))
		} else {
			got = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		if got != want {
			t.Fatalf("element %d: raw %v, read %v", i, got, want)
		}
	}
	return v
}

func TestFinishListsEverything(t *testing.T) {
	s := Load("w.safetensors", counting(t, false, map[string][]int{"a.weight": {2, 3}, "a.bias": {3}, "old.thing": {1}, "x.position_ids": {4}}))
	NewLinear(s.At("a"), 3, 2, true)
	NewLinear(s.At("b", 0), 3, 2, false)
	err := s.Finish("position_ids")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"w.safetensors", "missing: b.0.weight", "a.bias is [3], not [2]", "not part of this model: old.thing"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "position_ids") {
		t.Errorf("%q names an ignored buffer", err)
	}
}

func TestShapeOfOneByOneConvolution(t *testing.T) {
	s := Load("w", counting(t, false, map[string][]int{"query.weight": {2, 3, 1, 1}, "query.bias": {2}}))
	if name := s.First("to_q", "query"); name != "query" {
		t.Fatalf("First = %q", name)
	}
	NewLinear(s.At("query"), 3, 2, true)
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
}

// TestSourcesAreShared checks that two graphs of one model refer to one source, and one graph to one node.
func TestSourcesAreShared(t *testing.T) {
	s := Initialise(7)
	l := NewLinear(s, 3, 2, true)
	if n := len(s.Params()); n != 2 {
		t.Fatalf("%d parameters", n)
	}
	a, b := compute.NewGraph().Input("x", 1, 3), compute.NewGraph().Input("x", 1, 3)
	inA, again, inB := l.Weight.In(a), l.Weight.In(a), l.Weight.In(b)
	if inA != again || inA == inB || inA.Src != inB.Src {
		t.Fatal("nodes or sources are not shared as they should be")
	}
	twin := NewLinear(Initialise(7), 3, 2, true)
	v, w := l.Weight.Source.(*compute.Values).Data, twin.Weight.Source.(*compute.Values).Data
	for i := range v {
		if v[i] != w[i] || math.Abs(float64(v[i])) > 1/math.Sqrt(3) {
			t.Fatalf("initial weights %v and %v", v, w)
		}
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
}
