// Package library puts finished pictures on disk: as PNG files that say how they were made, whole or not at all.
package library

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/adrg/xdg"
)

// DefaultFolder is Atelier in the user's pictures folder. It need not exist.
func DefaultFolder() string { return filepath.Join(xdg.UserDirs.Pictures, "Atelier") }

// Library saves pictures in dated folders under one root. Its methods may be called from any goroutine.
type Library struct {
	now func() time.Time

	mu   sync.Mutex
	root string
}

// New gives a library under root, or under DefaultFolder if root is empty. Folders are made when first needed.
func New(root string) *Library {
	l := &Library{now: time.Now}
	l.SetRoot(root)
	return l
}

// Root is the folder that dated folders are made in.
func (l *Library) Root() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.root
}

// SetRoot changes the folder for pictures saved from now on; empty means DefaultFolder.
func (l *Library) SetRoot(root string) {
	if root == "" {
		root = DefaultFolder()
	}
	l.mu.Lock()
	l.root = root
	l.mu.Unlock()
}

// Folder is where a picture saved now would go: root/2026-11-23.
func (l *Library) Folder() string {
	return filepath.Join(l.Root(), l.now().Format("2006-01-02"))
}

// Save writes the picture as 00000-<seed>.png, with the next free number, in today's folder, and returns its path.
// It never overwrites, also when several processes save at once. The error is a *SaveError.
func (l *Library) Save(img *image.NRGBA, meta Meta) (string, error) {
	folder := l.Folder()
	data, err := Encode(img, meta)
	if err != nil {
		return "", keepError(folder, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", keepError(folder, err)
	}
	number, part, err := reserve(folder, l.now())
	if err != nil {
		return "", keepError(folder, err)
	}
	path := filepath.Join(folder, fmt.Sprintf("%05d-%d.png", number, meta.Seed))
	if err := finish(part, data, path, false); err != nil {
		return "", keepError(path, err)
	}
	return path, nil
}

// WriteTo writes the picture to a path that somebody named, replacing a file that is there. The error is a *SaveError.
func WriteTo(path string, img *image.NRGBA, meta Meta) error { return writeTo(path, img, meta, true) }

// WriteNew is WriteTo for a path where nothing may be yet; otherwise the error matches fs.ErrExist and the file stays.
func WriteNew(path string, img *image.NRGBA, meta Meta) error { return writeTo(path, img, meta, false) }

func writeTo(path string, img *image.NRGBA, meta Meta, replace bool) error {
	if err := checkName(path); err != nil {
		return err
	}
	data, err := Encode(img, meta)
	if err != nil {
		return saveError(path, err)
	}
	return place(path, data, replace)
}

// Rescue writes a picture that could not be saved where it should be, or not yet, to the folder for temporary files.
func Rescue(img *image.NRGBA, meta Meta) (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("atelier-%d-%d.png", os.Getpid(), meta.Seed))
	return path, WriteNew(path, img, meta)
}

// WriteFile writes a file of any kind as WriteTo writes pictures: whole or not at all, in place of one that is there. The error is a
// *SaveError.
func WriteFile(path string, data []byte) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return &SaveError{Path: path, Reason: "this is a folder", Advice: "give the name of a file", Err: errors.ErrUnsupported}
	}
	return place(path, data, true)
}

func place(path string, data []byte, replace bool) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return saveError(path, err)
	}
	if _, err := os.Lstat(path); err == nil && !replace {
		return saveError(path, fs.ErrExist)
	}
	part, err := os.CreateTemp(folder, ".atelier-*.part")
	if err != nil {
		return saveError(path, err)
	}
	part.Chmod(0o644) // temporary files are private; a picture is as readable as others. Best effort: some file systems have no modes.
	if err := finish(part, data, path, replace); err != nil {
		return saveError(path, err)
	}
	return nil
}

var numbered = regexp.MustCompile(`^\.?(\d{5,9})[-.]`)

// stale is the age from which a reservation counts as left behind by a process that died.
const stale = time.Hour

// reserve finds the next free number in a folder and holds it by an exclusively created hidden file .NNNNN.png.part,
// which is also what the picture is first written to. The number is free as long as that file is there: every process
// reserves before it writes, and looks again after it has reserved.
func reserve(folder string, now time.Time) (int, *os.File, error) {
	for try := 0; try < 1000; try++ {
		number, err := nextNumber(folder, now)
		if err != nil {
			return 0, nil, err
		}
		name := filepath.Join(folder, fmt.Sprintf(".%05d.png.part", number))
		part, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		// Another process may have finished this number between our look and our reservation.
		taken, err := filepath.Glob(filepath.Join(globEscape(folder), fmt.Sprintf("%05d-*", number)))
		if err == nil && len(taken) == 0 {
			return number, part, nil
		}
		part.Close()
		os.Remove(name)
	}
	return 0, nil, errors.New("no free file name was found in a thousand tries")
}

// nextNumber is one more than the highest number in use or reserved. It removes reservations that are stale.
func nextNumber(folder string, now time.Time) (int, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	next := 0
	for _, e := range entries {
		m := numbered.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		if strings.HasSuffix(e.Name(), ".png.part") {
			if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > stale {
				os.Remove(filepath.Join(folder, e.Name()))
				continue
			}
		}
		n, err := strconv.Atoi(m[1])
		if err == nil && n >= next {
			next = n + 1
		}
	}
	return next, nil
}

func globEscape(path string) string {
	return regexp.MustCompile(`([*?\[\\])`).ReplaceAllString(path, `\$1`)
}
