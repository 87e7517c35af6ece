package compute

import "fmt"

// BroadcastAttr is the shape to stretch to.
type BroadcastAttr struct{ Shape Shape }

// BroadcastTo stretches x to shape under NumPy's rule: axes align at the end, and an extent of 1 repeats.
func BroadcastTo(x *Tensor, shape ...int) *Tensor {
	if x.err == nil && x.shape.Equal(shape) {
		return x
	}
	return newNode(opBroadcast, &BroadcastAttr{append(Shape(nil), shape...)}, x)
}

var opBroadcast = register(&Op{
	Name: "broadcast",
	Shape: func(n *Tensor) (Shape, error) {
		to := n.Attr.(*BroadcastAttr).Shape
		if s, err := Broadcast(n.In[0].shape, to); err != nil || !s.Equal(to) {
			return nil, fmt.Errorf("%v does not stretch to %v", n.In[0].shape, to)
		}
		return to, newStrided(to, broadcastSteps(n.In[0].shape, len(to))).check()
	},
	Ref: func(n *Tensor, in [][]float32, out []float32, lo, hi int) {
		copyStrided(newStrided(n.shape, broadcastSteps(n.In[0].shape, len(n.shape))), in[0], out, lo, hi)
	},
	Lower: func(n *Tensor, lw *Lowering) []Launch {
		return []Launch{stridedLaunch(n, lw, 0, broadcastSteps(n.In[0].shape, len(n.shape)))}
	},
})

func init() {
	opBroadcast.VJP = func(n, dy *Tensor) []*Tensor { return []*Tensor{sumTo(dy, n.In[0].shape)} }
}
