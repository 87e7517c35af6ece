package compute_test

import (
	"context"
	"testing"

	"atelier/compute"
	"atelier/compute/computetest"
)

func TestMatMul(t *testing.T) { checkOps(t, "matmul") }

// onlyForm is a device that knows one form of each launch.
type onlyForm struct {
	compute.Device
	form string
}

func (o onlyForm) Load(ctx context.Context, p *compute.Plan) (compute.Executable, error) {
	for i := range p.Steps {
		for j := range p.Steps[i].Launches {
			l := &p.Steps[i].Launches[j]
			for _, f := range l.Forms {
				if f.Name == o.form {
					l.Forms = []compute.Form{f}
					break
				}
			}
		}
	}
	return o.Device.Load(ctx, p)
}

// checkShared runs the cases of an op in the form that real GPUs want.
func checkShared(t *testing.T, ops ...string) {
	t.Helper()
	devs, err := devices()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		for _, c := range computetest.Of(op) {
			if c.Bench {
				continue
			}
			if err := computetest.CheckDevice(t.Context(), onlyForm{devs[0], "shared"}, c); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestMatMulShared(t *testing.T) { checkShared(t, "matmul") }

func TestMatMulMistakes(t *testing.T) {
	wantMistake(t, "matmul: inner dimensions differ: [2 77 768] · [512 768]", func(g *compute.Graph) *compute.Tensor {
		return compute.MatMul(g.Input("a", 2, 77, 768), g.Input("b", 512, 768), compute.MatMulOpts{})
	})
	wantMistake(t, "matmul: leading axes do not broadcast: [2 4 5] · [3 5 6]", func(g *compute.Graph) *compute.Tensor {
		return compute.MatMul(g.Input("a", 2, 4, 5), g.Input("b", 3, 5, 6), compute.MatMulOpts{})
	})
	wantMistake(t, "matmul: operands need at least two axes: [4] · [4 5]", func(g *compute.Graph) *compute.Tensor {
		return compute.MatMul(g.Input("a", 4), g.Input("b", 4, 5), compute.MatMulOpts{})
	})
	wantMistake(t, "matmul: leading axes broadcast in 4 separate stretches", func(g *compute.Graph) *compute.Tensor {
		return compute.MatMul(g.Input("a", 2, 1, 2, 1, 4, 5), g.Input("b", 1, 2, 1, 2, 5, 6), compute.MatMulOpts{})
	})
	wantMistake(t, "matmul: bias [4] does not fit the result [3 6]: it must be [6]", func(g *compute.Graph) *compute.Tensor {
		return compute.MatMul(g.Input("a", 3, 5), g.Input("b", 5, 6), compute.MatMulOpts{Bias: g.Input("c", 4)})
	})
	wantMistake(t, "matmul: operand 1 is Q8_0, which only the second operand of a matmul may be", func(g *compute.Graph) *compute.Tensor {
		return compute.MatMul(g.Param("w", &compute.QuantValues{Type: compute.Q8_0}, 4, 32), g.Input("x", 32, 4), compute.MatMulOpts{})
	})
	wantMistake(t, "matmul: a second operand of Q8_0 needs rows of whole fours, not [64 5]", func(g *compute.Graph) *compute.Tensor {
		return compute.MatMul(g.Input("x", 4, 64), g.Param("w", &compute.QuantValues{Type: compute.Q8_0}, 64, 5), compute.MatMulOpts{})
	})
	wantMistake(t, "matmul: residual [6 3] does not have the result's shape [3 6]", func(g *compute.Graph) *compute.Tensor {
		return compute.MatMul(g.Input("a", 3, 5), g.Input("b", 5, 6), compute.MatMulOpts{Residual: g.Input("c", 6, 3)})
	})
}
