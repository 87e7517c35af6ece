// Package rnn is recurrent networks: LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho et al. 2014) and the plain tanh network
// (Elman 1990), in the parameter layout and with the gate order of PyTorch's modules.
package rnn

import (
	"fmt"

	"atelier/compute"
	"atelier/models/nn"
)

// Kind is a cell.
type Kind string

// Kinds of cells. Their gates are, in the order of the weights' rows: input, forget, candidate, output; reset, update, new; one.
const (
	LSTM Kind = "LSTM"
	GRU  Kind = "GRU"
	Tanh Kind = "RNN"
)

// gates is the number of gates of a kind, 0 for a kind that there is not.
func (k Kind) gates() int { return map[Kind]int{LSTM: 4, GRU: 3, Tanh: 1}[k] }

// Config is the settings of a recurrent network.
type Config struct {
	Kind          Kind
	Input, Hidden int
	Layers        int
	Bidirectional bool
	NoBias        bool
	Dropout       float64 // between layers, in training
}

// Model is a stack of recurrent layers.
type Model struct {
	Config
	layers [][]*Cell // by layer and direction
}

// Cell is the weights of one layer and direction.
type Cell struct {
	kind   Kind
	wi, wh *nn.Param // [gates·hidden in] and [gates·hidden hidden]
	bi, bh *nn.Param // [gates·hidden], or nil
}

// New takes the tensors weight_ih_l0, weight_hh_l0, bias_ih_l0 … from s and reports all that do not fit.
func New(s *nn.Scope, c Config) (*Model, error) {
	if c.Kind.gates() == 0 || c.Input < 1 || c.Hidden < 1 || c.Layers < 1 || !(c.Dropout >= 0 && c.Dropout < 1) {
		return nil, fmt.Errorf("rnn: a network of %d layers of %q cells from %d to %d with dropout %v is not possible", c.Layers, c.Kind, c.Input, c.Hidden, c.Dropout)
	}
	m := &Model{Config: c}
	in, rows, init := c.Input, c.Kind.gates()*c.Hidden, nn.UniformInit(c.Hidden)
	for i := range c.Layers {
		var directions []*Cell
		for _, suffix := range []string{"", "_reverse"}[:c.directions()] {
			name := func(leaf string) string { return fmt.Sprintf("%s_l%d%s", leaf, i, suffix) }
			cell := &Cell{kind: c.Kind, wi: s.Param(name("weight_ih"), init, rows, in), wh: s.Param(name("weight_hh"), init, rows, c.Hidden)}
			if !c.NoBias {
				cell.bi, cell.bh = s.Param(name("bias_ih"), init, rows), s.Param(name("bias_hh"), init, rows)
			}
			directions = append(directions, cell)
		}
		m.layers = append(m.layers, directions)
		in = c.Hidden * c.directions()
	}
	return m, s.Finish()
}

func (c *Config) directions() int {
	if c.Bidirectional {
		return 2
	}
	return 1
}

// State is what a network carries from step to step: h, and c of LSTM, [layers·directions B hidden], nil for zeros.
type State struct{ H, C *compute.Tensor }

// Forward runs over x [B T input] from a state, and gives the last layer's outputs [B T directions·hidden] and the state after
// the last step. key draws what dropout between layers leaves out; nil is no dropout.
func (m *Model) Forward(x *compute.Tensor, from State, key *compute.Tensor) (y *compute.Tensor, to State) {
	var hs, cs []*compute.Tensor
	for i, directions := range m.layers {
		if i > 0 && key != nil && m.Dropout > 0 {
			x = compute.Dropout(x, key, m.Dropout, i-1)
		}
		var outs []*compute.Tensor
		for d, cell := range directions {
			at := i*len(directions) + d
			out, h, c := cell.run(x, m.take(x, from.H, at), m.take(x, from.C, at), d == 1)
			outs, hs = append(outs, out), append(hs, rank3(h))
			if c != nil {
				cs = append(cs, rank3(c))
			}
		}
		x = compute.Concat(-1, outs...)
	}
	to.H = compute.Concat(0, hs...)
	if m.Kind == LSTM {
		to.C = compute.Concat(0, cs...)
	}
	return x, to
}

func rank3(h *compute.Tensor) *compute.Tensor { return compute.Reshape(h, 1, h.Dim(0), h.Dim(1)) }

// take is row i of a state, zeros where there is none.
func (m *Model) take(x, state *compute.Tensor, i int) *compute.Tensor {
	b := x.Dim(0)
	if state == nil {
		if x.Err() != nil {
			return x
		}
		return x.Graph().Const("zeros", make([]float32, b*m.Hidden), b, m.Hidden)
	}
	return compute.Reshape(compute.Slice(state, 0, i, i+1), b, m.Hidden)
}

// run goes over all steps of x [B T in], backwards where wanted.
func (c *Cell) run(x, h, cell *compute.Tensor, backwards bool) (y, hn, cn *compute.Tensor) {
	b, steps := x.Dim(0), x.Dim(1)
	gates := c.input(x) // of all steps in one product
	outs := make([]*compute.Tensor, steps)
	for i := range steps {
		t := i
		if backwards {
			t = steps - 1 - i
		}
		h, cell = c.step(compute.Reshape(compute.Slice(gates, 1, t, t+1), b, gates.Dim(-1)), h, cell)
		outs[t] = compute.Reshape(h, b, 1, h.Dim(-1))
	}
	if c.kind != LSTM {
		cell = nil
	}
	return compute.Concat(1, outs...), h, cell
}

// input is x·Wᵢᵀ + bᵢ.
func (c *Cell) input(x *compute.Tensor) *compute.Tensor {
	return product(x, c.wi, c.bi)
}

func product(x *compute.Tensor, w, b *nn.Param) *compute.Tensor {
	o := compute.MatMulOpts{TransB: true}
	if b != nil {
		o.Bias = b.In(x)
	}
	return compute.MatMul(x, w.In(x), o)
}

// Step advances h [B hidden], and c of LSTM, by an input x [B in].
func (c *Cell) Step(x, h, cell *compute.Tensor) (hn, cn *compute.Tensor) {
	return c.step(c.input(x), h, cell)
}

// NewCell takes weight_ih, weight_hh and, unless noBias, bias_ih and bias_hh of one cell from s.
func NewCell(s *nn.Scope, kind Kind, in, hidden int, noBias bool) *Cell {
	rows, init := kind.gates()*hidden, nn.UniformInit(hidden)
	c := &Cell{kind: kind, wi: s.Param("weight_ih", init, rows, in), wh: s.Param("weight_hh", init, rows, hidden)}
	if !noBias {
		c.bi, c.bh = s.Param("bias_ih", init, rows), s.Param("bias_hh", init, rows)
	}
	return c
}

// step is one step from the input's part of the gates [B gates·hidden].
func (c *Cell) step(in, h, cell *compute.Tensor) (hn, cn *compute.Tensor) {
	own := product(h, c.wh, c.bh)
	n := h.Dim(-1)
	part := func(x *compute.Tensor, i int) *compute.Tensor { return compute.Slice(x, -1, i*n, (i+1)*n) }
	switch c.kind {
	case LSTM:
		all := compute.Add(in, own)
		i, f, o := compute.Sigmoid(part(all, 0)), compute.Sigmoid(part(all, 1)), compute.Sigmoid(part(all, 3))
		cn = compute.Add(compute.Mul(f, cell), compute.Mul(i, compute.Tanh(part(all, 2))))
		return compute.Mul(o, compute.Tanh(cn)), cn
	case GRU:
		r := compute.Sigmoid(compute.Add(part(in, 0), part(own, 0)))
		z := compute.Sigmoid(compute.Add(part(in, 1), part(own, 1)))
		fresh := compute.Tanh(compute.Add(part(in, 2), compute.Mul(r, part(own, 2))))
		return compute.Add(fresh, compute.Mul(z, compute.Sub(h, fresh))), nil
	}
	return compute.Tanh(compute.Add(in, own)), nil
}
