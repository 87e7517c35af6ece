package gan

import (
	"math"
	"math/rand/v2"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

var tiny = nn.Pyramid{Size: 8, Channels: []int{6, 4}, Pixels: 3, Latent: 5, Style: 7, Labels: 2}

// TestR1 holds the penalty against the scores' differences, and its own gradient, which is one of a gradient, likewise.
func TestR1(t *testing.T) {
	s := nn.Initialise(4)
	d, err := NewDiscriminator(s, tiny)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	const b = 2
	x := make([]float32, b*8*8*3)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	var kernel *nn.Param
	for _, p := range s.Params() {
		if p.Name == "levels.1.down.weight" {
			kernel = p
		}
	}
	values := kernel.Source.(*compute.Values).Data
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		penalty := func() (value float64, grad []float32) {
			g := compute.NewGraph()
			in, label := g.Input("x", b, 8, 8, 3), g.Input("label", b)
			p := R1(d.Forward(in, label), in)
			g.Output("penalty", p)
			g.Output("grad", compute.Grad(p, kernel.In(in))[0])
			out := goldentest.RunFlat(t, dev, g, map[string][]float32{"x": x, "label": {0, 1}})
			return float64(out["penalty"][0]), out["grad"]
		}
		value, grad := penalty()
		// The slope of the scores' sum by each pixel.
		const step = 1e-3
		g := compute.NewGraph()
		in, label := g.Input("x", b, 8, 8, 3), g.Input("label", b)
		g.Output("sum", compute.Sum(d.Forward(in, label), false))
		plan, err := g.Compile(dev.Limits())
		if err != nil {
			t.Fatal(err)
		}
		exe, err := dev.Load(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		defer exe.Close()
		score := func() float64 {
			sum := make([]float32, 1)
			if err := exe.Run(t.Context(), map[string][]float32{"x": x, "label": {0, 1}}, map[string][]float32{"sum": sum}); err != nil {
				t.Fatal(err)
			}
			return float64(sum[0])
		}
		squares := 0.0
		for i := range x {
			was := x[i]
			x[i] = was + step
			up := score()
			x[i] = was - step
			down := score()
			x[i] = was
			squares += math.Pow((up-down)/(2*step), 2)
		}
		if want := squares / (2 * b); math.Abs(value-want) > 0.02*want {
			t.Errorf("the penalty is %g, by differences %g", value, want)
		}
		for _, i := range []int{0, 17, len(values) - 1} {
			was := values[i]
			at := func(v float32) float64 {
				// A parameter's values are uploaded once a Source, so the changed ones need a new one.
				moved := append([]float32(nil), values...)
				moved[i] = v
				old := kernel.Source
				kernel.Source = &compute.Values{Data: moved}
				defer func() { kernel.Source = old }()
				p, _ := penalty()
				return p
			}
			const h = 1e-3
			want := (at(was+h) - at(was-h)) / (2 * h)
			if got := float64(grad[i]); math.Abs(got-want) > 0.05*math.Abs(want)+1e-3 {
				t.Errorf("the penalty's slope by weight %d is %g, by differences %g", i, got, want)
			}
		}
	})
}

// The generator's pictures have their size and range, and depend on the noise and on the label.
func TestGenerator(t *testing.T) {
	g, err := NewGenerator(nn.Initialise(2), StyleConfig{Pyramid: tiny})
	if err != nil {
		t.Fatal(err)
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		graph := compute.NewGraph()
		y := g.Forward(graph.Input("z", 3, 5), graph.Input("label", 3))
		graph.Output("y", y)
		out := goldentest.RunFlat(t, dev, graph, map[string][]float32{"z": {1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 0, 0, 1, 0, 0}, "label": {0, 1, 0}})["y"]
		if len(out) != 3*8*8*3 {
			t.Fatalf("%d values", len(out))
		}
		each := len(out) / 3
		differ := func(a, b int) (most float64) {
			for i := range each {
				most = max(most, math.Abs(float64(out[a*each+i]-out[b*each+i])))
			}
			return most
		}
		if differ(0, 1) < 1e-3 || differ(0, 2) < 1e-3 {
			t.Errorf("another label changes pictures by %g, other noise by %g", differ(0, 1), differ(0, 2))
		}
		for _, v := range out {
			if !(v > -1 && v < 1) {
				t.Fatalf("a value of %g", v)
			}
		}
	})
}

func TestStyleConfig(t *testing.T) {
	for _, text := range []string{`{`, `{"size":8,"channels":[4],"pixels":3,"latent":4,"style":4}`, `{"size":8,"channels":[4,0],"pixels":3,"latent":4,"style":4}`,
		`{"size":8,"channels":[4,4],"pixels":2,"latent":4,"style":4}`, `{"size":8,"channels":[4,4],"pixels":3,"latent":4,"style":4,"labels":2,"label_names":["a"]}`,
		`{"size":8,"channels":[],"pixels":3,"latent":4,"style":4}`} {
		if _, err := ParseStyleConfig([]byte(text)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}
