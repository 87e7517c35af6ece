package host

import (
	"math"
	"math/rand/v2"
	"testing"

	"atelier/compute"
)

// against runs one node on the device and compares it with its definition.
func against(t *testing.T, d *Device, name string, build func(input func(shape ...int) *compute.Tensor) *compute.Tensor) {
	t.Helper()
	g := compute.NewGraph()
	r := rand.New(rand.NewPCG(1, 2))
	in := map[string][]float32{}
	y := build(func(shape ...int) *compute.Tensor {
		values := make([]float32, compute.Shape(shape).Size())
		for i := range values {
			values[i] = float32(r.NormFloat64())
		}
		key := string(rune('a' + len(in)))
		in[key] = values
		return g.Input(key, shape...)
	})
	g.Output("y", y)
	p, err := g.Compile(d.Limits())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	e, err := d.Load(t.Context(), p)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer e.Close()
	got := make([]float32, y.Shape().Size())
	if err := e.Run(t.Context(), in, map[string][]float32{"y": got}); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	want := make([]float32, len(got))
	var operands [][]float32
	for _, x := range y.In {
		operands = append(operands, in[x.Name()])
	}
	compute.EvalRef(y, operands, want)
	largest := 1e-6
	for _, w := range want {
		largest = math.Max(largest, math.Abs(float64(w)))
	}
	for i, w := range want {
		if diff := math.Abs(float64(w - got[i])); !(diff <= 2e-5*largest) {
			t.Fatalf("%s: index %d: got %g, want %g", name, i, got[i], w)
		}
	}
}

// loaded is a graph ready to run.
func loaded(t *testing.T, d *Device, g *compute.Graph) compute.Executable {
	t.Helper()
	p, err := g.Compile(d.Limits())
	if err != nil {
		t.Fatal(err)
	}
	e, err := d.Load(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestMatMulProducts(t *testing.T) {
	d := New(Options{Workers: 2})
	defer d.Close()
	for name, c := range map[string]struct {
		a, b []int
		o    compute.MatMulOpts
	}{
		"plain":           {a: []int{33, 70}, b: []int{70, 65}},
		"shared b":        {a: []int{3, 2, 17, 64}, b: []int{64, 20}},
		"transposed b":    {a: []int{33, 70}, b: []int{65, 70}, o: compute.MatMulOpts{TransB: true}},
		"transposed a":    {a: []int{70, 33}, b: []int{70, 65}, o: compute.MatMulOpts{TransA: true}},
		"both transposed": {a: []int{2, 70, 33}, b: []int{65, 70}, o: compute.MatMulOpts{TransA: true, TransB: true}},
		"broadcast":       {a: []int{2, 1, 33, 30}, b: []int{1, 3, 30, 17}, o: compute.MatMulOpts{Act: compute.ActSiLU}},
		"one row":         {a: []int{1, 320}, b: []int{320, 64}},
		"one row trans":   {a: []int{1, 320}, b: []int{64, 320}, o: compute.MatMulOpts{TransB: true}},
		"one column":      {a: []int{70, 320}, b: []int{320, 1}},
		"one term":        {a: []int{70, 1}, b: []int{1, 80}},
		"one term trans":  {a: []int{1, 70}, b: []int{80, 1}, o: compute.MatMulOpts{TransA: true, TransB: true}},
	} {
		against(t, d, name, func(input func(...int) *compute.Tensor) *compute.Tensor {
			return compute.MatMul(input(c.a...), input(c.b...), c.o)
		})
	}
	against(t, d, "epilogue", func(input func(...int) *compute.Tensor) *compute.Tensor {
		a, b := input(2, 33, 70), input(70, 65)
		return compute.MatMul(a, b, compute.MatMulOpts{Bias: input(65), Act: compute.ActGELU, Residual: input(2, 33, 65)})
	})
}

func TestConvolutionProducts(t *testing.T) {
	d := New(Options{Workers: 2})
	defer d.Close()
	for name, c := range map[string]struct {
		x, w []int
		o    compute.ConvOpts
	}{
		"3x3":        {x: []int{2, 9, 7, 12}, w: []int{5, 3, 3, 12}, o: compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}}},
		"pointwise":  {x: []int{2, 9, 7, 12}, w: []int{5, 1, 1, 12}},
		"stride":     {x: []int{1, 16, 15, 8}, w: []int{4, 3, 3, 8}, o: compute.ConvOpts{Stride: [2]int{2, 2}, Pad: [4]int{0, 1, 0, 1}, Act: compute.ActReLU}},
		"dilation":   {x: []int{1, 16, 15, 8}, w: []int{4, 3, 2, 8}, o: compute.ConvOpts{Dilation: [2]int{2, 3}, Pad: [4]int{2, 1, 0, 3}}},
		"groups":     {x: []int{1, 16, 15, 8}, w: []int{4, 3, 3, 4}, o: compute.ConvOpts{Groups: 2}},
		"two pieces": {x: []int{1, 70, 70, 64}, w: []int{2, 3, 3, 64}, o: compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}}},
	} {
		against(t, d, name, func(input func(...int) *compute.Tensor) *compute.Tensor {
			return compute.Conv2D(input(c.x...), input(c.w...), c.o)
		})
	}
	for _, bias := range [][]int{{5}, {2, 5}} {
		against(t, d, "epilogue", func(input func(...int) *compute.Tensor) *compute.Tensor {
			x, w := input(2, 9, 7, 12), input(5, 3, 3, 12)
			return compute.Conv2D(x, w, compute.ConvOpts{Bias: input(bias...), Act: compute.ActTanh, Residual: input(2, 7, 5, 5)})
		})
	}
}

func TestAttentionProducts(t *testing.T) {
	d := New(Options{Workers: 3})
	defer d.Close()
	for name, c := range map[string]struct {
		q, k []int
		mask []int
		o    compute.AttentionOpts
	}{
		"self":        {q: []int{2, 65, 32}, k: []int{2, 65, 32}, o: compute.AttentionOpts{Heads: 4}},
		"cross":       {q: []int{1, 130, 40}, k: []int{1, 7, 40}, o: compute.AttentionOpts{Heads: 1, Scale: 0.3}},
		"causal":      {q: []int{1, 64, 32}, k: []int{1, 70, 32}, o: compute.AttentionOpts{Heads: 2, Causal: true}},
		"hidden rows": {q: []int{1, 70, 32}, k: []int{1, 20, 32}, o: compute.AttentionOpts{Heads: 2, Causal: true}},
		"key heads":   {q: []int{1, 30, 64}, k: []int{1, 33, 32}, o: compute.AttentionOpts{Heads: 4, KVHeads: 2}},
		"mask":        {q: []int{2, 33, 32}, k: []int{2, 21, 32}, mask: []int{2, 1, 33, 21}, o: compute.AttentionOpts{Heads: 2}},
		"key mask":    {q: []int{2, 33, 32}, k: []int{2, 21, 32}, mask: []int{2, 1, 1, 21}, o: compute.AttentionOpts{Heads: 2}},
		"query mask":  {q: []int{2, 33, 32}, k: []int{2, 21, 32}, mask: []int{33, 1}, o: compute.AttentionOpts{Heads: 2}},
	} {
		against(t, d, name, func(input func(...int) *compute.Tensor) *compute.Tensor {
			q, k, v := input(c.q...), input(c.k...), input(c.k...)
			if c.mask != nil {
				c.o.Mask = input(c.mask...)
			}
			return compute.Attention(q, k, v, c.o)
		})
	}
}

// Replays give the same bits.
func TestDeterministic(t *testing.T) {
	d := New(Options{})
	defer d.Close()
	g := compute.NewGraph()
	x := g.Input("x", 1, 20, 20, 32)
	y := compute.Conv2D(x, g.Input("w", 48, 3, 3, 32), compute.ConvOpts{})
	g.Output("y", y)
	e := loaded(t, d, g)
	in := map[string][]float32{"x": make([]float32, 20*20*32), "w": make([]float32, 48*9*32)}
	for _, v := range in {
		for i := range v {
			v[i] = float32(i%1013)*0.37 - 100
		}
	}
	first, again := make([]float32, y.Shape().Size()), make([]float32, y.Shape().Size())
	for range 5 {
		if err := e.Run(t.Context(), in, map[string][]float32{"y": again}); err != nil {
			t.Fatal(err)
		}
		if first[0] == 0 {
			copy(first, again)
		}
		for i := range first {
			if first[i] != again[i] {
				t.Fatalf("index %d: %g, then %g", i, first[i], again[i])
			}
		}
	}
}

// A replay of what networks are made of allocates nothing.
func TestReplayAllocatesNothing(t *testing.T) {
	d := New(Options{Workers: 2})
	defer d.Close()
	g := compute.NewGraph()
	half := func(n int) compute.Source { return &compute.Values{Data: make([]float32, n), Type: compute.F16} }
	x := g.Input("x", 1, 16, 16, 64)
	h := compute.GroupNorm(x, g.Param("gamma", half(64), 64), g.Param("beta", half(64), 64), 32, 1e-5, compute.ActSiLU)
	h = compute.Conv2D(h, g.Param("conv", half(64*9*64), 64, 3, 3, 64), compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}, Residual: x})
	h = compute.LayerNorm(compute.Reshape(h, 1, 256, 64), nil, nil, 1e-5)
	h = compute.Add(compute.Attention(h, h, h, compute.AttentionOpts{Heads: 4}), h)
	h = compute.GLU(compute.MatMul(h, g.Param("wide", half(64*512), 64, 512), compute.MatMulOpts{}), compute.ActGELU)
	g.Output("y", compute.MatMul(h, g.Param("narrow", half(256*64), 256, 64), compute.MatMulOpts{}))
	e := loaded(t, d, g)
	in := map[string][]float32{"x": make([]float32, 16*16*64)}
	var err error
	if n := testing.AllocsPerRun(20, func() { err = e.Run(t.Context(), in, nil) }); err != nil || n > 0 {
		t.Errorf("a replay makes %v allocations, error %v", n, err)
	}
}

// Normalising numbers that lie far from 0, whose first rows are unlike the rest, loses no more digits than they have.
func TestGroupNormFarOut(t *testing.T) {
	d := New(Options{Workers: 2})
	defer d.Close()
	g := compute.NewGraph()
	const rows, c = 3000, 32
	x := make([]float32, rows*c)
	for i := range x {
		x[i] = 100 + float32(i%97)/97
		if i < 20*c {
			x[i] += 50
		}
	}
	in := g.Input("x", 1, rows, c)
	y := compute.GroupNorm(in, nil, nil, 4, 1e-5, compute.ActNone)
	g.Output("y", y)
	e := loaded(t, d, g)
	got, want := make([]float32, len(x)), make([]float32, len(x))
	if err := e.Run(t.Context(), map[string][]float32{"x": x}, map[string][]float32{"y": got}); err != nil {
		t.Fatal(err)
	}
	compute.EvalRef(y, [][]float32{x}, want)
	for i, w := range want {
		if math.Abs(float64(got[i]-w)) > 1e-4 {
			t.Fatalf("index %d: got %g, want %g", i, got[i], w)
		}
	}
}
