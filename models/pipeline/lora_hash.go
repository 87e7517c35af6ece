package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hashes gives the hashes of adapters' files by name; those that cannot be read are left out.
func (a *adapters) hashes(list []LoRA) map[string]string {
	out := map[string]string{}
	for _, l := range list {
		if h := adapterHash(a.open[l.Name].path); h != "" {
			name := filepath.Base(l.Name)
			if ending := filepath.Ext(name); slices.Contains(loraEndings, ending) {
				name = strings.TrimSuffix(name, ending)
			}
			out[strings.NewReplacer(":", "", ",", "").Replace(name)] = h
		}
	}
	return out
}

// adapterHash is how A1111 tells adapters apart: the first twelve hex digits of the SHA-256 of a safetensors file without its
// header, so that another description changes nothing, or of another file whole.
func adapterHash(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if strings.EqualFold(filepath.Ext(path), ".safetensors") {
		var size [8]byte
		if _, err := io.ReadFull(f, size[:]); err != nil {
			return ""
		}
		if n := binary.LittleEndian.Uint64(size[:]); n < 1<<40 {
			if _, err := f.Seek(int64(n), io.SeekCurrent); err != nil {
				return ""
			}
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
