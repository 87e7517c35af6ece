package compute_test

import (
	"testing"

	"atelier/compute"
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
