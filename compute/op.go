package compute

// Op is what a node computes: its shape rule, its definition, its shader dispatches and its gradient. One file per op.
type Op struct {
	Name string

	// Shape gives the result's shape from n.In and n.Attr, or says what does not fit.
	Shape func(n *Tensor) (Shape, error)

	// Units is how many independent pieces Ref's result has; nil means one per element of the result.
	Units func(n *Tensor) int

	// Ref is the definition: plain loops with float64 sums. It computes pieces lo ≤ i < hi of the result into out.
	// in holds the operands in order, as float32 whatever their storage.
	Ref func(n *Tensor, in [][]float32, out []float32, lo, hi int)

	// Lower gives the shader dispatches that compute n on a device with these limits.
	Lower func(n *Tensor, lw *Lowering) []Launch

	// Compose gives n's result from other builders: for devices with shaders where the op has none of its own (Lower is nil), as
	// what a processor does best in one pass and a shader does well enough in several; and for the gradient of an op that has no VJP.
	Compose func(n *Tensor) *Tensor

	// VJP gives, for the gradient dy of the result, the gradient of each operand (nil entries: none);
	// a nil VJP means that the op is not differentiable. Gradients are made of builders, which refer to their ops, so each
	// op's file sets its VJP in init: a package-level initialiser would be circular.
	VJP func(n *Tensor, dy *Tensor) []*Tensor

	// Elementwise says that each element of the result depends on no more than one element of each operand, under broadcasting,
	// so that a device may compute several such nodes in one pass.
	Elementwise bool

	// Updates is how many operands, the first ones, an op overwrites: variables, whose new values are then its only result.
	// Its Ref writes into those operands, and out is empty. nil means none, which is what all ops but optimisers' are.
	Updates func(n *Tensor) int

	// ReadsBlocks says that the second operand may be block-quantised; no other op or operand may.
	ReadsBlocks bool

	// FLOPs counts a multiply-add as two; nil where only memory traffic matters.
	FLOPs func(n *Tensor) float64
}

// composes says that devices with shaders compute op by what it is composed of.
func (op *Op) composes() bool { return op.Lower == nil && op.Compose != nil }

// registry lists every op once, in order of registration, for self-checks and for the test that wants cases for each.
var registry []*Op

// register is called from package-level variable initialisers only, so the list is complete and constant before main.
func register(op *Op) *Op {
	registry = append(registry, op)
	return op
}

// Ops lists every op that computes something.
func Ops() []*Op { return append([]*Op(nil), registry...) }

// UnitsOf is the number of independent pieces of n's definition.
func UnitsOf(n *Tensor) int {
	if n.Op.Units != nil {
		return n.Op.Units(n)
	}
	return n.shape.Size()
}

var (
	opInput = &Op{Name: "input"}
	opParam = &Op{Name: "param"}
	// opReshape is the one view: same elements, another shape. Plans give it its operand's slot and launch nothing.
	opReshape = register(&Op{
		Name:  "reshape",
		Shape: func(n *Tensor) (Shape, error) { return n.Attr.(*ReshapeAttr).Shape, nil },
		Ref:   func(_ *Tensor, in [][]float32, out []float32, lo, hi int) { copy(out[lo:hi], in[0][lo:hi]) },
	})
)

// opDetach is a view like opReshape through which no gradient flows.
var opDetach = register(&Op{
	Name:  "detach",
	Shape: func(n *Tensor) (Shape, error) { return n.In[0].shape, nil },
	Ref:   func(_ *Tensor, in [][]float32, out []float32, lo, hi int) { copy(out[lo:hi], in[0][lo:hi]) },
	VJP:   func(_, _ *Tensor) []*Tensor { return []*Tensor{nil} },
})

// Detach is x, taken as a constant by gradients: q = Add(x, Detach(Sub(quantised, x))) is the straight-through estimator
// (Bengio et al. 2013), whose value is quantised and whose gradient is x's.
func Detach(x *Tensor) *Tensor { return newNode(opDetach, nil, x) }

func init() {
	opReshape.VJP = func(n, dy *Tensor) []*Tensor { return []*Tensor{Reshape(dy, n.In[0].shape...)} }
}

// ReshapeAttr is the shape that Reshape gives.
type ReshapeAttr struct{ Shape Shape }
