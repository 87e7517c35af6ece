package compute

import "fmt"

// MatMulOpts are what MatMul can do beside the product itself.
type MatMulOpts struct {
	TransA, TransB bool    // the operand's last two axes are swapped
	Bias           *Tensor // [N], added to every row
	Act            Act     // applied after the bias
	Residual       *Tensor // the result's shape, added after Act
}

// MatMulAttr is the settings of a matmul node. Operands: a, b, then the bias and the residual where present.
type MatMulAttr struct {
	TransA, TransB bool
	Bias           bool
	Act            Act
	Residual       bool
}

// MatMul is act(a·b + bias) + residual over the last two axes: a [… M K] ([… K M] if TransA) and b [… K N] ([… N K] if
// TransB) give [… M N]. Leading axes broadcast; a rank-2 b is shared by all of them.
func MatMul(a, b *Tensor, o MatMulOpts) *Tensor {
	in := []*Tensor{a, b}
	if o.Bias != nil {
		in = append(in, o.Bias)
	}
	if o.Residual != nil {
		in = append(in, o.Residual)
	}
	return newNode(opMatMul, &MatMulAttr{o.TransA, o.TransB, o.Bias != nil, o.Act, o.Residual != nil}, in...)
}

var opMatMul = register(&Op{
	Name:  "matmul",
	Shape: matMulShape,
	Ref:   matMulRef,
	Lower: matMulLower,

	ReadsBlocks: true,

	FLOPs: func(n *Tensor) float64 {
		g, _ := matMulGeometry(n)
		return 2 * float64(n.shape.Size()) * float64(g.k)
	},
})

func init() { opMatMul.VJP = matMulVJP }

// matMulGeom is a matmul as a batch of M×K by K×N products. Each batch axis steps by aStep and bStep matrices, 0 where
// the operand broadcasts.
type matMulGeom struct {
	m, n, k      int
	lead         Shape
	aStep, bStep []int
}

func matMulGeometry(n *Tensor) (matMulGeom, error) {
	at, a, b := n.Attr.(*MatMulAttr), n.In[0].shape, n.In[1].shape
	if len(a) < 2 || len(b) < 2 {
		return matMulGeom{}, fmt.Errorf("operands need at least two axes: %v · %v", a, b)
	}
	la, lb := len(a)-2, len(b)-2
	g := matMulGeom{m: a[la], k: a[la+1], n: b[lb+1]}
	kb := b[lb]
	if at.TransA {
		g.m, g.k = g.k, g.m
	}
	if at.TransB {
		g.n, kb = kb, g.n
	}
	if g.k != kb {
		return g, fmt.Errorf("inner dimensions differ: %v · %v%s", a, b, transposedNote(at))
	}
	lead, err := Broadcast(a[:la], b[:lb])
	if err != nil {
		return g, fmt.Errorf("leading axes do not broadcast: %v · %v", a, b)
	}
	g.lead, g.aStep, g.bStep = lead, broadcastSteps(a[:la], len(lead)), broadcastSteps(b[:lb], len(lead))
	return g, nil
}

func transposedNote(at *MatMulAttr) string {
	switch {
	case at.TransA && at.TransB:
		return ", both transposed"
	case at.TransA:
		return ", the first transposed"
	case at.TransB:
		return ", the second transposed"
	}
	return ""
}

// broadcastSteps is the row-major step of each of rank axes aligned at the end with s, 0 where s is absent or stretches.
func broadcastSteps(s Shape, rank int) []int {
	steps, n := make([]int, rank), 1
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] > 1 {
			steps[rank-len(s)+i] = n
		}
		n *= s[i]
	}
	return steps
}

// fold turns leading axes into rows where all rows meet the same b, and merges batch axes that step together.
func (g matMulGeom) fold(transA bool) matMulGeom {
	var lead Shape
	var as, bs []int
	for i := len(g.lead) - 1; i >= 0; i-- {
		d := g.lead[i]
		if d == 1 {
			continue
		}
		if j := len(lead) - 1; j >= 0 && g.aStep[i] == as[j]*lead[j] && g.bStep[i] == bs[j]*lead[j] {
			lead[j] *= d
			continue
		}
		lead, as, bs = append(lead, d), append(as, g.aStep[i]), append(bs, g.bStep[i])
	}
	if len(lead) == 1 && !transA && as[0] == 1 && bs[0] == 0 {
		g.m *= lead[0]
		lead, as, bs = nil, nil, nil
	}
	g.lead, g.aStep, g.bStep = lead, as, bs // innermost first
	return g
}

func matMulShape(n *Tensor) (Shape, error) {
	at := n.Attr.(*MatMulAttr)
	g, err := matMulGeometry(n)
	if err != nil {
		return nil, err
	}
	if b := n.In[1]; b.dtype.Blocks() && b.shape.Last()%4 != 0 {
		return nil, fmt.Errorf("a second operand of %v needs rows of whole fours, not %v", b.dtype, b.shape)
	}
	if axes := len(g.fold(at.TransA).lead); axes > matMulBatchAxes {
		return nil, fmt.Errorf("leading axes broadcast in %d separate stretches: %v · %v; reshape to at most %d", axes, n.In[0].shape, n.In[1].shape, matMulBatchAxes)
	}
	s := append(append(Shape(nil), g.lead...), g.m, g.n)
	next := 2
	if at.Bias {
		if b := n.In[next].shape; !b.Equal(Shape{g.n}) {
			return nil, fmt.Errorf("bias %v does not fit the result %v: it must be [%d]", b, s, g.n)
		}
		next++
	}
	if at.Residual {
		if r := n.In[next].shape; !r.Equal(s) {
			return nil, fmt.Errorf("residual %v does not have the result's shape %v", r, s)
		}
	}
	return s, nil
}

func matMulRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at := n.Attr.(*MatMulAttr)
	g, _ := matMulGeometry(n)
	var bias, residual []float32
	rest := in[2:]
	if at.Bias {
		bias, rest = rest[0], rest[1:]
	}
	if at.Residual {
		residual = rest[0]
	}
	am, ak, bn, bk := g.k, 1, 1, g.n
	if at.TransA {
		am, ak = 1, g.m
	}
	if at.TransB {
		bn, bk = g.k, 1
	}
	for i := lo; i < hi; i++ {
		col, row, batch := i%g.n, i/g.n%g.m, i/g.n/g.m
		az, bz := 0, 0
		for j := len(g.lead) - 1; j >= 0; j-- {
			c := batch % g.lead[j]
			batch /= g.lead[j]
			az += c * g.aStep[j]
			bz += c * g.bStep[j]
		}
		a, b := in[0][az*g.m*g.k+row*am:], in[1][bz*g.k*g.n+col*bn:]
		sum := 0.0
		for k := range g.k {
			sum += float64(a[k*ak]) * float64(b[k*bk])
		}
		if bias != nil {
			sum += float64(bias[col])
		}
		sum = at.Act.Eval(sum)
		if residual != nil {
			sum += float64(residual[i])
		}
		out[i] = float32(sum)
	}
}

// matMulVJP: with P = a·b + bias, dP = dy·act′(P), da = dP·bᵀ and db = aᵀ·dP, summed over the axes that broadcast.
func matMulVJP(n, dy *Tensor) []*Tensor {
	at := n.Attr.(*MatMulAttr)
	a, b := n.In[0], n.In[1]
	bias, residual := epilogueOperands(n, at.Bias, at.Residual)
	dp := dy
	if at.Act != ActNone {
		dp = at.Act.grad(MatMul(a, b, MatMulOpts{TransA: at.TransA, TransB: at.TransB, Bias: bias}), dy)
	}
	var da, db *Tensor
	if at.TransA {
		da = MatMul(b, dp, MatMulOpts{TransA: at.TransB, TransB: true})
	} else {
		da = MatMul(dp, b, MatMulOpts{TransB: !at.TransB})
	}
	af, pf := a, dp
	if len(b.shape) == 2 && !at.TransA { // rows of all batches meet the one b: their products add up in a single matmul
		af, pf = Reshape(a, -1, a.Dim(-1)), Reshape(dp, -1, dp.Dim(-1))
	}
	if at.TransB {
		db = MatMul(pf, af, MatMulOpts{TransA: true, TransB: at.TransA})
	} else {
		db = MatMul(af, pf, MatMulOpts{TransA: !at.TransA})
	}
	out := []*Tensor{sumToShape(da, a.shape), sumToShape(db, b.shape)}
	if bias != nil {
		out = append(out, sumToShape(dp, bias.shape))
	}
	if residual != nil {
		out = append(out, dy)
	}
	return out
}

// sumToShape undoes broadcasting: it sums x over the axes along which s stretched.
func sumToShape(x *Tensor, s Shape) *Tensor {
	if x.err != nil || x.shape.Equal(s) {
		return x
	}
	var axes []int
	lead := len(x.shape) - len(s)
	for i := range x.shape {
		if i < lead || s[i-lead] == 1 && x.shape[i] > 1 {
			axes = append(axes, i)
		}
	}
	return Reshape(Sum(x, true, axes...), s...)
}
