package judge

import (
	"fmt"
	"math"
)

// Picture is H × W pixels of C channels, row-major, channels last.
type Picture struct {
	H, W, C int
	X       []float32
}

func samePictures(a, b Picture, peak float64) error {
	switch {
	case a.H <= 0 || a.W <= 0 || a.C <= 0 || len(a.X) != a.H*a.W*a.C:
		return fmt.Errorf("a picture of %d × %d pixels and %d channels cannot have %d numbers", a.W, a.H, a.C, len(a.X))
	case b.H != a.H || b.W != a.W || b.C != a.C || len(b.X) != len(a.X):
		return fmt.Errorf("pictures of %d × %d × %d and %d × %d × %d cannot be compared; give both the same size and channels", a.W, a.H, a.C, b.W, b.H, b.C)
	case !(peak > 0):
		return fmt.Errorf("a range of %v makes no sense; give the difference between white and black, such as 2 for values in [−1, 1]", peak)
	}
	return nil
}

// PSNR is the peak signal-to-noise ratio in decibels, 10 log₁₀(peak² / mean squared error); +Inf where the pictures are equal. peak
// is the difference between white and black.
func PSNR(a, b Picture, peak float64) (float64, error) {
	if err := samePictures(a, b, peak); err != nil {
		return 0, err
	}
	sum := 0.0
	for i, v := range a.X {
		d := float64(v) - float64(b.X[i])
		sum += d * d
	}
	return 10 * math.Log10(peak*peak*float64(len(a.X))/sum), nil
}

// The constants of Wang et al. 2004.
const (
	ssimSide  = 11
	ssimSigma = 1.5
	ssimK1    = 0.01
	ssimK2    = 0.03
)

// SSIM is the mean structural similarity of Wang, Bovik, Sheikh and Simoncelli 2004: an 11 × 11 Gaussian window of deviation 1.5 over
// every place where it fits whole, the mean over places and channels. 1 means equal.
func SSIM(a, b Picture, peak float64) (float64, error) {
	if err := samePictures(a, b, peak); err != nil {
		return 0, err
	}
	if a.H < ssimSide || a.W < ssimSide {
		return 0, fmt.Errorf("the structural similarity needs pictures of at least %d × %d pixels, and these have %d × %d", ssimSide, ssimSide, a.W, a.H)
	}
	c1, c2 := ssimK1*peak*ssimK1*peak, ssimK2*peak*ssimK2*peak
	total, places := 0.0, 0
	n := a.H * a.W
	x, y, xx, yy, xy := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for c := range a.C {
		for i := range n {
			p, q := float64(a.X[i*a.C+c]), float64(b.X[i*a.C+c])
			x[i], y[i], xx[i], yy[i], xy[i] = p, q, p*p, q*q, p*q
		}
		mx, my, mxx, myy, mxy := blur(x, a.H, a.W), blur(y, a.H, a.W), blur(xx, a.H, a.W), blur(yy, a.H, a.W), blur(xy, a.H, a.W)
		for i := range mx {
			vx, vy, cov := mxx[i]-mx[i]*mx[i], myy[i]-my[i]*my[i], mxy[i]-mx[i]*my[i]
			total += (2*mx[i]*my[i] + c1) * (2*cov + c2) / ((mx[i]*mx[i] + my[i]*my[i] + c1) * (vx + vy + c2))
			places++
		}
	}
	return total / float64(places), nil
}

// blur is the window's weighted mean at every place where it fits, [h − 10, w − 10].
func blur(p []float64, h, w int) []float64 {
	var window [ssimSide]float64
	sum := 0.0
	for i := range window {
		d := float64(i - ssimSide/2)
		window[i] = math.Exp(-d * d / (2 * ssimSigma * ssimSigma))
		sum += window[i]
	}
	ow, oh := w-ssimSide+1, h-ssimSide+1
	across := make([]float64, h*ow)
	for y := range h {
		for x := range ow {
			for i, g := range window {
				across[y*ow+x] += g / sum * p[y*w+x+i]
			}
		}
	}
	out := make([]float64, oh*ow)
	for y := range oh {
		for x := range ow {
			for i, g := range window {
				out[y*ow+x] += g / sum * across[(y+i)*ow+x]
			}
		}
	}
	return out
}
