// Package assets is the files that the program carries inside itself.
package assets

import (
	"embed"
	"io/fs"
)

//go:embed all:sticker
var files embed.FS

// StickerName is the built-in model's folder and its name in settings and on the command line.
const StickerName = "sticker"

// Sticker is the built-in model's folder, in the layout of diffusers.
func Sticker() fs.FS {
	sub, err := fs.Sub(files, StickerName)
	if err != nil {
		return files // fs.Sub only fails for malformed names
	}
	return sub
}
