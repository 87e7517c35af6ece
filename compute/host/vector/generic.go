//go:build !(goexperiment.simd && amd64)

package vector

// Name says what the functions run on.
func Name() string { return "plain Go" }

// Tile is c = a·b for a tile of Rows × columns: a is Rows rows of k elements, b is packed [k columns], c has pitch elements
// between rows. With add the products come on top of c. columns is Columns or HalfColumns.
func Tile(k int, a *Left, b, c []float32, pitch, columns int, add bool) {
	plainTile(k, a, b, c, pitch, columns, add)
}

// Exp is y = exp(scale·x + shift), to 3e-7 of itself, for x below +∞; it returns the sum of y.
func Exp(y, x []float32, scale, shift float32) float32 { return plainExp(y, x, scale, shift) }

// Max is the largest element, −∞ for none.
func Max(x []float32) float32 { return plainMax(x) }

// Scale multiplies y by s.
func Scale(y []float32, s float32) { plainScale(y, s) }

// Add is y = a + b.
func Add(y, a, b []float32) { plainAdd(y, a, b) }

// Mul is y = a·b.
func Mul(y, a, b []float32) { plainMul(y, a, b) }

// Sub is y = a − b.
func Sub(y, a, b []float32) { plainSub(y, a, b) }

// Dot is the sum of a·b.
func Dot(a, b []float32) float32 { return plainDot(a, b) }

func swishGrad(y, x, e []float32, k float32) { plainSwishGrad(y, x, e, k) }
func geluGrad(y, x, e []float32)             { plainGELUGrad(y, x, e) }

// ScaleShift is y = x·scale + shift.
func ScaleShift(y, x, scale, shift []float32) { plainScaleShift(y, x, scale, shift) }

// Moments is the sums and the sums of squares of x − shift over rows of x, by column.
func Moments(sum, squares, x, shift []float32) { plainMoments(sum, squares, x, shift, 0) }

// Sum adds the elements up.
func Sum(x []float32) float32 { return plainSum(x) }

// SumSquares adds up (x − mean)².
func SumSquares(x []float32, mean float32) float32 { return plainSumSquares(x, mean) }

// Widen gives the values of binary16 numbers.
func Widen(y []float32, h []uint16) { plainWiden(y, h) }

func divideOnePlus(y, x, e []float32) { plainDivideOnePlus(y, x, e) }
func gelu(y, x, e []float32)          { plainGELU(y, x, e) }

// Standardise is y = (x − mean)·scale.
func Standardise(y, x []float32, mean, scale float32) { plainStandardise(y, x, mean, scale) }

// Peak does rounds of PeakFLOPs operations on registers.
func Peak(rounds int) float32 { return plainPeak(rounds) }

// silus is SiLU of x·scale + shift for as many whole vectors as there are.
func silus(_, _, _, _ []float32, _ float32) int { return 0 }
