package compute

import "testing"

func TestAvailableMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:     2048 kB\nBuffers: 3 kB\n": 2048 * 1024,
		"MemTotal: 16384 kB\n": 0,
		"MemAvailable:":        0,
		"MemAvailable: much":   0,
	} {
		if got := parseAvailable(text); got != want {
			t.Errorf("%q: %d bytes, want %d", text, got, want)
		}
	}
	if n := AvailableMemory(); n < 1<<20 || n > 1<<50 {
		t.Errorf("this machine has %d bytes left", n)
	}
}
