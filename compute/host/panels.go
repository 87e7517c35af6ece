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

	blocks []byte // or a block-quantised matrix, as devices store it
	dtype  compute.DType

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
	switch {
	case p.gather != nil:
		p.gather(to, n0, columns, valid, k0, k)
		return
	case p.blocks != nil:
		p.decode(to, n0, columns, valid, k0, k)
		return
	}
	packMatrix(to, p.matrix, p.pitch, p.transposed, n0, columns, valid, k0, k)
}

// packMatrix copies a block out of a matrix whose rows are pitch elements apart.
func packMatrix[T float32 | uint16](to, matrix []T, pitch int, transposed bool, n0, columns, valid, k0, k int) {
	if !transposed {
		for i := range k {
			copy(to[i*columns:][:valid], matrix[(k0+i)*pitch+n0:])
		}
		return
	}
	const run = 32 // rows of the panel at a time, which stay in the fastest cache
	for first := 0; first < k; first += run {
		last := min(first+run, k)
		for j := range valid {
			row := matrix[(n0+j)*pitch+k0:]
			for i := first; i < last; i++ {
				to[i*columns+j] = row[i]
			}
		}
	}
}

// decode copies a block out of a block-quantised matrix.
func (p *panels) decode(to []float32, n0, columns, valid, k0, k int) {
	if !p.transposed {
		for i := range k {
			p.dtype.DecodeStored(to[i*columns:][:valid], p.blocks, (k0+i)*p.n+n0)
		}
		return
	}
	const run = 256 // of a row at a time: the longest block
	var row [run]float32
	for j := range valid {
		for first := 0; first < k; {
			from := (n0+j)*p.k + k0 + first
			piece := row[:min(run-from%run, k-first)] // whole blocks but for the ends
			p.dtype.DecodeStored(piece, p.blocks, from)
			for i, v := range piece {
				to[(first+i)*columns+j] = v
			}
			first += len(piece)
		}
	}
}

// packedHalf is the panels of a whole matrix of half floats.
func (p *panels) packedHalf(matrix []uint16) *panels {
	q := &panels{k: p.k, n: p.n, f16: make([]uint16, p.size())}
	for i := range p.count() {
		columns, valid := p.columns(i)
		packMatrix(q.f16[i*vector.Columns*p.k:][:p.k*columns], matrix, p.pitch, p.transposed, i*vector.Columns, columns, valid, 0, p.k)
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
