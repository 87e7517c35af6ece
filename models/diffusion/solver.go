package diffusion

import (
	"errors"
	"math"
	"slices"
)

// solver is the multistep solvers in λ = log(αₜ/σₜ), on variance-preserving x: DPM-Solver++ 2M (Lu et al. 2022, algorithm 2,
// midpoint, its stochastic form, and the orders 1 and 3) and UniPC (Zhao et al. 2023, predictor and corrector on x0).
type solver struct {
	run
	kind    prediction
	order   int
	few     bool  // the last steps fall back to lower orders
	lower   bool  // DPM-Solver++: so does the last step alone
	rest    []int // UniPC: calls after which the corrector rests
	limit   bound
	uni     bool    // UniPC
	bh1     bool    // UniPC's B(h) = h rather than eʰ − 1
	heun    bool    // DPM-Solver++: the second order by Heun's rule rather than at the midpoint
	eta     float64 // DPM-Solver++: 0 is the ordinary differential equation, 1 the stochastic one
	history [][]float32
	before  []float32 // UniPC: x before the last step
	taken   int       // UniPC: the order of the last step
}

func newSolver(id, schedule string, c Config, tr *training, steps int, eta float64) (Sampler, error) {
	sigmas, timesteps, err := tr.sigmaSchedule(schedule, c, steps, gridSolver)
	if err != nil {
		return nil, err
	}
	s := &solver{kind: prediction(c.PredictionType), order: 2, rest: c.Uncorrected, limit: thresholding(c), uni: id == "uni_pc", bh1: c.SolverType == "bh1", heun: c.SolverType == "heun" || id == "dpmpp_2m_sde_heun", eta: eta}
	if s.uni || c.ClassName == "DPMSolverMultistepScheduler" { // otherwise the sampler's name says its order
		s.order = min(max(c.SolverOrder, 1), 3)
	}
	if s.uni && !c.PredictX0 || !s.uni && slices.Contains([]string{"dpmsolver", "sde-dpmsolver"}, c.Algorithm) {
		return nil, errors.New("diffusion: the scheduler configuration asks for a solver of ε, and this program solves for x0; choose another sampler")
	}
	// Without noise left λ is infinite, which only the first order survives; few steps fare better with it, too.
	s.few = c.LowerOrderFinal && (s.uni || steps < 15)
	s.lower = s.few || !s.uni && c.EulerAtFinal || c.FinalSigmas == "zero"
	s.last, s.init = -2, 1
	s.timesteps, s.sigmas = timesteps, append(sigmas, tr.finalSigma(c))
	return s, nil
}

func lambda(sigma float64) float64 { return -math.Log(sigma) }

func (s *solver) Step(i int, modelOut, x []float32, noise Draw) (next, denoised []float32, err error) {
	fresh, err := s.begin(i, modelOut, x)
	if err != nil {
		return nil, nil, err
	}
	if fresh {
		s.history, s.before, s.taken = nil, nil, 0
	}
	alpha, sigma := vp(s.sigmas[i])
	kx, ko := s.kind.denoised(alpha, sigma, true)
	denoised = s.limit.picture(kx, ko, x, modelOut)
	if s.uni && s.before != nil && !slices.Contains(s.rest, i-1) {
		x = s.unify(i-1, i, s.taken, s.before, denoised)
	}
	s.history = append(s.history, denoised)
	s.history = s.history[max(0, len(s.history)-s.order):]

	order := min(s.order, len(s.history))
	left := len(s.timesteps) - i
	if s.few {
		order = min(order, left)
	}
	if s.lower && left == 1 {
		order = 1
	}
	if s.uni {
		s.before, s.taken = x, order
		return s.unify(i, i+1, order, x, nil), denoised, nil
	}
	next, err = s.multistep(i, order, x, noise)
	return next, denoised, err
}

// multistep is one step of DPM-Solver++ of order 1 to 3; with η > 0 it takes a longer step and adds fresh noise.
func (s *solver) multistep(i, order int, x []float32, noise Draw) ([]float32, error) {
	from, to := s.sigmas[i], s.sigmas[i+1]
	m0 := s.history[len(s.history)-1]
	alpha, sigma := vp(to)
	if to == 0 {
		return combine(term{alpha, m0}), nil
	}
	_, sigmaFrom := vp(from)
	h := lambda(to) - lambda(from)
	longer := h * (1 + s.eta)
	gain := -alpha * math.Expm1(-longer)
	terms := []term{{sigma / sigmaFrom * math.Exp(-h*s.eta), x}, {gain, m0}}
	if order > 1 {
		second := gain / 2
		if s.heun {
			second = alpha * (1 + math.Expm1(-longer)/longer)
		}
		before := lambda(from) - lambda(s.sigmas[i-1])
		if order > 2 && before > 0 && h > 0 {
			first, last := bend(longer, before/h, (lambda(s.sigmas[i-1])-lambda(s.sigmas[i-2]))/h)
			terms[1].k += alpha * first
			terms = append(terms, term{alpha * (last - first), s.history[len(s.history)-2]}, term{-alpha * last, s.history[len(s.history)-3]})
		} else if before > 0 && h > 0 {
			second *= h / before
			terms[1].k += second
			terms = append(terms, term{-second, s.history[len(s.history)-2]})
		}
	}
	if s.eta > 0 {
		z, err := draw(noise, len(x), from, to)
		if err != nil {
			return nil, err
		}
		terms = append(terms, term{sigma * math.Sqrt(-math.Expm1(-2*s.eta*h)), z})
	}
	return combine(terms...), nil
}

// unify is UniPC's step from noise level index from to index to. Without target it predicts; with target, the x0 that the
// model saw at the far end, it corrects. history ends with x0 at from.
func (s *solver) unify(from, to, order int, x, target []float32) []float32 {
	_, sigmaFrom := vp(s.sigmas[from])
	alpha, sigma := vp(s.sigmas[to])
	lambdaFrom := lambda(s.sigmas[from])
	h := lambda(s.sigmas[to]) - lambdaFrom
	phi := math.Expm1(-h)
	scale := phi
	if s.bh1 {
		scale = -h
	}
	n := len(s.history)
	m0 := s.history[n-1]
	weight0 := -alpha * phi // of m0; the differences below take their part from it
	terms := []term{{sigma / sigmaFrom, x}, {0, m0}}
	var ratios []float64
	for j := 1; j < order; j++ {
		ratios = append(ratios, (lambda(s.sigmas[from-j])-lambdaFrom)/h)
	}
	rho := uniWeights(append(ratios, 1), -h, phi, scale, target != nil)
	for j, r := range ratios {
		k := -alpha * scale * rho[j] / r
		terms = append(terms, term{k, s.history[n-2-j]})
		weight0 -= k
	}
	if target != nil {
		k := -alpha * scale * rho[order-1]
		terms = append(terms, term{k, target})
		weight0 -= k
	}
	terms[1].k = weight0
	return combine(terms...)
}

// uniWeights solves R·ρ = b of UniPC for the ratios rⱼ, the last of which is the far end; the predictor leaves that one out.
// The two lowest orders have the fixed weight ½ that the paper proposes.
func uniWeights(ratios []float64, hh, phi, scale float64, correct bool) []float64 {
	order := len(ratios)
	switch {
	case correct && order == 1, !correct && order == 2:
		return []float64{0.5}
	case !correct && order == 1:
		return nil
	}
	rows, b := make([][]float64, order), make([]float64, order)
	phiK, factorial := phi/hh-1, 1.0
	for i := range order {
		rows[i] = make([]float64, order)
		for j, r := range ratios {
			rows[i][j] = math.Pow(r, float64(i))
		}
		b[i] = phiK * factorial / scale
		factorial *= float64(i + 2)
		phiK = phiK/hh - 1/factorial
	}
	if !correct {
		order--
	}
	return solve(rows, b, order)
}

// solve is Gaussian elimination with pivoting on the leading n×n part.
func solve(rows [][]float64, b []float64, n int) []float64 {
	for k := range n {
		pivot := k
		for i := k + 1; i < n; i++ {
			if math.Abs(rows[i][k]) > math.Abs(rows[pivot][k]) {
				pivot = i
			}
		}
		rows[k], rows[pivot] = rows[pivot], rows[k]
		b[k], b[pivot] = b[pivot], b[k]
		for i := k + 1; i < n; i++ {
			f := rows[i][k] / rows[k][k]
			for j := k; j < n; j++ {
				rows[i][j] -= f * rows[k][j]
			}
			b[i] -= f * b[k]
		}
	}
	x := make([]float64, n)
	for k := n - 1; k >= 0; k-- {
		x[k] = b[k]
		for j := k + 1; j < n; j++ {
			x[k] -= rows[k][j] * x[j]
		}
		x[k] /= rows[k][k]
	}
	return x
}
