package computetest

import (
	"fmt"

	"atelier/compute"
)

var _ = area("heavy", heavyCases)

func heavyCases() []Case {
	var cs []Case
	cs = append(cs, matMulCases()...)
	cs = append(cs, blockCases()...)
	cs = append(cs, convCases()...)
	cs = append(cs, convTransposeCases()...)
	cs = append(cs, convGradCases()...)
	cs = append(cs, attentionCases()...)
	return cs
}

// extras are the optional operands of products and convolutions.
type extras struct {
	bias, pictureBias, residual bool
	act                         compute.Act
}

func (e extras) String() string {
	s := ""
	if e.act != compute.ActNone {
		s += " " + e.act.String()
	}
	for _, x := range []struct {
		has  bool
		name string
	}{{e.bias, " bias"}, {e.pictureBias, " bias per picture"}, {e.residual, " residual"}} {
		if x.has {
			s += x.name
		}
	}
	return s
}

func matMulCase(a, b []int, ta, tb bool, e extras) Case {
	opts := compute.MatMulOpts{TransA: ta, TransB: tb, Act: e.act}
	in := []In{{Shape: a}, {Shape: b}}
	name := fmt.Sprint(a, b)
	if ta {
		name += " A turned"
	}
	if tb {
		name += " B turned"
	}
	n := b[len(b)-1]
	if tb {
		n = b[len(b)-2]
	}
	bias, residual := 0, 0
	if e.bias {
		bias = len(in)
		in = append(in, In{Shape: []int{n}})
	}
	if e.residual {
		residual = len(in)
		m := a[len(a)-2]
		if ta {
			m = a[len(a)-1]
		}
		lead, _ := compute.Broadcast(a[:len(a)-2], b[:len(b)-2])
		in = append(in, In{Shape: append(append([]int(nil), lead...), m, n)})
	}
	return Case{Op: "matmul", Name: name + e.String(), In: in, Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
		o := opts
		if bias > 0 {
			o.Bias = in[bias]
		}
		if residual > 0 {
			o.Residual = in[residual]
		}
		return compute.MatMul(in[0], in[1], o)
	}}
}

func matMulCases() []Case {
	var cs []Case
	add := func(grad bool, c Case) {
		c.Grad = grad
		cs = append(cs, c)
	}
	none := extras{}
	for _, m := range []int{1, 5, 65} {
		for _, n := range []int{1, 3, 64, 66} {
			for _, k := range []int{1, 4, 7, 64} {
				add(false, matMulCase([]int{m, k}, []int{n, k}, false, true, none))
			}
		}
	}
	for _, ta := range []bool{false, true} {
		for _, tb := range []bool{false, true} {
			at := func(lead []int, r, c int, turned bool) []int {
				if turned {
					r, c = c, r
				}
				return append(append([]int(nil), lead...), r, c)
			}
			add(true, matMulCase(at(nil, 3, 5, ta), at(nil, 5, 2, tb), ta, tb, none))
			add(false, matMulCase(at([]int{2}, 20, 12, ta), at([]int{2}, 12, 24, tb), ta, tb, none))
			add(true, matMulCase(at([]int{2}, 4, 8, ta), at(nil, 8, 4, tb), ta, tb, none))
			add(false, matMulCase(at(nil, 68, 13, ta), at([]int{3}, 13, 36, tb), ta, tb, none))
			add(false, matMulCase(at(nil, 257, 19, ta), at(nil, 19, 130, tb), ta, tb, none))
		}
	}
	add(true, matMulCase([]int{2, 1, 3, 4}, []int{3, 4, 5}, false, false, none))
	add(false, matMulCase([]int{2, 1, 3, 8}, []int{2, 3, 8, 12}, false, false, none))
	add(false, matMulCase([]int{2, 1, 2, 3, 8}, []int{1, 3, 1, 8, 12}, false, false, none))
	add(true, matMulCase([]int{2, 3, 8}, []int{6, 8}, false, true, extras{bias: true, residual: true}))
	add(true, matMulCase([]int{4, 6}, []int{8, 6}, false, true, extras{bias: true, act: compute.ActSiLU}))
	add(true, matMulCase([]int{4, 6}, []int{8, 6}, false, true, extras{act: compute.ActGELU, residual: true}))
	for _, act := range []compute.Act{compute.ActReLU, compute.ActGELUTanh, compute.ActQuickGELU, compute.ActTanh, compute.ActSigmoid} {
		add(false, matMulCase([]int{5, 8}, []int{9, 8}, false, true, extras{bias: true, act: act, residual: true}))
	}
	add(false, matMulCase([]int{32, 1728}, []int{192, 1728}, false, true, extras{bias: true, residual: true, act: compute.ActSiLU})) // inner axis split
	add(false, matMulCase([]int{7, 1003}, []int{5, 1003}, false, true, extras{bias: true, residual: true}))
	add(false, matMulCase([]int{2, 320}, []int{1280, 320}, false, true, extras{bias: true}))
	half := matMulCase([]int{33, 64}, []int{40, 64}, false, true, none)
	half.Name, half.In[1].Param, half.In[1].F16 = half.Name+" half weights", true, true
	add(false, half)
	for _, s := range [][3]int{{512, 512, 512}, {1024, 1280, 1280}, {512, 512, 64}, {128, 1024, 128}, {4096, 320, 320}} {
		c := matMulCase([]int{s[0], s[2]}, []int{s[1], s[2]}, false, true, none)
		c.Name, c.Bench = fmt.Sprintf("%d×%d×%d", s[0], s[1], s[2]), true
		c.In[0].Param, c.In[1].Param = true, true
		add(false, c)
	}
	return cs
}
