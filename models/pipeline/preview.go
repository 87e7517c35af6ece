package pipeline

import (
	"cmp"
	"context"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"slices"

	"atelier/compute"
	"atelier/models/vae"
)

// preview shows a picture while it forms.
//
// The decoder costs about as much as a denoising step, too much to run after each of them. But an autoencoder's latents
// are nearly a small picture in other colours, so an affine map from each latent and its eight neighbours to its patch of
// pixels is a good look at a thousandth of the cost. It needs no table of constants: the map is fitted, by least squares, to
// what this model's own autoencoder makes of drawn test cards, and then of every picture that is finished. Where the budget
// allows some decodes, the later previews are real ones.
type preview struct {
	channels, colours, factor int
	xx, xy                    []float64       // normal equations: n·n and n·factor²·colours
	weights                   map[int]weights // by pixels per latent and axis; nil before the first fit
}

// weights map n features to a patch of pixels.
type weights struct {
	side int       // pixels of a patch along an axis
	w    []float32 // [n][side·side·colours]
}

func newPreview(c *vae.Config) *preview {
	p := &preview{channels: c.LatentChannels, colours: c.OutChannels, factor: c.Factor()}
	n := p.features()
	p.xx, p.xy = make([]float64, n*n), make([]float64, n*p.factor*p.factor*p.colours)
	return p
}

// features is how many numbers a patch is made from: three by three latents, and a one.
func (p *preview) features() int { return 9*p.channels + 1 }

// gather reads the features of place (y, x) of latents [h w channels]; latents beyond the edge are those at the edge.
func (p *preview) gather(to []float64, latents []float32, h, w, y, x int) {
	i := 0
	for dy := -1; dy <= 1; dy++ {
		for dx := -1; dx <= 1; dx++ {
			at := (min(max(y+dy, 0), h-1)*w + min(max(x+dx, 0), w-1)) * p.channels
			for _, v := range latents[at : at+p.channels] {
				to[i] = float64(v)
				i++
			}
		}
	}
	to[i] = 1
}

// mostSamples bounds how many latents of a picture a fit learns from.
const mostSamples = 1024

// fit learns from latents [h w channels] of unit variance and their picture [h·f w·f colours] in [0, 1].
func (p *preview) fit(latents, picture []float32, h, w int) {
	n, f := p.features(), p.factor
	x, y := make([]float64, n), make([]float64, f*f*p.colours)
	stride := max(1, h*w/mostSamples)
	if stride%2 == 0 {
		stride++ // odd, so that it visits all columns of even widths
	}
	for at := 0; at < h*w; at += stride {
		i, j := at/w, at%w
		p.gather(x, latents, h, w, i, j)
		for r := range f {
			for k, v := range picture[((i*f+r)*w+j)*f*p.colours:][:f*p.colours] {
				y[r*f*p.colours+k] = float64(v)
			}
		}
		for a, v := range x {
			for b, u := range x {
				p.xx[a*n+b] += v * u
			}
			row := p.xy[a*len(y) : (a+1)*len(y)]
			for b, u := range y {
				row[b] += v * u
			}
		}
	}
	p.weights = map[int]weights{f: {f, solve(p.xx, p.xy, n, len(y))}}
}

// solve gives the least-squares solution of the normal equations a·s = b, a [n n], b [n m], by Gaussian elimination with a
// little ridge, so that features that hardly varied do no harm. a and b stay as they are.
func solve(a, b []float64, n, m int) []float32 {
	a, b = append([]float64(nil), a...), append([]float64(nil), b...)
	ridge := 1e-5*a[n*n-1] + 1e-9
	for i := range n {
		a[i*n+i] += ridge
	}
	for i := range n { // symmetric and positive definite: no pivoting needed
		for r := i + 1; r < n; r++ {
			k := a[r*n+i] / a[i*n+i]
			for c := i; c < n; c++ {
				a[r*n+c] -= k * a[i*n+c]
			}
			for c := range m {
				b[r*m+c] -= k * b[i*m+c]
			}
		}
	}
	out := make([]float32, n*m)
	for i := n - 1; i >= 0; i-- {
		for c := range m {
			for r := i + 1; r < n; r++ {
				b[i*m+c] -= a[i*n+r] * b[r*m+c]
			}
			b[i*m+c] /= a[i*n+i]
			out[i*m+c] = float32(b[i*m+c])
		}
	}
	return out
}

// sized gives the weights for patches of side pixels, side a divisor of the factor: the means of the full patch's.
func (p *preview) sized(side int) weights {
	if s, ok := p.weights[side]; ok {
		return s
	}
	full, c := p.weights[p.factor], p.colours
	box, n := p.factor/side, p.features()
	s := weights{side, make([]float32, n*side*side*c)}
	for a := range n {
		for y := range p.factor {
			for x := range p.factor {
				for k := range c {
					s.w[((a*side+y/box)*side+x/box)*c+k] += full.w[((a*p.factor+y)*p.factor+x)*c+k] / float32(box*box)
				}
			}
		}
	}
	p.weights[side] = s
	return s
}

// previewSize bounds a preview along its longer axis, in pixels, so that it costs milliseconds.
const previewSize = 256

// picture maps latents [h w channels] of unit variance to a picture; nil before the first fit.
func (p *preview) picture(latents []float32, h, w int) *image.NRGBA {
	if p.weights == nil {
		return nil
	}
	side := p.factor
	for side > 1 && max(h, w)*side > previewSize {
		side /= 2
	}
	s, c := p.sized(side), p.colours
	out, x := make([]float32, h*side*w*side*c), make([]float64, p.features())
	patch := make([]float32, side*side*c)
	for i := range h {
		for j := range w {
			p.gather(x, latents, h, w, i, j)
			clear(patch)
			for a, v := range x {
				for b, u := range s.w[a*len(patch) : (a+1)*len(patch)] {
					patch[b] += float32(v) * u
				}
			}
			for r := range side {
				copy(out[((i*side+r)*w+j)*side*c:], patch[r*side*c:(r+1)*side*c])
			}
		}
	}
	return toPicture(out, w*side, h*side, c)
}

// colours is an affine map from a latent of unit variance to a colour in [−1, 1].
type colours struct {
	latents [4][3]float64
	offset  [3]float64
}

// The maps of the autoencoders of Stable Diffusion 1 and 2 and of XL, as ComfyUI has fitted them.
var (
	coloursSD = colours{latents: [4][3]float64{{0.3512, 0.2297, 0.3227}, {0.3250, 0.4974, 0.2350}, {-0.2829, 0.1762, 0.2721}, {-0.2120, -0.2616, -0.7177}}}
	coloursXL = colours{
		latents: [4][3]float64{{0.3651, 0.4232, 0.4341}, {-0.2533, -0.0042, 0.1068}, {0.1076, 0.1111, -0.0362}, {-0.3165, -0.2492, -0.2188}},
		offset:  [3]float64{0.1084, -0.0175, -0.0011},
	}
)

// known begins with a map that is known, for autoencoders of the size of Stable Diffusion's, on which a fit to test cards
// would take longer than a person waits for a model. Between latents it blends linearly. The first picture replaces it.
func (p *preview) known(c *vae.Config) bool {
	const factorXL = 0.13025
	if !slices.Equal(c.Channels, []int{128, 256, 512, 512}) || c.LatentChannels != 4 || c.OutChannels != 3 {
		return false
	}
	m := coloursSD
	if math.Abs(c.ScalingFactor-factorXL) < 1e-5 {
		m = coloursXL
	}
	f, n := p.factor, p.features()
	w := weights{f, make([]float32, n*f*f*p.colours)}
	near := func(pixel, step int) float64 { // the share of the neighbour that many latents further
		u := (float64(pixel)+0.5)/float64(f) - 0.5
		return max(0, 1-math.Abs(u-float64(step)))
	}
	for y := range f {
		for x := range f {
			for k := range p.colours {
				at := (y*f+x)*p.colours + k
				for i := range 9 {
					share := near(y, i/3-1) * near(x, i%3-1) / 2 // half, for [−1, 1] becomes [0, 1]
					for z := range p.channels {
						w.w[(i*p.channels+z)*f*f*p.colours+at] = float32(share * m.latents[z][k])
					}
				}
				w.w[(n-1)*f*f*p.colours+at] = float32(0.5 + m.offset[k]/2)
			}
		}
	}
	p.weights = map[int]weights{f: w}
	return true
}

// Test cards: how many, and their width and height in latents.
const cards, cardSize = 4, 16

// calibrate fits the preview to test cards, once in a pipeline's life. Where the device has no room for that, there are no
// previews before the first picture is finished.
func (t *Text2Image) calibrate(ctx context.Context) error {
	v := t.parts.vae
	if t.preview.weights != nil || v.InChannels != v.OutChannels || t.preview.known(&v.Config) {
		return nil
	}
	size := cardSize * v.Factor()
	g := compute.NewGraph()
	mean, _ := v.Encode(g.Input("picture", cards, size, size, v.InChannels))
	g.Output("mean", mean)
	pictures, signed := testCards(cards, size, v.InChannels), make([]float32, cards*size*size*v.InChannels)
	for i, x := range pictures {
		signed[i] = 2*x - 1
	}
	out, err := compute.Evaluate(ctx, t.dev, g, map[string][]float32{"picture": signed})
	var memory *compute.MemoryError
	if errors.As(err, &memory) {
		return nil
	}
	if err != nil {
		return err
	}
	latents := out["mean"]
	for i, x := range latents {
		latents[i] = float32((float64(x) - v.Shift()) * v.ScalingFactor)
	}
	if firstBad(latents) >= 0 {
		return nil
	}
	per, pixels := len(latents)/cards, len(pictures)/cards
	for i := range cards {
		t.preview.fit(latents[i*per:(i+1)*per], pictures[i*pixels:(i+1)*pixels], cardSize, cardSize)
	}
	return nil
}

// testCards draws n pictures [size size channels] in [0, 1]: ellipses and boxes in all colours, shaded, overlapping, on
// nothing where there is an alpha channel (premultiplied) and on a plain colour where there is none.
func testCards(n, size, channels int) []float32 {
	r := rand.New(rand.NewPCG(7, 11))
	out := make([]float32, n*size*size*channels)
	for i := range n {
		card := out[i*size*size*channels:][:size*size*channels]
		if channels == 3 {
			ground := randomColour(r)
			for k := range card {
				card[k] = float32(ground[k%3])
			}
		}
		for k := range 9 {
			drawShape(r, card, size, channels, k%2 == 0)
		}
	}
	return out
}

// drawShape lays one shape over a card, its edge smoothed over a pixel.
func drawShape(r *rand.Rand, card []float32, size, channels int, ellipse bool) {
	extent := func() float64 { return (0.06 + 0.24*r.Float64()) * float64(size) }
	cx, cy, a, b := r.Float64()*float64(size), r.Float64()*float64(size), extent(), extent()
	sin, cos := math.Sincos(r.Float64() * math.Pi)
	colour := randomColour(r)
	for y := range size {
		for x := range size {
			dx, dy := float64(x)+0.5-cx, float64(y)+0.5-cy
			u, v := (dx*cos+dy*sin)/a, (dy*cos-dx*sin)/b
			outside := max((math.Abs(u)-1)*a, (math.Abs(v)-1)*b)
			if ellipse {
				outside = (math.Hypot(u, v) - 1) * min(a, b)
			}
			cover := min(max(0.5-outside, 0), 1)
			if cover == 0 {
				continue
			}
			pixel := card[(y*size+x)*channels:][:channels]
			for k := range pixel {
				ink := 1.0 // alpha
				if k < 3 {
					ink = min(max(colour[k]*(1+0.35*u), 0), 1)
				}
				pixel[k] = float32(float64(pixel[k])*(1-cover) + ink*cover)
			}
		}
	}
}

// randomColour is a colour of any hue, more often vivid and light than not.
func randomColour(r *rand.Rand) [3]float64 {
	h, s, v := r.Float64()*6, math.Sqrt(r.Float64()), math.Sqrt(r.Float64())
	hue := [3]float64{math.Abs(h-3) - 1, 2 - math.Abs(h-2), 2 - math.Abs(h-4)}
	for i, x := range hue {
		hue[i] = v * (1 - s*(1-min(max(x, 0), 1)))
	}
	return hue
}

// lookSteps chooses the steps after which a preview is decoded, with the small decoder where there is one.
func (s *stages) lookSteps(steps int) map[int]bool {
	most := 4
	if s.look != nil {
		most = steps
	}
	return decodeSteps(steps, s.answerFLOPs(), s.previewer().plan.FLOPs(), most)
}

// previewer is the stage that decodes previews.
func (s *stages) previewer() *stage { return cmp.Or(s.look, s.decode) }

// decodeSteps chooses the steps after which a preview is decoded rather than mapped: as many as fit into a twentieth of
// the work, at most most, spread over the last 60 % of the steps. It gives their numbers, counted from 1.
func decodeSteps(steps int, stepFLOPs, decodeFLOPs float64, most int) map[int]bool {
	const share = 0.05
	chosen := map[int]bool{}
	if decodeFLOPs <= 0 {
		return chosen
	}
	n := min(most, int(share*float64(steps)*stepFLOPs/decodeFLOPs))
	for i := range n {
		at := int((0.4 + 0.6*float64(i+1)/float64(n+1)) * float64(steps))
		if at >= 1 && at < steps {
			chosen[at] = true
		}
	}
	return chosen
}
