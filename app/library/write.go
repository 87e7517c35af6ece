package library

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// finish fills the part file, forces it to the disk and only then gives it its final name, so that under that name
// there is either the whole picture or nothing, whatever happens meanwhile. The part file is gone afterwards.
func finish(part *os.File, data []byte, path string, replace bool) (err error) {
	defer func() {
		if err != nil {
			os.Remove(part.Name())
		}
	}()
	_, err = part.Write(data)
	if err == nil {
		err = part.Sync()
	}
	if closeErr := part.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if replace {
		err = os.Rename(part.Name(), path)
	} else {
		err = moveNew(part.Name(), path)
	}
	if err == nil {
		syncFolder(filepath.Dir(path))
	}
	return err
}

// moveNew renames without ever replacing: a hard link fails if the name is taken, where a rename would not. On file
// systems without hard links it looks first; there the reservation alone keeps other savers away.
func moveNew(from, to string) error {
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

// syncFolder makes a rename durable. Not every system can; the file itself is safe by then, so it is best effort.
func syncFolder(folder string) {
	if d, err := os.Open(folder); err == nil {
		d.Sync()
		d.Close()
	}
}

// SaveError says in one sentence what could not be saved, where, why, and what to do. The picture is still in memory. Reason and
// Advice are clauses without a full stop.
type SaveError struct {
	Path   string
	Reason string
	Advice string
	Err    error
}

// Error gives the whole message.
func (e *SaveError) Error() string {
	return fmt.Sprintf("could not save %s: %s; %s", e.Path, e.Reason, e.Advice)
}

// Unwrap gives the cause.
func (e *SaveError) Unwrap() error { return e.Err }

// keepError is saveError for the folder that pictures go to by themselves.
func keepError(path string, err error) error {
	e := saveError(path, err)
	if e.Advice == elsewhere {
		e.Advice = "save it elsewhere, or choose another folder in Settings"
	}
	return e
}

const elsewhere = "choose another place"

func saveError(path string, err error) *SaveError {
	e := &SaveError{Path: path, Err: err}
	switch {
	case diskFull(err):
		e.Reason, e.Advice = "the disk is full", "free some space, or choose another place"
	case errors.Is(err, syscall.EROFS):
		e.Reason, e.Advice = "that disk is read-only", elsewhere
	case errors.Is(err, fs.ErrPermission):
		e.Reason, e.Advice = "you may not write there", elsewhere
	case errors.Is(err, fs.ErrExist):
		e.Reason, e.Advice = "there is already a file of that name", "give another name, or replace it"
	case errors.Is(err, syscall.ENOTDIR):
		e.Reason, e.Advice = "a file is in the way where a folder should be", elsewhere
	default:
		e.Reason, e.Advice = plainError(err).Error(), elsewhere
	}
	return e
}

// diskFull also knows the two codes of Windows, ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL, which mean other things elsewhere.
func diskFull(err error) bool {
	var code syscall.Errno
	if runtime.GOOS == "windows" && errors.As(err, &code) {
		return code == 39 || code == 112
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// plainError drops the operation and path that file errors repeat.
func plainError(err error) error {
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
