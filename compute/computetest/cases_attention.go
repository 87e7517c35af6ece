package computetest

import (
	"fmt"

	"atelier/compute"
)

func attentionCases() []Case {
	type size struct{ b, h, hk, tq, tk, d int }
	var cs []Case
	add := func(s size, causal bool, mask []int, grad, bench bool) {
		name := fmt.Sprintf("%d·%d/%d heads of %d, %d queries, %d keys", s.b, s.h, s.hk, s.d, s.tq, s.tk)
		in := []In{{Shape: []int{s.b, s.tq, s.h * s.d}, Param: bench}, {Shape: []int{s.b, s.tk, s.hk * s.d}, Param: bench}, {Shape: []int{s.b, s.tk, s.hk * s.d}, Param: bench}}
		if causal {
			name += " causal"
		}
		if mask != nil {
			name += fmt.Sprint(" mask ", mask)
			in = append(in, In{Shape: mask})
		}
		op := "attention"
		if s.d > 128 || s.d%4 != 0 { // composed of products and softmax
			op, name = "softmax", "in attention: "+name
		}
		cs = append(cs, Case{Op: op, Name: name, In: in, Grad: grad, Bench: bench,
			Build: func(_ *compute.Graph, in []*compute.Tensor) *compute.Tensor {
				o := compute.AttentionOpts{Heads: s.h, KVHeads: s.hk, Causal: causal}
				if mask != nil {
					o.Mask = in[3]
				}
				return compute.Attention(in[0], in[1], in[2], o)
			}})
	}
	add(size{1, 1, 1, 1, 1, 4}, false, nil, true, false)
	add(size{2, 4, 4, 64, 32, 16}, false, nil, false, false) // eight queries an invocation
	add(size{2, 3, 3, 65, 7, 12}, false, nil, false, false)
	add(size{1, 2, 2, 63, 257, 40}, false, nil, false, false) // eight, with a rest
	add(size{1, 2, 1, 5, 9, 64}, false, nil, false, false)    // four queries, shared keys
	add(size{1, 6, 2, 17, 33, 80}, true, nil, false, false)
	add(size{1, 1, 1, 3, 66, 128}, false, nil, false, false) // two queries
	add(size{1, 1, 1, 9, 10, 160}, false, nil, false, false) // composed: too wide
	add(size{1, 2, 2, 9, 10, 6}, true, nil, false, false)    // composed: heads do not fill texels
	add(size{2, 2, 2, 77, 77, 8}, true, nil, false, false)   // CLIP's
	add(size{2, 4, 2, 6, 11, 8}, true, []int{6, 11}, false, false)
	add(size{2, 4, 2, 6, 11, 8}, false, []int{2, 1, 1, 11}, false, false)
	add(size{2, 4, 4, 6, 11, 8}, false, []int{4, 6, 1}, false, false)
	add(size{2, 2, 2, 3, 5, 4}, false, nil, true, false)
	add(size{1, 4, 2, 4, 6, 4}, true, nil, true, false)
	add(size{1, 2, 2, 3, 4, 8}, false, []int{1, 2, 3, 4}, true, false)
	add(size{1, 8, 8, 256, 256, 40}, false, nil, false, true)
	add(size{1, 8, 8, 4096, 4096, 40}, false, nil, false, true)
	return cs
}
