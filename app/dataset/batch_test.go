package dataset

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestBuckets compares with kohya's rule, computed in Python.
func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		o    BucketOptions
		want string
	}{
		{BucketOptions{Width: 512}, "256×832 256×896 256×960 256×1024 320×704 320×768 384×640 448×576 512×512 576×448 640×384 704×320 768×320 832×256 896×256 960×256 1024×256"},
		{BucketOptions{Width: 64, Step: 8}, "32×104 32×112 32×120 32×128 40×88 40×96 48×80 56×72 64×64 72×56 80×48 88×40 96×40 104×32 112×32 120×32 128×32"},
		{BucketOptions{}, "64×64"},
		{BucketOptions{Width: 96, Height: 80, Single: true}, "96×80"},
	} {
		b, err := NewBuckets(c.o)
		must(t, err)
		var got []string
		for _, s := range b.Sizes {
			got = append(got, fmt.Sprintf("%d×%d", s.Width, s.Height))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%+v: %s\nwant %s", c.o, g, c.want)
		}
	}
	b, err := NewBuckets(BucketOptions{Width: 512})
	must(t, err)
	for _, c := range []struct {
		w, h int
		want Size
	}{{1000, 1000, Size{512, 512}}, {1920, 1080, Size{640, 384}}, {1080, 1920, Size{384, 640}}, {4000, 3000, Size{576, 448}}, {320, 768, Size{320, 768}}, {9000, 100, Size{1024, 256}}} {
		if got := b.Assign(c.w, c.h); got != c.want {
			t.Errorf("%d × %d goes to %v, want %v", c.w, c.h, got, c.want)
		}
	}
	for _, o := range []BucketOptions{{Width: -1}, {Width: 1 << 20}, {Width: 64, Step: -8}, {Width: 32}, {Width: 100, Step: 64, Single: true}, {Width: 512, Min: 600, Max: 500}, {Width: 4096, Step: 1, Min: 1, Max: 8192}} {
		if b, err := NewBuckets(o); err == nil {
			t.Errorf("%+v gives %d sizes", o, len(b.Sizes))
		}
	}
}

// numbered is a set of n pictures of the given size whose caption is their number.
func numbered(t *testing.T, n, w, h int) *Dataset {
	files := map[string][]byte{}
	for i := range n {
		files[fmt.Sprintf("%03d.png", i)] = pngOf(t, pattern(w, h, i))
		files[fmt.Sprintf("%03d.txt", i)] = fmt.Appendf(nil, "one, two, three, number %d", i)
	}
	return open(t, folder(t, files))
}

func batches(t *testing.T, d *Dataset, seed uint64, o BatchOptions) *Batches {
	t.Helper()
	b, err := d.Batches(seed, o)
	must(t, err)
	return b
}

func next(t *testing.T, b *Batches) *Batch {
	t.Helper()
	batch, err := b.Next(t.Context())
	must(t, err)
	return batch
}

func TestBatchesCoverEveryEpoch(t *testing.T) {
	files := map[string][]byte{}
	for i := range 7 {
		files[fmt.Sprintf("square%d.png", i)] = pngOf(t, pattern(40, 40, i))
	}
	for i := range 3 {
		files[fmt.Sprintf("wide%d.png", i)] = pngOf(t, pattern(80, 40, 10+i))
	}
	d := open(t, folder(t, files))
	o := BatchOptions{Size: 3, Buckets: BucketOptions{Width: 32, Step: 8}}
	b := batches(t, d, 5, o)
	if b.PerEpoch() != 4 || fmt.Sprint(b.Sizes()) != "[{32 32} {40 24}]" {
		t.Errorf("%d batches an epoch in %v", b.PerEpoch(), b.Sizes())
	}
	var orders []string
	for epoch := range 3 {
		seen := map[int]int{}
		var order []int
		for range 4 {
			batch := next(t, b)
			if batch.Epoch != epoch || len(batch.Items) != 3 || batch.Shape != [4]int{3, batch.Size.Height, batch.Size.Width, 3} || len(batch.Data) != 9*batch.Size.Height*batch.Size.Width {
				t.Fatalf("epoch %d: %+v", epoch, batch.Shape)
			}
			for i, item := range batch.Items {
				if got := b.buckets.Assign(d.Items[item].Width, d.Items[item].Height); got != batch.Size {
					t.Errorf("item %d of %v is in a batch of %v", item, got, batch.Size)
				}
				if i < batch.Real {
					seen[item]++
				}
				order = append(order, item)
			}
		}
		if len(seen) != 10 || slices.ContainsFunc([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, func(i int) bool { return seen[i] != 1 }) {
			t.Errorf("epoch %d shows %v", epoch, seen)
		}
		orders = append(orders, fmt.Sprint(order))
	}
	if orders[0] == orders[1] || orders[1] == orders[2] {
		t.Errorf("epochs have the same order %v", orders)
	}
	o.Last = LastDrop
	if n := batches(t, d, 5, o).PerEpoch(); n != 3 {
		t.Errorf("%d batches an epoch without the short one", n)
	}
	o.Last = LastShort
	short := 0
	for b := batches(t, d, 5, o); b.Position() < 4; {
		if batch := next(t, b); batch.Shape[0] == 1 {
			short++
		}
	}
	if short != 1 {
		t.Errorf("%d short batches", short)
	}
	o.Last, o.Size = LastDrop, 8
	if _, err := d.Batches(1, o); err == nil || !strings.Contains(err.Error(), "no size has the 8 pictures") {
		t.Errorf("%v", err)
	}
}

func TestBatchesAreDeterminedBySeedAndPosition(t *testing.T) {
	d := numbered(t, 9, 40, 40)
	o := BatchOptions{Size: 2, Buckets: BucketOptions{Width: 16, Single: true}, Crop: CropRandom, CaptionDropout: 0.3, ShuffleTags: true, KeepTags: 1,
		Augment: Augment{Mirror: true, Shift: 0.1, Rotate: 10, Zoom: 0.2, Brightness: 0.2, Contrast: 0.2, Saturation: 0.3, Hue: 40}}
	a := batches(t, d, 7, o)
	var all []*Batch
	for range 12 {
		all = append(all, next(t, a))
	}
	for _, at := range []int64{11, 3, 0, 6} {
		b := batches(t, d, 7, o)
		b.GoTo(at)
		got := next(t, b)
		if got.Position != at || b.Position() != at+1 || !slices.Equal(got.Data, all[at].Data) || !slices.Equal(got.Captions, all[at].Captions) || !slices.Equal(got.Items, all[at].Items) {
			t.Errorf("batch %d differs when reached directly", at)
		}
	}
	if other := next(t, batches(t, d, 8, o)); slices.Equal(other.Data, all[0].Data) {
		t.Error("another seed gives the same batch")
	}
	for _, batch := range all {
		for _, v := range batch.Data {
			if !(v >= -1 && v <= 1) {
				t.Fatalf("value %v", v)
			}
		}
		for _, c := range batch.Captions {
			if c != "" && (!strings.HasPrefix(c, "one, ") || strings.Count(c, ", ") != 3 || !strings.Contains(c, "two") || !strings.Contains(c, "three")) {
				t.Errorf("caption %q", c)
			}
		}
	}
	dropped := 0
	b := batches(t, d, 7, BatchOptions{Size: 100, Buckets: BucketOptions{Width: 4, Single: true}, CaptionDropout: 0.3})
	for range 10 {
		for _, c := range next(t, b).Captions {
			if c == "" {
				dropped++
			}
		}
	}
	if dropped < 240 || dropped > 360 {
		t.Errorf("%d of 1000 captions were left out, want about 300", dropped)
	}
}

func TestValidationInOrder(t *testing.T) {
	d := numbered(t, 5, 16, 16)
	b := batches(t, d, 1, BatchOptions{Size: 2, Buckets: BucketOptions{Width: 16, Single: true}, InOrder: true, Channels: 4})
	var items, reals []int
	for range b.PerEpoch() {
		batch := next(t, b)
		items, reals = append(items, batch.Items...), append(reals, batch.Real)
	}
	if fmt.Sprint(items, reals) != "[0 1 2 3 4 0] [2 2 1]" {
		t.Errorf("%v %v", items, reals)
	}
	// pictures of the very size come through exactly
	b.GoTo(1)
	batch := next(t, b)
	m, err := d.Picture(t.Context(), 3)
	must(t, err)
	for i, v := range batch.Data[16*16*4:] {
		if want := float32(2*(float64(m.Pix[i])/255) - 1); math.Abs(float64(v-want)) > 1e-6 {
			t.Fatalf("value %d is %v, want %v", i, v, want)
		}
	}
	got := Picture(batch.Data[16*16*4:], 16, 16, 4)
	for i := range got.Pix {
		if got.Pix[i] != m.Pix[i] {
			t.Fatalf("byte %d of the picture is %d, want %d", i, got.Pix[i], m.Pix[i])
		}
	}
}

func TestRepeats(t *testing.T) {
	d := open(t, folder(t, map[string][]byte{"3_cat/a.png": pngOf(t, pattern(8, 8, 1)), "1_dog/b.png": pngOf(t, pattern(8, 8, 2))}))
	o := BatchOptions{Buckets: BucketOptions{Width: 8, Single: true}}
	if n := batches(t, d, 1, o).PerEpoch(); n != 2 {
		t.Errorf("%d batches", n)
	}
	o.Repeats = true
	if n := batches(t, d, 1, o).PerEpoch(); n != 4 {
		t.Errorf("%d batches with repeats", n)
	}
}

func TestCropsAndChannels(t *testing.T) {
	// 32 × 16: left half red, right half blue; the middle 16 × 16 is half each
	halves := drawn(32, 16, func(x, y int) color.NRGBA {
		if x < 16 {
			return color.NRGBA{255, 0, 0, 255}
		}
		return color.NRGBA{0, 0, 255, 255}
	})
	d := open(t, folder(t, map[string][]byte{"a.png": pngOf(t, halves)}))
	at := func(o BatchOptions, x, y int) []float32 {
		o.Buckets = BucketOptions{Width: 16, Single: true}
		b := next(t, batches(t, d, 3, o))
		return b.Data[(y*16+x)*b.Shape[3]:][:b.Shape[3]]
	}
	for _, c := range []struct {
		o    BatchOptions
		x, y int
		want []float32
	}{
		{BatchOptions{}, 2, 8, []float32{1, -1, -1}},
		{BatchOptions{}, 13, 8, []float32{-1, -1, 1}},
		{BatchOptions{Crop: CropNone, Channels: 4}, 8, 1, []float32{-1, -1, -1, -1}},
		{BatchOptions{Crop: CropNone, Channels: 4}, 2, 8, []float32{1, -1, -1, 1}},
		{BatchOptions{Crop: CropNone}, 8, 14, []float32{1, 1, 1}},
		{BatchOptions{Crop: CropNone, Background: color.NRGBA{0, 0, 0, 255}}, 8, 14, []float32{-1, -1, -1}},
		{BatchOptions{Channels: 1}, 2, 8, []float32{2*0.299 - 1}},
	} {
		if got := at(c.o, c.x, c.y); !near32(got, c.want, 0.02) {
			t.Errorf("%+v at %d, %d: %v, want %v", c.o, c.x, c.y, got, c.want)
		}
	}
	seen := map[bool]bool{}
	b := batches(t, d, 3, BatchOptions{Crop: CropRandom, Buckets: BucketOptions{Width: 16, Single: true}})
	for range 40 {
		data := next(t, b).Data
		seen[data[(8*16+2)*3] > 0 == (data[(8*16+13)*3] > 0)] = true
	}
	if len(seen) != 2 {
		t.Error("random crops are all alike")
	}
}

func near32(got, want []float32, tol float64) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if math.Abs(float64(got[i]-want[i])) > tol {
			return false
		}
	}
	return true
}

func TestVariations(t *testing.T) {
	m := premultiplied(pattern(16, 16, 3), image.Point{}, 16, 16)
	c := canvas{size: Size{16, 16}, channels: 4}
	paint := func(v variation) []float32 {
		out := make([]float32, 16*16*4)
		c.paint(m, v, out)
		return out
	}
	pixel := func(x, y int) []float32 {
		p := m.Pix[m.PixOffset(x, y):][:4]
		return []float32{2*float32(p[0])/255 - 1, 2*float32(p[1])/255 - 1, 2*float32(p[2])/255 - 1, 2*float32(p[3])/255 - 1}
	}
	check := func(name string, v variation, from func(x, y int) (int, int)) {
		got := paint(v)
		for y := range 16 {
			for x := range 16 {
				fx, fy := from(x, y)
				if want := pixel(fx, fy); !near32(got[(y*16+x)*4:][:4], want, 1e-5) {
					t.Fatalf("%s at %d, %d: %v, want %v", name, x, y, got[(y*16+x)*4:][:4], want)
				}
			}
		}
	}
	v := unvaried()
	check("unvaried", v, func(x, y int) (int, int) { return x, y })
	v.mirror = true
	check("mirror", v, func(x, y int) (int, int) { return 15 - x, y })
	v = unvaried()
	v.turn = math.Pi / 2
	check("quarter turn", v, func(x, y int) (int, int) { return 15 - y, x })
	v = unvaried()
	v.shiftX = 2.0 / 16
	check("shift", v, func(x, y int) (int, int) {
		if x+2 > 15 {
			return 31 - (x + 2), y // reflected
		}
		return x + 2, y
	})
}

func TestColourVariations(t *testing.T) {
	for _, c := range []struct {
		name     string
		v        variation
		in, want [4]float64
	}{
		{"hue a third", variation{brightness: 1, contrast: 1, saturation: 1, hue: 2}, [4]float64{1, 0, 0, 1}, [4]float64{0, 1, 0, 1}},
		{"hue a sixth back", variation{brightness: 1, contrast: 1, saturation: 1, hue: -1}, [4]float64{1, 0, 0, 1}, [4]float64{1, 0, 1, 1}},
		{"hue half of dull teal", variation{brightness: 1, contrast: 1, saturation: 1, hue: 3}, [4]float64{0.2, 0.6, 0.6, 1}, [4]float64{0.6, 0.2, 0.2, 1}},
		{"hue of grey", variation{brightness: 1, contrast: 1, saturation: 1, hue: 2}, [4]float64{0.3, 0.3, 0.3, 1}, [4]float64{0.3, 0.3, 0.3, 1}},
		{"brightness", variation{brightness: 1.5, contrast: 1, saturation: 1}, [4]float64{0.2, 0.4, 0.9, 1}, [4]float64{0.3, 0.6, 1, 1}},
		{"contrast", variation{brightness: 1, contrast: 0.5, saturation: 1}, [4]float64{0.2, 0.4, 0.9, 1}, [4]float64{0.35, 0.45, 0.7, 1}},
		{"no saturation, half there", variation{brightness: 1, contrast: 1}, [4]float64{0.5, 0, 0, 0.5}, [4]float64{0.1495, 0.1495, 0.1495, 0.5}},
		{"nothing there", variation{brightness: 1.5, contrast: 0.5}, [4]float64{}, [4]float64{}},
	} {
		p := c.in
		c.v.recolour(&p)
		for k := range 4 {
			if math.Abs(p[k]-c.want[k]) > 1e-9 {
				t.Errorf("%s: %v, want %v", c.name, p, c.want)
				break
			}
		}
	}
}

func TestNamedColoursKeepTheirHue(t *testing.T) {
	a := Augment{Hue: 180}
	wild := 0.0
	for n := range uint32(200) {
		v := a.draw(newDraws(1, streamPicture, n, 0), CropCentre, "a red car")
		if math.Abs(v.hue) > 15.0/60 {
			t.Fatalf("the hue of a red car turns by %v°", 60*v.hue)
		}
		wild = max(wild, math.Abs(a.draw(newDraws(1, streamPicture, n, 0), CropCentre, "a car").hue))
	}
	if wild < 2.8 {
		t.Errorf("hues turn by %v° at most, want nearly 180°", 60*wild)
	}
	for _, bad := range []Augment{{Shift: 2}, {Rotate: -1}, {Hue: math.NaN()}, {Zoom: 9}} {
		if bad.check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestSheet(t *testing.T) {
	d := numbered(t, 3, 32, 32)
	o := BatchOptions{Buckets: BucketOptions{Width: 32, Single: true}, Augment: Augment{Rotate: 20, Mirror: true}}
	s, err := d.Sheet(t.Context(), []int{2, 0}, 4, 1, o)
	must(t, err)
	if s.Rect != image.Rect(0, 0, 4*36+4, 2*36+4) {
		t.Errorf("the sheet is %v", s.Rect)
	}
	m, err := d.Picture(t.Context(), 2)
	must(t, err)
	for y := range 32 {
		for x := range 32 {
			if got, want := s.NRGBAAt(4+x, 4+y), m.RGBAAt(x, y); got != color.NRGBA(want) {
				t.Fatalf("the plain picture has %v at %d, %d, want %v", got, x, y, want)
			}
		}
	}
	differs := func(col int) bool {
		for y := range 32 {
			for x := range 32 {
				if s.NRGBAAt(4+x, 4+y) != s.NRGBAAt(4+36*col+x, 4+y) {
					return true
				}
			}
		}
		return false
	}
	if !differs(1) || !differs(3) {
		t.Error("the variations are the plain picture")
	}
	if _, err := d.Sheet(t.Context(), []int{9}, 4, 1, o); err == nil {
		t.Error("a picture that is not there is shown")
	}
}

func TestLongPicturesScaleCheaply(t *testing.T) {
	long := image.NewRGBA(image.Rect(0, 0, 60000, 2))
	if got := fit(long, Size{64, 64}, CropCentre).Rect; got != image.Rect(0, 0, 1024, 64) {
		t.Errorf("scaled to %v", got)
	}
	if got := fit(long, Size{64, 64}, CropNone).Rect; got != image.Rect(0, 0, 64, 1) {
		t.Errorf("scaled to %v", got)
	}
}
