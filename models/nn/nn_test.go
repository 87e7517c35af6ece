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

// TestQuantisedSources checks which parameters stay block-quantised, and that what a device gets decodes to the tensor's values.
func TestQuantisedSources(t *testing.T) {
	small := map[string][]int{"linear.weight": {8, 320}, "odd.weight": {64, 6}, "kernel.weight": {16, 16, 3, 3}, "table.weight": {32, 40}, "wide.weight": {1 << 10, 1 << 10, 3, 3}}
	ts := counting(t, true, small)
	blocks := map[string]checkpoint.Tensor{}
	for _, name := range ts.Names() {
		x, _ := ts.Get(name)
		data := make([]byte, x.Len()/32*34)
		for i := range data {
			data[i] = byte(i * 7)
		}
		for b := 0; b < len(data); b += 34 {
			binary.LittleEndian.PutUint16(data[b:], compute.HalfBits(float32(b%5+1)/64))
		}
		blocks[name] = checkpoint.Tensor{Name: name, DType: checkpoint.Q8_0, Shape: x.Shape, Data: data}
	}
	s := Load("w", tensors(blocks))
	linear, odd := NewLinear(s.At("linear"), 320, 8, false), NewLinear(s.At("odd"), 6, 64, false)
	kernel, wide := s.At("kernel").Kernel("weight", 16, 16, 3, 3), s.At("wide").Kernel("weight", 1<<10, 1<<10, 3, 3)
	table := NewEmbedding(s.At("table"), 32, 40)
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    *Param
		want compute.DType
	}{{linear.Weight, compute.Q8_0}, {odd.Weight, compute.F32}, {kernel, compute.F32}, {table.Table, compute.F32}, {wide, compute.F16}} {
		src := c.p.Source.(*Stored)
		d, n := src.DType(), c.p.Shape.Size()
		if d != c.want {
			t.Errorf("%s is %v, want %v", c.p.Name, d, c.want)
			continue
		}
		values, raw := make([]float32, n), make([]byte, d.Stored(n))
		if err := src.Read(values); err != nil {
			t.Fatal(err)
		}
		if err := src.ReadRaw(raw); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, n)
		switch d {
		case compute.Q8_0:
			d.DecodeStored(got, raw, 0)
			if src.ReadRaw(raw[:len(raw)-36]) == nil {
				t.Error("read a part of the blocks")
			}
		case compute.F16:
			for i := range got {
				got[i], values[i] = compute.HalfFloat(binary.LittleEndian.Uint16(raw[2*i:])), compute.HalfFloat(compute.HalfBits(values[i]))
			}
		default:
			for i := range got {
				got[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			}
		}
		for i := range got {
			if got[i] != values[i] {
				t.Fatalf("%s: element %d is %v raw and %v read", c.p.Name, i, got[i], values[i])
			}
		}
	}
}

// TestWidthsOfOtherTypes checks what becomes of eight-bit floats and of BF16, large and small, tame and with values that half
// precision lacks.
func TestWidthsOfOtherTypes(t *testing.T) {
	bfloat := func(name string, n int, odd float32) checkpoint.Tensor {
		x := checkpoint.Tensor{Name: name, DType: checkpoint.BF16, Shape: []int{1, n}, Data: make([]byte, 2*n)}
		for i := range n {
			v := float32(i%255-127) / 64
			if i == 5 {
				v = odd
			}
			binary.LittleEndian.PutUint16(x.Data[2*i:], uint16(math.Float32bits(v)>>16))
		}
		return x
	}
	const large = exactElements + 4
	eight := checkpoint.Tensor{Name: "eight", DType: checkpoint.F8E4M3, Shape: []int{1, 256}, Data: make([]byte, 256)}
	for i := range eight.Data {
		eight.Data[i] = byte(i)
	}
	for _, c := range []struct {
		t    checkpoint.Tensor
		want compute.DType
	}{{eight, compute.F16}, {bfloat("tame", large, 0), compute.F16}, {bfloat("small", 64, 0), compute.F32}, {bfloat("huge", large, 1e9), compute.F32}, {bfloat("tiny", large, 0x1.02p-18), compute.F16}} {
		src := &Stored{tensor: c.t}
		n := c.t.Len()
		if src.DType() != c.want {
			t.Errorf("%s is %v, want %v", c.t.Name, src.DType(), c.want)
			continue
		}
		values, raw := make([]float32, n), make([]byte, c.want.Stored(n))
		if err := src.Read(values); err != nil {
			t.Fatal(err)
		}
		if err := src.ReadRaw(raw); err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			got := float32(0)
			if c.want == compute.F16 {
				got = compute.HalfFloat(binary.LittleEndian.Uint16(raw[2*i:]))
			} else {
				got = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			}
			if got != v && !(got != got && v != v) && !(c.t.Name == "tiny" && i == 5) {
				t.Fatalf("%s: element %d is %v on the device, %v in the file", c.t.Name, i, got, v)
			}
		}
	}
}

// tensors is a checkpoint in memory.
type tensors map[string]checkpoint.Tensor

func (m tensors) Names() (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}
func (m tensors) Get(name string) (checkpoint.Tensor, bool) { t, ok := m[name]; return t, ok }
func (m tensors) Metadata() map[string]string               { return map[string]string{} }
func (m tensors) Close() error                              { return nil }
