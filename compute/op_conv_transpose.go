package compute

import "fmt"

// ConvTransposeOpts are the settings of ConvTranspose2D and ConvTranspose1D; zero values mean stride 1, dilation 1,
// nothing cropped, one group.
type ConvTransposeOpts struct {
	Stride, Dilation [2]int  // vertical, horizontal
	OutputPad        [2]int  // rows and columns added at the bottom and right, fewer than the stride
	Pad              [4]int  // rows and columns cropped at the top, bottom, left, right
	Groups           int     // channels in and out split into this many independent parts
	Bias             *Tensor // [Co]
}

// ConvTransposeAttr is the settings of a conv_transpose2d node. Operands: x, w, then the bias where present.
type ConvTransposeAttr struct {
	Stride, Dilation, OutputPad [2]int
	Pad                         [4]int
	Groups                      int
	Bias                        bool
}

// ConvTranspose2D is the linear map whose transpose is Conv2D with the same settings: x [B H W Ci] and w [Co Kh Kw Ci/groups]
// give [B Ho Wo Co] with Ho = (H−1)·stride − top − bottom + dilation(Kh−1) + outputPad + 1. Each x adds its multiple of
// the kernel to the result.
func ConvTranspose2D(x, w *Tensor, o ConvTransposeOpts) *Tensor {
	in := []*Tensor{x, w}
	if o.Bias != nil {
		in = append(in, o.Bias)
	}
	groups := o.Groups
	if groups == 0 {
		groups = 1
	}
	return newNode(opConvTranspose2D, &ConvTransposeAttr{oneIfZero(o.Stride), oneIfZero(o.Dilation), o.OutputPad, o.Pad, groups, o.Bias != nil}, in...)
}

// ConvTranspose1D is ConvTranspose2D along one axis: x [B T Ci] and w [Co K Ci/groups] give [B To Co]. It uses the
// second entries of Stride, Dilation and OutputPad, and Pad[2:4].
func ConvTranspose1D(x, w *Tensor, o ConvTransposeOpts) *Tensor {
	x4, w4, bad := lift1D(opConvTranspose2D, x, w)
	if bad != nil {
		return bad
	}
	o.Stride[0], o.Dilation[0], o.OutputPad[0], o.Pad[0], o.Pad[1] = 1, 1, 0, 0, 0
	y := ConvTranspose2D(x4, w4, o)
	return Reshape(y, y.Dim(0), y.Dim(2), y.Dim(3))
}

var opConvTranspose2D = register(&Op{
	Name:  "conv_transpose2d",
	Shape: convTransposeShape,
	Ref:   convTransposeRef,
	Lower: convTransposeLower,
	FLOPs: func(n *Tensor) float64 {
		g, _ := convTransposeGeometry(n)
		return 2 * float64(g.b*g.h*g.w) * float64(g.co*g.kh*g.kw*g.cg)
	},
})

func init() { opConvTranspose2D.VJP = convTransposeVJP }

func convTransposeGeometry(n *Tensor) (convGeom, error) {
	at, x, w := n.Attr.(*ConvTransposeAttr), n.In[0].shape, n.In[1].shape
	g, err := convExtents(x, w, at.Stride, at.Dilation, at.Groups)
	if err != nil {
		return g, err
	}
	for i, p := range at.Pad {
		if p < 0 {
			return g, fmt.Errorf("padding %d is negative on side %d", p, i)
		}
	}
	for i, p := range at.OutputPad {
		if p < 0 || p >= at.Stride[i] {
			return g, fmt.Errorf("output padding %v must be smaller than the stride %v", at.OutputPad, at.Stride)
		}
	}
	g.ho = (g.h-1)*at.Stride[0] - at.Pad[0] - at.Pad[1] + at.Dilation[0]*(g.kh-1) + at.OutputPad[0] + 1
	g.wo = (g.w-1)*at.Stride[1] - at.Pad[2] - at.Pad[3] + at.Dilation[1]*(g.kw-1) + at.OutputPad[1] + 1
	if g.ho < 1 || g.wo < 1 {
		return g, fmt.Errorf("padding %v crops the whole result of %v", at.Pad, x)
	}
	return g, nil
}

func convTransposeShape(n *Tensor) (Shape, error) {
	g, err := convTransposeGeometry(n)
	if err != nil {
		return nil, err
	}
	if n.Attr.(*ConvTransposeAttr).Bias && !n.In[2].shape.Equal(Shape{g.co}) {
		return nil, fmt.Errorf("bias %v must be [%d]", n.In[2].shape, g.co)
	}
	return Shape{g.b, g.ho, g.wo, g.co}, nil
}

func convTransposeRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at := n.Attr.(*ConvTransposeAttr)
	g, _ := convTransposeGeometry(n)
	x, w := in[0], in[1]
	for i := lo; i < hi; i++ {
		co, wo, ho, b := i%g.co, i/g.co%g.wo, i/g.co/g.wo%g.ho, i/g.co/g.wo/g.ho
		first := co / (g.co / at.Groups) * g.cg
		sum := 0.0
		for kh := range g.kh {
			hi, ok := transposedSource(ho+at.Pad[0]-kh*at.Dilation[0], at.Stride[0], g.h)
			if !ok {
				continue
			}
			for kw := range g.kw {
				wi, ok := transposedSource(wo+at.Pad[2]-kw*at.Dilation[1], at.Stride[1], g.w)
				if !ok {
					continue
				}
				xs := x[((b*g.h+hi)*g.w+wi)*g.ci+first:][:g.cg]
				for c, wv := range w[((co*g.kh+kh)*g.kw+kw)*g.cg:][:g.cg] {
					sum += float64(xs[c]) * float64(wv)
				}
			}
		}
		if at.Bias {
			sum += float64(in[2][co])
		}
		out[i] = float32(sum)
	}
}

// transposedSource is the index whose multiple by stride is pos, if there is one below extent.
func transposedSource(pos, stride, extent int) (int, bool) {
	return pos / stride, pos >= 0 && pos%stride == 0 && pos/stride < extent
}

// convTransposeVJP: x's gradient is the convolution of dy, w's correlates dy with x, the parts swapped.
func convTransposeVJP(n, dy *Tensor) []*Tensor {
	at := n.Attr.(*ConvTransposeAttr)
	g, _ := convTransposeGeometry(n)
	x, w := n.In[0], n.In[1]
	dx := Conv2D(dy, swapChannels(w, at.Groups), ConvOpts{Stride: at.Stride, Dilation: at.Dilation, Pad: at.Pad, Groups: at.Groups})
	dw := conv2DGradWeight(dy, x, g.kh, g.kw, &ConvAttr{Stride: at.Stride, Dilation: at.Dilation, Pad: at.Pad, Groups: at.Groups})
	out := []*Tensor{dx, swapChannels(dw, at.Groups)}
	if at.Bias {
		out = append(out, sumToShape(dy, Shape{g.co}))
	}
	return out
}
