package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// inflateRoom is how much compressed members may grow: to this many times the file's size, in all.
const inflateRoom = 4

// parseZip reads what torch.save has written since version 1.6: an uncompressed zip archive with a folder of any name that
// holds data.pkl, the object; data/KEY, the storages; and byteorder, "little" or "big", "little" where it is missing.
func (f *File) parseZip(data []byte) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("it is a PyTorch or zip archive whose directory is damaged or cut short")
	}
	room := inflateRoom * len(data)
	members := map[string]*zip.File{}
	root, found := "", false
	for _, m := range z.File {
		members[m.Name] = m
		dir, base := path.Split(m.Name)
		if base == "data.pkl" && (!found || len(dir) < len(root)) {
			root, found = dir, true
		}
	}
	if !found {
		return fmt.Errorf("it is a zip archive without data.pkl, so nothing that PyTorch saved")
	}
	u := &unpickler{storages: map[string]*storage{}}
	if m := members[root+"byteorder"]; m != nil {
		order, err := content(m, data, &room)
		if err != nil {
			return err
		}
		u.swap = strings.TrimSpace(string(order)) == "big"
	}
	u.locate = func(s *storage) error {
		m := members[root+"data/"+s.key]
		if m == nil {
			return fmt.Errorf("the archive has no member %s, which a tensor needs", quote(root+"data/"+s.key))
		}
		if s.data, err = content(m, data, &room); err != nil {
			return err
		}
		if size := s.dtype.Size(); size > 0 && s.elements > len(s.data)/size {
			return fmt.Errorf("member %s has %d bytes, and its storage needs %d elements of %s", quote(m.Name), len(s.data), s.elements, s.dtype)
		}
		return nil
	}
	program, err := content(members[root+"data.pkl"], data, &room)
	if err != nil {
		return err
	}
	object, _, err := u.machine().run(program)
	if err != nil {
		return err
	}
	return f.adopt(object, u.swap, len(data))
}

// content is a member's bytes: where they lie, if they are not compressed.
func content(m *zip.File, data []byte, room *int) ([]byte, error) {
	begin, err := m.DataOffset()
	if err != nil || m.Flags&1 != 0 {
		return nil, fmt.Errorf("member %s is damaged or encrypted", quote(m.Name))
	}
	packed := m.CompressedSize64
	if begin < 0 || begin > int64(len(data)) || packed > uint64(int64(len(data))-begin) {
		return nil, fmt.Errorf("member %s reaches beyond the end of the file", quote(m.Name))
	}
	if m.Method == zip.Store {
		if packed != m.UncompressedSize64 {
			return nil, fmt.Errorf("member %s has two sizes", quote(m.Name))
		}
		return data[begin : begin+int64(packed) : begin+int64(packed)], nil
	}
	if m.UncompressedSize64 > uint64(*room) {
		return nil, fmt.Errorf("member %s claims to grow to %d bytes, too many for a file of %d", quote(m.Name), m.UncompressedSize64, len(data))
	}
	*room -= int(m.UncompressedSize64)
	r, err := m.Open()
	if err != nil {
		return nil, fmt.Errorf("member %s is compressed in a way that is not read", quote(m.Name))
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(r, int64(m.UncompressedSize64)+1)); err != nil || b.Len() != int(m.UncompressedSize64) {
		return nil, fmt.Errorf("member %s does not unpack", quote(m.Name))
	}
	return b.Bytes(), nil
}

// streamMagic begins the stream that torch.save wrote before version 1.6: 0x1950a86a20f9469cfc6c, in the first protocols as text.
var streamMagic = long{0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}

const streamMagicText = "119547037146038801333356L"

// parseStream reads that stream: pickles of the magic number, the protocol's version, facts about the machine, the object and
// the keys of its storages; then the storages in that order, each a count of elements and the elements, little-endian whatever
// machine wrote them.
func (f *File) parseStream(data []byte) error {
	u := &unpickler{storages: map[string]*storage{}}
	rest := data
	next := func() (any, error) {
		v, used, err := u.machine().run(rest)
		rest = rest[used:]
		return v, err
	}
	magic, err := next()
	if err != nil {
		return err
	}
	if m, ok := magic.(long); !ok || !bytes.Equal(m, streamMagic) && string(m) != streamMagicText {
		if holdsTensors(magic) {
			return errors.New("it is a pickle without storages, not something that torch.save wrote")
		}
		return fmt.Errorf("it is a Python pickle, but not a PyTorch checkpoint")
	}
	for range 2 {
		if _, err := next(); err != nil {
			return err
		}
	}
	object, err := next()
	if err != nil {
		return err
	}
	keys, err := next()
	if err != nil {
		return err
	}
	if err := u.storagesOf(keys, rest); err != nil {
		return err
	}
	return f.adopt(object, false, len(data))
}

// storagesOf finds the storages in the bytes that follow their keys.
func (u *unpickler) storagesOf(keys any, rest []byte) error {
	l, ok := keys.(*list)
	if !ok {
		return fmt.Errorf("its list of storages is missing")
	}
	for _, k := range l.items {
		key, ok := k.(string)
		s := u.storages[key]
		if !ok || s == nil {
			return fmt.Errorf("it has a storage that no tensor needs")
		}
		size := s.dtype.Size()
		if size == 0 {
			return fmt.Errorf("it has a storage of type %s, which is not read", quote(s.class))
		}
		if len(rest) < 8 {
			return fmt.Errorf("it is cut short before storage %s", quote(key))
		}
		n := binary.LittleEndian.Uint64(rest)
		rest = rest[8:]
		if n > uint64(len(rest)/size) {
			return fmt.Errorf("it is cut short: storage %s has %d elements of %s, and %d bytes follow", quote(key), n, s.dtype, len(rest))
		}
		if n < uint64(s.elements) {
			return fmt.Errorf("storage %s has %d elements where its tensors need %d", quote(key), n, s.elements)
		}
		s.data, rest = rest[:int(n)*size], rest[int(n)*size:]
	}
	for key, s := range u.storages {
		if s.data == nil {
			return fmt.Errorf("storage %s is missing", quote(key))
		}
	}
	return nil
}
