// Package disk is how the studio's own files reach the disk: whole or not at all, never over another's, and with a word on why
// not that people understand.
package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// Replace writes a file whole or not at all, with the given permissions, in place of what is there. Its folder is made where it
// is missing.
func Replace(path string, data []byte, perm fs.FileMode) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	SyncFolder(folder)
	return nil
}

// MoveNew renames without ever replacing: a hard link fails with fs.ErrExist if the name is taken, where a rename would not. On
// file systems without hard links it looks first; there only a reservation of the caller's keeps others away.
func MoveNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, lookErr := os.Lstat(to); lookErr == nil {
		return fs.ErrExist
	}
	return os.Rename(from, to)
}

// SyncFolder makes a rename durable. Not every system can; the file itself is safe by then, so it is best effort.
func SyncFolder(folder string) {
	if d, err := os.Open(folder); err == nil {
		d.Sync()
		d.Close()
	}
}

// Full reports whether an error means that a disk has no room left. It also knows the two codes of Windows,
// ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL, which mean other things elsewhere.
func Full(err error) bool {
	var code syscall.Errno
	if runtime.GOOS == "windows" && errors.As(err, &code) {
		return code == 39 || code == 112
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Reason is a clause that says what went wrong with a file, without the path, which file errors repeat.
func Reason(err error) string {
	switch {
	case Full(err):
		return "the disk is full"
	case errors.Is(err, syscall.EROFS):
		return "that disk is read-only"
	case errors.Is(err, fs.ErrPermission):
		return "its permissions forbid it"
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist"
	case errors.Is(err, fs.ErrExist):
		return "there is already a file of that name"
	case errors.Is(err, syscall.ENOTDIR):
		return "a file is in the way where a folder should be"
	}
	return Plain(err).Error()
}

// Plain drops the operation and path that file errors repeat.
func Plain(err error) error {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		return pathErr.Err
	case errors.As(err, &linkErr):
		return linkErr.Err
	}
	return err
}

// Existing is the nearest folder at or above path that exists, for questions about its disk.
func Existing(path string) string {
	for {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return path
		}
		up := filepath.Dir(path)
		if up == path {
			return path
		}
		path = up
	}
}
