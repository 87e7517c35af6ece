package computetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"atelier/compute"
)

// halfScales is where blocks of a type hold their half-precision scales, in files.
var halfScales = map[compute.DType][]int{
	compute.Q4_0: {0}, compute.Q4_1: {0, 2}, compute.Q5_0: {0}, compute.Q5_1: {0, 2}, compute.Q8_0: {0}, compute.Q2_K: {80, 82},
	compute.Q3_K: {108}, compute.Q4_K: {0, 2}, compute.Q5_K: {0, 2}, compute.Q6_K: {208},
}

// blockValues draws blocks for n elements: any bits, but for scales near 0.01, so that no element is infinite.
func blockValues(r *rand.Rand, d compute.DType, n int) *compute.QuantValues {
	elements, size := d.Block()
	data := make([]byte, n/elements*size)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for b := 0; b < len(data); b += size {
		for _, at := range halfScales[d] {
			binary.LittleEndian.PutUint16(data[b+at:], compute.HalfBits(0.01+0.01*r.Float32()))
		}
		if d == compute.Q8_K {
			binary.LittleEndian.PutUint32(data[b:], math.Float32bits(0.01+0.01*r.Float32()))
		}
	}
	return &compute.QuantValues{Data: data, Type: d}
}

// blockCases are products with block-quantised matrices: each type with rows that blocks run across, and one small and one large
// type with few and many rows of the result, widths that fill no texel, the matrix either way round, and what follows a product.
func blockCases() []Case {
	var cs []Case
	for _, d := range compute.Quantised() {
		elements, _ := d.Block()
		add := func(a, b []int, turned bool, e extras) {
			c := matMulCase(a, b, false, turned, e)
			c.Name = fmt.Sprintf("%v %s", d, c.Name)
			c.In[1].Blocks = d
			cs = append(cs, c)
		}
		add([]int{20, 320}, []int{16, 320}, true, extras{})
		if d != compute.Q5_0 && d != compute.Q4_K {
			continue
		}
		add([]int{2, 33, 320}, []int{64, 320}, true, extras{bias: true, residual: true})
		add([]int{1, elements}, []int{65, elements}, true, extras{bias: true, act: compute.ActSiLU})
		add([]int{70, 2304}, []int{4, 2304}, true, extras{})
		add([]int{7, 64}, []int{64, 36}, false, extras{})
		add([]int{1, 4}, []int{elements / 4, 4}, true, extras{})
	}
	return cs
}
