package parity

import (
	"context"
	"fmt"
	"strings"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/nn"
	"atelier/models/rnn"
)

const paramPrefix = "in.param."

// Recurrent runs a network of PyTorch's layout over a file with in.x, in.dy and in.param.weight_ih_l0 …, from a state of zeros or from
// in.h_0 and in.c_0. It gives the outputs y, h_n and for LSTM c_n, and the gradients of sum(y·dy): d_x, and grad.<parameter>. Cells, layers and
// directions are as the parameters tell.
func Recurrent(ctx context.Context, dev compute.Device, file checkpoint.Tensors) ([]checkpoint.Tensor, error) {
	s := nn.Load("the parameters", within{file, paramPrefix})
	c, err := recurrentConfig(s)
	if err != nil {
		return nil, err
	}
	m, err := rnn.New(s, c)
	if err != nil {
		return nil, err
	}
	p := newProgram(file)
	x, dy := p.input("in.x", "x"), p.input("in.dy", "dy")
	if len(x.Shape()) != 3 || len(dy.Shape()) != 3 {
		return nil, fmt.Errorf("in.x is %v and in.dy %v; both must have the axes batch, step and feature", x.Shape(), dy.Shape())
	}
	var from rnn.State
	for name, to := range map[string]**compute.Tensor{"h_0": &from.H, "c_0": &from.C} {
		if _, ok := file.Get("in." + name); ok {
			*to = p.input("in."+name, name)
		}
	}
	y, state := m.Forward(x, from, nil)
	p.output(y, "y", p.shapes["dy"])
	p.output(state.H, "h_n", state.H.Shape())
	if c.Kind == rnn.LSTM {
		p.output(state.C, "c_n", state.C.Shape())
	}
	wrt := []*compute.Tensor{x}
	for _, w := range s.Params() {
		wrt = append(wrt, w.In(x))
	}
	for i, d := range compute.Grad(compute.Sum(compute.Mul(y, dy), false), wrt...) {
		if i == 0 {
			p.output(d, "d_x", p.shapes["x"])
		} else {
			p.output(d, "grad."+s.Params()[i-1].Name, s.Params()[i-1].Shape)
		}
	}
	return p.run(ctx, dev)
}

// recurrentConfig reads a network's settings off its parameters.
func recurrentConfig(s *nn.Scope) (rnn.Config, error) {
	in, own := s.Shape("weight_ih_l0"), s.Shape("weight_hh_l0")
	if len(in) != 2 || len(own) != 2 || own[1] < 1 {
		return rnn.Config{}, fmt.Errorf("%sweight_ih_l0 and %sweight_hh_l0 are missing or no matrices", paramPrefix, paramPrefix)
	}
	c := rnn.Config{Input: in[1], Hidden: own[1], NoBias: s.Shape("bias_ih_l0") == nil, Bidirectional: s.Shape("weight_ih_l0_reverse") != nil}
	for s.Shape(fmt.Sprintf("weight_ih_l%d", c.Layers)) != nil {
		c.Layers++
	}
	c.Kind = map[int]rnn.Kind{4: rnn.LSTM, 3: rnn.GRU, 1: rnn.Tanh}[in[0]/c.Hidden]
	return c, nil
}

// within is the tensors of a file whose names begin with a prefix, without it.
type within struct {
	checkpoint.Tensors
	prefix string
}

// Names implements checkpoint.Tensors.
func (w within) Names() (names []string) {
	for _, n := range w.Tensors.Names() {
		if rest, ok := strings.CutPrefix(n, w.prefix); ok {
			names = append(names, rest)
		}
	}
	return names
}

// Get implements checkpoint.Tensors.
func (w within) Get(name string) (checkpoint.Tensor, bool) {
	t, ok := w.Tensors.Get(w.prefix + name)
	t.Name = name
	return t, ok
}
