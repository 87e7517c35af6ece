package host

import (
	"fmt"

	"atelier/compute"

	"gorgonia.org/tensor"
)

// tinyProduct is the number of multiply-adds under which a product of a batch is a core's work alone.
const tinyProduct = 1 << 15

// tinyProducts is a node of many small products, shared out over the cores product by product.
func (e *executable) tinyProducts(s step, lead compute.Shape, m, n, k int, ep epilogue) func() error {
	at := s.node.Attr.(*compute.MatMulAttr)
	as, bs := s.node.In[0].Shape(), s.node.In[1].Shape()
	var products []product
	for i := range lead.Size() {
		a := s.in[0][batchOffset(i, lead, as[:len(as)-2])*m*k:]
		b := s.in[1][batchOffset(i, lead, bs[:len(bs)-2])*n*k:]
		products = append(products, newProduct(a, b, s.out[i*m*n:], m, n, k, at.TransA, at.TransB))
	}
	finish := e.each(lead.Size()*m, max(elementGrain/n, 1), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			ep.apply(s.out[r*n:][:n], r, 0)
		}
	})
	return func() error {
		if err := e.runProducts(products); err != nil {
			return err
		}
		return finish()
	}
}

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
