package dataset

import (
	"image"
	"math"
	"slices"
)

// plane is a small picture of float64 values.
type plane struct {
	w, h int
	pix  []float64
}

// reduce averages a premultiplied picture over the cells of a w × h grid, weighing pixels that lie across a border by their share:
// four planes, R G B A in 0 … 255. Unlike sampling, it sees every pixel, so that a copy in another size reduces alike.
func reduce(m *image.RGBA, w, h int) [4]plane {
	sw, sh := m.Rect.Dx(), m.Rect.Dy()
	across, down := cells(sw, w), cells(sh, h)
	rows := make([]float64, sh*w*4) // averaged along x
	for y := range sh {
		line := m.Pix[y*m.Stride:][:4*sw]
		for x, c := range across {
			var sum [4]float64
			for i, weight := range c.weights {
				p := line[4*(c.first+i):][:4]
				for k, v := range p {
					sum[k] += weight * float64(v)
				}
			}
			copy(rows[(y*w+x)*4:], sum[:])
		}
	}
	var out [4]plane
	for k := range out {
		out[k] = plane{w, h, make([]float64, w*h)}
	}
	for y, c := range down {
		for x := range w {
			for i, weight := range c.weights {
				p := rows[((c.first+i)*w+x)*4:][:4]
				for k, v := range p {
					out[k].pix[y*w+x] += weight * v
				}
			}
		}
	}
	return out
}

// shrink averages blocks of f × f.
func shrink(p [4]plane, f int) (out [4]plane) {
	for k, c := range p {
		out[k] = plane{c.w / f, c.h / f, make([]float64, c.w/f*(c.h/f))}
		for y := range c.h {
			for x := range c.w {
				out[k].pix[y/f*out[k].w+x/f] += c.pix[y*c.w+x] / float64(f*f)
			}
		}
	}
	return out
}

// cell is the pixels first, first+1, … and what each counts; weights sum to one.
type cell struct {
	first   int
	weights []float64
}

// cells divides n pixels among m cells.
func cells(n, m int) []cell {
	out := make([]cell, m)
	size := float64(n) / float64(m)
	for i := range out {
		from, to := float64(i)*size, float64(i+1)*size
		first, end := int(from), min(int(math.Ceil(to-1e-9)), n)
		c := cell{first: min(first, n-1)}
		for p := c.first; p < max(end, c.first+1); p++ {
			c.weights = append(c.weights, max(min(to, float64(p+1))-max(from, float64(p)), 1e-12)/size)
		}
		out[i] = c
	}
	return out
}

// hashSide is the size of the picture that is transformed, hashKeep that of the corner of low frequencies that is kept.
const (
	hashSide = 32
	hashKeep = 8
)

// perceptual is the 64-bit pHash of a picture and of its mirror image (Zauner 2010, "Implementation and benchmarking of perceptual
// image hash functions"): grey, 32 × 32, discrete cosine transform; bit 8v+u says whether coefficient (u, v) of the lowest 8 × 8
// exceeds their median. A mirrored picture has the odd horizontal coefficients negated.
func perceptual(grey plane) (hash, mirrored uint64) {
	low := dct(grey)
	flipped := low
	for v := range hashKeep {
		for u := 1; u < hashKeep; u += 2 {
			flipped[v*hashKeep+u] = -flipped[v*hashKeep+u]
		}
	}
	return above(low), above(flipped)
}

func above(c [hashKeep * hashKeep]float64) uint64 {
	sorted := c
	slices.Sort(sorted[:])
	median := (sorted[31] + sorted[32]) / 2
	var h uint64
	for i, v := range c {
		if v > median {
			h |= 1 << i
		}
	}
	return h
}

// dct gives the lowest hashKeep × hashKeep coefficients of the two-dimensional DCT-II. What is rounding beside the largest is zero,
// so that flat pictures hash alike everywhere.
func dct(p plane) (low [hashKeep * hashKeep]float64) {
	var basis [hashKeep][hashSide]float64
	for u := range basis {
		for x := range basis[u] {
			basis[u][x] = 2 * math.Cos(math.Pi*float64(u)*(2*float64(x)+1)/(2*hashSide))
		}
	}
	largest := 0.0
	for v := range hashKeep {
		for u := range hashKeep {
			sum := 0.0
			for y := range hashSide {
				for x := range hashSide {
					sum += basis[v][y] * basis[u][x] * p.pix[y*hashSide+x]
				}
			}
			low[v*hashKeep+u] = sum
			largest = max(largest, math.Abs(sum))
		}
	}
	for i, v := range low {
		if math.Abs(v) <= 1e-9*largest {
			low[i] = 0
		}
	}
	return low
}

// grey is the luma of a reduced picture over a middling background, which lets white and black shapes on nothing both be seen.
func grey(p [4]plane) plane {
	g := plane{p[0].w, p[0].h, make([]float64, len(p[0].pix))}
	for i := range g.pix {
		g.pix[i] = 0.299*p[0].pix[i] + 0.587*p[1].pix[i] + 0.114*p[2].pix[i] + (255-p[3].pix[i])/2
	}
	return g
}
