package gan

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

// TestRRDBGolden is the case gan-realesrgan-x4 in each of the layouts in which the same numbers are found.
func TestRRDBGolden(t *testing.T) {
	file := goldentest.Open(t, "gan/rrdb.pth")
	in, want := goldentest.Read(t, "gan/in.safetensors"), goldentest.Read(t, "gan/rrdb.out.safetensors")
	built := map[string]*Upscaler{}
	for layout, to := range map[string]func(string) string{
		"Real-ESRGAN": func(n string) string { return n },
		"wrapped":     func(n string) string { return "params_ema." + n },
		"BSRGAN":      bsrgan,
		"ESRGAN":      esrgan,
	} {
		u, err := NewUpscaler(nn.Load(layout, goldentest.Renamed{Tensors: file, To: to}))
		if err != nil {
			t.Fatalf("%s: %v", layout, err)
		}
		if u.Channels != 3 || u.Scale != 4 || u.Multiple != 1 {
			t.Errorf("%s: %d channels, scale %d, multiple %d", layout, u.Channels, u.Scale, u.Multiple)
		}
		built[layout] = u
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for layout, u := range built {
			g, feed := compute.NewGraph(), map[string][]float32{}
			g.Output("y", u.Forward(goldentest.Input(g, feed, "x", in["x"])))
			t.Log(layout)
			goldentest.Compare(t, goldentest.Load(t, "gan-realesrgan-x4"), goldentest.Run(t, dev, g, feed), want)
		}
	})
}

// bsrgan gives Real-ESRGAN's names as BSRGAN has them.
func bsrgan(n string) string {
	return strings.NewReplacer("conv_body", "trunk_conv", "body", "RRDB_trunk", "rdb", "RDB", "conv_up", "upconv", "conv_hr", "HRconv").Replace(n)
}

// esrgan gives Real-ESRGAN's names as ESRGAN's own, for two blocks.
func esrgan(n string) string {
	for from, to := range map[string]string{"conv_first": "model.0", "conv_body": "model.1.sub.2", "conv_up1": "model.3", "conv_up2": "model.6", "conv_hr": "model.8", "conv_last": "model.10"} {
		if leaf, ok := strings.CutPrefix(n, from+"."); ok {
			return to + "." + leaf
		}
	}
	n = strings.NewReplacer("body.", "model.1.sub.", "rdb", "RDB").Replace(n)
	return strings.NewReplacer(".weight", ".0.weight", ".bias", ".0.bias").Replace(n)
}

// rrdbShapes is a generator of zeros: one block of 4 features that grows by 2.
func rrdbShapes(in, ups int) shapes {
	s := shapes{}
	add := func(name string, out, in int) {
		s[name+".weight"], s[name+".bias"] = []int{out, in, 3, 3}, []int{out}
	}
	add("conv_first", 4, in)
	for r := 1; r <= 3; r++ {
		for c := 1; c <= 5; c++ {
			out := 2
			if c == 5 {
				out = 4
			}
			add(fmt.Sprintf("body.0.rdb%d.conv%d", r, c), out, 4+2*(c-1))
		}
	}
	for _, name := range append([]string{"conv_body", "conv_hr"}, []string{"conv_up1", "conv_up2", "conv_up3"}[:ups]...) {
		add(name, 4, 4)
	}
	add("conv_last", 3, 4)
	return s
}

// TestScales checks the enlargement that names and shapes tell.
func TestScales(t *testing.T) {
	for _, c := range []struct{ in, ups, scale, multiple int }{
		{3, 0, 1, 1}, {3, 1, 2, 1}, {3, 2, 4, 1}, {3, 3, 8, 1}, // ESRGAN and BSRGAN
		{12, 2, 2, 2}, {48, 2, 1, 4}, // Real-ESRGAN
	} {
		u, err := NewUpscaler(nn.Load("x", rrdbShapes(c.in, c.ups)))
		if err != nil {
			t.Fatal(err)
		}
		if u.Scale != c.scale || u.Multiple != c.multiple || u.Channels != 3 {
			t.Errorf("%d channels in and %d doublings: scale %d, multiple %d; want %d and %d", c.in, c.ups, u.Scale, u.Multiple, c.scale, c.multiple)
		}
		g := compute.NewGraph()
		y := u.Forward(g.Input("x", 1, 8, 4, 3))
		if y.Err() != nil || !y.Shape().Equal(compute.Shape{1, 8 * c.scale, 4 * c.scale, 3}) {
			t.Errorf("scale %d: %v", c.scale, y)
		}
		old := shapes{}
		maps.Copy(old, rrdbShapes(c.in, c.ups))
		delete(old, "conv_hr.bias")
		if _, err := NewUpscaler(nn.Load("x", old)); err == nil || !strings.Contains(err.Error(), "missing: conv_hr.bias") {
			t.Errorf("without conv_hr.bias: %v", err)
		}
	}
}

// TestPlainReLUs is a compact generator without slopes against its definition: with ReLUs between identity convolutions,
// negative inputs vanish.
func TestPlainReLUs(t *testing.T) {
	one := func(out, in int) goldentest.Tensor {
		w := goldentest.Tensor{Shape: []int{out, in, 3, 3}, Data: make([]float32, out*in*9)}
		for i := range min(out, in) {
			w.Data[(i*in+i)*9+4] = 1
		}
		return w
	}
	ts := tensors{}
	for k, w := range map[string]goldentest.Tensor{"body.0": one(2, 1), "body.2": one(2, 2), "body.4": one(4, 2)} {
		ts[k+".weight"], ts[k+".bias"] = w, goldentest.Tensor{Shape: w.Shape[:1], Data: make([]float32, w.Shape[0])}
	}
	u, err := NewUpscaler(nn.Load("x", ts))
	if err != nil {
		t.Fatal(err)
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		g.Output("y", u.Forward(goldentest.Input(g, feed, "x", goldentest.Tensor{Shape: []int{1, 1, 1, 2}, Data: []float32{0.5, -0.5}})))
		want := goldentest.Tensor{Shape: []int{1, 1, 2, 4}, Data: []float32{1, 0.5, -0.5, -0.5, 0.5, 0.5, -0.5, -0.5}}
		goldentest.Close(t, "y", goldentest.Run(t, dev, g, feed)["y"], want, 1e-6)
	})
}

type tensors map[string]goldentest.Tensor

func (s tensors) Names() (names []string) {
	for n := range s {
		names = append(names, n)
	}
	return names
}
func (s tensors) Get(name string) (checkpoint.Tensor, bool) {
	v, ok := s[name]
	return checkpoint.NewF32(name, v.Shape, v.Data), ok
}
func (s tensors) Metadata() map[string]string { return nil }
func (s tensors) Close() error                { return nil }
