// Package checkpoint reads and writes the files that hold a model's weights: safetensors, single or sharded, from disk
// (memory-mapped) or from any other fs.FS.
//
// The safetensors format (https://huggingface.co/docs/safetensors): eight bytes of little-endian header length, a JSON
// object {name: {dtype, shape, data_offsets: [begin, end]}} with optional "__metadata__", then the elements. The reader is
// as strict as the reference implementation: every byte after the header belongs to exactly one tensor.
package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	maxHeader = 100 << 20 // the reference refuses headers of more than 100 MB
	maxDepth  = 64        // nesting of ignored values
)

// Tensors is an open checkpoint: one file or the shards that an index names.
type Tensors interface {
	Names() []string                // sorted
	Get(name string) (Tensor, bool) // false where the checkpoint has no such tensor
	Metadata() map[string]string    // of the first file; never nil
	Close() error                   // releases the mapping; no Tensor may be read afterwards
}

// FormatError says that a file is not what its name promises, and what to do about it.
type FormatError struct{ File, Problem, Remedy string }

func (e *FormatError) Error() string {
	return fmt.Sprintf("checkpoint: %s: %s; %s", e.File, e.Problem, e.Remedy)
}

// File is one open safetensors file.
type File struct {
	name     string
	names    []string
	tensors  map[string]Tensor
	metadata map[string]string
	unmap    func() error
}

// Names lists the tensors, sorted.
func (f *File) Names() []string { return f.names }

// Get finds a tensor by name.
func (f *File) Get(name string) (Tensor, bool) { t, ok := f.tensors[name]; return t, ok }

// Metadata is the header's "__metadata__", never nil.
func (f *File) Metadata() map[string]string { return f.metadata }

// Close releases the mapping; closing twice is harmless.
func (f *File) Close() error {
	if f.unmap == nil {
		return nil
	}
	unmap := f.unmap
	f.unmap = nil
	return unmap()
}

// Parse reads a safetensors file from data, which it keeps; name is for messages. Damage gives a *FormatError.
func Parse(data []byte, name string) (*File, error) {
	f := &File{name: name, tensors: map[string]Tensor{}, metadata: map[string]string{}}
	var problem error
	// Parsing reads a mapping too: the same guard, under the file's name.
	err := Tensor{Name: "header", file: name}.guard(func() { problem = f.parse(data) })
	if err != nil {
		return nil, err
	}
	if problem != nil {
		return nil, &FormatError{name, problem.Error(), remedy(data)}
	}
	f.names = slices.Sorted(maps.Keys(f.tensors))
	return f, nil
}

// remedy names what the file really is, where its first bytes tell.
func remedy(data []byte) string {
	head := bytes.ToLower(data[:min(len(data), 64)])
	switch {
	case bytes.HasPrefix(head, []byte("<!doctype")), bytes.HasPrefix(head, []byte("<html")):
		return "it is a saved web page, so download the file itself"
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return "it is a Git LFS pointer, so fetch the file that it stands for (git lfs pull)"
	case bytes.HasPrefix(head, []byte("pk\x03\x04")), bytes.HasPrefix(head, []byte{0x80, 2}):
		return "it is a PyTorch pickle under another name, so convert it to safetensors"
	}
	return "download or export the file again"
}

func (f *File) parse(data []byte) error {
	if len(data) < 8 {
		return fmt.Errorf("%d bytes are too few for a safetensors file", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	switch body := uint64(len(data) - 8); {
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
	slices.SortFunc(spans, func(a, b span) int {
		if a.begin != b.begin {
			return compare(a.begin, b.begin)
		}
		return compare(a.end, b.end)
	})
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

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
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

// reader walks JSON strictly: valid throughout, no duplicate keys, bounded nesting, nothing after the value.
type reader struct {
	dec  *json.Decoder
	base error
}

func newReader(data []byte) *reader {
	r := &reader{dec: json.NewDecoder(bytes.NewReader(data))}
	r.dec.UseNumber()
	if depth(data) > maxDepth {
		r.base = fmt.Errorf("its JSON is nested more than %d deep", maxDepth)
	} else if !json.Valid(data) {
		r.base = fmt.Errorf("it is not valid JSON")
	}
	return r
}

// depth is the deepest nesting of brackets outside strings.
func depth(data []byte) (deepest int) {
	now, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

func (r *reader) token() (json.Token, error) {
	if r.base != nil {
		return nil, r.base
	}
	return r.dec.Token()
}

// object reads {key: value, …}; field reads each value.
func (r *reader) object(field func(key string) error) error {
	if t, err := r.token(); err != nil || t != json.Delim('{') {
		return errOr(err, "an object was expected")
	}
	seen := map[string]bool{}
	for r.dec.More() {
		t, err := r.token()
		key, ok := t.(string)
		if err != nil || !ok {
			return errOr(err, "a name was expected")
		}
		if seen[key] {
			return fmt.Errorf("the name %s appears twice", quote(key))
		}
		seen[key] = true
		if err := field(key); err != nil {
			return err
		}
	}
	_, err := r.token()
	return err
}

func (r *reader) text() (string, error) {
	t, err := r.token()
	s, ok := t.(string)
	if err != nil || !ok {
		return "", errOr(err, "a text was expected")
	}
	return s, nil
}

// uints reads an array of non-negative integers; an empty one is not nil.
func (r *reader) uints() ([]uint64, error) {
	if t, err := r.token(); err != nil || t != json.Delim('[') {
		return nil, errOr(err, "an array was expected")
	}
	list := []uint64{}
	for r.dec.More() {
		t, err := r.token()
		n, ok := t.(json.Number)
		if err != nil || !ok {
			return nil, errOr(err, "a number was expected")
		}
		v, err := strconv.ParseUint(n.String(), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%s is not a size or an offset", quote(n.String()))
		}
		list = append(list, v)
	}
	_, err := r.token()
	return list, err
}

// skip passes over one value of any kind.
func (r *reader) skip() error {
	for open := 0; ; {
		t, err := r.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
		if open == 0 {
			return nil
		}
	}
}

// end demands that only white space is left.
func (r *reader) end() error {
	if _, err := r.token(); err != io.EOF {
		return errOr(nil, "something follows the JSON")
	}
	return nil
}

func errOr(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", otherwise)
}
