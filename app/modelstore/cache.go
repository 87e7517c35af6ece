package modelstore

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	"atelier/app/disk"
)

// cacheVersion changes when entries mean something else than they did.
const cacheVersion = 1

// cache is what scans found, so that the next one opens only what changed.
type cache struct {
	Version      int               `json:"version"`
	Program      string            `json:"program"`                // that looked: another may know more, or judge otherwise
	Models       map[string]cached `json:"models"`                 // by path
	Vocabularies []string          `json:"vocabularies,omitempty"` // folders with vocab.json and merges.txt
}

// cached is a model with the state of its files when it was looked at.
type cached struct {
	Stamp   string `json:"stamp"`
	Weights string `json:"weights"`        // the part of the stamp without what lies beside the model
	Away    bool   `json:"away,omitempty"` // with its folder, as when a disk is unplugged
	Entry
}

// readCache gives what is kept, or an empty cache where that is missing, damaged or of another version: it can be found again.
func readCache(path string) *cache {
	c := &cache{}
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, c) != nil || c.Version != cacheVersion || c.Models == nil {
		c = &cache{Version: cacheVersion, Models: map[string]cached{}}
	}
	if now := thisProgram(); c.Program != now {
		for path, m := range c.Models {
			m.Stamp = "" // look again, but keep the hashes
			c.Models[path] = m
		}
		c.Program = now
	}
	return c
}

// thisProgram tells builds of the program apart.
func thisProgram() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())
}

func (c *cache) write(path string) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return disk.Replace(path, data, 0o600)
}

// prune drops what a scan did not find. What is missing together with all else in its folder is only away: its hashes, which may have taken
// an hour, are kept for when the disk is back.
func (c *cache) prune(found []candidate) {
	keep := make(map[string]bool, len(found))
	for _, f := range found {
		keep[f.path] = true
	}
	for path, m := range c.Models {
		switch m.Away = !keep[path]; {
		case m.Away && len(dirNames(filepath.Dir(path))) > 0:
			delete(c.Models, path)
		default:
			c.Models[path] = m
		}
	}
}

// weights is the state of a candidate's own files: size and time of change of one, or a hash over those of a folder or of shards.
func (c *candidate) weights() string {
	h := fnv.New64a()
	add := func(path string, info fs.FileInfo) {
		fmt.Fprintf(h, "%s|%d|%d\n", filepath.Base(path), info.Size(), info.ModTime().UnixNano())
	}
	if c.folder {
		left := 10_000
		filepath.WalkDir(c.path, func(p string, d fs.DirEntry, err error) error {
			if left--; left < 0 {
				return filepath.SkipAll
			}
			if err == nil && !d.IsDir() {
				if info, err := os.Stat(p); err == nil {
					add(p, info)
				}
			}
			return nil
		})
	} else {
		for _, f := range c.files() {
			if info, err := os.Stat(f); err == nil {
				add(f, info)
			}
		}
	}
	return fmt.Sprintf("%d-%x", c.size, h.Sum64())
}

// stamp is the state of a candidate's files and of those beside it that speak of it.
func (c *candidate) stamp() string {
	h := fnv.New64a()
	dir := filepath.Dir(c.path)
	look := func(path string) {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(h, "%s|%d|%d\n", path, info.Size(), info.ModTime().UnixNano())
		}
	}
	for _, name := range besideNames(*c) {
		if c.folder || c.beside.has[name] {
			look(filepath.Join(dir, name))
		}
	}
	for _, name := range []string{"config.json", "README.md"} {
		if c.beside.has[name] {
			look(filepath.Join(dir, name))
		}
	}
	return fmt.Sprintf("%s-%x-%s", c.weights(), h.Sum64(), c.place.kind)
}
