package pipeline

import (
	"fmt"
	"image"
	"image/color"
	"math"
)

// Pixels is a picture as numbers in [0, 1], H W C: one channel is grey, three are RGB, four are RGB and alpha, straight.
type Pixels struct {
	W, H, C int
	Data    []float32
}

// mostPixels bounds the pictures that a request may bring, along an axis, and mostArea in all: a gigabyte of numbers.
const mostPixels, mostArea = 1 << 14, 1 << 26

func (p *Pixels) check(what string) error {
	switch {
	case p.W < 1 || p.H < 1 || p.W > mostPixels || p.H > mostPixels:
		return fmt.Errorf("the %s is %d × %d pixels; 1 to %d along an axis can be worked on", what, p.W, p.H, mostPixels)
	case p.W*p.H > mostArea:
		return fmt.Errorf("the %s is %d × %d pixels; at most %d million in all can be worked on", what, p.W, p.H, mostArea/1_000_000)
	case p.C != 1 && p.C != 3 && p.C != 4 || len(p.Data) != p.W*p.H*p.C:
		return fmt.Errorf("the %s has %d numbers for %d × %d pixels of %d channels; 1, 3 and 4 channels are pictures", what, len(p.Data), p.W, p.H, p.C)
	}
	if bad := firstBad(p.Data); bad >= 0 {
		return fmt.Errorf("the %s holds %v at place %d; only finite numbers are a picture", what, p.Data[bad], bad)
	}
	return nil
}

// PixelsOf reads a picture: three channels where it is opaque, else four.
func PixelsOf(m image.Image) *Pixels {
	b := m.Bounds()
	p := &Pixels{W: b.Dx(), H: b.Dy(), C: 4, Data: make([]float32, b.Dx()*b.Dy()*4)}
	opaque := true
	i := 0
	plain, _ := m.(*image.NRGBA)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		if plain != nil { // nearly every picture, and without asking for each pixel
			for k, v := range plain.Pix[plain.PixOffset(b.Min.X, y):][:4*p.W] {
				p.Data[i+k] = float32(v) / 0xff
				opaque = opaque && (k%4 != 3 || v == 0xff)
			}
			i += 4 * p.W
			continue
		}
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.NRGBA64Model.Convert(m.At(x, y)).(color.NRGBA64)
			for k, v := range [4]uint16{c.R, c.G, c.B, c.A} {
				p.Data[i+k] = float32(v) / 0xffff
			}
			opaque = opaque && c.A == 0xffff
			i += 4
		}
	}
	if opaque {
		return p.channels(3)
	}
	return p
}

// grey is the picture's brightness (Rec. 601, as in A1111's and PIL's), what is transparent being black.
func (p *Pixels) grey() *Pixels {
	if p.C == 1 {
		return p
	}
	out := &Pixels{p.W, p.H, 1, make([]float32, p.W*p.H)}
	for i := range out.Data {
		c := p.Data[i*p.C:]
		out.Data[i] = 0.299*c[0] + 0.587*c[1] + 0.114*c[2]
		if p.C == 4 {
			out.Data[i] *= c[3]
		}
	}
	return out
}

// Cover is the picture as a mask of another size: its brightness, from 0 to 255.
func (p *Pixels) Cover(w, h int) []uint8 {
	grey := p.grey().resized(w, h)
	out := make([]uint8, len(grey.Data))
	for i, v := range grey.Data {
		out[i] = uint8(255*unit(v) + 0.5)
	}
	return out
}

// channels gives the picture with n channels, three or four. Taking alpha away puts the picture on black where it is
// transparent and leaves its own colours where it is not; a picture without alpha is opaque.
func (p *Pixels) channels(n int) *Pixels {
	if p.C == n {
		return p
	}
	out := &Pixels{p.W, p.H, n, make([]float32, p.W*p.H*n)}
	for i := range p.W * p.H {
		from, to := p.Data[i*p.C:(i+1)*p.C], out.Data[i*n:(i+1)*n]
		for k := range 3 {
			to[k] = from[min(k, p.C-1)]
			if p.C == 4 {
				to[k] *= from[3]
			}
		}
		if n == 4 {
			to[3] = 1
		}
	}
	return out
}

// premultiplied multiplies the colours of four channels by alpha.
func (p *Pixels) premultiplied() *Pixels {
	out := &Pixels{p.W, p.H, p.C, append([]float32(nil), p.Data...)}
	if p.C == 4 {
		for i := 0; i < len(out.Data); i += 4 {
			for k := range 3 {
				out.Data[i+k] *= out.Data[i+3]
			}
		}
	}
	return out
}

// crop gives the part of a picture within r, which must lie inside.
func (p *Pixels) crop(r image.Rectangle) *Pixels {
	out := &Pixels{r.Dx(), r.Dy(), p.C, make([]float32, 0, r.Dx()*r.Dy()*p.C)}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		out.Data = append(out.Data, p.Data[(y*p.W+r.Min.X)*p.C:(y*p.W+r.Max.X)*p.C]...)
	}
	return out
}

// resized gives the picture at another size: each pixel is the mean of its surroundings under Lanczos's window of three
// lobes, as wide as the smaller of both grids. Where the size stays nothing changes.
func (p *Pixels) resized(w, h int) *Pixels {
	if w == p.W && h == p.H {
		return p
	}
	across := &Pixels{w, p.H, p.C, make([]float32, w*p.H*p.C)}
	for x, taps := range lanczos(p.W, w) {
		for y := range p.H {
			for k := range p.C {
				sum := 0.0
				for _, t := range taps {
					sum += t.weight * float64(p.Data[(y*p.W+t.at)*p.C+k])
				}
				across.Data[(y*w+x)*p.C+k] = float32(sum)
			}
		}
	}
	out := &Pixels{w, h, p.C, make([]float32, w*h*p.C)}
	for y, taps := range lanczos(p.H, h) {
		for i := range w * p.C {
			sum := 0.0
			for _, t := range taps {
				sum += t.weight * float64(across.Data[t.at*w*p.C+i])
			}
			out.Data[y*w*p.C+i] = unit(float32(sum))
		}
	}
	return out
}

// tap is a source pixel and its share.
type tap struct {
	at     int
	weight float64
}

// lanczos gives, for every one of to pixels, which of from pixels it is made of.
func lanczos(from, to int) [][]tap {
	const lobes = 3
	window := func(x float64) float64 {
		switch {
		case x == 0:
			return 1
		case x <= -lobes || x >= lobes:
			return 0
		}
		x *= math.Pi
		return lobes * math.Sin(x) * math.Sin(x/lobes) / (x * x)
	}
	step := float64(from) / float64(to)
	width := max(step, 1)
	out := make([][]tap, to)
	for i := range out {
		centre := (float64(i) + 0.5) * step
		sum := 0.0
		for at := max(0, int(centre-lobes*width)); at < min(from, int(centre+lobes*width)+1); at++ {
			if v := window((float64(at) + 0.5 - centre) / width); v != 0 {
				out[i] = append(out[i], tap{at, v})
				sum += v
			}
		}
		for k := range out[i] {
			out[i][k].weight /= sum
		}
	}
	return out
}

// nearest gives the picture at another size by the pixel at or before each place, as torch's nearest interpolation does.
func (p *Pixels) nearest(w, h int) *Pixels {
	out := &Pixels{w, h, p.C, make([]float32, w*h*p.C)}
	for y := range h {
		for x := range w {
			from := (y*p.H/h*p.W + x*p.W/w) * p.C
			copy(out.Data[(y*w+x)*p.C:][:p.C], p.Data[from:from+p.C])
		}
	}
	return out
}

// blurred smooths a picture with a normal window of the given deviation in pixels, cut off at two and a half of them; what
// lies beyond the edge is like the edge.
func (p *Pixels) blurred(deviation int) *Pixels {
	if deviation <= 0 {
		return p
	}
	reach := int(2.5*float64(deviation) + 0.5)
	window := make([]float64, 2*reach+1)
	sum := 0.0
	for i := range window {
		d := float64(i-reach) / float64(deviation)
		window[i] = math.Exp(-d * d / 2)
		sum += window[i]
	}
	pass := func(p *Pixels, dx, dy int) *Pixels {
		out := &Pixels{p.W, p.H, p.C, make([]float32, len(p.Data))}
		for y := range p.H {
			for x := range p.W {
				for k := range p.C {
					v := 0.0
					for i, share := range window {
						at := min(max(y+(i-reach)*dy, 0), p.H-1)*p.W + min(max(x+(i-reach)*dx, 0), p.W-1)
						v += share * float64(p.Data[at*p.C+k])
					}
					out.Data[(y*p.W+x)*p.C+k] = float32(v / sum)
				}
			}
		}
		return out
	}
	return pass(pass(p, 1, 0), 0, 1)
}

// surroundings is the smallest rectangle round what is more than black in a mask, with padding, and widened, where there is
// room, to the proportions w : h; the whole mask where it is black.
func (p *Pixels) surroundings(padding, w, h int) image.Rectangle {
	all := image.Rect(0, 0, p.W, p.H)
	box := image.Rectangle{}
	for i, v := range p.Data {
		if v > 0 {
			x, y := i%p.W, i/p.W
			box = box.Union(image.Rect(x, y, x+1, y+1))
		}
	}
	if box.Empty() {
		return all
	}
	box = box.Inset(-padding).Intersect(all)
	if box.Dx()*h < box.Dy()*w {
		box.Min.X, box.Max.X = widen(box.Min.X, box.Max.X, (box.Dy()*w+h/2)/h, p.W)
	} else {
		box.Min.Y, box.Max.Y = widen(box.Min.Y, box.Max.Y, (box.Dx()*h+w/2)/w, p.H)
	}
	return box
}

// widen grows from … to about its middle to a length, as far as 0 … most has room.
func widen(from, to, length, most int) (int, int) {
	length = min(max(length, to-from), most)
	from = min(max(from-(length-(to-from))/2, 0), most-length)
	return from, from + length
}
