package compute

import "fmt"

// ConvGradWeightAttr is the settings of the convolution whose kernel's gradient is wanted, and the kernel's extents.
type ConvGradWeightAttr struct {
	Kh, Kw           int
	Stride, Dilation [2]int
	Pad              [4]int
	Groups           int
}

// conv2DGradWeight is the gradient of Conv2D's kernel: x [B H W Ci] and dy [B Ho Wo Co] give [Co Kh Kw Ci/groups].
func conv2DGradWeight(x, dy *Tensor, kh, kw int, at *ConvAttr) *Tensor {
	return newNode(opConv2DGradWeight, &ConvGradWeightAttr{kh, kw, at.Stride, at.Dilation, at.Pad, at.Groups}, x, dy)
}

// Conv2DGradWeight is the gradient of the kernel [Co kh kw Ci/groups] of Conv2D(x, w, o) for the gradient dy [B Ho Wo Co]
// of its result before activation and residual. It uses o's stride, dilation, padding and groups.
func Conv2DGradWeight(x, dy *Tensor, kh, kw int, o ConvOpts) *Tensor {
	return conv2DGradWeight(x, dy, kh, kw, &ConvAttr{Stride: oneIfZero(o.Stride), Dilation: oneIfZero(o.Dilation), Pad: o.Pad, Groups: max(o.Groups, 1)})
}

var opConv2DGradWeight = register(&Op{
	Name:  "conv2d_grad_weight",
	Shape: convGradWeightShape,
	Ref:   convGradWeightRef,
	Lower: convGradWeightLower,
	FLOPs: func(n *Tensor) float64 {
		dy := n.In[1].shape
		return 2 * float64(n.shape.Size()) * float64(dy[0]*dy[1]*dy[2])
	},
})

func init() { opConv2DGradWeight.VJP = convGradWeightVJP }

// geometry is the extents of the convolution, with ho and wo those of dy.
func (at *ConvGradWeightAttr) geometry(n *Tensor) convGeom {
	x, dy := n.In[0].shape, n.In[1].shape
	return convGeom{b: x[0], h: x[1], w: x[2], ci: x[3], co: dy[3], kh: at.Kh, kw: at.Kw, cg: x[3] / at.Groups, ho: dy[1], wo: dy[2]}
}

func convGradWeightShape(n *Tensor) (Shape, error) {
	at, x, dy := n.Attr.(*ConvGradWeightAttr), n.In[0].shape, n.In[1].shape
	if len(x) != 4 || len(dy) != 4 || x[0] != dy[0] {
		return nil, fmt.Errorf("x and dy must be [B H W C] with the same B, not %v and %v", x, dy)
	}
	if at.Kh < 1 || at.Kw < 1 {
		return nil, fmt.Errorf("a kernel of %d×%d has no elements", at.Kh, at.Kw)
	}
	if at.Groups < 1 || x[3]%at.Groups != 0 || dy[3]%at.Groups != 0 {
		return nil, fmt.Errorf("%d groups do not divide %d channels in and %d out", at.Groups, x[3], dy[3])
	}
	w := Shape{dy[3], at.Kh, at.Kw, x[3] / at.Groups}
	g, err := convExtents(x, w, at.Stride, at.Dilation, at.Groups)
	if err != nil {
		return nil, err
	}
	if err := g.slide(at.Stride, at.Dilation, at.Pad); err != nil {
		return nil, err
	}
	if g.ho != dy[1] || g.wo != dy[2] {
		return nil, fmt.Errorf("the convolution of %v gives %d×%d, but its gradient is %v", x, g.ho, g.wo, dy)
	}
	return w, nil
}

func convGradWeightRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at := n.Attr.(*ConvGradWeightAttr)
	g := at.geometry(n)
	x, dy := in[0], in[1]
	for i := lo; i < hi; i++ {
		c, kw, kh, co := i%g.cg, i/g.cg%g.kw, i/g.cg/g.kw%g.kh, i/g.cg/g.kw/g.kh
		first := co / (g.co / at.Groups) * g.cg
		sum := 0.0
		for b := range g.b {
			for ho := range g.ho {
				hi := ho*at.Stride[0] - at.Pad[0] + kh*at.Dilation[0]
				if hi < 0 || hi >= g.h {
					continue
				}
				for wo := range g.wo {
					wi := wo*at.Stride[1] - at.Pad[2] + kw*at.Dilation[1]
					if wi < 0 || wi >= g.w {
						continue
					}
					sum += float64(x[((b*g.h+hi)*g.w+wi)*g.ci+first+c]) * float64(dy[((b*g.ho+ho)*g.wo+wo)*g.co+co])
				}
			}
		}
		out[i] = float32(sum)
	}
}

// convGradWeightVJP: the op is bilinear, so each gradient is a convolution with the other operand and dw as the kernel.
func convGradWeightVJP(n, dw *Tensor) []*Tensor {
	at := n.Attr.(*ConvGradWeightAttr)
	g := at.geometry(n)
	dx := ConvTranspose2D(n.In[1], swapChannels(dw, at.Groups), ConvTransposeOpts{
		Stride: at.Stride, Dilation: at.Dilation, Pad: at.Pad, Groups: at.Groups,
		OutputPad: [2]int{
			transposedRest(g.h, g.ho, g.kh, at.Stride[0], at.Dilation[0], at.Pad[0]+at.Pad[1]),
			transposedRest(g.w, g.wo, g.kw, at.Stride[1], at.Dilation[1], at.Pad[2]+at.Pad[3]),
		},
	})
	ddy := Conv2D(n.In[0], dw, ConvOpts{Stride: at.Stride, Dilation: at.Dilation, Pad: at.Pad, Groups: at.Groups})
	return []*Tensor{dx, ddy}
}
