package modelstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"atelier/app/disk"
	"atelier/compute"
)

// Import is a file or folder to bring into the studio's own folder.
type Import struct {
	Path string
	Link bool // leave the data where they are and put a link into the folder
	Kind Kind // "" finds out
}

// Import brings a model in, with the files beside it that speak of it, into the folder for its kind. Nothing is ever replaced, a copy
// has its name only when it is whole, and where ctx ends nothing is left of it. progress, which may be nil, is told the bytes copied
// and all bytes.
func (s *Store) Import(ctx context.Context, in Import, progress func(done, all int64)) (Entry, error) {
	c, err := candidateAt(in.Path)
	if err != nil {
		return Entry{}, err
	}
	e := s.identify(c)
	if in.Kind != "" {
		e.Kind = in.Kind
	}
	if e.Kind == Unknown && in.Kind == "" {
		return Entry{}, fmt.Errorf("%s is not brought in: %s", in.Path, cmp.Or(e.Problem, "it is no model that this program knows"))
	}
	folder := filepath.Join(s.Own(), ownFolders[e.Kind])
	if within(s.Own(), c.path) {
		return Entry{}, fmt.Errorf("%s is in the studio's own folder already", in.Path)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Entry{}, fmt.Errorf("the folder %s cannot be made: %s", folder, disk.Reason(err))
	}
	items := items(c, folder)
	for _, it := range items {
		if _, err := os.Lstat(it.to); err == nil {
			return Entry{}, fmt.Errorf("%s is not brought in: there is a %s in %s already", in.Path, filepath.Base(it.to), folder)
		}
	}
	if in.Link {
		err = linkAll(items)
	} else {
		err = copyAll(ctx, items, folder, progress)
	}
	if err != nil {
		return Entry{}, err
	}
	brought, err := candidateAt(items[0].to)
	if err != nil {
		return Entry{}, err
	}
	brought.link = Folder{s.Own(), Own, OriginOwn}
	if brought.place = (place{dir: folder}); e.Kind != Unknown {
		brought.place.kind = e.Kind
	}
	e, _ = s.entry(brought)
	s.mu.Lock()
	defer s.mu.Unlock()
	others := slices.DeleteFunc(slices.Clone(s.entries), func(o Entry) bool { return o.Path == e.Path }) // a scan may have found it already
	s.entries = Search(append(others, e), Query{})
	if err := s.cache.write(s.o.Cache); err != nil {
		return e, fmt.Errorf("%s is there, but the list of models could not be kept: %s", e.Path, disk.Reason(err))
	}
	return e, nil
}

// candidateAt takes a file or folder that a person points at.
func candidateAt(path string) (candidate, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return candidate{}, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return candidate{}, fmt.Errorf("%s cannot be read: %s", path, disk.Reason(err))
	}
	c := candidate{path: abs, real: abs, info: info, folder: info.IsDir(), link: Folder{Program: Plain, Path: filepath.Dir(abs)}}
	switch {
	case c.folder:
		c.beside, c.size = listingOf(abs, dirNames(abs)), folderSize(abs)
		if !isWhole(abs, c.beside) && !c.beside.has["config.json"] {
			return c, fmt.Errorf("%s is a folder, and no single model in the layout of diffusers: link it, or bring in the models in it", path)
		}
	case !info.Mode().IsRegular():
		return c, fmt.Errorf("%s is no regular file", path)
	default:
		c.beside = listingOf(filepath.Dir(abs), dirNames(filepath.Dir(abs)))
		if m := shardName.FindStringSubmatch(filepath.Base(abs)); m != nil && !c.beside.indexed[filepath.Base(abs)] {
			c.shards = len(c.beside.parts[partKey(m)])
		}
		c.size = c.fileSizes()
	}
	return c, nil
}

// item is a file or folder to copy or link.
type item struct{ from, to string }

// items are a candidate's own files, first the one that stands for it, and those beside it that speak of it.
func items(c candidate, folder string) []item {
	if c.folder {
		return []item{{c.path, filepath.Join(folder, filepath.Base(c.path))}}
	}
	var list []item
	for _, f := range c.files() {
		list = append(list, item{f, filepath.Join(folder, filepath.Base(f))})
	}
	for _, name := range append(besideNames(c), strings.TrimSuffix(filepath.Base(c.path), filepath.Ext(c.path))+".yaml") {
		from := filepath.Join(filepath.Dir(c.path), name)
		if c.beside.has[name] && isFile(from) && from != c.path {
			list = append(list, item{from, filepath.Join(folder, name)})
		}
	}
	return list
}

func linkAll(items []item) error {
	for i, it := range items {
		if err := os.Symlink(it.from, it.to); err != nil {
			for _, made := range items[:i] {
				os.Remove(made.to)
			}
			return fmt.Errorf("%s cannot be linked into %s: %s; bring a copy in instead", it.from, filepath.Dir(it.to), disk.Reason(err))
		}
	}
	return nil
}

// copying is a copy in progress.
type copying struct {
	ctx       context.Context
	done, all int64
	told      time.Time
	progress  func(done, all int64)
}

// copyAll copies into a temporary folder beside the models and moves what is whole to its name; the model itself goes last.
func copyAll(ctx context.Context, list []item, folder string, progress func(done, all int64)) (err error) {
	c := &copying{ctx: ctx, progress: progress}
	for _, it := range list {
		c.all += sizeOf(it.from)
	}
	const reserve = 16 << 20
	if free, err := disk.Free(folder); err == nil && free < c.all+reserve {
		return fmt.Errorf("%s needs %s in %s, where %s are free: free some space, or bring in a link", filepath.Base(list[0].from), compute.FormatBytes(c.all), folder, compute.FormatBytes(free))
	}
	temp, err := os.MkdirTemp(folder, ".import-*")
	if err != nil {
		return fmt.Errorf("nothing can be written in %s: %s", folder, disk.Reason(err))
	}
	defer os.RemoveAll(temp)
	for _, it := range list {
		if err := c.tree(it.from, filepath.Join(temp, filepath.Base(it.to)), nil); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s could not be copied to %s: %s", it.from, folder, disk.Reason(err))
		}
	}
	for i, it := range slices.Backward(list) {
		if err := moveNew(filepath.Join(temp, filepath.Base(it.to)), it.to); err != nil {
			for _, moved := range list[i+1:] {
				os.Remove(moved.to)
			}
			return fmt.Errorf("%s could not be named in %s: %s", filepath.Base(it.to), folder, disk.Reason(err))
		}
	}
	disk.SyncFolder(folder)
	return nil
}

// moveNew is disk.MoveNew for folders too, which a rename never replaces while they hold something.
func moveNew(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil || !info.IsDir() {
		return disk.MoveNew(from, to)
	}
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return 0
	case info.IsDir():
		return folderSize(path)
	}
	return info.Size()
}

// tree copies a file, or a folder with what is in it; above are the folders that it lies in. Links are followed: a copy stands alone.
func (c *copying) tree(from, to string, above []fs.FileInfo) error {
	info, err := os.Stat(from)
	switch {
	case err != nil:
		return err
	case info.Mode().IsRegular():
		return c.file(from, to)
	case !info.IsDir():
		return errors.New("there is something in it that is neither a file nor a folder")
	}
	if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }) {
		return fmt.Errorf("the link %s in it leads in a circle", filepath.Base(from))
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.tree(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), append(above, info)); err != nil {
			return err
		}
	}
	return nil
}

func (c *copying) file(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	buf := make([]byte, 1<<20)
	for {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		n, err := in.Read(buf)
		if _, writeErr := out.Write(buf[:n]); writeErr != nil {
			return writeErr
		}
		c.done += int64(n)
		if c.progress != nil && (time.Since(c.told) > time.Second/10 || c.done == c.all) {
			c.told = time.Now()
			c.progress(c.done, c.all)
		}
		if err == io.EOF {
			return out.Sync()
		}
		if err != nil {
			return err
		}
	}
}

// Remove deletes a model from the studio's own folder, with the files beside it that speak of it; of a link, the link alone. Models of
// other programs are theirs: only their folder can be unlinked.
func (s *Store) Remove(path string) (Entry, error) {
	e, err := s.find(path, false) // never by a part of its name
	if err != nil {
		return e, err
	}
	own := s.Own()
	if rel, err := filepath.Rel(own, e.Path); err != nil || !filepath.IsLocal(rel) || rel == "." {
		return e, fmt.Errorf("%s is not removed: it lies in %s, which belongs to another program; remove it there, or unlink the folder", e.Name, e.Folder)
	}
	c, err := candidateAt(e.Path)
	if err != nil {
		c = candidate{path: e.Path, beside: &listing{}} // a link to nowhere
	}
	info, err := os.Lstat(e.Path)
	if err != nil {
		return e, fmt.Errorf("%s cannot be removed: %s", e.Path, disk.Reason(err))
	}
	for _, it := range items(c, filepath.Dir(e.Path)) {
		remove := os.Remove
		if info.IsDir() {
			remove = os.RemoveAll
		}
		if err := remove(it.to); err != nil {
			return e, fmt.Errorf("%s cannot be removed: %s", it.to, disk.Reason(err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = slices.DeleteFunc(s.entries, func(o Entry) bool { return o.Path == e.Path })
	delete(s.cache.Models, e.Path)
	if err := s.cache.write(s.o.Cache); err != nil {
		return e, fmt.Errorf("%s is gone, but the list of models could not be kept: %s", e.Path, disk.Reason(err))
	}
	return e, nil
}
