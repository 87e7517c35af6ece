package checkpoint

import "syscall"

// releasePages gives a mapping's pages back to the system's cache.
func releasePages(pages []byte) {
	_ = syscall.Madvise(pages, syscall.MADV_DONTNEED) // advice: where it is not taken, memory counts for longer
}
