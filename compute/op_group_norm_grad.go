package compute

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
		Lower: groupNormMomentsLower,
	})
	opGroupNormGrad = register(&Op{
		Name:  "group_norm_grad",
		Shape: func(n *Tensor) (Shape, error) { return n.In[0].shape, nil },
		Units: func(n *Tensor) int { return n.shape[0] * n.Attr.(*GroupNormAttr).Groups },
		Ref:   groupNormGradRef,
		Lower: groupNormGradLower,
	})
)

func groupNormMomentsRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, c := n.Attr.(*GroupNormAttr), n.shape[2]
	rows, width := n.In[0].shape.Size()/n.shape[0]/c, c/at.Groups
	x, dy := in[0], in[1]
	for u := lo; u < hi; u++ {
		b, first := u/at.Groups, u%at.Groups*width
		base := b*rows*c + first
		mean, scale := at.moments(x[base:], rows, width, c)
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

// slopes is a launch that goes down x's columns with dz: operands x, dy and affine.
func (s groupNormSplit) slopes(shader string, at *GroupNormAttr, x, dy *Tensor, affine []*Tensor, lw *Lowering) Launch {
	l := Launch{
		Shader:   shader,
		Defines:  s.defines(),
		Reads:    []Operand{Read("X", x, s.width), Read("Dy", dy, s.width)},
		Uniforms: s.uniforms(),
		Groups:   lw.Grid(ceilDiv(s.columns()*s.parts, 32)),
	}
	l.Defines["SLOPE"] = at.Act.String() + "_grad"
	if at.Affine {
		l.Defines["AFFINE"] = "1"
		l.Reads = append(l.Reads, Read("Gamma", affine[0], s.width), Read("Beta", affine[1], s.width))
	}
	return l
}

func groupNormMomentsLower(n *Tensor, lw *Lowering) []Launch {
	at, x, s := n.Attr.(*GroupNormAttr), n.In[0], groupNormSplitOf(n.In[0].shape)
	launches, mean, scale := s.statistics(x, nil, at, lw)
	sums, products := lw.Scratch(s.batch*s.parts*s.channels), lw.Scratch(s.batch*s.parts*s.channels)
	partial := s.slopes("group_norm_sums", at, x, n.In[1], n.In[2:], lw)
	partial.Reads = append(partial.Reads, ReadScratch("Mean", mean, s.width), ReadScratch("Scale", scale, s.width))
	partial.Writes = []Operand{sums, products}
	return append(launches, partial, Launch{
		Shader: "group_norm_moments",
		Reads: []Operand{ReadScratch("Mean", mean, 1), ReadScratch("Scale", scale, 1),
			ReadScratch("Sums", sums, 1), ReadScratch("Products", products, 1)},
		Writes:   []Operand{Write(n)},
		Uniforms: []Uniform{Int("batch", s.batch), Int("channels", s.channels), Int("parts", s.parts)},
		Groups:   lw.Grid(ceilDiv(s.batch*s.channels, 32)),
	})
}

func groupNormGradLower(n *Tensor, lw *Lowering) []Launch {
	at, x, moments, affine, s := n.Attr.(*GroupNormAttr), n.In[0], n.In[2], n.In[3:], groupNormSplitOf(n.shape)
	sums, products := lw.Scratch(s.batch*s.channels), lw.Scratch(s.batch*s.channels)
	share := Launch{
		Shader:   "group_norm_share",
		Defines:  map[string]string{},
		Reads:    []Operand{Read("Moments", moments, 1)},
		Writes:   []Operand{sums, products},
		Uniforms: []Uniform{Int("batch", s.batch), Int("rows", s.rows), Int("channels", s.channels), Int("groups", at.Groups)},
		Groups:   lw.Grid(ceilDiv(s.batch*at.Groups, 32)),
	}
	if at.Affine {
		share.Defines["AFFINE"] = "1"
		share.Reads = append(share.Reads, Read("Gamma", affine[0], 1))
	}
	apply := s.slopes("group_norm_grad", at, x, n.In[1], affine, lw)
	apply.Reads = append(apply.Reads, Read("Moments", moments, s.width), ReadScratch("Sums", sums, s.width), ReadScratch("Products", products, s.width))
	apply.Writes = []Operand{Write(n)}
	return []Launch{share, apply}
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
		return Concat(1, p.mean, p.scale, Sum(p.dz, true, 1), Sum(Mul(p.dz, p.normed), true, 1))
	}
	opGroupNormGrad.Compose = func(n *Tensor) *Tensor {
		at, moments, affine := n.Attr.(*GroupNormAttr), n.In[2], n.In[3:]
		p := composeGroupNorm(n, n.In[1], affine)
		sum, product, factor := Slice(moments, 1, 2, 3), Slice(moments, 1, 3, 4), p.scale
		if at.Affine {
			sum, product, factor = Mul(sum, affine[0]), Mul(product, affine[0]), Mul(factor, affine[0])
		}
		rows := float64(p.normed.Dim(1))
		off := Mul(p.scale, Affine(groupMean(sum, p.groups), 1/rows, 0))
		slope := Mul(p.scale, Affine(groupMean(product, p.groups), 1/rows, 0))
		dx := Sub(Sub(Mul(p.dz, factor), Mul(p.normed, slope)), off)
		return Reshape(dx, n.shape...)
	}
}

// groupNormPieces are what group norm's gradients are composed of, a picture's rows side by side and statistics for each channel,
// so that everything large has whole channels last.
type groupNormPieces struct {
	groups      int
	mean, scale *Tensor // [B 1 C]
	normed, dz  *Tensor // [B rows C]
}

func composeGroupNorm(n, dy *Tensor, affine []*Tensor) groupNormPieces {
	at, s := n.Attr.(*GroupNormAttr), n.In[0].shape
	p := groupNormPieces{groups: at.Groups}
	x := Reshape(n.In[0], s[0], -1, s.Last())
	p.mean = groupMean(Mean(x, true, 1), p.groups)
	d := Sub(x, p.mean)
	squares := Affine(SumSquares(d, true, 1), 1/float64(x.Dim(1)), 0)
	p.scale = Rsqrt(Affine(groupMean(squares, p.groups), 1, at.Eps))
	p.normed = Mul(d, p.scale)
	pre := p.normed
	if at.Affine && at.Act != ActNone {
		pre = Add(Mul(pre, affine[0]), affine[1])
	}
	p.dz = at.Act.grad(pre, Reshape(dy, x.shape...))
	return p
}
