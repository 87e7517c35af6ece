//go:build windows

package checkpoint

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

// mapFile maps a file read-only. Windows refuses to cut short a file that is mapped.
func mapFile(f *os.File, size int64) ([]byte, func() error, error) {
	if int64(int(size)) != size {
		return nil, nil, errors.New("it is too large for this machine's address space")
	}
	mapping, err := syscall.CreateFileMapping(syscall.Handle(f.Fd()), nil, syscall.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	addr, err := syscall.MapViewOfFile(mapping, syscall.FILE_MAP_READ, 0, 0, uintptr(size))
	syscall.CloseHandle(mapping) // the view keeps the mapping alive
	if err != nil {
		return nil, nil, err
	}
	// The address is not Go memory; reading it through a pointer to it keeps vet's pointer rules.
	data := unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), int(size))
	return data, func() error { return syscall.UnmapViewOfFile(addr) }, nil
}

// syncDir does nothing: NTFS journals renames, and a folder cannot be flushed.
func syncDir(string) error { return nil }

func isDiskFull(err error) bool {
	const diskFull, handleDiskFull = syscall.Errno(112), syscall.Errno(39)
	return errors.Is(err, diskFull) || errors.Is(err, handleDiskFull)
}

func isReadOnly(err error) bool {
	const writeProtect = syscall.Errno(19)
	return errors.Is(err, writeProtect)
}
