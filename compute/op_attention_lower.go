package compute

import "strconv"

// attentionFrame is what launches of attention and of its gradients share: defines, the mask and the uniforms that say how
// operands lie. mask is nil where there is none.
func attentionFrame(g attentionGeom, at *AttentionAttr, mask *Tensor) Launch {
	causal := 0
	if at.Causal {
		causal = 1
	}
	l := Launch{
		Defines:  map[string]string{"QUADS": strconv.Itoa(g.d / 4)},
		Uniforms: []Uniform{Int("queries", g.tq), Int("keys", g.tk), Int("heads", g.h), Int("causal", causal), Float("scale", float32(at.Scale))},
	}
	if mask != nil {
		l.Defines["MASK"] = "1"
		l.Reads = append(l.Reads, Read("Mask", mask, 1))
		l.Uniforms = append(l.Uniforms, Int("maskB", g.maskB), Int("maskH", g.maskH), Int("maskQ", g.maskQ), Int("maskK", g.maskK))
	}
	return l
}

// attentionForms are the two forms of a launch over mine lines of each of matrices heads. The direct form's rows fall with the
// head size, so that what an invocation holds, and what a driver compiles, stays about the same; staged bounds the lines that the
// shared form stages.
func attentionForms(lw *Lowering, matrices, mine, rows int, staged string, lines int) []Form {
	const sharedRows = 64 // lines of a workgroup, as in the shaders
	direct, shared := ceilDiv(mine, rows), ceilDiv(mine, sharedRows)
	return []Form{
		{Name: "direct", Defines: map[string]string{"TILE_DIRECT": "1", "ROWS": strconv.Itoa(rows)}, Groups: lw.Grid(ceilDiv(matrices*direct, 8))},
		{Name: "shared", Defines: map[string]string{"TILE_SHARED": "1", staged: strconv.Itoa(lines)}, Groups: lw.Grid(matrices * shared)},
	}
}

// attentionTile is how many lines the forms hold and stage for heads of so many texels.
func attentionTile(quads int) (rows, staged int) {
	rows, staged = 2, 16
	switch {
	case quads <= 10:
		rows = 8
	case quads <= 20:
		rows = 4
	}
	if quads <= 16 {
		staged = 32
	}
	return rows, staged
}

// attentionLower gives one launch in two forms.
func attentionLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*AttentionAttr)
	g, _ := attentionGeometry(n)
	var mask *Tensor
	if at.Mask {
		mask = n.In[3]
	}
	l := attentionFrame(g, at, mask)
	l.Shader = "attention"
	l.Reads = append(l.Reads, Read("Q", n.In[0], 4), Read("K", n.In[1], 4), Read("V", n.In[2], 4))
	l.Writes = []Operand{Write(n)}
	l.Uniforms = append(l.Uniforms, Int("share", g.h/g.hk), Int("keyPitch", g.hk*g.d/4), Int("matrices", g.b*g.h))
	rows, keys := attentionTile(g.d / 4)
	l.Forms = attentionForms(lw, g.b*g.h, g.tq, rows, "KEYS", keys)
	return []Launch{l}
}

// attentionGradLower goes over the queries, then over the keys. An invocation holds twice what attention's holds for a line.
func attentionGradLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*AttentionAttr)
	g, _ := attentionGeometry(attentionOf(n))
	var mask *Tensor
	if at.Mask {
		mask = n.In[4]
	}
	rows, lines := attentionTile(g.d / 4)
	rows = max(rows/2, 1)
	ofRows := lw.Scratch(2 * g.b * g.tq * g.h)
	side := func(define string, heads, mine int) Launch {
		l := attentionFrame(g, at, mask)
		l.Shader = "attention_grad"
		if define != "" {
			l.Defines[define] = "1"
		}
		l.Reads = append(l.Reads, Read("Q", n.In[0], 4), Read("K", n.In[1], 4), Read("V", n.In[2], 4), Read("Dy", n.In[3], 4))
		l.Writes = []Operand{Write(n)}
		q, k := n.In[0].shape.Size()/4, n.In[1].shape.Size()/4
		l.Uniforms = append(l.Uniforms, Int("keyHeads", g.hk), Int("batch", g.b), Int("firstQ", 0), Int("firstK", q), Int("firstV", q+k))
		l.Forms = attentionForms(lw, g.b*heads, mine, rows, "LINES", lines)
		return l
	}
	queries, keys := side("", g.h, g.tq), side("KEY_SIDE", g.hk, g.tk)
	queries.Writes = append(queries.Writes, ofRows)
	keys.Reads = append(keys.Reads, ReadScratch("Rows", ofRows, 1))
	return []Launch{queries, keys}
}
