// Package parity computes what other engines wrote down, from the same tensors: single ops with their gradients, recurrent networks, and
// steps of training.
package parity

import (
	"context"
	"fmt"

	"atelier/compute"
	"atelier/models/checkpoint"
)

// program is a graph whose inputs are tensors of a file, in the file's order of axes.
type program struct {
	file    checkpoint.Tensors
	g       *compute.Graph
	feed    map[string][]float32
	shapes  map[string][]int // of inputs, as the file has them
	outputs []checkpoint.Tensor
	err     error
}

func newProgram(file checkpoint.Tensors) *program {
	return &program{file: file, g: compute.NewGraph(), feed: map[string][]float32{}, shapes: map[string][]int{}}
}

// read gives the numbers of a tensor of a file.
func read(file checkpoint.Tensors, name string) (shape []int, data []float32, err error) {
	t, ok := file.Get(name)
	if !ok {
		return nil, nil, fmt.Errorf("the inputs lack the tensor %s", name)
	}
	data, err = t.Float32s()
	return t.Shape, data, err
}

// input declares a tensor of the file under a name in the graph.
func (p *program) input(stored, name string) *compute.Tensor {
	shape, data, err := read(p.file, stored)
	if err != nil && p.err == nil {
		p.err = err
	}
	p.feed[name], p.shapes[name] = data, shape
	return p.g.Input(name, vector(shape)...)
}

// vector is the shape as graphs have it: a scalar has one element.
func vector(s []int) []int {
	if len(s) == 0 {
		return []int{1}
	}
	return s
}

// output names a result; shape is its shape in the file.
func (p *program) output(t *compute.Tensor, name string, shape []int) {
	p.g.Output(name, t)
	p.outputs = append(p.outputs, checkpoint.Tensor{Name: name, Shape: shape})
}

// run gives the results in the order in which they were named.
func (p *program) run(ctx context.Context, dev compute.Device) ([]checkpoint.Tensor, error) {
	if p.err != nil {
		return nil, p.err
	}
	raw, err := compute.Evaluate(ctx, dev, p.g, p.feed)
	if err != nil {
		return nil, err
	}
	for i, o := range p.outputs {
		if n := compute.Shape(vector(o.Shape)).Size(); n != len(raw[o.Name]) {
			return nil, fmt.Errorf("%s has %d values where the file has %v", o.Name, len(raw[o.Name]), o.Shape)
		}
		p.outputs[i] = checkpoint.NewF32(o.Name, o.Shape, raw[o.Name])
	}
	return p.outputs, nil
}
