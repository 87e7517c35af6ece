package host

import (
	"atelier/compute"
	"atelier/compute/host/vector"
)

// smallProduct is the number of multiply-adds under which a node's definition is as quick as a dense product.
const smallProduct = 4096

const (
	// blockTerms bounds the terms of a product that are summed at a time: their panel stays in a core's own cache.
	blockTerms = 2048
	// leftElements is how much of the left side a task should pass over: so that it stays there for the next panel.
	leftElements = 128 << 10
)

// gemm is y = act(left·right + bias) + residual. Tasks are a panel of the right side and a run of rows; each element of the
// result is summed by one task in the order of k, so the number of cores changes nothing.
type gemm struct {
	pool   *pool
	spaces chan *gemmSpace // the device's
	m      int
	left   left
	blocks []block
	right  *panels
	y      []float32
	pitch  int // elements between rows of y
	ep     epilogue
	rows   int // of a task
	work   func(lo, hi int)
}

// block is a run of terms: k of them from k0 on, for a convolution taps neighbours in a row of the kernel.
type block struct {
	k0, k     int
	taps      int
	ky, kx, c int // of the first tap, and its first channel
}

// left gives the rows of a left side.
type left interface {
	// at points to terms of a block in vector.Rows rows from row on, those beyond the last like the last. It reports whether
	// the block's taps lie side by side for all rows; if not, tap gives them one by one.
	at(row int, b *block, a *vector.Left) bool
	tap(row int, b *block, tap int, a *vector.Left)
}

// gemmSpace is one worker's memory.
type gemmSpace struct {
	a     vector.Left
	right []float32                             // a block of a panel
	tile  [vector.Rows * vector.Columns]float32 // a tile that does not fit in y
}

// matrixLeft is the rows of a matrix.
type matrixLeft struct {
	a    []float32
	m, k int
}

func (l *matrixLeft) at(row int, b *block, a *vector.Left) bool {
	for r := range a {
		a[r] = &l.a[min(row+r, l.m-1)*l.k+b.k0]
	}
	return true
}

func (l *matrixLeft) tap(int, *block, int, *vector.Left) {}

// newGemm prepares a product; width is the elements of the left side that belong to a row.
func newGemm(d *Device, m int, l left, width int, blocks []block, right *panels, y []float32, pitch int, ep epilogue) *gemm {
	runs := max(m*width/leftElements, (4*d.pool.workers+right.count()-1)/right.count())
	g := &gemm{
		pool: d.pool, spaces: d.spaces, m: m, left: l, blocks: blocks, right: right, y: y, pitch: pitch, ep: ep,
		rows: max((m/runs+vector.Rows-1)/vector.Rows, 4) * vector.Rows,
	}
	g.work = g.tasks // made once: a replay allocates nothing
	return g
}

// newSpaces is the memory of all workers.
func newSpaces(workers int) chan *gemmSpace {
	spaces := make(chan *gemmSpace, workers)
	for range workers {
		spaces <- &gemmSpace{right: make([]float32, blockTerms*vector.Columns)}
	}
	return spaces
}

// matrixBlocks cuts k terms.
func matrixBlocks(k int) []block {
	var blocks []block
	for k0 := 0; k0 < k; k0 += blockTerms {
		blocks = append(blocks, block{k0: k0, k: min(blockTerms, k-k0), taps: 1})
	}
	return blocks
}

func (g *gemm) run() error {
	g.pool.each((g.m+g.rows-1)/g.rows*g.right.count(), 1, g.work)
	return nil
}

func (g *gemm) tasks(lo, hi int) {
	s, panels := <-g.spaces, g.right.count()
	for i := lo; i < hi; i++ {
		g.task(s, i%panels, i/panels*g.rows)
	}
	g.spaces <- s
}

func (g *gemm) task(s *gemmSpace, panel, first int) {
	columns, valid := g.right.columns(panel)
	last := min(first+g.rows, g.m)
	for i := range g.blocks {
		b := &g.blocks[i]
		right := g.right.block(panel, b.k0, b.k, s.right)
		for row := first; row < last; row += vector.Rows {
			if g.left.at(row, b, &s.a) {
				g.tile(s, b.k, right, row, panel, columns, valid, i > 0)
			} else {
				for t := range b.taps {
					each := b.k / b.taps
					g.left.tap(row, b, t, &s.a)
					g.tile(s, each, right[t*each*columns:], row, panel, columns, valid, i > 0 || t > 0)
				}
			}
			if i == len(g.blocks)-1 {
				for r := row; r < min(row+vector.Rows, g.m); r++ {
					g.ep.apply(g.y[r*g.pitch+panel*vector.Columns:][:valid], r, panel*vector.Columns)
				}
			}
		}
	}
}

// tile computes one tile, beside y where y is too small for it.
func (g *gemm) tile(s *gemmSpace, k int, right []float32, row, panel, columns, valid int, add bool) {
	y := g.y[row*g.pitch+panel*vector.Columns:]
	rows := min(g.m-row, vector.Rows)
	if rows == vector.Rows && valid == columns {
		vector.Tile(k, &s.a, right, y, g.pitch, columns, add)
		return
	}
	if add {
		for r := range rows {
			copy(s.tile[r*columns:], y[r*g.pitch:][:valid])
		}
	}
	vector.Tile(k, &s.a, right, s.tile[:], columns, columns, add)
	for r := range rows {
		copy(y[r*g.pitch:][:valid], s.tile[r*columns:])
	}
}

// epilogue is what follows a product: y = act(y + bias) + residual.
type epilogue struct {
	act      compute.Act
	columns  int       // of bias and residual
	bias     []float32 // one per column; for each biasRows rows
	biasRows int
	residual []float32
}

// apply works on elements of a row of the result from a column on.
func (ep *epilogue) apply(y []float32, row, column int) {
	if ep.bias != nil {
		vector.Add(y, y, ep.bias[row/ep.biasRows*ep.columns+column:][:len(y)])
	}
	activate(y, y, ep.act)
	if ep.residual != nil {
		vector.Add(y, y, ep.residual[row*ep.columns+column:][:len(y)])
	}
}

// activate is y = act(x).
func activate(y, x []float32, act compute.Act) {
	switch act {
	case compute.ActNone:
		if len(y) > 0 && &y[0] != &x[0] {
			copy(y, x)
		}
	case compute.ActSiLU:
		vector.SiLU(y, x, 1)
	case compute.ActQuickGELU:
		vector.SiLU(y, x, 1.702)
	case compute.ActGELU:
		vector.GELU(y, x)
	case compute.ActReLU:
		for i, v := range x {
			y[i] = max(v, 0)
		}
	default:
		for i, v := range x {
			y[i] = float32(act.Eval(float64(v)))
		}
	}
}
