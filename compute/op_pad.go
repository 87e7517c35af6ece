package compute

import (
	"fmt"
	"strconv"
)

// PadAttr is how many elements go before and after each axis, and their value.
type PadAttr struct {
	Before, After []int
	Value         float32
}

// Pad surrounds x with value: before[i] and after[i] elements on axis i.
func Pad(x *Tensor, before, after []int, value float32) *Tensor {
	return newNode(opPad, &PadAttr{append([]int(nil), before...), append([]int(nil), after...), value}, x)
}

var opPad = register(&Op{
	Name: "pad",
	Shape: func(n *Tensor) (Shape, error) {
		at, s := n.Attr.(*PadAttr), append(Shape(nil), n.In[0].shape...)
		if len(at.Before) != len(s) || len(at.After) != len(s) {
			return nil, fmt.Errorf("%v needs %d extents before and after, not %d and %d", s, len(s), len(at.Before), len(at.After))
		}
		for i := range s {
			if at.Before[i] < 0 || at.After[i] < 0 {
				return nil, fmt.Errorf("a negative pad on axis %d; use Slice to remove elements", i)
			}
			s[i] += at.Before[i] + at.After[i]
		}
		if len(s) > maxAxes {
			return nil, fmt.Errorf("%v has more than %d axes; reshape to fewer", s, maxAxes)
		}
		return s, nil
	},
	Ref:   padRef,
	Lower: padLower,
})

func padRef(n *Tensor, in [][]float32, out []float32, lo, hi int) {
	at, s := n.Attr.(*PadAttr), n.In[0].shape
	steps, width := s.Strides(), n.shape.Last()
	first := at.Before[len(s)-1]
	for row := lo / width; row*width < hi; row++ {
		base, rest, inside := 0, row, true
		for a := len(s) - 2; a >= 0; a-- {
			p := rest%n.shape[a] - at.Before[a]
			rest /= n.shape[a]
			inside = inside && p >= 0 && p < s[a]
			base += p * steps[a]
		}
		for i := max(lo, row*width); i < min(hi, (row+1)*width); i++ {
			out[i] = at.Value
			if k := i - row*width - first; inside && k >= 0 && k < s.Last() {
				out[i] = in[0][base+k]
			}
		}
	}
}

func init() {
	opPad.VJP = func(n, dy *Tensor) []*Tensor {
		at := n.Attr.(*PadAttr)
		for a, d := range n.In[0].shape {
			dy = Slice(dy, a, at.Before[a], at.Before[a]+d)
		}
		return []*Tensor{dy}
	}
}

// padLower walks the result with axes that gain nothing merged into the one outside them.
func padLower(n *Tensor, lw *Lowering) []Launch {
	at, x := n.Attr.(*PadAttr), n.In[0].shape
	var from, to, before []int // extents of the operand and of the result, and what comes before
	for i, d := range x {
		if k := len(from) - 1; k >= 0 && n.shape[i] == d {
			from[k], to[k], before[k] = from[k]*d, to[k]*d, before[k]*d
		} else {
			from, to, before = append(from, d), append(to, n.shape[i]), append(before, at.Before[i])
		}
	}
	last := len(from) - 1
	quad := from[last]%4 == 0 && to[last]%4 == 0 && before[last]%4 == 0
	if quad {
		from[last], to[last], before[last] = from[last]/4, to[last]/4, before[last]/4
	}
	rank := (strided{dims: to}).rank()
	var u []Uniform
	for i := range rank {
		f, t, b := 1, 1, 0
		if k := last - i; k >= 0 {
			f, t, b = from[k], to[k], before[k]
		}
		id := strconv.Itoa(i)
		u = append(u, Int("d"+id, t), Int("e"+id, f), Int("b"+id, b))
	}
	return []Launch{elementwise(n, lw, "pad", quad, map[string]string{"RANK": strconv.Itoa(rank)},
		[]Operand{{Name: "X", T: n.In[0]}}, append(u, Float("value", at.Value))...)}
}
