package pipeline

import (
	"context"
	"image"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/models/catalog"
	"atelier/models/diffusion"
	"atelier/models/goldentest"
	"atelier/models/nn"
	"atelier/models/unet"
)

// gradient is a picture whose every pixel differs.
func gradient(w, h, c int) *Pixels {
	p := &Pixels{w, h, c, make([]float32, w*h*c)}
	for i := range p.Data {
		at := i / c
		p.Data[i] = [4]float32{float32(at%w) / float32(w), float32(at/w) / float32(h), 0.5, 1}[i%c]
	}
	return p
}

// boxMask is white within a box.
func boxMask(w, h int, box image.Rectangle) *Pixels {
	p := &Pixels{w, h, 1, make([]float32, w*h)}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			p.Data[y*w+x] = 1
		}
	}
	return p
}

// TestImageToImage checks how many steps are run, and that little strength changes little.
func TestImageToImage(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	init := gradient(48, 40, 4)
	far := func(a, b *image.NRGBA) (sum float64) {
		for i := range a.Pix {
			sum += math.Abs(float64(a.Pix[i]) - float64(b.Pix[i]))
		}
		return sum / float64(len(a.Pix))
	}
	run := func(sampler string, strength float64) (*Result, int) {
		r, got := traced(t, p, Request{Prompt: "a horse", Seed: 4, Steps: 8, Sampler: sampler, Init: init, Strength: strength})
		return r, len(predictions(got))
	}
	for _, s := range Samplers() {
		calls := map[string]int{"heun": 7, "dpm_2": 7, "dpm_2_ancestral": 7, "dpmpp_sde": 7, "dpmpp_2s_ancestral": 7, "pndm": 5}[s.ID]
		if calls == 0 {
			calls = 4
		}
		if _, n := run(s.ID, 0.5); n != calls {
			t.Errorf("%s: %d calls, want %d", s.ID, n, calls)
		}
	}
	little, n := run("ddim", 0.05)
	much, m := run("ddim", 1)
	if n != 1 || m != 8 {
		t.Errorf("%d and %d calls", n, m)
	}
	if little.Images[0].Rect != image.Rect(0, 0, 48, 40) || little.Request.Strength != 0.05 || !little.Edited || little.Masked {
		t.Errorf("%v, strength %v", little.Images[0].Rect, little.Request.Strength)
	}
	again, _ := run("ddim", 0.1)
	if a, b := far(little.Images[0], again.Images[0]), far(little.Images[0], much.Images[0]); a > b {
		t.Errorf("strength 0.05 and 0.1 differ by %v, 0.05 and 1 by %v", a, b)
	}
}

// TestInpainting checks on both devices that what is not masked stays, to the bit, and that what is masked does not.
func TestInpainting(t *testing.T) {
	dir := writeSmall(t)
	nine := filepath.Join(dir, "unet")
	write(t, filepath.Join(nine, "config.json"), []byte(strings.Replace(smallConfigs["unet/config.json"], `"sample_size": 8`, `"in_channels": 9, "sample_size": 8`, 1)))
	c, err := unet.ParseConfig([]byte(strings.Replace(smallConfigs["unet/config.json"], `"sample_size": 8`, `"in_channels": 9, "sample_size": 8`, 1)))
	must(t, err)
	scope := nn.Initialise(2)
	_, err = unet.New(scope, c)
	must(t, err)
	save(t, filepath.Join(nine, "diffusion_pytorch_model.safetensors"), scope)
	reading, err := catalog.Open(dir, catalog.Options{})
	must(t, err)
	defer reading.Close()
	box := image.Rect(8, 12, 24, 28)
	init, mask := gradient(40, 36, 4), boxMask(40, 36, box)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for name, m := range map[string]*catalog.Model{"four channels": openSmall(t), "nine channels": reading} {
			p, err := NewText2Image(dev, m)
			must(t, err)
			defer p.Close()
			for _, strength := range []float64{1, 0.6} {
				r, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: 4, Steps: 4, Init: init, Mask: mask, Strength: strength, MaskBlur: -1}, nil)
				must(t, err)
				if !r.Masked || r.Images[0].Rect != image.Rect(0, 0, 40, 36) {
					t.Errorf("%s: %v", name, r.Images[0].Rect)
				}
				compareOutside(t, name, r.Images[0], init, box)
			}
			if _, err := p.Run(context.Background(), Request{Prompt: "a horse"}, nil); err != nil { // from noise alone
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// compareOutside checks that a picture is the given one outside of a box, and something else within.
func compareOutside(t *testing.T, name string, m *image.NRGBA, init *Pixels, box image.Rectangle) {
	t.Helper()
	same := 0
	for i := range init.W * init.H {
		at := image.Pt(i%init.W, i/init.W)
		equal := true
		for k := range 4 {
			d := int(m.Pix[4*i+k]) - int(level(init.Data[i*4+k]))
			equal = equal && d >= -1 && d <= 1
		}
		if at.In(box) && equal {
			same++
		}
		if !at.In(box) && !equal {
			t.Fatalf("%s: %v is %v, and was %v", name, at, m.Pix[4*i:4*i+4], init.Data[i*4:i*4+4])
		}
	}
	if same > box.Dx()*box.Dy()/4 {
		t.Errorf("%s: %d of %d masked pixels are as they were", name, same, box.Dx()*box.Dy())
	}
}

// TestOnlyMasked works on a small part of a large picture.
func TestOnlyMasked(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	box := image.Rect(100, 150, 120, 160)
	init := gradient(301, 203, 4)
	r, err := p.Run(context.Background(), Request{Prompt: "a horse", Seed: 4, Init: init, Mask: boxMask(301, 203, box), OnlyMasked: true, Padding: 8, MaskBlur: -1, Strength: 1, Width: 64, Height: 32}, nil)
	must(t, err)
	if r.Images[0].Rect != image.Rect(0, 0, 301, 203) {
		t.Fatalf("the picture is %v", r.Images[0].Rect)
	}
	compareOutside(t, "only masked", r.Images[0], init, box)
}

// TestSurroundings checks padding, proportions and edges.
func TestSurroundings(t *testing.T) {
	for _, c := range []struct {
		box     image.Rectangle
		padding int
		w, h    int
		want    image.Rectangle
	}{
		{image.Rect(40, 40, 50, 50), 5, 64, 64, image.Rect(35, 35, 55, 55)},
		{image.Rect(40, 40, 50, 50), 0, 64, 32, image.Rect(35, 40, 55, 50)},
		{image.Rect(0, 0, 10, 10), 4, 32, 64, image.Rect(0, 0, 14, 28)},
		{image.Rect(90, 70, 100, 80), 0, 64, 32, image.Rect(80, 70, 100, 80)},
		{image.Rect(0, 0, 100, 10), 0, 64, 64, image.Rect(0, 0, 100, 80)},
		{image.Rectangle{}, 3, 64, 64, image.Rect(0, 0, 100, 80)},
	} {
		if got := boxMask(100, 80, c.box).surroundings(c.padding, c.w, c.h); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestPixels checks resizing, blurring and channels against what they must leave alone.
func TestPixels(t *testing.T) {
	flat := &Pixels{7, 5, 3, make([]float32, 7*5*3)}
	for i := range flat.Data {
		flat.Data[i] = 0.3
	}
	for _, size := range [][2]int{{7, 5}, {20, 3}, {3, 17}, {1, 1}} {
		for i, v := range flat.resized(size[0], size[1]).Data {
			if math.Abs(float64(v)-0.3) > 1e-6 {
				t.Fatalf("flat, %v: number %d is %v", size, i, v)
			}
		}
	}
	for i, v := range flat.blurred(3).Data {
		if math.Abs(float64(v)-0.3) > 1e-6 {
			t.Fatalf("flat, blurred: number %d is %v", i, v)
		}
	}
	spot := boxMask(41, 41, image.Rect(20, 20, 21, 21)).blurred(3)
	if ratio := spot.Data[20*41+23] / spot.Data[20*41+20]; math.Abs(float64(ratio)-math.Exp(-0.5)) > 1e-5 {
		t.Errorf("one deviation from a spot: %v of it", ratio)
	}
	ramp := gradient(64, 64, 3).resized(32, 32)
	if d := math.Abs(float64(ramp.Data[(16*32+16)*3]) - 32.5/64); d > 0.002 {
		t.Errorf("the middle of a ramp is off by %v", d)
	}
	half := (&Pixels{1, 1, 4, []float32{1, 0.5, 0, 0.5}})
	if got := half.channels(3).Data; got[0] != 0.5 || got[1] != 0.25 || got[2] != 0 {
		t.Errorf("on black: %v", got)
	}
	if got := half.grey().Data[0]; math.Abs(float64(got)-(0.299+0.587*0.5)*0.5) > 1e-6 {
		t.Errorf("grey: %v", got)
	}
	m := image.NewNRGBA(image.Rect(3, 4, 5, 5))
	copy(m.Pix, []byte{255, 0, 51, 255, 0, 255, 0, 128})
	if p := PixelsOf(m); p.C != 4 || p.W != 2 || p.H != 1 || p.Data[2] != 0.2 || math.Abs(float64(p.Data[7])-128.0/255) > 1e-6 {
		t.Errorf("%+v", p)
	}
	if got := gradient(4, 4, 1).nearest(2, 2).Data; got[0] != 0 || got[1] != 0.5 {
		t.Errorf("nearest: %v", got)
	}
	seen := &Pixels{2, 1, 4, []float32{1, 1, 1, 1, 1, 1, 1, 0}}
	if got := seen.Cover(2, 1); got[0] != 255 || got[1] != 0 {
		t.Errorf("what is transparent is no mask: %v", got)
	}
	if got := (&Pixels{1, 1, 3, []float32{1, 0, 0}}).Cover(2, 2); len(got) != 4 || got[3] != 76 { // 0.299 · 255
		t.Errorf("red as a mask: %v", got)
	}
}

// TestControl makes a denoiser follow a picture, on both devices: with no scale, and outside of its steps, it does not.
func TestControl(t *testing.T) {
	config, err := unet.ParseControlConfig([]byte(`{"block_out_channels": [8, 16], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "layers_per_block": 1,
		"cross_attention_dim": 8, "attention_head_dim": 2, "norm_num_groups": 4, "conditioning_embedding_out_channels": [4, 8]}`))
	must(t, err)
	dir := t.TempDir()
	scope := nn.Initialise(5)
	_, err = unet.NewControl(scope, config)
	must(t, err)
	saveFilled(t, filepath.Join(dir, "control.safetensors"), scope)
	net, err := unet.NewControl(nn.Load("control", openTensors(t, filepath.Join(dir, "control.safetensors"))), config)
	must(t, err)
	control := &ControlNet{"edges", net}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		p := newSmall(t, dev)
		run := func(c ...Control) [][]float32 {
			_, got := traced(t, p, Request{Prompt: "a horse", Seed: 6, Steps: 4, Controls: c})
			return predictions(got)
		}
		if control.Kind() != p.Info().Follows || control.Kind() == "" {
			t.Errorf("the model follows %q, not this %q", p.Info().Follows, control.Kind())
		}
		picture := gradient(50, 50, 3)
		free := run()
		follows := func(list [][]float32) (calls string) {
			for i, v := range list {
				if different(v, free[i]) > 1e-6 {
					return calls + "+"
				}
				calls += "-"
			}
			return calls
		}
		for want, c := range map[string]Control{
			"+": {Net: control, Picture: picture}, "---+": {Net: control, Picture: picture, Start: 0.75}, "--+": {Net: control, Picture: picture, Start: 0.5, Scale: 0.4},
		} {
			if got := follows(run(c)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		one, two := run(Control{Net: control, Picture: picture, Scale: 1}), run(Control{Net: control, Picture: picture, Scale: 0.25}, Control{Net: control, Picture: picture, Scale: 0.75})
		if d := different(one[0], two[0]); d > 1e-4 {
			t.Errorf("a quarter and three quarters of it are another whole, by %v", d)
		}
		if d := different(one[0], run(Control{Net: control, Picture: gradient(50, 50, 1)})[0]); d < 1e-6 {
			t.Error("another picture changes nothing")
		}
	})
	p := newSmall(t, newHost(t, host.Options{}))
	for want, c := range map[string]Control{
		"needs a picture": {Net: control}, "from 0 to 10": {Net: control, Picture: gradient(4, 4, 3), Scale: 11}, "between 0 and 1": {Net: control, Picture: gradient(4, 4, 3), Start: 0.6, End: 0.5},
	} {
		if _, err := p.Run(context.Background(), Request{Controls: []Control{c}}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; %q is wanted in it", err, want)
		}
	}
}

func different(a, b []float32) (most float64) {
	for i, v := range a {
		most = max(most, math.Abs(float64(v-b[i])))
	}
	return most
}

// TestEditRequests checks what is said of pictures that cannot be worked on.
func TestEditRequests(t *testing.T) {
	p := newSmall(t, newHost(t, host.Options{}))
	ok := gradient(32, 32, 3)
	for want, r := range map[string]Request{
		"no picture is given":     {Mask: ok},
		"2 channels":              {Init: &Pixels{4, 4, 2, make([]float32, 32)}},
		"0 × 4 pixels":            {Init: &Pixels{0, 4, 3, nil}},
		"mask is":                 {Init: ok, Mask: &Pixels{-1, 4, 1, nil}},
		"strength is from 0 to 1": {Init: ok, Strength: 1.5},
		"blur is from 0 to 64":    {Init: ok, Mask: ok, MaskBlur: 65},
		"only finite numbers":     {Init: &Pixels{1, 1, 1, []float32{float32(math.Inf(1))}}},
		"noise generator":         {RNG: "dice"},
		"eta is from 0 to 1":      {Eta: new(float64), Sampler: "ddim"},
		"rescaling of guidance":   {GuidanceRescale: -1},
		"more than the 1 noises":  {Sampler: "euler_ancestral", Noises: [][]float32{diffusion.Noise(1, 0, 256)}},
		"noise 00 has 3 numbers":  {Noises: [][]float32{{1, 2, 3}}},
		"leave the batch at 1":    {Noises: [][]float32{{1, 2, 3}}, Batch: 2},
	} {
		if r.Eta != nil {
			*r.Eta = 2
		}
		if _, err := p.Run(context.Background(), r, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; %q is wanted in it", err, want)
		}
	}
}
