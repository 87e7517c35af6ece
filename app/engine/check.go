package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"atelier/compute/computetest"
	"atelier/compute/opengl"
	"atelier/shaders"
)

// Result is one kernel compared with its definition.
type Result struct {
	Op    string `json:"op"`
	Case  string `json:"case"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Check compares every kernel of the device with its definition, case by case, and reports each to each. It keeps the
// verdict for this driver, and stops between cases when ctx ends.
func (e *Engine) Check(ctx context.Context, each func(Result)) ([]Result, error) {
	return e.check(ctx, func(_, _ int, r Result) { each(r) })
}

func (e *Engine) check(ctx context.Context, each func(i, n int, r Result)) ([]Result, error) {
	var all []Result
	if e.GL != nil {
		e.GL.Distrust() // a verdict is about the shaders, not about what stands in for them
	}
	cases := slices.DeleteFunc(computetest.Cases(), func(c computetest.Case) bool { return c.Bench }) // those are large, and alike
	for i, c := range cases {
		if err := ctx.Err(); err != nil {
			return all, err
		}
		r := Result{Op: c.Op, Case: c.Name, OK: true}
		if err := computetest.CheckDevice(ctx, e.Device, c); err != nil {
			if wrong := (*computetest.Difference)(nil); !errors.As(err, &wrong) {
				return all, err // memory ran out, or the device is gone: no verdict on the kernels
			}
			r.OK, r.Error = false, err.Error()
		}
		all = append(all, r)
		each(i, len(cases), r)
	}
	if e.GL != nil {
		failed := Failed(all)
		v := verdicts()
		v[verdictKey(e.GL.Info())] = failed
		saveJSON(verdictsFile, v)
		e.judge(failed)
	}
	return all, nil
}

// Failed lists the ops with a failing case, once each.
func Failed(results []Result) []string {
	var ops []string
	for _, r := range results {
		if !r.OK && !slices.Contains(ops, r.Op) {
			ops = append(ops, r.Op)
		}
	}
	return ops
}

// CheckOnce is Check unless this driver and these kernels were checked before. It yields to the person's jobs: between cases
// it calls idle, which blocks while a job runs.
func (e *Engine) CheckOnce(ctx context.Context, idle func(context.Context) error) error {
	if _, note := e.health.get(); e.GL == nil || note != unchecked {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, err := e.check(ctx, func(i, n int, _ Result) {
		e.health.expect(fmt.Sprintf("checking kernels, %d of %d", i+1, n))
		if err := idle(ctx); err != nil {
			cancel(err)
		}
	})
	if err != nil {
		e.health.expect(unchecked)
	}
	return err
}

// judge sets the health and takes failed ops from the device.
func (e *Engine) judge(failed []string) {
	if len(failed) == 0 {
		e.health.set(true, "checked")
		return
	}
	e.GL.Distrust(failed...)
	e.health.set(false, "this driver computes "+strings.Join(failed, ", ")+" wrongly; the processor does it instead")
}

const unchecked = "not checked yet"

// applyVerdict recalls what an earlier check of this driver found.
func (e *Engine) applyVerdict() {
	if failed, ok := verdicts()[verdictKey(e.GL.Info())]; ok {
		e.judge(failed)
		return
	}
	e.health.expect(unchecked)
}

// health is a verdict in words, safe for concurrent use.
type health struct {
	mu      sync.Mutex
	ok      bool
	pending bool // the check is still to come, or runs
	text    string
}

func (h *health) set(ok bool, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ok, h.pending, h.text = ok, false, text
}

// expect says in text where the check stands that is not done yet.
func (h *health) expect(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ok, h.pending, h.text = true, true, text
}

func (h *health) unproven() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pending
}

func (h *health) get() (bool, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ok, h.text
}

// verdictKey names a driver together with the kernels that were checked on it.
func verdictKey(i opengl.Info) string {
	h := sha256.New()
	fmt.Fprintln(h, i.Driver())
	fmt.Fprintln(h, shaders.Digest())
	for _, c := range computetest.Cases() {
		fmt.Fprintln(h, c.String())
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

const verdictsFile = "checks.json"

// verdicts reads what earlier checks found: driver key → failed ops.
func verdicts() map[string][]string { return readJSON[[]string](verdictsFile) }

// readJSON reads a map out of the cache folder. An unreadable file counts as empty.
func readJSON[V any](name string) map[string]V {
	v := map[string]V{}
	dir := opengl.DefaultOptions().CacheDir
	if dir == "" {
		return v
	}
	if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil && json.Unmarshal(data, &v) == nil {
		return v
	}
	return map[string]V{}
}

// saveJSON keeps v in the cache folder, whole or not at all. Losing it only repeats a check.
func saveJSON(name string, v any) {
	dir := opengl.DefaultOptions().CacheDir
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil || dir == "" || os.MkdirAll(dir, 0o755) != nil {
		return
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return
	}
	defer os.Remove(tmp.Name())
	_, werr := tmp.Write(data)
	if serr := tmp.Sync(); werr == nil && serr == nil && tmp.Close() == nil {
		os.Rename(tmp.Name(), filepath.Join(dir, name))
	}
}
