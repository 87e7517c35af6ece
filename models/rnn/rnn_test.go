package rnn

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

// weights is a checkpoint in memory.
func weights(t *testing.T, values map[string]goldentest.Tensor) checkpoint.Tensors {
	t.Helper()
	var ts []checkpoint.Tensor
	for name, v := range values {
		ts = append(ts, checkpoint.NewF32(name, v.Shape, v.Data))
	}
	path := t.TempDir() + "/w.safetensors"
	if err := checkpoint.Write(path, ts, nil); err != nil {
		t.Fatal(err)
	}
	open, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { open.Close() })
	return open
}

// TestByHand runs two layers both ways of each kind, and compares the outputs with loops in float64.
func TestByHand(t *testing.T) {
	const b, steps, in, hidden = 2, 4, 3, 5
	for _, kind := range []Kind{LSTM, GRU, Tanh} {
		t.Run(string(kind), func(t *testing.T) {
			s := nn.Initialise(3)
			m, err := New(s, Config{Kind: kind, Input: in, Hidden: hidden, Layers: 2, Bidirectional: true})
			if err != nil {
				t.Fatal(err)
			}
			x := make([]float32, b*steps*in)
			for i := range x {
				x[i] = float32(math.Sin(float64(i)))
			}
			want := make([]float64, len(x))
			for i, v := range x {
				want[i] = float64(v)
			}
			width := in
			for layer := range 2 {
				want = byHand(t, s, kind, layer, want, b, steps, width, hidden)
				width = 2 * hidden
			}
			goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
				g := compute.NewGraph()
				y, state := m.Forward(g.Input("x", b, steps, in), State{}, nil)
				g.Output("y", y)
				if !state.H.Shape().Equal(compute.Shape{4, b, hidden}) {
					t.Errorf("state %v", state.H.Shape())
				}
				got := goldentest.Run(t, dev, g, map[string][]float32{"x": x})["y"].Data
				for i, w := range want {
					if math.Abs(float64(got[i])-w) > 1e-5 {
						t.Fatalf("output %d is %v, want %v", i, got[i], w)
					}
				}
			})
		})
	}
}

// byHand is one layer, forwards and backwards, over x [b steps in].
func byHand(t *testing.T, s *nn.Scope, kind Kind, layer int, x []float64, b, steps, in, n int) []float64 {
	t.Helper()
	values := map[string][]float32{}
	for _, p := range s.Params() {
		values[p.Name] = p.Source.(*compute.Values).Data
	}
	y := make([]float64, b*steps*2*n)
	for d, suffix := range []string{"", "_reverse"} {
		name := func(leaf string) []float32 { return values[fmt.Sprintf("%s_l%d%s", leaf, layer, suffix)] }
		row := func(w []float32, width, r int, v []float64, bias []float32) float64 {
			sum := float64(bias[r])
			for k, f := range v {
				sum += float64(w[r*width+k]) * f
			}
			return sum
		}
		for i := range b {
			h, c := make([]float64, n), make([]float64, n)
			for at := range steps {
				step := at
				if d == 1 {
					step = steps - 1 - at
				}
				v, next := x[(i*steps+step)*in:][:in], make([]float64, n)
				for k := range n {
					part := func(gate int) (wi, wh float64) {
						return row(name("weight_ih"), in, gate*n+k, v, name("bias_ih")), row(name("weight_hh"), n, gate*n+k, h, name("bias_hh"))
					}
					sum := func(gate int) float64 { a, o := part(gate); return a + o }
					sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
					switch kind {
					case LSTM:
						c[k] = sigmoid(sum(1))*c[k] + sigmoid(sum(0))*math.Tanh(sum(2))
						next[k] = sigmoid(sum(3)) * math.Tanh(c[k])
					case GRU:
						wi, wh := part(2)
						z := sigmoid(sum(1))
						next[k] = (1-z)*math.Tanh(wi+sigmoid(sum(0))*wh) + z*h[k]
					default:
						next[k] = math.Tanh(sum(0))
					}
					y[(i*steps+step)*2*n+d*n+k] = next[k]
				}
				h = next
			}
		}
	}
	return y
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []Config{{}, {Kind: "LSTM", Input: 1, Hidden: 1}, {Kind: "lstm", Input: 1, Hidden: 1, Layers: 1}, {Kind: GRU, Input: 1, Hidden: 1, Layers: 1, Dropout: 1}} {
		if _, err := New(nn.Initialise(1), c); err == nil || !strings.Contains(err.Error(), "not possible") {
			t.Errorf("%+v gives %v", c, err)
		}
	}
	if _, err := New(nn.Load("lstm", weights(t, nil)), Config{Kind: LSTM, Input: 2, Hidden: 3, Layers: 1}); err == nil || !strings.Contains(err.Error(), "missing: weight_ih_l0") {
		t.Errorf("an empty checkpoint gives %v", err)
	}
}
