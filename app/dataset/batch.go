package dataset

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"strings"
)

// Last says what becomes of the pictures of a bucket that do not fill a batch.
type Last string

// The ways to end a bucket.
const (
	LastFill  Last = "fill"  // the batch is filled up with others of the bucket; Real counts those that are due
	LastDrop  Last = "drop"  // they wait for the next epoch, which has another order
	LastShort Last = "short" // the batch is smaller
)

// BatchOptions are the choices of Batches.
type BatchOptions struct {
	Size       int           // pictures a batch; 0 means 1
	Buckets    BucketOptions // sizes
	Crop       Crop          // empty means CropCentre
	Channels   int           // 1 grey, 3 RGB over Background, 4 premultiplied RGBA; 0 means 3
	Background color.NRGBA   // behind transparent pictures; the zero value means white
	Augment    Augment
	InOrder    bool // by bucket, then by name, as for validation; else shuffled anew each epoch
	Repeats    bool // show pictures of folders named "10_x" ten times an epoch
	Last       Last // empty means LastFill

	CaptionDropout float64 // share of captions that are left out, for classifier-free guidance
	Alternatives   bool    // draw among all captions of a picture, not the first alone
	ShuffleTags    bool    // put what commas part into another order each time, after the first KeepTags
	KeepTags       int

	CacheBytes int64 // for scaled pictures; 0 means 256 MB, below 0 none
}

const defaultCache = 256 << 20

// Batch is what one training step is shown.
type Batch struct {
	Data     []float32 // B H W C, row-major, in [−1, 1]
	Shape    [4]int    // B, H, W, C
	Captions []string  // B, as varied
	Items    []int     // B, indices into the dataset's Items
	Real     int       // rows that are due; the others only fill the batch
	Epoch    int       // from 0
	Position int64     // of this batch in the run
	Size     Size      // of the bucket
}

// Batches is an endless sequence of batches in which batch n depends on the seed and n alone. It is safe for one goroutine; the
// dataset may be shared.
type Batches struct {
	set     *Dataset
	seed    uint64
	o       BatchOptions
	buckets *Buckets
	groups  []group
	every   int // batches an epoch
	next    int64
	epoch   int       // that plan is of
	plan    []planned // nil at first
	cache   cache
}

// group is the items of a bucket, repeats included.
type group struct {
	size  Size
	items []int
}

// planned is one batch of an epoch.
type planned struct {
	size  Size
	items []int
	real  int
}

// Batches begins the sequence of a seed. The pictures must be readable: see Usable.
func (d *Dataset) Batches(seed uint64, o BatchOptions) (*Batches, error) {
	o = o.filled()
	buckets, err := NewBuckets(o.Buckets)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return nil, err
	}
	b := &Batches{set: d, seed: seed, o: o, buckets: buckets, epoch: -1, cache: cache{left: o.CacheBytes, pictures: map[cached]*image.RGBA{}}}
	at := map[Size]int{}
	for i, s := range buckets.Sizes {
		at[s] = i
		b.groups = append(b.groups, group{size: s})
	}
	for i, it := range d.Items {
		if it.problem != nil {
			return nil, fmt.Errorf("%w; check the set and leave it out", it.problem)
		}
		g := &b.groups[at[buckets.Assign(it.Width, it.Height)]]
		for range b.repeats(it) {
			g.items = append(g.items, i)
		}
	}
	for _, g := range b.groups {
		n := len(g.items) / o.Size
		if len(g.items)%o.Size > 0 && o.Last != LastDrop {
			n++
		}
		b.every += n
	}
	if b.every == 0 {
		return nil, fmt.Errorf("no size has the %d pictures that make a batch; choose smaller batches or let the last ones be filled", o.Size)
	}
	return b, nil
}

func (b *Batches) repeats(it *Item) int {
	if !b.o.Repeats {
		return 1
	}
	return it.Repeats
}

func (o BatchOptions) filled() BatchOptions {
	if o.Size == 0 {
		o.Size = 1
	}
	if o.Crop == "" {
		o.Crop = CropCentre
	}
	if o.Channels == 0 {
		o.Channels = 3
	}
	if o.Background == (color.NRGBA{}) {
		o.Background = color.NRGBA{255, 255, 255, 255}
	}
	if o.Last == "" {
		o.Last = LastFill
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	return o
}

func (o *BatchOptions) check() error {
	switch {
	case o.Size < 1:
		return fmt.Errorf("a batch cannot have %d pictures; choose 1 or more", o.Size)
	case o.Channels != 1 && o.Channels != 3 && o.Channels != 4:
		return fmt.Errorf("pictures cannot be given as %d channels; choose 1 (grey), 3 (RGB) or 4 (premultiplied RGBA)", o.Channels)
	case o.Crop != CropCentre && o.Crop != CropRandom && o.Crop != CropNone:
		return fmt.Errorf("there is no crop %q; choose centre, random or none", o.Crop)
	case o.Last != LastFill && o.Last != LastDrop && o.Last != LastShort:
		return fmt.Errorf("the last batch cannot be treated as %q; choose fill, drop or short", o.Last)
	case !(o.CaptionDropout >= 0 && o.CaptionDropout <= 1):
		return fmt.Errorf("a share of %g captions cannot be left out; choose 0 to 1", o.CaptionDropout)
	case o.KeepTags < 0:
		return errors.New("fewer than no tags cannot be kept in place; choose 0 or more")
	}
	return o.Augment.check()
}

// PerEpoch is the number of batches in which every picture is shown.
func (b *Batches) PerEpoch() int { return b.every }

// Sizes lists the buckets that have pictures, each of which is a shape that batches come in.
func (b *Batches) Sizes() []Size {
	var out []Size
	for _, g := range b.groups {
		if len(g.items) > 0 && (b.o.Last != LastDrop || len(g.items) >= b.o.Size) {
			out = append(out, g.size)
		}
	}
	return out
}

// Position is the number of the batch that Next will give.
func (b *Batches) Position() int64 { return b.next }

// GoTo makes a batch the next one: what a run needs to go on where it stopped.
func (b *Batches) GoTo(position int64) { b.next = max(position, 0) }

// Next gives the next batch. The error is ctx's, or a *Finding on a picture that cannot be read.
func (b *Batches) Next(ctx context.Context) (*Batch, error) {
	batch, err := b.At(ctx, b.next)
	if err == nil {
		b.next++
	}
	return batch, err
}

// At gives batch number position without moving.
func (b *Batches) At(ctx context.Context, position int64) (*Batch, error) {
	if position < 0 {
		return nil, fmt.Errorf("there is no batch %d; the first is 0", position)
	}
	epoch := int(position / int64(b.every))
	if b.plan == nil || b.epoch != epoch {
		b.plan, b.epoch = b.order(epoch), epoch
	}
	p := b.plan[position%int64(b.every)]
	c := canvas{size: p.size, channels: b.o.Channels, background: b.o.Background}
	out := &Batch{Shape: [4]int{len(p.items), p.size.Height, p.size.Width, c.channels}, Items: p.items, Real: p.real, Epoch: epoch, Position: position, Size: p.size}
	row := p.size.Height * p.size.Width * c.channels
	out.Data = make([]float32, len(p.items)*row)
	for i, item := range p.items {
		m, err := b.scaled(ctx, item, p.size)
		if err != nil {
			return nil, err
		}
		// a picture may come up twice in an epoch: what varies it is the place, not the picture
		place := uint32(position%int64(b.every))*uint32(b.o.Size) + uint32(i)
		caption := b.caption(b.set.Items[item], newDraws(b.seed, streamCaption, uint32(epoch), place))
		v := b.o.Augment.draw(newDraws(b.seed, streamPicture, uint32(epoch), place), b.o.Crop, caption)
		c.paint(m, v, out.Data[i*row:(i+1)*row])
		out.Captions = append(out.Captions, caption)
	}
	return out, nil
}

// order plans an epoch: each bucket in its own order, cut into batches, and the batches mixed.
func (b *Batches) order(epoch int) []planned {
	var all []planned
	for n, g := range b.groups {
		items := append([]int(nil), g.items...)
		if !b.o.InOrder {
			for i, k := range newDraws(b.seed, streamOrder, uint32(epoch), uint32(n)).shuffle(len(items)) {
				items[i] = g.items[k]
			}
		}
		for from := 0; from < len(items); from += b.o.Size {
			p := planned{size: g.size, items: items[from:min(from+b.o.Size, len(items))]}
			p.real = len(p.items)
			if p.real < b.o.Size {
				if b.o.Last == LastDrop {
					break
				}
				if b.o.Last == LastFill {
					p.items = append([]int(nil), p.items...)
					for i := 0; len(p.items) < b.o.Size; i++ {
						p.items = append(p.items, items[i%len(items)])
					}
				}
			}
			all = append(all, p)
		}
	}
	if b.o.InOrder {
		return all
	}
	mixed := make([]planned, len(all))
	for i, k := range newDraws(b.seed, streamBatches, uint32(epoch), 0).shuffle(len(all)) {
		mixed[i] = all[k]
	}
	return mixed
}

// caption varies an item's caption as the options say.
func (b *Batches) caption(it *Item, d *draws) string {
	drop, pick := d.uniform(), d.below(1+len(it.Alternatives))
	text := it.Caption
	if b.o.Alternatives && pick > 0 {
		text = it.Alternatives[pick-1]
	}
	if b.o.ShuffleTags {
		tags := strings.Split(text, ",")
		for i := range tags {
			tags[i] = strings.TrimSpace(tags[i])
		}
		keep := min(b.o.KeepTags, len(tags))
		loose := append([]string(nil), tags[keep:]...)
		for i, k := range d.shuffle(len(loose)) {
			tags[keep+i] = loose[k]
		}
		text = strings.Join(tags, ", ")
	}
	if drop < b.o.CaptionDropout {
		return ""
	}
	return text
}

// cached is what a scaled picture is kept under.
type cached struct {
	item int
	size Size
}

// cache keeps scaled pictures until its memory is used up.
type cache struct {
	left     int64
	pictures map[cached]*image.RGBA
}

// scaled reads an item and fits it to a bucket.
func (b *Batches) scaled(ctx context.Context, item int, size Size) (*image.RGBA, error) {
	key := cached{item, size}
	if m := b.cache.pictures[key]; m != nil {
		return m, ctx.Err()
	}
	full, err := b.set.Picture(ctx, item)
	if err != nil {
		return nil, err
	}
	m := fit(full, size, b.o.Crop)
	if n := int64(len(m.Pix)); n <= b.cache.left {
		b.cache.left -= n
		b.cache.pictures[key] = m
	}
	return m, nil
}
