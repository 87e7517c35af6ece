package flow

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

func normals(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// disturbed is a new flow whose parameters are all away from their starting values.
func disturbed(t *testing.T, c Config) *Model {
	t.Helper()
	s := nn.Initialise(3)
	m, err := New(s, c)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range s.Params() {
		v := p.Source.(*compute.Values).Data
		for i := range v {
			v[i] += float32(r.NormFloat64() * 0.1)
		}
	}
	return m
}

var small = Config{Size: 4, Pixels: 1, Levels: 2, Steps: 2, Hidden: 6, Labels: 3}

func TestInverse(t *testing.T) {
	m := disturbed(t, Config{Size: 8, Pixels: 3, Levels: 2, Steps: 3, Hidden: 8, Labels: 3})
	x := goldentest.Tensor{Shape: []int{2, 8, 8, 3}, Data: normals(rand.New(rand.NewPCG(5, 6)), 2*8*8*3)}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g := compute.NewGraph()
		in, label := g.Input("x", x.Shape...), g.Input("label", 2)
		z, _ := m.Forward(in, label)
		back, err := m.Inverse(z, label)
		if err != nil {
			t.Fatal(err)
		}
		g.Output("back", back)
		got := goldentest.RunFlat(t, dev, g, map[string][]float32{"x": x.Data, "label": {0, 2}})["back"]
		for i, v := range got {
			if math.Abs(float64(v-x.Data[i])) > 2e-4 {
				t.Fatalf("value %d comes back as %g, not %g", i, v, x.Data[i])
			}
		}
	})
}

// TestStarts has channels of pictures far from zero and of very different spreads, and looks at them after every scaling.
func TestStarts(t *testing.T) {
	c := Config{Size: 8, Pixels: 3, Levels: 2, Steps: 3, Hidden: 8, Labels: 3}
	const b = 6
	x, labels := normals(rand.New(rand.NewPCG(7, 7)), b*8*8*3), []float32{0, 1, 2, 0, 1, 2}
	for i := range x {
		x[i] = x[i]*[]float32{0.01, 1, 30}[i%3] + []float32{5, -1, 0.2}[i%3]
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		m := disturbed(t, c)
		feed := map[string][]float32{"x": x, "label": labels}
		g := compute.NewGraph()
		starts := m.Starts(g.Input("x", b, 8, 8, 3), g.Input("label", b))
		for p, start := range starts {
			g.Output(p.Name, start)
		}
		values := goldentest.RunFlat(t, dev, g, feed)
		if len(starts) != 2*c.Levels*c.Steps {
			t.Fatalf("%d parameters start", len(starts))
		}
		for p := range starts {
			p.Source = &compute.Values{Data: values[p.Name]}
		}
		g = compute.NewGraph()
		m.forward(g.Input("x", b, 8, 8, 3), g.Input("label", b), func(s *step, x *compute.Tensor) {
			y := compute.Mul(compute.Add(x, s.offset.In(x)), compute.Exp(s.scale.In(x)))
			g.Output(s.offset.Name, compute.Mean(y, false, 0, 1, 2))
			g.Output(s.scale.Name, compute.Mean(compute.Square(y), false, 0, 1, 2))
		})
		for name, channels := range goldentest.RunFlat(t, dev, g, feed) {
			want := 0.0
			if strings.HasSuffix(name, ".scale") {
				want = 1
			}
			for i, v := range channels {
				if math.Abs(float64(v)-want) > 2e-3 {
					t.Errorf("%s: %g in channel %d, not %g", name, v, i, want)
				}
			}
		}
	})
}

// TestVolume holds the log determinant against the determinant of the Jacobian by finite differences.
func TestVolume(t *testing.T) {
	m := disturbed(t, small)
	const n = 16
	x := normals(rand.New(rand.NewPCG(7, 8)), n)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		const step = 1e-2
		rows := 2*n + 1 // x, and x a step to either side along each axis
		batch := make([]float32, rows*n)
		for r := range rows {
			copy(batch[r*n:], x)
		}
		for i := range n {
			batch[(1+2*i)*n+i] += step
			batch[(2+2*i)*n+i] -= step
		}
		g := compute.NewGraph()
		label := make([]float32, rows)
		for i := range label {
			label[i] = 1
		}
		z, logdet := m.Forward(g.Input("x", rows, 4, 4, 1), g.Input("label", rows))
		for i, t := range z {
			g.Output([]string{"z0", "z1"}[i], t)
		}
		g.Output("logdet", logdet)
		out := goldentest.RunFlat(t, dev, g, map[string][]float32{"x": batch, "label": label})
		jacobian := make([][]float64, n)
		for i := range n {
			for _, name := range []string{"z0", "z1"} {
				each := len(out[name]) / rows
				for k := range each {
					jacobian[i] = append(jacobian[i], float64(out[name][(1+2*i)*each+k]-out[name][(2+2*i)*each+k])/(2*step))
				}
			}
		}
		want := logDeterminant(jacobian)
		if got := float64(out["logdet"][0]); math.Abs(got-want) > 2e-2 {
			t.Errorf("the log determinant is %g, and the Jacobian's is %g", got, want)
		}
	})
}

// logDeterminant is log |det a| by elimination.
func logDeterminant(a [][]float64) float64 {
	sum := 0.0
	for i := range a {
		top := i
		for r := i; r < len(a); r++ {
			if math.Abs(a[r][i]) > math.Abs(a[top][i]) {
				top = r
			}
		}
		a[i], a[top] = a[top], a[i]
		sum += math.Log(math.Abs(a[i][i]))
		for r := i + 1; r < len(a); r++ {
			f := a[r][i] / a[i][i]
			for k := i; k < len(a); k++ {
				a[r][k] -= f * a[i][k]
			}
		}
	}
	return sum
}

// A flow whose parameters are all 0 scales by sigmoid(2) in its couplings and changes the order of values, no more.
func TestBits(t *testing.T) {
	s := nn.Initialise(1)
	m, err := New(s, small)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Params() {
		clear(p.Source.(*compute.Values).Data)
	}
	x := normals(rand.New(rand.NewPCG(9, 9)), 2*16)
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g := compute.NewGraph()
		z, logdet := m.Forward(g.Input("x", 2, 4, 4, 1), g.Input("label", 2))
		g.Output("bits", m.Bits(z, logdet))
		for i, s := range z {
			g.Output([]string{"z0", "z1"}[i], s)
		}
		out := goldentest.RunFlat(t, dev, g, map[string][]float32{"x": x, "label": {0, 1}})
		// 2 steps of 8 values at the first level and 2 of 4 at the second, each by log sigmoid(2).
		volume := float64(2*8+2*4) * -math.Log1p(math.Exp(-2))
		for picture, got := range out["bits"] {
			squares := 0.0
			for _, name := range []string{"z0", "z1"} {
				half := len(out[name]) / 2
				for _, v := range out[name][picture*half:][:half] {
					squares += float64(v) * float64(v)
				}
			}
			nats := squares/2 + 8*math.Log(2*math.Pi) - volume
			if want := 8 + nats/(16*math.Ln2); math.Abs(float64(got)-want) > 1e-4 {
				t.Errorf("picture %d: %g bits a value, not %g", picture, got, want)
			}
		}
	})
}

func TestQuantised(t *testing.T) {
	g := compute.NewGraph()
	x := make([]float32, 256)
	for i := range x {
		x[i] = float32(i)/127.5 - 1
	}
	noise := make([]float32, 256)
	for i := range noise {
		noise[i] = float32(i) / 256
	}
	in := g.Input("x", 1, 16, 16, 1)
	g.Output("y", Quantised(Dequantise(in, g.Input("noise", 1, 16, 16, 1))))
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		for i, v := range goldentest.RunFlat(t, dev, g, map[string][]float32{"x": x, "noise": noise})["y"] {
			if math.Abs(float64(v-x[i])) > 1e-5 {
				t.Fatalf("value %d comes back as %g, not %g", i, v, x[i])
			}
		}
	})
}

func TestConfig(t *testing.T) {
	for _, text := range []string{`{`, `{"size":6,"pixels":1,"levels":2,"steps":1,"hidden":4}`, `{"size":8,"pixels":2,"levels":2,"steps":1,"hidden":4}`,
		`{"size":8,"pixels":1,"levels":9,"steps":1,"hidden":4}`, `{"size":8,"pixels":1,"levels":1,"steps":1,"hidden":4,"labels":2,"label_names":["a"]}`} {
		if _, err := ParseConfig([]byte(text)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}
