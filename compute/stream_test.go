package compute

import (
	"slices"
	"testing"
)

func TestStreamSet(t *testing.T) {
	costs := []StreamCost{{100, 200}, {10, 20}, {40, 80}, {10, 20}, {40, 80}}
	for _, c := range []struct {
		excess int64
		set    []int // nil: impossible
		window int64
	}{
		{-1 << 40, []int{}, 20}, // there is room
		{-10, []int{1}, 20},     // one of 10 makes room for half of its window
		{0, []int{1, 3}, 20},
		{5, []int{2, 3, 4}, 80},
		{20, []int{1, 2, 3, 4}, 80},
		{21, nil, 0}, // the next window is 200 for 200
	} {
		set, window, ok := StreamSet(costs, c.excess)
		if ok != (c.set != nil) || ok && (!slices.Equal(set, c.set) || window != c.window) {
			t.Errorf("excess %d: %v %d %v, want %v %d", c.excess, set, window, ok, c.set, c.window)
		}
	}
	if _, _, ok := StreamSet(nil, 1); ok {
		t.Error("nothing saves a byte")
	}
}

func TestStreamable(t *testing.T) {
	g := NewGraph()
	x := g.Input("x", 4, 8)
	value := func(n int) Source { return &Values{Data: make([]float32, n)} }
	plain, bias, shaped, twice := g.Param("plain", value(64), 8, 8), g.Param("bias", value(8), 8), g.Param("shaped", value(64), 64), g.Param("twice", value(64), 8, 8)
	variable := g.Param("variable", &Variable{}, 8, 8)
	y := MatMul(x, plain, MatMulOpts{Bias: bias})
	y = MatMul(y, Reshape(shaped, 8, 8), MatMulOpts{})
	y = MatMul(y, variable, MatMulOpts{})
	y = MatMul(y, twice, MatMulOpts{})
	g.Output("y", MatMul(twice, Reshape(y, 8, 4), MatMulOpts{}))
	p, err := g.Compile(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if list := p.Streamable(); len(list) != 1 || list[0] != plain {
		t.Errorf("streamable: %v", list)
	}
	held := func(t *Tensor) int64 { return t.Bytes() }
	if got, want := p.StreamedBytes(held), p.SlotBytes()+p.ParamBytes()-plain.Bytes()+2*plain.Bytes(); got != want {
		t.Errorf("%d bytes at least, want %d", got, want)
	}
}
