package report

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"atelier/assets"
	"atelier/compute/host"
	"atelier/models/catalog"
	"atelier/models/pipeline"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func dot(c color.NRGBA, at int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	for i := range 32 * 32 {
		if dx, dy := i%32-at, i/32-16; dx*dx+dy*dy < 64 {
			m.SetNRGBA(i%32, i/32, c)
		}
	}
	return m
}

const hostile = `<script>alert("x")</script> & | *bold* [a](b) "quoted"`

func example() *Page {
	return &Page{Title: "A <model>", Intro: hostile, Sections: []Section{{
		Title: "Losses", Text: []string{hostile}, List: []string{hostile},
		Tables: []Table{{Caption: hostile, Head: []string{"a", hostile}, Rows: [][]string{{"1", hostile}, {"2"}, {"3", "4", "5"}}}},
		Charts: []Chart{{Caption: "loss", X: "step", Y: hostile, Series: []Series{
			{Name: "train", X: []float64{0, 10, 20, 30}, Y: []float64{1, 0.5, 0.25, 0.3}},
			{Name: hostile, X: []float64{0, 10, 20, 30, 40}, Y: []float64{1, math.NaN(), 0.5, math.Inf(1), 0.75}}}}},
		Sheets: []Sheet{BeforeAfter(hostile, [2]string{"before", "after"}, []string{hostile}, []image.Image{dot(color.NRGBA{255, 0, 0, 255}, 9), nil}, []image.Image{dot(color.NRGBA{0, 0, 255, 255}, 20), nil, nil})},
	}}}
}

// TestHTML reads the page as XML, which it also is but for its doctype: words arrive as words, and what they hold is no markup.
func TestHTML(t *testing.T) {
	page, err := example().HTML()
	must(t, err)
	if !bytes.HasPrefix(page, []byte("<!doctype html>\n")) || bytes.Contains(page, []byte("<script>")) || bytes.Contains(page, []byte("ZgotmplZ")) {
		t.Errorf("page:\n%s", page)
	}
	text := regexp.MustCompile(`<(meta|img)([^>]*[^/])>`).ReplaceAll(page[len("<!doctype html>\n"):], []byte("<$1$2/>"))
	dec := xml.NewDecoder(bytes.NewReader(text))
	counts, said := map[string]int{}, 0
	var pictures []string
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			break
		}
		must(t, err)
		switch tok := tok.(type) {
		case xml.StartElement:
			counts[tok.Name.Local]++
			for _, a := range tok.Attr {
				if a.Name.Local == "src" {
					pictures = append(pictures, a.Value)
				}
				if strings.Contains(a.Value, "http") {
					t.Errorf("the page needs %s", a.Value)
				}
			}
		case xml.CharData:
			if string(tok) == hostile {
				said++
			}
		}
	}
	for tag, want := range map[string]int{"h1": 1, "h2": 1, "li": 1, "table": 2, "svg": 1, "img": 2, "polyline": 4, "figure": 2} {
		if counts[tag] != want {
			t.Errorf("%d <%s>, want %d", counts[tag], tag, want)
		}
	}
	if said != 10 {
		t.Errorf("the words occur %d times, want 10", said)
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(pictures[1], "data:image/png;base64,"))
	must(t, err)
	m, err := png.Decode(bytes.NewReader(data))
	must(t, err)
	if c := color.NRGBAModel.Convert(m.At(20, 16)); m.Bounds() != image.Rect(0, 0, 32, 32) || c != (color.NRGBA{0, 0, 255, 255}) {
		t.Errorf("the second picture is %v with %v", m.Bounds(), c)
	}
}

func TestMarkdown(t *testing.T) {
	got := example().Markdown(2)
	for _, want := range []string{
		"## A &lt;model&gt;\n", "### Losses\n", `&lt;script&gt;alert("x")&lt;/script&gt; &amp; \| \*bold\* \[a\](b) "quoted"`, "| 2 |  |\n", "| 3 | 4 |\n",
		"| train | 1 | 0.25 | 20 | 0.3 |\n", `\*bold\* \[a\](b) "quoted" | 1 | 0.5 | 20 | 0.75 |` + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the card lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "<script>") {
		t.Error("the card holds a script")
	}
}

func TestCurves(t *testing.T) {
	c := Chart{X: "step", Y: "loss", Series: []Series{{"a", []float64{0, 100}, []float64{2, 4}}}}
	// the plot spans 64 to 744 pixels across and 276 to 12 down
	if svg := string(c.svg()); !strings.Contains(svg, `points="64.0,276.0 744.0,12.0"`) || !strings.Contains(svg, ">100</text>") || !strings.Contains(svg, ">2.5</text>") {
		t.Error(svg)
	}
	c.Log, c.Series[0] = true, Series{"a", []float64{0, 1, 2, 3}, []float64{1, 0, 10, 100}}
	if svg := string(c.svg()); !strings.Contains(svg, `points="64.0,276.0 64.0,276.0"`) || !strings.Contains(svg, `points="517.3,144.0 744.0,12.0"`) {
		t.Error(svg)
	}
	for _, s := range [][]Series{nil, {{"a", nil, nil}}, {{"a", []float64{1}, []float64{math.NaN()}}}} {
		if svg := string((&Chart{Series: s}).svg()); !strings.Contains(svg, "nothing to show yet") {
			t.Error(svg)
		}
	}
	for _, y := range []float64{0, 5, -1e-30, 1e290} {
		if svg := string((&Chart{Series: []Series{{"a", []float64{7}, []float64{y}}}}).svg()); strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Count(svg, "<polyline") != 1 {
			t.Errorf("one point at %v: %s", y, svg)
		}
	}
}

// TestLongCurvesKeepExtremes thins 100,000 points without losing a spike.
func TestLongCurvesKeepExtremes(t *testing.T) {
	var s Series
	for i := range 100_000 {
		s.X, s.Y = append(s.X, float64(i)), append(s.Y, 1)
	}
	s.Y[54_321], s.Y[77_777] = 10, 0
	svg := string((&Chart{Series: []Series{s}}).svg())
	if len(svg) > 80_000 || !strings.Contains(svg, "433.4,12.0") || !strings.Contains(svg, "592.9,276.0") {
		t.Errorf("%d bytes", len(svg))
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		a    axis
		want string
	}{
		{axis{least: 0, most: 100}, "0 20 40 60 80 100"}, {axis{least: 0.013, most: 0.09}, "0.02 0.04 0.06 0.08"}, {axis{least: -3, most: 3}, "-3 -2 -1 0 1 2 3"},
		{axis{least: -3, most: 1, log: true}, "0.001 0.01 0.1 1 10"}, {axis{least: 0, most: 0.5, log: true}, "1 1.5 2 2.5 3"}, {axis{least: 0, most: 2e7}, "0 5e+06 1e+07 1.5e+07 2e+07"},
	} {
		var got []string
		for _, v := range ticks(&c.a) {
			got = append(got, short(v))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%+v: %s, want %s", c.a, g, c.want)
		}
	}
}

func TestWriteIsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "deep", "report.html")
	must(t, example().Write(path))
	data, err := os.ReadFile(path)
	must(t, err)
	if !bytes.HasSuffix(data, []byte("</html>\n")) {
		t.Error("the page has no end")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if err := example().Write(dir); err == nil || !strings.Contains(err.Error(), "this is a folder") {
		t.Errorf("%v", err)
	}
}

func TestEvaluate(t *testing.T) {
	m, err := catalog.OpenFS(assets.Sticker(), ".", assets.StickerName)
	must(t, err)
	defer m.Close()
	e, err := pipeline.NewExtractor(host.New(host.Options{}), m)
	must(t, err)
	defer e.Close()
	var train, held []image.Image
	for i := range 6 {
		train = append(train, dot(color.NRGBA{uint8(40 * i), 200, 30, 255}, 6+3*i))
		held = append(held, dot(color.NRGBA{uint8(40*i + 15), 180, 60, 255}, 8+3*i))
	}
	made := []image.Image{train[2], dot(color.NRGBA{255, 0, 255, 255}, 16), dot(color.NRGBA{0, 0, 255, 255}, 9), dot(color.NRGBA{255, 255, 255, 255}, 22), train[4]}
	last := 0
	v, err := Evaluate(t.Context(), e, held, made, train, EvaluateOptions{Progress: func(done, total int) { last = 100*done + total }})
	must(t, err)
	if v.FID == nil || *v.FID <= 0 || v.KID == nil || v.Manifold == nil || v.Neighbours == nil || last != 1717 || len(v.Notes) != 1 {
		t.Fatalf("%+v", v)
	}
	if n := v.Neighbours; n.Memorised < 2 || !n.Matches[0].Memorised || n.Matches[0].Train != 2 || n.Matches[4].Train != 4 || n.Matches[1].Ratio < n.Matches[0].Ratio {
		t.Errorf("neighbours %+v", n)
	}
	r, err := e.Reconstruct(t.Context(), held, nil)
	must(t, err)
	v.Reconstructions(r)
	page := &Page{Title: "t", Sections: []Section{v.Section()}}
	card := page.Markdown(1)
	for _, want := range []string{"| FID (sticker VAE mid-block features, not Inception) | ", "| PSNR of reconstructions, dB | ", "5 made pictures against 6 real ones", "of 5 | none |", "FID is from 5 pictures and so comes out too high"} {
		if !strings.Contains(card, want) {
			t.Errorf("the card lacks %q:\n%s", want, card)
		}
	}
	if s := v.Section().Sheets[0]; len(s.Rows) != 5 || s.Rows[0].Label != "0.00 of the typical distance, suspected copy" {
		t.Errorf("%+v", s.Rows[0])
	}
	none, err := Evaluate(t.Context(), e, nil, nil, nil, EvaluateOptions{})
	must(t, err)
	if none.FID != nil || none.Neighbours != nil || len(none.Section().Tables) != 0 || len(none.Notes) != 1 {
		t.Errorf("%+v", none)
	}
}
