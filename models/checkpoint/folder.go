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

// Open maps a file of tensors, whatever its format, or the shards that an index (*.safetensors.index.json,
// pytorch_model.bin.index.json) names.
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
	c, err := openData(fsys, name, shown)
	if err != nil {
		return nil, err
	}
	index := false
	err = Tensor{Name: "header", file: shown}.guard(func() { index = isIndexText(c.data[:min(len(c.data), 64)], int64(len(c.data))) })
	if err == nil && index {
		defer c.unmap()
		return openIndex(fsys, c.data, name, shown)
	}
	f, err := c.parse(shown)
	if err != nil {
		return nil, err // not f: a nil *File is no nil Tensors
	}
	return f, nil
}

// parse reads a file of tensors, which keeps the contents; they are let go where it is damaged.
func (c *contents) parse(shown string) (*File, error) {
	f, err := Parse(c.data, shown)
	if err != nil {
		c.unmap()
		return nil, err
	}
	f.unmap = c.unmap
	if c.mapped {
		f.mapping = c.data
	}
	return f, nil
}

// Files lists the files that Open reads for name: itself, or an index's shards in order of their names.
func Files(fsys fs.FS, name string) ([]string, error) {
	c, err := openData(fsys, name, name)
	if err != nil {
		return nil, err
	}
	defer c.unmap()
	data := c.data
	var shards map[string]string
	var problem error
	if err := (Tensor{Name: "header", file: name}).guard(func() {
		if isIndexText(data[:min(len(data), 64)], int64(len(data))) {
			shards, problem = parseIndex(data)
		}
	}); err != nil {
		return nil, err
	}
	if problem != nil {
		return nil, formatError(name, problem, data)
	}
	if shards == nil {
		return []string{name}, nil
	}
	var files []string
	for _, shard := range shards {
		files = append(files, path.Join(path.Dir(name), shard))
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// Component files are called STEM[.VARIANT].EXTENSION, or with the variant before the extension of an index, as diffusers
// and transformers have named them over the years. Earlier in these lists is preferred: safetensors to pickles, whole to
// sharded, full width to half, averaged weights to those of training.
var (
	stems      = []string{"diffusion_pytorch_model", "model", "pytorch_model"}
	variants   = []string{"", ".fp32", ".fp16", ".bf16", ".ema", ".ema_only", ".non_ema"}
	extensions = []string{".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", ".gguf"}
)

// componentNames lists the names of component files in order of preference.
func componentNames() []string {
	var names []string
	for _, pickles := range []bool{false, true} {
		for _, v := range variants {
			for _, stem := range stems {
				for i, ext := range extensions {
					if i > 1 != pickles {
						continue
					}
					names = append(names, stem+v+ext)
					if kind, isIndex := strings.CutSuffix(ext, ".json"); isIndex && v != "" {
						names = append(names, stem+kind+v+".json") // model.safetensors.index.fp16.json
					}
				}
			}
		}
	}
	return names
}

// ComponentFile is the file that holds the weights in dir of a diffusers-layout folder, such as "unet": whole or sharded
// (then it is the index), of any format.
func ComponentFile(fsys fs.FS, dir string) (string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return "", openError(dir, err)
	}
	have, others := map[string]bool{}, []string{}
	for _, e := range entries {
		have[e.Name()] = true
		for _, stem := range stems { // variants of other names
			if strings.HasPrefix(e.Name(), stem+".") && slices.Contains(extensions, path.Ext(e.Name())) {
				others = append(others, e.Name())
			}
		}
	}
	for _, name := range componentNames() {
		if have[name] {
			return path.Join(dir, name), nil
		}
	}
	for _, ext := range extensions {
		for _, name := range others {
			if path.Ext(name) == ext {
				return path.Join(dir, name), nil
			}
		}
	}
	return "", fmt.Errorf("checkpoint: the folder %s has no weights (%s%s, %s.bin or the like); point at a diffusers-layout model folder", dir, stems[0], extensions[0], stems[2])
}

// OpenComponent opens the weights that ComponentFile finds.
func OpenComponent(fsys fs.FS, dir string) (Tensors, error) {
	name, err := ComponentFile(fsys, dir)
	if err != nil {
		return nil, err
	}
	return OpenFS(fsys, name)
}

// contents is the bytes of a file.
type contents struct {
	data   []byte
	mapped bool // rather than read into memory
	unmap  func() error
}

// openData maps a regular file of the operating system and reads any other.
func openData(fsys fs.FS, name, shown string) (*contents, error) {
	// Stat first: opening a pipe would wait for its other end.
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, openError(shown, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("checkpoint: %s is not a regular file; choose a file of weights, such as .safetensors", shown)
	}
	in, err := fsys.Open(name)
	if err != nil {
		return nil, openError(shown, err)
	}
	defer in.Close()
	c := &contents{unmap: func() error { return nil }}
	if info, err = in.Stat(); err == nil && info.Size() > 0 {
		if file, ok := in.(*os.File); ok {
			c.data, c.unmap, err = mapFile(file, info.Size())
			c.mapped = true
		} else {
			c.data = make([]byte, info.Size())
			_, err = io.ReadFull(in, c.data)
		}
	}
	if err != nil {
		return nil, openError(shown, err)
	}
	return c, nil
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
func openIndex(fsys fs.FS, data []byte, name, shown string) (Tensors, error) {
	var shardOf map[string]string
	var problem error
	if err := (Tensor{Name: "index", file: shown}).guard(func() { shardOf, problem = parseIndex(data) }); err != nil {
		return nil, err
	}
	if problem != nil {
		return nil, formatError(shown, problem, data)
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
			at := filepath.Join(filepath.Dir(shown), shard)
			c, err := openData(fsys, path.Join(path.Dir(name), shard), at)
			if err == nil {
				f, err = c.parse(at)
			}
			if err != nil {
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

func parseIndex(data []byte) (map[string]string, error) {
	if len(data) > maxHeader {
		return nil, fmt.Errorf("an index of %d bytes exceeds %d", len(data), maxHeader)
	}
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
