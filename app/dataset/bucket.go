package dataset

import (
	"fmt"
	"image"
	"math"
	"slices"

	xdraw "golang.org/x/image/draw"
)

// Size is a width and a height in pixels.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

func (s Size) aspect() float64 { return float64(s.Width) / float64(s.Height) }

// BucketOptions say which sizes a set is trained at.
type BucketOptions struct {
	Width, Height int  // the size whose area all buckets keep below; 0 means 64, the built-in model's
	Step          int  // widths and heights are multiples of this, such as the model's factor; 0 means 64, or 1 where Single is set
	Min, Max      int  // least and greatest side; 0 means half and twice the square's, in whole steps
	Single        bool // no buckets: everything is trained at Width × Height
}

// Limits of what buckets may be.
const (
	largestSide = 8192
	mostBuckets = 4096
)

// Buckets is the sizes that a set is trained at.
type Buckets struct {
	Sizes []Size // by width, then by height
}

// NewBuckets lists the sizes in the manner of NovelAI and kohya's scripts: for every width in steps the tallest height in steps whose
// area does not exceed the area asked for, the same turned, and the square.
func NewBuckets(o BucketOptions) (*Buckets, error) {
	o = o.filled()
	switch {
	case o.Width < 1 || o.Height < 1 || o.Width > largestSide || o.Height > largestSide:
		return nil, fmt.Errorf("a training size of %d × %d makes no sense; choose sides from 1 to %d", o.Width, o.Height, largestSide)
	case o.Step < 1:
		return nil, fmt.Errorf("sizes cannot be multiples of %d; choose a step of 1 or more, such as 64", o.Step)
	case o.Single && (o.Width%o.Step != 0 || o.Height%o.Step != 0):
		return nil, fmt.Errorf("a training size of %d × %d is no multiple of %d, which the model needs; choose a size that is", o.Width, o.Height, o.Step)
	case o.Width*o.Height < o.Step*o.Step:
		return nil, fmt.Errorf("a training size of %d × %d has no room for sides in steps of %d; choose a larger size or a smaller step", o.Width, o.Height, o.Step)
	}
	if o.Single {
		return &Buckets{Sizes: []Size{{o.Width, o.Height}}}, nil
	}
	if o.Min < 1 || o.Max < o.Min || o.Max > largestSide || (o.Max-o.Min)/o.Step > mostBuckets {
		return nil, fmt.Errorf("buckets with sides from %d to %d in steps of %d make no sense; choose sides up to %d and a larger step", o.Min, o.Max, o.Step, largestSide)
	}
	area := o.Width * o.Height
	side := int(math.Sqrt(float64(area))) / o.Step * o.Step
	sizes := map[Size]bool{{side, side}: true}
	for w := (o.Min + o.Step - 1) / o.Step * o.Step; w <= o.Max; w += o.Step {
		if h := min(o.Max, area/w) / o.Step * o.Step; h >= o.Min {
			sizes[Size{w, h}], sizes[Size{h, w}] = true, true
		}
	}
	b := &Buckets{}
	for s := range sizes {
		b.Sizes = append(b.Sizes, s)
	}
	slices.SortFunc(b.Sizes, func(x, y Size) int {
		if x.Width != y.Width {
			return x.Width - y.Width
		}
		return x.Height - y.Height
	})
	return b, nil
}

func (o BucketOptions) filled() BucketOptions {
	if o.Step == 0 {
		o.Step = 64
		if o.Single {
			o.Step = 1
		}
	}
	if o.Width == 0 {
		o.Width = max(o.Height, 64)
	}
	if o.Height == 0 {
		o.Height = o.Width
	}
	side := math.Sqrt(float64(o.Width) * float64(o.Height))
	if o.Min == 0 {
		o.Min = max(o.Step, int(side/2)/max(o.Step, 1)*o.Step)
	}
	if o.Max == 0 {
		o.Max = max(o.Step, int(2*side)/max(o.Step, 1)*o.Step)
	}
	return o
}

// Assign is the bucket whose aspect ratio is nearest to that of a w × h picture; of two as near, the narrower.
func (b *Buckets) Assign(w, h int) Size {
	best := b.Sizes[0]
	for _, s := range b.Sizes {
		if s.Width == w && s.Height == h {
			return s
		}
		aspect := float64(w) / float64(h)
		if math.Abs(s.aspect()-aspect) < math.Abs(best.aspect()-aspect) {
			best = s
		}
	}
	return best
}

// BucketCount is how many pictures are trained at a size.
type BucketCount struct {
	Size
	Pictures int `json:"pictures"`
}

// Count tells how many of the items each bucket gets, without the empty ones.
func (b *Buckets) Count(items []*Item) []BucketCount {
	n := map[Size]int{}
	for _, it := range items {
		n[b.Assign(it.Width, it.Height)]++
	}
	out := []BucketCount{}
	for _, s := range b.Sizes {
		if n[s] > 0 {
			out = append(out, BucketCount{s, n[s]})
		}
	}
	return out
}

// Crop says what becomes of the part of a picture that a bucket's shape has no room for.
type Crop string

// The ways to crop.
const (
	CropCentre Crop = "centre" // the middle is kept
	CropRandom Crop = "random" // another part each time
	CropNone   Crop = "none"   // nothing is cut; the rest of the bucket is background
)

// fit scales a picture to a bucket: to cover it, or to lie inside it where nothing may be cut off. Either way one side agrees.
func fit(m *image.RGBA, s Size, crop Crop) *image.RGBA {
	w, h := float64(m.Rect.Dx()), float64(m.Rect.Dy())
	scale := max(float64(s.Width)/w, float64(s.Height)/h)
	if crop == CropNone {
		scale = min(float64(s.Width)/w, float64(s.Height)/h)
	}
	// A very long picture is cut to 16 buckets' length first: what is scaled stays small.
	ow, oh := max(int(math.Round(w*scale)), 1), max(int(math.Round(h*scale)), 1)
	from := m.Rect
	if most := 16 * s.Width; ow > most {
		keep := int(w * float64(most) / float64(ow))
		from.Min.X, from.Max.X, ow = (m.Rect.Dx()-keep)/2, (m.Rect.Dx()+keep)/2, most
	}
	if most := 16 * s.Height; oh > most {
		keep := int(h * float64(most) / float64(oh))
		from.Min.Y, from.Max.Y, oh = (m.Rect.Dy()-keep)/2, (m.Rect.Dy()+keep)/2, most
	}
	if ow == from.Dx() && oh == from.Dy() && from == m.Rect {
		return m
	}
	out := image.NewRGBA(image.Rect(0, 0, ow, oh))
	xdraw.CatmullRom.Scale(out, out.Rect, m, from, xdraw.Src, nil)
	return out
}
