package nn

import "atelier/compute"

// Losses give one number, [1], to minimise. Targets have the prediction's shape and no gradient is taken of them unless said.

// MSE is the mean squared error.
func MSE(x, target *compute.Tensor) *compute.Tensor {
	return compute.Mean(compute.Square(compute.Sub(x, target)), false)
}

// L1 is the mean absolute error.
func L1(x, target *compute.Tensor) *compute.Tensor {
	return compute.Mean(compute.Abs(compute.Sub(x, target)), false)
}

// Huber is the mean of d²/2 where the error |d| ≤ delta, else delta·(|d| − delta/2) (Huber 1964).
func Huber(x, target *compute.Tensor, delta float64) *compute.Tensor {
	d := compute.Abs(compute.Sub(x, target))
	near := compute.Clamp(d, 0, delta)
	far := compute.Sub(d, near)
	return compute.Mean(compute.Add(compute.Affine(compute.Square(near), 0.5, 0), compute.Affine(far, delta, 0)), false)
}

// SmoothL1 is Huber's loss over beta: the slope of its far parts is 1.
func SmoothL1(x, target *compute.Tensor, beta float64) *compute.Tensor {
	return compute.Affine(Huber(x, target, beta), 1/beta, 0)
}

// BCEWithLogits is the mean binary cross entropy of sigmoid(x) and targets in [0, 1], computed without overflow.
func BCEWithLogits(x, target *compute.Tensor) *compute.Tensor {
	return compute.Mean(compute.Sub(compute.Softplus(x), compute.Mul(x, target)), false)
}

// CrossEntropy is the mean over rows of −log softmax(logits)[target]: logits [… V] and targets […], whole numbers. Rows with
// negative targets are left out of the mean, which is NaN where none is left. smoothing spreads that part of a target over all V.
func CrossEntropy(logits, targets *compute.Tensor, smoothing float64) *compute.Tensor {
	losses := compute.CrossEntropy(logits, targets, smoothing)
	if losses.Err() != nil {
		return losses
	}
	minusOne := losses.Graph().Const("minus one", []float32{-1}, 1)
	kept := compute.Sum(compute.Less(minusOne, targets), false)
	return compute.Div(compute.Sum(losses, false), kept)
}

// KLNormal is the divergence of normal distributions with these means and logarithms of variances from the standard one, summed:
// the second term of a variational autoencoder's loss (Kingma & Welling 2014).
func KLNormal(mean, logvar *compute.Tensor) *compute.Tensor {
	terms := compute.Sub(compute.Add(compute.Square(mean), compute.Exp(logvar)), compute.Affine(logvar, 1, 1))
	return compute.Affine(compute.Sum(terms, false), 0.5, 0)
}
