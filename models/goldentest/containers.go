package goldentest

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"testing"

	"atelier/models/checkpoint"
)

// classes are torch's storages by element type, ggufTypes GGUF's numbers of types.
var (
	classes   = map[checkpoint.DType]string{checkpoint.F32: "Float", checkpoint.F16: "Half", checkpoint.BF16: "BFloat16", checkpoint.I64: "Long"}
	ggufTypes = map[checkpoint.DType]uint32{
		checkpoint.F32: 0, checkpoint.F16: 1, checkpoint.Q4_0: 2, checkpoint.Q4_1: 3, checkpoint.Q5_0: 6, checkpoint.Q5_1: 7, checkpoint.Q8_0: 8,
		checkpoint.Q2_K: 10, checkpoint.Q3_K: 11, checkpoint.Q4_K: 12, checkpoint.Q5_K: 13, checkpoint.Q6_K: 14, checkpoint.Q8_K: 15, checkpoint.I64: 27,
	}
)

// pickler writes the opcodes that torch.save uses.
type pickler struct{ bytes.Buffer }

func (p *pickler) text(s string) {
	p.WriteByte('X')
	binary.Write(p, binary.LittleEndian, uint32(len(s)))
	p.WriteString(s)
}

func (p *pickler) number(n int) {
	p.WriteString("\x8a\x08")
	binary.Write(p, binary.LittleEndian, int64(n))
}

func (p *pickler) numbers(list []int) {
	p.WriteByte('(')
	for _, n := range list {
		p.number(n)
	}
	p.WriteByte('t')
}

func (p *pickler) tensor(key string, x checkpoint.Tensor) {
	p.WriteString("ctorch._utils\n_rebuild_tensor_v2\n((")
	p.text("storage")
	p.WriteString("ctorch\n" + classes[x.DType] + "Storage\n")
	p.text(key)
	p.text("cpu")
	p.number(x.Len())
	p.WriteString("tQK\x00")
	p.numbers(x.Shape)
	strides, n := make([]int, len(x.Shape)), 1
	for i := len(strides) - 1; i >= 0; i-- {
		strides[i], n = n, n*x.Shape[i]
	}
	p.numbers(strides)
	p.WriteString("\x89ccollections\nOrderedDict\n)RtR")
}

// lightning is the object of a training program's checkpoint: a state dict with metadata of its own, and an unknown class.
func lightning(tensors []checkpoint.Tensor) string {
	p := &pickler{}
	p.WriteString("\x80\x02}(")
	p.text("global_step")
	p.number(470000)
	p.text("state_dict")
	p.WriteString("ccollections\nOrderedDict\n)R(")
	for i, x := range tensors {
		p.text(x.Name)
		p.tensor(strconv.Itoa(i), x)
	}
	p.WriteString("u}")
	p.text("_metadata")
	p.WriteString("}sb")
	p.text("callbacks")
	p.WriteString("}cpytorch_lightning.callbacks\nModelCheckpoint\n}su.")
	return p.String()
}

// WriteTorch writes a checkpoint as torch.save does, or as it did before version 1.6.
func WriteTorch(t testing.TB, path string, tensors []checkpoint.Tensor, old bool) {
	t.Helper()
	var b bytes.Buffer
	if old {
		b.WriteString("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.")
		b.WriteString(lightning(tensors))
		keys := &pickler{}
		for i := range tensors {
			keys.text(strconv.Itoa(i))
		}
		b.WriteString("\x80\x02](" + keys.String() + "e.")
		for _, x := range tensors {
			binary.Write(&b, binary.LittleEndian, int64(x.Len()))
			b.Write(x.Data)
		}
	} else {
		z := zip.NewWriter(&b)
		put := func(name string, data []byte) {
			w, err := z.CreateHeader(&zip.FileHeader{Name: "some name/" + name, Method: zip.Store})
			if err != nil {
				t.Fatal(err)
			}
			w.Write(data)
		}
		put("data.pkl", []byte(lightning(tensors)))
		for i, x := range tensors {
			put("data/"+strconv.Itoa(i), x.Data)
		}
		put("version", []byte("3\n"))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// WriteGGUF writes a GGUF file. Tensors with rows that are no whole blocks become rows of one, and their shape a value beside, as
// image models' converters have it.
func WriteGGUF(t testing.TB, path string, tensors []checkpoint.Tensor) {
	t.Helper()
	const align = 32
	num := func(b *bytes.Buffer, v ...any) {
		for _, x := range v {
			if s, ok := x.(string); ok {
				binary.Write(b, binary.LittleEndian, uint64(len(s)))
				b.WriteString(s)
				continue
			}
			binary.Write(b, binary.LittleEndian, x)
		}
	}
	var values, list, data bytes.Buffer
	num(&values, "general.architecture", uint32(8), "sd1")
	count := 1
	for _, x := range tensors {
		shape := x.Shape
		if elements, _ := x.DType.Block(); len(shape) > 0 && shape[len(shape)-1]%elements != 0 {
			num(&values, "comfy.gguf.orig_shape."+x.Name, uint32(9), uint32(5), uint64(len(shape)))
			for _, d := range shape {
				num(&values, int32(d))
			}
			count++
			shape = []int{x.Len() / elements, elements}
		}
		num(&list, x.Name, uint32(len(shape)))
		for i := len(shape) - 1; i >= 0; i-- {
			num(&list, uint64(shape[i]))
		}
		num(&list, ggufTypes[x.DType], uint64(data.Len()))
		data.Write(x.Data)
		data.Write(make([]byte, (align-data.Len()%align)%align))
	}
	var b bytes.Buffer
	b.WriteString("GGUF")
	num(&b, uint32(3), uint64(len(tensors)), uint64(count))
	b.Write(values.Bytes())
	b.Write(list.Bytes())
	b.WriteString(strings.Repeat("\x00", (align-b.Len()%align)%align))
	b.Write(data.Bytes())
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
