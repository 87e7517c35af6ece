package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Open maps a safetensors file, or the shards of a *.safetensors.index.json.
func Open(name string) (Tensors, error) {
	dir, base := filepath.Split(name)
	if dir == "" {
		dir = "."
	}
	return open(os.DirFS(dir), base, name)
}

// OpenFS is Open within any file system. Files of the operating system are mapped; those of an embed.FS and the like are
// read into memory. Nothing else differs.
func OpenFS(fsys fs.FS, name string) (Tensors, error) { return open(fsys, name, name) }

// open opens name within fsys; shown is what messages call it.
func open(fsys fs.FS, name, shown string) (Tensors, error) {
	if isIndex(name) {
		return openIndex(fsys, name, shown)
	}
	f, err := openFile(fsys, name, shown)
	if err != nil {
		return nil, err // not f: a nil *File is no nil Tensors
	}
	return f, nil
}

// isIndex tells an index by its name: model.safetensors.index.json, or with a variant, model.safetensors.index.fp16.json.
func isIndex(name string) bool {
	return strings.Contains(path.Base(name), ".index.") && strings.HasSuffix(name, ".json")
}

// weightNames are the files that hold one component of a diffusers-layout folder, in order of preference.
var weightNames = []string{
	"diffusion_pytorch_model.safetensors", "model.safetensors",
	"diffusion_pytorch_model.fp16.safetensors", "model.fp16.safetensors",
	"diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.json",
	"diffusion_pytorch_model.safetensors.index.fp16.json", "model.safetensors.index.fp16.json",
	"diffusion_pytorch_model.fp16.safetensors.index.json", "model.fp16.safetensors.index.json",
}

// ComponentFile is the file that holds the weights in dir of a diffusers-layout folder, such as "unet": whole or sharded
// (then it is the index), full or half.
func ComponentFile(fsys fs.FS, dir string) (string, error) {
	for _, name := range weightNames {
		full := path.Join(dir, name)
		if _, err := fs.Stat(fsys, full); err == nil {
			return full, nil
		}
	}
	return "", fmt.Errorf("checkpoint: the folder %s has no safetensors weights (%s or the like); point at a diffusers-layout model folder", dir, weightNames[0])
}

// OpenComponent opens the weights that ComponentFile finds.
func OpenComponent(fsys fs.FS, dir string) (Tensors, error) {
	name, err := ComponentFile(fsys, dir)
	if err != nil {
		return nil, err
	}
	return OpenFS(fsys, name)
}

func openFile(fsys fs.FS, name, shown string) (*File, error) {
	// Stat first: opening a pipe would wait for its other end.
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, openError(shown, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("checkpoint: %s is not a regular file; choose a .safetensors file", shown)
	}
	in, err := fsys.Open(name)
	if err != nil {
		return nil, openError(shown, err)
	}
	defer in.Close()
	data, unmap, err := contents(in)
	if err != nil {
		return nil, openError(shown, err)
	}
	f, err := Parse(data, shown)
	if err != nil {
		unmap()
		return nil, err
	}
	f.unmap = unmap
	return f, nil
}

// contents maps an operating system's file and reads any other.
func contents(in fs.File) (data []byte, unmap func() error, err error) {
	info, err := in.Stat()
	if err != nil {
		return nil, nil, err
	}
	nothing := func() error { return nil }
	if info.Size() == 0 {
		return nil, nothing, nil
	}
	if file, ok := in.(*os.File); ok {
		return mapFile(file, info.Size())
	}
	data = make([]byte, info.Size())
	_, err = io.ReadFull(in, data)
	return data, nothing, err
}

func openError(name string, err error) error {
	why := fmt.Sprintf("it cannot be read (%v)", err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "it does not exist; check the path"
	case errors.Is(err, fs.ErrPermission):
		why = "it may not be read; check its permissions"
	}
	return &FileError{Path: name, Why: why, Err: err}
}

// sharded is the files that an index names, seen as one.
type sharded struct {
	names []string
	where map[string]*File
	files []*File
}

func (s *sharded) Names() []string { return s.names }
func (s *sharded) Get(name string) (Tensor, bool) {
	f, ok := s.where[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Get(name)
}
func (s *sharded) Metadata() map[string]string { return s.files[0].metadata }
func (s *sharded) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// openIndex opens {"metadata": …, "weight_map": {tensor: shard file}} with all its shards.
func openIndex(fsys fs.FS, name, shown string) (Tensors, error) {
	data, err := readSmall(fsys, name, shown)
	if err != nil {
		return nil, err
	}
	shardOf, problem := parseIndex(data)
	if problem != nil {
		return nil, &FormatError{shown, problem.Error(), remedy(data)}
	}
	s := &sharded{where: map[string]*File{}}
	opened := map[string]*File{}
	for tensor := range shardOf {
		s.names = append(s.names, tensor)
	}
	slices.Sort(s.names)
	for _, tensor := range s.names {
		shard := shardOf[tensor]
		f := opened[shard]
		if f == nil {
			if f, err = openFile(fsys, path.Join(path.Dir(name), shard), filepath.Join(filepath.Dir(shown), shard)); err != nil {
				s.Close()
				return nil, fmt.Errorf("%w (a shard that %s names)", err, shown)
			}
			opened[shard], s.files = f, append(s.files, f)
		}
		if _, ok := f.Get(tensor); !ok {
			s.Close()
			return nil, &FormatError{shown, fmt.Sprintf("tensor %s is not in its shard %s", quote(tensor), quote(shard)), "download the index and its shards again"}
		}
		s.where[tensor] = f
	}
	return s, nil
}

// readSmall reads a JSON file beside the weights, at most maxHeader bytes.
func readSmall(fsys fs.FS, name, shown string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, openError(shown, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxHeader {
		return nil, &FormatError{shown, fmt.Sprintf("it is not a regular file of at most %d bytes", maxHeader), "choose an index file"}
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, openError(shown, err)
	}
	return data, nil
}

func parseIndex(data []byte) (map[string]string, error) {
	r := newReader(data)
	shardOf := map[string]string{}
	err := r.object(func(key string) error {
		if key != "weight_map" {
			return r.skip()
		}
		return r.object(func(tensor string) error {
			shard, err := r.text()
			if err != nil {
				return err
			}
			// Shards lie beside their index: anything with a folder, a drive or a way up is an attack or a mistake.
			if shard == "" || shard == "." || shard == ".." || strings.ContainsAny(shard, "/\\:\x00") || !fs.ValidPath(shard) {
				return fmt.Errorf("tensor %s points at %s, which is not a plain file name", quote(tensor), quote(shard))
			}
			shardOf[tensor] = shard
			return nil
		})
	})
	if err == nil {
		err = r.end()
	}
	if err == nil && len(shardOf) == 0 {
		err = fmt.Errorf("it has no weight_map")
	}
	return shardOf, err
}
