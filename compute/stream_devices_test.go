package compute_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/compute/opengl"
)

// streamed records a network of products and a convolution with weights of every width, one of them used twice.
func streamed() (*compute.Graph, map[string][]float32) {
	r := rand.New(rand.NewPCG(3, 4))
	g := compute.NewGraph()
	values := func(n int, d compute.DType) compute.Source {
		if d.Blocks() {
			_, size := d.Block()
			data := make([]byte, n/32*size)
			for i := range data {
				data[i] = byte(r.Uint32())
				if i%size == 0 {
					data[i], data[i+1] = 0, 0x20 // 2⁻⁷
				}
			}
			for b := 0; b < len(data); b += size {
				data[b], data[b+1] = 0, 0x20
			}
			return &compute.QuantValues{Data: data, Type: d}
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64() / 16)
		}
		return &compute.Values{Data: v, Type: d}
	}
	x := g.Input("x", 1, 8, 8, 256)
	twice := g.Param("twice", values(256*256, compute.F16), 256, 256)
	y := compute.Conv2D(x, g.Param("kernel", values(256*9*256, compute.F16), 256, 3, 3, 256), compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}, Bias: g.Param("bias", values(256, compute.F32), 256)})
	for i, d := range []compute.DType{compute.F32, compute.F16, compute.Q8_0, compute.F32, compute.Q4_0, compute.F16} {
		w := g.Param(string(rune('a'+i)), values(256*256, d), 256, 256)
		y = compute.MatMul(y, w, compute.MatMulOpts{TransB: i != 3, Act: compute.ActSiLU})
		y = compute.MatMul(y, twice, compute.MatMulOpts{TransB: true, Residual: y})
	}
	g.Output("y", y)
	feed := make([]float32, 8*8*256)
	for i := range feed {
		feed[i] = float32(r.NormFloat64())
	}
	return g, map[string][]float32{"x": feed}
}

// TestStreaming runs a plan on devices with ever less memory: results are the same to the bit, memory stays within the limit, and
// a plan is refused only where its slots and its largest weight do not fit.
func TestStreaming(t *testing.T) {
	g, feed := streamed()
	for name, open := range map[string]func(limit int64) (compute.Device, error){
		"host":   func(limit int64) (compute.Device, error) { return host.New(host.Options{MemoryLimit: limit}), nil },
		"opengl": func(limit int64) (compute.Device, error) { return opengl.NewEGL(opengl.Options{MemoryLimit: limit}) },
	} {
		t.Run(name, func(t *testing.T) {
			var want []float32
			var whole, last int64
			for _, share := range []float64{1, 0.9, 0.7, 0.01} {
				limit := int64(1 << 30)
				if whole > 0 {
					limit = int64(float64(whole) * share)
				}
				dev, err := open(limit)
				if err != nil {
					t.Fatal(err)
				}
				plan, err := g.Compile(dev.Limits())
				if err != nil {
					t.Fatal(err)
				}
				exe, err := dev.Load(t.Context(), plan)
				if share == 0.01 {
					var memory *compute.MemoryError
					if !errors.As(err, &memory) || memory.Need != whole && name == "host" {
						t.Errorf("a hundredth of the memory: %v", err)
					}
					dev.Close()
					continue
				}
				if err != nil {
					t.Fatalf("%g of the memory: %v", share, err)
				}
				n := compute.Streamed(exe)
				if (n > 0) != (share < 1) || n < last {
					t.Errorf("%g of the memory: %d bytes are streamed, %d with more memory", share, n, last)
				}
				last = n
				for range 2 { // replays begin with what the one before left in the windows
					got := make([]float32, len(feed["x"]))
					if err := exe.Run(t.Context(), feed, map[string][]float32{"y": got}); err != nil {
						t.Fatal(err)
					}
					if want == nil {
						want = slices.Clone(got)
					}
					if !slices.Equal(got, want) {
						t.Errorf("%g of the memory: another result", share)
					}
				}
				_, peak := dev.Memory()
				if whole == 0 {
					whole = peak
				} else if peak > limit+int64(len(plan.Slots)+4)*16 { // buffers are a little larger than what they hold
					t.Errorf("%g of the memory: %d bytes held, %d allowed", share, peak, limit)
				}
				exe.Close()
				if used, _ := dev.Memory(); used != 0 {
					t.Errorf("%d bytes are left after Close", used)
				}
				dev.Close()
			}
		})
	}
}
