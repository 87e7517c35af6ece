package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// zipFile is an uncompressed archive as torch.save writes it.
func zipFile(t testing.TB, root, pickle string, storages map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	put := func(name, content string) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: root + name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(content))
	}
	put("data.pkl", pickle)
	for key, s := range storages {
		put("data/"+key, s)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// checkReadable reads every tensor, and demands that none is larger than the file.
func checkReadable(t *testing.T, f *File, size int) {
	t.Helper()
	for _, name := range f.Names() {
		x, ok := f.Get(name)
		if !ok || x.Size() > size {
			t.Fatalf("%q: %v has %d bytes, the file %d", name, x.Shape, x.Size(), size)
		}
		if x.Len() > 16*size { // of two bits or more each, and with scales
			t.Fatalf("%q has %d elements in %d bytes", name, x.Len(), size)
		}
		if _, err := x.Float32s(); err != nil {
			t.Fatal(err)
		}
		if err := x.Read(make([]byte, x.Size()), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// gguf builds files.
type gguf struct {
	bytes.Buffer
	align int
}

func (g *gguf) num(v any) { binary.Write(g, binary.LittleEndian, v) }
func (g *gguf) str(s string) {
	g.num(uint64(len(s)))
	g.WriteString(s)
}

type ggufEntry struct {
	name string
	dims []uint64
	kind uint32
	data []byte
}

func (g *gguf) head(version uint32, tensors, values int) {
	g.WriteString("GGUF")
	g.num(version)
	g.num(uint64(tensors))
	g.num(uint64(values))
}

// body writes the list of tensors and their data, in reverse order, which the format allows.
func (g *gguf) body(entries []ggufEntry) []byte {
	offsets, data := make([]int, len(entries)), []byte(nil)
	for i := len(entries) - 1; i >= 0; i-- {
		offsets[i] = len(data)
		data = append(data, entries[i].data...)
		for len(data)%g.align != 0 {
			data = append(data, 0)
		}
	}
	for i, e := range entries {
		g.str(e.name)
		g.num(uint32(len(e.dims)))
		g.num(e.dims)
		g.num(e.kind)
		g.num(uint64(offsets[i]))
	}
	for g.Len()%g.align != 0 {
		g.WriteByte(0)
	}
	g.Write(data)
	return g.Bytes()
}

func TestGGUF(t *testing.T) {
	for _, version := range []uint32{2, 3} {
		g := &gguf{align: 64}
		g.head(version, 3, 6)
		g.str("general.architecture")
		g.num(uint32(8))
		g.str("sd1")
		g.str("general.alignment")
		g.num(uint32(4))
		g.num(uint32(64))
		g.str("a.float")
		g.num(uint32(6))
		g.num(float32(0.5))
		g.str("a.signed")
		g.num(uint32(11))
		g.num(int64(-3))
		g.str("tokens")
		g.num(uint32(9))
		g.num(uint32(8))
		g.num(uint64(2))
		g.str("x")
		g.str("yz")
		g.str("comfy.gguf.orig_shape.conv.weight")
		g.num(uint32(9))
		g.num(uint32(5))
		g.num(uint64(4))
		g.num([]int32{4, 8, 2, 2})
		q8 := make([]byte, 4*34)
		for b := range 4 {
			binary.LittleEndian.PutUint16(q8[34*b:], 0x3c00) // 1
			for i := range 32 {
				q8[34*b+2+i] = byte(int8(i - 16))
			}
		}
		data := g.body([]ggufEntry{
			{"m", []uint64{3, 2}, 0, f32Bytes(1, 2, 3, 4, 5, 6)},
			{"conv.weight", []uint64{64, 2}, 8, q8},
			{"bias", []uint64{1}, 30, []byte{0x80, 0x3f}},
		})
		f, err := Parse(data, "a.gguf")
		if err != nil {
			t.Fatal(err)
		}
		if m := f.Metadata(); m["general.architecture"] != "sd1" || m["a.float"] != "0.5" || m["a.signed"] != "-3" || m["general.alignment"] != "64" {
			t.Errorf("metadata %v", m)
		}
		m, _ := f.Get("m")
		if v, err := m.Float32s(); err != nil || !slices.Equal(m.Shape, []int{2, 3}) || !slices.Equal(v, []float32{1, 2, 3, 4, 5, 6}) {
			t.Errorf("m = %v %v, %v", m.Shape, v, err)
		}
		conv, _ := f.Get("conv.weight")
		v := make([]float32, 5)
		if err := conv.Floats(v, 30); err != nil || !slices.Equal(conv.Shape, []int{4, 8, 2, 2}) || !slices.Equal(v, []float32{14, 15, -16, -15, -14}) {
			t.Errorf("conv.weight[30:35] = %v %v, %v", conv.Shape, v, err)
		}
		if b, _ := f.Get("bias"); b.DType != BF16 {
			t.Errorf("bias %+v", b)
		}
		for cut := 0; cut < len(data)-1; cut += 7 {
			if f, err := Parse(data[:cut], "cut"); err == nil && cut < len(data)-64 {
				t.Errorf("%d of %d bytes open: %q", cut, len(data), f.Names())
			}
		}
	}
}

func f32Bytes(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// TestGGUFRefuses gives hostile headers one sentence, at once and without memory.
func TestGGUFRefuses(t *testing.T) {
	entry := func(name string, kind uint32, offset uint64, dims ...uint64) string {
		g := &gguf{}
		g.str(name)
		g.num(uint32(len(dims)))
		g.num(dims)
		g.num(kind)
		g.num(offset)
		return g.String()
	}
	value := func(key string, kind uint32, rest ...any) string {
		g := &gguf{}
		g.str(key)
		g.num(kind)
		for _, r := range rest {
			g.num(r)
		}
		return g.String()
	}
	const huge = uint64(1) << 62
	nested := []any{}
	for range 20_000 {
		nested = append(nested, uint32(9), uint64(1))
	}
	for _, c := range []struct {
		name            string
		version         uint32
		tensors, values int
		rest, problem   string
	}{
		{"version", 1, 0, 0, "", "version 1"},
		{"big-endian", 0x03000000, 0, 0, "", "big-endian"},
		{"many tensors", 3, 1 << 62, 0, entry("a", 0, 0, 1), "cut short"},
		{"many values", 3, 0, 1 << 62, value("a", 4, uint32(1)), "cut short"},
		{"long key", 3, 0, 1, string(binary.LittleEndian.AppendUint64(nil, huge)), "cut short"},
		{"long array", 3, 0, 1, value("a", 9, uint32(4), huge/8), "cut short"},
		{"array that overflows", 3, 0, 1, value("a", 9, uint32(12), ^uint64(0)), "does not fit"},
		{"array of texts", 3, 0, 1, value("a", 9, uint32(8), huge), "cut short"},
		{"nested arrays", 3, 0, 1, value("a", 9, nested...), "nested too deep"},
		{"type of value", 3, 0, 1, value("a", 77), "unknown type 77"},
		{"axes", 3, 1, 0, entry("a", 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1), "9 axes"},
		{"shape", 3, 1, 0, entry("a", 0, 0, huge, huge), "overflows"},
		{"type", 3, 1, 0, entry("a", 16, 0, 256), "element type 16"},
		{"rows", 3, 1, 0, entry("a", 8, 0, 33), "not whole blocks"},
		{"size", 3, 1, 0, entry("a", 0, 0, 1<<40), "more than the file has"},
		{"end", 3, 1, 0, entry("a", 0, 64, 16) + strings.Repeat("x", 96), "outside or unaligned"},
		{"unaligned", 3, 1, 0, entry("a", 0, 4, 1) + strings.Repeat("x", 64), "outside or unaligned"},
		{"twice", 3, 2, 0, entry("a", 0, 0, 1) + entry("a", 0, 0, 1) + strings.Repeat("x", 64), "twice"},
		{"alignment", 3, 0, 1, value("general.alignment", 4, uint32(3)), "power of two"},
		{"original shape", 3, 1, 1, value("comfy.gguf.orig_shape.a", 9, uint32(5), uint64(2), int32(-1), int32(-1)) + entry("a", 0, 0, 1) + strings.Repeat("x", 64), "original shape"},
	} {
		g := &gguf{}
		g.head(c.version, c.tensors, c.values)
		g.WriteString(c.rest)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := Parse(g.Bytes(), c.name)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.problem) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.name, err, c.problem)
		}
		if grew := after.TotalAlloc - before.TotalAlloc; grew > uint64(4*g.Len()+100_000) || time.Since(start) > time.Second {
			t.Errorf("%s: %d bytes in %v for a file of %d", c.name, grew, time.Since(start), g.Len())
		}
	}
}

func FuzzGGUF(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for kind, dtype := range ggufTypes {
		g := &gguf{align: 32}
		g.head(3, 1, 1)
		g.str("general.name")
		g.num(uint32(8))
		g.str("x")
		elements, size := dtype.Block()
		data := make([]byte, 2*size)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(g.body([]ggufEntry{{"a", []uint64{uint64(elements), 2}, kind, data}}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(append([]byte("GGUF"), data[min(4, len(data)):]...), "fuzz")
		if err == nil {
			checkReadable(t, file, len(data)+4)
		}
	})
}

// TestOpensWithoutReading opens a file of two gigabytes, which takes no disk, at once.
func TestOpensWithoutReading(t *testing.T) {
	const elements = 1 << 30
	header := []byte(`{"w":{"dtype":"F16","shape":[1073741824],"data_offsets":[0,2147483648]}}`)
	path := filepath.Join(t.TempDir(), "big.safetensors")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	file.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header))))
	file.Write(header)
	if err := file.Truncate(int64(8 + len(header) + 2*elements)); err != nil {
		t.Skip("this file system has no sparse files:", err)
	}
	file.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	ts, err := Open(path)
	took := time.Since(start)
	if err != nil {
		t.Fatal(err)
	}
	defer ts.Close()
	runtime.ReadMemStats(&after)
	w, _ := ts.Get("w")
	last := []float32{1}
	if err := w.Floats(last, elements-1); err != nil || last[0] != 0 {
		t.Errorf("the last element is %v, %v", last, err)
	}
	if grew := after.TotalAlloc - before.TotalAlloc; grew > 1<<20 || took > time.Second/2 {
		t.Errorf("opening took %v and %d bytes", took, grew)
	}
	if runtime.GOOS != "linux" {
		return
	}
	// What was read does not stay resident: it is the system's again.
	resident := func() int {
		data, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Fatal(err)
		}
		pages, err := strconv.Atoi(strings.Fields(string(data))[1])
		if err != nil {
			t.Fatal(err)
		}
		return pages * os.Getpagesize()
	}
	part, held := make([]byte, 1<<20), resident()
	for from := 0; from < 256<<20; from += len(part) {
		if err := w.Read(part, from); err != nil {
			t.Fatal(err)
		}
	}
	if now := resident(); now > held+64<<20 {
		t.Errorf("reading 256 MB left %d MB resident", (now-held)>>20)
	}
}
