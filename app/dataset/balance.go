package dataset

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"
)

// Balance describes what a set shows and says, and what it has too much and too little of.
type Balance struct {
	Pictures   int            `json:"pictures"`
	Captions   CaptionBalance `json:"captions"`
	Colours    []ColourShare  `json:"colours"` // every name, most first
	Brightness Brightness     `json:"brightness"`
	Sides      []Bin          `json:"sides"`   // of the shorter sides in pixels
	Aspects    []Bin          `json:"aspects"` // of width over height
	Formats    map[string]int `json:"formats"`
	Alpha      float64        `json:"transparent_share"` // of the pictures that are transparent somewhere
	Over       []string       `json:"over_represented"`  // sentences
	Under      []string       `json:"under_represented"`
}

// CaptionBalance counts what captions say.
type CaptionBalance struct {
	Captioned   int            `json:"captioned"`
	Distinct    int            `json:"distinct"`
	Origins     map[Origin]int `json:"origins"`
	MedianWords int            `json:"median_words"`
	Vocabulary  int            `json:"vocabulary"`
	Words       []WordCount    `json:"words"`      // the most frequent, without words of grammar
	Once        int            `json:"words_once"` // words in one caption only
}

// WordCount is a word and in how many captions it occurs.
type WordCount struct {
	Word     string  `json:"word"`
	Captions int     `json:"captions"`
	Share    float64 `json:"share"` // of all captions
}

// ColourShare is how much of a set is of one colour.
type ColourShare struct {
	Name     string  `json:"name"`
	Share    float64 `json:"share"`    // of the pictures' opaque area, each picture counting the same
	Dominant int     `json:"dominant"` // pictures that have most of this
	Named    int     `json:"named"`    // captions that have the word
}

// Brightness is how light pictures are, as OKLab lightness from 0 to 1.
type Brightness struct {
	Mean      float64 `json:"mean"`
	Deviation float64 `json:"deviation"`
	Bins      []Bin   `json:"bins"`
}

// Bin is one bar of a histogram.
type Bin struct {
	Label string `json:"label"`
	Count int    `json:"count"`
}

const (
	mostWords   = 50  // that are listed
	mostNamed   = 12  // in a sentence about what is over- or under-represented
	wordOver    = 0.5 // of the captions
	colourOver  = 2.0 // times an even share
	colourUnder = 0.25
	mostShare   = 0.6  // of the pictures, in one bin
	scarce      = 0.05 // likewise
	// fewest is how many pictures a set must have before "once" means anything.
	fewest = 8
)

// balance describes the items that have been looked at.
func (d *Dataset) balance() Balance {
	b := Balance{Pictures: len(d.Items), Formats: map[string]int{}, Over: []string{}, Under: []string{}}
	transparent := 0
	for _, it := range d.Items {
		b.Formats[it.Format]++
		if m := it.look.Load(); m != nil && m.opaque < 1 {
			transparent++
		}
	}
	if b.Pictures > 0 {
		b.Alpha = float64(transparent) / float64(b.Pictures)
	}
	words := d.countWords(&b.Captions)
	d.countColours(&b, words)
	d.countLight(&b.Brightness)
	b.Sides, b.Aspects = d.countSizes()
	b.judge(words)
	return b
}

// grammar is the English words that say nothing about a picture.
const grammar = " a an the of in on at with and or to for from by is are was its it this that as into over under near up down out off his her their very "

// captionWords are the distinct words of a caption in lower case, without those of grammar.
func captionWords(caption string) []string {
	fields := strings.FieldsFunc(strings.ToLower(caption), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r) && r != '\'' && r != '-' && r != '’'
	})
	var out []string
	for _, w := range fields {
		w = strings.Trim(w, "-'’")
		if w != "" && !strings.Contains(grammar, " "+w+" ") && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// countWords fills in c and gives the number of captions of every word.
func (d *Dataset) countWords(c *CaptionBalance) map[string]int {
	count, distinct := map[string]int{}, map[string]bool{}
	c.Origins, c.Words = map[Origin]int{}, []WordCount{}
	var lengths []int
	for _, it := range d.Items {
		if it.Caption == "" {
			continue
		}
		c.Captioned++
		c.Origins[it.Origin]++
		distinct[it.Caption] = true
		lengths = append(lengths, len(strings.Fields(it.Caption)))
		for _, w := range captionWords(it.Caption) {
			count[w]++
		}
	}
	c.Distinct, c.Vocabulary = len(distinct), len(count)
	if len(lengths) > 0 {
		slices.Sort(lengths)
		c.MedianWords = lengths[len(lengths)/2]
	}
	for _, w := range slices.Sorted(maps.Keys(count)) {
		if count[w] == 1 {
			c.Once++
		}
		c.Words = append(c.Words, WordCount{w, count[w], float64(count[w]) / float64(c.Captioned)})
	}
	slices.SortStableFunc(c.Words, func(a, b WordCount) int { return b.Captions - a.Captions })
	c.Words = c.Words[:min(len(c.Words), mostWords)]
	return count
}

func (d *Dataset) countColours(b *Balance, words map[string]int) {
	b.Colours = make([]ColourShare, len(colours))
	seen := 0
	for i, c := range colours {
		b.Colours[i] = ColourShare{Name: c.name, Named: words[c.name]}
	}
	for _, it := range d.Items {
		m := it.look.Load()
		if m == nil || m.opaque == 0 {
			continue
		}
		seen++
		most := 0
		for i, s := range m.shares {
			b.Colours[i].Share += s
			if s > m.shares[most] {
				most = i
			}
		}
		b.Colours[most].Dominant++
	}
	for i := range b.Colours {
		b.Colours[i].Share /= float64(max(seen, 1))
	}
	slices.SortStableFunc(b.Colours, func(x, y ColourShare) int { return cmp.Compare(y.Share, x.Share) })
}

func (d *Dataset) countLight(b *Brightness) {
	const bins = 5
	labels := [bins]string{"very dark", "dark", "middling", "light", "very light"}
	for _, l := range labels {
		b.Bins = append(b.Bins, Bin{Label: l})
	}
	n, sum, squares := 0.0, 0.0, 0.0
	for _, it := range d.Items {
		m := it.look.Load()
		if m == nil || m.opaque == 0 {
			continue
		}
		n++
		sum += m.brightness
		squares += m.brightness * m.brightness
		b.Bins[min(max(int(m.brightness*bins), 0), bins-1)].Count++
	}
	if n > 0 {
		b.Mean = sum / n
		b.Deviation = math.Sqrt(max(squares/n-b.Mean*b.Mean, 0))
	}
}

func (d *Dataset) countSizes() (sides, aspects []Bin) {
	edges := []int{64, 128, 256, 512, 1024, 2048}
	for i, e := range edges {
		label := fmt.Sprintf("%d to %d", edges[max(i-1, 0)], e-1)
		if i == 0 {
			label = fmt.Sprintf("below %d", e)
		}
		sides = append(sides, Bin{Label: label})
	}
	sides = append(sides, Bin{Label: "2048 and more"})
	shapes := []struct {
		label string
		most  float64
	}{{"tall, below 1:2", 0.4999}, {"1:2 to 3:4", 0.7499}, {"3:4 to 1:1", 0.98}, {"square", 1.02}, {"1:1 to 4:3", 1.3334}, {"4:3 to 2:1", 2.0001}, {"wide, above 2:1", math.Inf(1)}}
	for _, s := range shapes {
		aspects = append(aspects, Bin{Label: s.label})
	}
	for _, it := range d.Items {
		short := min(it.Width, it.Height)
		n := 0
		for n < len(edges) && short >= edges[n] {
			n++
		}
		sides[n].Count++
		aspect := float64(it.Width) / float64(max(it.Height, 1))
		for i, s := range shapes {
			if aspect <= s.most {
				aspects[i].Count++
				break
			}
		}
	}
	return sides, aspects
}

// judge puts what stands out into sentences.
func (b *Balance) judge(words map[string]int) {
	if b.Pictures == 0 {
		return
	}
	for _, w := range b.Captions.Words {
		if w.Share > wordOver && b.Captions.Captioned >= fewest && len(b.Over) < mostNamed {
			b.Over = append(b.Over, fmt.Sprintf("the word “%s”: in %s of the captions", w.Word, percent(w.Share)))
		}
	}
	if c := b.Captions; c.Captioned >= fewest {
		var rare []string
		for _, w := range slices.Sorted(maps.Keys(words)) {
			if words[w] == 1 {
				rare = append(rare, w)
			}
		}
		if len(rare) > 0 {
			b.Under = append(b.Under, fmt.Sprintf("words in a single caption (%d of %d): %s", len(rare), c.Vocabulary, list(rare)))
		}
	}
	b.judgeColours()
	b.judgeShapes()
}

func (b *Balance) judgeColours() {
	even := 1 / float64(len(colours))
	var missing []string
	for _, c := range b.Colours {
		switch {
		case c.Share > colourOver*even:
			b.Over = append(b.Over, fmt.Sprintf("%s: %s of the area, most of %s, named in %s", c.Name, percent(c.Share), Count(c.Dominant, "picture"), Count(c.Named, "caption")))
		case c.Share < colourUnder*even:
			missing = append(missing, fmt.Sprintf("%s (%s)", c.Name, percent(c.Share)))
		}
	}
	if len(missing) > 0 {
		b.Under = append(b.Under, "colours: "+strings.Join(missing, ", "))
	}
}

// judgeShapes names a lightness or a shape that most pictures share, and darkness or light that is missing.
func (b *Balance) judgeShapes() {
	if b.Pictures < fewest {
		return
	}
	share := func(bins ...Bin) float64 {
		n := 0
		for _, bin := range bins {
			n += bin.Count
		}
		return float64(n) / float64(b.Pictures)
	}
	light := b.Brightness.Bins
	for _, bin := range light {
		if s := share(bin); s > mostShare {
			b.Over = append(b.Over, fmt.Sprintf("%s pictures: %s", bin.Label, percent(s)))
		}
	}
	for _, bin := range b.Aspects {
		if s := share(bin); s > mostShare && s < 1 { // a set of one shape is meant to be
			b.Over = append(b.Over, fmt.Sprintf("the shape “%s”: %s of the pictures", bin.Label, percent(s)))
		}
	}
	if s := share(light[:2]...); s < scarce {
		b.Under = append(b.Under, "dark pictures: "+percent(s))
	}
	if s := share(light[3:]...); s < scarce {
		b.Under = append(b.Under, "light pictures: "+percent(s))
	}
}

func percent(v float64) string {
	if v > 0 && v < 0.01 {
		return fmt.Sprintf("%.1f %%", 100*v)
	}
	return fmt.Sprintf("%.0f %%", 100*v)
}

// Count writes a number with its noun.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func list(words []string) string {
	more := len(words) - mostNamed
	if more <= 0 {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:mostNamed], ", "), more)
}

// Markdown is the balance as a section of a model card.
func (b *Balance) Markdown() string {
	var s strings.Builder
	c := &b.Captions
	fmt.Fprintf(&s, "%s, %s with a caption (%d distinct, %d words in the median, %d different words). ", Count(b.Pictures, "picture"), percent(float64(c.Captioned)/float64(max(b.Pictures, 1))), c.Distinct, c.MedianWords, c.Vocabulary)
	fmt.Fprintf(&s, "Mean lightness %.2f ± %.2f of 1; %s have transparent parts.\n\n", b.Brightness.Mean, b.Brightness.Deviation, percent(b.Alpha))
	sentences(&s, "Over-represented", b.Over)
	sentences(&s, "Under-represented", b.Under)
	if len(c.Words) > 0 {
		s.WriteString("| word | captions | share |\n|---|---:|---:|\n")
		for _, w := range c.Words[:min(len(c.Words), 20)] {
			fmt.Fprintf(&s, "| %s | %d | %s |\n", EscapeMarkdown(w.Word), w.Captions, percent(w.Share))
		}
		s.WriteString("\n")
	}
	s.WriteString("| colour | area | pictures that have most of it | captions that name it |\n|---|---:|---:|---:|\n")
	for _, k := range b.Colours {
		fmt.Fprintf(&s, "| %s | %s | %d | %d |\n", k.Name, percent(k.Share), k.Dominant, k.Named)
	}
	for _, h := range []struct {
		head string
		bins []Bin
	}{{"lightness", b.Brightness.Bins}, {"shorter side, pixels", b.Sides}, {"width : height", b.Aspects}} {
		fmt.Fprintf(&s, "\n| %s | pictures |\n|---|---:|\n", h.head)
		for _, bin := range h.bins {
			if bin.Count > 0 {
				fmt.Fprintf(&s, "| %s | %d |\n", bin.Label, bin.Count)
			}
		}
	}
	return s.String()
}

func sentences(s *strings.Builder, head string, list []string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(s, "**%s:**\n\n", head)
	for _, line := range list {
		fmt.Fprintf(s, "- %s\n", EscapeMarkdown(line))
	}
	s.WriteString("\n")
}

// EscapeMarkdown keeps text from becoming marks, HTML, a table's border or a new line in Markdown.
func EscapeMarkdown(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "[", `\[`, "]", `\]`, "|", `\|`, "#", `\#`).Replace(s)
}
