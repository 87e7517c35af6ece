package computetest

import (
	"fmt"

	"atelier/compute"
)

// convCase describes a convolution: x [B H W Ci], kernel [Co Kh Kw Ci/groups].
func convCase(x []int, co, kh, kw int, o compute.ConvOpts, e extras) Case {
	groups := max(o.Groups, 1)
	in := []In{{Shape: x}, {Shape: []int{co, kh, kw, x[3] / groups}}}
	name := fmt.Sprintf("%v by %v", x, in[1].Shape)
	for _, s := range []struct {
		differs bool
		text    string
	}{
		{o.Stride != [2]int{}, fmt.Sprint(" stride ", o.Stride)}, {o.Dilation != [2]int{}, fmt.Sprint(" dilation ", o.Dilation)},
		{o.Pad != [4]int{}, fmt.Sprint(" pad ", o.Pad)}, {o.Groups > 1, fmt.Sprint(" groups ", o.Groups)},
	} {
		if s.differs {
			name += s.text
		}
	}
	o.Act = e.act
	bias, residual := 0, 0
	if e.bias || e.pictureBias {
		bias = len(in)
		shape := []int{co}
		if e.pictureBias {
			shape = []int{x[0], co}
		}
		in = append(in, In{Shape: shape})
	}
	if e.residual {
		residual = len(in)
		g := compute.NewGraph()
		y := compute.Conv2D(g.Input("x", x...), g.Input("w", in[1].Shape...), o)
		in = append(in, In{Shape: y.Shape()})
	}
	return Case{Op: "conv2d", Name: name + e.String(), In: in, Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
		o := o
		if bias > 0 {
			o.Bias = in[bias]
		}
		if residual > 0 {
			o.Residual = in[residual]
		}
		return compute.Conv2D(in[0], in[1], o)
	}}
}

func same(pad int) compute.ConvOpts { return compute.ConvOpts{Pad: [4]int{pad, pad, pad, pad}} }

func convCases() []Case {
	var cs []Case
	add := func(grad bool, x []int, co, kh, kw int, o compute.ConvOpts, e extras) {
		c := convCase(x, co, kh, kw, o, e)
		c.Grad = grad
		cs = append(cs, c)
	}
	none, full := extras{}, extras{bias: true, residual: true}
	for _, ci := range []int{1, 3, 4, 8, 12} {
		for _, co := range []int{1, 3, 4, 17, 20} {
			add(false, []int{1, 5, 6, ci}, co, 3, 3, same(1), extras{bias: true})
		}
	}
	add(true, []int{2, 4, 5, 3}, 2, 3, 3, same(1), none)
	add(true, []int{1, 5, 4, 4}, 4, 3, 2, compute.ConvOpts{Stride: [2]int{2, 1}, Pad: [4]int{1, 0, 0, 1}}, full)
	add(true, []int{1, 7, 8, 4}, 4, 2, 3, compute.ConvOpts{Stride: [2]int{2, 3}, Dilation: [2]int{2, 1}, Pad: [4]int{0, 1, 2, 0}, Groups: 2}, extras{bias: true, act: compute.ActSiLU})
	add(true, []int{2, 3, 3, 4}, 8, 3, 3, same(1), extras{pictureBias: true, residual: true})
	add(true, []int{2, 3, 3, 4}, 3, 1, 1, compute.ConvOpts{}, extras{pictureBias: true, act: compute.ActGELU})
	add(true, []int{1, 4, 4, 6}, 6, 3, 3, compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}, Groups: 6}, none)
	add(false, []int{2, 9, 7, 16}, 24, 3, 3, compute.ConvOpts{Pad: [4]int{0, 1, 0, 1}, Stride: [2]int{2, 2}}, full)
	add(false, []int{2, 9, 7, 24}, 16, 3, 3, compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}, Groups: 2}, extras{bias: true, residual: true, act: compute.ActReLU})
	add(false, []int{2, 5, 5, 24}, 12, 3, 3, compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}, Groups: 4}, full)
	add(false, []int{2, 5, 5, 12}, 12, 3, 3, compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}, Groups: 2}, extras{pictureBias: true})
	add(false, []int{3, 8, 8, 32}, 64, 3, 3, same(1), extras{pictureBias: true, residual: true})
	add(false, []int{2, 4, 4, 384}, 192, 3, 3, same(1), extras{pictureBias: true}) // inner axis split
	add(false, []int{2, 16, 16, 8}, 8, 1, 1, compute.ConvOpts{}, full)
	add(false, []int{2, 8, 8, 12}, 20, 1, 1, compute.ConvOpts{}, extras{pictureBias: true})
	add(false, []int{1, 9, 9, 8}, 8, 1, 1, compute.ConvOpts{Stride: [2]int{2, 2}}, none)
	add(false, []int{1, 33, 31, 20}, 36, 5, 5, compute.ConvOpts{Dilation: [2]int{2, 3}, Pad: [4]int{4, 4, 6, 6}}, extras{act: compute.ActTanh})
	cs[len(cs)-1].Tol = 5e-5 // sums of 500 products lose that much before tanh bounds them
	add(false, []int{1, 65, 5, 3}, 66, 7, 7, same(3), none)
	half := convCase([]int{1, 9, 9, 16}, 20, 3, 3, same(1), none)
	half.Name, half.In[1].Param, half.In[1].F16 = half.Name+" half weights", true, true
	cs = append(cs, half, conv1DCase(9, 6, 5, 4, compute.ConvOpts{Stride: [2]int{0, 2}, Pad: [4]int{0, 0, 3, 1}}),
		conv1DCase(40, 16, 3, 12, compute.ConvOpts{Dilation: [2]int{0, 2}, Pad: [4]int{0, 0, 2, 2}}))
	for _, s := range [][3]int{{64, 64, 64}, {64, 320, 320}, {32, 640, 640}, {16, 64, 64}, {512, 128, 128}} {
		c := convCase([]int{1, s[0], s[0], s[1]}, s[2], 3, 3, same(1), none)
		c.Name, c.Bench = fmt.Sprintf("3×3 at %d²×%d→%d", s[0], s[1], s[2]), true
		c.In[0].Param, c.In[1].Param = true, true
		cs = append(cs, c)
	}
	return cs
}

func conv1DCase(length, ci, k, co int, o compute.ConvOpts) Case {
	return Case{Op: "conv2d", Name: fmt.Sprintf("1-D [2 %d %d] by [%d %d %d]", length, ci, co, k, ci), Grad: true,
		In: []In{{Shape: []int{2, length, ci}}, {Shape: []int{co, k, ci}}, {Shape: []int{co}}},
		Build: func(_ *compute.Graph, in tensors) *compute.Tensor {
			o := o
			o.Bias = in[2]
			return compute.Conv1D(in[0], in[1], o)
		}}
}
