package dataset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
)

// CheckOptions are the choices of Check; the zero value has the defaults.
type CheckOptions struct {
	Buckets   BucketOptions // the sizes to train at
	MaxAspect float64       // longer side over shorter; 0 means 2
	NearBits  int           // bits of 64 in which perceptual hashes of near duplicates may differ; 0 means 8, below 0 finds none
	Progress  func(step Step, done, total int)
}

// Step is what a check is at.
type Step string

// The steps of a check: first each picture is looked at, then it is compared with others.
const (
	Looking   Step = "looked at"
	Comparing Step = "compared"
)

const (
	defaultMaxAspect = 2
	defaultNearBits  = 8
	// nearThumb is the most that thumbnails of near duplicates may differ, of 255 on average: hashes do not see colour.
	nearThumb = 24
)

// Report is what Check found out about a set.
type Report struct {
	Path     string        `json:"path"`
	Pictures int           `json:"pictures"`
	Usable   int           `json:"usable"` // pictures that can be trained on: whole, and no copy of another
	Findings []Finding     `json:"findings"`
	Buckets  []BucketCount `json:"buckets"`
	Balance  Balance       `json:"balance"`

	usable []int
}

// Usable is a view of the pictures that can be trained on: those that decode and are no exact copy of another.
func (d *Dataset) Usable(r *Report) *Dataset { return d.Subset(r.usable) }

// Check looks at every picture and reports what is wrong with the set and what it over- and under-represents. A bad file is a
// finding; the error is ctx's, or that the options make no sense.
func (d *Dataset) Check(ctx context.Context, o CheckOptions) (*Report, error) {
	if o.MaxAspect <= 0 {
		o.MaxAspect = defaultMaxAspect
	}
	if o.NearBits == 0 {
		o.NearBits = defaultNearBits
	}
	buckets, err := NewBuckets(o.Buckets)
	if err != nil {
		return nil, err
	}
	progress := func(step Step) func(done, total int) {
		if o.Progress == nil {
			return nil
		}
		return func(done, total int) { o.Progress(step, done, total) }
	}
	broken, err := d.measureAll(ctx, progress(Looking))
	if err != nil {
		return nil, err
	}
	r := &Report{Path: d.Path, Pictures: len(d.Items), Findings: slices.Clone(d.Notes)}
	copies := d.copies()
	plain, typical := d.plainCaptions(), d.typicalSide()
	for i, it := range d.Items {
		if broken[i] != nil {
			r.Findings = append(r.Findings, *broken[i])
			continue
		}
		if f := d.copyFinding(i, copies); f != nil {
			r.Findings = append(r.Findings, *f)
			continue
		}
		r.usable = append(r.usable, i)
		r.Findings = append(r.Findings, it.oddities(o, buckets, typical)...)
		if f := it.captionFinding(plain); f != nil {
			r.Findings = append(r.Findings, *f)
		}
	}
	if _, grouped := d.groups(r.usable); !grouped { // letters of one name look alike, as they should, and so do pictures of one thing
		near, err := d.near(ctx, r.usable, o.NearBits, progress(Comparing))
		if err != nil {
			return nil, err
		}
		r.Findings = append(r.Findings, d.nearFindings(near)...)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(boolOrder(b.Skipped)-boolOrder(a.Skipped), strings.Compare(a.File, b.File))
	})
	if r.Usable = len(r.usable); r.Findings == nil {
		r.Findings = []Finding{} // in JSON, none is a list too
	}
	usable := d.Usable(r)
	r.Buckets = buckets.Count(usable.Items)
	r.Balance = usable.balance()
	return r, nil
}

func boolOrder(b bool) int {
	if b {
		return 1
	}
	return 0
}

// measureAll looks at the pixels of every picture that has not been looked at, some at a time, and gives for each what is wrong.
func (d *Dataset) measureAll(ctx context.Context, progress func(done, total int)) ([]*Finding, error) {
	broken := make([]*Finding, len(d.Items))
	var next, done atomic.Int64
	var told sync.Mutex
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 4, len(d.Items)) {
		all.Go(func() {
			names := newPalette()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(d.Items) {
					return
				}
				broken[i] = d.Items[i].measure(d.opts, names)
				if progress != nil {
					told.Lock()
					progress(int(done.Add(1)), len(d.Items))
					told.Unlock()
				}
			}
		})
	}
	all.Wait()
	return broken, ctx.Err()
}

// measure looks at the item's pixels once.
func (it *Item) measure(o Options, names *palette) *Finding {
	if it.look.Load() != nil {
		return nil
	}
	data, err := it.read(o)
	if err == nil {
		m, decodeErr := it.decode(data, o)
		if decodeErr == nil {
			it.look.Store(names.take(data, m))
			return nil
		}
		err = decodeErr
	}
	var f *Finding
	errors.As(err, &f)
	return f
}

// copies maps each picture's bytes and pixels to the first item that has them.
func (d *Dataset) copies() map[[32]byte]int {
	first := map[[32]byte]int{}
	for i, it := range d.Items {
		m := it.look.Load()
		if m == nil {
			continue
		}
		file, pixels := d.identity(it, m)
		for _, key := range [][32]byte{file, pixels} {
			if _, ok := first[key]; !ok {
				first[key] = i
			}
		}
	}
	return first
}

// identity is what copies have in common: the file's bytes, the pixels. Letters are copies of the same letter only: an I and an l may be
// one shape.
func (d *Dataset) identity(it *Item, m *measure) (file, pixels [32]byte) {
	if it.group == "" || d.opts.Folders {
		return m.file, m.pixels
	}
	return sha256.Sum256(append(m.file[:], it.Caption...)), sha256.Sum256(append(m.pixels[:], it.Caption...))
}

func (d *Dataset) copyFinding(i int, copies map[[32]byte]int) *Finding {
	it := d.Items[i]
	file, pixels := d.identity(it, it.look.Load())
	what := "this is the same file as"
	j := copies[file]
	if j == i {
		what, j = "this has the same pixels as", copies[pixels]
	}
	if j == i {
		return nil
	}
	first := d.Items[j]
	f := &Finding{File: it.Name, Kind: Duplicate, Skipped: true, What: what + " " + first.Name, Do: "remove one of them", Others: []string{first.Name}}
	if first.Caption != it.Caption && it.Origin != FromName {
		f.What += ", which has another caption"
		f.Do = "keep the one with the better caption"
	}
	return f
}

// oddities are a picture's flaws that do not keep it from being trained on.
// typical is the shorter side of most.
func (it *Item) oddities(o CheckOptions, buckets *Buckets, typical int) []Finding {
	var list []Finding
	w, h := float64(it.Width), float64(it.Height)
	size := buckets.Assign(it.Width, it.Height)
	if scale := max(float64(size.Width)/w, float64(size.Height)/h); scale > 1 {
		list = append(list, Finding{File: it.Name, Kind: TooSmall, What: fmt.Sprintf("%d × %d pixels are enlarged %.1f times to train at %d × %d", it.Width, it.Height, scale, size.Width, size.Height),
			Do: "find a larger copy, or train at a smaller size"})
	} else if side := min(it.Width, it.Height); muchSmaller*side <= typical {
		list = append(list, Finding{File: it.Name, Kind: TooSmall, What: fmt.Sprintf("%d × %d pixels are far fewer than others have, whose shorter side is typically %d", it.Width, it.Height, typical),
			Do: "find a larger copy"})
	}
	if ratio := max(w/h, h/w); ratio > o.MaxAspect {
		cut := 1 - min(w/h/size.aspect(), size.aspect()/(w/h))
		list = append(list, Finding{File: it.Name, Kind: OddAspect, What: fmt.Sprintf("%d × %d is %.1f times as long as wide; %.0f %% of it is cut off at %d × %d", it.Width, it.Height, ratio, 100*cut, size.Width, size.Height),
			Do: "crop the picture to what matters"})
	}
	switch m := it.look.Load(); {
	case m.opaque == 0:
		list = append(list, Finding{File: it.Name, Kind: Empty, What: "the picture is wholly transparent", Do: "remove it"})
	case m.flat:
		list = append(list, Finding{File: it.Name, Kind: Empty, What: "the picture is a single flat colour", Do: "remove it unless that is meant"})
	}
	return list
}

// muchSmaller is how many times smaller than the typical picture one must be to look out of place.
const muchSmaller = 4

// typicalSide is the median shorter side of the pictures whose size is known.
func (d *Dataset) typicalSide() int {
	var sides []int
	for _, it := range d.Items {
		if it.Width > 0 {
			sides = append(sides, min(it.Width, it.Height))
		}
	}
	if len(sides) == 0 {
		return 0
	}
	slices.Sort(sides)
	return sides[len(sides)/2]
}

// wordy is how many words most captions must have for a single one to be too few.
const wordy = 4

// plainCaptions reports whether single words are captions enough here, as where folders name classes.
func (d *Dataset) plainCaptions() bool {
	lengths := make([]int, len(d.Items))
	for i, it := range d.Items {
		lengths[i] = len(strings.Fields(it.Caption))
	}
	slices.Sort(lengths)
	return len(lengths) == 0 || lengths[len(lengths)/2] < wordy
}

// captionFinding says where a caption says next to nothing: fewer than two letters, or one word among sentences.
func (it *Item) captionFinding(plain bool) *Finding {
	letters := 0
	for _, r := range it.Caption {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	advice := "describe the picture in a text file of the same name"
	switch {
	case it.blank != "" && it.Caption != "":
		return &Finding{File: it.Name, Kind: NoCaption, What: fmt.Sprintf("its caption file %s is empty; %q, from its %s, stands in", it.blank, it.Caption, it.Origin), Do: "write a caption into the file"}
	case it.blank != "":
		return &Finding{File: it.Name, Kind: NoCaption, What: fmt.Sprintf("its caption file %s is empty", it.blank), Do: "write a caption into the file"}
	case it.Caption == "":
		return &Finding{File: it.Name, Kind: NoCaption, What: "there is no caption, and the name says nothing", Do: advice}
	case it.Origin == FromName && plain:
		return nil // classes may be called anything
	case letters < 3 && !isWide(it.Caption):
		return &Finding{File: it.Name, Kind: NoCaption, What: fmt.Sprintf("the caption %q says next to nothing", it.Caption), Do: advice}
	case !plain && len(strings.Fields(it.Caption)) == 1 && !isWide(it.Caption):
		return &Finding{File: it.Name, Kind: NoCaption, What: fmt.Sprintf("the caption is the one word %q, where others say more", it.Caption), Do: advice}
	}
	return nil
}

// isWide reports scripts that write without blanks, where few signs say much.
func isWide(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
	})
}

// nearFindings is a finding for every picture that looks like earlier ones.
func (d *Dataset) nearFindings(pairs []pair) []Finding {
	const most = 10 // that a finding names
	var list []Finding
	at := map[int]int{}
	for _, p := range pairs {
		first := d.Items[p.first].Name
		n, ok := at[p.second]
		if !ok {
			n = len(list)
			at[p.second] = n
			what := "it looks like " + first
			if p.mirrored {
				what += " turned left to right"
			}
			list = append(list, Finding{File: d.Items[p.second].Name, Kind: NearDuplicate, What: what, Do: "keep the better one; both stay on one side of a split"})
		}
		if len(list[n].Others) < most {
			list[n].Others = append(list[n].Others, first)
		}
	}
	return list
}
