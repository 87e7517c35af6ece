package compute

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"
)

// TestQuantisedTypes decodes blocks and holds the values to the bit against a reading of ggml's layouts in another language:
// testdata/quant.bin is three random blocks of each type, each with its values.
func TestQuantisedTypes(t *testing.T) {
	data, err := os.ReadFile("testdata/quant.bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range Quantised() {
		elements, size := d.Block()
		var blocks []byte
		var want []float32
		for range 3 {
			blocks = append(blocks, data[:size]...)
			data = data[size:]
			for range elements {
				want = append(want, math.Float32frombits(binary.LittleEndian.Uint32(data)))
				data = data[4:]
			}
		}
		stored := make([]byte, d.Stored(3*elements))
		d.Pack(stored, blocks)
		if len(stored)%4 != 0 || len(stored) > len(blocks)+3*2 {
			t.Errorf("%v: %d bytes stored for %d", d, len(stored), len(blocks))
		}
		// Runs of any length from any element: in the middle of a block, across one, whole.
		for _, r := range [][2]int{{0, 3 * elements}, {0, 1}, {elements - 1, 2}, {5, elements}, {elements, elements}, {elements + 3, 2*elements - 3}, {2*elements + 7, 9}} {
			from, n := r[0], r[1]
			got, also := make([]float32, n), make([]float32, n)
			d.Decode(got, blocks, from)
			d.DecodeStored(also, stored, from)
			for i := range got {
				if w := math.Float32bits(want[from+i]); math.Float32bits(got[i]) != w || math.Float32bits(also[i]) != w {
					t.Fatalf("%v: element %d is %v and %v, want %v", d, from+i, got[i], also[i], want[from+i])
				}
			}
		}
	}
	if len(data) != 0 {
		t.Errorf("%d bytes left", len(data))
	}
}

func TestQuantValues(t *testing.T) {
	block := append([]byte{0, 0x3c}, bytes.Repeat([]byte{2}, 32)...) // 1 · 2
	v := &QuantValues{Data: append(block, block...), Type: Q8_0}
	got := make([]float32, 64)
	if err := v.Read(got); err != nil || got[0] != 2 || got[63] != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if v.Read(got[:32]) == nil || v.Read(got[:40]) == nil {
		t.Error("read a part")
	}
	g := NewGraph()
	w := g.Param("w", v, 2, 32)
	if w.Bytes() != 72 || w.DType().String() != "Q8_0" {
		t.Errorf("%v has %d bytes", w, w.Bytes())
	}
}
