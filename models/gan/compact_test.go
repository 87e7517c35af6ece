package gan

import (
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/checkpoint"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

// TestGolden is the case gan-srvgg-prelu: Real-ESRGAN's own code on a small random generator.
func TestGolden(t *testing.T) {
	m, err := NewCompact(nn.Load("compact", goldentest.Open(t, "gan/compact.pth")))
	if err != nil {
		t.Fatal(err)
	}
	if m.Channels != 3 || m.Features != 16 || m.Scale != 4 || len(m.convs) != 6 {
		t.Fatalf("%d channels, %d features, scale %d, %d convolutions", m.Channels, m.Features, m.Scale, len(m.convs))
	}
	in, want := goldentest.Read(t, "gan/in.safetensors"), goldentest.Read(t, "gan/out.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		g.Output("y", m.Forward(goldentest.Input(g, feed, "x", in["x"])))
		goldentest.Compare(t, goldentest.Load(t, "gan-srvgg-prelu"), goldentest.Run(t, dev, g, feed), want)
	})
}

// shapes is a checkpoint of zeros.
type shapes map[string][]int

func (s shapes) Names() (names []string) {
	for n := range s {
		names = append(names, n)
	}
	return names
}
func (s shapes) Get(name string) (checkpoint.Tensor, bool) {
	shape, ok := s[name]
	if !ok {
		return checkpoint.Tensor{}, false
	}
	return checkpoint.NewF32(name, shape, make([]float32, compute.Shape(shape).Size())), true
}
func (s shapes) Metadata() map[string]string { return nil }
func (s shapes) Close() error                { return nil }

func TestShapesThatMakeNoGenerator(t *testing.T) {
	for want, s := range map[string]shapes{
		"odd number":           {"conv.weight": {1}},
		"no whole enlargement": {"body.0.weight": {8, 3, 3, 3}, "body.1.weight": {8}, "body.2.weight": {10, 8, 3, 3}},
		"not [8]":              {"body.0.weight": {8, 3, 3, 3}, "body.0.bias": {8}, "body.1.weight": {7}, "body.2.weight": {12, 8, 3, 3}, "body.2.bias": {12}},
		"wanted":               {"body.0.weight": {8, 0, 3, 3}, "body.1.weight": {8}, "body.2.weight": {12, 8, 3, 3}},
	} {
		if _, err := NewCompact(nn.Load("x", s)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v gives %v; %q is wanted in it", s, err, want)
		}
	}
}
