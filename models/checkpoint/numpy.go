package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// arrayType is numpy's dtype: "f4", "<i8" and so on.
type arrayType struct {
	kind string // without byte order
	big  bool
}

// array is a numpy array within a pickle.
type array struct {
	dtype   *arrayType
	shape   []int
	fortran bool // columns first
	data    []byte
}

var arrayTypes = map[string]DType{
	"f8": F64, "f4": F32, "f2": F16, "i8": I64, "i4": I32, "i2": I16, "i1": I8, "u8": U64, "u4": U32, "u2": U16, "u1": U8, "b1": Bool,
}

func isNumpy(module string) bool { return module == "numpy" || strings.HasPrefix(module, "numpy.") }

// numpyCall is the constructors of numpy's plain values; nil for others.
func numpyCall(name string, args []any) any {
	switch name {
	case "dtype":
		if s, ok := arg[string](args, 0); ok {
			return newArrayType(s)
		}
	case "_reconstruct", "ndarray":
		return &array{}
	case "scalar":
		if d, ok := arg[*arrayType](args, 0); ok {
			return d.scalar(args)
		}
	}
	return nil
}

func newArrayType(s string) *arrayType {
	return &arrayType{kind: strings.TrimLeft(s, "<>=|"), big: strings.HasPrefix(s, ">")}
}

// setState takes the byte order: (version, order, …).
func (d *arrayType) setState(state any) {
	if t, ok := state.(*tuple); ok {
		if order, ok := arg[string](t.items, 1); ok {
			d.big = order == ">"
		}
	}
}

// rawBytes is a value's bytes; Python 2's are texts.
func rawBytes(v any) ([]byte, bool) {
	switch v := v.(type) {
	case []byte:
		return v, true
	case string:
		return []byte(v), true
	}
	return nil, false
}

// scalar is a single number, nil where it isn't one.
func (d *arrayType) scalar(args []any) any {
	raw, _ := arg[any](args, 1)
	b, ok := rawBytes(raw)
	size := arrayTypes[d.kind].Size()
	if !ok || size == 0 || len(b) != size {
		return nil
	}
	var full [8]byte
	for i := range size {
		if d.big {
			full[i] = b[size-1-i]
		} else {
			full[i] = b[i]
		}
	}
	switch t := arrayTypes[d.kind]; {
	case t == F64:
		return math.Float64frombits(binary.LittleEndian.Uint64(full[:]))
	case intReader(t) != nil:
		return intReader(t)(full[:])
	default:
		var v [1]float32
		decode(t, v[:], full[:])
		return float64(v[0])
	}
}

// setState is (version, shape, dtype, columns first, bytes).
func (a *array) setState(state any) error {
	t, _ := state.(*tuple)
	if t == nil || len(t.items) < 5 {
		return fmt.Errorf("an array has no state")
	}
	shape, err := counts(t.items, 1, "shape")
	if err != nil {
		return err
	}
	a.shape = shape
	a.dtype, _ = t.items[2].(*arrayType)
	a.fortran, _ = t.items[3].(bool)
	a.data, _ = rawBytes(t.items[4])
	return nil
}

// ref is the array as a tensor.
func (a *array) ref() (r *tensorRef, swap bool) {
	s := &storage{class: "object", data: a.data}
	if a.dtype != nil {
		s.class, s.dtype, swap = a.dtype.kind, arrayTypes[a.dtype.kind], a.dtype.big
	}
	r = &tensorRef{storage: s, dtype: s.dtype, shape: a.shape, strides: make([]int, len(a.shape))}
	for i, n := 0, 1; i < len(a.shape); i++ {
		axis := i
		if !a.fortran {
			axis = len(a.shape) - 1 - i
		}
		r.strides[axis] = n
		if n > 1<<48/max(a.shape[axis], 1) {
			n = 0 // overflows: open refuses the shape
		} else {
			n *= max(a.shape[axis], 1)
		}
	}
	return r, swap
}
