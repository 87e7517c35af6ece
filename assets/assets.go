// Package assets is the files that the program carries inside itself.
package assets

import (
	"embed"
	"io/fs"
	"slices"
)

//go:embed all:sticker all:palette all:pixel-faces all:typeface
var files embed.FS

// StickerName is the first built-in model's folder and its name in settings and on the command line.
const StickerName = "sticker"

// Names lists the built-in models, each a folder with atelier.json, the first one first.
func Names() []string {
	names := []string{StickerName}
	all, _ := fs.Glob(files, "*/atelier.json") // the pattern is well formed
	for _, f := range all {
		if name := f[:len(f)-len("/atelier.json")]; name != StickerName {
			names = append(names, name)
		}
	}
	return names
}

// Model is a built-in model's folder; false where there is none of that name.
func Model(name string) (fs.FS, bool) {
	if !slices.Contains(Names(), name) {
		return nil, false
	}
	sub, err := fs.Sub(files, name)
	return sub, err == nil
}

// Sticker is the folder of the first built-in model, in the layout of diffusers.
func Sticker() fs.FS {
	sub, ok := Model(StickerName)
	if !ok {
		return files // it is embedded above
	}
	return sub
}
