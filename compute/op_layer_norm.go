package compute

import "math"

// RowNormAttr is the settings of a layer_norm or rms_norm node. Operands: x, then gamma and beta where present.
type RowNormAttr struct {
	Eps         float64
	Gamma, Beta bool
}

// LayerNorm normalises each row x [… C] over its last axis (Ba et al., 2016) and applies gamma·x̂ + beta, both [C]; either
// may be nil.
func LayerNorm(x, gamma, beta *Tensor, eps float64) *Tensor {
	return rowNorm(opLayerNorm, x, gamma, beta, eps)
}

// RMSNorm divides each row x [… C] by its root mean square (Zhang & Sennrich, 2019) and multiplies by gamma [C], which may
// be nil.
func RMSNorm(x, gamma *Tensor, eps float64) *Tensor { return rowNorm(opRMSNorm, x, gamma, nil, eps) }

func rowNorm(op *Op, x, gamma, beta *Tensor, eps float64) *Tensor {
	in := []*Tensor{x}
	if gamma != nil {
		in = append(in, gamma)
	}
	if beta != nil {
		in = append(in, beta)
	}
	return newNode(op, &RowNormAttr{eps, gamma != nil, beta != nil}, in...)
}

var (
	opLayerNorm = register(&Op{Name: "layer_norm", Shape: rowNormShape, Units: rows, Ref: rowNormRef, Lower: rowNormLower})
	opRMSNorm   = register(&Op{Name: "rms_norm", Shape: rowNormShape, Units: rows, Ref: rowNormRef, Lower: rowNormLower})
)

// rows counts the rows along the last axis.
func rows(n *Tensor) int { return n.shape.Size() / n.shape.Last() }

func rowNormShape(n *Tensor) (Shape, error) {
	x := n.In[0].shape
	return x, checkChannels(n.In[1:], x.Last())
}

// channelOperands are the indices of gamma and beta among the operands, 0 where absent.
func (at *RowNormAttr) channelOperands() (gamma, beta int) {
	if at.Gamma {
		gamma = 1
	}
	if at.Beta {
		beta = gamma + 1
	}
	return gamma, beta
}

func rowNormRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, c, centred := n.Attr.(*RowNormAttr), n.shape.Last(), n.Op.Name == "layer_norm"
	gamma, beta := at.channelOperands()
	for r := lo; r < hi; r++ {
		x, y := in[0][r*c:][:c], out[r*c:][:c]
		mean, squares := 0.0, 0.0
		if centred {
			for _, v := range x {
				mean += float64(v)
			}
			mean /= float64(c)
		}
		for _, v := range x {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
		scale := 1 / math.Sqrt(squares/float64(c)+at.Eps)
		for k, v := range x {
			z := (float64(v) - mean) * scale
			if gamma > 0 {
				z *= float64(in[gamma][k])
			}
			if beta > 0 {
				z += float64(in[beta][k])
			}
			y[k] = float32(z)
		}
	}
}

func rowNormLower(n *Tensor, lw *Lowering) []Launch {
	at := n.Attr.(*RowNormAttr)
	gamma, beta := at.channelOperands()
	l := rowLaunch(n, lw, "row_norm", Float("eps", float32(at.Eps)))
	width := l.Reads[0].Width
	if n.Op.Name == "layer_norm" {
		l.Defines["CENTRED"] = "1"
	}
	if gamma > 0 {
		l.Defines["GAMMA"] = "1"
		l.Reads = append(l.Reads, Read("Gamma", n.In[gamma], width))
	}
	if beta > 0 {
		l.Defines["BETA"] = "1"
		l.Reads = append(l.Reads, Read("Beta", n.In[beta], width))
	}
	return []Launch{l}
}

// rowLaunch is a launch that reduces rows along the last axis (include/rows.glsl): an invocation a row, or a workgroup a
// row, which is what fills a GPU and what few long rows want anywhere.
func rowLaunch(n *Tensor, lw *Lowering, shader string, uniforms ...Uniform) Launch {
	defines, width := map[string]string{}, 1
	if n.shape.Last()%4 == 0 {
		defines["QUAD"], width = "1", 4
	}
	return Launch{
		Shader:   shader,
		Defines:  defines,
		Reads:    []Operand{Read("X", n.In[0], width)},
		Writes:   []Operand{Write(n)},
		Uniforms: append(uniforms, Int("rows", rows(n)), Int("columns", n.shape.Last()/width)),
		Forms:    rowForms(lw, rows(n)),
	}
}

// rowForms are the two ways of include/rows.glsl to reduce count rows; few rows are always shared.
func rowForms(lw *Lowering, count int) []Form {
	forms := []Form{
		{Name: "invocation", Groups: lw.Grid(ceilDiv(count, 16))},
		{Name: "workgroup", Defines: map[string]string{"SHARED": "1"}, Groups: lw.Grid(count)},
	}
	if count < 8 {
		return forms[1:]
	}
	return forms
}
