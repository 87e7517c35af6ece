// Package nn builds network layers over named parameters.
//
// A Scope walks a checkpoint as if its dotted tensor names were folders. Layers take their parameters from a Scope once, in
// a family's New, and record their equation into whatever graph their input belongs to in Forward. The parameters of a
// loaded model are the same Sources in every graph, so a device uploads each once however many plans read it.
package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"

	"atelier/compute"
	"atelier/models/checkpoint"
)

// Param is one parameter of a model: its name in the checkpoint, its shape as the graph sees it, and its values.
type Param struct {
	Name   string
	Shape  compute.Shape
	Source compute.Source

	stored []int        // shape in a checkpoint
	order  *permutation // from a checkpoint's order of elements to the graph's; nil where they agree
}

// In is the parameter in the graph that x belongs to.
func (p *Param) In(x *compute.Tensor) *compute.Tensor {
	g := x.Graph()
	if g == nil {
		return x // poisoned: the operand carries its own error
	}
	return p.InGraph(g)
}

// InGraph is the parameter in g.
func (p *Param) InGraph(g *compute.Graph) *compute.Tensor {
	return g.Param(p.Name, p.Source, p.Shape...)
}

// NewParam is a parameter beside a model's own, such as an adapter's, with the same shape in checkpoints as in graphs.
func NewParam(name string, values []float32, shape ...int) *Param {
	return &Param{Name: name, Shape: shape, Source: &compute.Values{Data: values}, stored: shape}
}

// WithRows is a parameter laid out like p, a weight [out …], with another number of rows: the lower half of an adapter to p.
func (p *Param) WithRows(name string, rows int, values []float32) *Param {
	q := &Param{Name: name, Shape: append(compute.Shape{rows}, p.Shape[1:]...), Source: &compute.Values{Data: values}, stored: append([]int{rows}, p.stored[1:]...)}
	if p.order != nil && !p.order.transposed {
		order := *p.order
		order.outer = rows
		q.order = &order
	}
	return q
}

// Stored is the parameter's shape in checkpoints.
func (p *Param) Stored() []int { return append([]int(nil), p.stored...) }

// Transposed reports whether checkpoints store the parameter with its inputs first, as transposed convolutions do.
func (p *Param) Transposed() bool { return p.order != nil && p.order.transposed }

// Tensor is values, in the graph's order, as a checkpoint stores this parameter, under name.
func (p *Param) Tensor(name string, values []float32) checkpoint.Tensor {
	if p.order != nil {
		values = gather(p.order, values)
	}
	return checkpoint.NewF32(name, p.stored, values)
}

// From is a Source of this parameter's values over a tensor of a checkpoint, in the order in which Tensor stores them.
func (p *Param) From(t checkpoint.Tensor) (compute.Source, error) {
	if !sameShape(t.Shape, p.stored) || !readable(t.DType) {
		return nil, fmt.Errorf("nn: tensor %q is %s %v where %v numbers are wanted", t.Name, t.DType, compute.Shape(t.Shape), compute.Shape(p.stored))
	}
	return &Stored{tensor: t, order: p.order}, nil
}

// Scope is a place in a checkpoint, or in a model that is being initialised.
type Scope struct {
	*model
	prefix string
}

// model is what all scopes of one load share.
type model struct {
	label     string
	tensors   checkpoint.Tensors // nil where parameters are initialised
	rng       *rand.Rand
	params    []*Param
	used      map[string]bool
	missing   []string
	misshapen []string
}

// Load is the root scope over the tensors of a checkpoint; label names the file in errors.
func Load(label string, tensors checkpoint.Tensors) *Scope {
	return &Scope{model: &model{label: label, tensors: tensors, used: map[string]bool{}}}
}

// Initialise is the root scope of a model without a checkpoint: parameters are drawn from a generator seeded with seed.
func Initialise(seed uint64) *Scope {
	return &Scope{model: &model{label: "a new model", rng: rand.New(rand.NewPCG(seed, 0)), used: map[string]bool{}}}
}

// At is the scope below s whose path has these parts, strings or whole numbers: s.At("down_blocks", 0).
func (s *Scope) At(path ...any) *Scope {
	return &Scope{s.model, s.name(joined(path))}
}

func joined(path []any) string {
	parts := make([]string, len(path))
	for i, p := range path {
		parts[i] = fmt.Sprint(p)
	}
	return strings.Join(parts, ".")
}

func (s *Scope) name(leaf string) string {
	switch {
	case s.prefix == "":
		return leaf
	case leaf == "":
		return s.prefix
	}
	return s.prefix + "." + leaf
}

// Has reports whether the checkpoint holds the tensor; a model being initialised has every tensor it is asked for.
func (s *Scope) Has(leaf string) bool {
	if s.tensors == nil {
		return true
	}
	_, ok := s.tensors.Get(s.name(leaf))
	return ok
}

// First is the first of several names under which checkpoints hold the same thing: the one with a weight in this
// checkpoint, or else the first, which Finish will then report as missing.
func (s *Scope) First(names ...string) string {
	for _, n := range names {
		if s.Has(n + ".weight") {
			return n
		}
	}
	return names[0]
}

// Shape is the shape that the checkpoint gives a tensor; nil where there is none.
func (s *Scope) Shape(leaf string) []int {
	if s.tensors == nil {
		return nil
	}
	t, _ := s.tensors.Get(s.name(leaf))
	return t.Shape
}

// Init fills a new parameter.
type Init func(r *rand.Rand, dst []float32)

// UniformInit draws from [−bound, bound) with bound = 1/√fanIn, the usual start of linear and convolution layers.
func UniformInit(fanIn int) Init {
	bound := 1 / math.Sqrt(float64(max(fanIn, 1)))
	return func(r *rand.Rand, dst []float32) {
		for i := range dst {
			dst[i] = float32((2*r.Float64() - 1) * bound)
		}
	}
}

// NormalInit draws from a normal distribution of mean 0.
func NormalInit(std float64) Init {
	return func(r *rand.Rand, dst []float32) {
		for i := range dst {
			dst[i] = float32(r.NormFloat64() * std)
		}
	}
}

// ConstInit fills with one value.
func ConstInit(v float32) Init {
	return func(_ *rand.Rand, dst []float32) {
		for i := range dst {
			dst[i] = v
		}
	}
}

// Param takes a parameter of the given shape. Axes of extent 1 at the end of the checkpoint's shape do not matter: a 1×1
// convolution's weight [Co Ci 1 1] is the matrix [Co Ci].
func (s *Scope) Param(leaf string, init Init, shape ...int) *Param {
	return s.take(leaf, init, shape, shape, nil)
}

// Matrix takes a parameter that only products read, as their second operand: the weight of a Linear. A block-quantised one stays
// so on the device.
func (s *Scope) Matrix(leaf string, init Init, out, in int) *Param {
	return s.matrix(leaf, init, out, in)
}

// matrix takes a Matrix that checkpoints store with these extents, those after the second 1.
func (s *Scope) matrix(leaf string, init Init, stored ...int) *Param {
	p := s.take(leaf, init, stored, stored[:2], nil)
	if src, ok := p.Source.(*Stored); ok {
		src.matrix = stored[1]%4 == 0 // products read rows by fours
	}
	return p
}

// Kernel takes a convolution's weight, in checkpoints [Co Ci/groups Kh Kw], as [Co Kh Kw Ci/groups].
func (s *Scope) Kernel(leaf string, co, ci, kh, kw int) *Param {
	return s.take(leaf, UniformInit(ci*kh*kw), []int{co, ci, kh, kw}, []int{co, kh, kw, ci}, &permutation{outer: co, rows: ci, cols: kh * kw})
}

// TransposedKernel takes a transposed convolution's weight, in checkpoints [Ci Co/groups Kh Kw], as [Co Kh Kw Ci/groups].
func (s *Scope) TransposedKernel(leaf string, ci, co, groups, kh, kw int) *Param {
	return s.take(leaf, UniformInit(co/groups*kh*kw), []int{ci, co / groups, kh, kw}, []int{co, kh, kw, ci / groups},
		&permutation{transposed: true, groups: groups, rows: ci / groups, mid: co / groups, cols: kh * kw})
}

// take finds a tensor of shape stored and gives it to graphs as shape, its elements reordered by p where p is not nil.
func (s *Scope) take(leaf string, init Init, stored, shape []int, p *permutation) *Param {
	name := s.name(leaf)
	param := &Param{Name: name, Shape: append(compute.Shape(nil), shape...), stored: append([]int(nil), stored...), order: p}
	s.params = append(s.params, param)
	if s.tensors == nil {
		v := make([]float32, param.Shape.Size())
		init(s.rng, v)
		param.Source = &compute.Values{Data: v}
		return param
	}
	s.used[name] = true
	t, ok := s.tensors.Get(name)
	src := &Stored{tensor: t, order: p}
	param.Source = src
	if ok {
		param.stored = t.Shape
	}
	switch {
	case !ok:
		s.missing = append(s.missing, s.original(name))
	case !sameShape(t.Shape, stored):
		s.misshapen = append(s.misshapen, fmt.Sprintf("%s is %v, not %v", s.original(name), compute.Shape(t.Shape), compute.Shape(stored)))
	case !readable(t.DType):
		s.misshapen = append(s.misshapen, fmt.Sprintf("%s holds %s, not numbers", s.original(name), t.DType))
	}
	return param
}

func readable(d checkpoint.DType) bool {
	switch d {
	case checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.F64, checkpoint.F8E4M3, checkpoint.F8E5M2:
		return true
	}
	elements, _ := d.Block()
	return elements > 1
}

// sameShape compares shapes, ignoring axes of extent 1 at their ends.
func sameShape(a, b []int) bool {
	trim := func(s []int) compute.Shape {
		for len(s) > 1 && s[len(s)-1] == 1 {
			s = s[:len(s)-1]
		}
		return s
	}
	return trim(a).Equal(trim(b))
}

// Params lists the parameters taken so far, in order.
func (s *Scope) Params() []*Param { return s.params }

// original is what the file calls a tensor, where the checkpoint is a view of it under other names.
func (s *Scope) original(name string) string {
	if v, ok := s.tensors.(interface{ Original(name string) string }); ok {
		return v.Original(name)
	}
	return name
}

// listed bounds how many names of a kind an error spells out.
const listed = 8

// Finish reports, in one error, every tensor that the checkpoint lacks, that has another shape than the configuration
// wants, or that the model does not use. Tensors whose names end in one of ignore are buffers that no model reads.
func (s *Scope) Finish(ignore ...string) error {
	if s.tensors == nil {
		return nil
	}
	var unused []string
	for _, n := range s.tensors.Names() {
		if !s.used[n] && !endsIn(n, ignore) {
			unused = append(unused, s.original(n))
		}
	}
	sort.Strings(unused)
	if len(s.missing)+len(s.misshapen)+len(unused) == 0 {
		return nil
	}
	return &Misfit{s.label, s.missing, s.misshapen, unused}
}

// Misfit is the error of a file whose tensors are not those of a network.
type Misfit struct {
	Label                      string // of the file
	Missing, Misshapen, Unused []string
}

func (m *Misfit) Error() string {
	var parts []string
	add := func(kind string, names []string) {
		if len(names) == 0 {
			return
		}
		some, more := names, ""
		if len(names) > listed {
			some, more = names[:listed], fmt.Sprintf(" and %d more", len(names)-listed)
		}
		parts = append(parts, fmt.Sprintf("%s: %s%s", kind, strings.Join(some, ", "), more))
	}
	add("missing", m.Missing)
	add("of another shape than the configuration says", m.Misshapen)
	add("not part of this model", m.Unused)
	return fmt.Sprintf("%s does not fit its configuration, which its config.json or its other tensors say: tensors %s", m.Label, strings.Join(parts, "; "))
}

func endsIn(name string, suffixes []string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}
