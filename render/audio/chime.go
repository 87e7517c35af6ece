package audio

import "math"

// The chime: two strokes on a small bar, a fourth apart (G5, C6).
const (
	chimeFrames  = Rate * 58 / 100 // 0.58 s
	chimePeak    = 0.16            // −15.9 dBFS
	chimeAttack  = 0.004           // s; a stroke that starts at once would click
	chimeRelease = 0.08            // s; the end falls to exactly zero
)

var chimeStrokes = [...]struct{ at, frequency, level float64 }{ // s, Hz, linear
	{0, 783.99, 0.8},
	{0.13, 1046.50, 1},
}

// chimePartials are the first three bending modes of a free bar, 1 : 2.756 : 5.404 (Fletcher and Rossing, The Physics of Musical
// Instruments, § 2.15). The higher ones are faint and die soon, as under a soft mallet.
var chimePartials = [...]struct{ ratio, level, decay float64 }{ // decay in s, to 1/e
	{1, 1, 0.14},
	{2.756, 0.16, 0.05},
	{5.404, 0.04, 0.02},
}

// Chime makes a short, quiet two-note bell: interleaved samples, the same in both channels, 0.58 s, at most −15.9 dBFS, from
// silence to silence.
func Chime() []float32 {
	mono := make([]float64, chimeFrames)
	for _, s := range chimeStrokes {
		first := int(s.at * Rate)
		for i := first; i < chimeFrames; i++ {
			t := float64(i-first) / Rate
			for _, p := range chimePartials {
				mono[i] += s.level * p.level * math.Exp(-t/p.decay) * math.Sin(2*math.Pi*s.frequency*p.ratio*t) * rise(t/chimeAttack)
			}
		}
	}
	var peak float64
	for i := range mono {
		mono[i] *= rise(float64(chimeFrames-1-i) / (chimeRelease * Rate))
		peak = max(peak, math.Abs(mono[i]))
	}
	samples := make([]float32, 0, chimeFrames*Channels)
	for _, v := range mono {
		v := float32(v / peak * chimePeak)
		samples = append(samples, v, v)
	}
	return samples
}

// rise goes smoothly from 0 at x = 0 to 1 at x = 1, and stays there.
func rise(x float64) float64 {
	return 0.5 - 0.5*math.Cos(math.Pi*max(0, min(1, x)))
}
