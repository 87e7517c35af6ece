package nn

import "atelier/compute"

// Bands is a large picture [B H W C] in bands of rows, from the top down, each a tensor of its own. So no result is larger than a
// device takes, and what layers need on the way is that of a band at a time. Bands give what the whole would but for rounding:
// convolutions see the rows beyond a band's edges, norms the statistics of all bands, and so there are no seams. A small picture is
// one band, and costs nothing more.
type Bands struct {
	parts []*compute.Tensor
	then  func(x *compute.Tensor) *compute.Tensor // what is still to be done to each pixel, when its row is asked for; or nil
	bytes int                                     // of a band, at most
}

// BandBytes is the size from which on a picture is usually cut: well below the 128 MiB that most drivers store in one result, and
// enough that a band's own work is long beside what its edges cost.
const BandBytes = 32 << 20

// Whole is x as it is, cut by the first layer that reads or gives more than so many bytes.
func Whole(x *compute.Tensor, bytes int) Bands {
	return Bands{parts: []*compute.Tensor{x}, bytes: bytes}
}

// Join is the picture in one.
func (b Bands) Join() *compute.Tensor { return b.rows(0, b.height()) }

func (b Bands) height() int {
	h := 0
	for _, p := range b.parts {
		h += p.Dim(1)
	}
	return h
}

// rows is a stretch of rows of the picture.
func (b Bands) rows(first, end int) *compute.Tensor {
	var list []*compute.Tensor
	at := 0
	for _, p := range b.parts {
		h := p.Dim(1)
		if from, to := max(first-at, 0), min(end-at, h); from < to {
			list = append(list, compute.Slice(p, 1, from, to))
		}
		at += h
	}
	x := compute.Concat(1, list...)
	if b.then != nil {
		x = b.then(x)
	}
	return x
}

// Each does the same to every pixel, when it is needed.
func (b Bands) Each(do func(x *compute.Tensor) *compute.Tensor) Bands {
	if len(b.parts) == 1 && b.then == nil {
		return Whole(do(b.parts[0]), b.bytes)
	}
	before := b.then
	b.then = func(x *compute.Tensor) *compute.Tensor {
		if before != nil {
			x = before(x)
		}
		return do(x)
	}
	return b
}

// Together does what needs the whole picture at once.
func (b Bands) Together(do func(x *compute.Tensor) *compute.Tensor) Bands {
	return Whole(do(b.Join()), b.bytes)
}

// Norm normalises the picture and applies act.
func (b Bands) Norm(n *GroupNorm, act compute.Act) Bands {
	if len(b.parts) == 1 {
		return b.Each(func(x *compute.Tensor) *compute.Tensor { return n.Forward(x, act) })
	}
	x := b.parts[0]
	scale, shift := compute.GroupNormFactors(b.parts, n.Gamma.In(x), n.Beta.In(x), n.groups, n.eps)
	return b.Each(func(x *compute.Tensor) *compute.Tensor { return act.Apply(compute.Add(compute.Mul(x, scale), shift)) })
}

// Conv convolves the picture, enlarged before by repeating each pixel up times along both axes, and adds residual where it is not
// nil.
func (b Bands) Conv(c *Conv2D, up int, residual *Bands) Bands {
	x := b.parts[0]
	if x.Err() != nil {
		return b
	}
	kernel := c.Weight.Shape
	ci, co, k, h, w := kernel[3], kernel[0], kernel[1], b.height()*up, x.Dim(2)*up
	outH, outW := (h+c.pad[0]+c.pad[1]-k)/c.stride+1, (w+c.pad[2]+c.pad[3]-k)/c.stride+1
	if 4*x.Dim(0)*max(h*w*ci, outH*outW*co) <= b.bytes {
		return Whole(c.band(b, up, residual, 0, outH, h, w), b.bytes)
	}
	high := max(b.bytes/(4*x.Dim(0)*max(w*ci*c.stride, outW*co)), 1)
	bands := (outH + high - 1) / high
	if outH == h {
		bands = max(bands, len(b.parts)) // as a residual is likely to be cut
	}
	out := Bands{bytes: b.bytes}
	for i := range bands {
		out.parts = append(out.parts, c.band(b, up, residual, outH*i/bands, outH*(i+1)/bands, h, w))
	}
	return out
}

// band gives rows first ≤ y < end of a convolution of b, whose enlarged picture is h high and w wide.
func (c *Conv2D) band(b Bands, up int, residual *Bands, first, end, h, w int) *compute.Tensor {
	top, bottom := first*c.stride-c.pad[0], (end-1)*c.stride-c.pad[0]+c.Weight.Shape[1]
	from, to := max(top, 0), min(bottom, h)
	low, high := from/up, (to+up-1)/up
	x := b.rows(low, high)
	if up > 1 {
		x = compute.Slice(compute.ResizeNearest(x, (high-low)*up, w), 1, from-low*up, to-low*up)
	}
	o := compute.ConvOpts{Stride: [2]int{c.stride, c.stride}, Pad: [4]int{from - top, bottom - to, c.pad[2], c.pad[3]}}
	if c.Bias != nil {
		o.Bias = c.Bias.In(x)
	}
	if residual != nil {
		o.Residual = residual.rows(first, end)
	}
	return compute.Conv2D(x, c.Weight.In(x), o)
}
