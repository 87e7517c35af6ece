//go:build cgo

package opengl

import (
	"unsafe"

	"atelier/compute"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// buffer is device memory with its texture views, made on first use.
type buffer struct {
	id    uint32
	bytes int64
	views [5]uint32
}

// viewFormats are the texel formats of a view, by viewIndex.
var viewFormats = [5]uint32{gl.R32F, gl.RGBA32F, gl.R16F, gl.RGBA16F, gl.R32UI}

func viewIndex(t compute.DType, width int) int {
	if t.Blocks() {
		return 4 // by words, which the shader decodes
	}
	i := 0
	if width == 4 {
		i = 1
	}
	if t == compute.F16 {
		i += 2
	}
	return i
}

// alloc reserves device memory. The caller has checked that it fits the limit; the driver may still refuse.
func (d *Device) alloc(bytes int64) (*buffer, error) {
	b := &buffer{}
	gl.GenBuffers(1, &b.id)
	if err := d.realloc(b, bytes); err != nil {
		gl.DeleteBuffers(1, &b.id)
		return nil, err
	}
	return b, nil
}

// allocated is what alloc takes for so many bytes.
func allocated(bytes int64) int64 {
	bytes = max(bytes, 16)
	if bytes&(bytes-1) == 0 {
		bytes += 16 // llvmpipe compiles a shader anew where a texture's size is a power of two and was not before
	}
	return bytes
}

// realloc gives b another size; what it held is lost. Where the driver refuses, b holds nothing.
func (d *Device) realloc(b *buffer, bytes int64) error {
	if bytes = allocated(bytes); b.bytes == bytes {
		return nil
	}
	gl.BindBuffer(gl.COPY_WRITE_BUFFER, b.id)
	gl.BufferData(gl.COPY_WRITE_BUFFER, int(bytes), nil, gl.DYNAMIC_COPY)
	err := d.glError("reserving memory")
	if err != nil {
		gl.BufferData(gl.COPY_WRITE_BUFFER, 0, nil, gl.DYNAMIC_COPY)
		bytes = 0
	}
	d.mu.Lock()
	d.used += bytes - b.bytes
	d.peak = max(d.peak, d.used)
	d.mu.Unlock()
	b.bytes = bytes
	return err
}

// free gives b back. Textures and bindings that name it are forgotten.
func (d *Device) free(b *buffer) {
	if b == nil || b.id == 0 {
		return
	}
	for i, v := range b.views {
		if v != 0 {
			d.state.forgetTexture(v)
			gl.DeleteTextures(1, &b.views[i])
		}
	}
	d.state.forgetStorage(b.id)
	gl.DeleteBuffers(1, &b.id)
	b.id = 0
	d.mu.Lock()
	d.used -= b.bytes
	d.mu.Unlock()
}

// view is the buffer texture over the whole of b with elements of type t, width elements a texel.
func (d *Device) view(b *buffer, t compute.DType, width int) uint32 {
	i := viewIndex(t, width)
	if b.views[i] == 0 {
		gl.GenTextures(1, &b.views[i])
		d.state.bindTexture(d.state.spare, b.views[i])
		gl.TexBuffer(gl.TEXTURE_BUFFER, viewFormats[i], b.id)
	}
	return b.views[i]
}

// write copies src to the front of b, in b's storage type.
func (d *Device) write(b *buffer, t compute.DType, src []float32) {
	if len(src) == 0 {
		return
	}
	gl.BindBuffer(gl.COPY_WRITE_BUFFER, b.id)
	if t == compute.F32 {
		gl.BufferSubData(gl.COPY_WRITE_BUFFER, 0, 4*len(src), unsafe.Pointer(&src[0]))
		return
	}
	half := make([]uint16, len(src))
	for i, v := range src {
		half[i] = compute.HalfBits(v)
	}
	gl.BufferSubData(gl.COPY_WRITE_BUFFER, 0, 2*len(half), unsafe.Pointer(&half[0]))
}

// read fills dst from the front of b. It waits for the launches before it.
func (d *Device) read(b *buffer, t compute.DType, dst []float32) {
	if len(dst) == 0 {
		return
	}
	gl.BindBuffer(gl.COPY_READ_BUFFER, b.id)
	if t == compute.F32 {
		gl.GetBufferSubData(gl.COPY_READ_BUFFER, 0, 4*len(dst), unsafe.Pointer(&dst[0]))
		return
	}
	if t.Blocks() {
		blocks := make([]byte, t.Stored(len(dst)))
		gl.GetBufferSubData(gl.COPY_READ_BUFFER, 0, len(blocks), unsafe.Pointer(&blocks[0]))
		t.DecodeStored(dst, blocks, 0)
		return
	}
	half := make([]uint16, len(dst))
	gl.GetBufferSubData(gl.COPY_READ_BUFFER, 0, 2*len(half), unsafe.Pointer(&half[0]))
	for i, h := range half {
		dst[i] = compute.HalfFloat(h)
	}
}

// glState mirrors the context's bindings, so that replays set only what changes.
type glState struct {
	program  uint32
	textures []uint32 // by unit
	storage  []uint32 // by binding
	unit     int      // active texture unit
	spare    int      // unit on which views are made; launches use those below it
}

func newState() glState {
	units := max(integer(gl.MAX_COMPUTE_TEXTURE_IMAGE_UNITS), 2)
	return glState{textures: make([]uint32, units), storage: make([]uint32, max(integer(gl.MAX_COMPUTE_SHADER_STORAGE_BLOCKS), 1)), unit: -1, spare: units - 1}
}

func (s *glState) useProgram(id uint32) {
	if s.program != id {
		gl.UseProgram(id)
		s.program = id
	}
}

func (s *glState) bindTexture(unit int, texture uint32) {
	if s.textures[unit] == texture && texture != 0 && unit != s.spare {
		return
	}
	if s.unit != unit {
		gl.ActiveTexture(gl.TEXTURE0 + uint32(unit))
		s.unit = unit
	}
	gl.BindTexture(gl.TEXTURE_BUFFER, texture)
	s.textures[unit] = texture
}

func (s *glState) bindStorage(binding int, buffer uint32) {
	if s.storage[binding] != buffer {
		gl.BindBufferBase(gl.SHADER_STORAGE_BUFFER, uint32(binding), buffer)
		s.storage[binding] = buffer
	}
}

// forgetTexture drops a name that is about to be deleted: the driver unbinds it and may hand the name out again.
func (s *glState) forgetTexture(texture uint32) {
	for i, t := range s.textures {
		if t == texture {
			s.textures[i] = 0
		}
	}
}

func (s *glState) forgetStorage(buffer uint32) {
	for i, b := range s.storage {
		if b == buffer {
			s.storage[i] = 0
		}
	}
}
