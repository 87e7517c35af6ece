package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"atelier/app/engine"
	"atelier/compute"
	"atelier/compute/host"
	"atelier/compute/opengl"
)

type doctorCmd struct {
	Device string `enum:"auto,opengl,host" default:"auto" help:"Device to check: auto, opengl or host."`
	JSON   bool   `name:"json" help:"Print one JSON object."`
}

// machine is what the program sees of the computer.
type machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory int64  `json:"memory_bytes"`
}

// report is what doctor finds.
type report struct {
	Version  string          `json:"version"`
	Machine  machine         `json:"machine"`
	Display  bool            `json:"display"`
	Device   string          `json:"device"`
	Reason   string          `json:"reason,omitempty"` // why not OpenGL
	GL       *opengl.Info    `json:"gl,omitempty"`
	Limits   compute.Limits  `json:"limits"`
	Chosen   string          `json:"chosen,omitempty"` // what auto computes on here, and why
	Checks   []engine.Result `json:"checks"`
	Host     []engine.Result `json:"host_checks,omitempty"` // the processor's kernels, where Device is not the processor
	Warnings []string        `json:"warnings,omitempty"`
	Models   []need          `json:"models,omitempty"` // what they will need, before a run
	Seconds  float64         `json:"seconds"`
	OK       bool            `json:"ok"`
	Verdict  string          `json:"verdict"`
}

// Run checks the device and prints what it found; a failed check is an error after the report.
func (c *doctorCmd) Run(ctx context.Context) error {
	e, chosen, err := c.open()
	if err != nil {
		return err
	}
	defer e.Close()
	r := report{Version: version, Machine: thisMachine(), Display: hasDisplay(), Device: e.Device.Name(), Reason: e.Reason, Limits: e.Device.Limits(), Chosen: chosen}
	if e.GL != nil {
		info := e.GL.Info()
		r.GL = &info
	}
	if !c.JSON {
		r.printHead()
	}
	start := time.Now()
	if r.Checks, err = c.check(ctx, e); err != nil {
		return err
	}
	if e.GL != nil {
		r.Warnings = e.GL.Warnings()
	}
	if e.GL != nil && c.Device == engine.Auto {
		cpu, err := engine.Open(engine.Options{Choice: engine.Host})
		if err != nil {
			return err
		}
		defer cpu.Close()
		if r.Host, err = c.check(ctx, cpu); err != nil {
			return err
		}
	}
	r.Seconds = time.Since(start).Seconds()
	r.Models = modelNeeds(e, r.Machine)
	r.judge()
	if c.JSON {
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return err
		}
	} else {
		r.printTail()
	}
	if !r.OK {
		return errors.New("this device does not compute every kernel rightly; the studio runs the failing ones on the processor")
	}
	return nil
}

// open opens the device to check: OpenGL where it can be, whichever auto would compute on. chosen says what that is.
func (c *doctorCmd) open() (e *engine.Engine, chosen string, err error) {
	if e, err = engine.Open(engine.Options{Choice: c.Device}); err != nil || c.Device != engine.Auto {
		return e, "", err
	}
	chosen = e.Device.Name()
	if e.Why != "" {
		chosen += ", " + e.Why
	}
	if e.GL != nil || e.Reason != "" {
		return e, chosen, nil
	}
	e.Close()
	e, err = engine.Open(engine.Options{Choice: engine.OpenGL})
	return e, chosen, err
}

// check compares a device's kernels with their definitions and prints what fails.
func (c *doctorCmd) check(ctx context.Context, e *engine.Engine) ([]engine.Result, error) {
	return e.Check(ctx, func(res engine.Result) {
		if !c.JSON && !res.OK {
			fmt.Printf("  FAIL %s/%s on %s: %s\n", res.Op, res.Case, e.Device.Name(), res.Error)
		}
	})
}

func (r *report) judge() {
	failed := engine.Failed(append(slices.Clone(r.Checks), r.Host...))
	r.OK = len(failed) == 0 && len(r.Warnings) == 0
	switch {
	case len(failed) > 0:
		r.Verdict = "wrong results: " + strings.Join(failed, ", ")
	case len(r.Warnings) > 0:
		r.Verdict = "works, with kernels on the processor: " + strings.Join(r.Warnings, "; ")
	case r.Reason != "":
		r.Verdict = "healthy, on the processor: " + r.Reason
	default:
		r.Verdict = "healthy"
	}
}

func (r *report) printHead() {
	m := r.Machine
	fmt.Printf("Atelier   %s\n", r.Version)
	fmt.Printf("Machine   %s, %d cores, %s memory, %s/%s\n", m.CPU, m.Cores, compute.FormatBytes(m.Memory), m.OS, m.Arch)
	fmt.Printf("Device    %s\n", r.Device)
	if r.Chosen != "" {
		fmt.Printf("Chosen    %s\n", r.Chosen)
	}
	if r.Reason != "" {
		fmt.Printf("          OpenGL is not used: %s\n", r.Reason)
	}
	if g := r.GL; g != nil {
		fmt.Printf("Driver    %s\n          %s, GLSL %s, context from %s\n", g.Renderer, g.Version, g.GLSL, g.Context)
		l := r.Limits
		fmt.Printf("Limits    %d groups an axis, %d invocations and %s shared memory a group, %s a storage block, %d M texels a buffer texture, %s memory\n",
			l.Groups[0], l.Invocations, compute.FormatBytes(int64(l.SharedBytes)), compute.FormatBytes(l.StorageBytes), l.TextureTexels/1_000_000, compute.FormatBytes(l.MemoryBytes))
	}
	fmt.Println("Kernels against their definitions:")
}

func (r *report) printTail() {
	type tally struct{ ok, all int }
	ops, count := []string{}, map[string]*tally{}
	for _, c := range append(slices.Clone(r.Checks), r.Host...) {
		t := count[c.Op]
		if t == nil {
			t = &tally{}
			count[c.Op], ops = t, append(ops, c.Op)
		}
		t.all++
		if c.OK {
			t.ok++
		}
	}
	for _, op := range ops {
		t := count[op]
		mark := "ok  "
		if t.ok < t.all {
			mark = "FAIL"
		}
		fmt.Printf("  %s %-24s %d of %d cases\n", mark, op, t.ok, t.all)
	}
	printNeeds(r.Models)
	fmt.Printf("Verdict   %s (%d cases in %.1f s)\n", r.Verdict, len(r.Checks)+len(r.Host), r.Seconds)
}

// thisMachine reads what the system says of itself; what it does not say stays empty.
func thisMachine() machine {
	m := machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), CPU: host.Processor()}
	if m.CPU == "" {
		m.CPU = "unnamed processor"
	}
	if kb, err := strconv.ParseInt(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = kb * 1024
	}
	return m
}

// procField is the first value of a "name : value" line, or nothing.
func procField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
