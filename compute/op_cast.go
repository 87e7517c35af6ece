package compute

import "fmt"

// CastAttr is the storage type of the result.
type CastAttr struct{ DType DType }

// Cast stores x as dtype: F16 rounds to the nearest half, ties to even; F32 widens exactly. Every op reads both.
func Cast(x *Tensor, dtype DType) *Tensor {
	if x.err == nil && x.dtype == dtype {
		return x
	}
	t := newNode(opCast, &CastAttr{dtype}, x)
	t.dtype = dtype
	return t
}

var opCast = register(&Op{
	Name: "cast",
	Shape: func(n *Tensor) (Shape, error) {
		if d := n.Attr.(*CastAttr).DType; d != F32 && d != F16 {
			return nil, fmt.Errorf("%d is not a storage type", d)
		}
		return n.In[0].shape, nil
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		copy(out[lo:hi], in[0][lo:hi])
		if n.Attr.(*CastAttr).DType == F16 {
			for i, v := range out[lo:hi] {
				out[lo+i] = HalfFloat(HalfBits(v))
			}
		}
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		defines := map[string]string{}
		if n.Attr.(*CastAttr).DType == F16 {
			defines["HALF"] = "1"
		}
		return []Launch{elementwise(n, lw, "cast", true, defines, []Operand{{Name: "X", T: n.In[0]}})}
	},
})

func init() {
	opCast.VJP = func(n, dy *Tensor) []*Tensor { return []*Tensor{dy} }
}
