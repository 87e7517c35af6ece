package compute

import "strconv"

func itoa(i int) string { return strconv.Itoa(i) }

// matMulBatchAxes is how many separate batch axes the shader walks after merging.
const matMulBatchAxes = 3

func matMulLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*MatMulAttr)
	g, _ := matMulGeometry(n)
	g = g.fold(at.TransA)
	bias, residual := epilogueOperands(n, at.Bias, at.Residual)
	t := tile{
		shader: "matmul", defines: map[string]string{},
		parts: Shape(g.lead).Size(), m: g.m, n: g.n,
		steps: ceilDiv(g.k, 4), segment: ceilDiv(g.k, 4), groups: 1,
		act: at.Act, bias: bias, residual: residual, adds: true,
	}
	a, ua := matMulOperand("A", "a", n.In[0], at.TransA, g.m, g.k, t.defines)
	b, ub := matMulOperand("B", "b", n.In[1], !at.TransB, g.n, g.k, t.defines)
	if d := n.In[1].dtype; d.Blocks() {
		t.defines["B_BLOCKS"], t.defines["BLOCKS_"+d.String()] = "1", "1"
	}
	t.reads = []Operand{a, b}
	t.uniforms = append(append(ua, ub...), Int("inner", g.k))
	for i := range matMulBatchAxes {
		d, as, bs := 1, 0, 0
		if i < len(g.lead) {
			d, as, bs = g.lead[i], g.aStep[i], g.bStep[i]
		}
		t.uniforms = append(t.uniforms, Int("batch"+itoa(i), d), Int("a"+itoa(i), as), Int("b"+itoa(i), bs))
	}
	return t.lower(n, lw)
}

// matMulOperand says how the shader walks an operand of lines×inner elements, stored inner×lines where turned: four at a time
// along the stored rows if they hold whole texels.
func matMulOperand(name, prefix string, x *Tensor, turned bool, lines, inner int, defines map[string]string) (Operand, []Uniform) {
	line, step, matrix, width := inner, 1, lines*inner, 4
	if turned {
		line, step = 1, lines
	}
	switch {
	case x.shape.Last()%4 != 0:
		width = 1
		defines[name+"_SINGLE"] = "1"
	case turned:
		step, matrix = step/4, matrix/4
		defines[name+"_TURNED"] = "1"
	default:
		line, matrix = line/4, matrix/4
	}
	return Read(name, x, width), []Uniform{Int(prefix+"Line", line), Int(prefix+"Step", step), Int(prefix+"Matrix", matrix)}
}
