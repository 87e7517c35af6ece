package host

import (
	"math"

	"atelier/compute"
	"atelier/compute/host/vector"
)

// normRows is how many rows are summed in float32 before the sums go on in float64.
const normRows = 64

// groupNorm gives a group_norm node over channels side by side: sums, squares, then one multiply-add and the activation for
// each element.
func (e *executable) groupNorm(s step) func() error {
	at, shape := s.node.Attr.(*compute.GroupNormAttr), s.node.Shape()
	pictures, c := shape[0], shape.Last()
	rows := shape.Size() / pictures / c
	pool := e.device.pool
	pieces := min((rows+normRows-1)/normRows, 4*pool.workers)
	each := (rows + pieces - 1) / pieces
	sums := make([]float64, pieces*c)
	mean, scale, shift := make([]float32, c), make([]float32, c), make([]float32, c)
	partial := make([]float32, pieces*c)
	// gather sums what add finds in each run of rows, by channel, and then over pieces and groups into sums[:c].
	gather := func(x []float32, add func(sum, row []float32)) {
		pool.each(pieces, 1, func(lo, hi int) {
			for p := lo; p < hi; p++ {
				sum, part := sums[p*c:][:c], partial[p*c:][:c]
				clear(sum)
				for first := p * each; first < min((p+1)*each, rows); first += normRows {
					clear(part)
					for r := first; r < min(first+normRows, (p+1)*each, rows); r++ {
						add(part, x[r*c:][:c])
					}
					for i, v := range part {
						sum[i] += float64(v)
					}
				}
			}
		})
		width := c / at.Groups
		for g := range at.Groups {
			total := 0.0
			for p := range pieces {
				for _, v := range sums[p*c+g*width:][:width] {
					total += v
				}
			}
			for i := range width {
				sums[g*width+i] = total / float64(rows*width)
			}
		}
	}
	return func() error {
		for b := range pictures {
			x, y := s.in[0][b*rows*c:][:rows*c], s.out[b*rows*c:][:rows*c]
			gather(x, func(sum, row []float32) { vector.Add(sum, sum, row) })
			for i := range mean {
				mean[i] = float32(sums[i])
			}
			gather(x, func(sum, row []float32) { vector.AddSquares(sum, row, mean) })
			for i := range scale {
				k, move := 1/math.Sqrt(sums[i]+at.Eps), 0.0
				if at.Affine {
					k, move = k*float64(s.in[1][i]), float64(s.in[2][i])
				}
				scale[i], shift[i] = float32(k), float32(move-float64(mean[i])*k)
			}
			pool.each(rows, 8, func(lo, hi int) {
				for r := lo; r < hi; r++ {
					row := y[r*c:][:c]
					vector.ScaleShift(row, x[r*c:][:c], scale, shift)
					if at.Act != compute.ActNone {
						activate(row, row, at.Act)
					}
				}
			})
		}
		return nil
	}
}

// rowNorm gives a layer_norm or rms_norm node.
func (e *executable) rowNorm(s step) func() error {
	at, c := s.node.Attr.(*compute.RowNormAttr), s.node.Shape().Last()
	centred := s.node.Op.Name == "layer_norm"
	var gamma, beta []float32
	rest := s.in[1:]
	if at.Gamma {
		gamma, rest = rest[0], rest[1:]
	}
	if at.Beta {
		beta = rest[0]
	}
	return e.each(s.node.Shape().Size()/c, 4, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			x, y := s.in[0][r*c:][:c], s.out[r*c:][:c]
			mean := float32(0)
			if centred {
				mean = vector.Sum(x) / float32(c)
			}
			k := float32(1 / math.Sqrt(float64(vector.SumSquares(x, mean))/float64(c)+at.Eps))
			vector.Standardise(y, x, mean, k)
			if gamma != nil {
				vector.Mul(y, y, gamma)
			}
			if beta != nil {
				vector.Add(y, y, beta)
			}
		}
	})
}

// softmax gives a softmax node.
func (e *executable) softmax(s step) func() error {
	c := s.node.Shape().Last()
	return e.each(s.node.Shape().Size()/c, 1, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			y := s.out[r*c:][:c]
			copy(y, s.in[0][r*c:])
			vector.Softmax(y, 1)
		}
	})
}

// each shares n units out over the cores.
func (e *executable) each(n, grain int, do func(lo, hi int)) func() error {
	return func() error {
		e.device.pool.each(n, grain, do)
		return nil
	}
}
