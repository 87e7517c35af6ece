package canvas

import "image"

// resample filters src along x, then along y, and lays the result over what dst holds inside rect.
// Row results are kept in a ring as long as the next output rows need them: memory stays at a few rows.
func resample(dst *image.RGBA, rect image.Rectangle, src *image.NRGBA, xs, ys []tap) {
	width := len(xs) * 4
	deepest := 0
	for _, t := range ys {
		deepest = max(deepest, len(t.weights))
	}
	ring := make([][]float32, deepest)
	for i := range ring {
		ring[i] = make([]float32, width)
	}
	line := make([]float32, src.Rect.Dx()*4)
	sum := make([]float32, width)
	done := -1 // last source row in the ring
	for j, ty := range ys {
		last := ty.start + len(ty.weights) - 1
		for row := max(done+1, ty.start); row <= last; row++ {
			premultiply(line, src, row)
			filterRow(ring[row%deepest], line, xs)
			done = row
		}
		clear(sum)
		for k, w := range ty.weights {
			source := ring[(ty.start+k)%deepest]
			for i, v := range source {
				sum[i] += w * v
			}
		}
		over(dst, rect.Min.X, rect.Min.Y+j, sum)
	}
}

// premultiply reads one source row as red, green, blue times alpha, and alpha, all 0 to 255.
func premultiply(line []float32, src *image.NRGBA, row int) {
	o := row * src.Stride
	pix := src.Pix[o : o+len(line)]
	for i := 0; i < len(line); i += 4 {
		if a := pix[i+3]; a == 255 {
			line[i], line[i+1], line[i+2], line[i+3] = float32(pix[i]), float32(pix[i+1]), float32(pix[i+2]), 255
		} else {
			f := float32(a) / 255
			line[i], line[i+1], line[i+2], line[i+3] = float32(pix[i])*f, float32(pix[i+1])*f, float32(pix[i+2])*f, float32(a)
		}
	}
}

func filterRow(out, line []float32, xs []tap) {
	for i, t := range xs {
		var r, g, b, a float32
		o := t.start * 4
		for _, w := range t.weights {
			r += w * line[o]
			g += w * line[o+1]
			b += w * line[o+2]
			a += w * line[o+3]
			o += 4
		}
		out[i*4], out[i*4+1], out[i*4+2], out[i*4+3] = r, g, b, a
	}
}

// over lays a premultiplied row on the opaque row already in dst. The spline overshoots, so values are clamped.
func over(dst *image.RGBA, x, y int, row []float32) {
	o := dst.PixOffset(x, y)
	pix := dst.Pix[o : o+len(row)]
	for i := 0; i < len(row); i += 4 {
		under := 1 - clampByte(row[i+3])/255
		for c := range 3 {
			pix[i+c] = uint8(clampByte(row[i+c]+float32(pix[i+c])*under) + 0.5)
		}
		pix[i+3] = 255
	}
}

func clampByte(v float32) float32 { return max(0, min(255, v)) }
