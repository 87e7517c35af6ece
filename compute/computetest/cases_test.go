package computetest_test

import (
	"testing"

	"atelier/compute"
	"atelier/compute/computetest"
)

// TestEveryOpHasCases: no op without cases, no differentiable op without a gradient case, and every case reaches its op.
func TestEveryOpHasCases(t *testing.T) {
	cases, graded := map[string]int{}, map[string]bool{}
	names := map[string]bool{}
	for _, c := range computetest.Cases() {
		if names[c.String()] {
			t.Errorf("two cases are called %v", &c)
		}
		names[c.String()] = true
		y, err := c.Tensor()
		if err != nil {
			t.Errorf("%v: %v", &c, err)
			continue
		}
		if !reaches(y, c.Op) {
			t.Errorf("%v builds no %s", &c, c.Op)
		}
		cases[c.Op]++
		graded[c.Op] = graded[c.Op] || c.Grad
	}
	for _, op := range compute.Ops() {
		if cases[op.Name] == 0 {
			t.Errorf("op %s has no cases", op.Name)
		}
		if op.VJP != nil && !graded[op.Name] && !zeroGradient[op.Name] {
			t.Errorf("op %s has a gradient that no case checks", op.Name)
		}
		delete(cases, op.Name)
	}
	for op := range cases {
		t.Errorf("cases for %s, which is no op", op)
	}
}

// zeroGradient lists ops that are steps: their gradient is none, and finite differences see only jumps.
var zeroGradient = map[string]bool{"floor": true, "cast": true, "round": true, "detach": true, "sign": true, "step": true}

// reaches reports whether y is computed by an op of that name or through one.
func reaches(y *compute.Tensor, op string) bool {
	if y.Op.Name == op {
		return true
	}
	if y.IsVariable() {
		for _, u := range y.Graph().Updates() {
			if u.Op.Name == op {
				return true
			}
		}
	}
	for _, x := range y.In {
		if reaches(x, op) {
			return true
		}
	}
	return false
}

func TestCompare(t *testing.T) {
	nan := float32(0)
	nan /= nan
	for _, c := range []struct {
		got, want []float32
		same      bool
	}{
		{[]float32{1, 2}, []float32{1, 2.0001}, true},
		{[]float32{1, 2}, []float32{1, 2.01}, false},
		{[]float32{nan}, []float32{nan}, true},
		{[]float32{nan}, []float32{0}, false},
		{[]float32{0}, []float32{nan}, false},
		{[]float32{1}, []float32{1, 2}, false},
	} {
		if err := computetest.Compare(c.got, c.want, 1e-3); (err == nil) != c.same {
			t.Errorf("%v and %v: %v", c.got, c.want, err)
		}
	}
}
