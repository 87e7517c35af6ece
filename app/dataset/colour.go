package dataset

import "math"

// oklab is a colour in Ottosson's OKLab (2020), where distances follow what people see: L from 0 (black) to 1 (white).
type oklab struct{ l, a, b float64 }

// toOKLab converts sRGB in 0 … 1.
func toOKLab(r, g, b float64) oklab {
	r, g, b = linear(r), linear(g), linear(b)
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*b)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*b)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*b)
	return oklab{
		0.2104542553*l + 0.7936177850*m - 0.0040720468*s,
		1.9779984951*l - 2.4285922050*m + 0.4505937099*s,
		0.0259040371*l + 0.7827717662*m - 0.8086757660*s,
	}
}

// linear undoes the sRGB curve.
func linear(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// colours are the names of the report with sRGB samples of each; a colour is called by the nearest sample in OKLab.
var colours = []struct {
	name    string
	samples []uint32
}{
	{"black", []uint32{0x000000, 0x1c1c1c}},
	{"grey", []uint32{0x4d4d4d, 0x808080, 0xb4b4b4}},
	{"white", []uint32{0xffffff, 0xededed}},
	{"red", []uint32{0xff0000, 0xd62728, 0xa01515}},
	{"orange", []uint32{0xff8000, 0xffa500, 0xe8702a}},
	{"yellow", []uint32{0xffff00, 0xffd700, 0xf5e663}},
	{"green", []uint32{0x00ff00, 0x008000, 0x4caf50, 0x90ee90, 0x556b2f, 0x9acd32}},
	{"teal", []uint32{0x008080, 0x20b2aa, 0x00ffff, 0x40e0d0}},
	{"blue", []uint32{0x0000ff, 0x1e90ff, 0x87ceeb, 0x000080, 0x4169e1}},
	{"purple", []uint32{0x800080, 0x8a2be2, 0xb19cd9, 0x4b0082}},
	{"pink", []uint32{0xffc0cb, 0xff69b4, 0xff1493, 0xff00ff}},
	{"brown", []uint32{0x8b4513, 0x5c3317, 0xa0724a}},
	{"beige", []uint32{0xf5deb3, 0xe8c9a0, 0xf5f0dc}},
}

// palette is the samples of colours as OKLab, with the index of the name of each.
type palette struct {
	labs  []oklab
	names []int
}

func newPalette() *palette {
	p := &palette{}
	for i, c := range colours {
		for _, s := range c.samples {
			p.labs = append(p.labs, toOKLab(float64(s>>16)/255, float64(s>>8&255)/255, float64(s&255)/255))
			p.names = append(p.names, i)
		}
	}
	return p
}

// name is the index in colours of the name of c.
func (p *palette) name(c oklab) int {
	best, at := math.Inf(1), 0
	for i, s := range p.labs {
		if d := (c.l-s.l)*(c.l-s.l) + (c.a-s.a)*(c.a-s.a) + (c.b-s.b)*(c.b-s.b); d < best {
			best, at = d, p.names[i]
		}
	}
	return at
}

// ColourName gives the name that the report has for an sRGB colour, 8 bits a channel.
func ColourName(r, g, b uint8) string {
	return colours[newPalette().name(toOKLab(float64(r)/255, float64(g)/255, float64(b)/255))].name
}
