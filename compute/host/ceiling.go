package host

import (
	"context"
	"time"

	"atelier/compute/host/vector"
)

// ceilingBytes are copied, beyond any cache that matters.
const ceilingBytes = 64 << 20

// Ceiling measures the best that the processor does at a moment, on all workers: what op timings are a share of.
type Ceiling struct {
	pool     *pool
	rate     float64 // FLOPS of the last measurement
	from, to []float32
}

// Ceiling prepares both measurements.
func (d *Device) Ceiling() *Ceiling {
	c := &Ceiling{pool: d.pool, rate: 1e10, from: make([]float32, ceilingBytes/4), to: make([]float32, ceilingBytes/4)}
	for i := range c.from { // pages that were never written are all the same one
		c.from[i] = 1
	}
	c.fma(5 * time.Millisecond)
	c.copy() // the first touches the pages
	return c
}

// FLOPS is the multiply-adds on registers, two operations each, per second over about this long, at least 2 ms.
func (c *Ceiling) FLOPS(_ context.Context, about time.Duration) (float64, error) {
	return c.fma(max(about, 2*time.Millisecond)), nil
}

func (c *Ceiling) fma(about time.Duration) float64 {
	rounds := int(about.Seconds()*c.rate/float64(c.pool.workers*vector.PeakFLOPs)) + 1
	start := time.Now()
	c.pool.each(c.pool.workers, 1, func(lo, hi int) {
		for range hi - lo {
			vector.Peak(rounds)
		}
	})
	c.rate = float64(rounds*c.pool.workers*vector.PeakFLOPs) / time.Since(start).Seconds()
	return c.rate
}

// Copy is the bytes read plus bytes written per second by one y = x.
func (c *Ceiling) Copy(context.Context) (float64, error) { return c.copy(), nil }

func (c *Ceiling) copy() float64 {
	start := time.Now()
	c.pool.each(len(c.from), 1<<16, func(lo, hi int) { copy(c.to[lo:hi], c.from[lo:hi]) })
	return 2 * ceilingBytes / time.Since(start).Seconds()
}

// Close gives the memory back.
func (c *Ceiling) Close() { c.from, c.to = nil, nil }
