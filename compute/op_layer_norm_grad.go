package compute

import "math"

// Gradients of layer norm and of RMS norm: of x (operands x, dy, then gamma where present), and of gamma and beta together
// (operands x and dy), [2 C].
var (
	opLayerNormGrad     = register(&Op{Name: "layer_norm_grad", Shape: sameShape, Units: rows, Ref: rowNormGradRef})
	opRMSNormGrad       = register(&Op{Name: "rms_norm_grad", Shape: sameShape, Units: rows, Ref: rowNormGradRef})
	opLayerNormGradGain = register(&Op{Name: "layer_norm_grad_gain", Shape: gainShape, Units: gainUnits, Ref: rowNormGradGainRef})
	opRMSNormGradGain   = register(&Op{Name: "rms_norm_grad_gain", Shape: gainShape, Units: gainUnits, Ref: rowNormGradGainRef})
)

func sameShape(n *Tensor) (Shape, error) { return n.In[0].shape, nil }
func gainShape(n *Tensor) (Shape, error) { return Shape{2, n.In[0].shape.Last()}, nil }
func gainUnits(n *Tensor) int            { return n.shape[1] }

// rowMoments are the mean of a row, 0 where it is not taken off, and the reciprocal of its deviation.
func rowMoments(x []float32, centred bool, eps float64) (mean, scale float64) {
	if centred {
		for _, v := range x {
			mean += float64(v)
		}
		mean /= float64(len(x))
	}
	squares := 0.0
	for _, v := range x {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, 1 / math.Sqrt(squares/float64(len(x))+eps)
}

func rowNormGradRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, c, centred := n.Attr.(*RowNormAttr), n.shape.Last(), n.Op.Name == "layer_norm_grad"
	g := make([]float64, c)
	for r := lo; r < hi; r++ {
		x, dy := in[0][r*c:][:c], in[1][r*c:][:c]
		mean, scale := rowMoments(x, centred, at.Eps)
		sum, product := 0.0, 0.0
		for k, v := range dy {
			g[k] = float64(v)
			if at.Gamma {
				g[k] *= float64(in[2][k])
			}
			sum += g[k]
			product += g[k] * (float64(x[k]) - mean) * scale
		}
		if sum /= float64(c); !centred {
			sum = 0
		}
		product /= float64(c)
		for k, v := range x {
			out[r*c+k] = float32(scale * (g[k] - sum - (float64(v)-mean)*scale*product))
		}
	}
}

func rowNormGradGainRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, c := n.Attr.(*RowNormAttr), n.shape[1]
	sums := make([]float64, 2*(hi-lo))
	for r := range len(in[0]) / c {
		x, dy := in[0][r*c:][:c], in[1][r*c:][:c]
		mean, scale := rowMoments(x, n.Op.Name == "layer_norm_grad_gain", at.Eps)
		for k := lo; k < hi; k++ {
			sums[k-lo] += float64(dy[k]) * (float64(x[k]) - mean) * scale
			sums[hi-lo+k-lo] += float64(dy[k])
		}
	}
	for k := lo; k < hi; k++ {
		out[k], out[c+k] = float32(sums[k-lo]), float32(sums[hi-lo+k-lo])
	}
}

func init() {
	vjp := func(grad, gain *Op) func(n, dy *Tensor) []*Tensor {
		return func(n, dy *Tensor) []*Tensor {
			at, x, c := n.Attr.(*RowNormAttr), n.In[0], n.shape.Last()
			gamma, beta := at.channelOperands()
			out := make([]*Tensor, len(n.In))
			in := []*Tensor{x, dy}
			if gamma > 0 {
				in = append(in, n.In[gamma])
			}
			out[0] = newNode(grad, at, in...)
			if gamma > 0 {
				out[gamma] = Reshape(Slice(newNode(gain, at, x, dy), 0, 0, 1), c)
			}
			if beta > 0 {
				out[beta] = sumTo(dy, Shape{c})
			}
			return out
		}
	}
	opLayerNorm.VJP, opRMSNorm.VJP = vjp(opLayerNormGrad, opLayerNormGradGain), vjp(opRMSNormGrad, opRMSNormGradGain)
	gradient := func(n *Tensor) *Tensor {
		normed, scale := composeRowNorm(n)
		g := n.In[1]
		if n.Attr.(*RowNormAttr).Gamma {
			g = Mul(g, n.In[2])
		}
		if n.Op.Name == "layer_norm_grad" {
			return standardiseGrad(g, normed, scale, n.shape, n.shape, -1)
		}
		return Mul(Sub(g, Mul(normed, Mean(Mul(g, normed), true, -1))), scale)
	}
	gain := func(n *Tensor) *Tensor {
		normed, _ := composeRowNorm(n)
		c := n.shape[1]
		return Concat(0, Reshape(sumTo(Mul(n.In[1], normed), Shape{c}), 1, c), Reshape(sumTo(n.In[1], Shape{c}), 1, c))
	}
	opLayerNormGrad.Compose, opRMSNormGrad.Compose = gradient, gradient
	opLayerNormGradGain.Compose, opRMSNormGradGain.Compose = gain, gain
}

// composeRowNorm is x̂ and the reciprocal deviation of each row of n's first operand.
func composeRowNorm(n *Tensor) (normed, scale *Tensor) {
	x, eps := n.In[0], n.Attr.(*RowNormAttr).Eps
	if n.Op.Name == "layer_norm_grad" || n.Op.Name == "layer_norm_grad_gain" {
		return standardise(x, eps, -1)
	}
	scale = Rsqrt(Affine(Mean(Square(x), true, -1), 1, eps))
	return Mul(x, scale), scale
}
