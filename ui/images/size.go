package images

import (
	"fmt"
	"image"
	"math"

	"atelier/models/pipeline"
	"atelier/ui/kit"
)

// preset is a button for a shape of picture.
type preset struct {
	button        *kit.Button
	ratioW        float64
	ratioH        float64
	width, height int
}

func (f *form) swap() {
	w, h := f.width.Value(), f.height.Value()
	f.act("", func() {
		f.width.Set(h)
		f.height.Set(w)
		f.markPreset()
	})
}

func (f *form) markPreset() {
	for _, p := range f.presets {
		p.button.Selected = float64(p.width) == f.width.Value() && float64(p.height) == f.height.Value()
		p.button.Refresh()
	}
}

// sizeRange is what sizes a model takes.
func sizeRange(name string, m pipeline.ModelInfo) kit.Range {
	r := kit.Range{Name: name, Min: 64, Max: 2048, Step: 8, Curve: 1}
	if m.MinSize > 0 {
		r.Min = float64(m.MinSize)
	}
	if m.MaxSize > 0 {
		r.Max = math.Max(r.Min, float64(m.MaxSize))
	}
	if m.SizeStep > 0 {
		r.Step = float64(m.SizeStep)
	}
	return r
}

// shapePresets computes what the shape buttons set: about the model's own number of pixels, in sizes that it takes.
func (f *form) shapePresets(m pipeline.ModelInfo) {
	if m.Kind == pipeline.KindGenerator || m.Width <= 0 || m.Height <= 0 || (m.MinSize == m.MaxSize && m.MinSize > 0) {
		f.presetRow.Hide()
		return
	}
	r := sizeRange("", m)
	snap := func(v float64) int {
		return int(math.Max(r.Min, math.Min(r.Max, math.Round(v/r.Step)*r.Step)))
	}
	area := float64(m.Width * m.Height)
	for _, p := range f.presets {
		p.width = snap(math.Sqrt(area * p.ratioW / p.ratioH))
		p.height = snap(math.Sqrt(area * p.ratioH / p.ratioW))
		p.button.SetTip(kit.Tip{Name: fmt.Sprintf("%d × %d", p.width, p.height), Text: fmt.Sprintf("A shape near %g to %g with about as many pixels as the model's own size.", p.ratioW, p.ratioH)})
	}
	f.presetRow.Show()
	f.markPreset()
}

// fit takes a picture's size over, or, where the model makes none of that size, one of nearly the same proportions.
func (f *form) fit(size image.Point) {
	r := sizeRange("", f.current())
	k := math.Min(1, r.Max/float64(max(size.X, size.Y)))
	k = math.Max(k, math.Min(r.Min/float64(min(size.X, size.Y)), r.Max/float64(max(size.X, size.Y))))
	f.width.Set(float64(size.X) * k)
	f.height.Set(float64(size.Y) * k)
	f.markPreset()
}
