package compute

// BatchNorm normalises each channel of x [… C] over all else (Ioffe & Szegedy 2015), as in training, then applies gamma·x̂ + beta,
// both [C] or both nil.
func BatchNorm(x, gamma, beta *Tensor, eps float64) *Tensor {
	if x.err != nil {
		return x
	}
	c := x.shape.Last()
	y := GroupNorm(Reshape(x, 1, x.shape.Size()/c, c), gamma, beta, c, eps, ActNone)
	return Reshape(y, x.shape...)
}

// BatchNormEval is BatchNorm with the mean and variance [C] that training collected.
func BatchNormEval(x, gamma, beta, mean, variance *Tensor, eps float64) *Tensor {
	y := Mul(Sub(x, mean), Rsqrt(Affine(variance, 1, eps)))
	if gamma != nil {
		y = Mul(y, gamma)
	}
	if beta != nil {
		y = Add(y, beta)
	}
	return y
}

// InstanceNorm normalises each channel of each picture x [B … C] by itself (Ulyanov et al. 2016), then applies gamma·x̂ + beta,
// both [C] or both nil.
func InstanceNorm(x, gamma, beta *Tensor, eps float64) *Tensor {
	return GroupNorm(x, gamma, beta, x.Dim(-1), eps, ActNone)
}

// groupMean gives each channel of x [B 1 C] the mean over its group.
func groupMean(x *Tensor, groups int) *Tensor {
	if x.err != nil {
		return x
	}
	b, c := x.shape[0], x.shape[2]
	m := Mean(Reshape(x, b, 1, groups, c/groups), true, 3)
	return Reshape(BroadcastTo(m, b, 1, groups, c/groups), b, 1, c)
}

// GroupNormFactors is what GroupNorm of a picture multiplies each channel by and then adds, [B 1 1 C] both, where the picture is
// given in bands [B h W C] that follow one another. The bands' own means and variances are combined (Chan et al. 1979).
func GroupNormFactors(bands []*Tensor, gamma, beta *Tensor, groups int, eps float64) (scale, shift *Tensor) {
	rows := 0
	for _, x := range append([]*Tensor{gamma, beta}, bands...) {
		if x.err != nil {
			return x, x
		}
	}
	b, c := bands[0].shape[0], bands[0].shape.Last()
	means, own := make([]*Tensor, len(bands)), make([]*Tensor, len(bands))
	for i, x := range bands {
		m := Mean(x, true, 1, 2)
		squares := SumSquares(Sub(x, m), true, 1, 2)
		means[i], own[i] = Reshape(m, b, 1, c), Reshape(Affine(squares, 1/float64(x.shape[1]*x.shape[2]), 0), b, 1, c)
		rows += x.shape[1]
	}
	var mean, variance *Tensor
	sum := func(all *Tensor, one *Tensor, i int) *Tensor {
		one = Affine(one, float64(bands[i].shape[1])/float64(rows), 0)
		if all == nil {
			return one
		}
		return Add(all, one)
	}
	for i, m := range means {
		mean = sum(mean, m, i)
	}
	mean = groupMean(mean, groups)
	for i := range bands {
		variance = sum(variance, Add(own[i], Square(Sub(means[i], mean))), i)
	}
	scale = Mul(Rsqrt(Affine(groupMean(variance, groups), 1, eps)), gamma)
	shift = Sub(beta, Mul(mean, scale))
	return Reshape(scale, b, 1, 1, c), Reshape(shift, b, 1, 1, c)
}

// L2Normalize divides x by its length along axis, or by eps where that is longer.
func L2Normalize(x *Tensor, axis int, eps float64) *Tensor {
	return Div(x, clampBelow(Sqrt(SumSquares(x, true, axis)), eps))
}

// clampBelow limits x to lo and above.
func clampBelow(x *Tensor, lo float64) *Tensor { return Clamp(x, lo, 3.4e38) }

// WeightNorm is v scaled so that each of its slices along axis has the length that g holds for it (Salimans & Kingma 2016):
// g has v's rank, and extent 1 on every other axis.
func WeightNorm(v, g *Tensor, axis int) *Tensor {
	if v.err != nil {
		return v
	}
	a, err := v.shape.Axis(axis)
	if err != nil {
		return fail(opMul, v, "%w", err)
	}
	var others []int
	for i := range v.shape {
		if i != a {
			others = append(others, i)
		}
	}
	return Mul(v, Div(g, Sqrt(SumSquares(v, true, others...))))
}

// LogSoftmax is the logarithm of Softmax along the last axis, without overflow.
func LogSoftmax(x *Tensor) *Tensor {
	d := Sub(x, Detach(MaxOf(x, true, -1)))
	return Sub(d, Log(Sum(Exp(d), true, -1)))
}

// RotaryHalf turns pairs of x [… T D], element i of the first half with element i of the second, by the angles whose cosines and
// sines [T D] are given (Su et al. 2021, in the order of Hugging Face's models): x·cos + (−x₂, x₁)·sin.
func RotaryHalf(x, cos, sin *Tensor) *Tensor {
	if x.err != nil {
		return x
	}
	half := x.shape.Last() / 2
	turned := Concat(-1, Neg(Slice(x, -1, half, 2*half)), Slice(x, -1, 0, half))
	return Add(Mul(x, cos), Mul(turned, sin))
}

// Conv3D is a convolution over x [B D H W Ci] with w [Co Kd Kh Kw Ci/groups] and bias [Co] (or nil), with zeros added on both
// sides of each axis as pad says (depth, vertical, horizontal); stride and dilation of depth are 1. It is a sum of 2-D
// convolutions, one for each slice of the kernel.
func Conv3D(x, w, bias *Tensor, pad [3]int, o ConvOpts) *Tensor {
	for _, t := range []*Tensor{x, w} {
		if t.err != nil {
			return t
		}
	}
	if len(x.shape) != 5 || len(w.shape) != 5 {
		return fail(opConv2D, x, "a 3-D convolution takes x [B D H W C] and w [Co Kd Kh Kw C], not %v and %v", x.shape, w.shape)
	}
	b, kd := x.shape[0], w.shape[1]
	if pad[0] > 0 {
		around := []int{0, pad[0], 0, 0, 0}
		x = Pad(x, around, around, 0)
	}
	depth := x.shape[1] - kd + 1
	if depth < 1 {
		return fail(opConv2D, x, "a kernel %d deep does not fit %d slices", kd, x.shape[1])
	}
	o.Pad, o.Bias = [4]int{pad[1], pad[1], pad[2], pad[2]}, bias
	var y *Tensor
	for k := range kd {
		part := Slice(x, 1, k, k+depth)
		kernel := Slice(w, 1, k, k+1)
		o.Residual = y
		y = Conv2D(Reshape(part, b*depth, x.shape[2], x.shape[3], x.shape[4]), Reshape(kernel, w.shape[0], w.shape[2], w.shape[3], w.shape[4]), o)
		o.Bias = nil
	}
	return Reshape(y, b, depth, y.Dim(1), y.Dim(2), y.Dim(3))
}
