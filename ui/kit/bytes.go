package kit

import "fmt"

// Bytes writes an amount of memory as people say it, in steps of 1000, as command lines and messages do: "38 MB", "1.9 GB".
func Bytes(n int64) string {
	const kb, mb, gb = 1e3, 1e6, 1e9
	switch {
	case n >= 10*gb:
		return fmt.Sprintf("%d GB", (n+gb/2)/gb)
	case n >= gb:
		return fmt.Sprintf("%.1f GB", float64(n)/gb)
	case n >= mb:
		return fmt.Sprintf("%d MB", (n+mb/2)/mb)
	}
	return fmt.Sprintf("%d kB", (n+kb/2)/kb)
}
