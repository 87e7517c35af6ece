package diffusion

import "math"

// torch is the generator of torch on the processor: the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), begun with
// the low 32 bits of a seed, and torch's two ways from its words to normal numbers.
type torch struct {
	state [624]uint32
	next  int
	spare *float64 // the second number of a pair, kept for the next short draw
}

func newTorch(seed uint64) *torch {
	g := &torch{}
	g.state[0] = uint32(seed)
	for i := 1; i < len(g.state); i++ {
		g.state[i] = 1812433253*(g.state[i-1]^g.state[i-1]>>30) + uint32(i)
	}
	g.next = len(g.state)
	return g
}

func (g *torch) uint32() uint32 {
	const n, m = 624, 397
	if g.next == n {
		for i := range n {
			y := g.state[i]&0x80000000 | g.state[(i+1)%n]&0x7fffffff
			v := g.state[(i+m)%n] ^ y>>1
			if y&1 != 0 {
				v ^= 0x9908b0df
			}
			g.state[i] = v
		}
		g.next = 0
	}
	y := g.state[g.next]
	g.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// torchBlock is the length from which torch draws all uniform numbers first and pairs them across blocks of this size.
const torchBlock = 16

// normal is torch.randn of n float32 numbers.
func (g *torch) normal(n int) []float32 {
	out := make([]float32, n)
	if n < torchBlock {
		for i := range out {
			out[i] = float32(g.one())
		}
		return out
	}
	for i := range out {
		out[i] = g.uniform()
	}
	for i := 0; i+torchBlock <= n; i += torchBlock {
		transformBlock(out[i : i+torchBlock])
	}
	if n%torchBlock != 0 { // the last block is drawn again, over the end of the one before
		tail := out[n-torchBlock:]
		for i := range tail {
			tail[i] = g.uniform()
		}
		transformBlock(tail)
	}
	return out
}

// uniform is 24 bits, which float32 holds exactly, in [0, 1).
func (g *torch) uniform() float32 { return float32(g.uint32()&(1<<24-1)) / (1 << 24) }

// transformBlock is Box and Muller's transform of element j with element j + 8.
func transformBlock(x []float32) {
	for j := range torchBlock / 2 {
		r := math.Sqrt(-2 * math.Log(float64(1-x[j])))
		sin, cos := math.Sincos(2 * math.Pi * float64(x[j+torchBlock/2]))
		x[j], x[j+torchBlock/2] = float32(r*cos), float32(r*sin)
	}
}

// one is a number of a short draw: float64 pairs of 53-bit uniform numbers, of which the second waits for the next call.
func (g *torch) one() float64 {
	if g.spare != nil {
		v := *g.spare
		g.spare = nil
		return v
	}
	uniform := func() float64 {
		high := uint64(g.uint32()) << 32
		return float64((high|uint64(g.uint32()))&(1<<53-1)) / (1 << 53)
	}
	turn, u := uniform(), uniform()
	r := math.Sqrt(-2 * math.Log1p(-u))
	sin, cos := math.Sincos(2 * math.Pi * turn)
	spare := r * sin
	g.spare = &spare
	return r * cos
}
