package checkpoint

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Write saves tensors as a safetensors file, whole or not at all: the bytes go to a temporary file in the same folder,
// reach the disk, and only then take the final name. Wider element types come first and the header is padded, so that
// every tensor is aligned. Tensor names must differ; metadata may be nil.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	header, order, err := layout(tensors, metadata)
	if err != nil {
		return fmt.Errorf("checkpoint: %s cannot be written: %w", path, err)
	}
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	tmp, err := os.CreateTemp(dir, "."+base+".*.tmp")
	if err != nil {
		return writeError(path, err)
	}
	for _, step := range []func() error{
		func() error { return encode(tmp, header, order) },
		func() error { return tmp.Chmod(0o644) },
		tmp.Sync,
		tmp.Close,
		func() error { return os.Rename(tmp.Name(), path) },
	} {
		if err = step(); err != nil {
			break
		}
	}
	if err != nil {
		tmp.Close() // closing twice is harmless
		os.Remove(tmp.Name())
		return writeError(path, err)
	}
	if err := syncDir(dir); err != nil {
		return writeError(path, err)
	}
	return nil
}

// layout checks the tensors, puts them in file order and makes the padded header.
func layout(tensors []Tensor, metadata map[string]string) ([]byte, []Tensor, error) {
	order := slices.Clone(tensors)
	slices.SortStableFunc(order, func(a, b Tensor) int {
		if a.DType.Size() != b.DType.Size() {
			return b.DType.Size() - a.DType.Size()
		}
		return strings.Compare(a.Name, b.Name)
	})
	type entry struct {
		DType   DType  `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	entries := map[string]any{}
	if len(metadata) > 0 {
		entries["__metadata__"] = metadata
	}
	at := 0
	for _, t := range order {
		if _, twice := entries[t.Name]; twice || t.Name == "__metadata__" {
			return nil, nil, fmt.Errorf("the tensor name %s is taken", quote(t.Name))
		}
		if !utf8.ValidString(t.Name) {
			return nil, nil, fmt.Errorf("the tensor name %s is not UTF-8", quote(t.Name))
		}
		if need := t.Len() * t.DType.Size(); t.DType.Size() == 0 || need != t.held() || slices.ContainsFunc(t.Shape, func(d int) bool { return d < 0 }) {
			return nil, nil, fmt.Errorf("tensor %s has %d bytes, which do not fit shape %v of %s", quote(t.Name), t.held(), t.Shape, t.DType)
		}
		shape := append([]int{}, t.Shape...) // [] rather than null for a scalar
		entries[t.Name] = entry{t.DType, shape, [2]int{at, at + t.held()}}
		at += t.held()
	}
	header, err := json.Marshal(entries) // map keys come out sorted: the same tensors give the same file
	if err != nil {
		return nil, nil, err
	}
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	return header, order, nil
}

func encode(out io.Writer, header []byte, order []Tensor) error {
	w := bufio.NewWriterSize(out, 1<<20)
	w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) // a bufio.Writer keeps its first error for Flush
	w.Write(header)
	chunk := make([]byte, 1<<16)
	for _, t := range order {
		for from := 0; from < t.held(); {
			part := chunk[:min(len(chunk), t.held()-from)]
			if err := t.Read(part, from); err != nil { // it may come from a mapping
				return err
			}
			w.Write(part)
			from += len(part)
		}
	}
	return w.Flush()
}

// writeError says in one sentence why path could not be written.
func writeError(path string, err error) error {
	var why string
	switch {
	case isDiskFull(err):
		why = "because the disk is full; free some space or choose another folder"
	case isReadOnly(err):
		why = "because the folder is read-only; choose another folder"
	case errors.Is(err, fs.ErrPermission):
		why = "because there is no permission to write in that folder; choose another folder"
	case errors.Is(err, fs.ErrNotExist):
		why = "because its folder does not exist; create it first"
	default:
		why = err.Error()
	}
	return &FileError{Path: path, Why: "it was not saved, " + why, Err: err}
}

// FileError is a file that could not be opened or saved. After a failed save, nothing lies under the final name that was
// not there before.
type FileError struct {
	Path, Why string
	Err       error // the cause, for errors.Is
}

func (e *FileError) Error() string { return fmt.Sprintf("checkpoint: %s: %s", e.Path, e.Why) }
func (e *FileError) Unwrap() error { return e.Err }
