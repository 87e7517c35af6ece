package library

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"atelier/app/disk"
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
		err = disk.MoveNew(part.Name(), path)
	}
	if err == nil {
		disk.SyncFolder(filepath.Dir(path))
	}
	return err
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
	case disk.Full(err):
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
		e.Reason, e.Advice = disk.Plain(err).Error(), elsewhere
	}
	return e
}
