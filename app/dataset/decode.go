package dataset

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"strings"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/webp"
)

// headerBytes is how far into a JPEG file the orientation is looked for.
const headerBytes = 256 << 10

// readHeader fills in the picture's format and upright size, or the reason why it cannot be used.
func (it *Item) readHeader(o Options) {
	if it.file.bomb != "" || it.file.size > o.MaxFileBytes {
		_, err := it.file.read(o.MaxFileBytes)
		it.problem = it.fail(err)
		return
	}
	r, err := it.file.open()
	if err != nil {
		it.problem = it.fail(err)
		return
	}
	defer r.Close()
	var head bytes.Buffer
	stream := bufio.NewReader(io.LimitReader(r, it.file.size))
	c, format, err := image.DecodeConfig(io.TeeReader(stream, &limited{&head, headerBytes}))
	if err != nil {
		it.problem = it.decodeError(err)
		return
	}
	if format == "jpeg" {
		it.turn = orientation(head.Bytes())
	}
	it.Format, it.Width, it.Height = format, c.Width, c.Height
	if it.turn >= 5 {
		it.Width, it.Height = c.Height, c.Width
	}
	it.problem = it.checkSize(c, o)
}

// limited keeps the first bytes of what is written to it.
type limited struct {
	to   *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.to.Write(p[:n])
	l.left -= n
	return len(p), nil
}

// checkSize refuses, before any pixel is allocated, what would take too much memory, and what claims more pixels than its file
// can hold.
func (it *Item) checkSize(c image.Config, o Options) *Finding {
	w, h := int64(c.Width), int64(c.Height)
	switch {
	case w <= 0 || h <= 0:
		return &Finding{File: it.Name, Kind: Broken, Skipped: true, What: fmt.Sprintf("the header says %d × %d pixels", w, h), Do: "save the picture again"}
	case w > o.MaxPixels || h > o.MaxPixels || w*h > o.MaxPixels:
		return &Finding{File: it.Name, Kind: TooLarge, Skipped: true, What: fmt.Sprintf("the header says %d × %d pixels, and at most %.4g million are decoded", w, h, float64(o.MaxPixels)/1e6), Do: "make the picture smaller"}
	case w*h > it.file.size*pixelsPerByte(it.Format):
		return &Finding{File: it.Name, Kind: Truncated, Skipped: true, What: fmt.Sprintf("%d bytes cannot hold the %d × %d pixels that the header says", it.file.size, w, h), Do: "copy or save the picture again"}
	}
	return nil
}

// pixelsPerByte is the most pixels that a byte of a file can stand for.
func pixelsPerByte(format string) int64 {
	switch format {
	case "png": // one bit a pixel, DEFLATE at its best
		return 8 * deflateMost
	case "gif": // a code of 12 bits for at most 4096 pixels
		return 4096
	case "jpeg": // a bit a block for the mean alone, and runs of empty blocks
		return 1024
	case "bmp": // eight pixels where they are bits
		return 8
	}
	return 1 << 40 // WebP spends nothing on a flat picture; MaxPixels bounds it
}

// decode reads the pixels of the file in data: upright, premultiplied, 8 bits. The error is a *Finding.
func (it *Item) decode(data []byte, o Options) (m *image.RGBA, err error) {
	defer func() {
		if r := recover(); r != nil { // a decoder that trips over a hostile file must not take the studio along
			m, err = nil, &Finding{File: it.Name, Kind: Broken, Skipped: true, What: "the picture cannot be decoded", Do: "save it again, or remove it"}
		}
	}()
	c, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, it.decodeError(err)
	}
	if format != it.Format || it.turn >= 5 && (c.Height != it.Width || c.Width != it.Height) || it.turn < 5 && (c.Width != it.Width || c.Height != it.Height) {
		return nil, &Finding{File: it.Name, Kind: Broken, Skipped: true, What: "the file has changed since the set was opened", Do: "open the set again"}
	}
	if f := it.checkSize(c, o); f != nil {
		return nil, f
	}
	var at image.Point
	if format == "webp" {
		if int64(binary.LittleEndian.Uint32(data[4:]))+8 > int64(len(data))+1 { // a last byte of padding is often left out
			return nil, it.decodeError(io.ErrUnexpectedEOF)
		}
		if still, where, ok := firstFrame(data); ok {
			data, at = still, where
			f, _, err := image.DecodeConfig(bytes.NewReader(data))
			if err != nil {
				return nil, it.decodeError(err)
			}
			if !image.Rect(0, 0, f.Width, f.Height).Add(at).In(image.Rect(0, 0, c.Width, c.Height)) {
				return nil, &Finding{File: it.Name, Kind: Broken, Skipped: true, What: "the first frame does not lie within the picture", Do: "save it again as a still picture"}
			}
		}
	}
	src, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, it.decodeError(err)
	}
	if format == "gif" {
		at = src.Bounds().Min
	}
	return upright(premultiplied(src, at, c.Width, c.Height), it.turn), nil
}

// premultiplied draws the picture on an empty canvas; the first frame of an animation may cover a part of it only.
func premultiplied(src image.Image, at image.Point, w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	b := src.Bounds()
	draw.Draw(m, b.Sub(b.Min).Add(at), src, b.Min, draw.Src)
	return m
}

// decodeError says in plain words why a decoder gave up.
func (it *Item) decodeError(err error) *Finding {
	text := err.Error()
	switch {
	case errors.Is(err, image.ErrFormat):
		if it.file.size == 0 {
			return &Finding{File: it.Name, Kind: Broken, Skipped: true, What: "the file is empty", Do: "copy it again, or remove it"}
		}
		return &Finding{File: it.Name, Kind: Broken, Skipped: true, What: "this is no png, jpeg, webp, gif or bmp picture, whatever its name says", Do: "save it again, or remove it"}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), strings.Contains(text, "unexpected EOF"), strings.Contains(text, "short"), strings.Contains(text, "not enough"), strings.Contains(text, "too short"):
		return &Finding{File: it.Name, Kind: Truncated, Skipped: true, What: "the picture ends too early", Do: "copy or download it again"}
	case strings.Contains(text, "unsupported"), strings.Contains(text, "invalid format") && it.Format == "":
		return &Finding{File: it.Name, Kind: Unsupported, Skipped: true, What: fmt.Sprintf("this variant of the format is not read (%v)", err), Do: "save the picture as a plain PNG"}
	}
	return &Finding{File: it.Name, Kind: Broken, Skipped: true, What: fmt.Sprintf("the picture cannot be decoded (%v)", err), Do: "save it again, or remove it"}
}

// orientation reads the EXIF orientation of a JPEG file, 1 to 8, from its first bytes; 1 where it says none.
func orientation(data []byte) int {
	if len(data) < 4 || data[0] != 0xff || data[1] != 0xd8 {
		return 1
	}
	for p := 2; p+4 <= len(data) && data[p] == 0xff; {
		marker, n := data[p+1], int(binary.BigEndian.Uint16(data[p+2:]))
		if marker == 0xda || n < 2 { // start of scan: no more headers
			return 1
		}
		end := min(p+2+n, len(data))
		if body := data[p+4 : max(end, p+4)]; marker == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")) {
			return exifOrientation(body[6:])
		}
		p += 2 + n
	}
	return 1
}

// exifOrientation finds tag 0x0112 in the first directory of a TIFF block.
func exifOrientation(t []byte) int {
	if len(t) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if t[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(t[4:]))
	if at+2 > int64(len(t)) {
		return 1
	}
	for i := range int64(order.Uint16(t[at:])) {
		e := at + 2 + 12*i
		if e+12 > int64(len(t)) {
			return 1
		}
		if order.Uint16(t[e:]) == 0x0112 {
			if v := int(order.Uint16(t[e+8:])); v >= 1 && v <= 8 {
				return v
			}
			return 1
		}
	}
	return 1
}

// upright turns and mirrors a picture as its EXIF orientation says it must be shown.
func upright(m *image.RGBA, turn int) *image.RGBA {
	if turn <= 1 {
		return m
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	ow, oh := w, h
	if turn >= 5 {
		ow, oh = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, ow, oh))
	for y := range oh {
		for x := range ow {
			sx, sy := x, y
			switch turn {
			case 2:
				sx = w - 1 - x
			case 3:
				sx, sy = w-1-x, h-1-y
			case 4:
				sy = h - 1 - y
			case 5:
				sx, sy = y, x
			case 6:
				sx, sy = y, h-1-x
			case 7:
				sx, sy = w-1-y, h-1-x
			case 8:
				sx, sy = w-1-y, x
			}
			copy(out.Pix[out.PixOffset(x, y):][:4], m.Pix[m.PixOffset(sx, sy):][:4])
		}
	}
	return out
}
