// Package goldentest lets tests hold models against what the authors' own code answered: it reads the goldens in
// models/testdata, opens both devices, and compares.
package goldentest

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"testing"

	"atelier/compute"
	"atelier/compute/host"
	"atelier/compute/opengl"
	"atelier/models/checkpoint"
	"atelier/models/nn"
)

// Case is one entry of testdata/goldens*.json: the tolerance of each tensor, and how a pipeline was run.
type Case struct {
	Atol            map[string]float64 `json:"atol"`
	Scheduler       string             `json:"scheduler"`
	SchedulerConfig json.RawMessage    `json:"scheduler_config"`
	Steps           int                `json:"num_inference_steps"`
	CFG             float64            `json:"guidance_scale"`
	Prompt          string             `json:"prompt"`
	Negative        string             `json:"negative_prompt"`
	Width           int                `json:"width"`
	Height          int                `json:"height"`
	Strength        float64            `json:"strength"`
}

// Dir is models/testdata as seen from the package under test.
var Dir = func() string {
	const fromModels, fromApp = "../testdata", "../../models/testdata"
	if _, err := os.Stat(filepath.Join(fromModels, "goldens.json")); err == nil {
		return fromModels
	}
	return fromApp
}()

// Load reads a case.
func Load(t testing.TB, id string) Case {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Dir, "goldens*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no goldens in %s: %v", Dir, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]Case
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
		if c, ok := all[id]; ok {
			return c
		}
	}
	t.Fatalf("there is no case %q", id)
	return Case{}
}

// Tensor is a golden: B C H W where it has four axes.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Read reads all tensors of a file below testdata as float32.
func Read(t testing.TB, name string) map[string]Tensor {
	t.Helper()
	ts := Open(t, name)
	out := map[string]Tensor{}
	for _, n := range ts.Names() {
		v, _ := ts.Get(n)
		data, err := v.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		out[n] = Tensor{v.Shape, data}
	}
	return out
}

// Open opens a file below testdata until the test ends.
func Open(t testing.TB, name string) checkpoint.Tensors {
	t.Helper()
	ts, err := checkpoint.Open(filepath.Join(Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ts.Close() })
	return ts
}

// Devices runs the test on both devices. It fails where OpenGL is missing: a device that is not tested is not supported.
func Devices(t *testing.T, test func(t *testing.T, dev compute.Device)) {
	t.Run("host", func(t *testing.T) { onHost(t, test) })
	t.Run("opengl", func(t *testing.T) { onOpenGL(t, test) })
}

// BenchmarkDevices times on both devices.
func BenchmarkDevices(b *testing.B, time func(b *testing.B, dev compute.Device)) {
	b.Run("host", func(b *testing.B) { onHost(b, time) })
	b.Run("opengl", func(b *testing.B) { onOpenGL(b, time) })
}

func onHost[T testing.TB](t T, do func(t T, dev compute.Device)) {
	dev := host.New(host.Options{})
	defer dev.Close()
	do(t, dev)
}

func onOpenGL[T testing.TB](t T, do func(t T, dev compute.Device)) {
	dev, err := opengl.NewEGL(opengl.Options{CacheDir: cacheDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	do(t, dev)
	for _, w := range dev.Warnings() {
		t.Errorf("the device warns: %s", w)
	}
}

// cacheDir keeps linked programs between test runs, apart from the person's own.
var cacheDir = sync.OnceValue(func() string {
	dir := filepath.Join(os.TempDir(), "atelier-test-cache")
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
})

// Input declares v in g, as B H W C where it has four axes, and remembers its values in feed.
func Input(g *compute.Graph, feed map[string][]float32, name string, v Tensor) *compute.Tensor {
	if s := v.Shape; len(s) == 4 {
		feed[name] = nn.ChannelsLast(v.Data, s[0], s[1], s[2], s[3])
		return g.Input(name, s[0], s[2], s[3], s[1])
	}
	feed[name] = v.Data
	return g.Input(name, v.Shape...)
}

// Run compiles g, runs it once, and gives its outputs, B C H W where they have four axes.
func Run(t testing.TB, dev compute.Device, g *compute.Graph, feed map[string][]float32) map[string]Tensor {
	t.Helper()
	outputs, raw := replay(t, dev, g, feed)
	out := map[string]Tensor{}
	for _, o := range outputs {
		s, v := o.T.Shape(), raw[o.Name]
		if len(s) == 4 {
			v, s = nn.ChannelsFirst(v, s[0], s[1], s[2], s[3]), compute.Shape{s[0], s[3], s[1], s[2]}
		}
		out[o.Name] = Tensor{s, v}
	}
	return out
}

// Compare fails the test for every tensor of got that is further from want than its tolerance in c, or has none there.
func Compare(t testing.TB, c Case, got, want map[string]Tensor) {
	t.Helper()
	var names []string
	for name := range got {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		atol, ok := c.Atol[name]
		w, have := want[name]
		if !ok || !have {
			t.Errorf("%s has no golden", name)
			continue
		}
		Close(t, name, got[name], w, atol)
	}
}

// Close fails the test where got differs in shape from want, or by more than atol anywhere.
func Close(t testing.TB, name string, got, want Tensor, atol float64) {
	t.Helper()
	if !compute.Shape(got.Shape).Equal(want.Shape) {
		t.Errorf("%s has shape %v, want %v", name, got.Shape, want.Shape)
		return
	}
	worst, at := 0.0, 0
	for i, v := range got.Data {
		d := math.Abs(float64(v) - float64(want.Data[i]))
		if d > worst || d != d {
			if worst, at = d, i; d != d {
				break
			}
		}
	}
	if !(worst <= atol) {
		t.Errorf("%s is off by %.3g at %d (%v, want %v); %.3g is allowed", name, worst, at, got.Data[at], want.Data[at], atol)
		return
	}
	t.Logf("%s: off by %.2g of %.2g allowed", name, worst, atol)
}

// RunFlat runs g once and gives its outputs as they lie, in the graph's own order of axes.
func RunFlat(t testing.TB, dev compute.Device, g *compute.Graph, feed map[string][]float32) map[string][]float32 {
	t.Helper()
	_, raw := replay(t, dev, g, feed)
	return raw
}

// replay compiles g, runs it once, and gives what its outputs are and their values.
func replay(t testing.TB, dev compute.Device, g *compute.Graph, feed map[string][]float32) ([]compute.Output, map[string][]float32) {
	t.Helper()
	plan, err := g.Compile(dev.Limits())
	if err != nil {
		t.Fatal(err)
	}
	exe, err := dev.Load(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	raw := map[string][]float32{}
	for _, o := range plan.Outputs {
		raw[o.Name] = make([]float32, o.T.Shape().Size())
	}
	if err := exe.Run(t.Context(), feed, raw); err != nil {
		t.Fatal(err)
	}
	return plan.Outputs, raw
}

// Renamed is a checkpoint whose tensors go by the names that To makes of their own.
type Renamed struct {
	checkpoint.Tensors
	To func(string) string
}

// Names gives the new names.
func (r Renamed) Names() (names []string) {
	for _, n := range r.Tensors.Names() {
		names = append(names, r.To(n))
	}
	return names
}

// Get finds a tensor by its new name.
func (r Renamed) Get(name string) (checkpoint.Tensor, bool) {
	for _, n := range r.Tensors.Names() {
		if r.To(n) == name {
			return r.Tensors.Get(n)
		}
	}
	return checkpoint.Tensor{}, false
}
