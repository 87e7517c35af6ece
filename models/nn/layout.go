package nn

// ChannelsLast reorders x, B C H W, to B H W C.
func ChannelsLast(x []float32, b, c, h, w int) []float32 {
	y := make([]float32, len(x))
	plane := h * w
	for i := range b {
		for ch := range c {
			src := x[(i*c+ch)*plane : (i*c+ch+1)*plane]
			dst := y[i*plane*c:]
			for p, v := range src {
				dst[p*c+ch] = v
			}
		}
	}
	return y
}

// ChannelsFirst reorders x, B H W C, to B C H W.
func ChannelsFirst(x []float32, b, h, w, c int) []float32 {
	y := make([]float32, len(x))
	plane := h * w
	for i := range b {
		for ch := range c {
			src := x[i*plane*c:]
			dst := y[(i*c+ch)*plane : (i*c+ch+1)*plane]
			for p := range dst {
				dst[p] = src[p*c+ch]
			}
		}
	}
	return y
}
