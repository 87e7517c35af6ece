// Package compute records tensor programs, plans their memory, and names what a device must be able to do.
//
// A Tensor is a node in a Graph: a shape and a recipe, no data. Graph.Compile gives a Plan, a list of launches with
// memory slots assigned by liveness, which a Device loads once and replays. Errors are sticky: a failed op returns a
// poisoned Tensor and Compile reports the first failure with the caller's line, so model code stays equation-shaped.
//
// A parameter whose Source is a Variable is state that stays on the device from replay to replay. Accumulate, Adam, RMSProp and
// SGD record updates of variables, which a plan runs after everything else, so that a training step (forward, loss, Grad,
// clipping, optimiser) is one plan. Grad appends the nodes of reverse mode; Graph.Keep lets it hold fewer activations.
//
// Layout: row-major, channels last (B H W C), float32. Token ids travel as float32, exact up to 2^24.
package compute

import "fmt"

// DType is how a tensor's elements are stored. Arithmetic is always float32.
type DType uint8

// Storage types.
const (
	F32 DType = iota
	F16
)

// Bytes is the size of one element; of a block-quantised type, which has none, that of a decoded element.
func (d DType) Bytes() int {
	if d == F16 {
		return 2
	}
	return 4
}

// String names the type as safetensors does.
func (d DType) String() string {
	if q := d.quant(); q != nil {
		return q.name
	}
	if d == F16 {
		return "F16"
	}
	return "F32"
}

// Source holds the values of a parameter. Devices upload each Source once, however many plans read it, so a Source
// must be comparable (a pointer).
type Source interface {
	// DType is the storage type that a device should keep.
	DType() DType
	// Read fills dst (row-major, the parameter's whole shape) with float32 values.
	Read(dst []float32) error
}

// RawSource is a Source that can also write the bytes that a device keeps: little-endian elements, row-major, or whole blocks
// (DType.Stored of them), without decoding. Sources of block-quantised types are RawSources.
type RawSource interface {
	Source
	ReadRaw(dst []byte) error
}

// Values is a Source over a slice.
type Values struct {
	Data []float32
	Type DType
}

// DType is the storage type.
func (v *Values) DType() DType { return v.Type }

// Read copies the values; it fails where the lengths differ.
func (v *Values) Read(dst []float32) error {
	if len(dst) != len(v.Data) {
		return fmt.Errorf("compute: parameter holds %d values, its shape needs %d", len(v.Data), len(dst))
	}
	copy(dst, v.Data)
	return nil
}

// Tensor is a node of a Graph: what computes it, from what, and the shape of the result.
type Tensor struct {
	Op   *Op       // what computes it
	In   []*Tensor // operands
	Attr any       // the op's settings, a pointer to its Attr struct
	Src  Source    // values of a parameter, else nil

	g     *Graph
	id    int
	shape Shape
	dtype DType
	name  string
	at    string // caller's file:line
	err   error
}

// Shape is the tensor's extents; nil where the tensor is poisoned.
func (t *Tensor) Shape() Shape { return t.shape }

// Graph is the graph that t belongs to; nil only for a node made of nothing but missing operands.
func (t *Tensor) Graph() *Graph { return t.g }

// DType is the storage type.
func (t *Tensor) DType() DType { return t.dtype }

// Name is the name of an input or parameter, or the label given by Named.
func (t *Tensor) Name() string { return t.name }

// Err is the first failure on the way to t, or nil.
func (t *Tensor) Err() error { return t.err }

// Named labels t for printing and for checks; it returns t.
func (t *Tensor) Named(name string) *Tensor {
	if t.name == "" {
		t.name = name
	}
	return t
}

// Dim is the extent of an axis, negative from the end; 1 for a poisoned tensor, so that model code can go on to the
// place where the error is reported.
func (t *Tensor) Dim(axis int) int {
	if t.err != nil {
		return 1
	}
	a, err := t.shape.Axis(axis)
	if err != nil {
		return 1
	}
	return t.shape[a]
}

// Bytes is the storage size, rounded up to whole vec4 texels so that every tensor can be read four wide.
func (t *Tensor) Bytes() int64 {
	if t.dtype.Blocks() {
		return t.dtype.Stored(t.shape.Size())
	}
	n := (int64(t.shape.Size()) + 3) / 4 * 4
	return n * int64(t.dtype.Bytes())
}

// String prints the node as "#12 conv2d [2 16 16 64] down_blocks.0".
func (t *Tensor) String() string {
	if t.err != nil {
		return t.err.Error()
	}
	s := fmt.Sprintf("#%d %s %v", t.id, t.Op.Name, t.shape)
	if t.dtype != F32 {
		s += " " + t.dtype.String()
	}
	if t.name != "" {
		s += " " + t.name
	}
	return s
}
