package training

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// writeFile writes a file whole or not at all.
func writeFile(path string, fill func(f *os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return unsaved(path, err)
	}
	for _, step := range []func() error{func() error { return fill(f) }, func() error { return f.Chmod(0o644) }, f.Sync, f.Close, func() error { return os.Rename(f.Name(), path) }} {
		if err = step(); err != nil {
			f.Close() // closing twice is harmless
			os.Remove(f.Name())
			return unsaved(path, err)
		}
	}
	return nil
}

func writeText(path, text string) error {
	return writeFile(path, func(f *os.File) error {
		_, err := f.WriteString(text)
		return err
	})
}

// unsaved says in one sentence why a file could not be written.
func unsaved(path string, err error) error {
	why := err.Error()
	switch {
	case errors.Is(err, syscall.ENOSPC):
		why = "the disk is full; free some space"
	case errors.Is(err, fs.ErrPermission):
		why = "there is no permission to write there; choose another folder"
	case errors.Is(err, fs.ErrNotExist):
		why = "its folder is gone; make it anew"
	}
	return &saveError{fmt.Sprintf("%s was not saved: %s", path, why), err}
}

// saveError is a file that could not be written.
type saveError struct {
	text  string
	cause error
}

func (e *saveError) Error() string { return e.text }
func (e *saveError) Unwrap() error { return e.cause }
