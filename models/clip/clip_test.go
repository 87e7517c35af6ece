package clip

import (
	"os"
	"path/filepath"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
)

func load(t *testing.T) *Model {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldentest.Dir, "sd15/model/text_encoder/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(nn.Load("text_encoder", goldentest.Open(t, "sd15/model/text_encoder/model.safetensors")), c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestGolden is the case sd15-text-encoder.
func TestGolden(t *testing.T) {
	m, c := load(t), goldentest.Load(t, "sd15-text-encoder")
	in, want := goldentest.Read(t, "sd15/text_encoder.in.safetensors"), goldentest.Read(t, "sd15/text_encoder.out.safetensors")
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		ids := in["input_ids"]
		b, n := ids.Shape[0], ids.Shape[1]
		pool := goldentest.Tensor{Shape: []int{b, 1, n}, Data: make([]float32, b*n)}
		for i := range b {
			m.PoolRow(ids.Data[i*n:(i+1)*n], pool.Data[i*n:(i+1)*n])
		}
		o := m.Forward(goldentest.Input(g, feed, "ids", ids), goldentest.Input(g, feed, "pool", pool))
		for i, name := range []string{"hidden_states.0", "hidden_states.1", "hidden_states.2", "hidden_states.3"} {
			g.Output(name, o.HiddenStates[i])
		}
		g.Output("last_hidden_state", o.Last)
		g.Output("pooler_output", o.Pooled)
		g.Output("clip_skip_2_with_final_ln", m.Final(o.HiddenStates[2]))
		got := goldentest.Run(t, dev, g, feed)
		if len(got) != len(want) {
			t.Errorf("%d outputs, and there are %d goldens", len(got), len(want))
		}
		goldentest.Compare(t, c, got, want)
	})
}

// TestShortRows checks that rows shorter than the position table give what full rows give at the same places.
func TestShortRows(t *testing.T) {
	m := load(t)
	want := goldentest.Read(t, "sd15/text_encoder.out.safetensors")["last_hidden_state"]
	ids := goldentest.Read(t, "sd15/text_encoder.in.safetensors")["input_ids"]
	const n = 11
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		g.Output("y", m.Forward(goldentest.Input(g, feed, "ids", goldentest.Tensor{Shape: []int{1, n}, Data: ids.Data[:n]}), nil).Last)
		got := goldentest.Run(t, dev, g, feed)["y"]
		goldentest.Close(t, "first rows", got, goldentest.Tensor{Shape: []int{1, n, m.HiddenSize}, Data: want.Data[:n*m.HiddenSize]}, 4e-5)
	})
}

func TestPoolRow(t *testing.T) {
	for _, c := range []struct {
		eos  int
		ids  []float32
		want int
	}{
		{2, []float32{49406, 5, 49407, 49407}, 2}, // the largest id, first of equals
		{7, []float32{9, 5, 7, 7, 3}, 2},          // the first end-of-text
		{7, []float32{9, 5, 3}, 0},                // none
		{7, []float32{7, 5, 7}, 0},
	} {
		m := &Model{Config: Config{EOS: c.eos}}
		row := make([]float32, len(c.ids))
		m.PoolRow(c.ids, row)
		for i, v := range row {
			if want := float32(0); (i == c.want) != (v == 1) && v != want {
				t.Errorf("eos %d, ids %v: row %v, want 1 at %d", c.eos, c.ids, row, c.want)
			}
		}
		if row[c.want] != 1 {
			t.Errorf("eos %d, ids %v: row %v, want 1 at %d", c.eos, c.ids, row, c.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, bad := range []string{`{`, `{"hidden_size": 10, "num_attention_heads": 3}`, `{"hidden_act": "relu6"}`, `{"vocab_size": -1}`, `{"num_hidden_layers": 99999}`} {
		if _, err := ParseConfig([]byte(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestTextualInversion is the case sd15-textual-inversion: two embeddings of one and three vectors, under the ids that follow
// the vocabulary.
func TestTextualInversion(t *testing.T) {
	m, c := load(t), goldentest.Load(t, "sd15-textual-inversion")
	const dir = "sd15/textual_inversion/"
	want := goldentest.Read(t, dir+"out.safetensors")
	var rows []float32
	for _, v := range []goldentest.Tensor{goldentest.Read(t, dir+"cat-toy.safetensors")["<cat-toy>"], goldentest.Read(t, dir+"my-style.safetensors")["emb_params"]} {
		rows = append(rows, v.Data...)
	}
	if err := m.Extend(rows); err != nil {
		t.Fatal(err)
	}
	if m.Tokens() != m.VocabSize+4 {
		t.Errorf("%d tokens", m.Tokens())
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		g, feed := compute.NewGraph(), map[string][]float32{}
		g.Output("last_hidden_state", m.Forward(goldentest.Input(g, feed, "ids", want["input_ids"]), nil).Last)
		goldentest.Compare(t, c, goldentest.Run(t, dev, g, feed), want)
	})
	if err := m.Extend(rows[:17]); err == nil {
		t.Error("17 numbers are accepted as vectors of 16")
	}
	if err := m.Extend(nil); err != nil || m.Tokens() != m.VocabSize {
		t.Errorf("%d tokens after all were taken away, %v", m.Tokens(), err)
	}
}
