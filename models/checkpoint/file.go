// Package checkpoint reads the files that hold a model's weights, from disk (memory-mapped) or from any other fs.FS, and
// writes safetensors. What a file is, its content decides, not its name: safetensors, whole or in shards; what PyTorch saves,
// a zip archive or the stream of before version 1.6; GGUF. Nothing that a file says is ever executed, and tensors are read
// only when they are asked for.
package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
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

// File is one open file of tensors.
type File struct {
	name     string
	names    []string
	tensors  map[string]Tensor
	metadata map[string]string
	mapping  []byte // where the file is mapped; nil where its bytes are ordinary memory
	unmap    func() error
}

// Names lists the tensors, sorted.
func (f *File) Names() []string { return f.names }

// Get finds a tensor by name.
func (f *File) Get(name string) (Tensor, bool) {
	t, ok := f.tensors[name]
	t.mapping = f.mapping
	return t, ok
}

// Metadata is what the file says beside its tensors, never nil: the "__metadata__" of safetensors, the numbers and texts beside
// a PyTorch state dict, GGUF's single values.
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

// Parse reads a file of any format from data, which it keeps; name is for messages. Damage gives a *FormatError.
func Parse(data []byte, name string) (*File, error) {
	f := &File{name: name, tensors: map[string]Tensor{}, metadata: map[string]string{}}
	var problem error
	// Parsing reads a mapping too: the same guard, under the file's name.
	err := Tensor{Name: "header", file: name}.guard(func() { problem = f.parse(data) })
	if err != nil {
		return nil, err
	}
	if problem != nil {
		return nil, formatError(name, problem, data)
	}
	f.names = slices.Sorted(maps.Keys(f.tensors))
	return f, nil
}

func (f *File) parse(data []byte) error {
	switch {
	case len(data) == 0:
		return fmt.Errorf("the file is empty")
	case len(data) > 8 && data[8] == '{' && plausibleHeader(data, int64(len(data))):
		return f.parseSafetensors(data) // first, since its length may begin like the others
	case bytes.HasPrefix(data, []byte("PK")):
		return f.parseZip(data)
	case bytes.HasPrefix(data, []byte("GGUF")):
		return f.parseGGUF(data)
	case data[0] == pickleProto, bytes.HasPrefix(data, []byte("L"+streamMagicText)):
		return f.parseStream(data)
	}
	return f.parseSafetensors(data)
}

// plausibleHeader reports whether a file may begin with the length of a safetensors header.
func plausibleHeader(head []byte, size int64) bool {
	return len(head) >= 8 && binary.LittleEndian.Uint64(head) <= uint64(size)
}

// isIndexText tells the JSON of an index from a safetensors file, whose header length comes first.
func isIndexText(head []byte, size int64) bool {
	if plausibleHeader(head, size) {
		return false
	}
	head = bytes.TrimLeft(head, " \t\r\n\ufeff")
	return len(head) > 0 && head[0] == '{'
}

// hostile marks a problem that is no accident.
type hostile struct{ error }

func formatError(name string, problem error, data []byte) *FormatError {
	if _, ok := problem.(hostile); ok {
		return &FormatError{name, problem.Error(), "nothing of it has run: delete the file and get the model from somewhere else"}
	}
	return &FormatError{name, problem.Error(), remedy(data)}
}

// remedy names what the file really is, where its first bytes tell.
func remedy(data []byte) string {
	head := bytes.ToLower(data[:min(len(data), 64)])
	switch {
	case bytes.HasPrefix(head, []byte("<!doctype")), bytes.HasPrefix(head, []byte("<html")):
		return "it is a saved web page, so download the file itself"
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return "it is a Git LFS pointer, so fetch the file that it stands for (git lfs pull)"
	}
	return "download or export the file again"
}
