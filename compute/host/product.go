package host

import (
	"fmt"

	"atelier/compute"

	"gorgonia.org/tensor"
)

// smallProduct is the number of multiply-adds under which a node's definition is as quick as a dense product.
const smallProduct = 4096

// product is c = a·b of dense matrices over memory that others own.
type product struct{ a, b, c *tensor.Dense }

// newProduct is c [m n] = a [m k] · b [k n] over these slices; a transposed operand is stored [k m] or [n k].
func newProduct(a, b, c []float32, m, n, k int, transA, transB bool) product {
	return product{matrix(a, m, k, transA), matrix(b, k, n, transB), matrix(c, m, n, false)}
}

func matrix(data []float32, rows, columns int, transposed bool) *tensor.Dense {
	if !transposed {
		return tensor.New(tensor.WithShape(rows, columns), tensor.WithBacking(data[:rows*columns]))
	}
	d := tensor.New(tensor.WithShape(columns, rows), tensor.WithBacking(data[:rows*columns]))
	_ = d.T() // a lazy transpose of a matrix does not fail
	return d
}

func (p product) run() error {
	if _, err := tensor.MatMul(p.a, p.b, tensor.WithReuse(p.c)); err != nil {
		return fmt.Errorf("host: dense product: %w", err)
	}
	return nil
}

// matMul gives a matmul node as dense products, nil where its definition serves.
func (e *executable) matMul(s step) func() error {
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
	var products []product
	if bs.Size() == n*k && !at.TransA && as.Size() == lead.Size()*m*k {
		products = []product{newProduct(s.in[0], s.in[1], s.out, lead.Size()*m, n, k, false, at.TransB)}
	} else {
		for i := range lead.Size() {
			a := s.in[0][batchOffset(i, lead, as[:len(as)-2])*m*k:]
			b := s.in[1][batchOffset(i, lead, bs[:len(bs)-2])*n*k:]
			products = append(products, newProduct(a, b, s.out[i*m*n:], m, n, k, at.TransA, at.TransB))
		}
	}
	ep := epilogue{act: at.Act, columns: n}
	rest := s.in[2:]
	if at.Bias {
		ep.bias, ep.biasRows, rest = rest[0], lead.Size()*m, rest[1:]
	}
	if at.Residual {
		ep.residual = rest[0]
	}
	return func() error {
		if err := e.runProducts(products); err != nil {
			return err
		}
		ep.apply(e.device.pool, s.out, 0)
		return nil
	}
}

// runProducts shares many products out over the cores; a single one is shared out by the library.
func (e *executable) runProducts(products []product) error {
	if len(products) == 1 {
		return products[0].run()
	}
	errs := make([]error, len(products))
	e.device.pool.each(len(products), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			errs[i] = products[i].run()
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
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

// epilogue is what follows a product row by row: y = act(y + bias) + residual.
type epilogue struct {
	act      compute.Act
	columns  int
	bias     []float32 // one per column; for each biasRows rows
	biasRows int
	residual []float32
}

// apply works on y, whole rows of the result from row first on.
func (ep *epilogue) apply(p *pool, y []float32, first int) {
	if ep.bias == nil && ep.residual == nil && ep.act == compute.ActNone {
		return
	}
	p.each(len(y)/ep.columns, 1, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row := y[r*ep.columns:][:ep.columns]
			if ep.bias != nil {
				bias := ep.bias[(first+r)/ep.biasRows*ep.columns:][:ep.columns]
				for i := range row {
					row[i] += bias[i]
				}
			}
			if ep.act != compute.ActNone {
				for i, v := range row {
					row[i] = float32(ep.act.Eval(float64(v)))
				}
			}
			if ep.residual != nil {
				residual := ep.residual[(first+r)*ep.columns:][:ep.columns]
				for i := range row {
					row[i] += residual[i]
				}
			}
		}
	})
}
