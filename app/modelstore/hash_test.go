package modelstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHash(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	path := put(t, "lora/kohya.safetensors", filepath.Join(dir, "x.safetensors"))
	s.Link(dir)
	scan(t, s)
	data, _ := os.ReadFile(path)
	sum := sha256.Sum256(data)
	want := hex.EncodeToString(sum[:])
	body := sha256.Sum256(data[8+binary.LittleEndian.Uint64(data):])
	var last, all int64
	h, err := s.Hash(context.Background(), "x", func(d, a int64) { last, all = d, a })
	if err != nil || h.SHA256 != want || h.Short != want[:10] || h.AutoV2 != strings.ToUpper(want[:10]) || h.AutoV3 != strings.ToUpper(hex.EncodeToString(body[:])[:12]) {
		t.Errorf("%+v, %v; want %s", h, err, want)
	}
	if last != int64(len(data)) || all != last {
		t.Errorf("progress ended at %d of %d", last, all)
	}
	unread := func(int64, int64) { t.Error("the second time, it is read again") }
	if again, err := s.Hash(context.Background(), path, unread); err != nil || again != h {
		t.Errorf("%+v, %v", again, err)
	}
	done, stop := context.WithCancel(context.Background())
	stop()
	put(t, "lora/peft.safetensors", filepath.Join(dir, "y.safetensors"))
	scan(t, s)
	if _, err := s.Hash(done, "y", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := s.HashQuietly(done, "y"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	quiet, err := s.HashQuietly(context.Background(), "y")
	if err != nil || len(quiet.SHA256) != 64 || quiet.Short != quiet.SHA256[:10] {
		t.Errorf("in the background: %+v, %v", quiet, err)
	}
	if list := Search(s.Entries(), Query{Words: quiet.Short}); len(list) != 1 || list[0].Hashes != quiet {
		t.Errorf("its hash finds %+v", list)
	}
	if list := Search(s.Entries(), Query{Words: quiet.Short[:4]}); len(list) != 0 {
		t.Errorf("a few digits find %+v", list)
	}
}

// TestHashedWhileScanned: what is hashed while a scan runs is not forgotten at its end.
func TestHashedWhileScanned(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	path := tensors(t, filepath.Join(dir, "a.safetensors"), nil, map[string][]int{"x": {1}})
	s.Link(dir)
	sum := strings.Repeat("ab", 32)
	list, _, err := s.Scan(context.Background(), func(n Scanning) {
		if n.Read == 1 {
			if err := s.Checked(path, sum); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || len(list) != 1 || list[0].SHA256 != sum {
		t.Errorf("%+v, %v", list, err)
	}
	if e, err := s.Find(path); err != nil || e.SHA256 != sum {
		t.Errorf("afterwards %+v, %v", e, err)
	}
}

// TestHashesBelongToTheirFile: a file that changed, before or after its hash was asked for, has none of another state.
func TestHashesBelongToTheirFile(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	path := tensors(t, filepath.Join(dir, "a.safetensors"), nil, map[string][]int{"x": {1}})
	s.Link(dir)
	scan(t, s)
	first, err := s.Hash(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	change := func(n int) {
		tensors(t, path, nil, map[string][]int{"x": {n}})
		later := time.Now().Add(time.Duration(n) * time.Hour)
		os.Chtimes(path, later, later)
	}
	change(2)
	second, err := s.Hash(t.Context(), path, nil) // before any scan
	if err != nil || second.SHA256 == first.SHA256 {
		t.Errorf("the changed file still has the hash %s, %v", second.Short, err)
	}
	if list, _ := scan(t, s); len(list) != 1 || list[0].Hashes != second {
		t.Errorf("a scan after the hash found %+v, want %+v", list, second)
	}
	change(3)
	if list, _ := scan(t, s); len(list) != 1 || list[0].SHA256 != "" {
		t.Errorf("the changed file keeps the hash in a scan: %+v", list)
	}
	changed := false
	if _, err := s.Hash(t.Context(), path, func(int64, int64) {
		if !changed {
			changed = true
			change(4)
		}
	}); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("a file that changed under the hash gives %v", err)
	}
	if e, _ := s.Find(path); e.SHA256 != "" {
		t.Errorf("it has the hash %s", e.Short)
	}
}

// TestUnpluggedDisk: hashes outlast a linked folder that is away for a while, or an empty place where its disk was; models in it are not listed.
func TestUnpluggedDisk(t *testing.T) {
	s := newStore(t)
	root := t.TempDir()
	disk, elsewhere := filepath.Join(root, "disk"), filepath.Join(root, "elsewhere")
	path := tensors(t, filepath.Join(disk, "sub", "a.safetensors"), nil, map[string][]int{"x": {1}})
	other := tensors(t, filepath.Join(disk, "b.safetensors"), nil, map[string][]int{"x": {2}})
	s.Link(disk)
	scan(t, s)
	for _, p := range []string{path, other} {
		if _, err := s.Hash(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, empty := range []bool{false, true} {
		if err := os.Rename(disk, elsewhere); err != nil {
			t.Fatal(err)
		}
		if empty {
			os.Mkdir(disk, 0o755)
		}
		if list, _ := scan(t, s); len(list) != 0 {
			t.Errorf("without the disk there are %+v", list)
		}
		again, err := Open(s.o)
		if err != nil || len(again.Entries()) != 0 {
			t.Errorf("a new start lists %+v, %v", again.Entries(), err)
		}
		os.Remove(disk)
		if err := os.Rename(elsewhere, disk); err != nil {
			t.Fatal(err)
		}
		if list, _ := scan(t, again); len(list) != 2 || list[0].SHA256 == "" || list[1].SHA256 == "" || len(again.Entries()) != 2 {
			t.Errorf("with the disk back there are %+v", list)
		}
		s = again
	}
	os.Remove(other) // of a folder that is there
	scan(t, s)
	if _, kept := s.cache.Models[other]; kept || len(s.cache.Models) != 1 {
		t.Errorf("what was deleted is still known: %v", s.cache.Models)
	}
}
