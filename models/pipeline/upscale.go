package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"slices"
	"sync"
	"time"

	"atelier/compute"
	"atelier/models/catalog"
	"atelier/models/gan"
)

// Upscaler enlarges pictures by one network on one device. The picture passes through it in tiles, so that memory does not grow with
// it. Its methods may be called from any goroutine; runs wait for each other.
type Upscaler struct {
	dev   compute.Device
	model *catalog.Model
	net   *gan.Upscaler

	mu     sync.Mutex // held by a run
	most   int        // pixels of a tile along an axis; 0 before it is known
	tile   image.Point
	loaded compute.Executable // for tiles of that size
}

// NewUpscaler builds the upscaler of an open model, which must stay open. The device is not touched before the first run.
func NewUpscaler(dev compute.Device, m *catalog.Model) (*Upscaler, error) {
	if m.Upscaler == nil {
		return nil, fmt.Errorf("the model %s enlarges no pictures; choose an upscaler, which is an RRDB generator (ESRGAN, Real-ESRGAN, BSRGAN) or a compact one (SRVGGNetCompact)", m.Name)
	}
	net, err := gan.NewUpscaler(stored(m.Upscaler))
	if err != nil {
		return nil, fmt.Errorf("the model %s: %w", m.Name, err)
	}
	if net.Channels != 1 && net.Channels != 3 && net.Channels != 4 {
		return nil, fmt.Errorf("the upscaler %s works on %d channels; 1 (grey), 3 (RGB) and 4 (premultiplied RGBA) are pictures", m.Name, net.Channels)
	}
	return &Upscaler{dev: dev, model: m, net: net}, nil
}

// Name is what the model is called.
func (u *Upscaler) Name() string { return u.model.Name }

// Scale is how many times the network enlarges a picture along each axis.
func (u *Upscaler) Scale() int { return u.net.Scale }

// Close gives the device's memory back. The model stays open.
func (u *Upscaler) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unload()
}

func (u *Upscaler) unload() {
	if u.loaded != nil {
		u.loaded.Close()
		u.loaded = nil
	}
}

const (
	mostTile, leastTile = 256, 64 // pixels of a tile along an axis
	tileStep            = 32      // from one size to try to the next
	overlap             = 32      // pixels that neighbouring tiles have in common
	fade                = 8       // pixels in the middle of these over which one gives way to the other
	mostMade            = 1 << 28 // pixels of an enlarged picture
)

// Resolve fills in a request's defaults, or says in one sentence what is wrong with it. Of a request, Init is enlarged to
// Width × Height; without these as many times as the network does.
func (u *Upscaler) Resolve(r Request) (Request, error) {
	if r.Init == nil {
		return r, fmt.Errorf("%s enlarges pictures: give it one", u.Name())
	}
	if err := r.Init.check("picture"); err != nil {
		return r, err
	}
	w, h := r.Init.W*u.net.Scale, r.Init.H*u.net.Scale
	if r.Width == 0 && r.Height == 0 {
		r.Width, r.Height = w, h
	}
	for _, size := range []image.Point{{w, h}, {r.Width, r.Height}} {
		if size.X < 1 || size.Y < 1 || size.X*size.Y > mostMade {
			return r, fmt.Errorf("%s would make %d × %d pixels of the %d × %d of this picture, and 1 to %d million are made; take a smaller picture, or another scale",
				u.Name(), size.X, size.Y, r.Init.W, r.Init.H, mostMade/1_000_000)
		}
	}
	r.Batch = 1
	return r, nil
}

// Run enlarges the picture of a request.
func (u *Upscaler) Run(ctx context.Context, r Request, progress func(Progress)) (*Result, error) {
	r, err := u.Resolve(r)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if progress == nil {
		progress = func(Progress) {}
	}
	e := &enlarging{Upscaler: u, from: r.Init, report: progress, start: time.Now()}
	progress(Progress{Phase: "load"})
	if err := u.prepare(ctx, r.Init.W, r.Init.H); err != nil {
		return nil, err
	}
	out := &Result{Request: r, Device: u.dev.Name(), Model: u.Name(), Seeds: []uint64{r.Seed}, Edited: true, Warnings: slices.Clone(u.model.Warnings)}
	out.Request.Init = nil
	if n := compute.Streamed(u.loaded); n > 0 {
		out.Warnings = append(out.Warnings, streamedNote(u.dev, n))
	}
	begin := time.Now()
	made, err := e.all(ctx)
	if err != nil {
		return nil, err
	}
	if made, err = resize(ctx, made, r.Width, r.Height); err != nil {
		return nil, err
	}
	out.Images = []*image.NRGBA{made}
	out.ModelHash = u.model.Hash()
	out.Seconds = map[string]float64{"load": seconds(begin.Sub(e.start)), "upscale": seconds(time.Since(begin)), "total": seconds(time.Since(e.start))}
	_, out.PeakBytes = u.dev.Memory()
	return out, nil
}

// resize gives a picture at another size, as Pixels.resized does, with no more than a few rows of it as numbers at a time.
func resize(ctx context.Context, m *image.NRGBA, w, h int) (*image.NRGBA, error) {
	if m.Rect.Dx() == w && m.Rect.Dy() == h {
		return m, nil
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	across := lanczos(m.Rect.Dx(), w)
	rows, line := map[int][]float32{}, make([]float32, 4*w)
	for y, taps := range lanczos(m.Rect.Dy(), h) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		maps.DeleteFunc(rows, func(at int, _ []float32) bool { return at < taps[0].at })
		clear(line)
		for _, t := range taps {
			if rows[t.at] == nil {
				rows[t.at] = resizeRow(m.Pix[t.at*m.Stride:][:m.Stride], across)
			}
			for i, v := range rows[t.at] {
				line[i] += float32(t.weight) * v
			}
		}
		copy(out.Pix[y*out.Stride:], toPicture(line, w, 1, 4).Pix)
	}
	return out, nil
}

// resizeRow gives a row of straight RGBA at another width, premultiplied.
func resizeRow(pix []uint8, across [][]tap) []float32 {
	out := make([]float32, 4*len(across))
	for x, taps := range across {
		to := out[4*x : 4*x+4]
		for _, t := range taps {
			from := pix[4*t.at : 4*t.at+4]
			alpha := float32(t.weight) * float32(from[3]) / 255
			for k := range 3 {
				to[k] += alpha * float32(from[k]) / 255
			}
			to[3] += alpha
		}
	}
	return out
}

// prepare loads the network for tiles of a picture. How large they are, the device's limits say, so that the same picture is made the
// same way every time; only where memory is short just now are they smaller.
func (u *Upscaler) prepare(ctx context.Context, w, h int) error {
	if err := u.settle(); err != nil {
		return fmt.Errorf("the upscaler %s: %w", u.Name(), err)
	}
	whole := image.Pt(roundUp(w, u.net.Multiple), roundUp(h, u.net.Multiple))
	for size := u.most; ; size -= tileStep {
		tile := image.Pt(min(size, whole.X), min(size, whole.Y))
		if u.loaded != nil && u.tile == tile {
			return nil
		}
		u.unload()
		plan, err := u.compile(tile)
		if err == nil {
			u.tile = tile
			u.loaded, err = u.dev.Load(ctx, plan)
		}
		var memory *compute.MemoryError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &memory) || size-tileStep < leastTile:
			return fmt.Errorf("the upscaler %s: %w", u.Name(), err)
		}
	}
}

// settle finds the largest tile whose results each fit a storage block of the device.
func (u *Upscaler) settle() (err error) {
	for size := mostTile; u.most == 0 && size >= leastTile; size -= tileStep {
		if _, err = u.compile(image.Pt(size, size)); err == nil {
			u.most = size
		}
	}
	return err
}

func (u *Upscaler) compile(tile image.Point) (*compute.Plan, error) {
	g := compute.NewGraph()
	g.Output("large", u.net.Forward(g.Input("picture", 1, tile.Y, tile.X, u.net.Channels)))
	return g.Compile(u.dev.Limits())
}

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

// enlarging is a run for one picture.
type enlarging struct {
	*Upscaler
	from   *Pixels
	report func(Progress)
	start  time.Time

	columns, rows []span
	passes        [][]int   // channels of the picture that the network is given at a time
	band          []float32 // rows of the large picture that tiles are added to: premultiplied, of channels() each
	done          int       // tiles
	begun         time.Time
}

// channels is how many the picture has while it is worked on: three, or four with alpha.
func (e *enlarging) channels() int { return max(e.from.C, 3) }

// passesFor lists, for a network, which channels of a picture it is given at a time. Alpha goes through a network without it as a grey
// picture, so that edges stay where those of the colours are.
func passesFor(network, picture int) [][]int {
	switch {
	case network == 4:
		return [][]int{{0, 1, 2, 3}}
	case network == 1:
		return [][]int{{0}, {1}, {2}, {3}}[:picture]
	case picture == 4:
		return [][]int{{0, 1, 2}, {3, 3, 3}}
	}
	return [][]int{{0, 1, 2}}
}

// all enlarges the picture, a row of tiles after the other.
func (e *enlarging) all(ctx context.Context) (*image.NRGBA, error) {
	m, s, c := e.net.Multiple, e.net.Scale, e.channels()
	e.columns, e.rows = spans(roundUp(e.from.W, m), e.tile.X), spans(roundUp(e.from.H, m), e.tile.Y)
	e.passes = passesFor(e.net.Channels, c)
	out := image.NewNRGBA(image.Rect(0, 0, e.from.W*s, e.from.H*s))
	line := out.Rect.Dx() * c
	e.band = make([]float32, e.tile.Y*s*line)
	e.begun = time.Now()
	e.tell()
	for i, row := range e.rows {
		for _, column := range e.columns {
			if err := e.one(ctx, column, row); err != nil {
				return nil, err
			}
			e.done++
			e.tell()
		}
		until := out.Rect.Dy() // the rows above are whole
		if i+1 < len(e.rows) {
			until = e.rows[i+1].at * s
		}
		ready := (until - row.at*s) * line
		copy(out.Pix[row.at*s*out.Stride:], toPicture(e.band[:ready], out.Rect.Dx(), until-row.at*s, c).Pix)
		clear(e.band[copy(e.band, e.band[ready:]):])
	}
	return out, nil
}

// tell reports how many tiles are done.
func (e *enlarging) tell() {
	all := len(e.columns) * len(e.rows)
	used, _ := e.dev.Memory()
	p := Progress{Phase: "tile", Step: e.done, Steps: all, Elapsed: time.Since(e.start), Bytes: used}
	if e.done > 0 {
		p.Left = time.Since(e.begun) / time.Duration(e.done) * time.Duration(all-e.done)
	}
	e.report(p)
}

// one adds a tile to the band.
func (e *enlarging) one(ctx context.Context, column, row span) error {
	n, s, c := e.net.Channels, e.net.Scale, e.channels()
	across, down := column.weights(s), row.weights(s)
	width := e.from.W * s
	low, high := e.alphaRange(column.at, row.at)
	large := make([]float32, e.tile.X*e.tile.Y*s*s*n)
	for _, pass := range e.passes {
		in := e.cut(column.at, row.at, pass)
		if err := e.loaded.Run(ctx, map[string][]float32{"picture": in}, map[string][]float32{"large": large}); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("the upscaler %s: %w", e.Name(), err)
		}
		if firstBad(large) >= 0 {
			return fmt.Errorf("the upscaler gave numbers that are not finite on %s: the picture is lost; try another device (--device host), and run doctor", e.dev.Name())
		}
		share := float32(1) // of a channel that goes through several times
		if n == 3 && pass[0] == pass[1] {
			share = 1. / 3
		}
		for y, wy := range down[:min(len(down), (e.from.H-row.at)*s)] {
			to := e.band[(y*width+column.at*s)*c:]
			for x, wx := range across[:min(len(across), (e.from.W-column.at)*s)] {
				from, w := large[(y*e.tile.X*s+x)*n:], wx*wy*share
				for k, channel := range pass {
					switch at := y/s*e.tile.X + x/s; {
					case channel >= c:
					case channel == 3:
						to[x*c+3] += w * min(max(from[k], low[at]), high[at])
					default:
						to[x*c+channel] += w * unit(from[k])
					}
				}
			}
		}
	}
	return nil
}

// cut gives channels of the tile at a place of the picture, premultiplied; beyond the picture's edge is more of its edge.
func (e *enlarging) cut(left, top int, channels []int) []float32 {
	p := e.from
	out := make([]float32, 0, e.tile.X*e.tile.Y*len(channels))
	for y := range e.tile.Y {
		for x := range e.tile.X {
			from := p.Data[(min(top+y, p.H-1)*p.W+min(left+x, p.W-1))*p.C:][:p.C]
			alpha := float32(1)
			if p.C == 4 {
				alpha = from[3]
			}
			for _, k := range channels {
				if k == 3 {
					out = append(out, alpha)
				} else {
					out = append(out, alpha*from[min(k, p.C-1)])
				}
			}
		}
	}
	return out
}

// alphaRange gives the least and the most alpha round each pixel of a tile, which its enlarged pixels stay within: what is opaque or
// transparent all round stays so, whatever the network makes of it. A picture without alpha has neither.
func (e *enlarging) alphaRange(left, top int) (low, high []float32) {
	if e.from.C < 4 {
		return nil, nil
	}
	alpha := e.cut(left, top, []int{3})
	low, high = slices.Clone(alpha), slices.Clone(alpha)
	w, h := e.tile.X, e.tile.Y
	for y := range h {
		for x := range w {
			for v := max(y-1, 0); v < min(y+2, h); v++ {
				for u := max(x-1, 0); u < min(x+2, w); u++ {
					low[y*w+x], high[y*w+x] = min(low[y*w+x], alpha[v*w+u]), max(high[y*w+x], alpha[v*w+u])
				}
			}
		}
	}
	return low, high
}

// span is where a tile lies along an axis, in pixels of the picture, and where its neighbours give way to it and it to them.
type span struct {
	at, size int
	in, out  int // middles of the overlaps with the tile before and after; −1 at the picture's edges
}

// spans lays tiles of a size along an axis; the last ends where the picture does.
func spans(length, size int) []span {
	list := []span{{0, size, -1, -1}}
	for {
		last := &list[len(list)-1]
		if last.at+size >= length {
			return list
		}
		next := span{min(last.at+size-overlap, length-size), size, -1, -1}
		next.in = (next.at + last.at + size) / 2
		last.out = next.in
		list = append(list, next)
	}
}

// weights gives the share that a tile has in each of its pixels, enlarged; shares of all tiles add up to 1.
func (t span) weights(scale int) []float32 {
	out := make([]float32, t.size*scale)
	risen := func(x float32, middle int) float32 { return unit((x-float32(middle))/fade + 0.5) }
	for i := range out {
		x := float32(t.at) + (float32(i)+0.5)/float32(scale)
		out[i] = 1
		if t.in >= 0 {
			out[i] = risen(x, t.in)
		}
		if t.out >= 0 {
			out[i] *= 1 - risen(x, t.out)
		}
	}
	return out
}
