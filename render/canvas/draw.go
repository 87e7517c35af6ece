package canvas

import (
	"image"
	"image/color"
	"math"
)

// nearestFrom is the enlargement from which single picture pixels are shown as squares; below it enlarging is smooth.
const nearestFrom = 4.0

// Backdrop is what lies behind a picture.
type Backdrop struct {
	Canvas     color.RGBA // round the picture; opaque
	Light, Dim color.RGBA // the two squares of the checkerboard under transparent pixels; opaque
	Cell       int        // edge of a square in viewport pixels
}

// Draw paints all of dst: the backdrop, and over it src stretched to where a picture of the given size lies in the view.
//
// src may be smaller than the picture (a preview that is still forming); then it is always enlarged smoothly. Reduction
// averages the covered area, so that thin lines stay; both work on premultiplied colour, so that edges of transparent
// pictures get no dark or coloured fringe. Neither src nor picture may be written while Draw runs.
func Draw(dst *image.RGBA, src *image.NRGBA, picture image.Point, v View, b Backdrop) {
	fill(dst, dst.Rect, b.Canvas)
	if src == nil || src.Rect.Empty() || picture.X <= 0 || picture.Y <= 0 {
		return
	}
	rect := v.Rect(picture)
	visible := rect.Intersect(dst.Rect)
	if visible.Empty() {
		return
	}
	preview := src.Rect.Dx() < picture.X || src.Rect.Dy() < picture.Y
	checker(dst, visible, rect.Min, b)
	xs := taps(src.Rect.Dx(), rect.Dx(), visible.Min.X-rect.Min.X, visible.Dx(), preview)
	ys := taps(src.Rect.Dy(), rect.Dy(), visible.Min.Y-rect.Min.Y, visible.Dy(), preview)
	resample(dst, visible, src, xs, ys)
}

// Thumbnail shows the whole picture centred in a w×h image.
func Thumbnail(src *image.NRGBA, w, h int, b Backdrop) *image.RGBA {
	dst := image.NewRGBA(image.Rect(0, 0, max(1, w), max(1, h)))
	size := src.Rect.Size()
	Draw(dst, src, size, Fit(size, dst.Rect.Size(), 0, nearestFrom), b)
	return dst
}

func fill(dst *image.RGBA, r image.Rectangle, c color.RGBA) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := dst.Pix[dst.PixOffset(r.Min.X, y) : dst.PixOffset(r.Max.X-1, y)+4]
		for i := 0; i < len(row); i += 4 {
			row[i], row[i+1], row[i+2], row[i+3] = c.R, c.G, c.B, c.A
		}
	}
}

// checker paints squares that stay put relative to the picture's corner while it is panned.
func checker(dst *image.RGBA, r image.Rectangle, origin image.Point, b Backdrop) {
	cell := max(1, b.Cell)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		o := dst.PixOffset(r.Min.X, y)
		for x := r.Min.X; x < r.Max.X; x++ {
			c := b.Light
			if ((x-origin.X)/cell+(y-origin.Y)/cell)&1 == 1 {
				c = b.Dim
			}
			dst.Pix[o], dst.Pix[o+1], dst.Pix[o+2], dst.Pix[o+3] = c.R, c.G, c.B, 255
			o += 4
		}
	}
}

// tap lists the source samples that make one output sample, and their weights, which add up to 1.
type tap struct {
	start   int
	weights []float32
}

// taps builds the filter along one axis: n source samples stretched over size output samples, of which count are
// wanted from first on.
func taps(n, size, first, count int, smooth bool) []tap {
	step := float64(n) / float64(size) // source samples per output sample
	out := make([]tap, count)
	for i := range out {
		at := float64(first+i) * step
		switch {
		case step > 1:
			out[i] = areaTap(at, at+step, n)
		case n == size || (!smooth && step <= 1/nearestFrom):
			out[i] = tap{start: min(n-1, int(at+step/2)), weights: []float32{1}}
		default:
			out[i] = cubicTap(at+step/2-0.5, n)
		}
	}
	return out
}

// areaTap averages the source interval [from, to).
func areaTap(from, to float64, n int) tap {
	lo, hi := int(from), min(n, int(math.Ceil(to-1e-9)))
	t := tap{start: lo, weights: make([]float32, hi-lo)}
	for j := range t.weights {
		s := float64(lo + j)
		t.weights[j] = float32((math.Min(to, s+1) - math.Max(from, s)) / (to - from))
	}
	return normalise(t)
}

// cubicTap interpolates at a source position with the Catmull-Rom spline, repeating the edge samples.
func cubicTap(at float64, n int) tap {
	base := math.Floor(at)
	f := at - base
	w := [4]float64{
		f * (-0.5 + f*(1-0.5*f)),
		1 + f*f*(-2.5+1.5*f),
		f * (0.5 + f*(2-1.5*f)),
		f * f * (-0.5 + 0.5*f),
	}
	lo := clampInt(int(base)-1, n)
	hi := clampInt(int(base)+2, n)
	t := tap{start: lo, weights: make([]float32, hi-lo+1)}
	for j, weight := range w {
		t.weights[clampInt(int(base)-1+j, n)-lo] += float32(weight)
	}
	return normalise(t)
}

func normalise(t tap) tap {
	var sum float32
	for _, w := range t.weights {
		sum += w
	}
	for j := range t.weights {
		t.weights[j] /= sum
	}
	return t
}

func clampInt(i, n int) int { return max(0, min(n-1, i)) }
