//go:build cgo

package opengl

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// diskCacheBytes bounds the folder of linked programs; the ones used longest ago go first.
const diskCacheBytes = 64 << 20

// diskCache keeps linked programs in files named by driver and source. An entry is a checksum of the rest, the driver's
// format number, and the binary. Every failure to read or write is only a missed shortcut.
type diskCache struct {
	dir    string // empty: no cache
	driver [32]byte
}

func openDiskCache(dir string, driver [32]byte) *diskCache {
	c := &diskCache{driver: driver}
	if dir == "" {
		return c
	}
	dir = filepath.Join(dir, "programs")
	if os.MkdirAll(dir, 0o700) != nil {
		return c
	}
	c.dir = dir
	c.trim()
	return c
}

func (c *diskCache) path(source [32]byte) string {
	h := sha256.Sum256(append(append([]byte(nil), c.driver[:]...), source[:]...))
	return filepath.Join(c.dir, hex.EncodeToString(h[:16])+".bin")
}

// get gives the format and binary for a source, or nothing. A damaged entry is removed.
func (c *diskCache) get(source [32]byte) (uint32, []byte) {
	if c.dir == "" {
		return 0, nil
	}
	path := c.path(source)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, nil
	}
	if len(data) <= 36 || sha256.Sum256(data[32:]) != [32]byte(data[:32]) {
		c.drop(source)
		return 0, nil
	}
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
		now := time.Now()
		os.Chtimes(path, now, now) // trim goes by this
	}
	return binary.LittleEndian.Uint32(data[32:]), data[36:]
}

func (c *diskCache) put(source [32]byte, format uint32, program []byte) {
	if c.dir == "" {
		return
	}
	data := make([]byte, 36+len(program))
	binary.LittleEndian.PutUint32(data[32:], format)
	copy(data[36:], program)
	sum := sha256.Sum256(data[32:])
	copy(data, sum[:])
	writeAtomically(c.path(source), data)
}

func (c *diskCache) drop(source [32]byte) {
	if c.dir != "" {
		os.Remove(c.path(source))
	}
}

// trim removes the oldest entries beyond the bound, and temporary files that a killed process left.
func (c *diskCache) trim() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var infos []fs.FileInfo
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if filepath.Ext(e.Name()) != ".bin" {
			if time.Since(info.ModTime()) > time.Hour {
				os.Remove(filepath.Join(c.dir, e.Name()))
			}
			continue
		}
		infos = append(infos, info)
		total += info.Size()
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].ModTime().Before(infos[j].ModTime()) })
	for _, info := range infos {
		if total <= diskCacheBytes {
			break
		}
		os.Remove(filepath.Join(c.dir, info.Name()))
		total -= info.Size()
	}
}

// writeAtomically replaces path by data as a whole, or leaves it as it was.
func writeAtomically(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
