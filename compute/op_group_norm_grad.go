package compute

import "math"

// The gradient of group norm goes in two steps, so that what it sums is summed once: group_norm_moments (x, dy, then gamma and
// beta) gives [B 4 C], for each channel the group's mean, the reciprocal of its deviation, the sum of dz and that of dz·x̂, where
// dz = dy·act′(gamma·x̂ + beta); group_norm_grad (x, dy, moments, then gamma and beta) gives the gradient of x.

var (
	opGroupNormMoments = register(&Op{
		Name: "group_norm_moments",
		Shape: func(n *Tensor) (Shape, error) {
			x := n.In[0].shape
			return Shape{x[0], 4, x.Last()}, nil
		},
		Units: func(n *Tensor) int { return n.shape[0] * n.Attr.(*GroupNormAttr).Groups },
		Ref:   groupNormMomentsRef,
	})
	opGroupNormGrad = register(&Op{
		Name:  "group_norm_grad",
		Shape: func(n *Tensor) (Shape, error) { return n.In[0].shape, nil },
		Units: func(n *Tensor) int { return n.shape[0] * n.Attr.(*GroupNormAttr).Groups },
		Ref:   groupNormGradRef,
	})
)

func groupNormMomentsRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, c := n.Attr.(*GroupNormAttr), n.shape[2]
	rows, width := n.In[0].shape.Size()/n.shape[0]/c, c/at.Groups
	x, dy := in[0], in[1]
	for u := lo; u < hi; u++ {
		b, first := u/at.Groups, u%at.Groups*width
		base := b*rows*c + first
		mean, squares := 0.0, 0.0
		for r := range rows {
			for _, v := range x[base+r*c:][:width] {
				mean += float64(v)
			}
		}
		mean /= float64(rows * width)
		for r := range rows {
			for _, v := range x[base+r*c:][:width] {
				squares += (float64(v) - mean) * (float64(v) - mean)
			}
		}
		scale := 1 / math.Sqrt(squares/float64(rows*width)+at.Eps)
		for k := range width {
			gamma, beta := at.affine(in[2:], first+k)
			sum, product := 0.0, 0.0
			for r := range rows {
				i := base + r*c + k
				normed := (float64(x[i]) - mean) * scale
				dz := float64(dy[i]) * at.Act.Slope(gamma*normed+beta)
				sum, product = sum+dz, product+dz*normed
			}
			for j, v := range []float64{mean, scale, sum, product} {
				out[(b*4+j)*c+first+k] = float32(v)
			}
		}
	}
}

// affine is gamma and beta of a channel.
func (at *GroupNormAttr) affine(in [][]float32, channel int) (gamma, beta float64) {
	if !at.Affine {
		return 1, 0
	}
	return float64(in[0][channel]), float64(in[1][channel])
}

func groupNormGradRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, c := n.Attr.(*GroupNormAttr), n.shape.Last()
	rows, width := n.shape.Size()/n.shape[0]/c, c/at.Groups
	x, dy := in[0], in[1]
	for u := lo; u < hi; u++ {
		b, first := u/at.Groups, u%at.Groups*width
		moment := func(j, k int) float64 { return float64(in[2][(b*4+j)*c+first+k]) }
		sum, product := 0.0, 0.0
		for k := range width {
			gamma, _ := at.affine(in[3:], first+k)
			sum += gamma * moment(2, k)
			product += gamma * moment(3, k)
		}
		sum, product = sum/float64(rows*width), product/float64(rows*width)
		for r := range rows {
			for k := range width {
				gamma, beta := at.affine(in[3:], first+k)
				i := b*rows*c + first + r*c + k
				normed := (float64(x[i]) - moment(0, k)) * moment(1, k)
				dz := float64(dy[i]) * at.Act.Slope(gamma*normed+beta)
				out[i] = float32(moment(1, k) * (gamma*dz - sum - normed*product))
			}
		}
	}
}

func init() {
	opGroupNorm.VJP = func(n, dy *Tensor) []*Tensor {
		at, x, affine := n.Attr.(*GroupNormAttr), n.In[0], n.In[1:]
		moments := newNode(opGroupNormMoments, at, append([]*Tensor{x, dy}, affine...)...)
		out := []*Tensor{newNode(opGroupNormGrad, at, append([]*Tensor{x, dy, moments}, affine...)...)}
		if at.Affine {
			c := x.shape.Last()
			sums := func(j int) *Tensor { return Reshape(Sum(Slice(moments, 1, j, j+1), true, 0), c) }
			out = append(out, sums(3), sums(2))
		}
		return out
	}
	opGroupNormMoments.Compose = func(n *Tensor) *Tensor {
		p := composeGroupNorm(n, n.In[1], n.In[2:])
		b, c := n.shape[0], n.shape[2]
		stat := func(t *Tensor) *Tensor { return Reshape(BroadcastTo(t, b, 1, p.grouped[2], p.grouped[3]), b, 1, c) }
		dz := Reshape(p.dz, b, -1, c)
		return Concat(1, stat(p.mean), stat(p.scale), Sum(dz, true, 1), Sum(Mul(dz, Reshape(p.normed, b, -1, c)), true, 1))
	}
	opGroupNormGrad.Compose = func(n *Tensor) *Tensor {
		p := composeGroupNorm(n, n.In[1], n.In[3:])
		g := p.dz
		if n.Attr.(*GroupNormAttr).Affine {
			g = Mul(g, n.In[3])
		}
		return standardiseGrad(g, p.normed, p.scale, n.shape, p.grouped, 1, 3)
	}
}

// groupNormPieces are the pieces that group norm's gradients are composed of.
type groupNormPieces struct {
	grouped     []int   // [B rows groups width]
	mean, scale *Tensor // [B 1 groups 1]
	normed, dz  *Tensor // of x's shape
}

func composeGroupNorm(n, dy *Tensor, affine []*Tensor) groupNormPieces {
	at, x := n.Attr.(*GroupNormAttr), n.In[0]
	c := x.shape.Last()
	p := groupNormPieces{grouped: []int{x.shape[0], x.shape.Size() / x.shape[0] / c, at.Groups, c / at.Groups}}
	g := Reshape(x, p.grouped...)
	p.mean = Mean(g, true, 1, 3)
	d := Sub(g, p.mean)
	p.scale = Rsqrt(Affine(Mean(Square(d), true, 1, 3), 1, at.Eps))
	p.normed = Reshape(Mul(d, p.scale), x.shape...)
	pre := p.normed
	if at.Affine && at.Act != ActNone {
		pre = Add(Mul(pre, affine[0]), affine[1])
	}
	p.dz = at.Act.grad(pre, dy)
	return p
}
