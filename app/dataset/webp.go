package dataset

import (
	"encoding/binary"
	"image"
)

// firstFrame takes the first frame out of an animated WebP file, as a still WebP file, and says where on the canvas it lies. ok is
// false for a file that is not animated or makes no sense. (WebP container specification: VP8X, ANIM and ANMF chunks.)
func firstFrame(data []byte) (still []byte, at image.Point, ok bool) {
	const animated, alpha = 0x02, 0x10
	first, rest, found := chunk(skip(data, 12))
	if !found || first.id != "VP8X" || len(first.body) < 10 || first.body[0]&animated == 0 {
		return nil, at, false
	}
	for {
		var c riffChunk
		if c, rest, found = chunk(rest); !found {
			return nil, at, false
		}
		if c.id != "ANMF" || len(c.body) < 16 {
			continue
		}
		at = image.Pt(2*int(uint24(c.body)), 2*int(uint24(c.body[3:])))
		frame := c.body[16:]
		body := []byte("WEBP")
		if inner, _, found := chunk(frame); found && inner.id == "ALPH" {
			header := make([]byte, 10)
			header[0] = alpha
			copy(header[4:], c.body[6:12]) // width and height less one
			body = append(append(body, "VP8X\x0a\x00\x00\x00"...), header...)
		}
		body = append(body, frame...)
		still = binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body)))
		return append(still, body...), at, true
	}
}

func skip(data []byte, n int) []byte { return data[min(n, len(data)):] }

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

// riffChunk is a piece of a RIFF file.
type riffChunk struct {
	id   string
	body []byte
}

// chunk cuts the first chunk off; found is false where the data ends within it.
func chunk(data []byte) (c riffChunk, rest []byte, found bool) {
	if len(data) < 8 {
		return c, nil, false
	}
	n := int64(binary.LittleEndian.Uint32(data[4:]))
	if n > int64(len(data)-8) {
		return c, nil, false
	}
	return riffChunk{string(data[:4]), data[8 : 8+n]}, skip(data, int(8+n+n%2)), true
}
