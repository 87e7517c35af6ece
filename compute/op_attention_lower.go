package compute

import "strconv"

// attentionLower gives one launch in two forms. The direct form's rows fall with the head size, so that what an invocation
// holds, and what a driver compiles, stays about the same.
func attentionLower(n *Tensor, lw *Lowering) []Launch {
	const sharedRows = 64 // queries of a workgroup, as in the shader
	at := n.Attr.(*AttentionAttr)
	g, _ := attentionGeometry(n)
	quads := g.d / 4
	rows, keys := 2, 16
	switch {
	case quads <= 10:
		rows = 8
	case quads <= 20:
		rows = 4
	}
	if quads <= 16 {
		keys = 32
	}
	causal := 0
	if at.Causal {
		causal = 1
	}
	defines := map[string]string{"QUADS": strconv.Itoa(quads)}
	l := Launch{
		Shader: "attention", Defines: defines,
		Reads:  []Operand{Read("Q", n.In[0], 4), Read("K", n.In[1], 4), Read("V", n.In[2], 4)},
		Writes: []Operand{Write(n)},
		Uniforms: []Uniform{Int("queries", g.tq), Int("keys", g.tk), Int("heads", g.h), Int("share", g.h/g.hk), Int("keyPitch", g.hk*quads),
			Int("matrices", g.b*g.h), Int("causal", causal), Float("scale", float32(at.Scale))},
	}
	if at.Mask {
		defines["MASK"] = "1"
		l.Reads = append(l.Reads, Read("Mask", n.In[3], 1))
		l.Uniforms = append(l.Uniforms, Int("maskB", g.maskB), Int("maskH", g.maskH), Int("maskQ", g.maskQ), Int("maskK", g.maskK))
	}
	direct, shared := ceilDiv(g.tq, rows), ceilDiv(g.tq, sharedRows)
	l.Forms = []Form{
		{Name: "direct", Defines: map[string]string{"TILE_DIRECT": "1", "ROWS": strconv.Itoa(rows)}, Groups: lw.Grid(ceilDiv(g.b*g.h*direct, 8))},
		{Name: "shared", Defines: map[string]string{"TILE_SHARED": "1", "KEYS": strconv.Itoa(keys)}, Groups: lw.Grid(g.b * g.h * shared)},
	}
	return []Launch{l}
}
