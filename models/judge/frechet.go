package judge

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Gaussian is the mean and the covariance of features: all that the Fréchet distance needs of a set, and worth keeping for a
// training set that many models are measured against.
type Gaussian struct {
	Mean []float64 // D
	Cov  []float64 // D × D, symmetric, normalised by N − 1
}

// Moments fits a Gaussian to features. It needs two rows.
func Moments(f Features) (Gaussian, error) {
	if err := f.check("pictures", 2); err != nil {
		return Gaussian{}, err
	}
	g := Gaussian{make([]float64, f.D), make([]float64, f.D*f.D)}
	for i := range f.N {
		for j, v := range f.Row(i) {
			g.Mean[j] += float64(v) / float64(f.N)
		}
	}
	centred := make([]float64, f.N*f.D)
	for i := range f.N {
		for j, v := range f.Row(i) {
			centred[i*f.D+j] = float64(v) - g.Mean[j]
		}
	}
	x := mat.NewDense(f.N, f.D, centred)
	cov := mat.NewSymDense(f.D, nil)
	cov.SymOuterK(1/float64(f.N-1), x.T())
	for i := range f.D {
		for j := range f.D {
			g.Cov[i*f.D+j] = cov.At(i, j)
		}
	}
	return g, nil
}

// Frechet is the squared Fréchet (2-Wasserstein) distance between two Gaussians (Dowson and Landau 1982), which Heusel et al. 2017
// use between features of real and made pictures:
//
//	|μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁ Σ₂)^½
//
// With Σ = R Rᵀ the last trace is the sum of the singular values of R₁ᵀ R₂. That is exact also for covariances that lack full rank,
// where the root of the product, which is not symmetric, loses its digits.
func Frechet(a, b Gaussian) (float64, error) {
	d := len(a.Mean)
	switch {
	case d == 0 || len(a.Cov) != d*d:
		return 0, fmt.Errorf("a Gaussian of %d means and %d covariances makes no sense", d, len(a.Cov))
	case len(b.Mean) != d || len(b.Cov) != d*d:
		return 0, fmt.Errorf("two Gaussians, of %d and %d dimensions, cannot be compared; take both from one network's features", d, len(b.Mean))
	}
	sum := 0.0
	for i, m := range a.Mean {
		sum += (m - b.Mean[i]) * (m - b.Mean[i])
		sum += a.Cov[i*d+i] + b.Cov[i*d+i]
	}
	ra, err := root(a.Cov, d)
	if err != nil {
		return 0, err
	}
	rb, err := root(b.Cov, d)
	if err != nil {
		return 0, err
	}
	if ra == nil || rb == nil {
		return sum, nil // one of them is a point
	}
	var product mat.Dense
	product.Mul(ra.T(), rb)
	var svd mat.SVD
	if !svd.Factorize(&product, mat.SVDNone) {
		return 0, errors.New("the Fréchet distance does not come out: the singular values do not converge")
	}
	for _, s := range svd.Values(nil) {
		sum -= 2 * s
	}
	return max(sum, 0), nil
}

// root is R with cov = R Rᵀ, one column for every eigenvalue that is more than rounding; nil where there is none.
func root(cov []float64, d int) (*mat.Dense, error) {
	for _, v := range cov {
		if v-v != 0 {
			return nil, fmt.Errorf("a covariance is %v", v)
		}
	}
	var eig mat.EigenSym
	if !eig.Factorize(mat.NewSymDense(d, append([]float64(nil), cov...)), true) {
		return nil, errors.New("the Fréchet distance does not come out: the eigenvalues of a covariance do not converge")
	}
	values := eig.Values(nil) // ascending
	least := values[d-1] * float64(d) * 0x1p-52
	first := 0
	for first < d && !(values[first] > least && values[first] > 0) {
		first++
	}
	if first == d {
		return nil, nil
	}
	var vectors mat.Dense
	eig.VectorsTo(&vectors)
	r := mat.NewDense(d, d-first, nil)
	for j := first; j < d; j++ {
		s := math.Sqrt(values[j])
		for i := range d {
			r.Set(i, j-first, s*vectors.At(i, j))
		}
	}
	return r, nil
}

// FID is the Fréchet distance between two sets of features. Sets of fewer rows than features give a figure that is too high, and
// figures from sets of different sizes do not compare.
func FID(real, made Features) (float64, error) {
	if err := pairOf(real, made, theReal, theMade, 2); err != nil {
		return 0, err
	}
	a, err := Moments(real)
	if err != nil {
		return 0, err
	}
	b, err := Moments(made)
	if err != nil {
		return 0, err
	}
	return Frechet(a, b)
}
