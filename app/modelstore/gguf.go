package modelstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// ggufHead is what the list of models says of a GGUF file of any network, also of language models, whose element types and arrays
// package checkpoint has no use for (ggml's docs/gguf.md, versions 2 and 3).
type ggufHead struct {
	values map[string]string // texts alone
	params int64
	dtype  string
}

// ggmlTypes are the names of ggml's element types by their number.
var ggmlTypes = map[uint32]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K",
	14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
	24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

// ggufSizes are the sizes of values that are neither texts nor arrays, by their type.
var ggufSizes = map[uint32]int64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

const ggufText, ggufList = 8, 9

var errNoGGUF = errors.New("it is no GGUF file of version 2 or 3")

// headReader reads numbers and texts; after a failure it gives zeros and err stays.
type headReader struct {
	r    *bufio.Reader
	left int64 // bytes of the file that have not been read
	err  error
}

func (h *headReader) skip(n int64) {
	if h.err == nil && (n < 0 || n > h.left) {
		h.err = io.ErrUnexpectedEOF
	}
	for n > 0 && h.err == nil {
		d, err := h.r.Discard(int(min(n, 1<<30)))
		n, h.left, h.err = n-int64(d), h.left-int64(d), err
	}
}

func (h *headReader) bytes(n uint64) []byte {
	if h.err == nil && n > uint64(h.left) {
		h.err = io.ErrUnexpectedEOF
	}
	if h.err != nil {
		return make([]byte, min(n, 8))
	}
	b := make([]byte, n)
	_, h.err = io.ReadFull(h.r, b)
	h.left -= int64(n)
	return b
}

func (h *headReader) u32() uint32 { return binary.LittleEndian.Uint32(h.bytes(4)) }
func (h *headReader) u64() uint64 { return binary.LittleEndian.Uint64(h.bytes(8)) }

// text reads a text of a sane length and passes over others.
func (h *headReader) text() string {
	const most = 1 << 20
	n := h.u64()
	if n > most {
		h.skip(int64(min(n, 1<<62)))
		return ""
	}
	return string(h.bytes(n))
}

// value passes over a value that is no text.
func (h *headReader) value(kind uint32, depth int) {
	switch {
	case kind == ggufText:
		h.skip(int64(min(h.u64(), 1<<62)))
	case kind == ggufList && depth < 4:
		inner, n := h.u32(), h.u64()
		if size := ggufSizes[inner]; size > 0 {
			h.skip(int64(min(n, 1<<58)) * size)
			return
		}
		for ; n > 0 && h.err == nil; n-- {
			h.value(inner, depth+1)
		}
	case ggufSizes[kind] > 0:
		h.skip(ggufSizes[kind])
	case h.err == nil:
		h.err = errNoGGUF
	}
}

// readGGUF reads the head of a GGUF file.
func readGGUF(path string) (*ggufHead, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h := &headReader{r: bufio.NewReaderSize(f, 1<<16), left: info.Size()}
	magic, version := string(h.bytes(4)), h.u32()
	tensors, values := h.u64(), h.u64()
	if h.err != nil || magic != "GGUF" || version != 2 && version != 3 {
		return nil, errNoGGUF
	}
	head := &ggufHead{values: map[string]string{}}
	for ; values > 0 && h.err == nil; values-- {
		key, kind := h.text(), h.u32()
		if kind == ggufText {
			head.values[key] = h.text()
		} else {
			h.value(kind, 0)
		}
	}
	count := map[uint32]int64{}
	for ; tensors > 0 && h.err == nil; tensors-- {
		h.text()
		axes := h.u32()
		if axes > 8 {
			return nil, errNoGGUF
		}
		n := int64(1)
		for range axes {
			if d := h.u64(); d < 1<<40 && n < 1<<40 {
				n *= int64(d)
			}
		}
		count[h.u32()] += n
		h.u64()
		head.params += n
	}
	if h.err != nil {
		return nil, fmt.Errorf("it is damaged or cut short (%w)", h.err)
	}
	if len(count) > 0 {
		most := slices.MaxFunc(slices.Sorted(maps.Keys(count)), func(a, b uint32) int {
			switch {
			case count[a] < count[b]:
				return -1
			case count[a] > count[b]:
				return 1
			}
			return 0
		})
		if head.dtype = ggmlTypes[most]; head.dtype == "" {
			head.dtype = fmt.Sprintf("type %d", most)
		}
	}
	return head, nil
}

// imageArchs are the values of general.architecture that stand for networks of pictures and their encoders.
var imageArchs = []string{"", "sd1", "sd2", "sd3", "sdxl", "flux", "flux2", "aura", "hidream", "cosmos", "ltxv", "hyvid", "wan", "lumina2", "qwen_image", "pig", "clip_l", "clip_g", "sd", "diffusion", "controlnet", "upscaler", "vae"}

// language reports whether the file holds a language model, a part of one, or a text encoder of that build.
func (h *ggufHead) language() bool {
	return !slices.Contains(imageArchs, h.values["general.architecture"])
}
