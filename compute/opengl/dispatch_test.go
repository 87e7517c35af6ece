//go:build cgo

package opengl

import (
	stdcontext "context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"atelier/compute"
)

// heavy is a graph of the ops whose launches are split, in sizes of many workgroups.
func heavy(t *testing.T) (g graph, in map[string][]float32, size int) {
	g = newGraph(t)
	x := g.Input("x", 1, 40, 36, 32)
	kernel := make([]float32, 32*9*32)
	for i := range kernel {
		kernel[i] = float32(i%13-6) / 100
	}
	y := compute.Conv2D(x, g.Const("kernel", kernel, 32, 3, 3, 32), compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}})
	rows := compute.Reshape(y, 1, -1, 32)
	rows = compute.Attention(rows, rows, rows, compute.AttentionOpts{Heads: 2})
	rows = compute.MatMul(rows, g.Const("square", kernel[:32*32], 32, 32), compute.MatMulOpts{})
	g.Output("y", rows)
	return g, map[string][]float32{"x": ramp(40 * 36 * 32)}, rows.Shape().Size()
}

// A launch in pieces gives the same bits as a whole one, in either form, also where there are more pieces than workgroups.
func TestLaunchesInPieces(t *testing.T) {
	for _, form := range []int{0, 1} {
		d := openTest(t, Options{})
		g, in, size := heavy(t)
		e := g.load(d).(*Executable)
		for i := range e.commands {
			if c := &e.commands[i]; len(c.launch.Forms) > form {
				v, err := d.variantOn(t, c.launch, form)
				if err != nil {
					t.Fatal(err)
				}
				c.variant = v
			}
		}
		var whole []float32
		for _, pieces := range []int{1, 2, 7, 1 << 20} {
			split := 0
			for i := range e.commands {
				e.commands[i].pieces = pieces
				if e.commands[i].variant.program.firstGroup >= 0 {
					split++
				}
			}
			if split < 3 {
				t.Fatalf("%d launches can be split, want the convolution, the attention and the product", split)
			}
			out := make([]float32, size)
			if err := e.Run(t.Context(), in, map[string][]float32{"y": out}); err != nil {
				t.Fatal(err)
			}
			if whole == nil {
				whole = out
			}
			for i := range out {
				if math.Float32bits(out[i]) != math.Float32bits(whole[i]) {
					t.Fatalf("form %d in %d pieces: index %d is %g, whole %g", form, pieces, i, out[i], whole[i])
				}
			}
		}
		if d.pending != 0 {
			t.Error("a fence stays after a run")
		}
	}
}

// variantOn builds a form of a launch on the GL goroutine.
func (d *Device) variantOn(t *testing.T, l *compute.Launch, form int) (v variant, err error) {
	failed := d.call(t.Context(), func() error {
		v, err = d.variant(l, &l.Forms[form])
		return err
	})
	return v, failed
}

// countdown ends after it has been asked a number of times: a cancel that arrives in the middle of a run.
type countdown struct {
	stdcontext.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return stdcontext.Canceled
	}
	return nil
}

// A run that is cancelled anywhere, also between the pieces of a launch, leaves the device and the plan usable.
func TestCancelledAnywhere(t *testing.T) {
	d := openTest(t, Options{})
	g, in, size := heavy(t)
	e := g.load(d).(*Executable)
	for i := range e.commands {
		e.commands[i].pieces = 5
	}
	want := make([]float32, size)
	if err := e.Run(t.Context(), in, map[string][]float32{"y": want}); err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for left := 0; left < 12; left++ {
		err := e.Run(&countdown{t.Context(), left}, in, nil)
		if errors.Is(err, stdcontext.Canceled) {
			stopped++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if stopped < 10 {
		t.Errorf("%d of 12 runs were stopped", stopped)
	}
	got := make([]float32, size)
	if err := e.Run(t.Context(), in, map[string][]float32{"y": got}); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("after cancelled runs, index %d is %g, not %g", i, got[i], want[i])
		}
	}
}

// Work of many operations is split by its count.
func TestLongLaunchesAreSplit(t *testing.T) {
	d := openTest(t, Options{})
	g := newGraph(t)
	x := g.Input("x", 2560, 2560)
	g.Output("y", compute.MatMul(x, x, compute.MatMulOpts{})) // 3.4e10 operations
	e := g.load(d).(*Executable)
	if n := len(e.commands); n != 1 || e.commands[0].pieces != 2 || !e.commands[0].fence {
		t.Errorf("%d commands, the first in %d pieces", n, e.commands[0].pieces)
	}
}

// A form that writes nothing does not pass for correct on another form's result.
func TestFormThatWritesNothing(t *testing.T) {
	d := openTest(t, Options{TuneForms: true})
	g := newGraph(t)
	g.Output("y", compute.NewNode(opScale, &scaleAttr{Shader: "test_scale", A: 2, Forms: []string{"good", "idle"}}, g.Input("x", 130), g.Const("w", []float32{1}, 1)))
	out := make([]float32, 130)
	if err := g.load(d).Run(t.Context(), map[string][]float32{"x": ramp(130)}, map[string][]float32{"y": out}); err != nil {
		t.Fatal(err)
	}
	for i, v := range ramp(130) {
		if out[i] != 2*v+1 {
			t.Fatalf("index %d: got %g, want %g", i, out[i], 2*v+1)
		}
	}
	if w := strings.Join(d.Warnings(), "\n"); !strings.Contains(w, "form idle of test_scale is not used: its result differs") {
		t.Errorf("warnings: %q", w)
	}
}

// A driver's reset is told, and told again, and the device still closes.
func TestReset(t *testing.T) {
	d := openTest(t, Options{})
	if d.reset == nil {
		t.Fatal("this driver does not tell of resets")
	}
	g := newGraph(t)
	g.Output("y", scale(g.Input("x", 3), g.Const("w", []float32{1}, 1), 2))
	e := g.load(d)
	in, out := map[string][]float32{"x": {1, 2, 3}}, map[string][]float32{"y": make([]float32, 3)}
	if err := e.Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	if err := d.call(t.Context(), func() error { d.reset = func() uint32 { return 0x8253 }; return nil }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Run(t.Context(), in, out); err == nil || !strings.Contains(err.Error(), "the driver reset the device while running a plan: start the program again") {
			t.Errorf("got %v", err)
		}
	}
	e.Close()
}

// Memory that the driver refuses is said as a compute.MemoryError, whoever meets it.
func TestDriverWithoutMemory(t *testing.T) {
	d := openTest(t, Options{})
	var short *compute.MemoryError
	if err := d.refused(fmt.Errorf("%w (conv2d)", errOutOfMemory), 5e9); !errors.As(err, &short) || short.Need != 5e9 ||
		!strings.HasSuffix(err.Error(), "has no memory left and this needs 5.0 GB: close other programs, or choose a smaller size or batch, or a smaller model") {
		t.Errorf("got %v", err)
	}
	if err := d.refused(errClosed, 1); err != errClosed {
		t.Errorf("another error becomes %v", err)
	}
}

// Close waits for a run, and runs that come after are answered.
func TestCloseDuringRuns(t *testing.T) {
	d := openTest(t, Options{})
	g, in, size := heavy(t)
	e := g.load(d)
	done := make(chan error)
	for range 3 {
		go func() {
			for {
				if err := e.Run(t.Context(), in, map[string][]float32{"y": make([]float32, size)}); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	time.Sleep(50 * time.Millisecond)
	d.Close()
	for range 3 {
		if err := <-done; !errors.Is(err, errClosed) {
			t.Errorf("a run beside Close: %v", err)
		}
	}
	e.Close()
}
