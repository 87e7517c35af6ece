package job

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"atelier/models/pipeline"
)

// Generate makes the pictures of one request. It must return soon after ctx ends, with ctx's error.
type Generate func(ctx context.Context, model string, req pipeline.Request, progress func(pipeline.Progress)) (*pipeline.Result, error)

// Config wires a queue.
type Config struct {
	Generate Generate
	Keep     func(*pipeline.Result) []Kept // saves finished pictures, on the job's goroutine; nil keeps none
	Post     func(func())                  // runs a function where Changed may be called, later and without waiting
	Changed  func(Update)                  // hears of changes, through Post
	Log      func(string)                  // receives the stack of a job that panicked; nil drops it
}

// Queue runs jobs one at a time in order. All methods may be called from any goroutine and return at once, except Close.
type Queue struct {
	config Config
	ctx    context.Context
	stop   context.CancelFunc
	wake   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	next    ID
	waiting []*entry
	current *entry
	changed map[ID]*entry
	posted  bool
	closed  bool
}

type entry struct {
	snap   Snapshot
	cancel context.CancelFunc // non-nil while running
}

// New starts a queue; Close ends it.
func New(config Config) *Queue {
	ctx, stop := context.WithCancel(context.Background())
	q := &Queue{
		config: config, ctx: ctx, stop: stop,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		changed: map[ID]*entry{},
	}
	go q.work()
	return q
}

// Submit adds a job at the end. A closed queue takes none and returns 0.
func (q *Queue) Submit(model string, req pipeline.Request) ID { return q.submit(model, req, false) }

// SubmitFront adds a job that runs before all others that wait.
func (q *Queue) SubmitFront(model string, req pipeline.Request) ID { return q.submit(model, req, true) }

func (q *Queue) submit(model string, req pipeline.Request, front bool) ID {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return 0
	}
	q.next++
	e := &entry{snap: Snapshot{ID: q.next, Model: model, Request: req}}
	if front {
		q.waiting = slices.Insert(q.waiting, 0, e)
	} else {
		q.waiting = append(q.waiting, e)
	}
	id := e.snap.ID
	q.report(e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return id
}

// Cancel takes a waiting job out, or asks a running one to stop. It tells whether there was such a job.
func (q *Queue) Cancel(id ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.current != nil && q.current.snap.ID == id {
		q.current.cancel()
		return true
	}
	for i, e := range q.waiting {
		if e.snap.ID == id {
			q.waiting = slices.Delete(q.waiting, i, i+1)
			q.dropped(e)
			return true
		}
	}
	return false
}

// CancelCurrent asks the running job to stop. It tells whether one was running.
func (q *Queue) CancelCurrent() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.current == nil {
		return false
	}
	q.current.cancel()
	return true
}

// CancelWaiting takes out every job that has not started and returns how many there were.
func (q *Queue) CancelWaiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.waiting)
	for _, e := range q.waiting {
		q.dropped(e)
	}
	q.waiting = nil
	return n
}

// Idle tells whether nothing runs and nothing waits.
func (q *Queue) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.current == nil && len(q.waiting) == 0
}

// Close cancels everything, takes no more jobs, and waits until the running one has ended or ctx has.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.CancelWaiting()
	q.stop()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		return errors.New("the running job did not stop in time; it was left behind")
	}
}

func (q *Queue) dropped(e *entry) {
	e.snap.State = Cancelled
	e.snap.Ended = time.Now()
	q.report(e)
}

// report marks a job as changed and makes sure that one post is pending. q.mu is held.
func (q *Queue) report(e *entry) {
	q.changed[e.snap.ID] = e
	if q.posted || q.config.Post == nil || q.config.Changed == nil {
		return
	}
	q.posted = true
	// On a goroutine of its own, because a simple Post may run the function at once, and the lock is held here.
	go q.config.Post(q.deliver)
}

func (q *Queue) deliver() {
	q.mu.Lock()
	update := Update{Waiting: len(q.waiting)}
	for _, e := range q.changed {
		update.Jobs = append(update.Jobs, e.snap)
	}
	clear(q.changed)
	q.posted = false
	q.mu.Unlock()
	slices.SortFunc(update.Jobs, func(a, b Snapshot) int { return int(a.ID - b.ID) })
	q.config.Changed(update)
}

func (q *Queue) work() {
	defer close(q.done)
	for {
		e, ctx := q.take()
		if e != nil {
			q.run(ctx, e)
			continue
		}
		select {
		case <-q.wake:
		case <-q.ctx.Done():
			return
		}
	}
}

func (q *Queue) take() (*entry, context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.waiting) == 0 {
		return nil, nil
	}
	e := q.waiting[0]
	q.waiting = q.waiting[1:]
	ctx, cancel := context.WithCancel(q.ctx)
	e.cancel = cancel
	e.snap.State = Running
	e.snap.Started = time.Now()
	q.current = e
	q.report(e)
	return e, ctx
}

func (q *Queue) run(ctx context.Context, e *entry) {
	result, kept, err := q.attempt(ctx, e)
	q.mu.Lock()
	defer q.mu.Unlock()
	stopped := ctx.Err() != nil
	e.cancel()
	q.current = nil
	e.snap.Ended = time.Now()
	switch {
	case err == nil:
		e.snap.State, e.snap.Result, e.snap.Kept = Done, result, kept
	case stopped:
		e.snap.State = Cancelled
	default:
		e.snap.State, e.snap.Err = Failed, err
	}
	q.report(e)
}

// attempt runs and keeps one job; whatever goes wrong in it comes back as an error.
func (q *Queue) attempt(ctx context.Context, e *entry) (result *pipeline.Result, kept []Kept, err error) {
	defer func() {
		if p := recover(); p != nil {
			if q.config.Log != nil {
				q.config.Log(fmt.Sprintf("job %d: %v\n%s", e.snap.ID, p, debug.Stack()))
			}
			err = fmt.Errorf("making the picture failed inside the program (%v); please try again, and report it if it comes back", p)
		}
	}()
	result, err = q.config.Generate(ctx, e.snap.Model, e.snap.Request, func(p pipeline.Progress) { q.progress(e, p) })
	if err != nil {
		return nil, nil, err
	}
	if result == nil || len(result.Images) == 0 {
		return nil, nil, errors.New("the engine returned no picture; please try again")
	}
	if q.config.Keep != nil {
		q.progress(e, pipeline.Progress{Phase: "save", Step: e.snap.Request.Steps, Steps: e.snap.Request.Steps})
		kept = q.config.Keep(result)
	}
	return result, kept, nil
}

func (q *Queue) progress(e *entry, p pipeline.Progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.snap.State != Running {
		return // a late word from a job that has ended
	}
	if p.Elapsed == 0 {
		p.Elapsed = time.Since(e.snap.Started)
	}
	if p.Preview != nil {
		e.snap.Preview = p.Preview
	}
	e.snap.Progress = p
	q.report(e)
}
