package goldentest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
)

// Replaced is a checkpoint with some tensors in place of its own.
type Replaced struct {
	checkpoint.Tensors
	With map[string]checkpoint.Tensor
}

// Get finds a tensor.
func (r *Replaced) Get(name string) (checkpoint.Tensor, bool) {
	if t, ok := r.With[name]; ok {
		return t, true
	}
	return r.Tensors.Get(name)
}

// scaleAt is where blocks hold the scale, and the offset's, as half floats.
var scaleAt = map[compute.DType][]int{
	compute.Q4_0: {0}, compute.Q4_1: {0, 2}, compute.Q5_0: {0}, compute.Q5_1: {0, 2}, compute.Q8_0: {0}, compute.Q2_K: {80, 82},
	compute.Q3_K: {108}, compute.Q4_K: {0, 2}, compute.Q5_K: {0, 2}, compute.Q6_K: {208},
}

// Quantised replaces every matrix and kernel of ts by random blocks of these block-quantised types in turn, of the spread that its
// numbers have. decoded holds the same values as float32.
func Quantised(t testing.TB, ts checkpoint.Tensors, types ...compute.DType) (blocks, decoded *Replaced) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 8))
	blocks = &Replaced{ts, map[string]checkpoint.Tensor{}}
	decoded = &Replaced{ts, map[string]checkpoint.Tensor{}}
	for i, name := range ts.Names() {
		x, _ := ts.Get(name)
		d := types[i%len(types)]
		elements, size := d.Block()
		if len(x.Shape) < 2 || x.Len()%elements != 0 {
			continue
		}
		values, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		q := checkpoint.Tensor{Name: name, DType: checkpoint.DType(d.String()), Shape: x.Shape, Data: make([]byte, x.Len()/elements*size)}
		for i := range q.Data {
			q.Data[i] = byte(r.Uint32())
		}
		setScales(q.Data, d, 1)
		unit, err := q.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		setScales(q.Data, d, spread(values)/spread(unit))
		if unit, err = q.Float32s(); err != nil {
			t.Fatal(err)
		}
		blocks.With[name], decoded.With[name] = q, checkpoint.NewF32(name, x.Shape, unit)
	}
	if len(blocks.With) < len(types) {
		t.Fatalf("only %d tensors could be quantised", len(blocks.With))
	}
	return blocks, decoded
}

// setScales gives every block the scale, and an offset that centres its numbers.
func setScales(data []byte, d compute.DType, scale float32) {
	_, size := d.Block()
	offset := map[compute.DType]float32{compute.Q4_1: -7.5, compute.Q5_1: -15.5, compute.Q2_K: 1.5, compute.Q4_K: 7.5, compute.Q5_K: 15.5}[d]
	for ; len(data) > 0; data = data[size:] {
		for i, at := range scaleAt[d] {
			binary.LittleEndian.PutUint16(data[at:], compute.HalfBits(scale*[]float32{1, offset}[i]))
		}
		if d == compute.Q8_K {
			binary.LittleEndian.PutUint32(data, math.Float32bits(scale))
		}
	}
}

// spread is the root mean square.
func spread(values []float32) float32 {
	sum := 0.0
	for _, v := range values {
		sum += float64(v) * float64(v)
	}
	return float32(math.Sqrt(sum / float64(len(values))))
}
