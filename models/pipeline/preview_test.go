package pipeline

import (
	"context"
	"math"
	"testing"

	"atelier/compute/host"
	"atelier/models/diffusion"
	"atelier/models/nn"
	"atelier/models/vae"
)

// TestPreviewFindsAnAffineMap fits latents that are an affine map of the picture, which must then come back.
func TestPreviewFindsAnAffineMap(t *testing.T) {
	const h, w, f, z, c = 14, 11, 2, 2, 3
	p := newPreview(&vae.Config{LatentChannels: z, OutChannels: c, Channels: []int{8, 8}})
	latents := nn.ChannelsLast(diffusion.Noise(3, 0, z*h*w), 1, z, h, w)
	weights := diffusion.Noise(4, 0, p.features()*f*f*c)
	picture := make([]float32, h*f*w*f*c)
	x := make([]float64, p.features())
	for i := range h {
		for j := range w {
			p.gather(x, latents, h, w, i, j)
			for k := range f * f * c {
				v := 0.5
				for a, u := range x {
					v += 0.02 * u * float64(weights[a*f*f*c+k])
				}
				row, col := k/(f*c), k/c%f
				picture[((i*f+row)*w*f+j*f+col)*c+k%c] = float32(v)
			}
		}
	}
	if p.picture(latents, h, w) != nil {
		t.Error("there is a preview before the first fit")
	}
	p.fit(latents, picture, h, w)
	m := p.picture(latents, h, w)
	if m.Rect.Dx() != w*f || m.Rect.Dy() != h*f {
		t.Fatalf("the preview is %v", m.Rect)
	}
	for i, v := range picture {
		if d := int(m.Pix[i/c*4+i%c]) - int(level(v)); d > 1 || d < -1 {
			t.Fatalf("element %d is %d, want %d", i, m.Pix[i/c*4+i%c], level(v))
		}
	}
	small := p.sized(1)
	for a := range p.features() {
		for k := range c {
			mean := float32(0)
			for q := range f * f {
				mean += p.weights[f].w[(a*f*f+q)*c+k] / (f * f)
			}
			if d := small.w[a*c+k] - mean; math.Abs(float64(d)) > 1e-6 {
				t.Fatalf("one pixel for each latent: weight %d %d is %v, want %v", a, k, small.w[a*c+k], mean)
			}
		}
	}
}

func TestTestCards(t *testing.T) {
	for _, channels := range []int{3, 4} {
		const n, size = 2, 32
		x := testCards(n, size, channels)
		if len(x) != n*size*size*channels {
			t.Fatalf("%d numbers", len(x))
		}
		sum := make([]float64, channels)
		empty := 0
		for i, v := range x {
			if v < 0 || v > 1 {
				t.Fatalf("element %d is %v", i, v)
			}
			sum[i%channels] += float64(v) / float64(n*size*size)
			if channels == 4 && i%4 == 3 {
				if v == 0 {
					empty++
				}
				for _, u := range x[i-3 : i] {
					if u > v+1e-6 {
						t.Fatalf("pixel %d is not premultiplied: %v", i/4, x[i-3:i+1])
					}
				}
			}
		}
		for c, mean := range sum {
			if mean < 0.1 || mean > 0.9 {
				t.Errorf("%d channels: channel %d has a mean of %v", channels, c, mean)
			}
		}
		if channels == 4 && (empty < n*size*size/10 || empty > n*size*size*9/10) {
			t.Errorf("%d of %d pixels are empty", empty, n*size*size)
		}
	}
}

// TestCalibrate checks that a pipeline has previews from its first step on.
func TestCalibrate(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	must(t, p.Warm(context.Background(), Request{}))
	if len(p.preview.weights) == 0 {
		t.Fatal("no fit")
	}
	for _, v := range p.preview.weights[p.preview.factor].w {
		if v-v != 0 {
			t.Fatal("the fit is not finite")
		}
	}
}
