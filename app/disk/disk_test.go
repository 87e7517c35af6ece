package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceIsWholeAndMakesItsFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "settings.json")
	for _, text := range []string{"one", "two"} {
		if err := Replace(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMoveNewNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	os.WriteFile(from, []byte("new"), 0o644)
	os.WriteFile(to, []byte("old"), 0o644)
	if err := MoveNew(from, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another's file: %v", err)
	}
	if got, _ := os.ReadFile(to); string(got) != "old" {
		t.Errorf("now %q", got)
	}
	if err := MoveNew(from, filepath.Join(dir, "free")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(from); err == nil {
		t.Error("the old name is still there")
	}
}

func TestFreeAnswersForFoldersThatAreNotThereYet(t *testing.T) {
	free, err := Free(filepath.Join(t.TempDir(), "not", "yet"))
	if err != nil || free <= 0 {
		t.Errorf("%d, %v", free, err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	a, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !Lock(a) || Lock(b) {
		t.Error("two have the lock")
	}
	a.Close()
	if !Lock(b) {
		t.Error("closing does not release")
	}
}
