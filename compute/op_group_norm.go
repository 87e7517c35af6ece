package compute

import (
	"fmt"
	"math"
)

// GroupNormAttr is the settings of a group_norm node. Operands: x, then gamma and beta where present.
type GroupNormAttr struct {
	Groups int
	Eps    float64
	Act    Act
	Affine bool // gamma and beta are operands
}

// GroupNorm normalises x [B … C] over all positions and the channels of each of groups (Wu & He, 2018), then applies
// gamma·x̂ + beta, both [C], and act. gamma and beta may both be nil.
func GroupNorm(x, gamma, beta *Tensor, groups int, eps float64, act Act) *Tensor {
	at := &GroupNormAttr{groups, eps, act, gamma != nil || beta != nil}
	if !at.Affine {
		return newNode(opGroupNorm, at, x)
	}
	return newNode(opGroupNorm, at, x, gamma, beta)
}

var opGroupNorm = register(&Op{
	Name:  "group_norm",
	Shape: groupNormShape,
	Units: func(n *Tensor) int { return n.shape[0] * n.Attr.(*GroupNormAttr).Groups },
	Ref:   groupNormRef,
	Lower: groupNormLower,
})

func groupNormShape(n *Tensor) (Shape, error) {
	at, x := n.Attr.(*GroupNormAttr), n.In[0].shape
	if len(x) < 2 {
		return nil, fmt.Errorf("x needs a batch and a channel axis, not %v", x)
	}
	if at.Groups <= 0 || x.Last()%at.Groups != 0 {
		return nil, fmt.Errorf("%d channels do not divide into %d groups", x.Last(), at.Groups)
	}
	return x, checkChannels(n.In[1:], x.Last())
}

// checkChannels wants each of gamma, beta … to be [c].
func checkChannels(in []*Tensor, c int) error {
	for _, p := range in {
		if !p.shape.Equal(Shape{c}) {
			return fmt.Errorf("scale and shift need shape [%d], not %v", c, p.shape)
		}
	}
	return nil
}

// moments are the mean of a group and one over its deviation; the group is the first width elements of each of rows, c apart.
func (at *GroupNormAttr) moments(x []float32, rows, width, c int) (mean, scale float64) {
	for r := range rows {
		for _, v := range x[r*c:][:width] {
			mean += float64(v)
		}
	}
	mean /= float64(rows * width)
	squares := 0.0
	for r := range rows {
		for _, v := range x[r*c:][:width] {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
	}
	return mean, 1 / math.Sqrt(squares/float64(rows*width)+at.Eps)
}

func groupNormRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, x, c := n.Attr.(*GroupNormAttr), in[0], n.shape.Last()
	rows, width := n.shape[1:len(n.shape)-1].Size(), c/at.Groups
	for u := lo; u < hi; u++ {
		b, first := u/at.Groups, u%at.Groups*width
		base := b*rows*c + first
		mean, scale := at.moments(x[base:], rows, width, c)
		for r := range rows {
			for k, v := range x[base+r*c:][:width] {
				y := (float64(v) - mean) * scale
				if at.Affine {
					y = y*float64(in[1][first+k]) + float64(in[2][first+k])
				}
				out[base+r*c+k] = float32(at.Act.Eval(y))
			}
		}
	}
}

// standardise gives (x − mean)/σ over axes, and 1/σ.
func standardise(x *Tensor, eps float64, axes ...int) (normed, scale *Tensor) {
	d := Sub(x, Mean(x, true, axes...))
	scale = Rsqrt(Affine(Mean(Square(d), true, axes...), 1, eps))
	return Mul(d, scale), scale
}

// standardiseGrad is the gradient through x̂ = standardise(x): (g − mean(g) − x̂·mean(g·x̂))/σ for g, x̂ of shape s, with the
// means over axes of the shape grouped.
func standardiseGrad(g, normed, scale *Tensor, s Shape, grouped []int, axes ...int) *Tensor {
	g, normed = Reshape(g, grouped...), Reshape(normed, grouped...)
	g = Sub(Sub(g, Mean(g, true, axes...)), Mul(normed, Mean(Mul(g, normed), true, axes...)))
	return Reshape(Mul(g, scale), s...)
}

// groupNormParts is into how many stretches of rows the statistics of each channel are split, so that few channels still
// give work to many cores, yet a group's partial results stay few.
func groupNormParts(columns, rows int) int {
	return max(1, min(ceilDiv(4096, columns), rows/32, 64))
}

// smallGroup is up to how many texels or elements a group is normalised in one launch: three launches cost more than they
// bring there.
const smallGroup = 256

func groupNormLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*GroupNormAttr)
	count, width := n.shape[0]*at.Groups, n.shape.Last()/at.Groups
	items := n.shape.Size() / count
	if width%4 == 0 {
		items /= 4
	}
	if items <= smallGroup && count >= 8 {
		return []Launch{groupNormSmall(n, lw)}
	}
	return groupNormLarge(n, lw)
}

// groupNormSmall is an invocation or a workgroup for each group.
func groupNormSmall(n *Tensor, lw *Lowering) Launch {
	at, c, count := n.Attr.(*GroupNormAttr), n.shape.Last(), n.shape[0]*n.Attr.(*GroupNormAttr).Groups
	defines, item := map[string]string{"ACT": at.Act.GLSL()}, 1
	if c/at.Groups%4 == 0 {
		defines["QUAD"], item = "1", 4
	}
	l := Launch{
		Shader:  "group_norm",
		Defines: defines,
		Reads:   []Operand{Read("X", n.In[0], item)},
		Writes:  []Operand{Write(n)},
		Uniforms: []Uniform{Int("rows", count), Int("columns", n.shape.Size()/count/item), Int("groups", at.Groups), Int("width", c/at.Groups/item),
			Int("stride", c/item), Int("batch_stride", n.shape.Size()/n.shape[0]/item), Float("eps", float32(at.Eps))},
		Forms: rowForms(lw, count),
	}
	if at.Affine {
		defines["AFFINE"] = "1"
		l.Reads = append(l.Reads, Read("Gamma", n.In[1], item), Read("Beta", n.In[2], item))
	}
	return l
}

// groupNormSplit is how x [B … C] lies for the kernels that go down its columns, and into which stretches they split them.
type groupNormSplit struct {
	batch, rows, channels int
	width                 int // channels of an item: 4, or 1
	parts, stretch        int // stretches of a column, and rows of one
}

func groupNormSplitOf(x Shape) groupNormSplit {
	s := groupNormSplit{batch: x[0], rows: x.Size() / x[0] / x.Last(), channels: x.Last(), width: 1}
	if s.channels%4 == 0 {
		s.width = 4
	}
	s.stretch = ceilDiv(s.rows, groupNormParts(s.columns(), s.rows))
	s.parts = ceilDiv(s.rows, s.stretch)
	return s
}

func (s groupNormSplit) columns() int { return s.batch * s.channels / s.width }

// defines and uniforms are what those kernels share.
func (s groupNormSplit) defines() map[string]string {
	if s.width == 4 {
		return map[string]string{"QUAD": "1"}
	}
	return map[string]string{}
}

func (s groupNormSplit) uniforms() []Uniform {
	return []Uniform{Int("batch", s.batch), Int("rows", s.rows), Int("columns", s.channels/s.width), Int("parts", s.parts), Int("stretch", s.stretch)}
}

// statistics computes each channel's mean and squared deviations over stretches of rows, and combines them for each group into
// a mean and 1/σ, times gamma where given, per channel: mean and scale [B C].
func (s groupNormSplit) statistics(x, gamma *Tensor, at *GroupNormAttr, lw *Lowering) (launches []Launch, mean, scale Operand) {
	means, squares := lw.Scratch(s.batch*s.parts*s.channels), lw.Scratch(s.batch*s.parts*s.channels)
	mean, scale = lw.Scratch(s.batch*s.channels), lw.Scratch(s.batch*s.channels)
	stats := Launch{
		Shader:   "group_norm_stats",
		Defines:  s.defines(),
		Reads:    []Operand{Read("X", x, s.width)},
		Writes:   []Operand{means, squares},
		Uniforms: s.uniforms(),
		Groups:   lw.Grid(ceilDiv(s.columns()*s.parts, 32)),
	}
	combine := Launch{
		Shader:  "group_norm_combine",
		Defines: map[string]string{},
		Reads:   []Operand{ReadScratch("Means", means, 1), ReadScratch("Squares", squares, 1)},
		Writes:  []Operand{mean, scale},
		Uniforms: []Uniform{Int("batch", s.batch), Int("rows", s.rows), Int("channels", s.channels), Int("groups", at.Groups),
			Int("parts", s.parts), Int("stretch", s.stretch), Float("eps", float32(at.Eps))},
		Forms: []Form{
			{Name: "invocation", Groups: lw.Grid(ceilDiv(s.batch*at.Groups, 32))},
			{Name: "workgroup", Defines: map[string]string{"SHARED": "1"}, Groups: lw.Grid(s.batch * at.Groups)},
		},
	}
	if s.batch*at.Groups < 8 { // few long sums: better shared by a workgroup anywhere
		combine.Forms = combine.Forms[1:]
	}
	if gamma != nil {
		combine.Defines["AFFINE"] = "1"
		combine.Reads = append(combine.Reads, Read("Gamma", gamma, 1))
	}
	return []Launch{stats, combine}, mean, scale
}

// groupNormLarge takes the statistics and applies them with beta and the activation.
func groupNormLarge(n *Tensor, lw *Lowering) []Launch {
	at, x, s := n.Attr.(*GroupNormAttr), n.In[0], groupNormSplitOf(n.shape)
	var gamma *Tensor
	if at.Affine {
		gamma = n.In[1]
	}
	launches, mean, scale := s.statistics(x, gamma, at, lw)
	apply := Launch{
		Shader:  "group_norm_apply",
		Defines: s.defines(),
		Reads:   []Operand{Read("X", x, s.width), ReadScratch("Mean", mean, s.width), ReadScratch("Scale", scale, s.width)},
		Writes:  []Operand{Write(n)},
		Uniforms: []Uniform{Int("batch", s.batch), Int("rows", s.rows), Int("columns", s.channels/s.width),
			Int("stretch", groupNormApplyRows)},
		Groups: lw.Grid(ceilDiv(s.columns()*ceilDiv(s.rows, groupNormApplyRows), 64)),
	}
	apply.Defines["ACT"] = at.Act.GLSL()
	if at.Affine {
		apply.Defines["AFFINE"] = "1"
		apply.Reads = append(apply.Reads, Read("Beta", n.In[2], s.width))
	}
	return append(launches, apply)
}

// groupNormApplyRows is how many rows of one column an invocation normalises.
const groupNormApplyRows = 16
