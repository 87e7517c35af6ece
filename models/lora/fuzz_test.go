package lora

import (
	"strings"
	"testing"

	"atelier/models/checkpoint"
)

// FuzzRead gives any names and shapes to Read: what it takes must make products, and what is refused says so in a sentence.
func FuzzRead(f *testing.F) {
	f.Add("lora_unet_a.lora_down.weight\nlora_unet_a.lora_up.weight\nlora_unet_a.alpha", []byte{2, 2, 4, 2, 4, 2, 0})
	f.Add("unet.a.b.attn1.processor.to_q_lora.down.weight\nunet.a.b.attn1.processor.to_q_lora.up.weight", []byte{2, 1, 3, 2, 3, 1})
	f.Add("base_model.model.a.lora_A.weight\na.lora_B.default.weight\n.lora_up.weight\nlora_", []byte{4, 2, 2, 3, 3, 4, 2, 2, 1, 1, 1, 2})
	f.Add("text_encoder.text_model.self_attn.to_out_lora.up.weight\na.lora_mid.weight\na.hada_w1_a", []byte{2, 0, 9})
	f.Fuzz(func(t *testing.T, names string, shapes []byte) {
		take := func(most int) int {
			if len(shapes) == 0 {
				return 0
			}
			n := int(shapes[0]) % (most + 1)
			shapes = shapes[1:]
			return n
		}
		list := newMemory()
		for _, name := range strings.Split(names, "\n") {
			shape := make([]int, take(5))
			for i := range shape {
				shape[i] = take(6)
			}
			data := make([]float32, elements(shape))
			for i := range data {
				data[i] = float32(take(255))
			}
			list.tensors[name] = checkpoint.NewF32(name, shape, data)
		}
		file, err := Read("fuzz", list)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q", err)
			}
			return
		}
		for _, layer := range file.layers() {
			m := file.modules[layer]
			a, b, err := m.factors()
			if err != nil {
				t.Fatal(err)
			}
			rows, columns := m.up.Shape[0], elements(m.down.Shape[1:])
			if m.has[mid] {
				columns *= elements(m.mid.Shape[2:])
			}
			addProduct(make([]float32, rows*columns), a, b, rows, m.rank(), columns)
		}
	})
}
