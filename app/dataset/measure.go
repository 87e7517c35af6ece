package dataset

import (
	"crypto/sha256"
	"image"
	"math"
)

// measure is what Check keeps of a picture after looking at its pixels.
type measure struct {
	file, pixels   [sha256.Size]byte
	hash, mirrored uint64
	thumb          [thumbSide * thumbSide * 4]uint8 // premultiplied, to tell like shapes in other colours apart
	shares         []float64                        // of each of colours, by opacity; all 0 where the picture is empty
	brightness     float64                          // mean OKLab lightness of what is opaque
	opaque         float64                          // mean alpha, 0 to 1
	flat           bool                             // one colour all over
}

const (
	thumbSide  = 8
	colourSide = 48 // pictures are reduced to this before colours are counted
	baseSide   = 96 // a multiple of all sides that are wanted: averages of averages are exact
)

// take measures a picture. data is its file.
func (p *palette) take(data []byte, m *image.RGBA) *measure {
	out := &measure{file: sha256.Sum256(data), flat: isFlat(m)}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	sum := sha256.New()
	sum.Write([]byte{byte(w), byte(w >> 8), byte(w >> 16), byte(h), byte(h >> 8), byte(h >> 16)})
	sum.Write(m.Pix)
	sum.Sum(out.pixels[:0])
	all := reduce(m, baseSide, baseSide)
	out.hash, out.mirrored = perceptual(grey(shrink(all, baseSide/hashSide)))
	for k, c := range shrink(all, baseSide/thumbSide) {
		for i, v := range c.pix {
			out.thumb[4*i+k] = uint8(math.Round(min(max(v, 0), 255)))
		}
	}
	small := shrink(all, baseSide/colourSide)
	if w <= baseSide && h <= baseSide {
		small = reduce(m, w, h) // the pixels themselves: no cell lies across two of them
	}
	p.colours(out, small)
	return out
}

// colours fills in what names of colours a picture has, and how light it is.
func (p *palette) colours(out *measure, c [4]plane) {
	out.shares = make([]float64, len(colours))
	total := 0.0
	for i, a := range c[3].pix {
		if a < 1 {
			continue
		}
		lab := toOKLab(min(c[0].pix[i]/a, 1), min(c[1].pix[i]/a, 1), min(c[2].pix[i]/a, 1))
		out.shares[p.name(lab)] += a
		out.brightness += lab.l * a
		total += a
	}
	out.opaque = total / (255 * float64(len(c[3].pix)))
	if total > 0 {
		out.brightness /= total
		for i := range out.shares {
			out.shares[i] /= total
		}
	}
}

func isFlat(m *image.RGBA) bool {
	for i := 4; i < len(m.Pix); i += 4 {
		if [4]uint8(m.Pix[i:i+4]) != [4]uint8(m.Pix[:4]) {
			return false
		}
	}
	return true
}

// mostGain is how much lighter or darker a copy may be.
const mostGain = 1.5

// thumbDistance is the mean difference of two thumbnails' channels, 0 to 255, after b has been made as light as a, within mostGain;
// mirror compares a with b turned left to right.
func thumbDistance(a, b *measure, mirror bool) float64 {
	light := func(m *measure) float64 {
		sum := 1e-9
		for i, v := range m.thumb {
			if i%4 != 3 {
				sum += float64(v)
			}
		}
		return sum
	}
	gain := min(max(light(a)/light(b), 1/mostGain), mostGain)
	sum := 0.0
	for y := range thumbSide {
		for x := range thumbSide {
			o := x
			if mirror {
				o = thumbSide - 1 - x
			}
			for k := range 4 {
				other := float64(b.thumb[4*(y*thumbSide+o)+k])
				if k < 3 {
					other *= gain
				}
				sum += math.Abs(float64(a.thumb[4*(y*thumbSide+x)+k]) - other)
			}
		}
	}
	return sum / float64(len(a.thumb))
}
