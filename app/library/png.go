package library

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"atelier/app/disk"
)

const (
	parametersKey = "parameters"
	xmpKey        = "XML:com.adobe.xmp"
	// longestText bounds what is read of one text chunk, and what a compressed one may unpack to.
	longestText = 4 << 20
)

var pngSignature = []byte("\x89PNG\r\n\x1a\n")

// The IPTC's words for a picture that a trained model made, and for one that it made a part of or changed.
const (
	madeByModel   = "trainedAlgorithmicMedia"
	editedByModel = "compositeWithTrainedAlgorithmicMedia"
)

// provenance says, in the IPTC's words, how the picture was made.
const provenance = `<?xpacket begin="` + "\ufeff" + `" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/%s</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>%s</xmp:CreatorTool>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>`

// Encode gives the picture as a PNG file with straight alpha, its parameters and its provenance.
func Encode(img *image.NRGBA, meta Meta) ([]byte, error) {
	var plain bytes.Buffer
	if err := png.Encode(&plain, img); err != nil {
		return nil, fmt.Errorf("library: could not encode the picture as PNG: %w", err)
	}
	header := len(pngSignature) + 12 + 13 // IHDR is always first, 13 bytes long
	var out bytes.Buffer
	out.Write(plain.Bytes()[:header])
	out.Write(textChunk(parametersKey, meta.String()))
	source := madeByModel
	if meta.Edited {
		source = editedByModel
	}
	out.Write(internationalChunk(xmpKey, fmt.Sprintf(provenance, source, escapeXML(meta.Version))))
	out.Write(plain.Bytes()[header:])
	return out.Bytes(), nil
}

// textChunk is a tEXt chunk where the text fits Latin-1, which is all that tEXt may hold, and an iTXt chunk otherwise.
func textChunk(key, text string) []byte {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", " ")
	latin := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return internationalChunk(key, text)
		}
		latin = append(latin, byte(r))
	}
	return chunk("tEXt", append(append([]byte(key), 0), latin...))
}

// internationalChunk is an uncompressed iTXt chunk without language.
func internationalChunk(key, text string) []byte {
	data := append([]byte(key), 0, 0, 0, 0, 0) // end of key, not compressed, method 0, no language, no translated key
	return chunk("iTXt", append(data, text...))
}

func chunk(kind string, data []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	out = append(append(out, kind...), data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

func escapeXML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// ErrNoParameters says that a PNG file tells nothing about how it was made.
var ErrNoParameters = errors.New("the file has no parameters chunk: it was not made by a program that writes one, or it was edited since")

// ReadParameters reads how a PNG file was made, from its `parameters` chunk.
func ReadParameters(path string) (Parameters, error) {
	info, err := os.Stat(path) // opening a pipe would wait for its other end
	if err != nil {
		return Parameters{}, fmt.Errorf("library: could not open %s: %w", path, disk.Plain(err))
	}
	if !info.Mode().IsRegular() {
		return Parameters{}, fmt.Errorf("library: %s is not a picture file; choose another", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return Parameters{}, fmt.Errorf("library: could not open %s: %w", path, disk.Plain(err))
	}
	defer f.Close()
	p, err := ParametersOf(f)
	if err != nil {
		return Parameters{}, fmt.Errorf("library: %s: %w", path, err)
	}
	return p, nil
}

// ParametersOf is ReadParameters for a PNG file that comes as a stream.
func ParametersOf(r io.Reader) (Parameters, error) {
	texts, err := readTexts(r)
	if err != nil {
		return Parameters{}, err
	}
	text, ok := texts[parametersKey]
	if !ok {
		return Parameters{}, ErrNoParameters
	}
	return Parse(text), nil
}

// readTexts collects the text chunks of a PNG file by key. It allocates no more than the file holds plus longestText.
func readTexts(r io.Reader) (map[string]string, error) {
	signature := make([]byte, len(pngSignature))
	if _, err := io.ReadFull(r, signature); err != nil || !bytes.Equal(signature, pngSignature) {
		return nil, errors.New("this is not a PNG file")
	}
	texts := map[string]string{}
	var head [8]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return texts, nil // an end without IEND: what was found still holds
		}
		length, kind := int64(binary.BigEndian.Uint32(head[:4])), string(head[4:])
		if kind == "IEND" {
			return texts, nil
		}
		if (kind == "tEXt" || kind == "iTXt" || kind == "zTXt") && length <= longestText {
			data, err := io.ReadAll(io.LimitReader(r, length))
			if err != nil || int64(len(data)) < length {
				return nil, errors.New("the file is cut off in the middle of its description")
			}
			if key, text, ok := decodeText(kind, data); ok {
				texts[key] = text
			}
			length = 0
		}
		if _, err := io.CopyN(io.Discard, r, length+4); err != nil {
			return texts, nil
		}
	}
}

func decodeText(kind string, data []byte) (key, text string, ok bool) {
	name, rest, found := bytes.Cut(data, []byte{0})
	if !found {
		return "", "", false
	}
	switch kind {
	case "tEXt":
		return string(name), fromLatin1(rest), true
	case "zTXt":
		if len(rest) < 1 || rest[0] != 0 {
			return "", "", false
		}
		unpacked, err := inflate(rest[1:])
		return string(name), fromLatin1(unpacked), err == nil
	}
	if len(rest) < 2 {
		return "", "", false
	}
	packed := rest[0] == 1
	_, rest, foundLanguage := bytes.Cut(rest[2:], []byte{0})
	_, rest, foundTranslation := bytes.Cut(rest, []byte{0})
	if !foundLanguage || !foundTranslation {
		return "", "", false
	}
	if packed {
		unpacked, err := inflate(rest)
		if err != nil {
			return "", "", false
		}
		rest = unpacked
	}
	return string(name), string(rest), utf8.Valid(rest)
}

func inflate(data []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	out, err := io.ReadAll(io.LimitReader(z, longestText+1))
	if err == nil && len(out) > longestText {
		err = errors.New("the text is too long")
	}
	return out, err
}

func fromLatin1(data []byte) string {
	runes := make([]rune, len(data))
	for i, b := range data {
		runes[i] = rune(b)
	}
	return string(runes)
}
