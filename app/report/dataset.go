package report

import (
	"fmt"
	"strings"

	"atelier/app/dataset"
)

// Dataset is what a check of a training set found, as a part of a page: findings, sizes, and what the set over- and under-represents.
func Dataset(r *dataset.Report) Section {
	s := Section{Title: "Training set", Text: []string{fmt.Sprintf("%d pictures, %d of which can be trained on.", r.Pictures, r.Usable)}}
	if len(r.Findings) > 0 {
		t := Table{Caption: "Findings", Head: []string{"file", "kind", "what", "what to do", "used"}}
		for _, f := range r.Findings {
			used := "yes"
			if f.Skipped {
				used = "no"
			}
			t.Rows = append(t.Rows, []string{f.File, string(f.Kind), f.What, f.Do, used})
		}
		s.Tables = append(s.Tables, t)
	}
	sizes := Table{Caption: "Training sizes", Head: []string{"size", "pictures"}}
	for _, b := range r.Buckets {
		sizes.Rows = append(sizes.Rows, []string{fmt.Sprintf("%d × %d", b.Width, b.Height), fmt.Sprint(b.Pictures)})
	}
	b := &r.Balance
	for _, o := range b.Over {
		s.List = append(s.List, "Over-represented: "+o)
	}
	for _, u := range b.Under {
		s.List = append(s.List, "Under-represented: "+u)
	}
	words := Table{Caption: "Words of captions", Head: []string{"word", "captions", "share"}}
	for _, w := range b.Captions.Words {
		words.Rows = append(words.Rows, []string{w.Word, fmt.Sprint(w.Captions), share(w.Share)})
	}
	colours := Table{Caption: "Colours", Head: []string{"colour", "area", "pictures that have most of it", "captions that name it"}}
	for _, c := range b.Colours {
		colours.Rows = append(colours.Rows, []string{c.Name, share(c.Share), fmt.Sprint(c.Dominant), fmt.Sprint(c.Named)})
	}
	s.Tables = append(s.Tables, sizes, words, colours, histogram("Lightness", b.Brightness.Bins), histogram("Shorter side, pixels", b.Sides), histogram("Width : height", b.Aspects))
	return s
}

func share(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

// histogram is the bins that are not empty, with bars.
func histogram(caption string, bins []dataset.Bin) Table {
	const longest = 30
	most := 1
	for _, b := range bins {
		most = max(most, b.Count)
	}
	t := Table{Caption: caption, Head: []string{"", "pictures", ""}}
	for _, b := range bins {
		if b.Count > 0 {
			t.Rows = append(t.Rows, []string{b.Label, fmt.Sprint(b.Count), strings.Repeat("▇", max(longest*b.Count/most, 1))})
		}
	}
	return t
}
