package compute

import (
	"os"
	"strconv"
	"strings"
)

// AvailableMemory is the machine's memory that programs can still take, in bytes; 0 if unknown.
func AvailableMemory() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return parseAvailable(string(data))
}

// parseAvailable finds MemAvailable in the text of /proc/meminfo, in bytes; 0 if it is not there.
func parseAvailable(meminfo string) int64 {
	_, rest, ok := strings.Cut(meminfo, "MemAvailable:")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 1 {
		return 0
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kb * 1024
}
