// Package language gives the toolkit a language where the system's locale is "C" or "POSIX", as on servers and in containers.
// The toolkit reads the locale while it initialises and complains on standard error about those two; this package has no
// imports but os and strings and a path that sorts before the toolkit's, so Go initialises it first.
package language

import (
	"os"
	"strings"
)

func init() {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANGUAGE", "LANG"} {
		if base, _, _ := strings.Cut(os.Getenv(name), "."); base == "C" || base == "POSIX" {
			os.Setenv(name, "en_US.UTF-8")
		}
	}
	if os.Getenv("LC_ALL") == "" && os.Getenv("LANG") == "" {
		os.Setenv("LANG", "en_US.UTF-8")
	}
}
