// The safetensors format (https://huggingface.co/docs/safetensors): eight bytes of little-endian header length, a JSON
// object {name: {dtype, shape, data_offsets: [begin, end]}} with optional "__metadata__", then the elements. The reader is
// as strict as the reference implementation: every byte after the header belongs to exactly one tensor.

package checkpoint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

const maxHeader = 100 << 20 // the reference refuses headers of more than 100 MB

// parseSafetensors reads a safetensors file.
func (f *File) parseSafetensors(data []byte) error {
	if len(data) < 8 {
		return fmt.Errorf("%d bytes are too few for a safetensors file", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	switch body := uint64(len(data) - 8); {
	case n > 1<<48: // no length, then, but the beginning of something else
		return fmt.Errorf("it is no safetensors file, PyTorch checkpoint or GGUF file")
	case n > body:
		return fmt.Errorf("its header claims %d bytes where %d follow, so it is cut short or not a safetensors file", n, body)
	case n > maxHeader:
		return fmt.Errorf("its header of %d bytes exceeds the format's %d", n, maxHeader)
	}
	header, body := data[8:8+n], data[8+n:]
	switch {
	case len(header) == 0 || header[0] != '{':
		return fmt.Errorf("its header does not begin with {")
	case !utf8.Valid(header):
		return fmt.Errorf("its header is not valid UTF-8")
	}
	spans, err := f.parseHeader(header, body)
	if err != nil {
		return err
	}
	return checkCover(spans, uint64(len(body)))
}

// span is a tensor's half-open byte range in the body.
type span struct {
	name       string
	begin, end uint64
}

// checkCover demands that the spans, put in order, tile the body without hole, overlap or rest.
func checkCover(spans []span, size uint64) error {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) })
	at := uint64(0)
	for _, s := range spans {
		if s.begin != at {
			return fmt.Errorf("tensor %s begins at byte %d where %d was expected (a hole or an overlap)", quote(s.name), s.begin, at)
		}
		at = s.end
	}
	if at != size {
		return fmt.Errorf("its tensors end at byte %d of %d", at, size)
	}
	return nil
}

// quote shortens a name from the file for a message.
func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}

func (f *File) parseHeader(header, body []byte) ([]span, error) {
	r := newReader(header)
	var spans []span
	err := r.object(func(name string) error {
		if name == "__metadata__" {
			return r.object(func(key string) error {
				value, err := r.text()
				if err != nil {
					return fmt.Errorf("metadata %s: %w", quote(key), err)
				}
				f.metadata[key] = value
				return nil
			})
		}
		t, s, err := r.tensor(name, uint64(len(body)))
		if err != nil {
			return fmt.Errorf("tensor %s %w", quote(name), err)
		}
		t.file, t.Data = f.name, body[s.begin:s.end:s.end]
		f.tensors[name], spans = t, append(spans, s)
		return nil
	})
	if err == nil {
		err = r.end()
	}
	return spans, err
}

// tensor reads one header entry, {dtype, shape, data_offsets}, and checks it against the body's size.
func (r *reader) tensor(name string, size uint64) (Tensor, span, error) {
	t, s := Tensor{Name: name}, span{name: name}
	var dtype string
	var shape, offsets []uint64
	err := r.object(func(key string) (err error) {
		switch key {
		case "dtype":
			dtype, err = r.text()
		case "shape":
			shape, err = r.uints()
		case "data_offsets":
			offsets, err = r.uints()
		default:
			err = r.skip()
		}
		return err
	})
	t.DType = DType(dtype)
	elem := uint64(t.DType.Size())
	switch {
	case err != nil:
		return t, s, fmt.Errorf("has a damaged entry: %w", err)
	case elem == 0:
		return t, s, fmt.Errorf("has the unknown element type %s", quote(dtype))
	case shape == nil:
		return t, s, fmt.Errorf("has no shape")
	case len(offsets) != 2:
		return t, s, fmt.Errorf("has %d data offsets where two belong", len(offsets))
	}
	s.begin, s.end = offsets[0], offsets[1]
	if s.begin > s.end || s.end > size {
		return t, s, fmt.Errorf("lies at bytes %d to %d, outside the %d bytes of data", s.begin, s.end, size)
	}
	need := elem
	t.Shape = make([]int, len(shape))
	for i, d := range shape {
		hi, lo := bits.Mul64(need, d)
		if hi != 0 || d > 1<<62 || lo > 1<<62 {
			return t, s, fmt.Errorf("has a shape whose size overflows: %v", shape[:min(len(shape), 8)])
		}
		need, t.Shape[i] = lo, int(d)
	}
	if need != s.end-s.begin {
		return t, s, fmt.Errorf("needs %d bytes for shape %v of %s but has %d", need, shape[:min(len(shape), 8)], dtype, s.end-s.begin)
	}
	return t, s, nil
}
