//go:build cgo

package opengl

import (
	"testing"
	"time"

	"atelier/compute"
)

// BenchmarkReplay is the cost of launches themselves: 300 tiny ones a replay.
func BenchmarkReplay(b *testing.B) {
	d, err := NewEGL(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	d.source = func(name string, _ map[string]string) (string, error) { return testShaders[name], nil }
	g := compute.NewGraph()
	x, w := g.Input("x", 64), g.Const("w", []float32{1}, 1)
	y := x
	for i := range 300 {
		y = scale(y, w, float32(i%3))
	}
	g.Output("y", y)
	p, err := g.Compile(d.Limits())
	if err != nil {
		b.Fatal(err)
	}
	e, err := d.Load(b.Context(), p)
	if err != nil {
		b.Fatal(err)
	}
	in, out := map[string][]float32{"x": make([]float32, 64)}, map[string][]float32{"y": make([]float32, 64)}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Run(b.Context(), in, out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/300, "µs/launch")
}

// BenchmarkOpen is the time from nothing to a device.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		start := time.Now()
		d, err := NewEGL(Options{})
		if err != nil {
			b.Fatal(err)
		}
		d.Close()
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms")
	}
}
