package compute

// convLower computes a convolution as a product whose left side is gathered, or as a plain product where the kernel is one
// pixel.
func convLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*ConvAttr)
	g, _ := convGeometry(n)
	bias, residual := epilogueOperands(n, at.Bias, at.Residual)
	single := at.Groups == 1 && g.kh*g.kw == 1 && at.Stride == [2]int{1, 1} && at.Pad == [4]int{}
	t := tile{
		parts: at.Groups, groups: at.Groups, m: g.b * g.ho * g.wo, n: g.co / at.Groups,
		steps: g.kh * g.kw * ceilDiv(g.cg, 4), segment: ceilDiv(g.cg, 4),
		act: at.Act, bias: bias, pixels: g.ho * g.wo, residual: residual, defines: map[string]string{},
		// A gathering tile that adds the residual itself runs a quarter slower on llvmpipe, whose compiler then keeps fewer
		// sums in registers; tile_sum takes less.
		adds: single,
	}
	biasRows := bias != nil && len(bias.shape) == 2 && t.whole()
	if single && !biasRows {
		t.shader = "matmul"
		a, ua := matMulOperand("A", "a", n.In[0], false, t.m, g.ci, t.defines)
		b, ub := matMulOperand("B", "b", n.In[1], false, g.co, g.ci, t.defines)
		t.reads = []Operand{a, b}
		t.uniforms = append(append(append(ua, ub...), Int("inner", g.ci)), noBatch()...)
		return t.lower(n, lw)
	}
	t.adds, t.tall = false, true
	pictured := 0
	if biasRows && t.pixels%onePictureRows != 0 {
		pictured, t.parts, t.m = 1, at.Groups*g.b, g.ho*g.wo
	}
	width := 4
	if g.cg%4 != 0 {
		width = 1
		t.defines["SINGLE"] = "1"
	}
	t.shader = "conv2d"
	t.reads = []Operand{Read("X", n.In[0], width), Read("W", n.In[1], width)}
	t.uniforms = []Uniform{
		Int("groups", at.Groups), Int("pictured", pictured), Int("inner", g.cg),
		Int("pixelsX", g.h*g.w), Int("widthX", g.w), Int("heightX", g.h), Int("widthY", g.wo), Int("pixelsY", g.ho*g.wo),
		Int("strideY", at.Stride[0]), Int("strideX", at.Stride[1]), Int("dilationY", at.Dilation[0]), Int("dilationX", at.Dilation[1]),
		Int("top", at.Pad[0]), Int("before", at.Pad[2]), Int("kernelX", g.kw),
		Int("channelsX", g.ci/width), Int("channels", g.cg/width), Int("lineW", g.kh*g.kw*g.cg/width),
	}
	return t.lower(n, lw)
}

// noBatch is the uniforms of a product with one part.
func noBatch() []Uniform {
	return []Uniform{Int("batch0", 1), Int("batch1", 1), Int("a0", 0), Int("a1", 0), Int("a2", 0), Int("b0", 0), Int("b1", 0), Int("b2", 0)}
}

// convTransposeLower gathers: each phase of the result by the stride is a product of its own.
func convTransposeLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*ConvTransposeAttr)
	g, _ := convTransposeGeometry(n)
	high, wide := ceilDiv(g.ho, at.Stride[0]), ceilDiv(g.wo, at.Stride[1])
	t := tile{
		shader: "conv_transpose2d", defines: map[string]string{},
		parts: at.Groups * at.Stride[0] * at.Stride[1], groups: at.Groups, m: g.b * high * wide, n: g.co / at.Groups,
		steps: g.kh * g.kw * ceilDiv(g.cg, 4), segment: ceilDiv(g.cg, 4), pixels: g.ho * g.wo,
	}
	if at.Bias {
		t.bias = n.In[2]
	}
	width := 4
	if g.cg%4 != 0 {
		width = 1
		t.defines["SINGLE"] = "1"
	}
	t.reads = []Operand{Read("X", n.In[0], width), Read("W", n.In[1], width)}
	t.uniforms = []Uniform{
		Int("groups", at.Groups), Int("inner", g.cg), Int("pixelsX", g.h*g.w), Int("widthX", g.w), Int("heightX", g.h),
		Int("pixelsY", g.ho*g.wo), Int("widthY", g.wo), Int("heightY", g.ho), Int("phasePixels", high*wide), Int("phaseWidth", wide),
		Int("strideY", at.Stride[0]), Int("strideX", at.Stride[1]), Int("dilationY", at.Dilation[0]), Int("dilationX", at.Dilation[1]),
		Int("top", at.Pad[0]), Int("before", at.Pad[2]), Int("kernelX", g.kw),
		Int("channelsX", g.ci/width), Int("channels", g.cg/width), Int("lineW", g.kh*g.kw*g.cg/width),
	}
	return t.lower(n, lw)
}

// convGradWeightLower sums over positions: each tap is a product of dy, turned, with x moved.
func convGradWeightLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*ConvGradWeightAttr)
	g := at.geometry(n)
	cog, line := g.co/at.Groups, ceilDiv(g.wo, 4) // steps of a line of dy
	t := tile{
		shader: "conv2d_grad_weight", defines: map[string]string{},
		parts: at.Groups * g.kh * g.kw, groups: 1, m: cog, n: g.cg,
		steps: g.b * g.ho * line, segment: line,
	}
	width := 4
	if g.cg%4 != 0 || cog%4 != 0 {
		width = 1
		t.defines["SINGLE"] = "1"
	}
	t.reads = []Operand{Read("X", n.In[0], width), Read("DY", n.In[1], width)}
	t.uniforms = []Uniform{
		Int("taps", g.kh*g.kw), Int("kernelX", g.kw), Int("widthX", g.w), Int("heightX", g.h),
		Int("widthY", g.wo), Int("heightY", g.ho), Int("strideY", at.Stride[0]), Int("strideX", at.Stride[1]),
		Int("dilationY", at.Dilation[0]), Int("dilationX", at.Dilation[1]), Int("top", at.Pad[0]), Int("before", at.Pad[2]),
		Int("channelsX", g.ci/width), Int("channelsY", g.co/width), Int("groupX", g.cg/width), Int("groupY", cog/width),
	}
	return t.lower(n, lw)
}
