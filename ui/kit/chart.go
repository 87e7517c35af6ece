package kit

import (
	"image"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"golang.org/x/image/vector"
)

// Point is one measured value.
type Point struct{ X, Y float64 }

// Series is one curve of a Chart. Its points, by growing X, must not be written to afterwards; appending is fine.
type Series struct {
	Name   string
	Role   fyne.ThemeColorName
	Points []Point
	Smooth float64 // half of what a smoothed curve remembers, as a share of all points; 0 draws the points themselves
	Dots   bool    // few points, each with a mark
}

// Chart draws curves over one axis, with a scale that fits what is there. Pixels are computed on another goroutine; until they are
// there, the last ones stay.
type Chart struct {
	surface
	Unit   string // of the values, behind the legend
	Format func(float64) string

	post    func(func())
	series  []Series
	raster  *canvas.Raster
	frame   *image.RGBA
	pixels  image.Point
	scale   scale // of the frame
	shown   scale // of the labels
	drawing bool
	stale   bool
	high    float32
	back    color.RGBA // behind the frame: another theme has another
}

// scale is the part of the plane that a chart shows.
type scale struct{ left, right, bottom, top float64 }

const (
	chartLeft   = 56 // room for the numbers
	chartBottom = 22
	chartTop    = 26 // room for the legend
	chartRight  = 12
)

// NewChart makes an empty chart that is at least high; post runs a function on the main thread, later.
func NewChart(post func(func()), high float32) *Chart {
	c := &Chart{post: post, high: high, Format: ShortNumber}
	c.raster = canvas.NewRaster(c.generate)
	c.raster.ScaleMode = canvas.ImageScaleFastest
	c.ExtendBaseWidget(c)
	return c
}

// Set shows other curves.
func (c *Chart) Set(series ...Series) {
	c.series = series
	c.draw()
}

// Series is what the chart shows.
func (c *Chart) Series() []Series { return c.series }

// draw starts computing a frame unless one is under way; then it is repeated once that is done.
func (c *Chart) draw() {
	if c.pixels.X <= 0 || c.pixels.Y <= 0 {
		return
	}
	if c.drawing {
		c.stale = true
		return
	}
	c.drawing, c.stale = true, false
	job := plot{series: slices.Clone(c.series), size: c.pixels, density: c.density(), line: RGBA(Line), back: RGBA(Canvas)}
	c.back = job.back
	for _, s := range job.series {
		job.inks = append(job.inks, RGBA(s.Role))
	}
	go func() {
		frame, scale := job.paint()
		c.post(func() {
			c.frame, c.scale, c.drawing = frame, scale, false
			c.Refresh()
			if c.stale {
				c.draw()
			}
		})
	}()
}

func (c *Chart) density() float64 {
	if w := c.raster.Size().Width; w > 0 && c.pixels.X > 0 {
		return float64(c.pixels.X) / float64(w)
	}
	return 1
}

func (c *Chart) generate(w, h int) image.Image {
	if got := image.Pt(w, h); got != c.pixels && w > 0 && h > 0 {
		c.pixels = got
		c.draw()
	}
	if c.frame != nil {
		return c.frame
	}
	empty := image.NewRGBA(image.Rect(0, 0, 1, 1))
	empty.SetRGBA(0, 0, RGBA(Canvas))
	return empty
}

// CreateRenderer implements fyne.Widget.
func (c *Chart) CreateRenderer() fyne.WidgetRenderer {
	r := &painter{}
	r.min = func() fyne.Size { return fyne.NewSize(160, c.high) }
	r.layout = func(size fyne.Size) {
		c.raster.Resize(size)
		r.objects = append([]fyne.CanvasObject{c.raster}, c.labels(size)...)
	}
	r.refresh = func() {
		repaint := c.frame != nil && c.back != RGBA(Canvas)
		if repaint {
			c.draw()
		}
		if c.shown != c.scale || len(r.objects) <= 1 || repaint {
			r.layout(c.Size())
		}
		c.raster.Refresh()
		canvas.Refresh(c)
	}
	r.layout(c.Size())
	return r
}

// labels are the numbers at the axes and the legend.
func (c *Chart) labels(size fyne.Size) []fyne.CanvasObject {
	c.shown = c.scale
	var out []fyne.CanvasObject
	text := func(s string, role fyne.ThemeColorName, x, y float32, align float32) {
		t := canvas.NewText(s, Colour(role))
		t.TextSize = Caption
		t.Move(fyne.NewPos(x-align*t.MinSize().Width, y))
		out = append(out, t)
	}
	x := size.Width - chartRight
	for i := len(c.series) - 1; i >= 0; i-- {
		s := c.series[i]
		name := s.Name
		if name == "" {
			continue
		}
		x -= measure(name, Caption).Width
		text(name, Secondary, x, 5, 0)
		x -= 20
		swatch := canvas.NewRectangle(Colour(s.Role))
		swatch.Resize(fyne.NewSize(14, 2))
		swatch.Move(fyne.NewPos(x, 13))
		out = append(out, swatch)
		if s.Dots {
			dot := canvas.NewCircle(Colour(s.Role))
			dot.Resize(fyne.NewSize(6, 6))
			dot.Move(fyne.NewPos(x+4, 11))
			out = append(out, dot)
		}
		x -= Wide
	}
	if c.Unit != "" {
		text(c.Unit, Secondary, chartLeft, 5, 0)
	}
	s := c.scale
	if s.right <= s.left || s.top <= s.bottom {
		return out
	}
	width, height := size.Width-chartLeft-chartRight, size.Height-chartTop-chartBottom
	for _, v := range ticks(s.bottom, s.top, max(2, int(height/40))) {
		y := chartTop + height*float32((s.top-v)/(s.top-s.bottom))
		text(c.Format(v), Secondary, chartLeft-8, y-lineHeight(Caption)/2, 1)
	}
	for _, v := range ticks(s.left, s.right, max(2, int(width/110))) {
		if v != math.Round(v) {
			continue // steps are whole
		}
		at := chartLeft + width*float32((v-s.left)/(s.right-s.left))
		text(strconv.FormatFloat(v, 'f', -1, 64), Secondary, at, size.Height-chartBottom+4, 0.5)
	}
	return out
}

// plot is one frame to be painted.
type plot struct {
	series     []Series
	inks       []color.RGBA
	size       image.Point
	density    float64
	line, back color.RGBA
}

func (p *plot) paint() (*image.RGBA, scale) {
	img := image.NewRGBA(image.Rectangle{Max: p.size})
	fillAll(img, p.back)
	curves := make([][]Point, len(p.series))
	for i, s := range p.series {
		if curves[i] = tamed(s.Points); s.Smooth > 0 {
			curves[i] = Smoothed(curves[i], s.Smooth)
		}
	}
	sc, ok := p.fit(curves)
	if !ok {
		return img, scale{}
	}
	for _, v := range ticks(sc.bottom, sc.top, max(2, int(p.inner().height/p.density/40))) {
		_, y := p.at(sc, Point{sc.left, v})
		row := int(math.Round(y))
		for x := int(p.inner().left); x < p.size.X-int(chartRight*p.density); x++ {
			img.SetRGBA(x, row, p.line)
		}
	}
	for i, s := range p.series {
		if s.Smooth > 0 { // what was measured, faintly behind the smoothed curve
			faint := mix(p.inks[i], p.back, 0.28)
			p.stroke(img, sc, p.thin(sc, s.Points), 1*p.density, faint)
		}
	}
	for i, s := range p.series {
		p.stroke(img, sc, p.thin(sc, curves[i]), 1.6*p.density, p.inks[i])
		if s.Dots {
			for _, q := range curves[i] {
				x, y := p.at(sc, q)
				p.dot(img, x, y, 3*p.density, p.inks[i])
			}
		}
	}
	return img, sc
}

// inside is the part of the picture that curves are in.
type inside struct{ left, top, width, height float64 }

func (p *plot) inner() inside {
	d := p.density
	return inside{chartLeft * d, chartTop * d, float64(p.size.X) - (chartLeft+chartRight)*d, float64(p.size.Y) - (chartTop+chartBottom)*d}
}

func (p *plot) at(s scale, q Point) (x, y float64) {
	f := p.inner()
	return f.left + f.width*(q.X-s.left)/(s.right-s.left), f.top + f.height*(s.top-q.Y)/(s.top-s.bottom)
}

// fit finds a scale that shows all smoothed curves and nearly all single values: a few wild ones may leave the picture.
func (p *plot) fit(curves [][]Point) (scale, bool) {
	s := scale{math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)}
	for i, curve := range curves {
		var all []float64
		for _, q := range p.series[i].Points {
			if good(q.Y) {
				all = append(all, q.Y)
				s.left, s.right = min(s.left, q.X), max(s.right, q.X)
			}
		}
		for _, q := range curve {
			if good(q.Y) {
				s.bottom, s.top = min(s.bottom, q.Y), max(s.top, q.Y)
			}
		}
		if len(all) > 0 {
			slices.Sort(all)
			s.bottom, s.top = min(s.bottom, all[len(all)*2/100]), max(s.top, all[(len(all)-1)*98/100])
		}
	}
	if math.IsInf(s.left, 0) {
		return s, false
	}
	s.left = min(s.left, 0)
	const few = 10 // steps that are worth an axis
	s.right = max(s.right, s.left+few)
	if s.top-s.bottom < 1e-9*math.Max(math.Abs(s.top), 1e-9) {
		room := math.Max(math.Abs(s.top)*0.1, 1e-9)
		s.top, s.bottom = s.top+room, s.bottom-room
	}
	if room := (s.top - s.bottom) * 0.06; true {
		s.top += room
		if low := s.bottom - room; s.bottom >= 0 && low < 0 {
			s.bottom = 0
		} else {
			s.bottom = low
		}
	}
	return s, true
}

// thin leaves no more than two points to a pixel, the least and the greatest, so that long runs are drawn as quickly as short ones.
func (p *plot) thin(s scale, points []Point) []Point {
	if width := int(p.inner().width); len(points) > 2*width && width > 0 {
		out := make([]Point, 0, 2*width)
		for i := range width {
			part := points[i*len(points)/width : (i+1)*len(points)/width]
			lo, hi := part[0], part[0]
			for _, q := range part {
				if q.Y < lo.Y {
					lo = q
				}
				if q.Y > hi.Y {
					hi = q
				}
			}
			if lo.X > hi.X {
				lo, hi = hi, lo
			}
			out = append(out, lo, hi)
		}
		return out
	}
	return points
}

// stroke draws a line through points. Every piece is a rectangle along it.
func (p *plot) stroke(img *image.RGBA, s scale, points []Point, width float64, ink color.RGBA) {
	f := p.inner()
	z := vector.NewRasterizer(p.size.X, p.size.Y)
	clip := func(y float64) float64 { return max(f.top-width, min(f.top+f.height+width, y)) }
	last, begun := [2]float64{}, false
	for _, q := range points {
		if !good(q.Y) {
			begun = false
			continue
		}
		x, y := p.at(s, q)
		y = clip(y)
		if begun {
			segment(z, last[0], last[1], x, y, width)
		}
		last, begun = [2]float64{x, y}, true
	}
	z.Draw(img, img.Rect, image.NewUniform(ink), image.Point{})
}

func segment(z *vector.Rasterizer, x0, y0, x1, y1, width float64) {
	dx, dy := x1-x0, y1-y0
	length := math.Hypot(dx, dy)
	if length < 1e-6 {
		return
	}
	nx, ny := -dy/length*width/2, dx/length*width/2
	ex, ey := dx/length*width/4, dy/length*width/4 // pieces overlap a little, so that no joint shows
	z.MoveTo(float32(x0+nx-ex), float32(y0+ny-ey))
	z.LineTo(float32(x1+nx+ex), float32(y1+ny+ey))
	z.LineTo(float32(x1-nx+ex), float32(y1-ny+ey))
	z.LineTo(float32(x0-nx-ex), float32(y0-ny-ey))
	z.ClosePath()
}

func (p *plot) dot(img *image.RGBA, x, y, radius float64, ink color.RGBA) {
	z := vector.NewRasterizer(p.size.X, p.size.Y)
	const corners = 16
	for i := range corners {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / corners)
		at := [2]float32{float32(x + radius*cos), float32(y + radius*sin)}
		if i == 0 {
			z.MoveTo(at[0], at[1])
		} else {
			z.LineTo(at[0], at[1])
		}
	}
	z.ClosePath()
	z.Draw(img, img.Rect, image.NewUniform(ink), image.Point{})
}

// tamed limits single wild values of a long series, which would flatten all others, to a little beyond where nearly all lie.
func tamed(points []Point) []Point {
	const long = 50
	if len(points) < long {
		return points
	}
	var all []float64
	for _, q := range points {
		if good(q.Y) {
			all = append(all, q.Y)
		}
	}
	if len(all) < long {
		return points
	}
	slices.Sort(all)
	lo, hi := all[len(all)*2/100], all[(len(all)-1)*98/100]
	room := (hi - lo) / 4
	out := slices.Clone(points)
	for i := range out {
		if good(out[i].Y) {
			out[i].Y = max(lo-room, min(hi+room, out[i].Y))
		}
	}
	return out
}

// Smoothed is the moving average that remembers about a share of all points, begun without a bias towards the first value.
func Smoothed(points []Point, share float64) []Point {
	keep := math.Pow(0.5, 1/math.Max(1, share*float64(len(points))))
	out := make([]Point, 0, len(points))
	sum, weight := 0.0, 0.0
	for _, q := range points {
		if !good(q.Y) {
			continue
		}
		sum, weight = keep*sum+(1-keep)*q.Y, keep*weight+1-keep
		out = append(out, Point{q.X, sum / weight})
	}
	return out
}

// ticks are round numbers from lo to hi, about n of them.
func ticks(lo, hi float64, n int) []float64 {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(n))))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*factor) <= float64(n) {
			step *= factor
			break
		}
	}
	var out []float64
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9 && len(out) < 100; i++ {
		out = append(out, math.Round(i)*step+0) // no −0
	}
	return out
}

func good(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func mix(a, b color.RGBA, share float64) color.RGBA {
	m := func(x, y uint8) uint8 { return uint8(math.Round(float64(x)*share + float64(y)*(1-share))) }
	return color.RGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), 255}
}

func fillAll(img *image.RGBA, c color.RGBA) {
	for i := 0; i < len(img.Pix); i += 4 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2], img.Pix[i+3] = c.R, c.G, c.B, 255
	}
}

// ShortNumber writes a number with three digits that count, as axes do: 0.25, 1.2, 340, 5e-05.
func ShortNumber(v float64) string {
	if a := math.Abs(v); a > 0 && (a < 1e-3 || a >= 1e6) {
		return strings.Replace(strconv.FormatFloat(v, 'g', 3, 64), "e-0", "e-", 1)
	}
	return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'g', 4, 64)
}
