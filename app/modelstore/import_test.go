package modelstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImportAndRemove(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	ctx := context.Background()
	lora := put(t, "lora/kohya.safetensors", filepath.Join(dir, "k.safetensors"))
	write(t, filepath.Join(dir, "k.preview.png"), []byte("png"))
	var last, all int64
	e, err := s.Import(ctx, Import{Path: lora}, func(d, a int64) { last, all = d, a })
	if err != nil {
		t.Fatal(err)
	}
	if e.Path != filepath.Join(s.Own(), "loras", "k.safetensors") || e.Kind != LoRA || e.Thumbnail == "" || last != all || all == 0 {
		t.Errorf("%+v, %d of %d", e, last, all)
	}
	if got, _ := os.ReadFile(e.Path); len(got) == 0 || !isFile(lora) {
		t.Error("it was not copied")
	}
	if _, err := s.Import(ctx, Import{Path: lora}, nil); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("the same again: %v", err)
	}
	if _, err := s.Import(ctx, Import{Path: e.Path}, nil); err == nil {
		t.Error("its own file was brought in")
	}
	vae := put(t, "gan/rrdb.pth", filepath.Join(dir, "big.pth"))
	if e, err = s.Import(ctx, Import{Path: vae, Link: true}, nil); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(e.Path); err != nil || target != vae || filepath.Base(filepath.Dir(e.Path)) != "upscale_models" {
		t.Errorf("%s → %s, %v", e.Path, target, err)
	}
	putTree(t, "sd15/model", filepath.Join(dir, "whole"))
	if e, err = s.Import(ctx, Import{Path: filepath.Join(dir, "whole")}, nil); err != nil || e.Kind != Checkpoint || e.Problem != "" {
		t.Errorf("%+v, %v", e, err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	other := put(t, "lora/peft.safetensors", filepath.Join(dir, "p.safetensors"))
	if _, err := s.Import(stopped, Import{Path: other}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := s.Import(ctx, Import{Path: write(t, filepath.Join(dir, "t.txt"), []byte("no model"))}, nil); err == nil {
		t.Error("a text was brought in")
	}
	if _, err := s.Import(ctx, Import{Path: dir}, nil); err == nil || !strings.Contains(err.Error(), "link it") {
		t.Errorf("a folder of models: %v", err)
	}
	entries, problems := scan(t, s)
	if len(entries) != 3 || len(problems) != 0 {
		t.Errorf("%d entries, %v", len(entries), problems)
	}
	left, _ := filepath.Glob(filepath.Join(s.Own(), "*", ".import-*"))
	if len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := s.Remove("big"); err != nil || !isFile(vae) {
		t.Errorf("removing a link: %v", err)
	}
	if _, err := s.Remove("k"); err != nil || isFile(filepath.Join(s.Own(), "loras", "k.preview.png")) || !isFile(lora) {
		t.Errorf("removing a copy: %v", err)
	}
	if _, err := s.Remove("whole"); err != nil {
		t.Error(err)
	}
	if entries, _ = scan(t, s); len(entries) != 0 {
		t.Errorf("%v", entries)
	}
	s.Link(dir)
	scan(t, s)
	if _, err := s.Remove("p"); err == nil || !isFile(other) || !strings.Contains(err.Error(), "unlink") {
		t.Errorf("another program's model: %v", err)
	}
	if err := s.Unlink(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Unlink(dir); err == nil {
		t.Error("unlinked twice")
	}
	if later, err := Open(s.o); err != nil || len(later.Entries()) != 0 {
		t.Errorf("a later start still lists %v, %v", later.Entries(), err)
	}
	if entries, _ = scan(t, s); len(entries) != 0 {
		t.Errorf("%v", entries)
	}
}

// TestImportOfACircle: a link to a folder above it ends the copy before anything is copied twice.
func TestImportOfACircle(t *testing.T) {
	s := newStore(t)
	whole := filepath.Join(t.TempDir(), "whole")
	putTree(t, "sd15/model", whole)
	if os.Symlink(whole, filepath.Join(whole, "unet", "again")) != nil {
		t.Skip("no links here")
	}
	size := sizeOf(whole)
	most := int64(0)
	_, err := s.Import(context.Background(), Import{Path: whole}, func(done, _ int64) { most = max(most, done) })
	if err == nil || !strings.Contains(err.Error(), "again in it leads in a circle") {
		t.Errorf("%v", err)
	}
	if most > size {
		t.Errorf("%d bytes copied of %d", most, size)
	}
	if left, _ := os.ReadDir(filepath.Join(s.Own(), ownFolders[Checkpoint])); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
