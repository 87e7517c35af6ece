package computetest

import (
	"context"
	"fmt"

	"atelier/compute"
)

// Loaded is a case ready to be timed on a device: parameters uploaded, nothing read back.
type Loaded struct {
	FLOPs float64 // arithmetic of one run, a multiply-add counted as two; 0 where memory traffic is what counts
	Bytes int64   // operands read once plus the result written once

	exe  compute.Executable
	feed map[string][]float32
}

// Load compiles and loads the case for timing. Close it.
func (c *Case) Load(ctx context.Context, dev compute.Device) (*Loaded, error) {
	g, in, y, feed := c.graph(false)
	g.Output("y", y)
	p, err := g.Compile(dev.Limits())
	if err != nil {
		return nil, fmt.Errorf("%v: %w", c, err)
	}
	exe, err := dev.Load(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", c, err)
	}
	l := &Loaded{FLOPs: p.FLOPs(), Bytes: y.Bytes(), exe: exe, feed: feed}
	for _, x := range in {
		l.Bytes += x.Bytes()
	}
	return l, nil
}

// Run replays the case once, to its end.
func (l *Loaded) Run(ctx context.Context) error { return l.exe.Run(ctx, l.feed, nil) }

// Close gives the device's memory back.
func (l *Loaded) Close() { l.exe.Close() }
