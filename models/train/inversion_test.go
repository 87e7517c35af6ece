package train_test

import (
	"math"
	"strings"
	"testing"

	"atelier/compute"
	"atelier/models/goldentest"
	"atelier/models/nn"
	"atelier/models/train"
)

// TestInversion trains the vectors of two tokens; the others, which the same loss reads, stay.
func TestInversion(t *testing.T) {
	s := nn.Initialise(2)
	table := nn.NewEmbedding(s, 10, 4)
	before := append([]float32(nil), table.Table.Source.(*compute.Values).Data...)
	v, err := train.NewInversion(table.Table, 3, 2, 7)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Vectors.Source.(*compute.Values).Data; got[1] != before[7*4+1] || got[5] != before[7*4+1] {
		t.Errorf("the vectors start as %v", got)
	}
	goldentest.Devices(t, func(t *testing.T, dev compute.Device) {
		tr, err := train.New(dev, v.Params(), func(p train.Pass) *compute.Tensor {
			v.Bind(p.Graph)
			rows := table.Forward(p.Graph.Input("ids", 5))
			p.Graph.Output("rows", rows)
			return nn.MSE(rows, p.Graph.Input("want", 5, 4))
		}, train.Config{Optimiser: train.SGD(1)})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		want := make([]float32, 20)
		for i := range want {
			want[i] = 1
		}
		var r train.Report
		for range 80 {
			if r, err = tr.Step(t.Context(), map[string][]float32{"ids": {0, 3, 4, 5, 9}, "want": want}); err != nil {
				t.Fatal(err)
			}
		}
		for row, id := range []int{0, 3, 4, 5, 9} {
			for k := range 4 {
				got, target := r.Outputs["rows"][row*4+k], float64(before[id*4+k])
				if row == 1 || row == 2 {
					target = 1
				}
				if math.Abs(float64(got)-target) > 1e-3 {
					t.Errorf("token %d is %v at %d, want %v", id, got, k, target)
				}
			}
		}
		ws, err := tr.Weights(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		es, err := v.Embedding(ws)
		if err != nil || len(es) != 1 || es[0].Name != "emb_params" || !compute.Shape(es[0].Shape).Equal(compute.Shape{2, 4}) {
			t.Errorf("saved %v, error %v", es, err)
		}
	})
	for _, bad := range []func() (*train.Inversion, error){
		func() (*train.Inversion, error) { return train.NewInversion(table.Table, 9, 2, 1) },
		func() (*train.Inversion, error) { return train.NewInversion(table.Table, 1, 3, 1, 2) },
		func() (*train.Inversion, error) { return train.NewInversion(table.Table, 1, 1, 10) },
	} {
		if _, err := bad(); err == nil || !strings.Contains(err.Error(), "table [10 4]") {
			t.Errorf("error %v", err)
		}
	}
}
