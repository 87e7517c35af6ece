package pipeline

import (
	"image"

	"atelier/models/diffusion"
	"atelier/models/nn"
)

// preview shows a picture while it forms.
//
// The decoder costs about as much as a denoising step, too much to run after each of them. But an autoencoder's latents
// are nearly a small picture in other colours, so an affine map of each latent to its patch's mean colour is a good look at
// a thousandth of the cost. No table of constants is needed for that: the map is fitted, by least squares, to what this
// model's own decoder makes of latents, first of smooth random ones, then of every picture that is finished.
// Where the budget allows some decodes, the later previews are real ones.
type preview struct {
	channels, colours int
	xx, xy            []float64 // normal equations: (channels+1)², (channels+1)·colours
	weights           []float64 // solution, [channels+1][colours]; nil before the first fit
}

func newPreview(channels, colours int) *preview {
	n := channels + 1
	return &preview{channels: channels, colours: colours, xx: make([]float64, n*n), xy: make([]float64, n*colours)}
}

// fit learns from a decode: latents [h w channels] of unit variance and the picture [h·f w·f colours] in [0, 1].
func (p *preview) fit(latents, picture []float32, h, w, f int) {
	n := p.channels + 1
	x, y := make([]float64, n), make([]float64, p.colours)
	for i := range h {
		for j := range w {
			for c := range p.channels {
				x[c] = float64(latents[(i*w+j)*p.channels+c])
			}
			x[p.channels] = 1
			p.patch(y, picture, i, j, w, f)
			for a := range n {
				for b := range n {
					p.xx[a*n+b] += x[a] * x[b]
				}
				for c := range p.colours {
					p.xy[a*p.colours+c] += x[a] * y[c]
				}
			}
		}
	}
	p.weights = solve(p.xx, p.xy, n, p.colours)
}

// patch is the mean colour of the f×f pixels that belong to latent (i, j).
func (p *preview) patch(mean []float64, picture []float32, i, j, w, f int) {
	clear(mean)
	for dy := range f {
		row := picture[((i*f+dy)*w*f+j*f)*p.colours:][:f*p.colours]
		for k, v := range row {
			mean[k%p.colours] += float64(v)
		}
	}
	for c := range mean {
		mean[c] /= float64(f * f)
	}
}

// solve gives the least-squares solution of the normal equations a·s = b, a [n n], b [n m], by Gaussian elimination with a
// little ridge, so that channels that never varied do no harm. a and b stay as they are.
func solve(a, b []float64, n, m int) []float64 {
	a, b = append([]float64(nil), a...), append([]float64(nil), b...)
	ridge := 1e-6*a[n*n-1] + 1e-12
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
	for i := n - 1; i >= 0; i-- {
		for c := range m {
			for r := i + 1; r < n; r++ {
				b[i*m+c] -= a[i*n+r] * b[r*m+c]
			}
			b[i*m+c] /= a[i*n+i]
		}
	}
	return b
}

// picture maps latents [h w channels] of unit variance to a picture of one pixel per latent; nil before the first fit.
func (p *preview) picture(latents []float32, h, w int) *image.NRGBA {
	if p.weights == nil {
		return nil
	}
	out := make([]float32, h*w*p.colours)
	for i := range h * w {
		for c := range p.colours {
			v := p.weights[p.channels*p.colours+c]
			for k := range p.channels {
				v += float64(latents[i*p.channels+k]) * p.weights[k*p.colours+c]
			}
			out[i*p.colours+c] = float32(v)
		}
	}
	return toPicture(out, w, h, p.colours)
}

// smoothLatents is noise of unit variance, [h w channels], whose grain is several latents wide, as pictures' latents are:
// a decoder answers independent latents with texture rather than with colour.
func smoothLatents(h, w, channels int) []float32 {
	const grain = 4
	const seed = 0x5eed
	gh, gw := (h+grain-1)/grain, (w+grain-1)/grain
	coarse := diffusion.Noise(seed, 0, channels*gh*gw)
	first := make([]float32, channels*h*w)
	for c := range channels {
		for y := range h {
			for x := range w {
				first[(c*h+y)*w+x] = coarse[(c*gh+y/grain)*gw+x/grain]
			}
		}
	}
	return nn.ChannelsLast(first, 1, channels, h, w)
}

// decodeSteps chooses the steps after which a preview is decoded rather than mapped: as many as fit into a twentieth of
// the work, at most four, spread over the last 60 % of the steps. It gives their numbers, counted from 1.
func decodeSteps(steps int, stepFLOPs, decodeFLOPs float64) map[int]bool {
	const share, most = 0.05, 4
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
