package checkpoint

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestZoo reads the same tensors in every form that torch.save has: views of all kinds and every element type, to the bit.
func TestZoo(t *testing.T) {
	want, err := Open("testdata/torch/zoo.expected.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	for _, name := range []string{"zoo.zip.pth", "zoo.proto4.pth", "zoo.legacy.pth", "zoo.legacy4.pth", "zoo.legacy1.pth", "zoo.big.pth", "zoo.deflated.pth"} {
		t.Run(name, func(t *testing.T) {
			got, err := Open("testdata/torch/" + name)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			if !slices.Equal(got.Names(), want.Names()) {
				t.Fatalf("names %q", got.Names())
			}
			for _, n := range want.Names() {
				w, _ := want.Get(n)
				g, _ := got.Get(n)
				if g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || g.Size() != len(w.Data) {
					t.Errorf("%s: %s %v, want %s %v", n, g.DType, g.Shape, w.DType, w.Shape)
					continue
				}
				raw := make([]byte, g.Size())
				if err := g.Read(raw, 0); err != nil || !bytes.Equal(raw, w.Data) {
					t.Errorf("%s: bytes %x, want %x (%v)", n, raw, w.Data, err)
				}
				// Any part of a view is what it is of the whole.
				for from := 0; from < len(raw); from += 3 {
					part := make([]byte, min(5, len(raw)-from))
					if err := g.Read(part, from); err != nil || !bytes.Equal(part, raw[from:from+len(part)]) {
						t.Errorf("%s: bytes from %d: %x, %v", n, from, part, err)
					}
				}
				all, err := g.Float32s()
				whole, _ := w.Float32s()
				same := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
				if err != nil || !slices.EqualFunc(all, whole, same) {
					t.Errorf("%s: %v, want %v (%v)", n, all, whole, err)
				}
				if err := g.Floats(make([]float32, 1), g.Len()); err == nil {
					t.Errorf("%s: read past the end", n)
				}
			}
		})
	}
}

// TestWriteOfViews saves what was read from an archive, views and all.
func TestWriteOfViews(t *testing.T) {
	zoo, err := Open("testdata/torch/zoo.big.pth")
	if err != nil {
		t.Fatal(err)
	}
	defer zoo.Close()
	var list []Tensor
	for _, n := range zoo.Names() {
		x, _ := zoo.Get(n)
		list = append(list, x)
	}
	path := filepath.Join(t.TempDir(), "zoo.safetensors")
	if err := Write(path, list, nil); err != nil {
		t.Fatal(err)
	}
	got, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	want, err := Open("testdata/torch/zoo.expected.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	for _, n := range want.Names() {
		g, _ := got.Get(n)
		w, _ := want.Get(n)
		if g.DType != w.DType || !bytes.Equal(g.Data, w.Data) {
			t.Errorf("%s: %x, want %x", n, g.Data, w.Data)
		}
	}
	if err := Write(path, []Tensor{{Name: "q", DType: Q8_0, Shape: []int{32}, Data: make([]byte, 34)}}, nil); err == nil {
		t.Error("a quantised tensor was written as safetensors, which have none")
	}
}

// TestPart cuts tensors that lie in every way.
func TestPart(t *testing.T) {
	zoo, err := Open("testdata/torch/zoo.zip.pth")
	if err != nil {
		t.Fatal(err)
	}
	defer zoo.Close()
	tensors := []Tensor{{Name: "q", DType: Q8_0, Shape: []int{4, 48}, Data: make([]byte, 6*34)}}
	for i := range tensors[0].Data {
		tensors[0].Data[i] = byte(i % 60)
	}
	for _, n := range []string{"contig", "transposed_view", "strided", "channels_last", "f64", "i64", "empty"} {
		x, _ := zoo.Get(n)
		tensors = append(tensors, x)
	}
	for _, x := range tensors {
		whole, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		of := 2
		if x.Shape[0] == 1 {
			of = 1
		}
		var parts []float32
		for i := range of {
			p, ok := x.Part(i, of)
			if !ok || p.Shape[0] != x.Shape[0]/of {
				t.Fatalf("%s: part %d is %v", x.Name, i, p.Shape)
			}
			v, err := p.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, v...)
		}
		if !slices.EqualFunc(parts, whole, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s: parts %v, whole %v", x.Name, parts, whole)
		}
	}
	if _, ok := tensors[0].Part(1, 4); ok {
		t.Error("a part began within a block")
	}
	if _, ok := tensors[1].Part(0, 3); ok {
		t.Error("4 rows were cut in 3")
	}
}

// TestModule reads a whole pickled module, of which only the names of classes are known.
func TestModule(t *testing.T) {
	m, err := Open("testdata/torch/module.pth")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if want := []string{"0.bias", "0.weight", "1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight"}; !slices.Equal(m.Names(), want) {
		t.Errorf("names %q", m.Names())
	}
	w, _ := m.Get("0.weight")
	if v, err := w.Float32s(); err != nil || !slices.Equal(v, []float32{0, 1, 2, 3, 4, 5}) || !slices.Equal(w.Shape, []int{3, 2}) {
		t.Errorf("0.weight = %v %v, %v", w.Shape, v, err)
	}
}

func TestNumpyInside(t *testing.T) {
	m, err := Open("testdata/torch/numpy.pth")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, n := range []string{"a", "f"} {
		x, ok := m.Get(n)
		if v, err := x.Float32s(); !ok || err != nil || !slices.Equal(v, []float32{0, 1, 2, 3, 4, 5}) || !slices.Equal(x.Shape, []int{2, 3}) {
			t.Errorf("%s = %v %v, %v", n, x.Shape, v, err)
		}
	}
	if m.Metadata()["s"] != "2.5" {
		t.Errorf("metadata %v", m.Metadata())
	}
}

// program wraps a pickle in a zip archive without torch's help.
func program(t testing.TB, pickle string, storages map[string]string) []byte {
	t.Helper()
	return zipFile(t, "x/", pickle, storages)
}

func TestPrograms(t *testing.T) {
	tensor := func(size, stride string) string {
		return "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00" + size + stride + "\x89NtR"
	}
	pair := func(a, b string) string { return a + b + "\x86" }
	w := tensor(pair("K\x02", "K\x02"), pair("K\x02", "K\x01"))
	data := map[string]string{"0": strings.Repeat("\x00\x00\x80\x3f", 4)}
	text := func(s string) string { return "X" + string([]byte{byte(len(s)), 0, 0, 0}) + s }
	for _, c := range []struct{ name, pickle, names, problem string }{
		{"state dict under model, cycle beside it", "\x80\x02}q\x00(" + text("self") + "h\x00" + text("model") + "}" + text("w") + w + "su.", "w", ""},
		{"an unknown class as a key and as a constructor", "\x80\x02}(csome.where\nThing\n}" + text("w") + w + text("x") + "csome.where\nThing\n)\x81}" + text("v") + w + "sbu.", "w x.v", ""},
		{"python 2's names", "\x80\x02}U\x01w" + w + "s.", "w", ""},
		{"protocol 0", "(dp0\nS'w'\n" + w + "s.", "w", ""},
		{"lists", "\x80\x02](K\x01" + w + "e.", "1", ""},
		{"a shared collection", "\x80\x02}(" + text("a") + "}q\x01" + text("w") + w + "s" + text("b") + "h\x01u.", "a.w", ""},
		{"weights averaged", "\x80\x02}(" + text("params") + "}" + text("a") + w + "s" + text("params_ema") + "}" + text("b") + w + "su.", "b", ""},
		{"an expanded view larger than the file", "\x80\x02}" + text("w") + tensor(pair("J\x00\x00\x10\x00", "K\x02"), pair("K\x00", "K\x01")) + "s.", "", "more than the file could hold"},
		{"a view beyond its storage", "\x80\x02}" + text("w") + tensor(pair("K\x02", "K\x02"), pair("K\x03", "K\x01")) + "s.", "", "reaches to element 4 of a storage of 4"},
		{"overflow", "\x80\x02}" + text("w") + tensor(pair("\x8a\x06\xff\xff\xff\xff\xff\x00", "\x8a\x06\xff\xff\xff\xff\xff\x00"), pair("K\x01", "K\x01")) + "s.", "", "overflows"},
		{"an attack with a tensor", "\x80\x02}(" + text("w") + w + text("x") + "cposix\nsystem\n" + text("true") + "\x85Ru.", "", "attack the machine"},
		{"stacked names", "\x80\x04}" + text("x") + "\x8c\x02os\x8c\x06system\x93" + text("true") + "\x85Rs.", "", "attack the machine"},
		{"no tensors", "\x80\x02}.", "", "holds no tensors"},
		{"extension", "\x80\x02\x82\x01.", "", "no place"},
		{"memo", "\x80\x02h\x05.", "", "not there"},
		{"odd pairs", "\x80\x02}(Nu.", "", "no value"},
		{"set on a number", "\x80\x02K\x01NNs.", "", "has none"},
		{"not a storage", "\x80\x02NQ.", "", "outside the file"},
	} {
		f, err := Parse(program(t, c.pickle, data), c.name)
		switch {
		case c.problem == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)):
			t.Errorf("%s: %v, want %q", c.name, err, c.problem)
		case err == nil && strings.Join(f.Names(), " ") != c.names:
			t.Errorf("%s: names %q", c.name, f.Names())
		}
	}
}

// TestHostileFilesAreCheap opens every hostile file within a second and a few times the memory of the file.
func TestHostileFilesAreCheap(t *testing.T) {
	var files []string
	for _, pattern := range []string{"pt/*", "st/*", "torch/*"} {
		list, err := filepath.Glob("testdata/" + pattern)
		if err != nil || len(list) == 0 {
			t.Fatal(err)
		}
		files = append(files, list...)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, _ = Parse(data, name)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		// A value of a pickle takes up to a hundred bytes for its one or two, and the reader itself a few pages.
		if grew := after.TotalAlloc - before.TotalAlloc; grew > uint64(200*len(data)+200_000) {
			t.Errorf("%s of %d bytes allocates %d", name, len(data), grew)
		}
		if took > time.Second {
			t.Errorf("%s takes %v", name, took)
		}
	}
	if _, err := os.Stat("/tmp/PARITY_PWNED"); err == nil {
		t.Error("a hostile pickle has run")
	}
}

func TestReadEmbeddings(t *testing.T) {
	style := Embedding{Names: []string{"my-style"}}
	for _, c := range []struct {
		file  string
		names []string
		rows  int
		width int
	}{
		{"learned_embeds.bin", []string{"<cat-toy>"}, 1, 16},
		{"my-style.pt", []string{"my-style"}, 3, 16},
		{"my-style.safetensors", []string{"my-style"}, 3, 16},
		{"parameter-dict.pt", []string{"parameter-dict", "old-style"}, 2, 4},
	} {
		list, err := ReadEmbeddings("testdata/embeddings/" + c.file)
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if len(list) != 1 || !slices.Equal(list[0].Names, c.names) || len(list[0].Vectors) != 1 || list[0].Vectors[0].Rows() != c.rows || list[0].Vectors[0].Width != c.width {
			t.Errorf("%s: %+v", c.file, list)
			continue
		}
		if c.names[0] == "my-style" {
			if style.Vectors != nil && !slices.Equal(style.Vectors[0].Data, list[0].Vectors[0].Data) {
				t.Errorf("%s differs from the other form", c.file)
			}
			style = list[0]
		}
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		tensors []Tensor
		problem string
	}{
		"xl":      {[]Tensor{NewF32("clip_g", []int{2, 8}, make([]float32, 16)), NewF32("clip_l", []int{2, 4}, make([]float32, 8))}, ""},
		"uneven":  {[]Tensor{NewF32("clip_g", []int{2, 8}, make([]float32, 16)), NewF32("clip_l", []int{1, 4}, make([]float32, 4))}, "one word"},
		"twice":   {[]Tensor{NewF32("emb_params", []int{1, 4}, make([]float32, 4)), NewF32("other", []int{4}, make([]float32, 4))}, "beside"},
		"network": {[]Tensor{NewF32("conv.weight", []int{4, 4, 3, 3}, make([]float32, 144))}, "shape"},
	} {
		path := filepath.Join(dir, name+".safetensors")
		if err := Write(path, c.tensors, nil); err != nil {
			t.Fatal(err)
		}
		list, err := ReadEmbeddings(path)
		if c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) || c.problem == "" && (err != nil || len(list) != 1 || len(list[0].Vectors) != 2) {
			t.Errorf("%s: %v %v", name, list, err)
		}
	}
}

func FuzzPickle(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.p*t*")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if i := bytes.IndexByte(data, pickleProto); i >= 0 && len(data) < 10_000 {
			f.Add(data[i:])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u := &unpickler{storages: map[string]*storage{}, locate: func(s *storage) error {
			s.data = data
			return nil
		}}
		object, used, err := u.machine().run(data)
		if used > len(data) {
			t.Fatalf("%d bytes used of %d", used, len(data))
		}
		if err != nil {
			return
		}
		file := &File{name: "fuzz", tensors: map[string]Tensor{}, metadata: map[string]string{}}
		if file.adopt(object, len(data)%2 == 1, len(data)) == nil {
			checkReadable(t, file, len(data))
		}
	})
}
