// Package canvas is the arithmetic of looking at a picture: where it lies in a viewport, and what each viewport pixel shows.
//
// It knows nothing of windows. Coordinates are viewport pixels (not device-independent units), x to the right and y down.
package canvas

import (
	"image"
	"math"
)

// Zoom limits: 2 % to 6400 %.
const (
	MinScale = 0.02
	MaxScale = 64.0
)

// keepVisible is how many viewport pixels of the picture Clamp leaves in sight.
const keepVisible = 48

// View places a picture in a viewport: picture pixel (x, y) appears at (x·Scale + OffsetX, y·Scale + OffsetY).
type View struct {
	Scale            float64 // viewport pixels per picture pixel
	OffsetX, OffsetY float64 // viewport pixels
}

// Fit shows the whole picture, centred, margin viewport pixels from the nearest edges, enlarged by at most maxScale.
func Fit(picture, viewport image.Point, margin int, maxScale float64) View {
	if picture.X <= 0 || picture.Y <= 0 {
		return View{Scale: 1}
	}
	w := math.Max(1, float64(viewport.X-2*margin))
	h := math.Max(1, float64(viewport.Y-2*margin))
	scale := math.Min(w/float64(picture.X), h/float64(picture.Y))
	return Centred(picture, viewport, math.Min(scale, maxScale))
}

// Centred shows the picture at a given scale in the middle of the viewport.
func Centred(picture, viewport image.Point, scale float64) View {
	scale = limitScale(scale)
	return View{
		Scale:   scale,
		OffsetX: math.Round((float64(viewport.X) - float64(picture.X)*scale) / 2),
		OffsetY: math.Round((float64(viewport.Y) - float64(picture.Y)*scale) / 2),
	}
}

// ZoomAt multiplies the scale and keeps the picture point under viewport point (x, y) where it is.
func (v View) ZoomAt(factor, x, y float64) View {
	return v.ScaleAt(v.Scale*factor, x, y)
}

// ScaleAt sets the scale and keeps the picture point under viewport point (x, y) where it is.
func (v View) ScaleAt(scale, x, y float64) View {
	scale = limitScale(scale)
	px, py := v.ToPicture(x, y)
	return View{Scale: scale, OffsetX: x - px*scale, OffsetY: y - py*scale}
}

// Pan moves the picture by viewport pixels.
func (v View) Pan(dx, dy float64) View {
	v.OffsetX += dx
	v.OffsetY += dy
	return v
}

// ToPicture gives the picture coordinates under a viewport point.
func (v View) ToPicture(x, y float64) (px, py float64) {
	if v.Scale == 0 {
		return 0, 0
	}
	return (x - v.OffsetX) / v.Scale, (y - v.OffsetY) / v.Scale
}

// Clamp moves the view so that some of the picture stays in sight on both axes.
func (v View) Clamp(picture, viewport image.Point) View {
	v.OffsetX = clampOffset(v.OffsetX, float64(picture.X)*v.Scale, float64(viewport.X))
	v.OffsetY = clampOffset(v.OffsetY, float64(picture.Y)*v.Scale, float64(viewport.Y))
	return v
}

// Rect is the picture's rectangle in the viewport, on whole pixels; it may reach outside the viewport.
func (v View) Rect(picture image.Point) image.Rectangle {
	x0, y0 := int(math.Round(v.OffsetX)), int(math.Round(v.OffsetY))
	w := max(1, int(math.Round(float64(picture.X)*v.Scale)))
	h := max(1, int(math.Round(float64(picture.Y)*v.Scale)))
	return image.Rect(x0, y0, x0+w, y0+h)
}

func clampOffset(offset, size, viewport float64) float64 {
	keep := math.Min(keepVisible, math.Min(size, viewport))
	return math.Max(keep-size, math.Min(viewport-keep, offset))
}

func limitScale(scale float64) float64 {
	if !(scale > MinScale) { // also catches NaN
		return MinScale
	}
	return math.Min(scale, MaxScale)
}
