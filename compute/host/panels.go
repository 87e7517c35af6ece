package host

import (
	"atelier/compute"
	"atelier/compute/host/vector"
)

// panels is the right side of a product, [k n], in panels of vector.Columns columns, the last one narrow where that holds what
// is left: each [k columns], columns beyond n zero. It is packed, in the width of the parameter it came from, or it is a matrix
// whose blocks are packed as they are needed.
type panels struct {
	k, n int

	f32 []float32
	f16 []uint16

	matrix     []float32 // neither
	pitch      int       // elements between its rows
	transposed bool      // it is [n k]

	gather func(to []float32, n0, columns, valid, k0, k int) // copies a block, where there is no matrix either
}

// count is the number of panels.
func (p *panels) count() int { return (p.n + vector.Columns - 1) / vector.Columns }

// columns is the columns of a panel, and how many of them are of the matrix.
func (p *panels) columns(panel int) (columns, valid int) {
	valid = min(p.n-panel*vector.Columns, vector.Columns)
	if valid <= vector.HalfColumns {
		return vector.HalfColumns, valid
	}
	return vector.Columns, valid
}

// size is the elements of all panels.
func (p *panels) size() int {
	last, _ := p.columns(p.count() - 1)
	return p.k * ((p.count()-1)*vector.Columns + last)
}

// block is rows k0 to k0 + k of a panel, packed; space is memory for it.
func (p *panels) block(panel, k0, k int, space []float32) []float32 {
	columns, valid := p.columns(panel)
	at := panel*vector.Columns*p.k + k0*columns
	switch {
	case p.f32 != nil:
		return p.f32[at:][:k*columns]
	case p.f16 != nil:
		vector.Widen(space[:k*columns], p.f16[at:][:k*columns])
	default:
		p.pack(space[:k*columns], panel*vector.Columns, columns, valid, k0, k)
	}
	return space[:k*columns]
}

// pack copies a block out of the matrix.
func (p *panels) pack(to []float32, n0, columns, valid, k0, k int) {
	if valid < columns {
		clear(to)
	}
	if p.gather != nil {
		p.gather(to, n0, columns, valid, k0, k)
		return
	}
	if !p.transposed {
		for i := range k {
			copy(to[i*columns:][:valid], p.matrix[(k0+i)*p.pitch+n0:])
		}
		return
	}
	const run = 32 // rows of the panel at a time, which stay in the fastest cache
	for first := 0; first < k; first += run {
		last := min(first+run, k)
		for j := range valid {
			row := p.matrix[(n0+j)*p.pitch+k0:]
			for i := first; i < last; i++ {
				to[i*columns+j] = row[i]
			}
		}
	}
}

// blockPanels is panels whose blocks of a block-quantised matrix, [n k] where transposed, are decoded as they are needed.
func blockPanels(d compute.DType, blocks []byte, k, n int, transposed bool) *panels {
	p := &panels{k: k, n: n}
	p.gather = func(to []float32, n0, columns, valid, k0, rows int) {
		if !transposed {
			for i := range rows {
				d.DecodeStored(to[i*columns:][:valid], blocks, (k0+i)*n+n0)
			}
			return
		}
		const run = 256 // a row at a time, in pieces of the longest block
		var row [run]float32
		for j := range valid {
			for first := 0; first < rows; {
				from := (n0+j)*k + k0 + first
				piece := row[:min(run-from%run, rows-first)] // whole blocks but for the ends
				d.DecodeStored(piece, blocks, from)
				for i, v := range piece {
					to[(first+i)*columns+j] = v
				}
				first += len(piece)
			}
		}
	}
	return p
}

// packed is the panels of a whole matrix, in the width of dtype.
func (p *panels) packed(dtype compute.DType) *panels {
	q := &panels{k: p.k, n: p.n}
	if dtype != compute.F16 {
		q.f32 = make([]float32, p.size())
		p.packAll(q.f32)
		return q
	}
	q.f16 = make([]uint16, p.size())
	space := make([]float32, p.k*vector.Columns)
	for i := range p.count() {
		columns, valid := p.columns(i)
		p.pack(space[:p.k*columns], i*vector.Columns, columns, valid, 0, p.k)
		for j, v := range space[:p.k*columns] {
			q.f16[i*vector.Columns*p.k+j] = compute.HalfBits(v)
		}
	}
	return q
}

// packAll packs every panel.
func (p *panels) packAll(to []float32) {
	for i := range p.count() {
		columns, valid := p.columns(i)
		p.pack(to[i*vector.Columns*p.k:][:p.k*columns], i*vector.Columns, columns, valid, 0, p.k)
	}
}
