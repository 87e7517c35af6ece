package modelstore

import (
	"path/filepath"
	"slices"
	"strings"
)

// IsModelFile tells by its name whether a file may hold tensors.
func IsModelFile(path string) bool {
	return slices.Contains(extensions, strings.ToLower(filepath.Ext(path)))
}
