package host

import (
	"sync"
	"sync/atomic"
)

// spins is how often a waiting goroutine looks again before it sleeps: some 15 µs. A network's ops follow each other faster than
// an operating system wakes a thread, which takes 50 µs and more.
const spins = 1 << 14

// pool is a set of goroutines that share out ranges of work. The caller works too. One each call runs at a time.
type pool struct {
	mu      sync.Mutex
	workers int       // with the caller
	helpers []*helper // one fewer
	current job       // of the call that holds mu
	closed  bool
}

// helper is a goroutine of the pool with what it is to work on next.
type helper struct {
	job  atomic.Pointer[job] // nil: nothing; taken by whoever swaps nil in
	rest sleeper
}

// job is the work of one each call.
type job struct {
	do      func(lo, hi int)
	n       int
	piece   int
	next    atomic.Int64
	working atomic.Int64 // helpers that have not come back
	rest    sleeper      // the caller's
}

// sleeper lets one goroutine wait for a condition that others make true.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{}
}

// until returns when ready holds, or has held: its user looks again.
func (s *sleeper) until(ready func() bool) {
	for range spins {
		if ready() {
			return
		}
	}
	s.asleep.Store(true)
	if ready() && s.asleep.CompareAndSwap(true, false) {
		return
	}
	<-s.wake // sent by whoever cleared asleep
}

// call wakes the goroutine after the condition was made true.
func (s *sleeper) call() {
	if s.asleep.CompareAndSwap(true, false) {
		s.wake <- struct{}{}
	}
}

// done is the job that ends a helper.
var done = new(job)

func newPool(workers int) *pool {
	p := &pool{workers: workers}
	p.current.rest.wake = make(chan struct{}, 1)
	for range workers - 1 {
		h := &helper{rest: sleeper{wake: make(chan struct{}, 1)}}
		p.helpers = append(p.helpers, h)
		go h.serve()
	}
	return p
}

func (h *helper) serve() {
	given := func() bool { return h.job.Load() != nil }
	for {
		h.rest.until(given)
		j := h.job.Swap(nil)
		switch j {
		case nil: // taken back
		case done:
			return
		default:
			j.work()
			if j.working.Add(-1) == 0 {
				j.rest.call()
			}
		}
	}
}

// close ends the goroutines; what comes after runs on the caller's alone.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		for _, h := range p.helpers {
			h.job.Store(done)
			h.rest.call()
		}
	}
}

func (j *job) work() {
	for {
		lo := int(j.next.Add(int64(j.piece))) - j.piece
		if lo >= j.n {
			return
		}
		j.do(lo, min(lo+j.piece, j.n))
	}
}

// each calls do for ranges that cover 0 ≤ i < n, of at least grain indices but for the last, on all cores, and waits.
func (p *pool) each(n, grain int, do func(lo, hi int)) {
	piece := max(n/(p.workers*8), grain, 1)
	if n <= piece || p.workers < 2 {
		if n > 0 {
			do(0, n)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		do(0, n)
		return
	}
	j := &p.current
	j.do, j.n, j.piece = do, n, piece
	j.next.Store(0)
	helpers := p.helpers[:min(p.workers-1, (n+piece-1)/piece-1)]
	j.working.Store(int64(len(helpers)))
	for _, h := range helpers {
		h.job.Store(j)
		h.rest.call()
	}
	j.work()
	for _, h := range helpers { // whoever has not begun need not: on a busy machine it may not run for a while
		if h.job.CompareAndSwap(j, nil) {
			j.working.Add(-1)
		}
	}
	for j.working.Load() != 0 { // a helper of an earlier call may call late
		j.rest.until(func() bool { return j.working.Load() == 0 })
	}
	j.do = nil
}
