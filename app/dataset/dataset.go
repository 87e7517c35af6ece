// Package dataset reads the pictures and captions that models are trained on: from a folder or a zip archive, checked before
// training, cut to size in batches that a seed determines, and described in a report on what they over-represent.
//
// Nothing that a file says about itself is believed: sizes are bounded before anything is decoded, names cannot leave the
// archive, and one bad file is a finding in a list and never the end of the run.
package dataset

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// The bounds of Options where nobody sets others.
const (
	DefaultMaxPixels    = 64 << 20  // 8192 × 8192: 256 MB decoded
	DefaultMaxFileBytes = 256 << 20 // of one picture
	DefaultMaxFiles     = 1_000_000
)

// Options are the choices of Open; the zero value suits most sets.
type Options struct {
	Captions     []Origin // where captions are looked for, the first that has one wins; nil means Origins()
	MaxPixels    int64    // larger pictures are refused by their header; 0 means DefaultMaxPixels
	MaxFileBytes int64    // larger files are refused before they are read; 0 means DefaultMaxFileBytes
	MaxFiles     int      // more files are an error; 0 means DefaultMaxFiles
	Folders      bool     // a split parts no folder, whatever its pictures look like: those of one folder come from one thing

	Glyphs GlyphOptions // letters to draw where there are fonts and no pictures; if set, fonts are drawn in any case
}

// Origin says where a caption comes from.
type Origin string

// The origins of captions.
const (
	FromText       Origin = "text"       // a file of the same name that ends in .txt or .caption
	FromMetadata   Origin = "metadata"   // metadata.jsonl, metadata.csv, a JSON file in kohya's form, or one beside the picture
	FromParameters Origin = "parameters" // the prompt inside a PNG file
	FromName       Origin = "name"       // the words of the file's name, or else of its folder's
)

// Origins lists all origins in the order in which Open tries them.
func Origins() []Origin { return []Origin{FromText, FromMetadata, FromParameters, FromName} }

// Item is one picture of a set.
type Item struct {
	Name         string   // relative to the set, with slashes
	Caption      string   // one line; empty where none was found
	Alternatives []string // further captions, where the source has several
	Origin       Origin   // of Caption; empty without one
	Repeats      int      // times an epoch, from a folder named "10_what it shows"; else 1
	Format       string   // "png", "jpeg", "webp", "gif", "bmp"; empty where the header cannot be read
	Width        int      // pixels, upright; 0 where the header cannot be read
	Height       int
	Bytes        int64 // of the file

	turn    int      // EXIF orientation, 1 to 8
	problem *Finding // why the picture cannot be read, as far as the header tells
	file    file
	group   string                  // what a split must not part, such as a typeface or a folder; empty where looks decide
	blank   string                  // a caption file that says nothing
	look    atomic.Pointer[measure] // once the pixels have been looked at
}

// Dataset is an open set of pictures. Its methods may be called from several goroutines.
type Dataset struct {
	Path  string
	Items []*Item   // by name
	Notes []Finding // what Open noticed: files it passed over, captions without a picture
	Fonts []Font    // that the pictures were drawn from, if they were

	opts    Options
	archive io.Closer // nil for a view of another set
}

// Open lists the pictures and captions of a folder, with all folders in it, or of a zip archive. It reads headers and captions,
// no pixels; Check does that. Files that are no pictures are passed over, but of fonts (.ttf, .otf, .ttc, .otc) without pictures the
// letters are drawn, with the letter as caption. The error says why the set as a whole cannot be used.
func Open(path string, o Options) (*Dataset, error) {
	d, files, err := openFiles(path, o.filled())
	if err != nil {
		return nil, err
	}
	err = d.collect(files)
	if err == nil && len(d.Items) == 0 {
		err = fmt.Errorf("there are no pictures in %s; put png, jpeg, webp, gif or bmp files there", path)
		if len(d.Notes) > 0 {
			err = fmt.Errorf("there is nothing to train on in %s; %w", path, &d.Notes[0])
		}
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// openFiles lists the files of a folder or an archive.
func openFiles(path string, o Options) (*Dataset, []file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("the dataset %s cannot be read: %w; check the path", path, plain(err))
	}
	d := &Dataset{Path: path, opts: o}
	var files []file
	switch {
	case info.IsDir():
		files, err = d.openFolder(path)
	case strings.EqualFold(filepath.Ext(path), ".zip"):
		files, err = d.openZip(path)
	default:
		return nil, nil, fmt.Errorf("%s is neither a folder nor a zip archive; give the folder that the pictures are in", path)
	}
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	return d, files, nil
}

func (o Options) filled() Options {
	if o.Captions == nil {
		o.Captions = Origins()
	}
	if o.MaxPixels <= 0 {
		o.MaxPixels = DefaultMaxPixels
	}
	if o.MaxFileBytes <= 0 {
		o.MaxFileBytes = DefaultMaxFileBytes
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = DefaultMaxFiles
	}
	return o
}

// Close lets go of the folder or archive. Views made by Subset end with it.
func (d *Dataset) Close() error {
	if d.archive == nil {
		return nil
	}
	return d.archive.Close()
}

// Subset is a view of the items at these indices, in this order. It stays open as long as d does.
func (d *Dataset) Subset(indices []int) *Dataset {
	s := &Dataset{Path: d.Path, opts: d.opts, Items: make([]*Item, len(indices))}
	for i, n := range indices {
		s.Items[i] = d.Items[n]
	}
	return s
}

// collect sorts the files into pictures, captions and metadata, and joins them.
func (d *Dataset) collect(files []file) error {
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	captions := newCaptions(d)
	var pictures, fonts []file
	for _, f := range files {
		switch kind := kindOf(f.name); kind {
		case kindPicture:
			pictures = append(pictures, f)
		case kindFont:
			fonts = append(fonts, f)
		case kindForeign:
			d.note(Finding{File: f.name, Kind: Unsupported, Skipped: true, What: fmt.Sprintf("%s files are not read", extension(f.name)), Do: "save the picture as PNG, JPEG or WebP"})
		case kindArchive:
			d.note(Finding{File: f.name, Kind: Unsupported, Skipped: true, What: "this is an archive inside the set, which is not opened", Do: "unpack it"})
		case kindCaption, kindMetadata:
			captions.add(f)
		}
	}
	stems := map[string]bool{}
	for _, f := range pictures {
		stems[stem(f.name)] = true
	}
	if len(fonts) > 0 && (len(pictures) == 0 || d.opts.Glyphs != (GlyphOptions{})) {
		return d.draw(fonts)
	}
	captions.read(stems)
	for _, f := range pictures {
		item := &Item{Name: f.name, Bytes: f.size, Repeats: repeats(f.name), turn: 1, file: f}
		item.readHeader(d.opts)
		if captions.caption(item); d.opts.Folders {
			item.group = path.Dir(f.name)
		}
		d.Items = append(d.Items, item)
	}
	captions.orphans(pictures)
	return nil
}

func (d *Dataset) note(f Finding) { d.Notes = append(d.Notes, f) }

// Picture reads item i: upright, premultiplied by its alpha. The error is a *Finding.
func (d *Dataset) Picture(ctx context.Context, i int) (*image.RGBA, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := d.Items[i].read(d.opts)
	if err != nil {
		return nil, err
	}
	return d.Items[i].decode(data, d.opts)
}

// read gives the bytes of the picture's file, no more than the options allow.
func (it *Item) read(o Options) ([]byte, error) {
	if it.problem != nil {
		return nil, it.problem
	}
	data, err := it.file.read(o.MaxFileBytes)
	if err != nil {
		return nil, it.fail(err)
	}
	return data, nil
}

// fail makes a finding of an error that reading the item ended in.
func (it *Item) fail(err error) *Finding {
	var f *Finding
	if errors.As(err, &f) {
		f.File = it.Name
		return f
	}
	return &Finding{File: it.Name, Kind: Broken, Skipped: true, What: "the file cannot be read: " + plain(err).Error(), Do: "check the disk and your rights, or remove the file"}
}

// plain drops the operation and path that file errors repeat.
func plain(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
