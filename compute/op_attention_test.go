package compute_test

import (
	"testing"

	"atelier/compute"
	"atelier/compute/computetest"
)

func TestAttention(t *testing.T) { checkOps(t, "attention") }

func TestAttentionShared(t *testing.T) { checkShared(t, "attention") }

func TestAttentionMistakes(t *testing.T) {
	attend := func(q, k, v []int, o compute.AttentionOpts, mask ...int) func(*compute.Graph) *compute.Tensor {
		return func(g *compute.Graph) *compute.Tensor {
			if mask != nil {
				o.Mask = g.Input("mask", mask...)
			}
			return compute.Attention(g.Input("q", q...), g.Input("k", k...), g.Input("v", v...), o)
		}
	}
	wantMistake(t, "attention: q, k and v must be [B T H·D], not [4 8], [4 8] and [4 8]", attend([]int{4, 8}, []int{4, 8}, []int{4, 8}, compute.AttentionOpts{Heads: 2}))
	wantMistake(t, "attention: 3 key heads do not divide 4 query heads", attend([]int{1, 4, 8}, []int{1, 4, 6}, []int{1, 4, 6}, compute.AttentionOpts{Heads: 4, KVHeads: 3}))
	wantMistake(t, "attention: q [1 4 8], k [1 5 8] and v [1 6 8] must agree in batch, k and v in length", attend([]int{1, 4, 8}, []int{1, 5, 8}, []int{1, 6, 8}, compute.AttentionOpts{Heads: 2}))
	wantMistake(t, "attention: mask [3 5] does not broadcast to [1 2 4 5]", attend([]int{1, 4, 8}, []int{1, 5, 8}, []int{1, 5, 8}, compute.AttentionOpts{Heads: 2}, 3, 5))
}

// TestLongAttentionGradient: where the scores of all queries would be too many at once, the gradients come in several pieces, which
// are those of the definition.
func TestLongAttentionGradient(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	const b, h, tq, tk, d = 2, 2, 300, 16000, 4
	g := compute.NewGraph()
	q, k, v := g.Input("q", b, tq, h*d), g.Input("k", b, tk, h*d), g.Input("v", b, tk, h*d)
	y := compute.Attention(q, k, v, compute.AttentionOpts{Heads: h})
	for i, x := range compute.Grad(compute.Sum(compute.Mul(y, g.Input("dy", b, tq, h*d)), false), q, k, v) {
		g.Output([]string{"dq", "dk", "dv"}[i], x)
	}
	feed := map[string][]float32{"q": wave(b*tq*h*d, 1), "k": wave(b*tk*h*d, 2), "v": wave(b*tk*h*d, 3), "dy": wave(b*tq*h*d, 4)}
	var results []map[string][]float32
	for _, dev := range devs {
		plan, err := g.Compile(dev.Limits())
		if err != nil {
			t.Fatal(err)
		}
		if most := int64(6 * 4 << 24); plan.SlotBytes() > most {
			t.Errorf("%s: slots of %d bytes, more than %d", dev.Name(), plan.SlotBytes(), most)
		}
		exe, err := dev.Load(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		defer exe.Close()
		out := map[string][]float32{}
		for _, o := range plan.Outputs {
			out[o.Name] = make([]float32, o.T.Shape().Size())
		}
		if err := exe.Run(t.Context(), feed, out); err != nil {
			t.Fatal(err)
		}
		results = append(results, out)
	}
	for name, want := range results[1] {
		if err := computetest.Compare(results[0][name], want, 2e-4); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
