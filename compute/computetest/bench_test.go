package computetest_test

import (
	"testing"
	"time"

	"atelier/compute/computetest"
	"atelier/compute/opengl"
)

// BenchmarkOps times the cases that are marked for it, on OpenGL: GFLOP/s where an op counts its arithmetic, else GB/s, each
// also as a share of the ceiling measured in the same run.
func BenchmarkOps(b *testing.B) {
	dev, err := opengl.NewEGL(opengl.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	ceiling, err := dev.Ceiling(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer ceiling.Close()
	flops, err := ceiling.FLOPS(b.Context(), 20*time.Millisecond)
	if err != nil {
		b.Fatal(err)
	}
	copied, err := ceiling.Copy(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%s: %.1f GFLOP/s, copy %.2f GB/s", dev.Name(), flops/1e9, copied/1e9)
	for _, c := range computetest.Cases() {
		if !c.Bench {
			continue
		}
		b.Run(c.String(), func(b *testing.B) {
			l, err := c.Load(b.Context(), dev)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			if err := l.Run(b.Context()); err != nil { // compiles what the driver still has to
				b.Fatal(err)
			}
			for b.Loop() {
				if err := l.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			perRun := b.Elapsed().Seconds() / float64(b.N)
			if l.FLOPs > 0 {
				b.ReportMetric(l.FLOPs/perRun/1e9, "GFLOP/s")
				b.ReportMetric(100*l.FLOPs/perRun/flops, "%fma")
			} else {
				b.ReportMetric(float64(l.Bytes)/perRun/1e9, "GB/s")
				b.ReportMetric(100*float64(l.Bytes)/perRun/copied, "%copy")
			}
		})
	}
}
