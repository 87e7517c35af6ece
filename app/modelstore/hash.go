package modelstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atelier/app/disk"
	"atelier/models/checkpoint"
)

// Hash gives the hashes of a model, which it reads whole unless they are known of this state of its files. Of a folder, they are those
// of the denoiser's files, or the generator's, in order. It takes minutes for large models: progress, which may be nil, is told the bytes read and all
// bytes.
func (s *Store) Hash(ctx context.Context, path string, progress func(done, all int64)) (Hashes, error) {
	e, err := s.Find(path)
	if err != nil {
		return Hashes{}, err
	}
	if h, known := s.hashesNow(e.Path); known {
		return h, nil
	}
	s.hashing.Lock() // two at once would only make the disk's head jump
	defer s.hashing.Unlock()
	if h, known := s.hashesNow(e.Path); known { // done meanwhile
		return h, nil
	}
	before := weightsAt(e.Path)
	files, err := filesToHash(e)
	if err != nil {
		return Hashes{}, err
	}
	h, err := hashFiles(ctx, files, progress)
	if err != nil {
		return Hashes{}, err
	}
	if weightsAt(e.Path) != before {
		return Hashes{}, fmt.Errorf("%s changed while it was read, so its hash would be of no file; hash it again", e.Path)
	}
	return h, s.keepHashes(e.Path, before, h)
}

// weightsAt is the state now of the files of the model at a path; "" where there is none.
func weightsAt(path string) string {
	c, err := candidateAt(path)
	if err != nil {
		return ""
	}
	return c.weights()
}

// hashesNow gives the hashes that are known of the files as they are now.
func (s *Store) hashesNow(path string) (h Hashes, known bool) {
	now := weightsAt(path) // before the lock, which the window waits for: it asks the disk
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cache.Models[path]
	return c.Hashes, c.SHA256 != "" && c.Weights == now
}

// keepHashes keeps what belongs to the files in the state weights; a scan that finds another one forgets it.
func (s *Store) keepHashes(path, weights string, h Hashes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.entries {
		if s.entries[i].Path == path {
			s.entries[i].Hashes = h
		}
	}
	if c, ok := s.cache.Models[path]; ok {
		c.Hashes, c.Weights = h, weights
		s.cache.Models[path] = c
	}
	if err := s.cache.write(s.o.Cache); err != nil {
		return fmt.Errorf("the hash could not be kept in %s: %s", s.o.Cache, disk.Reason(err))
	}
	return nil
}

// Checked keeps the SHA-256 that a download was checked by, so that the file is not read again. Other files than models pass.
func (s *Store) Checked(path, sha256 string) error {
	if _, known := s.hashesNow(path); known || len(sha256) != 64 {
		return nil
	}
	return s.keepHashes(path, weightsAt(path), hashesOf(sha256))
}

func hashesOf(sha256 string) Hashes {
	return Hashes{SHA256: sha256, Short: sha256[:10], AutoV2: strings.ToUpper(sha256[:10])}
}

// HashQuietly is Hash for models that nobody waits for: it rests twice as long as it reads, so that others get at the disk.
func (s *Store) HashQuietly(ctx context.Context, path string) (Hashes, error) {
	const rest = 2
	from := time.Now()
	return s.Hash(ctx, path, func(int64, int64) {
		select {
		case <-ctx.Done():
		case <-time.After(rest * time.Since(from)):
		}
		from = time.Now()
	})
}

func filesToHash(e Entry) ([]string, error) {
	info, err := os.Stat(e.Path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %s", e.Path, disk.Reason(err))
	}
	dir, base := filepath.Split(e.Path)
	if info.IsDir() {
		fsys := os.DirFS(e.Path)
		for _, part := range []string{"unet", "generator", "."} {
			name, err := checkpoint.ComponentFile(fsys, part)
			if err != nil {
				continue
			}
			return localFiles(e.Path, name)
		}
		return nil, fmt.Errorf("%s has no weights to hash", e.Path)
	}
	if strings.Contains(base, ".index.") {
		return localFiles(dir, base)
	}
	return []string{e.Path}, nil
}

// localFiles are the files behind a name in a folder: itself, or the shards of an index.
func localFiles(dir, name string) ([]string, error) {
	files, err := checkpoint.Files(os.DirFS(dir), filepath.ToSlash(name))
	for i, f := range files {
		files[i] = filepath.Join(dir, filepath.FromSlash(f))
	}
	return files, err
}

// hashFiles reads files one after the other as if they were one.
func hashFiles(ctx context.Context, files []string, progress func(done, all int64)) (Hashes, error) {
	all := int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return Hashes{}, fmt.Errorf("%s cannot be read: %s", f, disk.Reason(err))
		}
		all += info.Size()
	}
	whole, body := sha256.New(), sha256.New()
	done, headless := int64(0), len(files) == 1
	for _, name := range files {
		skip := int64(-1)
		if headless {
			skip = headerSize(name)
		}
		err := readThrough(ctx, name, func(data []byte) {
			whole.Write(data)
			if skip >= 0 {
				body.Write(data[min(skip, int64(len(data))):])
				skip -= min(skip, int64(len(data)))
			}
			if done += int64(len(data)); progress != nil {
				progress(done, all)
			}
		})
		if err != nil {
			return Hashes{}, err
		}
		headless = headless && skip >= 0
	}
	h := hashesOf(hexOf(whole))
	if headless {
		h.AutoV3 = strings.ToUpper(hexOf(body)[:12])
	}
	return h, nil
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// headerSize is how many bytes of a safetensors file come before its tensors; −1 for other files.
func headerSize(name string) int64 {
	f, err := os.Open(name)
	if err != nil || formatOf(name) != "safetensors" {
		return -1
	}
	defer f.Close()
	var n [8]byte
	info, err := f.Stat()
	if _, readErr := io.ReadFull(f, n[:]); err != nil || readErr != nil {
		return -1
	}
	if size := binary.LittleEndian.Uint64(n[:]); size <= uint64(info.Size()) {
		return 8 + int64(size)
	}
	return -1
}

// readThrough hands a file's bytes on, a megabyte at a time.
func readThrough(ctx context.Context, name string, take func(data []byte)) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%s cannot be read: %s", name, disk.Reason(err))
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := f.Read(buf)
		take(buf[:n])
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s cannot be read: %s", name, disk.Reason(err))
		}
	}
}
