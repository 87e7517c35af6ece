package dataset

import (
	"archive/zip"
	"bytes"
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

// file is one file of a set, on disk or in an archive.
type file struct {
	name string // relative to the set, with slashes
	size int64  // as the folder or the archive says
	open func() (io.ReadCloser, error)
	bomb string // why unpacking it is refused; empty where it is not
}

// memory is a file that is not on disk.
func memory(name string, data []byte) file {
	return file{name: name, size: int64(len(data)), open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// read gives the whole file where it has at most limit bytes. No more is allocated than the file really holds.
func (f *file) read(limit int64) ([]byte, error) {
	if f.bomb != "" {
		return nil, &Finding{Kind: ZipBomb, Skipped: true, What: f.bomb, Do: "remove it from the archive"}
	}
	if f.size > limit {
		return nil, &Finding{Kind: TooLarge, Skipped: true, What: fmt.Sprintf("the file has %s, and at most %s are read", megabytes(f.size), megabytes(limit)), Do: "make the picture smaller"}
	}
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, f.size+1))
	switch {
	case err == nil && int64(len(data)) > f.size:
		return nil, &Finding{Kind: ZipBomb, Skipped: true, What: fmt.Sprintf("the file holds more than the %d bytes that it is said to have", f.size), Do: "copy or pack the file again"}
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && int64(len(data)) < f.size:
		return nil, &Finding{Kind: Truncated, Skipped: true, What: "the file ends too early", Do: "copy the file again"}
	case err != nil && f.packed(err):
		return nil, &Finding{Kind: Broken, Skipped: true, What: "the file cannot be unpacked: " + plain(err).Error(), Do: "make the archive again"}
	}
	return data, err
}

func (f *file) packed(err error) bool {
	return errors.Is(err, zip.ErrFormat) || errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrAlgorithm) || strings.HasPrefix(err.Error(), "flate:")
}

func megabytes(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// openFolder lists the files below a folder. Links are followed to files inside the folder only.
func (d *Dataset) openFolder(dir string) ([]file, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("the folder %s cannot be opened: %w; check your rights to it", dir, plain(err))
	}
	d.archive = root
	var files []file
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return fmt.Errorf("the folder %s cannot be listed: %w; check your rights to it", dir, plain(err))
		case err != nil:
			d.note(Finding{File: name, Kind: Broken, Skipped: true, What: "the folder cannot be listed: " + plain(err).Error(), Do: "check your rights to it"})
			return nil
		case name != "." && hidden(name) && e.IsDir():
			return fs.SkipDir
		case e.IsDir() || hidden(name):
			return nil
		}
		info, err := fs.Stat(root.FS(), name)
		switch link := e.Type()&fs.ModeSymlink != 0; {
		case err != nil && link && kindOf(name) == kindOther && extension(name) != "":
			return nil // nothing that would have been read
		case err != nil && link:
			d.note(Finding{File: name, Kind: UnsafePath, Skipped: true, What: "this is a link that leads out of the folder or nowhere", Do: "copy the file into the folder instead"})
			return nil
		case err != nil:
			d.note(Finding{File: name, Kind: Broken, Skipped: true, What: "the file cannot be read: " + plain(err).Error(), Do: "check your rights to it"})
			return nil
		case info.IsDir():
			d.note(Finding{File: name, Kind: UnsafePath, Skipped: true, What: "this is a link to a folder, which is not followed", Do: "copy the folder into the set instead"})
			return nil
		case !info.Mode().IsRegular():
			return nil
		}
		files = append(files, file{name: name, size: info.Size(), open: func() (io.ReadCloser, error) { return root.Open(filepath.FromSlash(name)) }})
		return d.tooMany(len(files))
	})
	return files, err
}

func (d *Dataset) tooMany(n int) error {
	if n <= d.opts.MaxFiles {
		return nil
	}
	return fmt.Errorf("%s has more than %d files; choose a folder with the training pictures alone", d.Path, d.opts.MaxFiles)
}

// hidden reports files that systems leave behind and nobody means as data.
func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") && part != "." && part != ".." || part == "__MACOSX" || strings.EqualFold(part, "Thumbs.db") || strings.EqualFold(part, "desktop.ini") {
			return true
		}
	}
	return false
}

// openZip lists the files of an archive; entries that would leave it or that cannot be what they say are findings.
func (d *Dataset) openZip(name string) ([]file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("the archive %s cannot be opened: %w; check your rights to it", name, plain(err))
	}
	d.archive = f
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the archive %s cannot be read: %w", name, plain(err))
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, fmt.Errorf("%s is no zip archive that can be read (%w); it may be cut off: copy it again", name, err)
	}
	var files []file
	var packed uint64
	seen := map[string]bool{}
	for _, e := range z.File {
		if packed += e.CompressedSize64; e.CompressedSize64 > uint64(info.Size()) || packed > uint64(info.Size()) {
			return nil, fmt.Errorf("the archive %s claims more packed bytes than it has, as zip bombs do; make it again from the pictures", name)
		}
		if e.FileInfo().IsDir() || strings.HasSuffix(e.Name, `\`) {
			continue
		}
		entry, problem := zipEntry(e, seen)
		if problem != nil {
			d.note(*problem)
			continue
		}
		if hidden(entry.name) {
			continue
		}
		files = append(files, entry)
		if err := d.tooMany(len(files)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func zipEntry(e *zip.File, seen map[string]bool) (file, *Finding) {
	name, safe := safeName(e.Name)
	shown := strings.ToValidUTF8(strings.ReplaceAll(e.Name, "\x00", "�"), "�")
	switch {
	case !safe:
		return file{}, &Finding{File: shown, Kind: UnsafePath, Skipped: true, What: "the name leads out of the archive", Do: "make the archive again from a folder"}
	case seen[name]:
		return file{}, &Finding{File: shown, Kind: Duplicate, Skipped: true, What: "the archive has a second file of this name", Do: "rename one of them"}
	case e.Flags&1 != 0:
		return file{}, &Finding{File: shown, Kind: Unsupported, Skipped: true, What: "the file is encrypted", Do: "unpack the archive and use the folder"}
	case !e.Mode().IsRegular():
		return file{}, &Finding{File: shown, Kind: UnsafePath, Skipped: true, What: "this is a link, which is not followed", Do: "put the file itself into the archive"}
	}
	seen[name] = true
	return file{name: name, size: int64(min(e.UncompressedSize64, 1<<62)), open: e.Open, bomb: bomb(name, e)}, nil
}

// safeName cleans an archive's name for a file. It reports false for one that would land outside.
func safeName(name string) (string, bool) {
	name = strings.ReplaceAll(name, `\`, "/")
	if name == "" || strings.ContainsRune(name, 0) || strings.HasPrefix(name, "/") || len(name) > 1 && name[1] == ':' {
		return "", false
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", false
	}
	name = path.Clean(strings.ToValidUTF8(name, "�"))
	return name, name != "."
}

const (
	// deflateMost is the ratio that DEFLATE can reach at most: 258 bytes for two bits.
	deflateMost = 1032
	// pictureMost is a ratio that files which are compressed themselves do not reach.
	pictureMost = 100
	// harmless is a size that no ratio makes dangerous.
	harmless = 1 << 20
)

// bomb says why an archive's entry cannot be an honest file, judging by its sizes alone.
func bomb(name string, e *zip.File) string {
	most := uint64(deflateMost)
	switch extension(name) {
	case ".png", ".jpg", ".jpeg", ".webp", ".gif":
		most = pictureMost
	}
	if e.UncompressedSize64 <= harmless || e.UncompressedSize64/most <= e.CompressedSize64 {
		return ""
	}
	return fmt.Sprintf("%d packed bytes are said to unpack to %s, as in zip bombs", e.CompressedSize64, megabytes(int64(min(e.UncompressedSize64, 1<<62))))
}

// What files are, going by their names.
type fileKind int

const (
	kindOther fileKind = iota
	kindPicture
	kindFont
	kindForeign // a picture of a format that is not read
	kindArchive
	kindCaption
	kindMetadata
)

func kindOf(name string) fileKind {
	switch extension(name) {
	case ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp":
		return kindPicture
	case ".ttf", ".otf", ".ttc", ".otc":
		return kindFont
	case ".heic", ".heif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".psd", ".svg", ".ico", ".tga", ".exr", ".dng", ".cr2", ".nef", ".arw":
		return kindForeign
	case ".zip", ".tar", ".tgz", ".7z", ".rar":
		return kindArchive
	case ".txt", ".caption":
		return kindCaption
	case ".jsonl", ".csv", ".tsv", ".json":
		return kindMetadata
	}
	return kindOther
}

// extension is a name's ending in lower case, with the dot.
func extension(name string) string { return strings.ToLower(path.Ext(name)) }

// stem is the name without its ending.
func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }
