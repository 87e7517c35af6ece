package host

import (
	"math"
	"slices"

	"atelier/compute"
	"atelier/compute/host/vector"
)

// reduceRun is how many elements are summed in float32 before the sum goes on in float64.
const reduceRun = 1024

// reduce gives a sum or mean over neighbouring axes, or a maximum, with x seen as [outer, reduced, inner]; nil for other axes.
func (e *executable) reduce(s step) func() error {
	axes, shape := s.node.Attr.(*compute.ReduceAttr).Axes, s.node.In[0].Shape()
	first, last := axes[0], axes[len(axes)-1]
	if last-first != len(axes)-1 {
		return nil
	}
	reduced, inner := shape[first:last+1].Size(), shape[last+1:].Size()
	scale := float32(1)
	if s.node.Op.Name == "mean" {
		scale = 1 / float32(reduced)
	}
	squares := s.node.Op.Name == "sum_squares"
	switch {
	case s.node.Op.Name == "max":
		return e.reduceMax(s, reduced, inner)
	case inner == 1 && len(s.out) < e.device.pool.workers && reduced > 4*elementGrain:
		return e.reduceLong(s, reduced, scale, squares)
	case inner == 1:
		return e.each(len(s.out), max(elementGrain/reduced, 1), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				s.out[i] = scale * float32(sum(s.in[0][i*reduced:][:reduced], squares))
			}
		})
	case reduced >= 64 && inner <= 1<<14:
		return e.reduceRows(s, reduced, inner, scale, squares)
	case squares:
		return nil
	}
	// Columns are summed side by side: a unit is a run of columns of one outer index.
	const columns = 64
	runs := (inner + columns - 1) / columns
	return e.each(len(s.out)/inner*runs, 1, func(lo, hi int) {
		var part [columns]float32
		var total [columns]float64
		for u := lo; u < hi; u++ {
			o, c := u/runs, u%runs*columns
			n := min(columns, inner-c)
			clear(total[:])
			for r := 0; r < reduced; r += reduceRun {
				clear(part[:])
				for k := r; k < min(r+reduceRun, reduced); k++ {
					vector.Add(part[:n], part[:n], s.in[0][(o*reduced+k)*inner+c:][:n])
				}
				for j, v := range part[:n] {
					total[j] += float64(v)
				}
			}
			for j := range n {
				s.out[o*inner+c+j] = scale * float32(total[j])
			}
		}
	})
}

// reduceRows gives sums of rows, or of their squares: each outer index's rows in pieces, as many whatever the number of cores.
func (e *executable) reduceRows(s step, reduced, inner int, scale float32, squares bool) func() error {
	outer, pieces := len(s.out)/inner, 1
	if outer < gradPieces {
		pieces = min(gradPieces, reduced/32)
	}
	each := (reduced + pieces - 1) / pieces
	totals, spaces, zero := make([]float64, outer*pieces*inner), e.rowSpaces(2*inner), make([]float32, inner)
	work := func(lo, hi int) {
		space := <-spaces
		part, other := space[:inner], space[inner:]
		for u := lo; u < hi; u++ {
			total := totals[u*inner:][:inner]
			clear(total)
			first := u % pieces * each
			for last := min(first+each, reduced); first < last; first += normRows {
				at, rows := (u/pieces*reduced+first)*inner, min(normRows, last-first)
				if squares {
					vector.Moments(other, part, s.in[0][at:][:rows*inner], zero)
				} else {
					clear(part)
					for r := range rows {
						vector.Add(part, part, s.in[0][at+r*inner:][:inner])
					}
				}
				for k, v := range part {
					total[k] += float64(v)
				}
			}
		}
		spaces <- space
	}
	return func() error {
		e.device.pool.each(outer*pieces, 1, work)
		for i := range s.out {
			at, all := i/inner*pieces*inner+i%inner, 0.0
			for piece := range pieces {
				all += totals[at+piece*inner]
			}
			s.out[i] = scale * float32(all)
		}
		return nil
	}
}

// sum adds up x, or its squares: runs in float32, the runs in float64.
func sum(x []float32, squares bool) float64 {
	total := 0.0
	for run := range slices.Chunk(x, reduceRun) {
		if squares {
			total += float64(vector.SumSquares(run, 0))
		} else {
			total += float64(vector.Sum(run))
		}
	}
	return total
}

// reduceLong gives few long sums, each shared out over the cores in stretches.
func (e *executable) reduceLong(s step, reduced int, scale float32, squares bool) func() error {
	const stretch = 8 * reduceRun
	parts := make([]float64, (reduced+stretch-1)/stretch)
	var x []float32
	work := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			parts[i] = sum(x[i*stretch:min((i+1)*stretch, reduced)], squares)
		}
	}
	return func() error {
		for i := range s.out {
			x = s.in[0][i*reduced:][:reduced]
			e.device.pool.each(len(parts), 1, work)
			total := 0.0
			for _, p := range parts {
				total += p
			}
			s.out[i] = scale * float32(total)
		}
		return nil
	}
}

// reduceMax keeps a NaN where one is.
func (e *executable) reduceMax(s step, reduced, inner int) func() error {
	return e.each(len(s.out), max(elementGrain/reduced, 1), func(lo, hi int) {
		for i := lo; i < hi; {
			o, c := i/inner, i%inner
			y := s.out[i:min(hi, (o+1)*inner)]
			for j := range y {
				y[j] = float32(math.Inf(-1))
			}
			for r := range reduced {
				for j, v := range s.in[0][(o*reduced+r)*inner+c:][:len(y)] {
					y[j] = max(y[j], v)
				}
			}
			i += len(y)
		}
	})
}
