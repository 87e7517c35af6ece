package host

import (
	"context"
	"fmt"
	"math"

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
	d.pool.each(len(fresh), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = d.params[fresh[i].paramKey].decode(fresh[i])
			}
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

// decode reads a parameter in the layout of u.
func (p *param) decode(u *paramUse) error {
	if d := u.t.DType(); d.Blocks() && u.k > 0 {
		raw, ok := u.src.(compute.RawSource)
		if !ok {
			return fmt.Errorf("host: parameter %q is %v, and its source gives no blocks", u.t.Name(), d)
		}
		blocks := make([]byte, u.t.Bytes())
		if err := raw.ReadRaw(blocks); err != nil {
			return fmt.Errorf("host: parameter %q: %w", u.t.Name(), err)
		}
		p.right = blockPanels(d, blocks, u.k, u.n, u.transposed)
		return nil
	}
	values := make([]float32, u.t.Shape().Size())
	if err := u.src.Read(values); err != nil {
		return fmt.Errorf("host: parameter %q: %w", u.t.Name(), err)
	}
	if u.k == 0 {
		if u.t.DType() == compute.F16 {
			roundToHalf(values)
		}
		p.values = values
		return nil
	}
	matrix := panels{k: u.k, n: u.n, matrix: values, pitch: u.n, transposed: u.transposed}
	if u.transposed {
		matrix.pitch = u.k
	}
	p.right = matrix.packed(u.t.DType())
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
