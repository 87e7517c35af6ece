package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// Chart is curves over a common horizontal axis, such as losses over steps. What is infinite or no number leaves a gap.
type Chart struct {
	Caption string
	X, Y    string // what the axes show
	Log     bool   // the vertical axis is logarithmic; values of 0 and less leave gaps
	Series  []Series
}

// Series is one curve. X ascends; X and Y have the same length, and what the longer has more is not shown.
type Series struct {
	Name string
	X, Y []float64
}

const (
	chartWidth, chartHeight = 760, 320
	marginLeft, marginRight = 64, 16
	marginTop, marginBottom = 12, 44
	mostPoints              = 1500 // of a curve; between them, extremes are kept
)

// colours of curves, told apart also by those who see red and green alike (Okabe and Ito).
var colours = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999"}

// axis maps values to pixels.
type axis struct {
	least, most float64
	from, to    float64
	log         bool
}

func (a *axis) at(v float64) float64 {
	if a.log {
		v = math.Log10(v)
	}
	return a.from + (v-a.least)/(a.most-a.least)*(a.to-a.from)
}

// extent makes an axis of what its values span; ok is false where there is nothing to show.
func extent(values func(yield func(float64)), log bool, from, to float64) (axis, bool) {
	a := axis{math.Inf(1), math.Inf(-1), from, to, log}
	values(func(v float64) {
		if log {
			v = math.Log10(v)
		}
		a.least, a.most = min(a.least, v), max(a.most, v)
	})
	if a.least > a.most {
		return a, false
	}
	if span := a.most - a.least; span < 1e-12*max(math.Abs(a.most), 1e-300) || span == 0 {
		pad := max(math.Abs(a.most)*0.1, 1e-9)
		a.least, a.most = a.least-pad, a.most+pad
	}
	return a, true
}

// shown reports whether a point is on the chart.
func (c *Chart) shown(x, y float64) bool {
	return x-x == 0 && y-y == 0 && math.Abs(x) < 1e300 && math.Abs(y) < 1e300 && (!c.Log || y > 0)
}

// points calls f for every point that is shown.
func (c *Chart) points(f func(x, y float64)) {
	for _, s := range c.Series {
		for i := range min(len(s.X), len(s.Y)) {
			if c.shown(s.X[i], s.Y[i]) {
				f(s.X[i], s.Y[i])
			}
		}
	}
}

// svg draws the chart.
func (c *Chart) svg() template.HTML {
	x, ok := extent(func(f func(float64)) { c.points(func(x, _ float64) { f(x) }) }, false, marginLeft, chartWidth-marginRight)
	y, _ := extent(func(f func(float64)) { c.points(func(_, y float64) { f(y) }) }, c.Log, chartHeight-marginBottom, marginTop)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, sans-serif" font-size="11">`, chartWidth, chartHeight+18*len(c.Series), chartWidth, chartHeight+18*len(c.Series))
	if !ok {
		b.WriteString(`<text x="20" y="30" fill="currentColor">nothing to show yet</text></svg>`)
		return template.HTML(b.String())
	}
	for _, v := range ticks(&x) {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#8884"/><text x="%.1f" y="%d" text-anchor="middle" fill="currentColor">%s</text>`,
			x.at(v), x.at(v), marginTop, chartHeight-marginBottom, x.at(v), chartHeight-marginBottom+15, short(v))
	}
	for _, v := range ticks(&y) {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#8884"/><text x="%d" y="%.1f" text-anchor="end" fill="currentColor">%s</text>`,
			marginLeft, chartWidth-marginRight, y.at(v), y.at(v), marginLeft-6, y.at(v)+4, short(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="currentColor">%s</text>`, (marginLeft+chartWidth-marginRight)/2, chartHeight-8, html.EscapeString(c.X))
	fmt.Fprintf(&b, `<text transform="translate(12 %d) rotate(-90)" text-anchor="middle" fill="currentColor">%s</text>`, (marginTop+chartHeight-marginBottom)/2, html.EscapeString(c.Y))
	for i, s := range c.Series {
		colour := colours[i%len(colours)]
		for _, line := range c.lines(s, &x, &y) {
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" points="%s"/>`, colour, line)
		}
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="18" height="4" fill="%s"/><text x="%d" y="%d" fill="currentColor">%s</text>`, marginLeft, chartHeight+18*i+4, colour, marginLeft+26, chartHeight+18*i+10, html.EscapeString(s.Name))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// lines is the runs of a curve between its gaps. A run of one point is drawn as a dot: a line with round ends.
func (c *Chart) lines(s Series, x, y *axis) []string {
	n := min(len(s.X), len(s.Y))
	stride := max(n/mostPoints, 1)
	var out, run []string
	low, high := -1, -1 // extremes since the last point that was drawn
	draw := func() {
		points := []int{min(low, high), max(low, high)}
		if low < 0 {
			points = nil
		} else if low == high {
			points = points[:1]
		}
		for _, i := range points {
			run = append(run, fmt.Sprintf("%.1f,%.1f", x.at(s.X[i]), y.at(s.Y[i])))
		}
		low, high = -1, -1
	}
	end := func() {
		draw()
		if len(run) == 1 {
			run = append(run, run[0])
		}
		if len(run) > 0 {
			out = append(out, strings.Join(run, " "))
		}
		run = nil
	}
	for i := range n {
		if !c.shown(s.X[i], s.Y[i]) {
			end()
			continue
		}
		if low < 0 || s.Y[i] < s.Y[low] {
			low = i
		}
		if high < 0 || s.Y[i] > s.Y[high] {
			high = i
		}
		if (i+1)%stride == 0 {
			draw()
		}
	}
	end()
	return out
}

// ticks are four to ten round values of an axis, or powers of ten.
func ticks(a *axis) []float64 {
	var out []float64
	if a.log && a.most-a.least >= 1 {
		for e := math.Ceil(a.least); e <= a.most; e += math.Ceil((a.most - a.least) / 10) {
			out = append(out, math.Pow(10, e))
		}
		return out
	}
	least, most := a.least, a.most
	if a.log {
		least, most = math.Pow(10, least), math.Pow(10, most)
	}
	raw := (most - least) / 6
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5, 10} {
		if f*step >= raw {
			step *= f
			break
		}
	}
	for i := math.Ceil(least / step); i*step <= most*(1+1e-12) && len(out) < 20; i++ {
		out = append(out, i*step)
	}
	return out
}

// short writes a number in as few digits as tell it.
func short(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return "0"
	case a >= 1e6 || a < 1e-4:
		return fmt.Sprintf("%.3g", v)
	default:
		return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.5f", v), "0"), ".")
	}
}

// table says of each curve how it began, where it was lowest, and how it ended.
func (c *Chart) table() Table {
	t := Table{Caption: c.Caption, Head: []string{c.Y, "first", "lowest", "at " + c.X, "last"}}
	for _, s := range c.Series {
		first, low, last := -1, -1, -1
		for i := range min(len(s.X), len(s.Y)) {
			if !c.shown(s.X[i], s.Y[i]) {
				continue
			}
			if first < 0 {
				first = i
			}
			if low < 0 || s.Y[i] < s.Y[low] {
				low = i
			}
			last = i
		}
		if first >= 0 {
			t.Rows = append(t.Rows, []string{s.Name, figure(s.Y[first]), figure(s.Y[low]), short(s.X[low]), figure(s.Y[last])})
		}
	}
	return t
}

func figure(v float64) string { return fmt.Sprintf("%.4g", v) }
