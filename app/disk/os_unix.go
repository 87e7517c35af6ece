//go:build unix

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// Free is the room that a person's files may still take on the disk of a folder, in bytes.
func Free(folder string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(Existing(folder), &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// Lock keeps other processes that ask from an open file until it is closed; false says that another has it.
func Lock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}
