package pipeline

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/catalog"
	"atelier/models/checkpoint"
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

// TestPreviewOfKnownAutoencoders checks the maps of Stable Diffusion's autoencoders: even latents give the map's own colour
// everywhere, and between two latents it changes evenly.
func TestPreviewOfKnownAutoencoders(t *testing.T) {
	c := &vae.Config{LatentChannels: 4, OutChannels: 3, Channels: []int{128, 256, 512, 512}, ScalingFactor: 0.13025}
	p := newPreview(c)
	if !p.known(c) {
		t.Fatal("not known")
	}
	const h, w = 3, 4
	even := slices.Repeat([]float32{1, -0.5, 0.25, 0}, h*w)
	m := p.picture(even, h, w)
	want := [3]uint8{level(0.5 + float32(0.3651+0.5*0.2533+0.25*0.1076+0.1084)/2), level(0.5 + float32(0.4232+0.5*0.0042+0.25*0.1111-0.0175)/2), level(0.5 + float32(0.4341-0.5*0.1068-0.25*0.0362-0.0011)/2)}
	for i := 0; i < len(m.Pix); i += 4 {
		for k, v := range want {
			if d := int(m.Pix[i+k]) - int(v); d > 1 || d < -1 {
				t.Fatalf("pixel %d is %v, want %v", i/4, m.Pix[i:i+3], want)
			}
		}
	}
	ramp := make([]float32, h*w*4)
	for i := range h * w {
		ramp[4*i] = 0.3 * float32(i%w)
	}
	row := p.picture(ramp, h, w).Pix[:w*8*4]
	for x := 5; x < w*8-5; x++ { // one latent is 8 pixels and 0.3·0.3651/2 of 256 levels: 1.75 levels each
		if d := int(row[4*x]) - int(row[4*(x-1)]); d < 1 || d > 2 {
			t.Fatalf("from pixel %d to the next the red changes by %d", x-1, d)
		}
	}
	c.Channels = []int{32, 64}
	if newPreview(c).known(c) {
		t.Error("an autoencoder of another size is known")
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

// writeTiny writes a decoder of the TAESD family from four latents to so many colours, twice as large.
func writeTiny(t *testing.T, path string, out int) {
	t.Helper()
	r := rand.New(rand.NewPCG(8, 9))
	var list []checkpoint.Tensor
	add := func(name string, shape ...int) {
		x := make([]float32, compute.Shape(shape).Size())
		for i := range x {
			x[i] = float32(r.NormFloat64() * 0.1)
		}
		list = append(list, checkpoint.NewF32(name, shape, x))
	}
	conv := func(name string, out, in int, bias bool) {
		if add(name+".weight", out, in, 3, 3); bias {
			add(name+".bias", out)
		}
	}
	conv("1", 8, 4, true)
	for _, k := range []string{"0", "2", "4"} {
		conv("3.conv."+k, 8, 8, true)
	}
	conv("5", 8, 8, false)
	conv("6", out, 8, true)
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, checkpoint.Write(path, list, nil))
}

// TestTinyPreview puts a tiny decoder beside a model: it makes the previews, and the picture stays the same.
func TestTinyPreview(t *testing.T) {
	dir := writeSmall(t)
	run := func() (previews, decoded int, pix []uint8) {
		t.Helper()
		m, err := catalog.Open(dir, catalog.Options{})
		must(t, err)
		defer m.Close()
		p, err := NewText2Image(newHost(t, host.Options{}), m)
		must(t, err)
		defer p.Close()
		r, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: 1, Steps: 40}, func(g Progress) {
			if g.Phase == "denoise" && g.Preview != nil {
				previews++
			}
		})
		must(t, err)
		if p.parts.tiny != nil {
			decoded = len(p.stages.lookSteps(40))
		}
		return previews, decoded, r.Images[0].Pix
	}
	_, none, before := run()
	writeTiny(t, filepath.Join(dir, "taesd", "taesd_decoder.safetensors"), 3)
	if _, decoded, _ := run(); none != 0 || decoded != 0 {
		t.Error("a decoder of other channels is taken")
	}
	writeTiny(t, filepath.Join(dir, "taesd", "taesd_decoder.safetensors"), 4)
	previews, decoded, after := run()
	if previews == 0 || decoded == 0 {
		t.Errorf("%d previews, %d of them by the tiny decoder", previews, decoded)
	}
	if !slices.Equal(before, after) {
		t.Error("the picture is another with previews by a tiny decoder")
	}
}
