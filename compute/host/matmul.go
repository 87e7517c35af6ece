package host

import "atelier/compute"

// matMul gives a matmul node as dense products, nil where its definition serves.
func (e *executable) matMul(s step, scratch []float32) func() error {
	at := s.node.Attr.(*compute.MatMulAttr)
	y, as, bs := s.node.Shape(), s.node.In[0].Shape(), s.node.In[1].Shape()
	m, n, k := y[len(y)-2], y.Last(), as.Last()
	if at.TransA {
		k = as[len(as)-2]
	}
	if m*n*k < smallProduct {
		return nil
	}
	lead := y[:len(y)-2]
	ep := epilogue{act: at.Act, columns: n, biasRows: lead.Size() * m}
	rest := s.in[2:]
	if at.Bias {
		ep.bias, rest = rest[0], rest[1:]
	}
	if at.Residual {
		ep.residual = rest[0]
	}
	shared := bs.Size() == n*k && as.Size() == lead.Size()*m*k
	switch {
	case m*n*k < tinyProduct && (at.TransA || !shared):
		return e.tinyProducts(s, lead, m, n, k, ep)
	case at.TransA:
		return e.turnedMatMul(s, scratch, m, n, k, ep)
	case shared:
		m *= lead.Size()
		return newGemm(e.device, m, &matrixLeft{s.in[0], m, k}, k, matrixBlocks(k), e.right(s, k, n, at.TransB), s.out, n, ep).run
	}
	var products []*gemm
	for i := range lead.Size() {
		a := s.in[0][batchOffset(i, lead, as[:len(as)-2])*m*k:]
		b := s.in[1][batchOffset(i, lead, bs[:len(bs)-2])*n*k:][:n*k]
		one := ep
		if ep.residual != nil {
			one.residual = ep.residual[i*m*n:]
		}
		products = append(products, newGemm(e.device, m, &matrixLeft{a, m, k}, k, matrixBlocks(k), matrixRight(b, k, n, at.TransB), s.out[i*m*n:], n, one))
	}
	return func() error {
		for _, p := range products {
			if err := p.run(); err != nil {
				return err
			}
		}
		return nil
	}
}

// right is the right side of a node's product: the parameter's panels where it is one, else the operand's memory.
func (e *executable) right(s step, k, n int, transposed bool) *panels {
	if s.from != nil {
		return &s.from.right
	}
	if t := s.node.In[1]; e.plan.Slot(t) < 0 {
		if p := e.device.params[paramKey{compute.Root(t).Src, k, n, transposed}]; p != nil {
			return p.right
		}
	}
	return matrixRight(s.in[1], k, n, transposed)
}

// batchOffset is the matrix of an operand with leading axes s that belongs to matrix i of a result with leading axes lead,
// under NumPy's broadcasting.
func batchOffset(i int, lead, s compute.Shape) int {
	offset, stride := 0, 1
	for axis := len(lead) - 1; axis >= 0; axis-- {
		c := i % lead[axis]
		i /= lead[axis]
		if j := axis - len(lead) + len(s); j >= 0 {
			if s[j] > 1 {
				offset += c * stride
			}
			stride *= s[j]
		}
	}
	return offset
}
