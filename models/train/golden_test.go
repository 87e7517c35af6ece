package train_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atelier/models/goldentest"
	"atelier/models/train"
	"atelier/models/unet"
)

// unetConfig is the settings of training/unet.
func unetConfig() unet.Config {
	return unet.Config{
		SampleSize: 8, InChannels: 4, OutChannels: 4, DownBlocks: []string{"CrossAttnDownBlock2D", "DownBlock2D"},
		UpBlocks: []string{"UpBlock2D", "CrossAttnUpBlock2D"}, MidBlock: "UNetMidBlock2DCrossAttn", Channels: []int{16, 32}, Layers: []int{1, 1},
		Heads: []int{2, 2}, Transformers: []int{1, 1}, UpTransformers: []int{1, 1}, ContextDim: []int{12, 12}, Groups: 8, Eps: 1e-5,
		FlipSinToCos: true, DownsamplePadding: 1,
	}
}

// TestSchedules is the case train-lr-schedules.
func TestSchedules(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "training/lr_schedules.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "note")
	for name, list := range all {
		var want []float64
		if err := json.Unmarshal(list, &want); err != nil {
			t.Fatal(err)
		}
		s := train.Schedule{Kind: name, Warmup: 4, Steps: 18}
		if kind, ok := strings.CutSuffix(name, "_2"); ok {
			s.Kind, s.Cycles = kind, 2
		}
		for step, w := range want {
			if got := s.Multiplier(step, 1); math.Abs(got-w) > 1e-6*math.Abs(w)+1e-12 {
				t.Errorf("%s: %v at step %d, want %v", name, got, step, w)
			}
		}
	}
}
