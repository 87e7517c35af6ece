package training

import (
	"math"
	"path/filepath"
	"testing"

	"atelier/app/dataset"
	"atelier/models/checkpoint"
)

// TestFlowStartsFromItsPictures holds the first scaling of a flow against the means and deviations of the pictures' channels: it is shown all
// of them in its first batch, and then hardly learns.
func TestFlowStartsFromItsPictures(t *testing.T) {
	const n, side = 8, 8
	r := recipe(t, "flow", "", pictures(t, n))
	r.Train.Steps, r.Train.Batch, r.Train.Rate, r.Train.EMA = 1, n, 1e-12, 0
	r.Data.Validation, r.Samples.Seeds = number(0), []uint64{}
	run := create(t, r)
	if _, err := run.Train(t.Context(), device(t), Options{}); err != nil {
		t.Fatal(err)
	}
	got := tensorsOf(t, run)
	set, err := dataset.Open(r.Data.Path, dataset.Options{})
	must(t, err)
	defer set.Close()
	batches, err := set.Batches(1, r.batchOptions(&subject{width: side, height: side, channels: 3}, false))
	must(t, err)
	b, err := batches.At(t.Context(), 0)
	must(t, err)
	const corners, each = 4, n * side * side / 4 // of every square of four pixels, and how many squares there are
	for channel := range 3 * corners {
		sum, squares := 0.0, 0.0
		for i, v := range b.Data {
			c, x, y := i%3, i/3%side, i/3/side%side
			if c*corners+y%2*2+x%2 == channel {
				v := (float64(v)*127.5 + 128) / 256 // in the middle of its step
				sum, squares = sum+v-0.5, squares+(v-0.5)*(v-0.5)
			}
		}
		mean := sum / each
		deviation := math.Sqrt(squares/each - mean*mean)
		offset, scale := float64(got["generator/levels.0.steps.0.norm.offset"][channel]), float64(got["generator/levels.0.steps.0.norm.scale"][channel])
		if math.Abs(offset+mean) > 1e-3 || math.Abs(math.Exp(-scale)-deviation) > 1e-3 {
			t.Errorf("channel %d: an offset of %g and a deviation of %g, not %g and %g", channel, offset, math.Exp(-scale), -mean, deviation)
		}
	}
}

// tensorsOf are the values of a run's last weights, by name.
func tensorsOf(t *testing.T, run *Run) map[string][]float32 {
	t.Helper()
	f, err := checkpoint.Open(filepath.Join(run.Folder, lastFile))
	must(t, err)
	defer f.Close()
	out := map[string][]float32{}
	for _, name := range f.Names() {
		x, _ := f.Get(name)
		out[name], err = x.Float32s()
		must(t, err)
	}
	return out
}
