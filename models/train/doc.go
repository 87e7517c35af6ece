// Package train trains the parameters of a model: it builds one plan for a step (forward, loss, gradients, clipping, optimiser,
// averages), keeps all of its state on the device, and saves and restores that state to the bit.
//
// A caller takes parameters from an nn.Scope, gives the loss as a function that records it in a graph, and feeds batches:
//
//	t, err := train.New(dev, scope.Params(), func(p train.Pass) *compute.Tensor {
//		x, y := p.Graph.Input("x", 16, 8), p.Graph.Input("y", 16, 4)
//		return nn.MSE(model.Forward(x), y)
//	}, train.Config{Optimiser: train.AdamW(1e-3), ClipNorm: 1})
//	report, err := t.Step(ctx, map[string][]float32{"x": …, "y": …})
//
// From New on the parameters' Sources are variables, so every other plan on the device, such as one that draws samples or a
// second trainer's (a discriminator's beside its generator's), sees the present values.
package train
