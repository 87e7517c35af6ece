package compute_test

import (
	"strings"
	"sync"
	"testing"

	"atelier/compute"
	"atelier/compute/computetest"
	"atelier/compute/host"
	"atelier/compute/opengl"
)

// devices are opened once for all tests of the package. The tests fail, and do not skip, where OpenGL 4.3 is missing.
var devices = sync.OnceValues(func() ([]compute.Device, error) {
	gl, err := opengl.NewEGL(opengl.Options{})
	if err != nil {
		return nil, err
	}
	return []compute.Device{gl, host.New(host.Options{})}, nil
})

// checkOps runs the cases of each op on both devices against the op's definition, and checks gradients where cases want it.
func checkOps(t *testing.T, ops ...string) {
	t.Helper()
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		cases := computetest.Of(op)
		if len(cases) == 0 {
			t.Errorf("op %s has no cases", op)
		}
		for _, c := range cases {
			if c.Bench {
				continue // large, and like the others; their definitions take minutes
			}
			t.Run(c.String(), func(t *testing.T) {
				for _, dev := range devs {
					if err := computetest.CheckDevice(t.Context(), dev, c); err != nil {
						t.Errorf("%s: %v", dev.Name(), err)
					}
					if c.Grad {
						if err := computetest.CheckGrad(t.Context(), dev, c); err != nil {
							t.Errorf("%s: %v", dev.Name(), err)
						}
					}
				}
			})
		}
	}
	if w := devs[0].(*opengl.Device).Warnings(); len(w) > 0 {
		t.Errorf("%d warnings of the device, the first: %s", len(w), w[0])
	}
}

// runOn computes one output on a device.
func runOn(t *testing.T, dev compute.Device, g *compute.Graph, y *compute.Tensor, in map[string][]float32) []float32 {
	t.Helper()
	g.Output("y", y)
	plan, err := g.Compile(dev.Limits())
	if err != nil {
		t.Fatal(err)
	}
	exe, err := dev.Load(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	out := make([]float32, y.Shape().Size())
	if err := exe.Run(t.Context(), in, map[string][]float32{"y": out}); err != nil {
		t.Fatal(err)
	}
	return out
}

// wantMistake checks that build records an error that says want and names this package's line.
func wantMistake(t *testing.T, want string, build func(g *compute.Graph) *compute.Tensor) {
	t.Helper()
	g := compute.NewGraph()
	y := build(g)
	if y.Err() == nil || g.Err() == nil {
		t.Fatalf("no error, want %q", want)
	}
	if text := y.Err().Error(); !strings.Contains(text, want) || !strings.Contains(text, "_test.go:") {
		t.Errorf("error %q does not say %q with the caller's line", text, want)
	}
}
