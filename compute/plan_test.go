package compute

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// opBlend is a·x + b·y + …, with weights 1, 2, 3 … by operand, so that a stale slot changes the result.
var opBlend = &Op{
	Name:  "blend",
	Shape: func(n *Tensor) (Shape, error) { return Shape{n.Attr.(int)}, nil },
	Ref: func(_ *Tensor, in [][]float32, out []float32, lo, hi int) {
		for i := lo; i < hi; i++ {
			out[i] = 0
			for j, x := range in {
				out[i] += float32(j+1) * x[i%len(x)] / 4
			}
		}
	},
}

// replay runs a plan on its slots as a device would, with every slot poisoned first.
func replay(p *Plan, in map[string][]float32) map[string][]float32 {
	slots := make([][]float32, len(p.Slots))
	for i, b := range p.Slots {
		slots[i] = make([]float32, b/4)
		for j := range slots[i] {
			slots[i][j] = float32(math.NaN())
		}
	}
	at := func(t *Tensor) []float32 {
		if r := Root(t); r.IsParam() {
			return r.Src.(*Values).Data
		}
		return slots[p.Slot(t)][:t.shape.Size()]
	}
	for _, n := range p.Inputs {
		copy(at(n), in[n.name])
	}
	for _, s := range p.Steps {
		var ops [][]float32
		for _, x := range s.Node.In {
			ops = append(ops, append([]float32(nil), at(x)...))
		}
		s.Node.Op.Ref(s.Node, ops, at(s.Node), 0, s.Node.shape.Size())
	}
	out := map[string][]float32{}
	for _, o := range p.Outputs {
		out[o.Name] = append([]float32(nil), at(o.T)...)
	}
	return out
}

func TestSlotsHoldLiveValuesOnly(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g := NewGraph()
		in := map[string][]float32{"a": {1, 2, 3}, "b": {-1, 5, 0.5, 2}}
		nodes := []*Tensor{g.Input("a", 3), g.Input("b", 4), g.Const("c", []float32{7, 8}, 2)}
		want := [][]float32{in["a"], in["b"], {7, 8}}
		for range 25 {
			var xs []*Tensor
			var vals [][]float32
			for range 1 + rng.IntN(3) {
				k := max(0, len(nodes)-1-rng.IntN(8))
				xs, vals = append(xs, nodes[k]), append(vals, want[k])
			}
			size := 1 + rng.IntN(40)
			n := newNode(opBlend, size, xs...)
			v := make([]float32, size)
			opBlend.Ref(n, vals, v, 0, size)
			if rng.IntN(4) == 0 {
				n = Reshape(n, 1, size)
			}
			nodes, want = append(nodes, n), append(want, v)
		}
		for _, k := range []int{1, 9, 14, len(nodes) - 1} {
			g.Output(fmt.Sprint(k), nodes[k])
		}
		p, err := g.Compile(Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got := replay(p, in)
		for _, k := range []int{1, 9, 14, len(nodes) - 1} {
			for i, v := range want[k] {
				if got[fmt.Sprint(k)][i] != v {
					t.Fatalf("seed %d: node %d differs at %d: %v, want %v\n%v", seed, k, i, got[fmt.Sprint(k)][i], v, p)
				}
			}
		}
	}
}

func TestSlotsAreReused(t *testing.T) {
	g := NewGraph()
	x := g.Input("x", 1024)
	for range 50 {
		x = newNode(opBlend, 1024, x)
	}
	g.Output("y", x)
	p, err := g.Compile(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Slots) != 2 || p.SlotBytes() != 2*4096 {
		t.Fatalf("a chain needs two slots, got %d of %d bytes", len(p.Slots), p.SlotBytes())
	}
}

func TestUnneededNodesArePruned(t *testing.T) {
	g := NewGraph()
	x := g.Input("x", 4)
	newNode(opBlend, 4, x)
	g.Output("y", newNode(opBlend, 2, x))
	p, err := g.Compile(Limits{})
	if err != nil || len(p.Steps) != 1 {
		t.Fatalf("%d steps, error %v", len(p.Steps), err)
	}
}

func TestErrorsAreStickyAndNameTheLine(t *testing.T) {
	g := NewGraph()
	x := g.Input("x", 2, 3)
	bad := Reshape(x, 7)
	after := newNode(opBlend, 3, Reshape(bad, 3, 2), x)
	if after.Err() == nil || after.Dim(-1) != 1 {
		t.Fatal("a poisoned operand must poison the result")
	}
	g.Output("y", after)
	_, err := g.Compile(Limits{})
	want := "compute: reshape: [7] does not hold the elements of [2 3] ("
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Fatalf("got %v, want %s…", err, want)
	}
}

func TestBroadcast(t *testing.T) {
	for _, c := range []struct{ a, b, want Shape }{
		{Shape{2, 3}, Shape{3}, Shape{2, 3}},
		{Shape{2, 1, 4}, Shape{3, 1}, Shape{2, 3, 4}},
		{Shape{1}, Shape{5, 2}, Shape{5, 2}},
		{Shape{2, 3}, Shape{2}, nil},
	} {
		got, err := Broadcast(c.a, c.b)
		if c.want == nil {
			if err == nil || err.Error() != "shapes do not broadcast: [2 3] · [2]" {
				t.Errorf("%v · %v: %v", c.a, c.b, err)
			}
		} else if err != nil || !got.Equal(c.want) {
			t.Errorf("%v · %v = %v, %v", c.a, c.b, got, err)
		}
	}
}

func TestShapeOverflowIsRefused(t *testing.T) {
	g := NewGraph()
	if err := g.Input("x", 1<<20, 1<<20).Err(); err == nil || !strings.Contains(err.Error(), "more than 2147418112 elements") {
		t.Fatalf("got %v", err)
	}
}

func TestGridFoldsBeyondTheAxisLimit(t *testing.T) {
	lw := &Lowering{Limits: Limits{Groups: [3]int{65535, 65535, 65535}}}
	for _, n := range []int{1, 65535, 65536, 10_000_000} {
		g := lw.Grid(n)
		if g[0] > 65535 || g[0]*g[1] < n || g[0]*g[1] > n+g[1] {
			t.Errorf("%d groups fold to %v", n, g)
		}
	}
}
