package host

import (
	"sync"
	"sync/atomic"
)

// pool is a set of goroutines that share out ranges of work. The caller works too. One each call runs at a time.
type pool struct {
	mu      sync.Mutex
	workers int
	jobs    chan *job
	current job // of the call that holds mu
	closed  bool
}

type job struct {
	do    func(lo, hi int)
	n     int
	piece int
	next  atomic.Int64
	wg    sync.WaitGroup
}

func newPool(workers int) *pool {
	p := &pool{workers: workers, jobs: make(chan *job, workers)}
	for range workers - 1 {
		go func() {
			for j := range p.jobs {
				j.work()
				j.wg.Done()
			}
		}()
	}
	return p
}

// close ends the goroutines; what comes after runs on the caller's alone.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.jobs)
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
	helpers := min(p.workers-1, (n+piece-1)/piece-1)
	j.wg.Add(helpers)
	for range helpers {
		p.jobs <- j
	}
	j.work()
	j.wg.Wait()
	j.do = nil
}
