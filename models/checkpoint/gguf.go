package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// GGUF (ggml's docs/gguf.md), versions 2 and 3, little-endian: "GGUF", version, the numbers of tensors and of values; the
// values, each a key, a type and its bytes; the tensors, each a name, extents (innermost first), a type and an offset; padding
// to the alignment; the tensors' data.

// ggufTypes are the element types by their number.
var ggufTypes = map[uint32]DType{
	0: F32, 1: F16, 2: Q4_0, 3: Q4_1, 6: Q5_0, 7: Q5_1, 8: Q8_0, 10: Q2_K, 11: Q3_K, 12: Q4_K, 13: Q5_K, 14: Q6_K, 15: Q8_K,
	24: I8, 25: I16, 26: I32, 27: I64, 28: F64, 30: BF16,
}

// The types of values.
const (
	ggufString = 8
	ggufArray  = 9
)

// ggufScalars are the sizes of the other types of values: whole numbers of 8, 16 and 32 bits, float32, bool, and 64 bits.
var ggufScalars = map[uint32]int{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

// origShape begins the keys under which image models keep the shape of a tensor that was reshaped to whole blocks.
const origShape = "comfy.gguf.orig_shape."

// ggufReader walks the file; after a failure it reads zeros and err stays.
type ggufReader struct {
	data []byte
	at   int
	err  error
}

func (r *ggufReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// take is the next n bytes, nil beyond the end.
func (r *ggufReader) take(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.data)-r.at) {
		r.fail("it is cut short: %d bytes are wanted at byte %d of %d", n, r.at, len(r.data))
		return nil
	}
	b := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *ggufReader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *ggufReader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *ggufReader) text() string { return string(r.take(r.u64())) }

// scalar is a value as text.
func (r *ggufReader) scalar(kind uint32) string {
	size := ggufScalars[kind]
	if size == 0 {
		r.fail("a value has the unknown type %d", kind)
		return ""
	}
	var full [8]byte
	copy(full[:], r.take(uint64(size)))
	u := binary.LittleEndian.Uint64(full[:])
	switch kind {
	case 1, 3, 5, 11: // signed
		shift := 64 - 8*size
		return strconv.FormatInt(int64(u<<shift)>>shift, 10)
	case 6:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(u))), 'g', -1, 32)
	case 7:
		return strconv.FormatBool(u != 0)
	case 12:
		return strconv.FormatFloat(math.Float64frombits(u), 'g', -1, 64)
	}
	return strconv.FormatUint(u, 10)
}

// array passes over an array and gives its numbers where they are at most 8, which shapes are.
func (r *ggufReader) array(depth int) []int {
	kind, n := r.u32(), r.u64()
	switch {
	case kind == ggufString:
		for i := uint64(0); i < n && r.err == nil; i++ {
			r.take(r.u64())
		}
		return nil
	case kind == ggufArray:
		if depth > 4 {
			r.fail("its arrays are nested too deep")
		}
		for i := uint64(0); i < n && r.err == nil; i++ {
			r.array(depth + 1)
		}
		return nil
	}
	size := ggufScalars[kind]
	if size == 0 {
		r.fail("an array has the unknown type %d", kind)
		return nil
	}
	if n <= 8 && kind != 6 && kind != 7 && kind != 12 {
		var list []int
		for range n {
			v, err := strconv.Atoi(r.scalar(kind))
			if err != nil {
				v = -1
			}
			list = append(list, v)
		}
		return list
	}
	if hi, lo := bits.Mul64(n, uint64(size)); hi == 0 {
		r.take(lo)
	} else {
		r.fail("an array of %d values does not fit the file", n)
	}
	return nil
}

// ggufTensor is an entry of the list of tensors.
type ggufTensor struct {
	name   string
	shape  []int // outermost first
	inner  int   // extent of the innermost axis as stored
	dtype  DType
	offset uint64
}

// parseGGUF reads a GGUF file.
func (f *File) parseGGUF(data []byte) error {
	r := &ggufReader{data: data, at: 4}
	version := r.u32()
	switch {
	case r.err != nil:
		return r.err
	case version > 0xffff:
		return fmt.Errorf("it is a big-endian GGUF file, and only little-endian ones are read")
	case version != 2 && version != 3:
		return fmt.Errorf("it is of GGUF version %d, and versions 2 and 3 are read", version)
	}
	tensors, values := r.u64(), r.u64()
	shapes := map[string][]int{}
	for i := uint64(0); i < values && r.err == nil; i++ {
		f.ggufValue(r, shapes)
	}
	var list []ggufTensor
	for i := uint64(0); i < tensors && r.err == nil; i++ {
		if t := r.tensor(shapes); r.err == nil {
			list = append(list, t)
		}
	}
	if r.err != nil {
		return r.err
	}
	align := 32
	if s, ok := f.metadata["general.alignment"]; ok {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1<<20 || n&(n-1) != 0 {
			return fmt.Errorf("its alignment is %s, which is not a power of two", quote(s))
		}
		align = n
	}
	begin := min((r.at+align-1)/align*align, len(data))
	for _, t := range list {
		if err := f.ggufTensor(t, data[begin:], align); err != nil {
			return fmt.Errorf("tensor %s %w", quote(t.name), err)
		}
	}
	return nil
}

// ggufValue reads one value: texts and numbers become metadata.
func (f *File) ggufValue(r *ggufReader, shapes map[string][]int) {
	key, kind := r.text(), r.u32()
	value := ""
	switch kind {
	case ggufString:
		value = r.text()
	case ggufArray:
		list := r.array(0)
		if name, ok := strings.CutPrefix(key, origShape); ok && list != nil {
			shapes[name] = list
		}
		return
	default:
		value = r.scalar(kind)
	}
	if r.err == nil {
		f.metadata[key] = value
	}
}

// tensor reads one entry of the list.
func (r *ggufReader) tensor(shapes map[string][]int) ggufTensor {
	t := ggufTensor{name: r.text(), inner: 1}
	axes := r.u32()
	if axes > 8 {
		r.fail("tensor %s has %d axes", quote(t.name), axes)
		return t
	}
	n := uint64(1)
	t.shape = make([]int, axes)
	for i := range t.shape {
		d := r.u64()
		hi, lo := bits.Mul64(n, d)
		if hi != 0 || d > 1<<48 || lo > 1<<48 {
			r.fail("tensor %s has a shape whose size overflows", quote(t.name))
			return t
		}
		n, t.shape[i] = lo, int(d)
	}
	if axes > 0 {
		t.inner = t.shape[0]
	}
	slices.Reverse(t.shape)
	kind := r.u32()
	t.offset = r.u64()
	dtype, ok := ggufTypes[kind]
	if !ok {
		r.fail("tensor %s has the element type %d, which is not read", quote(t.name), kind)
	}
	t.dtype = dtype
	if s, ok := shapes[t.name]; ok {
		m := uint64(1)
		for _, d := range s {
			if hi, lo := bits.Mul64(m, uint64(max(d, 0))); hi == 0 && d >= 0 {
				m = lo
			} else {
				m = math.MaxUint64
			}
		}
		if m != n {
			r.fail("tensor %s has %d elements, and its original shape is %v", quote(t.name), n, s)
		}
		t.shape = s
	}
	return t
}

// ggufTensor finds a tensor's bytes in body; the error is a phrase that follows the tensor's name.
func (f *File) ggufTensor(t ggufTensor, body []byte, align int) error {
	if _, twice := f.tensors[t.name]; twice {
		return fmt.Errorf("appears twice")
	}
	out := Tensor{Name: t.name, DType: t.dtype, Shape: t.shape, file: f.name}
	elements, size := t.dtype.Block()
	if t.inner%elements != 0 {
		return fmt.Errorf("has rows of %d elements, which are not whole blocks of %s", t.inner, t.dtype)
	}
	need := uint64(out.Len() / elements)
	if need > uint64(len(body)) { // and so its product with the size of a block does not overflow
		return fmt.Errorf("needs %d blocks of %d bytes, more than the file has", need, size)
	}
	need *= uint64(size)
	if t.offset%uint64(align) != 0 || t.offset > uint64(len(body)) || need > uint64(len(body))-t.offset {
		return fmt.Errorf("lies at bytes %d to %d of %d, which is outside or unaligned", t.offset, t.offset+need, len(body))
	}
	out.Data = body[t.offset : t.offset+need : t.offset+need]
	f.tensors[t.name] = out
	return nil
}
