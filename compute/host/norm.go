package host

import (
	"math"

	"atelier/compute"
	"atelier/compute/host/vector"
)

const (
	// normRows is how many rows are summed in float32 before the sums go on in float64.
	normRows = 256
	// middleRows is how many rows give the middle about which squares are summed.
	middleRows = 64
)

// normTogether is the elements of rows that are normalised in one call.
const normTogether = 1024

// smallPicture is the elements of a picture under which a core normalises it alone.
const smallPicture = 1 << 16

// groupNorm is a group_norm node over channels side by side: sums, squares, then one multiply-add and the activation for each
// element.
type groupNorm struct {
	at           *compute.GroupNormAttr
	x, y         []float32
	gamma, beta  []float32
	rows, c      int
	pieces, each int // of rows, summed side by side
	spaces       []normSpace
}

// normSpace is the memory of one picture: by channel, and for each piece by channel.
type normSpace struct {
	sums, squares         []float64
	middle, scale, shift  []float32
	mean                  []float32 // of the channel's group
	partial, partialAbove []float32
}

func newNormSpace(pieces, c int) normSpace {
	f := make([]float32, (4+2*pieces)*c)
	d := make([]float64, 2*pieces*c)
	return normSpace{d[:pieces*c], d[pieces*c:], f[:c], f[c : 2*c], f[2*c : 3*c], f[3*c : 4*c], f[4*c:][:pieces*c], f[(4+pieces)*c:]}
}

func (e *executable) groupNorm(s step) func() error {
	at, shape := s.node.Attr.(*compute.GroupNormAttr), s.node.Shape()
	pictures, c := shape[0], shape.Last()
	n := &groupNorm{at: at, x: s.in[0], y: s.out, rows: shape.Size() / pictures / c, c: c, pieces: 1}
	if at.Affine {
		n.gamma, n.beta = s.in[1], s.in[2]
	}
	pool := e.device.pool
	small := n.rows*c < smallPicture
	if !small {
		n.pieces = min((n.rows+normRows-1)/normRows, 4*pool.workers)
	}
	n.each = (n.rows + n.pieces - 1) / n.pieces
	n.spaces = make([]normSpace, pictures)
	for i := range n.spaces {
		if i > 0 && !small {
			n.spaces[i] = n.spaces[0]
			continue
		}
		n.spaces[i] = newNormSpace(n.pieces, c)
	}
	alone := func(n, _ int, do func(lo, hi int)) { do(0, n) }
	jobs := make([]func(), pictures)
	for i := range jobs {
		if small {
			jobs[i] = n.picture(i, alone)
		} else {
			jobs[i] = n.picture(i, pool.each)
		}
	}
	if small {
		return e.each(pictures, 1, func(lo, hi int) {
			for _, do := range jobs[lo:hi] {
				do()
			}
		})
	}
	return func() error {
		for _, do := range jobs {
			do()
		}
		return nil
	}
}

// picture gives the normalisation of one picture; share shares units out.
func (n *groupNorm) picture(b int, share func(n, grain int, do func(lo, hi int))) func() {
	s, c, size := &n.spaces[b], n.c, n.rows*n.c
	x, y := n.x[b*size:][:size], n.y[b*size:][:size]
	gather := func(lo, hi int) {
		for p := lo; p < hi; p++ {
			n.gather(s, x, p)
		}
	}
	// Short rows go together: the factors stand side by side as often as there are rows in a call.
	together := max(normTogether/c, 1)
	scale, shift := make([]float32, together*c), make([]float32, together*c)
	apply := func(lo, hi int) {
		for r := lo; r < hi; r += together {
			k := min(together, hi-r) * c
			from, to := x[r*c:][:k], y[r*c:][:k]
			if n.at.Act == compute.ActSiLU {
				vector.ScaleShiftSiLU(to, from, scale[:k], shift[:k], 1)
				continue
			}
			vector.ScaleShift(to, from, scale[:k], shift[:k])
			activate(to, to, n.at.Act)
		}
	}
	return func() {
		n.begin(s, x)
		share(n.pieces, 1, gather)
		n.settle(s)
		for i := 0; i < len(scale); i += c {
			copy(scale[i:], s.scale)
			copy(shift[i:], s.shift)
		}
		share(n.rows, max(elementGrain/c, 1), apply)
	}
}

// begin takes a middle near the mean, about which sums are taken, so that one pass is enough and squares do not cancel.
func (n *groupNorm) begin(s *normSpace, x []float32) {
	clear(s.middle)
	first := min(middleRows, n.rows)
	for r := range first {
		vector.Add(s.middle, s.middle, x[r*n.c:][:n.c])
	}
	vector.Scale(s.middle, 1/float32(first))
}

// gather sums a piece of x and its squares about the middle, by channel.
func (n *groupNorm) gather(s *normSpace, x []float32, piece int) {
	c := n.c
	sums, squares, part, above := s.sums[piece*c:][:c], s.squares[piece*c:][:c], s.partial[piece*c:][:c], s.partialAbove[piece*c:][:c]
	clear(sums)
	clear(squares)
	last := min((piece+1)*n.each, n.rows)
	for first := piece * n.each; first < last; first += normRows {
		vector.Moments(part, above, x[first*c:min(first+normRows, last)*c], s.middle)
		for i, v := range part {
			sums[i] += float64(v)
			squares[i] += float64(above[i])
		}
	}
}

// settle turns the sums of all pieces into the scale and shift of each channel.
func (n *groupNorm) settle(s *normSpace) {
	c, width := n.c, n.c/n.at.Groups
	for p := 1; p < n.pieces; p++ {
		for i := range c {
			s.sums[i] += s.sums[p*c+i]
			s.squares[i] += s.squares[p*c+i]
		}
	}
	for g := range n.at.Groups {
		mean, square := 0.0, 0.0
		for i := g * width; i < (g+1)*width; i++ {
			mean += float64(s.middle[i]) + s.sums[i]/float64(n.rows)
		}
		mean /= float64(width)
		for i := g * width; i < (g+1)*width; i++ {
			off := float64(s.middle[i]) - mean
			square += s.squares[i]/float64(n.rows) + 2*off*s.sums[i]/float64(n.rows) + off*off
		}
		scale := 1 / math.Sqrt(max(square/float64(width), 0)+n.at.Eps)
		for i := g * width; i < (g+1)*width; i++ {
			k, move := scale, 0.0
			if n.at.Affine {
				k, move = k*float64(n.gamma[i]), float64(n.beta[i])
			}
			s.mean[i], s.scale[i], s.shift[i] = float32(mean), float32(k), float32(move-mean*k)
		}
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
			standardiseRow(y, x, centred, at.Eps)
			if gamma != nil {
				vector.Mul(y, y, gamma)
			}
			if beta != nil {
				vector.Add(y, y, beta)
			}
		}
	})
}

// standardiseRow is y = (x − mean)·scale, with 1/scale² the mean square of x − mean, and mean 0 where not centred; it gives scale.
func standardiseRow(y, x []float32, centred bool, eps float64) (scale float32) {
	mean := float32(0)
	if centred {
		mean = vector.Sum(x) / float32(len(x))
	}
	scale = float32(1 / math.Sqrt(float64(vector.SumSquares(x, mean))/float64(len(x))+eps))
	vector.Standardise(y, x, mean, scale)
	return scale
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
