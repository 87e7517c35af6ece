package compute

import (
	"fmt"
	"sort"
	"strings"
)

// Limits is what a device can hold and dispatch. The zero value means a device that runs definitions, not shaders.
type Limits struct {
	Shaders       bool   // lower ops to launches
	Groups        [3]int // workgroups per axis, 65,535 on portable hardware
	SharedBytes   int    // shared memory of a workgroup
	Invocations   int    // invocations of a workgroup
	StorageBytes  int64  // one storage-buffer binding
	TextureTexels int64  // texels of one buffer texture
	MemoryBytes   int64  // device memory that plans may use; 0 means unknown
}

// Operand is a buffer that a launch reads or writes: a tensor or scratch space.
type Operand struct {
	Name    string  // the shader's sampler, for a read; a write binds in order
	T       *Tensor // nil for scratch
	Scratch int     // index from Lowering.Scratch plus one; 0 for a tensor
	Width   int     // elements per texel: 1 or 4; only reads use it
}

// Uniform is a named int32 or float32.
type Uniform struct {
	Name  string
	Value any
}

// Form is one way to compute a launch: its own defines and grid. All forms of a launch give the same result within tolerance.
type Form struct {
	Name    string // such as "direct" or "shared"
	Defines map[string]string
	Groups  [3]int
}

// Launch is one shader dispatch as data.
type Launch struct {
	Shader   string // file in package shaders, without ".comp"
	Defines  map[string]string
	Reads    []Operand
	Writes   []Operand
	Uniforms []Uniform
	Groups   [3]int // workgroups; ignored where Forms is set
	Forms    []Form // alternatives that the device chooses among; the first is the default
}

// Key identifies the program of a launch under a form: shader and defines.
func (l *Launch) Key(f *Form) string {
	d := map[string]string{}
	for k, v := range l.Defines {
		d[k] = v
	}
	if f != nil {
		for k, v := range f.Defines {
			d[k] = v
		}
	}
	keys := make([]string, 0, len(d))
	for k := range d {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	b.WriteString(l.Shader)
	for _, k := range keys {
		fmt.Fprintf(&b, " %s=%s", k, d[k])
	}
	return b.String()
}

// Lowering collects what an op's launches need beside its operands and result.
type Lowering struct {
	Limits  Limits
	scratch []int64
}

// Scratch reserves n float32 that live from the op's first launch to its last.
func (lw *Lowering) Scratch(n int) Operand {
	lw.scratch = append(lw.scratch, int64(n+3)/4*16)
	return Operand{Scratch: len(lw.scratch), Width: 4}
}

// Read binds t to the sampler name; width 4 needs the innermost extent to be a multiple of 4.
func Read(name string, t *Tensor, width int) Operand { return Operand{Name: name, T: t, Width: width} }

// ReadScratch binds scratch space to the sampler name.
func ReadScratch(name string, s Operand, width int) Operand {
	s.Name, s.Width = name, width
	return s
}

// Write binds t for writing.
func Write(t *Tensor) Operand { return Operand{T: t} }

// Int and Float are uniforms.
func Int(name string, v int) Uniform { return Uniform{name, int32(v)} }

// Float is a float32 uniform.
func Float(name string, v float32) Uniform { return Uniform{name, v} }

// Grid folds n workgroups of one axis into two where the device's axis limit demands it. Shaders take the flat index from
// group_index of include/grid.glsl, since devices also split launches, and must drop indices beyond the work.
func (lw *Lowering) Grid(n int) [3]int {
	limit := lw.Limits.Groups[0]
	if limit <= 0 {
		limit = 65535
	}
	if n <= limit {
		return [3]int{max(n, 1), 1, 1}
	}
	y := (n + limit - 1) / limit
	return [3]int{(n + y - 1) / y, y, 1}
}

// ceilDiv is the number of size-d pieces that cover n.
func ceilDiv(n, d int) int { return (n + d - 1) / d }
