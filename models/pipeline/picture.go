package pipeline

import (
	"image"
	"math"
)

// toPicture turns x [h w channels] in [0, 1] into 8-bit pixels. Three channels are RGB. Four are RGB premultiplied by alpha,
// which networks blend better; picture files want it divided out. Rounding is to nearest.
func toPicture(x []float32, w, h, channels int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		from, to := x[i*channels:(i+1)*channels], m.Pix[4*i:4*i+4]
		alpha := float32(1)
		if channels == 4 {
			alpha = unit(from[3])
		}
		to[3] = level(alpha)
		if to[3] == 0 {
			continue // colour without opacity is noise
		}
		for c := range 3 {
			to[c] = level(from[c] / alpha)
		}
	}
	return m
}

// level is the nearest of 256 steps to v in [0, 1]; values outside are the ends, NaN is 0.
func level(v float32) uint8 { return uint8(math.RoundToEven(float64(unit(v)) * 255)) }

// unit clamps to [0, 1]; NaN is 0.
func unit(v float32) float32 {
	if v >= 0 {
		return min(v, 1)
	}
	return 0
}

// fromSigned maps x in [−1, 1], what autoencoders give, to [0, 1], clamped, in place.
func fromSigned(x []float32) {
	for i, v := range x {
		x[i] = unit(v/2 + 0.5)
	}
}

// firstBad is the index of the first infinity or NaN, or −1.
func firstBad(x []float32) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}
