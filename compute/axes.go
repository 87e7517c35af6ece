package compute

import (
	"fmt"
	"strconv"
)

// strided is an iteration over a result, row-major, beside operands that each take their own step along every axis
// (0 where they broadcast). Adjacent axes that all operands cross evenly are merged, so most iterations have one or two.
type strided struct {
	dims  []int
	steps [][]int // steps[operand][axis]
}

// newStrided merges the axes of dims; there is always at least one axis left.
func newStrided(dims Shape, steps ...[]int) strided {
	s := strided{steps: make([][]int, len(steps))}
	for i, d := range dims {
		if d == 1 {
			continue
		}
		last := len(s.dims) - 1
		merge := last >= 0
		for k := range steps {
			merge = merge && s.steps[k][last] == steps[k][i]*d
		}
		if merge {
			s.dims[last] *= d
		} else {
			s.dims = append(s.dims, d)
			last++
		}
		for k := range steps {
			s.steps[k] = append(s.steps[k][:last], steps[k][i])
		}
	}
	if len(s.dims) == 0 {
		s.dims = []int{1}
		for k := range steps {
			s.steps[k] = []int{0}
		}
	}
	return s
}

// inner is the step of operand k along the innermost axis.
func (s strided) inner(k int) int { return s.steps[k][len(s.dims)-1] }

// runs visits the flat results lo ≤ i < hi in stretches along the innermost axis: n results from i, where operand k begins
// at off[k]. off is reused from call to call.
func (s strided) runs(lo, hi int, visit func(i, n int, off []int)) {
	r := len(s.dims)
	pos, off := make([]int, r), make([]int, len(s.steps))
	for rest, a := lo, r-1; a >= 0; a-- {
		pos[a] = rest % s.dims[a]
		rest /= s.dims[a]
		for k := range off {
			off[k] += pos[a] * s.steps[k][a]
		}
	}
	for i := lo; i < hi; {
		n := min(s.dims[r-1]-pos[r-1], hi-i)
		visit(i, n, off)
		i += n
		pos[r-1] += n
		for k := range off {
			off[k] += n * s.steps[k][r-1]
		}
		for a := r - 1; a > 0 && pos[a] == s.dims[a]; a-- {
			pos[a] = 0
			pos[a-1]++
			for k := range off {
				off[k] += s.steps[k][a-1] - s.dims[a]*s.steps[k][a]
			}
		}
	}
}

// pad gives the iteration rank axes, with axes of one in front, as the shaders' fixed loops want.
func (s strided) pad(rank int) strided {
	p := strided{dims: s.dims, steps: append([][]int(nil), s.steps...)}
	for len(p.dims) < rank {
		p.dims = append([]int{1}, p.dims...)
		for k := range p.steps {
			p.steps[k] = append([]int{0}, p.steps[k]...)
		}
	}
	return p
}

// span sees a shape as [outer, s[axis], inner].
func span(s Shape, axis int) (outer, inner int) {
	return s[:axis].Size(), s[axis+1:].Size()
}

// maxAxes is how many axes, after merging, the strided shaders can walk.
const maxAxes = 6

// check refuses iterations that the strided shaders cannot walk.
func (s strided) check() error {
	if len(s.dims) > maxAxes {
		return fmt.Errorf("%v has more than the %d separate axes that shaders walk; reshape to fewer", Shape(s.dims), maxAxes)
	}
	return nil
}

// rank is the define for the number of axes: 1, 2, 3 or maxAxes, so that few programs cover all shapes.
func (s strided) rank() int {
	if len(s.dims) > 3 {
		return maxAxes
	}
	return len(s.dims)
}

// quads reports whether four neighbouring results always come from one texel, or from one element, of operand k.
func (s strided) quads(k, first int) bool {
	last := len(s.dims) - 1
	if s.dims[last]%4 != 0 || first%4 != 0 || s.steps[k][last] > 1 {
		return false
	}
	for _, step := range s.steps[k][:last] {
		if s.steps[k][last] == 1 && step%4 != 0 {
			return false
		}
	}
	return true
}

// uniforms names the extents d0, d1 … from the innermost axis out, and operand k's steps by the k-th prefix.
func (s strided) uniforms(prefixes ...string) []Uniform {
	var u []Uniform
	p := s.pad(s.rank())
	for i := range p.dims {
		a := len(p.dims) - 1 - i
		u = append(u, Int("d"+strconv.Itoa(i), p.dims[a]))
		for k, prefix := range prefixes {
			u = append(u, Int(prefix+strconv.Itoa(i), p.steps[k][a]))
		}
	}
	return u
}

// elementsPerGroup is what one workgroup of include/elementwise.glsl covers: 64 invocations of 4 texels of 4.
const elementsPerGroup = 64 * 4 * 4

// elementwise is a launch of a shader that computes n four elements at a time. quad says that the shader reads and computes
// whole texels; otherwise it fetches single elements.
func elementwise(n *Tensor, lw *Lowering, shader string, quad bool, defines map[string]string, reads []Operand, uniforms ...Uniform) Launch {
	all := map[string]string{}
	for k, v := range defines {
		all[k] = v
	}
	width := 1
	if quad {
		all["QUAD"], width = "1", 4
	}
	for i := range reads {
		if reads[i].Width == 0 {
			reads[i].Width = width
		}
	}
	texels := ceilDiv(n.shape.Size(), 4)
	return Launch{
		Shader:   shader,
		Defines:  all,
		Reads:    reads,
		Writes:   []Operand{Write(n)},
		Uniforms: append(uniforms, Int("texels", texels)),
		Groups:   lw.Grid(ceilDiv(n.shape.Size(), elementsPerGroup)),
	}
}

// stridedCopy is the launch that gathers n from its operand, beginning at element first.
func stridedCopy(n *Tensor, lw *Lowering, first int, s strided) Launch {
	return elementwise(n, lw, "strided", s.quads(0, first), map[string]string{"RANK": strconv.Itoa(s.rank())},
		[]Operand{{Name: "X", T: n.In[0]}}, append(s.uniforms("s"), Int("first", first))...)
}

// stridedLaunch is stridedCopy along the axes of n.
func stridedLaunch(n *Tensor, lw *Lowering, first int, steps []int) Launch {
	return stridedCopy(n, lw, first, newStrided(n.shape, steps))
}
