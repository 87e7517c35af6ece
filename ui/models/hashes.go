package models

import (
	"context"
	"errors"

	"fyne.io/fyne/v2"

	"atelier/app/modelstore"
	"atelier/ui/kit"
)

// hashes is the reading of models that have none yet, one after the other, while nobody waits for it.
type hashes struct {
	path        string          // that is being read; empty while none is
	failed      map[string]bool // what cannot be read, by path
	shown       string          // whose hashes the details show
	short, full *hashFact
}

// hashFact is a hash in the details, with a button that copies it.
type hashFact struct {
	value string // empty while it is not known
	text  *kit.Paragraph
	copy  *kit.Button
}

func (f *hashFact) set(value, instead string) {
	f.value = value
	if value == "" {
		value = instead
	}
	f.text.Set(value)
	f.copy.SetEnabled(f.value != "")
}

func newHashFact(tips *kit.Tips, name, tip string) (*hashFact, fyne.CanvasObject) {
	f := &hashFact{text: kit.NewParagraph("", 13, kit.Text, 3)}
	f.copy = kit.NewIconButton(tips, kit.IconCopy, kit.Tip{Name: "Copy", Text: tip}, func() {
		fyne.CurrentApp().Clipboard().SetContent(f.value)
		tips.Note(f.copy, name+" copied.")
	})
	f.copy.Height = 26
	return f, kit.Flow(0, kit.Row(kit.Tight, 0, kit.NewLine(name, kit.Caption, kit.Secondary, 60), f.copy), f.text)
}

// hashText is a hash, or what stands in its place while it is not known.
func (w *Workspace) hashText(e modelstore.Entry, hash string) string {
	switch {
	case hash != "":
		return hash
	case w.hashes.failed[e.Path]:
		return "no hash"
	}
	return "…"
}

// hashFacts are both hashes of a model in the details.
func (w *Workspace) hashFacts(e modelstore.Entry) fyne.CanvasObject {
	h := &w.hashes
	var short, full fyne.CanvasObject
	h.short, short = newHashFact(w.config.Tips, "Hash", "Copy the short hash, which pictures carry and other programs show.")
	h.full, full = newHashFact(w.config.Tips, "SHA-256", "Copy the whole SHA-256.")
	h.shown = e.Path
	w.showHashes(e)
	return kit.Flow(kit.Gap, short, full)
}

func (w *Workspace) showHashes(e modelstore.Entry) {
	w.hashes.short.set(e.Short, w.hashText(e, e.Short))
	w.hashes.full.set(e.SHA256, w.hashText(e, e.SHA256))
}

// hashNext reads a model that has no hash yet, unless one is being read: the chosen one first, then the smallest.
func (w *Workspace) hashNext() {
	h := &w.hashes
	if h.path != "" || w.life.Err() != nil {
		return
	}
	wants := func(e modelstore.Entry) bool { return e.SHA256 == "" && !h.failed[e.Path] }
	next, found := w.chosen()
	if found = found && wants(next); !found {
		for _, e := range w.entries {
			if wants(e) && (!found || e.Size < next.Size) {
				next, found = e, true
			}
		}
	}
	if !found {
		return
	}
	h.path = next.Path
	w.background(func() {
		got, err := w.config.Store.HashQuietly(w.life, next.Path)
		w.config.Post(func() {
			h.path = ""
			if errors.Is(err, context.Canceled) {
				return
			}
			h.failed[next.Path] = got.SHA256 == "" // where it alone could not be kept, it holds for now
			w.hashed(next.Path, got)
			w.hashNext()
		})
	})
}

// hashed shows the hashes of a model in the list and in the details, without moving either.
func (w *Workspace) hashed(path string, got modelstore.Hashes) {
	for i := range w.entries {
		if w.entries[i].Path == path {
			w.entries[i].Hashes = got
		}
	}
	for i := range w.shown {
		if w.shown[i].Path != path {
			continue
		}
		w.shown[i].Hashes = got
		w.stage.entries.SetRow(i, w.row(w.shown[i]))
		if w.hashes.shown == path {
			w.showHashes(w.shown[i])
		}
	}
}
