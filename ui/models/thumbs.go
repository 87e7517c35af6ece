package models

import (
	"bytes"
	"image"
	"image/draw"
	_ "image/jpeg" // thumbnails are of these kinds
	_ "image/png"

	_ "golang.org/x/image/webp"

	"atelier/app/modelstore"
	"atelier/render/canvas"
	"atelier/ui/kit"
)

// thumb is a model's picture; both are nil where it has none, and while it is being read.
type thumb struct {
	small *image.RGBA
	large *image.RGBA
}

// Edges of pictures, in physical pixels: sharp up to twice the usual density.
const (
	smallEdge = 96
	largeEdge = 440
	mostEdge  = 8192 // of one that is read at all
)

// thumbOf gives a model's small picture, and has it read where nobody has looked for it yet.
func (w *Workspace) thumbOf(e modelstore.Entry) *image.RGBA {
	t := w.thumbs[e.Path]
	if t != nil {
		return t.small
	}
	t = &thumb{}
	w.thumbs[e.Path] = t
	if e.Thumbnail == "" {
		return nil
	}
	back := kit.Backdrop(8)
	w.background(func() {
		if w.life.Err() != nil {
			return
		}
		picture := readThumb(e)
		if picture == nil {
			return
		}
		small, large := canvas.Thumbnail(picture, smallEdge, smallEdge, back), canvas.Thumbnail(picture, largeEdge, largeEdge, back)
		w.config.Post(func() {
			t.small, t.large = small, large
			for i, s := range w.shown {
				if s.Path == e.Path {
					w.stage.entries.SetRow(i, w.row(s))
					if w.stage.entries.Selected() == i && w.stage.page == pageHere {
						w.showEntry(i)
					}
				}
			}
		})
	})
	return nil
}

// readThumb reads a model's picture; nil where there is none that can be read, which is no one's loss.
func readThumb(e modelstore.Entry) *image.NRGBA {
	data, err := modelstore.Thumbnail(e)
	if err != nil || data == nil {
		return nil
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil || config.Width > mostEdge || config.Height > mostEdge || config.Width < 1 || config.Height < 1 {
		return nil
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	out := image.NewNRGBA(image.Rectangle{Max: img.Bounds().Size()})
	draw.Draw(out, out.Rect, img, img.Bounds().Min, draw.Src)
	return out
}
