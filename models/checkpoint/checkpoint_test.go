package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestMalformed runs the corpus of hostile and odd files: each must open, or give one clear sentence, as its manifest says.
func TestMalformed(t *testing.T) {
	data, err := os.ReadFile("testdata/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ File, Expect, Why string }
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.File, func(t *testing.T) {
			got, err := Open(filepath.Join("testdata", c.File))
			if err == nil {
				defer got.Close()
			}
			// A file that is merely wrong for every model is refused by the model, with the key's name.
			wantOK := c.Expect == "ok" || strings.Contains(c.File, "wrong_shape_for_model")
			switch {
			case wantOK && err != nil:
				t.Fatalf("%s: %v", c.Why, err)
			case !wantOK && c.Expect == "error" && err == nil:
				t.Fatalf("opened, but: %s", c.Why)
			}
			if err == nil {
				return
			}
			if got != nil {
				t.Error("a file that does not open is not nil: who closes what is there runs into it")
			}
			msg := err.Error()
			if strings.Contains(msg, "\n") || !strings.Contains(msg, filepath.Base(c.File)) || !strings.Contains(msg, "; ") || len(msg) > 400 {
				t.Errorf("message is not one sentence with file and remedy: %q", msg)
			}
			t.Log(msg)
		})
	}
}

func TestReadsValues(t *testing.T) {
	f, err := Open("testdata/st/ok_minimal.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, ok := f.Get("a")
	if !ok || a.DType != F32 || !slices.Equal(a.Shape, []int{2, 2}) {
		t.Fatalf("a: %v %+v", ok, a)
	}
	got, err := a.Float32s()
	if err != nil || !slices.Equal(got, []float32{1, 2, 3, 4}) {
		t.Fatalf("a = %v, %v", got, err)
	}
	if _, ok := f.Get("b"); ok {
		t.Error("found a tensor that isn't there")
	}
	part := make([]float32, 2)
	if err := a.Floats(part, 1); err != nil || !slices.Equal(part, []float32{2, 3}) {
		t.Errorf("a[1:3] = %v, %v", part, err)
	}
	if err := a.Floats(part, 3); err == nil {
		t.Error("read past the end")
	}
	if err := a.Read(make([]byte, 4), 13); err == nil {
		t.Error("read bytes past the end")
	}
}

func TestWriteAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.safetensors")
	nan := float32(math.NaN())
	in := []Tensor{
		NewF16("half", []int{3}, []float32{1, -2.5, 65504}),
		NewF32("unet.é/🦀", []int{1, 2}, []float32{nan, float32(math.Inf(-1))}),
		NewI64("ids", []int{2, 1}, []int64{-3, 1 << 40}),
		NewF32("scalar", nil, []float32{7}),
		NewF32("empty", []int{0, 4}, nil),
	}
	if err := Write(path, in, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := []string{"empty", "half", "ids", "scalar", "unet.é/🦀"}; !slices.Equal(f.Names(), want) {
		t.Errorf("names %q", f.Names())
	}
	if f.Metadata()["format"] != "pt" {
		t.Errorf("metadata %v", f.Metadata())
	}
	for _, want := range in {
		got, _ := f.Get(want.Name)
		if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s: got %+v", want.Name, got)
		}
	}
	ids, _ := f.Get("ids")
	if v, err := ids.Int64s(); err != nil || !slices.Equal(v, []int64{-3, 1 << 40}) {
		t.Errorf("ids = %v, %v", v, err)
	}
	half, _ := f.Get("half")
	if v, err := half.Float32s(); err != nil || !slices.Equal(v, []float32{1, -2.5, 65504}) {
		t.Errorf("half = %v, %v", v, err)
	}
	if _, err := half.Int64s(); err == nil {
		t.Error("halves read as integers")
	}
	left, _ := os.ReadDir(filepath.Dir(path))
	if len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.safetensors")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	a := NewF32("a", []int{1}, []float32{1})
	bad := a
	bad.Shape = []int{2}
	for name, list := range map[string][]Tensor{"twice": {a, a}, "shape": {bad}, "reserved": {{Name: "__metadata__", DType: F32, Shape: []int{0}}}, "utf8": {NewF32("\xff", []int{0}, nil)}} {
		if err := Write(path, list, nil); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Write(filepath.Join(dir, "no", "such", "x"), []Tensor{a}, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "folder does not exist") {
		t.Errorf("missing folder: %v", err)
	}
	if now, _ := os.ReadFile(path); string(now) != "before" {
		t.Error("a refused write touched the old file")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestDiskFullMessage(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	defer full.Close()
	header, order, err := layout([]Tensor{NewF32("a", []int{1}, []float32{1})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = writeError("x.safetensors", encode(full, header, order))
	if want := "checkpoint: x.safetensors: it was not saved, because the disk is full; free some space or choose another folder"; err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestDecodesEveryType(t *testing.T) {
	for _, c := range []struct {
		d    DType
		data []byte
		want float32
	}{
		{Bool, []byte{1}, 1}, {U8, []byte{200}, 200}, {I8, []byte{0xff}, -1},
		{U16, []byte{0xff, 0xff}, 65535}, {I16, []byte{0xfe, 0xff}, -2}, {BF16, []byte{0x80, 0x3f}, 1}, {F16, []byte{0, 0xc0}, -2},
		{U32, []byte{0, 0, 0, 0x80}, 1 << 31}, {I32, []byte{0xff, 0xff, 0xff, 0xff}, -1}, {F32, []byte{0, 0, 0x40, 0x40}, 3},
		{U64, []byte{0, 0, 0, 0, 0, 0, 0, 0x80}, 1 << 63}, {I64, []byte{0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, -3},
		{F64, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, 1.5}, {F8E5M2, []byte{0xbe}, -1.5}, {F8E4M3, []byte{0xbc}, -1.5}, {F8E4M3, []byte{0x7e}, 448}, {F8E4M3, []byte{1}, 0x1p-9},
	} {
		got, err := Tensor{DType: c.d, Shape: []int{1}, Data: c.data}.Float32s()
		if err != nil || got[0] != c.want {
			t.Errorf("%s %x = %v, %v; want %v", c.d, c.data, got, err, c.want)
		}
	}
}

func TestHalfLoss(t *testing.T) {
	tensor := func(values ...float32) Tensor {
		var data []byte
		for _, v := range values {
			data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(v)>>16))
		}
		return Tensor{DType: BF16, Shape: []int{len(values)}, Data: data}
	}
	for _, c := range []struct {
		t    Tensor
		want float64
	}{
		{tensor(1, -0.0203857421875, 65280, 0x1.fep-17, -0x1.fep-17, 0), 0},
		{tensor(3, 4, 0x1.02p-18), 0x1p-25 / 5},
		{tensor(1, 65536), math.Inf(1)},
		{tensor(1, float32(math.NaN())), math.Inf(1)},
	} {
		got, err := c.t.HalfLoss()
		if err != nil || got != c.want && math.Abs(got-c.want) > 1e-3*c.want {
			t.Errorf("%v: %g, %v; want %g", c.t.Data, got, err, c.want)
		}
	}
	if _, err := NewF32("a", []int{1}, []float32{1}).HalfLoss(); err == nil {
		t.Error("F32 has a loss")
	}
}

// TestSameFromDiskAndMemory opens one sharded folder both ways.
func TestSameFromDiskAndMemory(t *testing.T) {
	dir := t.TempDir()
	for name, tensor := range map[string]Tensor{"s1.safetensors": NewF32("a", []int{1}, []float32{1}), "s2.safetensors": NewF32("b", []int{1}, []float32{2})} {
		if err := Write(filepath.Join(dir, name), []Tensor{tensor}, nil); err != nil {
			t.Fatal(err)
		}
	}
	index := `{"metadata": {"total_size": 8, "deep": [[{}]]}, "weight_map": {"b": "s2.safetensors", "a": "s1.safetensors"}}`
	os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(index), 0o644)
	memory := fstest.MapFS{}
	for _, n := range []string{"s1.safetensors", "s2.safetensors", "model.safetensors.index.json"} {
		data, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		memory["text_encoder/"+n] = &fstest.MapFile{Data: data}
	}
	disk, err := OpenComponent(os.DirFS(dir), ".")
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	embedded, err := OpenComponent(memory, "text_encoder")
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []Tensors{disk, embedded} {
		b, ok := set.Get("b")
		v, err := b.Float32s()
		if !ok || err != nil || v[0] != 2 || !slices.Equal(set.Names(), []string{"a", "b"}) {
			t.Errorf("b = %v %v %v, names %v", v, ok, err, set.Names())
		}
	}
	memory["text_encoder/s2.safetensors"] = memory["text_encoder/s1.safetensors"]
	var format *FormatError
	if _, err := OpenComponent(memory, "text_encoder"); !errors.As(err, &format) || !strings.Contains(err.Error(), `tensor "b" is not in its shard "s2.safetensors"`) {
		t.Errorf("key not in shard: %v", err)
	}
	delete(memory, "text_encoder/s2.safetensors")
	if _, err := OpenComponent(memory, "text_encoder"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "s2.safetensors") {
		t.Errorf("missing shard: %v", err)
	}
	if _, err := OpenComponent(memory, "unet"); err == nil {
		t.Error("opened a component that isn't there")
	}
}

// TestComponentFile finds the weights of folders of every year.
func TestComponentFile(t *testing.T) {
	for _, c := range []struct{ files, want string }{
		{"config.json diffusion_pytorch_model.safetensors diffusion_pytorch_model.bin diffusion_pytorch_model.fp16.safetensors diffusion_pytorch_model.non_ema.safetensors", "diffusion_pytorch_model.safetensors"},
		{"diffusion_pytorch_model.fp16.bin diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.fp16.safetensors"},
		{"diffusion_pytorch_model.non_ema.safetensors diffusion_pytorch_model.bin", "diffusion_pytorch_model.non_ema.safetensors"},
		{"diffusion_pytorch_model.bin diffusion_flax_model.msgpack", "diffusion_pytorch_model.bin"},
		{"pytorch_model.bin flax_model.msgpack", "pytorch_model.bin"},
		{"pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"},
		{"model.safetensors.index.fp16.json model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json"},
		{"diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json"},
		{"diffusion_pytorch_model.turbo.safetensors openvino_model.bin", "diffusion_pytorch_model.turbo.safetensors"},
		{"diffusion_pytorch_model.gguf config.json", "diffusion_pytorch_model.gguf"},
		{"config.json model.onnx", ""},
	} {
		folder := fstest.MapFS{}
		for _, name := range strings.Fields(c.files) {
			folder["unet/"+name] = &fstest.MapFile{}
		}
		got, err := ComponentFile(folder, "unet")
		if c.want == "" && err == nil || c.want != "" && got != "unet/"+c.want {
			t.Errorf("%s: %q, %v", c.files, got, err)
		}
	}
}

// TestShardsOfPickles opens an index over pickles and lists its files.
func TestShardsOfPickles(t *testing.T) {
	zoo, err := os.ReadFile("testdata/torch/zoo.legacy.pth")
	if err != nil {
		t.Fatal(err)
	}
	index := `{"weight_map": {"i8": "pytorch_model-00001-of-00001.bin", "f16": "pytorch_model-00001-of-00001.bin"}}`
	folder := fstest.MapFS{"m/pytorch_model.bin.index.json": {Data: []byte(index)}, "m/pytorch_model-00001-of-00001.bin": {Data: zoo}}
	ts, err := OpenComponent(folder, "m")
	if err != nil {
		t.Fatal(err)
	}
	if x, ok := ts.Get("f16"); !ok || x.DType != F16 || !slices.Equal(ts.Names(), []string{"f16", "i8"}) {
		t.Errorf("f16 %+v, names %v", x, ts.Names())
	}
	if files, err := Files(folder, "m/pytorch_model.bin.index.json"); err != nil || !slices.Equal(files, []string{"m/pytorch_model-00001-of-00001.bin"}) {
		t.Errorf("files %v, %v", files, err)
	}
	if files, err := Files(folder, "m/pytorch_model-00001-of-00001.bin"); err != nil || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
}

// TestFileCutShortWhileOpen checks that reading a mapping whose file shrank is an error, not a crash.
func TestFileCutShortWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let a mapped file shrink")
	}
	path := filepath.Join(t.TempDir(), "big.safetensors")
	if err := Write(path, []Tensor{NewF32("a", []int{1 << 16}, make([]float32, 1<<16))}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	a, _ := f.Get("a")
	if _, err := a.Float32s(); err == nil || !strings.Contains(err.Error(), "big.safetensors changed") {
		t.Errorf("Float32s: %v", err)
	}
	if err := a.Read(make([]byte, len(a.Data)), 0); err == nil {
		t.Error("Read succeeded")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Float32s(); err == nil {
		t.Error("read after Close succeeded")
	}
}

func TestSaysWhatItIsInstead(t *testing.T) {
	for data, want := range map[string]string{
		"<!DOCTYPE html><html></html>":                  "web page",
		"version https://git-lfs.github.com/spec/v1\no": "Git LFS",
		"PK\x03\x04 and the rest of it":                 "damaged or cut short",
		"\x80\x02}.":                                    "not a PyTorch checkpoint",
		"GGUF\x03\x00\x00\x00":                          "cut short",
	} {
		if _, err := Parse([]byte(data), "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", data, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/st/*")
	more, _ := filepath.Glob("testdata/torch/*.pth")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range append(files, more...) {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		file, err := Parse(data, "fuzz")
		runtime.ReadMemStats(&after)
		// An operation of a pickle and a name in a header take a byte or a few, and become an object or an entry.
		if grew := after.TotalAlloc - before.TotalAlloc; grew > uint64(400*len(data)+4<<20) {
			t.Fatalf("%d bytes were allocated for a file of %d", grew, len(data))
		}
		if err != nil {
			return
		}
		total := 0
		for _, name := range file.Names() {
			tensor, _ := file.Get(name)
			total += len(tensor.Data)
		}
		if total > len(data) && data[0] == '{' { // those of other formats may share their bytes
			t.Fatalf("%d bytes of tensors in %d", total, len(data))
		}
		checkReadable(t, file, len(data))
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata": {"total_size": 16}, "weight_map": {"a": "s.safetensors"}}`))
	f.Add([]byte(`{"weight_map": {"a": "../../etc/passwd"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		shards, err := parseIndex(data)
		if err != nil {
			return
		}
		for _, s := range shards {
			if filepath.Base(s) != s || !filepath.IsLocal(s) {
				t.Fatalf("shard %q leaves the folder", s)
			}
		}
	})
}
