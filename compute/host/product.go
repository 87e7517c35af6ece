package host

import (
	"fmt"

	"gorgonia.org/tensor"
)

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
