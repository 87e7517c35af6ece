package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"atelier/app/engine"
	"atelier/compute"
	"atelier/compute/computetest"
	"atelier/compute/host"
	"atelier/models/pipeline"
)

type benchCmd struct {
	Device string `enum:"both,opengl,host" default:"both" help:"both, opengl or host."`
	Op     string `help:"Time this op alone, such as matmul."`
	JSON   bool   `name:"json" help:"Print one JSON object."`
}

// timing is one row of the table.
type timing struct {
	Op      string  `json:"op"`
	Case    string  `json:"case"`
	Seconds float64 `json:"seconds"` // median
	Runs    int     `json:"runs"`
	GFLOPS  float64 `json:"gflops,omitempty"`
	GBps    float64 `json:"gb_per_s,omitempty"`
	Share   float64 `json:"share,omitempty"` // of the ceiling, 0–1
	Of      string  `json:"of,omitempty"`    // "fma" or "copy"
}

// table is what bench prints.
type table struct {
	Device  string             `json:"device"`
	GFLOPS  float64            `json:"ceiling_gflops,omitempty"`
	GBps    float64            `json:"ceiling_copy_gb_per_s,omitempty"`
	Ops     []timing           `json:"ops"`
	Picture map[string]float64 `json:"picture_seconds,omitempty"`
	Also    []*table           `json:"also,omitempty"` // the other device's
}

// Run prints a table for each device: all cases that are marked for it, and one picture of the built-in model.
func (c *benchCmd) Run(ctx context.Context) error {
	choices := []string{c.Device}
	if c.Device == "both" {
		choices = []string{engine.OpenGL, engine.Host}
	}
	var tables []*table
	for _, choice := range choices {
		t, err := c.time(ctx, choice)
		if err != nil && c.Device == "both" && choice == engine.OpenGL && t == nil {
			logLine(err.Error()) // no OpenGL here: the other table is still worth having
			continue
		}
		if err != nil {
			return err
		}
		tables = append(tables, t)
	}
	if !c.JSON {
		return nil
	}
	first := *tables[0]
	first.Also = tables[1:]
	return json.NewEncoder(os.Stdout).Encode(first)
}

// time makes the table of one device; nil where the device does not open.
func (c *benchCmd) time(ctx context.Context, choice string) (*table, error) {
	e, err := engine.Open(engine.Options{Choice: choice})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	t := &table{Device: e.Device.Name()}
	if !c.JSON {
		fmt.Printf("%s\n%-14s %-44s %10s %10s %-8s %s\n", t.Device, "op", "case", "median", "rate", "", "share of the ceiling measured beside it")
	}
	top, err := openCeiling(ctx, e)
	if err != nil {
		return t, err
	}
	defer top.Close()
	for _, k := range computetest.Cases() {
		if !k.Bench || c.Op != "" && k.Op != c.Op {
			continue
		}
		row, best, err := timeCase(ctx, e.Device, top, k)
		if err != nil {
			return t, err
		}
		if row.GFLOPS > 0 {
			t.GFLOPS = max(t.GFLOPS, best/1e9)
		} else {
			t.GBps = max(t.GBps, best/1e9)
		}
		t.Ops = append(t.Ops, row)
		if !c.JSON {
			row.print()
		}
	}
	if len(t.Ops) == 0 {
		return t, fmt.Errorf("no benchmark times the op %q", c.Op)
	}
	if c.Op == "" {
		if t.Picture, err = timePicture(ctx, e); err != nil {
			return t, err
		}
	}
	if c.JSON {
		return t, nil
	}
	fmt.Printf("best ceilings of the run: %.1f GFLOP/s multiply-add on registers, %.1f GB/s copy\n", t.GFLOPS, t.GBps)
	if t.Picture != nil {
		fmt.Printf("one picture of the built-in model, 20 steps with guidance, warm: %.2f s (denoise %.2f, decode %.2f, upscale %.2f)\n",
			t.Picture["total"], t.Picture["denoise"], t.Picture["decode"], t.Picture["upscale"])
	}
	fmt.Println()
	return t, nil
}

// ceiling measures what a device does at best at a moment.
type ceiling interface {
	FLOPS(ctx context.Context, about time.Duration) (float64, error)
	Copy(ctx context.Context) (float64, error)
	Close()
}

func openCeiling(ctx context.Context, e *engine.Engine) (ceiling, error) {
	if e.GL != nil {
		return e.GL.Ceiling(ctx)
	}
	return e.Device.(*host.Device).Ceiling(), nil
}

// timeCase runs a case for about two seconds after two runs that warm it up, and takes the median. After each run the ceiling
// is measured for about as long, and the share is the median over these pairs: the machine's own speed changes from one
// moment to the next (a neighbour on the same core halves it), and one best ceiling would be held against every slow moment
// of the op. best is the best ceiling seen, in FLOPS or bytes per second.
func timeCase(ctx context.Context, dev compute.Device, top ceiling, k computetest.Case) (row timing, best float64, err error) {
	l, err := k.Load(ctx, dev)
	if err != nil {
		return timing{}, 0, err
	}
	defer l.Close()
	var times, shares []float64
	begin := time.Now()
	for i := 0; i < 2+5 || i < 2+500 && time.Since(begin) < 2*time.Second; i++ {
		if l.FLOPs == 0 && i > 2 { // the copy has just emptied the caches that a network's last op leaves full
			if err := l.Run(ctx); err != nil {
				return timing{}, 0, err
			}
		}
		start := time.Now()
		if err := l.Run(ctx); err != nil {
			return timing{}, 0, err
		}
		took := time.Since(start)
		if i == 1 {
			begin = time.Now()
		}
		if i < 2 {
			continue
		}
		times = append(times, took.Seconds())
		work, rate := l.FLOPs, 0.0
		if work > 0 {
			rate, err = top.FLOPS(ctx, took)
		} else {
			work = float64(l.Bytes)
			rate, err = top.Copy(ctx)
		}
		if err != nil {
			return timing{}, 0, err
		}
		shares, best = append(shares, work/took.Seconds()/rate), max(best, rate)
	}
	row = timing{Op: k.Op, Case: k.Name, Seconds: median(times), Runs: len(times), Share: median(shares)}
	if l.FLOPs > 0 {
		row.GFLOPS, row.Of = l.FLOPs/row.Seconds/1e9, "fma"
	} else {
		row.GBps, row.Of = float64(l.Bytes)/row.Seconds/1e9, "copy"
	}
	return row, best, nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func (r timing) print() {
	rate, unit := r.GFLOPS, "GFLOP/s"
	if r.GFLOPS == 0 {
		rate, unit = r.GBps, "GB/s"
	}
	fmt.Printf("%-14s %-44s %7.2f ms %10.1f %-8s %3.0f %% of %s\n", r.Op, r.Case, 1000*r.Seconds, rate, unit, 100*r.Share, r.Of)
}

// timePicture makes one picture to warm up and times the next.
func timePicture(ctx context.Context, e *engine.Engine) (map[string]float64, error) {
	pipes := engine.NewPipelines(e)
	defer pipes.Close()
	pipe, err := pipes.Get("")
	if err != nil {
		return nil, err
	}
	req := pipeline.Request{Prompt: "red heart, 3d", Steps: 20, Seed: 1}
	var res *pipeline.Result
	for range 2 {
		if res, err = pipe.Run(ctx, req, func(pipeline.Progress) {}); err != nil {
			return nil, err
		}
	}
	if len(res.Images) == 0 {
		return nil, errors.New("the built-in model made no picture")
	}
	return res.Seconds, nil
}
