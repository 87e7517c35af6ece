package compute_test

import (
	"fmt"
	"testing"

	"atelier/compute"
)

// chain is a deep network over x and w, and its loss; every few layers a tensor is kept where wanted.
func chain(g *compute.Graph, keep bool) (loss *compute.Tensor, wrt []*compute.Tensor) {
	x := g.Input("x", 64, 32)
	skip := x
	for i := range 24 {
		w := g.Input(fmt.Sprint("w", i), 32, 32)
		wrt = append(wrt, w)
		x = compute.Add(x, compute.Softmax(compute.SiLU(compute.MatMul(x, w, compute.MatMulOpts{}))))
		if i == 5 {
			skip = x
			if keep {
				g.Keep(x)
			}
		}
		if i%6 == 5 && keep {
			g.Keep(x)
		}
	}
	return compute.Mean(compute.Square(compute.Mul(x, skip)), false), wrt
}

// TestKeepRecomputes: with few activations kept, gradients are the same to the bit, and the plan needs less memory.
func TestKeepRecomputes(t *testing.T) {
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range devs {
		var grads [3][][]float32
		var bytes [3]int64
		for k, keep := range []string{"", "by hand", "by size"} {
			g := compute.NewGraph()
			loss, wrt := chain(g, keep == "by hand")
			if keep == "by size" {
				g.KeepStretches(loss, 4)
			}
			feed, out := map[string][]float32{"x": wave(64*32, 1)}, map[string][]float32{}
			for i, d := range compute.Grad(loss, wrt...) {
				name := wrt[i].Name()
				feed[name] = wave(32*32, float64(i+2))
				g.Output(name, d)
				out[name] = make([]float32, 32*32)
				grads[k] = append(grads[k], out[name])
			}
			plan, err := g.Compile(dev.Limits())
			if err != nil {
				t.Fatal(err)
			}
			bytes[k] = plan.SlotBytes()
			exe, err := dev.Load(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			if err := exe.Run(t.Context(), feed, out); err != nil {
				t.Fatal(err)
			}
			exe.Close()
		}
		for i := range grads[0] {
			for j, want := range grads[0][i] {
				if grads[1][i][j] != want || grads[2][i][j] != want {
					t.Fatalf("%s: gradient %d differs at %d: %v and %v, want %v", dev.Name(), i, j, grads[1][i][j], grads[2][i][j], want)
				}
			}
		}
		if grads[0][3][7] == 0 {
			t.Error("gradients are zero")
		}
		if max(bytes[1], bytes[2])*10 > bytes[0]*8 {
			t.Errorf("%s: slots of %d and %d bytes with few activations kept, %d with all", dev.Name(), bytes[1], bytes[2], bytes[0])
		}
		t.Logf("%s: slots of %s, %s and %s with few activations kept", dev.Name(), compute.FormatBytes(bytes[0]), compute.FormatBytes(bytes[1]), compute.FormatBytes(bytes[2]))
	}
}

// wave is n numbers in [−0.3, 0.3] that do not repeat.
func wave(n int, phase float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		x := float64(i)*0.7548776662 + phase*0.5698402910
		v[i] = float32(0.6*(x-float64(int(x))) - 0.3)
	}
	return v
}
