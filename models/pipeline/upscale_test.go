package pipeline

import (
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atelier/assets"
	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/catalog"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
)

// compactOf writes a compact generator of two convolutions by 2 whose weights are given by what they do to a picture of channels: the
// first passes it on, the second gives every pixel of a block the colour times gain.
func compactOf(t *testing.T, channels int, gain float32) string {
	t.Helper()
	pass := make([]float32, channels*channels*9)
	for k := range channels {
		pass[(k*channels+k)*9+4] = 1
	}
	out := channels * 4
	up := make([]float32, out*channels*9)
	for o := range out {
		up[(o*channels+o/4)*9+4] = gain
	}
	path := filepath.Join(t.TempDir(), "twice.safetensors")
	must(t, checkpoint.Write(path, []checkpoint.Tensor{
		checkpoint.NewF32("body.0.weight", []int{channels, channels, 3, 3}, pass), checkpoint.NewF32("body.0.bias", []int{channels}, make([]float32, channels)),
		checkpoint.NewF32("body.2.weight", []int{out, channels, 3, 3}, up), checkpoint.NewF32("body.2.bias", []int{out}, make([]float32, out)),
	}, nil))
	return path
}

func openUpscaler(t *testing.T, dev compute.Device, path string) *Upscaler {
	t.Helper()
	m, err := catalog.Open(path, catalog.Options{})
	must(t, err)
	u, err := NewUpscaler(dev, m)
	must(t, err)
	t.Cleanup(func() { u.Close(); m.Close() })
	return u
}

func ownUpscaler(t *testing.T, dev compute.Device) *Upscaler {
	t.Helper()
	built, _ := assets.Model(assets.StickerName)
	m, err := catalog.OpenFS(built, ".", assets.StickerName)
	must(t, err)
	u, err := NewUpscaler(dev, m)
	must(t, err)
	t.Cleanup(func() { u.Close(); m.Close() })
	return u
}

// waves is a picture of waves with a hard edge; with alpha a disc of it.
func waves(w, h int, alpha bool) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			wave := func(k float64) uint8 { return uint8(128 + 100*math.Sin(k*float64(x)+math.Cos(k*float64(y)*0.7)*3)) }
			c := color.NRGBA{wave(0.3), wave(0.11), wave(0.05), 255}
			if (x/9+y/7)%2 == 0 {
				c.G = 250 - c.G
			}
			if dx, dy := x-w/2, y-h/2; alpha && dx*dx+dy*dy > w*h/6 {
				c = color.NRGBA{}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

func plain(w, h int, c color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.SetNRGBA(i%w, i/w, c)
	}
	return m
}

// untiled enlarges a whole picture at once: what tiles must come close to.
func untiled(t *testing.T, u *Upscaler, r Request) *image.NRGBA {
	t.Helper()
	e := &enlarging{Upscaler: u, from: r.Init, report: func(Progress) {}, start: time.Now()}
	u.unload()
	u.tile = image.Pt(roundUp(r.Init.W, u.net.Multiple), roundUp(r.Init.H, u.net.Multiple))
	plan, err := u.compile(u.tile)
	must(t, err)
	u.loaded, err = u.dev.Load(t.Context(), plan)
	must(t, err)
	defer u.unload()
	m, err := e.all(t.Context())
	must(t, err)
	return m
}

// apart is the largest difference of two pictures in steps of 255, colours counted as far as they are seen.
func apart(a, b *image.NRGBA) (most int) {
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			p, q := a.NRGBAAt(x, y), b.NRGBAAt(x, y)
			for _, d := range [4]int{int(p.R)*int(p.A)/255 - int(q.R)*int(q.A)/255, int(p.G)*int(p.A)/255 - int(q.G)*int(q.A)/255,
				int(p.B)*int(p.A)/255 - int(q.B)*int(q.A)/255, int(p.A) - int(q.A)} {
				most = max(most, d, -d)
			}
		}
	}
	return most
}

// TestTilesLeaveNoSeam holds pictures of several tiles against the same picture in one: across the borders of tiles, at odd sizes, with
// alpha and without, on both devices. The built-in upscaler reads 10 pixels round each and tiles share 32, so nothing may differ but
// rounding; the RRDB of the goldens reads further than tiles overlap, and may differ by little.
func TestTilesLeaveNoSeam(t *testing.T) {
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for name, c := range map[string]struct {
			u     *Upscaler
			w, h  int
			alpha bool
			most  int
		}{
			"built in":           {ownUpscaler(t, dev), 131, 67, false, 1},
			"built in, alpha":    {ownUpscaler(t, dev), 67, 131, true, 1},
			"RRDB":               {openUpscaler(t, dev, "../testdata/gan/rrdb.pth"), 99, 39, false, 2},
			"RRDB, alpha, small": {openUpscaler(t, dev, "../testdata/gan/rrdb.pth"), 37, 33, true, 0},
		} {
			c.u.most = leastTile
			r := Request{Init: PixelsOf(waves(c.w, c.h, c.alpha))}
			var told []Progress
			res, err := c.u.Run(t.Context(), r, func(p Progress) { told = append(told, p) })
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, s := res.Images[0], c.u.Scale()
			if got.Rect.Dx() != c.w*s || got.Rect.Dy() != c.h*s {
				t.Errorf("%s: %v", name, got.Rect)
			}
			if d := apart(got, untiled(t, c.u, r)); d > c.most {
				t.Errorf("%s: tiles differ from the whole by %d of 255, and at most %d is wanted", name, d, c.most)
			}
			tiles := len(spans(c.w, min(c.w, leastTile))) * len(spans(c.h, min(c.h, leastTile)))
			if last := told[len(told)-1]; last.Phase != "tile" || last.Step != tiles || last.Steps != tiles || last.Left != 0 {
				t.Errorf("%s: told %+v last, of %d tiles", name, last, tiles)
			}
			again, err := c.u.Run(t.Context(), r, nil)
			must(t, err)
			if apart(got, again.Images[0]) != 0 {
				t.Errorf("%s: twice is not the same", name)
			}
		}
	})
}

// TestSpansCover checks that tiles lie inside, and that their shares add up to one everywhere and are nought at a tile's edge.
func TestSpansCover(t *testing.T) {
	for _, c := range [][2]int{{1, 1}, {64, 64}, {65, 64}, {97, 64}, {256, 256}, {1000, 256}, {481, 256}, {480, 256}} {
		const scale = 2
		sum := make([]float32, c[0]*scale)
		for i, s := range spans(c[0], c[1]) {
			if s.at < 0 || s.at+s.size > c[0] {
				t.Errorf("%v: tile at %d", c, s.at)
			}
			w := s.weights(scale)
			for k, v := range w {
				sum[s.at*scale+k] += v
			}
			if i > 0 && (w[0] != 0 || w[10*scale] != 0) {
				t.Errorf("%v: tile %d counts at its edge: %v", c, i, w[:12*scale])
			}
		}
		for x, v := range sum {
			if v < 0.99999 || v > 1.00001 {
				t.Fatalf("%v: shares at %d add up to %v", c, x, v)
			}
		}
	}
}

// TestUpscalesKnownNumbers enlarges by a network whose answers are known: v + gain · v, at every pixel of a block.
func TestUpscalesKnownNumbers(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 3, 1))
	m.SetNRGBA(0, 0, color.NRGBA{100, 40, 20, 255})
	m.SetNRGBA(1, 0, color.NRGBA{200, 0, 10, 255})
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for channels, want := range map[int]color.NRGBA{1: {150, 60, 30, 255}, 3: {150, 60, 30, 255}, 4: {150, 60, 30, 255}} {
			u := openUpscaler(t, dev, compactOf(t, channels, 0.5))
			opaque := image.NewNRGBA(image.Rect(0, 0, 1, 1))
			opaque.SetNRGBA(0, 0, color.NRGBA{100, 40, 20, 255})
			for name, from := range map[string]*image.NRGBA{"one pixel": opaque, "alpha": m} {
				res, err := u.Run(t.Context(), Request{Init: PixelsOf(from)}, nil)
				must(t, err)
				if got := res.Images[0].NRGBAAt(1, 1); got != want {
					t.Errorf("%d channels, %s: %v, want %v", channels, name, got, want)
				}
			}
			res, err := u.Run(t.Context(), Request{Init: PixelsOf(m)}, nil)
			must(t, err)
			if got := res.Images[0]; got.NRGBAAt(2, 0) != (color.NRGBA{255, 0, 15, 255}) || got.NRGBAAt(5, 1).A != 0 {
				t.Errorf("%d channels: %v", channels, got.Pix)
			}
		}
		// Alpha stays within what surrounds it, though the network answers 0.
		u := openUpscaler(t, dev, compactOf(t, 3, -1))
		res, err := u.Run(t.Context(), Request{Init: PixelsOf(m)}, nil)
		must(t, err)
		if got := res.Images[0]; got.NRGBAAt(1, 1) != (color.NRGBA{0, 0, 0, 255}) {
			t.Errorf("%v", got.Pix)
		}
		// Another size than the network's.
		res, err = openUpscaler(t, dev, compactOf(t, 3, 0)).Run(t.Context(), Request{Init: PixelsOf(plain(8, 6, color.NRGBA{10, 20, 30, 255})), Width: 12, Height: 9}, nil)
		must(t, err)
		if got := res.Images[0]; got.Rect.Dx() != 12 || got.Rect.Dy() != 9 || got.NRGBAAt(7, 4) != (color.NRGBA{10, 20, 30, 255}) || !res.Edited || res.Request.Init != nil {
			t.Errorf("%v, %v", got.Rect, got.NRGBAAt(7, 4))
		}
	})
}

// TestUpscalerSays checks what is refused, and that cancelling ends a run.
func TestUpscalerSays(t *testing.T) {
	dev := host.New(host.Options{})
	defer dev.Close()
	u := openUpscaler(t, dev, compactOf(t, 3, 0))
	for want, r := range map[string]Request{
		"give it one":             {},
		"1 to 268 million":        {Init: &Pixels{W: 8192, H: 8192, C: 1, Data: make([]float32, 1<<26)}, Width: 1 << 15, Height: 1 << 15},
		"only finite numbers":     {Init: &Pixels{W: 1, H: 1, C: 1, Data: []float32{float32(math.NaN())}}},
		"1 to 16384 along":        {Init: &Pixels{W: 0, H: 5, C: 3}},
		"0 × 3 pixels of the 3 ×": {Init: PixelsOf(waves(3, 3, false)), Height: 3},
	} {
		if _, err := u.Run(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; %q is wanted in it", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := u.Run(ctx, Request{Init: PixelsOf(waves(600, 300, false))}, func(p Progress) {
		if p.Step == 1 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	built, _ := assets.Model("palette")
	m, err := catalog.OpenFS(built, ".", "palette")
	must(t, err)
	defer m.Close()
	if _, err := NewUpscaler(dev, m); err == nil || !strings.Contains(err.Error(), "enlarges no pictures") {
		t.Errorf("%v", err)
	}
}

// cramped is a device with small storage blocks, and as much memory as it has been given.
type cramped struct {
	compute.Device
	block, room int64
	loads       []int64 // bytes of the plans that were loaded, or refused
}

func (n *cramped) Limits() compute.Limits {
	return compute.Limits{Shaders: true, StorageBytes: n.block}
}

func (n *cramped) Load(ctx context.Context, p *compute.Plan) (compute.Executable, error) {
	bytes := p.SlotBytes() + p.ParamBytes()
	n.loads = append(n.loads, bytes)
	if bytes > n.room {
		return nil, &compute.MemoryError{Device: "cramped", Need: bytes, Available: n.room}
	}
	return n.Device.Load(ctx, p)
}

// TestTilesFitTheDevice checks that tiles are as small as storage blocks and memory want them, and that the picture is the same but for
// what the network reads beyond a tile's overlap.
func TestTilesFitTheDevice(t *testing.T) {
	cpu := host.New(host.Options{})
	defer cpu.Close()
	const file = "../testdata/gan/rrdb.pth"
	r := Request{Init: PixelsOf(waves(201, 90, false))}
	whole, err := openUpscaler(t, cpu, file).Run(t.Context(), r, nil)
	must(t, err)
	for name, c := range map[string]struct {
		dev  cramped
		tile image.Point
	}{
		"blocks": {cramped{block: 10 << 20, room: 1 << 40}, image.Pt(96, 90)}, // 16 features of 4 · 96 squared are 9.4 MB
		"memory": {cramped{block: 1 << 40, room: 12 << 20}, image.Pt(64, 64)},
	} {
		c.dev.Device = cpu
		u := openUpscaler(t, &c.dev, file)
		res, err := u.Run(t.Context(), r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Log(name, u.tile, c.dev.loads)
		if d := apart(res.Images[0], whole.Images[0]); d > 2 || u.tile != c.tile {
			t.Errorf("%s: tiles of %v, and %v is wanted; they differ from the whole by %d", name, u.tile, c.tile, d)
		}
	}
	u := openUpscaler(t, &cramped{Device: cpu, block: 1 << 40, room: 1}, file)
	var memory *compute.MemoryError
	if _, err := u.Run(t.Context(), r, nil); !errors.As(err, &memory) {
		t.Errorf("without memory: %v", err)
	}
}

// TestResize holds rows at a time against the whole picture at once, with alpha, larger and smaller.
func TestResize(t *testing.T) {
	m := waves(41, 29, true)
	for _, size := range []image.Point{{41, 29}, {20, 11}, {97, 60}, {1, 1}} {
		got, err := resize(t.Context(), m, size.X, size.Y)
		must(t, err)
		p := PixelsOf(m).premultiplied().resized(size.X, size.Y)
		if d := apart(got, toPicture(p.Data, p.W, p.H, p.C)); d > 1 || got.Rect.Size() != size {
			t.Errorf("%v: %v, differs by %d", size, got.Rect, d)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resize(ctx, m, 5, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
