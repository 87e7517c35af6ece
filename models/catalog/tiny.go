package catalog

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"atelier/models/checkpoint"
	"atelier/models/nn"
	"atelier/models/taesd"
)

// tinyNames are what files of the TAESD family are called before "_encoder" and "_decoder".
var tinyNames = []string{"taesd", "taesdxl", "taesd3", "taef1", "taef2"}

// tinyFolders are where programs keep them, seen from a model's folder.
var tinyFolders = []string{"taesd", "vae_approx", "VAE-approx", "."}

// findTiny looks for the tiny autoencoder of a denoiser's family beside the model at abs, or in the folders above it where
// other programs keep theirs.
func (m *Model) findTiny(abs string) {
	if !m.UNet.Here() || m.TinyDecoder.Here() {
		return
	}
	name := "taesd"
	if m.TextEncoder2.Here() {
		name = "taesdxl"
	}
	dir := abs
	for range 3 {
		for _, sub := range tinyFolders {
			if m.tinyIn(os.DirFS(filepath.Join(dir, sub)), ".", name); m.TinyDecoder.Here() {
				return
			}
		}
		dir = filepath.Dir(dir)
	}
}

// tinyIn opens the halves of a tiny autoencoder under the first of some names that dir has.
func (m *Model) tinyIn(fsys fs.FS, dir string, names ...string) {
	for _, name := range names {
		for _, half := range []struct {
			suffix string
			part   *Part
		}{{"_encoder", &m.TinyEncoder}, {"_decoder", &m.TinyDecoder}} {
			for _, ext := range []string{".safetensors", ".pth"} {
				file := path.Join(dir, name+half.suffix+ext)
				if _, err := fs.Stat(fsys, file); err != nil || half.part.Here() {
					continue
				}
				t, err := checkpoint.OpenFS(fsys, file)
				if err != nil {
					m.Warnings = append(m.Warnings, fmt.Sprintf("the tiny autoencoder %s is left out: %v", file, err))
					continue
				}
				*half.part = Part{Class: familyOf("taesd").Classes[0], File: path.Base(file), Weights: t}
				m.opened = append(m.opened, t)
			}
		}
		if m.tinyBoth(fsys, path.Join(dir, name+".safetensors")); m.TinyEncoder.Here() || m.TinyDecoder.Here() {
			return
		}
	}
}

// tinyBoth opens a file with both halves, as diffusers keeps them, where no half has been found.
func (m *Model) tinyBoth(fsys fs.FS, file string) {
	if _, err := fs.Stat(fsys, file); err != nil || m.TinyEncoder.Here() || m.TinyDecoder.Here() {
		return
	}
	t, err := checkpoint.OpenFS(fsys, file)
	if err != nil {
		m.Warnings = append(m.Warnings, fmt.Sprintf("the tiny autoencoder %s is left out: %v", file, err))
		return
	}
	m.opened = append(m.opened, t)
	if at := taesd.Find(nn.Load(file, t)); at.HasEncoder && at.HasDecoder {
		p := Part{Class: familyOf("taesd").Classes[0], File: path.Base(file), Weights: t}
		m.TinyEncoder, m.TinyDecoder = p, p
	}
}
