package dataset

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strings"
)

// Augment says how much pictures are varied each time they are shown; the zero value shows them as they are.
type Augment struct {
	Mirror     bool    // left to right, half of the time; not for writing
	Shift      float64 // up to this share of the side, in both directions
	Rotate     float64 // up to this many degrees, either way
	Zoom       float64 // up to this share closer: 0.1 cuts up to a tenth off
	Brightness float64 // factor between 1 − Brightness and 1 + Brightness; likewise the next two
	Contrast   float64
	Saturation float64
	Hue        float64 // up to this many degrees; pictures whose caption names a colour keep theirs beyond 15
}

// DefaultAugment varies pictures as most sets bear it.
func DefaultAugment() Augment {
	return Augment{Mirror: true, Shift: 0.04, Rotate: 6, Zoom: 0.1, Brightness: 0.08, Contrast: 0.08, Saturation: 0.1}
}

// keptHue is how far a hue may turn and still go by its name.
const keptHue = 15

// check refuses what cannot be meant.
func (a *Augment) check() error {
	for _, v := range []struct {
		name      string
		got, most float64
	}{{"shift", a.Shift, 0.5}, {"rotation", a.Rotate, 180}, {"zoom", a.Zoom, 4}, {"brightness", a.Brightness, 1}, {"contrast", a.Contrast, 1}, {"saturation", a.Saturation, 1}, {"hue", a.Hue, 180}} {
		if !(v.got >= 0 && v.got <= v.most) {
			return fmt.Errorf("an augmentation's %s cannot be %g; choose 0 to %g", v.name, v.got, v.most)
		}
	}
	return nil
}

// variation is one draw of an augmentation.
type variation struct {
	mirror                           bool
	shiftX, shiftY                   float64 // shares of the side
	turn                             float64 // radians
	zoom                             float64
	brightness, contrast, saturation float64
	hue                              float64 // sixths of a full turn
	cropX, cropY                     float64 // where the crop lies: 0 left or top, 1 right or bottom
}

// unvaried is the picture as it is, cropped in the middle.
func unvaried() variation {
	return variation{zoom: 1, brightness: 1, contrast: 1, saturation: 1, cropX: 0.5, cropY: 0.5}
}

// draw always takes the same number of random numbers, so that switching one variation off leaves the others alone.
func (a *Augment) draw(d *draws, crop Crop, caption string) variation {
	v := unvaried()
	v.mirror = d.uniform() < 0.5 && a.Mirror
	v.shiftX, v.shiftY = d.around(a.Shift), d.around(a.Shift)
	v.turn = d.around(a.Rotate) * math.Pi / 180
	v.zoom = 1 + a.Zoom*d.uniform()
	v.brightness, v.contrast, v.saturation = 1+d.around(a.Brightness), 1+d.around(a.Contrast), 1+d.around(a.Saturation)
	most := a.Hue
	if most > keptHue && namesColour(caption) {
		most = keptHue
	}
	v.hue = d.around(most) / 60
	if x, y := d.uniform(), d.uniform(); crop == CropRandom {
		v.cropX, v.cropY = x, y
	}
	return v
}

func namesColour(caption string) bool {
	words := captionWords(caption)
	return slices.ContainsFunc(colours, func(c struct {
		name    string
		samples []uint32
	}) bool {
		return slices.Contains(words, c.name)
	}) || slices.ContainsFunc(words, func(w string) bool {
		return strings.Contains(" gray cyan turquoise violet magenta golden gold crimson scarlet navy lime olive maroon indigo azure ", " "+w+" ")
	})
}

// canvas says what tensors are made of pictures.
type canvas struct {
	size       Size
	channels   int // 1 grey, 3 RGB over background, 4 premultiplied RGBA
	background color.NRGBA
}

// paint writes the variation v of m, which fit has scaled, to out [H W channels] with values in [−1, 1].
func (c *canvas) paint(m *image.RGBA, v variation, out []float32) {
	w, h := float64(c.size.Width), float64(c.size.Height)
	slackX, slackY := float64(m.Rect.Dx())-w, float64(m.Rect.Dy())-h
	// the middle of the crop in m; where m is smaller than the canvas it lies in the middle
	cx, cy := place(slackX, v.cropX)+w/2+v.shiftX*w, place(slackY, v.cropY)+h/2+v.shiftY*h
	sin, cos := math.Sincos(v.turn)
	sin, cos = sin/v.zoom, cos/v.zoom
	s := sampler{m: m, spread: m.Opaque() && slackX >= 0 && slackY >= 0}
	for y := range c.size.Height {
		for x := range c.size.Width {
			dx, dy := float64(x)+0.5-w/2, float64(y)+0.5-h/2
			if v.mirror {
				dx = -dx
			}
			p := s.at(cx+cos*dx-sin*dy-0.5, cy+sin*dx+cos*dy-0.5)
			v.recolour(&p)
			c.put(out[(y*c.size.Width+x)*c.channels:], p)
		}
	}
}

func place(slack, where float64) float64 {
	if slack < 0 {
		where = 0.5
	}
	return math.Round(slack * where)
}

// put writes one premultiplied pixel in 0 … 1.
func (c *canvas) put(to []float32, p [4]float64) {
	if c.channels == 4 {
		for k := range 4 {
			to[k] = float32(2*p[k] - 1)
		}
		return
	}
	b := [3]float64{float64(c.background.R) / 255, float64(c.background.G) / 255, float64(c.background.B) / 255}
	for k := range 3 {
		p[k] += (1 - p[3]) * b[k]
	}
	if c.channels == 1 {
		to[0] = float32(2*luma(p) - 1)
		return
	}
	for k := range 3 {
		to[k] = float32(2*p[k] - 1)
	}
}

func luma(p [4]float64) float64 { return 0.299*p[0] + 0.587*p[1] + 0.114*p[2] }

// sampler reads a picture between its pixels. Beyond the edge lies nothing, or the picture's reflection where spread is set.
type sampler struct {
	m      *image.RGBA
	spread bool
}

// at is the bilinear value at a point, 0 … 1; whole numbers are the middles of pixels.
func (s *sampler) at(x, y float64) (p [4]float64) {
	fx, fy := math.Floor(x), math.Floor(y)
	ix, iy := int(fx), int(fy)
	ax, ay := x-fx, y-fy
	for _, t := range [4]struct {
		x, y   int
		weight float64
	}{{ix, iy, (1 - ax) * (1 - ay)}, {ix + 1, iy, ax * (1 - ay)}, {ix, iy + 1, (1 - ax) * ay}, {ix + 1, iy + 1, ax * ay}} {
		if t.weight == 0 {
			continue
		}
		w, h := s.m.Rect.Dx(), s.m.Rect.Dy()
		if s.spread {
			t.x, t.y = reflect(t.x, w), reflect(t.y, h)
		}
		if t.x < 0 || t.y < 0 || t.x >= w || t.y >= h {
			continue
		}
		pix := s.m.Pix[t.y*s.m.Stride+4*t.x:][:4]
		for k, v := range pix {
			p[k] += t.weight * float64(v) / 255
		}
	}
	return p
}

// reflect folds i into [0, n), the edge pixel repeated once.
func reflect(i, n int) int {
	i %= 2 * n
	if i < 0 {
		i += 2 * n
	}
	if i >= n {
		i = 2*n - 1 - i
	}
	return i
}

// recolour varies the colour of a premultiplied pixel.
func (v *variation) recolour(p *[4]float64) {
	if p[3] == 0 || v.brightness == 1 && v.contrast == 1 && v.saturation == 1 && v.hue == 0 {
		return
	}
	a := p[3]
	c := [4]float64{p[0] / a, p[1] / a, p[2] / a, 1}
	grey := luma(c)
	for k := range 3 {
		c[k] = grey + (c[k]-grey)*v.saturation
		c[k] = ((c[k]*v.brightness)-0.5)*v.contrast + 0.5
		c[k] = min(max(c[k], 0), 1)
	}
	if v.hue != 0 {
		turnHue(&c, v.hue)
	}
	for k := range 3 {
		p[k] = c[k] * a
	}
}

// turnHue turns the hue of HSV by sixths of a full turn; greys stay, and so do value and saturation.
func turnHue(c *[4]float64, sixths float64) {
	most, least := max(c[0], c[1], c[2]), min(c[0], c[1], c[2])
	span := most - least
	if span == 0 {
		return
	}
	var hue float64
	switch most {
	case c[0]:
		hue = (c[1] - c[2]) / span
	case c[1]:
		hue = (c[2]-c[0])/span + 2
	default:
		hue = (c[0]-c[1])/span + 4
	}
	hue = math.Mod(hue+sixths+12, 6)
	for k, offset := range [3]float64{5, 3, 1} {
		t := math.Mod(offset+hue, 6)
		c[k] = most - span*max(0, min(t, 4-t, 1))
	}
}
