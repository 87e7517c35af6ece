package dataset

import (
	"image"
	"io"
	"os"
	"path/filepath"
)

// ReadPicture reads one picture file (PNG, JPEG, GIF, BMP or WebP) as pictures of sets are read: upright, with the limits of
// Options. The error is a *Finding.
func ReadPicture(path string) (*image.RGBA, error) {
	it := &Item{Name: filepath.Base(path)}
	info, err := os.Stat(path)
	if err != nil {
		return nil, it.fail(err)
	}
	if !info.Mode().IsRegular() {
		return nil, &Finding{File: it.Name, Kind: Broken, What: "this is not a picture file", Do: "choose another"}
	}
	it.file = file{name: it.Name, size: info.Size(), open: func() (io.ReadCloser, error) { return os.Open(path) }}
	o := Options{}.filled()
	if it.readHeader(o); it.problem != nil {
		return nil, it.problem
	}
	data, err := it.read(o)
	if err != nil {
		return nil, it.fail(err)
	}
	return it.decode(data, o)
}
