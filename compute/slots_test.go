package compute_test

import (
	"slices"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/compute/opengl"
)

func TestSharedSlots(t *testing.T) {
	if got, want := compute.SharedSlots([]int64{3, 9, 5}, []int64{4, 4, 4, 4}, nil), []int64{9, 5, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("slots of %v, want %v", got, want)
	}
	if got, want := compute.SlotOrder([]int64{3, 9, 3, 5}), []int{1, 3, 0, 2}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

// TestPlansTakeTurns loads plans of growing and shrinking sizes on each device: their slots are those of the largest alone, each
// gives its own results whatever was loaded, run and closed in between, and what no plan needs any more is given back.
func TestPlansTakeTurns(t *testing.T) {
	for name, open := range map[string]func() (compute.Device, error){
		"host":   func() (compute.Device, error) { return host.New(host.Options{}), nil },
		"opengl": func() (compute.Device, error) { return opengl.NewEGL(opengl.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			dev, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			sum := func(n int) (compute.Executable, *compute.Plan) { // x·x + x reversed, so that nothing is in place
				g := compute.NewGraph()
				x := g.Input("x", n, 4)
				back := compute.Concat(0, compute.Slice(x, 0, n/2, n), compute.Slice(x, 0, 0, n/2))
				g.Output("y", compute.Add(compute.Square(x), back))
				plan, err := g.Compile(dev.Limits())
				if err != nil {
					t.Fatal(err)
				}
				exe, err := dev.Load(t.Context(), plan)
				if err != nil {
					t.Fatal(err)
				}
				return exe, plan
			}
			check := func(exe compute.Executable, n int) {
				t.Helper()
				in, out := make([]float32, 4*n), make([]float32, 4*n)
				for i := range in {
					in[i] = float32(i%13) - 6
				}
				if err := exe.Run(t.Context(), map[string][]float32{"x": in}, map[string][]float32{"y": out}); err != nil {
					t.Fatal(err)
				}
				for i, y := range out {
					if want := in[i]*in[i] + in[(i+2*n)%(4*n)]; y != want {
						t.Fatalf("%d rows: y[%d] is %g, want %g", n, i, y, want)
					}
				}
			}
			small, _ := sum(10)
			check(small, 10)
			low, _ := dev.Memory()
			large, plan := sum(1000)
			check(small, 10)
			check(large, 1000)
			middle, _ := sum(200)
			high, _ := dev.Memory()
			if slack := int64(16 * len(plan.Slots)); high > plan.SlotBytes()+slack {
				t.Errorf("three plans hold %d bytes, the largest needs %d", high, plan.SlotBytes())
			}
			check(middle, 200)
			check(small, 10)
			large.Close()
			check(middle, 200)
			check(small, 10)
			middle.Close()
			check(small, 10)
			if used, _ := dev.Memory(); used != low {
				t.Errorf("%d bytes are held by a plan that took %d before others came and went", used, low)
			}
			small.Close()
			if used, peak := dev.Memory(); used != 0 || peak != high {
				t.Errorf("%d bytes are left, %d at the peak of %d", used, peak, high)
			}
		})
	}
}
