package compute

import "fmt"

// ConvOpts are the settings of Conv2D and Conv1D; zero values mean stride 1, dilation 1, no padding, one group.
type ConvOpts struct {
	Stride, Dilation [2]int  // vertical, horizontal
	Pad              [4]int  // zeros added at the top, bottom, left, right
	Groups           int     // channels in and out split into this many independent parts
	Bias             *Tensor // [Co], or [B Co] for one per picture
	Act              Act     // applied after the bias
	Residual         *Tensor // the result's shape, added after Act
}

// ConvAttr is the settings of a conv2d node. Operands: x, w, then the bias and the residual where present.
type ConvAttr struct {
	Stride, Dilation [2]int
	Pad              [4]int
	Groups           int
	Bias             bool
	Act              Act
	Residual         bool
}

// Conv2D is act(x ⋆ w + bias) + residual, the cross-correlation that neural networks call convolution:
// x [B H W Ci] and w [Co Kh Kw Ci/groups] give [B Ho Wo Co] with Ho = (H + top + bottom − dilation(Kh−1) − 1)/stride + 1.
func Conv2D(x, w *Tensor, o ConvOpts) *Tensor {
	in := []*Tensor{x, w}
	if o.Bias != nil {
		in = append(in, o.Bias)
	}
	if o.Residual != nil {
		in = append(in, o.Residual)
	}
	at := &ConvAttr{oneIfZero(o.Stride), oneIfZero(o.Dilation), o.Pad, max(o.Groups, 1), o.Bias != nil, o.Act, o.Residual != nil}
	if o.Groups < 0 {
		at.Groups = o.Groups // for Shape to refuse
	}
	return newNode(opConv2D, at, in...)
}

// Conv1D is Conv2D along one axis: x [B T Ci] and w [Co K Ci/groups] give [B To Co]. It uses Stride[1], Dilation[1] and
// Pad[2:4] (before, after).
func Conv1D(x, w *Tensor, o ConvOpts) *Tensor {
	x4, w4, bad := lift1D(opConv2D, x, w)
	if bad != nil {
		return bad
	}
	o.Stride[0], o.Dilation[0], o.Pad[0], o.Pad[1] = 1, 1, 0, 0
	if o.Residual != nil {
		if o.Residual.err == nil && len(o.Residual.shape) != 3 {
			return fail(opConv2D, x, "residual %v needs the axes [B T C]", o.Residual.shape)
		}
		o.Residual = Reshape(o.Residual, o.Residual.Dim(0), 1, o.Residual.Dim(1), o.Residual.Dim(2))
	}
	y := Conv2D(x4, w4, o)
	return Reshape(y, y.Dim(0), y.Dim(2), y.Dim(3))
}

// lift1D gives x [B T C] and w [Co K C] a vertical axis of extent 1.
func lift1D(op *Op, x, w *Tensor) (x4, w4, bad *Tensor) {
	for _, t := range []*Tensor{x, w} {
		if t.err != nil {
			return nil, nil, newNode(op, nil, t)
		}
	}
	if len(x.shape) != 3 || len(w.shape) != 3 {
		return nil, nil, fail(op, x, "a 1-D convolution takes x [B T C] and w [Co K C], not %v and %v", x.shape, w.shape)
	}
	return Reshape(x, x.Dim(0), 1, x.Dim(1), x.Dim(2)), Reshape(w, w.Dim(0), 1, w.Dim(1), w.Dim(2)), nil
}

func oneIfZero(v [2]int) [2]int {
	for i := range v {
		if v[i] == 0 {
			v[i] = 1
		}
	}
	return v
}

var opConv2D = register(&Op{
	Name:  "conv2d",
	Shape: convShape,
	Ref:   convRef,
	Lower: convLower,
	FLOPs: func(n *Tensor) float64 {
		g, _ := convGeometry(n)
		return 2 * float64(n.shape.Size()) * float64(g.kh*g.kw*g.cg)
	},
})

func init() { opConv2D.VJP = convVJP }

// convGeom is the extents of a convolution: pictures b of h×w×ci, kernels kh×kw over cg = ci/groups channels, results
// ho×wo×co.
type convGeom struct {
	b, h, w, ci    int
	co, kh, kw, cg int
	ho, wo         int
}

func convGeometry(n *Tensor) (convGeom, error) {
	at, x, w := n.Attr.(*ConvAttr), n.In[0].shape, n.In[1].shape
	g, err := convExtents(x, w, at.Stride, at.Dilation, at.Groups)
	if err != nil {
		return g, err
	}
	err = g.slide(at.Stride, at.Dilation, at.Pad)
	return g, err
}

// slide sets ho and wo, the positions that the kernel takes.
func (g *convGeom) slide(stride, dilation [2]int, pad [4]int) error {
	for i, p := range pad {
		if p < 0 {
			return fmt.Errorf("padding %d is negative on side %d", p, i)
		}
	}
	rh := g.h + pad[0] + pad[1] - dilation[0]*(g.kh-1) - 1
	rw := g.w + pad[2] + pad[3] - dilation[1]*(g.kw-1) - 1
	if rh < 0 || rw < 0 {
		return fmt.Errorf("a %d×%d kernel does not fit %d×%d pixels with padding %v and dilation %v", g.kh, g.kw, g.h, g.w, pad, dilation)
	}
	g.ho, g.wo = rh/stride[0]+1, rw/stride[1]+1
	return nil
}

// transposedRest is the output padding with which a transposed convolution of out positions gives extent again.
func transposedRest(extent, out, kernel, stride, dilation, pad int) int {
	return extent - ((out-1)*stride - pad + dilation*(kernel-1) + 1)
}

// convExtents checks what convolutions and transposed convolutions have in common.
func convExtents(x, w Shape, stride, dilation [2]int, groups int) (convGeom, error) {
	if len(x) != 4 || len(w) != 4 {
		return convGeom{}, fmt.Errorf("a convolution takes x [B H W C] and w [Co Kh Kw C], not %v and %v", x, w)
	}
	g := convGeom{b: x[0], h: x[1], w: x[2], ci: x[3], co: w[0], kh: w[1], kw: w[2], cg: w[3]}
	for i := range 2 {
		if stride[i] < 1 || dilation[i] < 1 {
			return g, fmt.Errorf("stride %v and dilation %v must be positive", stride, dilation)
		}
	}
	if groups < 1 || g.ci%groups != 0 || g.co%groups != 0 {
		return g, fmt.Errorf("%d groups do not divide %d channels in and %d out", groups, g.ci, g.co)
	}
	if g.cg*groups != g.ci {
		return g, fmt.Errorf("the kernel %v reads %d channels in each of %d groups, but x %v has %d in all", w, g.cg, groups, x, g.ci)
	}
	return g, nil
}

func convShape(n *Tensor) (Shape, error) {
	at := n.Attr.(*ConvAttr)
	g, err := convGeometry(n)
	if err != nil {
		return nil, err
	}
	s := Shape{g.b, g.ho, g.wo, g.co}
	rest := n.In[2:]
	if at.Bias {
		if b := rest[0].shape; !b.Equal(Shape{g.co}) && !b.Equal(Shape{g.b, g.co}) {
			return nil, fmt.Errorf("bias %v does not fit the result %v: it must be [%d] or [%d %d]", b, s, g.co, g.b, g.co)
		}
		rest = rest[1:]
	}
	if at.Residual && !rest[0].shape.Equal(s) {
		return nil, fmt.Errorf("residual %v does not have the result's shape %v", rest[0].shape, s)
	}
	return s, nil
}

func convRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at := n.Attr.(*ConvAttr)
	g, _ := convGeometry(n)
	biasT, residualT := epilogueOperands(n, at.Bias, at.Residual)
	x, w := in[0], in[1]
	for i := lo; i < hi; i++ {
		co, wo, ho, b := i%g.co, i/g.co%g.wo, i/g.co/g.wo%g.ho, i/g.co/g.wo/g.ho
		first := co / (g.co / at.Groups) * g.cg // first channel of co's group
		sum := 0.0
		for kh := range g.kh {
			hi := ho*at.Stride[0] - at.Pad[0] + kh*at.Dilation[0]
			if hi < 0 || hi >= g.h {
				continue
			}
			for kw := range g.kw {
				wi := wo*at.Stride[1] - at.Pad[2] + kw*at.Dilation[1]
				if wi < 0 || wi >= g.w {
					continue
				}
				xs := x[((b*g.h+hi)*g.w+wi)*g.ci+first:][:g.cg]
				for c, wv := range w[((co*g.kh+kh)*g.kw+kw)*g.cg:][:g.cg] {
					sum += float64(xs[c]) * float64(wv)
				}
			}
		}
		if biasT != nil {
			if len(biasT.shape) == 2 {
				sum += float64(in[2][b*g.co+co])
			} else {
				sum += float64(in[2][co])
			}
		}
		sum = at.Act.Eval(sum)
		if residualT != nil {
			sum += float64(in[len(in)-1][i])
		}
		out[i] = float32(sum)
	}
}

// swapChannels turns a kernel [Co Kh Kw Ci/groups] into that of the transposed map, [Ci Kh Kw Co/groups].
func swapChannels(w *Tensor, groups int) *Tensor {
	if w.err != nil {
		return w
	}
	co, kh, kw, cg := w.shape[0], w.shape[1], w.shape[2], w.shape[3]
	if groups == 1 {
		return Permute(w, 3, 1, 2, 0)
	}
	p := Permute(Reshape(w, groups, co/groups, kh, kw, cg), 0, 4, 2, 3, 1)
	return Reshape(p, groups*cg, kh, kw, co/groups)
}

// convVJP: x's gradient is the transposed convolution of dy, w's correlates x with dy.
func convVJP(n, dy *Tensor) []*Tensor {
	at := n.Attr.(*ConvAttr)
	g, _ := convGeometry(n)
	x, w := n.In[0], n.In[1]
	bias, residual := epilogueOperands(n, at.Bias, at.Residual)
	dp := dy
	if at.Act != ActNone {
		pre := Conv2D(x, w, ConvOpts{Stride: at.Stride, Dilation: at.Dilation, Pad: at.Pad, Groups: at.Groups, Bias: bias})
		dp = at.Act.grad(pre, dy)
	}
	dx := ConvTranspose2D(dp, swapChannels(w, at.Groups), ConvTransposeOpts{
		Stride: at.Stride, Dilation: at.Dilation, Pad: at.Pad, Groups: at.Groups,
		OutputPad: [2]int{
			transposedRest(g.h, g.ho, g.kh, at.Stride[0], at.Dilation[0], at.Pad[0]+at.Pad[1]),
			transposedRest(g.w, g.wo, g.kw, at.Stride[1], at.Dilation[1], at.Pad[2]+at.Pad[3]),
		},
	})
	out := []*Tensor{dx, conv2DGradWeight(x, dp, g.kh, g.kw, at)}
	if bias != nil {
		if len(bias.shape) == 2 {
			out = append(out, Reshape(Sum(dp, true, 1, 2), g.b, g.co))
		} else {
			out = append(out, sumToShape(dp, bias.shape))
		}
	}
	if residual != nil {
		out = append(out, dy)
	}
	return out
}
