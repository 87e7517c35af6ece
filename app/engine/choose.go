package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/compute/opengl"
	"atelier/shaders"
)

// sampleTolerance is how far the devices may differ on the sample, relative to its largest value.
const sampleTolerance = 1e-3

// choice is what the comparison of both devices found.
type choice struct {
	OpenGL float64 `json:"opengl_seconds"`
	Host   float64 `json:"host_seconds"`
	Wrong  bool    `json:"opengl_wrong,omitempty"` // the devices disagree
}

// host reports whether the processor is the one to use, and says why.
func (c choice) host(gl string) (bool, string) {
	switch {
	case c.Wrong:
		return true, gl + " gives wrong results"
	case c.Host < c.OpenGL:
		return true, fmt.Sprintf("%.1f times as fast as %s here", c.OpenGL/c.Host, gl)
	}
	return false, fmt.Sprintf("%.1f times as fast as the processor here", c.Host/c.OpenGL)
}

// choose compares the devices on a sample, or recalls what an earlier comparison of this driver, these shaders and this processor found.
func choose(gl *opengl.Device, cpu *host.Device) (choice, error) {
	key := choiceKey(gl.Info(), cpu)
	known := choices()
	if c, ok := known[key]; ok {
		return c, nil
	}
	c, err := compareDevices(context.Background(), gl, cpu)
	if err == nil {
		known[key] = c
		saveJSON(choicesFile, known)
	}
	return c, err
}

// compareDevices times a convolution as they fill most of a denoiser, and compares the results.
func compareDevices(ctx context.Context, gl, cpu compute.Device) (choice, error) {
	var c choice
	seconds, want, err := timeSample(ctx, cpu)
	if err != nil {
		return c, err
	}
	c.Host = seconds
	seconds, got, err := timeSample(ctx, gl)
	if err != nil {
		return c, err
	}
	c.OpenGL = seconds
	largest, difference := 0.0, 0.0
	for i, w := range want {
		largest = math.Max(largest, math.Abs(float64(w)))
		difference = math.Max(difference, math.Abs(float64(got[i]-w)))
		c.Wrong = c.Wrong || got[i] != got[i]
	}
	c.Wrong = c.Wrong || difference > sampleTolerance*largest
	return c, nil
}

// timeSample is the best of three runs of the sample, and its result.
func timeSample(ctx context.Context, dev compute.Device) (float64, []float32, error) {
	r := rand.New(rand.NewPCG(1, 1))
	normal := func(n int, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64() * scale)
		}
		return v
	}
	const size, channels = 64, 128
	g := compute.NewGraph()
	x := g.Input("x", 1, size, size, channels)
	w := g.Param("w", &compute.Values{Data: normal(channels*9*channels, 0.03), Type: compute.F16}, channels, 3, 3, channels)
	y := compute.Conv2D(x, w, compute.ConvOpts{Pad: [4]int{1, 1, 1, 1}})
	g.Output("y", y)
	p, err := g.Compile(dev.Limits())
	if err != nil {
		return 0, nil, err
	}
	exe, err := dev.Load(ctx, p)
	if err != nil {
		return 0, nil, err
	}
	defer exe.Close()
	in := map[string][]float32{"x": normal(size*size*channels, 1)}
	out := map[string][]float32{"y": make([]float32, y.Shape().Size())}
	best := math.Inf(1)
	for round := range 4 { // the first warms up
		start := time.Now()
		if err := exe.Run(ctx, in, out); err != nil {
			return 0, nil, err
		}
		if round > 0 {
			best = min(best, time.Since(start).Seconds())
		}
	}
	return best, out["y"], nil
}

// choiceKey names everything that the comparison depends on.
func choiceKey(i opengl.Info, cpu *host.Device) string {
	h := sha256.New()
	fmt.Fprintln(h, i.Driver(), shaders.Digest(), cpu.Name(), host.Processor())
	return hex.EncodeToString(h.Sum(nil)[:12])
}

const choicesFile = "devices.json"

// choices reads what earlier comparisons found.
func choices() map[string]choice { return readJSON[choice](choicesFile) }
