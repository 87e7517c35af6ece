package host

import (
	"math"

	"atelier/compute"
	"atelier/compute/host/vector"
)

// gather copies the rows that indices select. It is nil where a row is too short to be worth it.
func (e *executable) gather(s step) func() error {
	axis, x := s.node.Attr.(*compute.GatherAttr).Axis, s.node.In[0].Shape()
	inner := x[axis+1:].Size()
	if inner < 4 {
		return nil
	}
	extent, ids := x[axis], s.in[1]
	return e.each(len(s.out)/inner, max(elementGrain/inner, 1), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row := r/len(ids)*extent + clampIndex(ids[r%len(ids)], extent)
			copy(s.out[r*inner:][:inner], s.in[0][row*inner:][:inner])
		}
	})
}

// resizeNearest copies whole pixels, from where the definition takes them.
func (e *executable) resizeNearest(s step) func() error {
	x, y := s.node.In[0].Shape(), s.node.Shape()
	lines, columns, c := compute.NearestSources(s.node, 1), compute.NearestSources(s.node, 2), y[3]
	return e.each(y[0]*y[1], max(elementGrain/(y[2]*c), 1), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			from := s.in[0][(r/y[1]*x[1]+lines[r%y[1]])*x[2]*c:][:x[2]*c]
			to := s.out[r*y[2]*c:][:y[2]*c]
			for i, at := range columns {
				copy(to[i*c:(i+1)*c], from[at*c:(at+1)*c])
			}
		}
	})
}

// gatherGrad adds rows of dy up where they were taken from: each core has some of the rows of the result and passes over all
// indices in order. It is nil for a gather of single elements.
func (e *executable) gatherGrad(s step) func() error {
	at := s.node.Attr.(*compute.GatherGradAttr)
	inner := at.Shape[at.Axis+1:].Size()
	if inner < 4 {
		return nil
	}
	extent, ids, dy := at.Shape[at.Axis], s.in[1], s.in[0]
	return e.each(len(s.out)/inner, max(elementGrain/inner, 1), func(lo, hi int) {
		clear(s.out[lo*inner : hi*inner])
		for outer := lo / extent; outer*extent < hi; outer++ {
			for k, id := range ids {
				row := outer*extent + clampIndex(id, extent)
				if row >= lo && row < hi {
					y := s.out[row*inner:][:inner]
					vector.Add(y, y, dy[(outer*len(ids)+k)*inner:][:inner])
				}
			}
		}
	})
}

// clampIndex is the row that id selects among n.
func clampIndex(id float32, n int) int {
	switch {
	case !(id > 0):
		return 0
	case id >= float32(n):
		return n - 1
	}
	return int(id)
}

// resizeNearestGrad adds up the pixels that each pixel was copied to. It is nil where the map is not by whole factors.
func (e *executable) resizeNearestGrad(s step) func() error {
	dy, x := s.node.In[0].Shape(), s.node.Shape()
	fh, fw, c := dy[1]/max(x[1], 1), dy[2]/max(x[2], 1), x[3]
	if fh < 1 || fw < 1 || fh*x[1] != dy[1] || fw*x[2] != dy[2] {
		return nil
	}
	return e.each(x[0]*x[1]*x[2], max(elementGrain/c, 1), func(lo, hi int) {
		for p := lo; p < hi; p++ {
			y := s.out[p*c:][:c]
			clear(y)
			line, column := p/x[2], p%x[2]
			for i := range fh {
				for j := range fw {
					vector.Add(y, y, s.in[0][((line*fh+i)*dy[2]+column*fw+j)*c:][:c])
				}
			}
		}
	})
}

// crossEntropy gives a cross_entropy node or its gradient.
func (e *executable) crossEntropy(s step) func() error {
	c, smooth := s.node.In[0].Shape().Last(), s.node.Attr.(*compute.CrossEntropyAttr).Smoothing
	gradient := s.node.Op.Name == "cross_entropy_grad"
	spaces := e.rowSpaces(c)
	return e.each(len(s.in[1]), max(elementGrain/c, 1), func(lo, hi int) {
		w := <-spaces
		for r := lo; r < hi; r++ {
			x, id := s.in[0][r*c:][:c], s.in[1][r]
			switch {
			case id < 0 && gradient:
				clear(s.out[r*c:][:c])
				continue
			case id < 0:
				s.out[r] = 0
				continue
			}
			target, y := clampIndex(id, c), w
			if gradient {
				y = s.out[r*c:][:c]
			}
			top := vector.Max(x)
			sum := vector.Exp(y, x, 1, -top)
			if !gradient {
				s.out[r] = float32(math.Log(float64(sum)) + (1-smooth)*float64(top-x[target]) + smooth*(float64(top)-float64(vector.Sum(x))/float64(c)))
				continue
			}
			dy, even := s.in[2][r], float32(smooth/float64(c))
			scale := dy / sum
			for k, v := range y {
				y[k] = scale*v - dy*even
			}
			y[target] -= dy * float32(1-smooth)
		}
		spaces <- w
	})
}

// pad copies rows, or fills them where they lie outside.
func (e *executable) pad(s step) func() error {
	at, x, y := s.node.Attr.(*compute.PadAttr), s.node.In[0].Shape(), s.node.Shape()
	last := len(x) - 1
	width, inner, before := y[last], x[last], at.Before[last]
	return e.each(len(s.out)/width, max(elementGrain/width, 1), func(lo, hi int) {
		for row := lo; row < hi; row++ {
			from, stride, rest, inside := 0, 1, row, true
			for a := last - 1; a >= 0; a-- {
				p := rest%y[a] - at.Before[a]
				rest /= y[a]
				inside = inside && p >= 0 && p < x[a]
				from, stride = from+p*stride, stride*x[a]
			}
			to := s.out[row*width:][:width]
			if !inside {
				fill(to, at.Value)
				continue
			}
			fill(to[:before], at.Value)
			copy(to[before:], s.in[0][from*inner:][:inner])
			fill(to[before+inner:], at.Value)
		}
	})
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
