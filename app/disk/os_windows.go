package disk

import (
	"os"

	"golang.org/x/sys/windows"
)

// Free is the room that a person's files may still take on the disk of a folder, in bytes.
func Free(folder string) (int64, error) {
	name, err := windows.UTF16PtrFromString(Existing(folder))
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(min(free, 1<<62)), nil
}

// Lock keeps other processes that ask from an open file until it is closed; false says that another has it. The locked byte
// lies far beyond any data: locks on Windows keep others from reading what they cover.
func Lock(f *os.File) bool {
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at) == nil
}
