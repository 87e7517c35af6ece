package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"unsafe"

	"atelier/compute"
)

// Tensor is one named array of a checkpoint, row-major.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // outermost first; empty for a scalar

	// Data holds the elements little-endian (quantised types: in blocks), without copying: it may lie in a file mapping,
	// at any alignment, and must not be written to. A mapped file that another program cuts short faults on access, so
	// read it through Float32s, Floats or Read, which turn the fault into an error; never hand it to C code directly. It is
	// nil for a tensor that the file holds in another order, which those methods put right.
	Data []byte

	file    string // for messages; empty for tensors made in memory
	view    *view  // where Data is nil
	mapping []byte // of the file, where Data lies in one
}

// Len is the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Part is one of several equal parts of the tensor along its first axis, without copying: a fused matrix's own matrices. false
// where the axis or the tensor's blocks cannot be cut so.
func (t Tensor) Part(part, of int) (Tensor, bool) {
	if len(t.Shape) == 0 || of < 1 || part < 0 || part >= of || t.Shape[0]%of != 0 {
		return Tensor{}, false
	}
	rows, each := t.Shape[0]/of, t.Len()/of
	shape := append([]int{rows}, t.Shape[1:]...)
	if t.view != nil {
		v := *t.view
		v.offset += part * rows * v.strides[0]
		t.Shape, t.view = shape, &v
		return t, true
	}
	elements, size := t.DType.Block()
	if elements == 0 || each%elements != 0 || len(t.Data) != t.Len()/elements*size {
		return Tensor{}, false
	}
	bytes := each / elements * size
	t.Shape, t.Data = shape, t.Data[part*bytes:(part+1)*bytes:(part+1)*bytes]
	return t, true
}

// Float32s decodes all elements to float32 (rounding to nearest; BOOL gives 0 and 1).
func (t Tensor) Float32s() ([]float32, error) {
	dst := make([]float32, t.Len())
	return dst, t.Floats(dst, 0)
}

// Floats decodes len(dst) elements, starting with the one at index from, into dst.
func (t Tensor) Floats(dst []float32, from int) error {
	src, err := t.span(len(dst), from)
	if err != nil {
		return err
	}
	defer t.leave(src)
	if elems, _ := t.DType.Block(); elems > 1 {
		return t.guard(func() { t.DType.Quantised().Decode(dst, src, from%elems) })
	}
	return t.guard(func() { decode(t.DType, dst, src) })
}

// Size is the bytes of all elements in the tensor's type.
func (t Tensor) Size() int {
	elems, size := t.DType.Block()
	if elems == 0 {
		return 0
	}
	return t.Len() / elems * size
}

// HalfLoss is how much a BF16 tensor would change in half precision: the root mean square of the differences relative to that of
// the values, and infinite where a value is too large. BF16 has fewer digits, so that only small values change.
func (t Tensor) HalfLoss() (float64, error) {
	if t.DType != BF16 {
		return 0, fmt.Errorf("checkpoint: tensor %q of %s is %s, not %s", t.Name, t.file, t.DType, BF16)
	}
	const (
		tooLarge = 0x4780 // 2¹⁶
		exact    = 0x3700 // 2⁻¹⁷: from here on eight digits end above the last of half precision, 2⁻²⁴
	)
	var all, lost float64
	buffer := make([]byte, min(t.Size(), 1<<20))
	for from := 0; from < t.Size(); from += len(buffer) {
		part := buffer[:min(len(buffer), t.Size()-from)]
		if err := t.Read(part, from); err != nil {
			return 0, err
		}
		sum := float32(0)
		for ; len(part) > 0; part = part[2:] {
			bits := binary.LittleEndian.Uint16(part)
			v := BFloatToFloat(bits)
			sum += v * v
			switch a := bits & 0x7fff; {
			case a >= tooLarge:
				return math.Inf(1), nil
			case a < exact && a > 0:
				d := float64(v) - float64(compute.HalfFloat(compute.HalfBits(v)))
				lost += d * d
			}
		}
		all += float64(sum)
	}
	if lost == 0 {
		return 0, nil
	}
	return math.Sqrt(lost / all), nil
}

// held is the bytes that Read can give.
func (t Tensor) held() int {
	if t.view != nil {
		return t.Size()
	}
	return len(t.Data)
}

// Read copies len(dst) raw little-endian bytes, starting at byte from of the tensor, into dst.
func (t Tensor) Read(dst []byte, from int) error {
	have := t.held()
	if from < 0 || from > have || len(dst) > have-from {
		return fmt.Errorf("checkpoint: tensor %q of %s: bytes %d to %d lie outside its %d bytes", t.Name, t.file, from, from+len(dst), have)
	}
	if t.view == nil {
		defer t.leave(t.Data[from : from+len(dst)])
		return t.guard(func() { copy(dst, t.Data[from:]) })
	}
	size := t.DType.Size()
	first, last := from/size, (from+len(dst)+size-1)/size
	src, err := t.span(last-first, first)
	if err == nil {
		copy(dst, src[from-first*size:])
	}
	return err
}

// Int64s decodes all elements of an integer or BOOL tensor.
func (t Tensor) Int64s() ([]int64, error) {
	src, err := t.span(t.Len(), 0)
	if err != nil {
		return nil, err
	}
	get := intReader(t.DType)
	if get == nil {
		return nil, fmt.Errorf("checkpoint: tensor %q of %s is %s, not integers", t.Name, t.file, t.DType)
	}
	dst := make([]int64, t.Len())
	return dst, t.guard(func() {
		size := t.DType.Size()
		for i := range dst {
			dst[i] = get(src[i*size:])
		}
	})
}

// span is the bytes of n elements from the given one; of a quantised type, of the blocks that hold them.
func (t Tensor) span(n, from int) ([]byte, error) {
	elems, size := t.DType.Block()
	if elems == 0 {
		return nil, fmt.Errorf("checkpoint: tensor %q has the unknown element type %q", t.Name, t.DType)
	}
	have := len(t.Data) / size * elems
	if t.view != nil {
		have = t.Len()
	}
	if from < 0 || from > have || n < 0 || n > have-from {
		return nil, fmt.Errorf("checkpoint: tensor %q of %s: elements %d to %d lie outside its %d", t.Name, t.file, from, from+n, have)
	}
	if t.view != nil {
		dst := make([]byte, n*size)
		return dst, t.guard(func() { t.view.gather(dst, t.Shape, from, size) })
	}
	return t.Data[from/elems*size : (from+n+elems-1)/elems*size], nil
}

// leave lets go of the memory of a mapping that was read: its pages stay in the system's cache, but no longer count as this
// program's own, which has its copy. What does not lie in the mapping, or is small, stays.
func (t Tensor) leave(read []byte) {
	if len(read) < 1<<16 || len(t.mapping) == 0 {
		return
	}
	begin, at := uintptr(unsafe.Pointer(unsafe.SliceData(t.mapping))), uintptr(unsafe.Pointer(unsafe.SliceData(read)))
	if at < begin || at+uintptr(len(read)) > begin+uintptr(len(t.mapping)) {
		return
	}
	page := uintptr(os.Getpagesize())
	from := (at - begin + page - 1) / page * page // the mapping begins with a page
	to := (at - begin + uintptr(len(read))) / page * page
	if from < to {
		releasePages(t.mapping[from:to])
	}
}

// guard runs f, which reads t.Data, and reports a memory fault (the mapped file was cut short or closed) as an error.
func (t Tensor) guard(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault { // how the runtime marks memory faults
				panic(r)
			}
			err = fmt.Errorf("checkpoint: %s changed or was closed while tensor %q was read; leave the file alone and load it again", t.file, t.Name)
		}
	}()
	f()
	return nil
}

func decode(d DType, dst []float32, src []byte) {
	le := binary.LittleEndian
	switch d {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = compute.HalfFloat(le.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = BFloatToFloat(le.Uint16(src[2*i:]))
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case F8E4M3:
		for i := range dst {
			dst[i] = e4m3ToFloat(src[i])
		}
	case F8E5M2:
		for i := range dst {
			dst[i] = compute.HalfFloat(uint16(src[i]) << 8)
		}
	case U64: // above 2⁶³ an int64 would turn negative
		for i := range dst {
			dst[i] = float32(le.Uint64(src[8*i:]))
		}
	default:
		get, size := intReader(d), d.Size()
		for i := range dst {
			dst[i] = float32(get(src[i*size:]))
		}
	}
}

// intReader reads the integer at the start of a slice; nil for types that aren't integers.
func intReader(d DType) func([]byte) int64 {
	le := binary.LittleEndian
	switch d {
	case Bool:
		return func(b []byte) int64 {
			if b[0] != 0 {
				return 1
			}
			return 0
		}
	case U8:
		return func(b []byte) int64 { return int64(b[0]) }
	case I8:
		return func(b []byte) int64 { return int64(int8(b[0])) }
	case U16:
		return func(b []byte) int64 { return int64(le.Uint16(b)) }
	case I16:
		return func(b []byte) int64 { return int64(int16(le.Uint16(b))) }
	case U32:
		return func(b []byte) int64 { return int64(le.Uint32(b)) }
	case I32:
		return func(b []byte) int64 { return int64(int32(le.Uint32(b))) }
	case U64, I64:
		return func(b []byte) int64 { return int64(le.Uint64(b)) }
	}
	return nil
}

// NewF32 makes a float32 tensor for Write; len(data) must be the product of shape, which Write checks.
func NewF32(name string, shape []int, data []float32) Tensor {
	b := make([]byte, 0, 4*len(data))
	for _, v := range data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return Tensor{Name: name, DType: F32, Shape: shape, Data: b}
}

// NewF16 makes a half-precision tensor for Write, rounding data to nearest, ties to even.
func NewF16(name string, shape []int, data []float32) Tensor {
	b := make([]byte, 0, 2*len(data))
	for _, v := range data {
		b = binary.LittleEndian.AppendUint16(b, compute.HalfBits(v))
	}
	return Tensor{Name: name, DType: F16, Shape: shape, Data: b}
}

// NewI64 makes an int64 tensor for Write.
func NewI64(name string, shape []int, data []int64) Tensor {
	b := make([]byte, 0, 8*len(data))
	for _, v := range data {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return Tensor{Name: name, DType: I64, Shape: shape, Data: b}
}
