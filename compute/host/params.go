package host

import (
	"context"
	"fmt"
	"math"
	"unsafe"

	"atelier/compute"
)

// paramKey is a Source in one layout: plain, or packed as the right side [k n] of products, from a matrix that is stored
// [n k] where transposed.
type paramKey struct {
	src        compute.Source
	k, n       int // 0 where plain
	transposed bool
}

// param is a Source decoded once, shared by the plans that read it.
type param struct {
	values []float32
	right  *panels
	bytes  int64
	users  int
}

// paramUse is a parameter as a plan reads it.
type paramUse struct {
	paramKey
	t *compute.Tensor
}

// bytes is the memory that the parameter takes in this layout.
func (u *paramUse) bytes() int64 {
	if u.k == 0 {
		return 4 * int64(u.t.Shape().Size())
	}
	if u.t.DType().Blocks() {
		return u.t.Bytes()
	}
	p := panels{k: u.k, n: u.n}
	return int64(p.size()) * int64(u.t.DType().Bytes())
}

// paramUses lists every parameter of a plan once in each layout that the plan reads.
func paramUses(p *compute.Plan) []paramUse {
	var uses []paramUse
	seen := map[paramKey]bool{}
	use := func(t *compute.Tensor, key paramKey) {
		if root := compute.Root(t); p.Slot(t) < 0 && root.Src != nil {
			if key.src = root.Src; !seen[key] {
				seen[key] = true
				uses = append(uses, paramUse{key, root})
			}
		}
	}
	for i := range p.Steps {
		n := p.Steps[i].Node
		for j, x := range n.In {
			key := paramKey{}
			if j == 1 && !x.IsVariable() { // whose packed copy would keep the values of before
				key, _ = packedKey(n)
			}
			use(x, key)
		}
	}
	for _, o := range p.Outputs {
		use(o.T, paramKey{})
	}
	return uses
}

// packedKey is the layout in which a node reads its second operand where that is the packed right side of a product, but for
// the Source.
func packedKey(n *compute.Tensor) (paramKey, bool) {
	switch at := n.Attr.(type) {
	case *compute.MatMulAttr:
		y, as, bs := n.Shape(), n.In[0].Shape(), n.In[1].Shape()
		m, cols, k := y[:len(y)-1].Size(), y.Last(), as.Last()
		if at.TransA || bs.Size() != cols*k || as.Size() != m*k || y[len(y)-2]*cols*k < smallProduct {
			return paramKey{}, false
		}
		return paramKey{k: k, n: cols, transposed: at.TransB}, true
	case *compute.ConvAttr:
		if n.Op.Name != "conv2d" {
			return paramKey{}, false
		}
		w, y := n.In[1].Shape(), n.Shape()
		taps := w[1] * w[2] * w[3]
		if at.Groups > 1 || y.Size()*taps < smallProduct {
			return paramKey{}, false
		}
		return paramKey{k: taps, n: w[0], transposed: true}, true
	case *compute.ConvTransposeAttr:
		w, y := n.In[1].Shape(), n.Shape()
		taps := w[1] * w[2] * w[3]
		if at.Groups > 1 || y.Size()*taps < smallProduct {
			return paramKey{}, false
		}
		return paramKey{k: taps, n: w[0], transposed: true}, true
	}
	return paramKey{}, false
}

// acquire decodes parameters that are not yet here and counts this user; on failure it gives back what it took. The caller
// holds loading.
func (d *Device) acquire(ctx context.Context, uses []paramUse) error {
	var fresh []*paramUse
	for i := range uses {
		u := &uses[i]
		p := d.params[u.paramKey]
		if p == nil {
			p = &param{bytes: u.bytes()}
			d.params[u.paramKey] = p
			d.hold(p.bytes)
			fresh = append(fresh, u)
		}
		if p.bytes != u.bytes() {
			d.release(uses[:i])
			return fmt.Errorf("host: parameter %q has %d bytes in one plan and %d in another", u.t.Name(), p.bytes, u.bytes())
		}
		p.users++
	}
	errs := make([]error, len(fresh))
	rooms := make(chan *room, d.pool.workers+1)
	d.pool.each(len(fresh), 1, func(lo, hi int) {
		r := &room{}
		select {
		case r = <-rooms:
		default:
		}
		for i := lo; i < hi; i++ {
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = d.params[fresh[i].paramKey].decode(fresh[i], r)
			}
		}
		select {
		case rooms <- r:
		default:
		}
	})
	for _, err := range errs {
		if err != nil {
			d.release(uses)
			return err
		}
	}
	return nil
}

// room is memory for one parameter before it is packed, which the next one takes over: loading a model leaves nothing behind for
// the garbage collector, which would let it pile up.
type room struct {
	values []float32
	half   []uint16
}

func grown[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

// decode reads a parameter in the layout of u.
func (p *param) decode(u *paramUse, r *room) error {
	d, n := u.t.DType(), u.t.Shape().Size()
	if u.k == 0 {
		p.values = make([]float32, n)
		return u.read(p.values)
	}
	matrix := panels{k: u.k, n: u.n, pitch: u.n, transposed: u.transposed, dtype: d}
	if u.transposed {
		matrix.pitch = u.k
	}
	switch {
	case d.Blocks():
		matrix.blocks = make([]byte, u.t.Bytes())
		p.right = &matrix
		return u.readRaw(matrix.blocks)
	case d == compute.F16:
		half := grown(&r.half, n)
		if err := u.readHalf(half, r); err != nil {
			return err
		}
		p.right = matrix.packedHalf(half)
		return nil
	}
	matrix.matrix = grown(&r.values, n)
	if err := u.read(matrix.matrix); err != nil {
		return err
	}
	p.right = &panels{k: u.k, n: u.n, f32: make([]float32, matrix.size())}
	matrix.packAll(p.right.f32)
	return nil
}

// read gives the parameter's values as the device's storage type has them.
func (u *paramUse) read(values []float32) error {
	if err := u.src.Read(values); err != nil {
		return fmt.Errorf("host: parameter %q: %w", u.t.Name(), err)
	}
	if u.t.DType() == compute.F16 {
		roundToHalf(values)
	}
	return nil
}

// readHalf gives the parameter as half floats.
func (u *paramUse) readHalf(half []uint16, r *room) error {
	if _, ok := u.src.(compute.RawSource); ok {
		return u.readRaw(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(half))), 2*len(half))) // this processor is little-endian
	}
	values := grown(&r.values, len(half))
	if err := u.read(values); err != nil {
		return err
	}
	for i, v := range values {
		half[i] = compute.HalfBits(v)
	}
	return nil
}

// readRaw reads what the device keeps, without decoding.
func (u *paramUse) readRaw(raw []byte) error {
	src, ok := u.src.(compute.RawSource)
	if !ok {
		return fmt.Errorf("host: parameter %q is %v, and its source gives no blocks", u.t.Name(), u.t.DType())
	}
	if err := src.ReadRaw(raw); err != nil {
		return fmt.Errorf("host: parameter %q: %w", u.t.Name(), err)
	}
	return nil
}

// roundToHalf gives values the precision of half floats, in which other devices store them.
func roundToHalf(values []float32) {
	for i, v := range values {
		bits := math.Float32bits(v)
		if exponent := bits >> 23 & 0xff; bits&0x1fff == 0 && exponent > 112 && exponent < 143 {
			continue // a half float already
		}
		values[i] = compute.HalfFloat(compute.HalfBits(v))
	}
}

// release gives parameters back; those without users are dropped. The caller holds loading.
func (d *Device) release(uses []paramUse) {
	for _, u := range uses {
		p := d.params[u.paramKey]
		if p == nil {
			continue
		}
		if p.users--; p.users <= 0 {
			d.hold(-p.bytes)
			delete(d.params, u.paramKey)
		}
	}
}
