package library

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// CheckPath says before any work is done whether a picture can be written to path. The error is a *SaveError.
func CheckPath(path string) error {
	if err := checkName(path); err != nil {
		return err
	}
	return CheckFolder(filepath.Dir(path))
}

// checkName refuses what cannot be the name of a picture's file.
func checkName(path string) error {
	if ext := strings.ToLower(filepath.Ext(path)); ext != ".png" {
		return &SaveError{Path: path, Reason: fmt.Sprintf("pictures are written as .png, not %q", ext), Advice: "give a name that ends in .png", Err: errors.ErrUnsupported}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return &SaveError{Path: path, Reason: "this is a folder", Advice: "give the name of a file", Err: errors.ErrUnsupported}
	}
	return nil
}

// CheckFolder says whether files can be written to a folder, which is made where it is missing. The error is a *SaveError.
func CheckFolder(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return saveError(folder, err)
	}
	f, err := os.CreateTemp(folder, ".atelier-*.part")
	if err != nil {
		return saveError(folder, err)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return saveError(folder, err)
	}
	return nil
}
