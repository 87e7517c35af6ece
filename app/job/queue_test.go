package job

import (
	"context"
	"errors"
	"image"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atelier/models/pipeline"
)

// bench collects updates on a goroutine of its own, as a window would.
type bench struct {
	t       *testing.T
	posts   chan func()
	mu      sync.Mutex
	last    map[ID]Snapshot
	history map[ID][]State
	waiting int
	pending int // posts not yet run
	most    int // highest value of pending
	change  chan struct{}
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, posts: make(chan func(), 1000), last: map[ID]Snapshot{}, history: map[ID][]State{}, change: make(chan struct{}, 1000)}
	go func() {
		for f := range b.posts {
			b.mu.Lock()
			b.pending--
			b.mu.Unlock()
			f()
		}
	}()
	return b
}

func (b *bench) post(f func()) {
	b.mu.Lock()
	b.pending++
	b.most = max(b.most, b.pending)
	b.mu.Unlock()
	b.posts <- f
}

func (b *bench) changed(u Update) {
	b.mu.Lock()
	for _, s := range u.Jobs {
		b.last[s.ID] = s
		if h := b.history[s.ID]; len(h) == 0 || h[len(h)-1] != s.State {
			b.history[s.ID] = append(h, s.State)
		}
	}
	b.waiting = u.Waiting
	b.mu.Unlock()
	b.change <- struct{}{}
}

func (b *bench) wait(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		b.mu.Lock()
		met := ok()
		b.mu.Unlock()
		if met {
			return
		}
		select {
		case <-b.change:
		case <-deadline:
			b.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (b *bench) state(id ID) State { return b.last[id].State }

func picture(seed uint64) *pipeline.Result {
	return &pipeline.Result{Images: []*image.NRGBA{image.NewNRGBA(image.Rect(0, 0, 2, 2))}, Seeds: []uint64{seed}}
}

func closeQueue(t *testing.T, q *Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestJobsRunOneAtATimeInOrder(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var order []string
	active, most := 0, 0
	gate := make(chan struct{})
	q := New(Config{Post: b.post, Changed: b.changed, Generate: func(ctx context.Context, model string, r pipeline.Request, _ func(pipeline.Progress)) (*pipeline.Result, error) {
		mu.Lock()
		active++
		most = max(most, active)
		order = append(order, r.Prompt)
		mu.Unlock()
		<-gate
		mu.Lock()
		active--
		mu.Unlock()
		return picture(r.Seed), nil
	}})
	defer closeQueue(t, q)
	first := q.Submit("m", pipeline.Request{Prompt: "one", Seed: 7})
	b.wait("the first to run", func() bool { return b.state(first) == Running })
	second := q.Submit("m", pipeline.Request{Prompt: "two"})
	third := q.SubmitFront("m", pipeline.Request{Prompt: "three"})
	b.wait("two waiting", func() bool { return b.waiting == 2 })
	close(gate)
	b.wait("all done", func() bool { return b.state(first) == Done && b.state(second) == Done && b.state(third) == Done })
	if want := []string{"one", "three", "two"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if most != 1 {
		t.Errorf("%d jobs ran at once", most)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.last[first]; s.Result == nil || s.Result.Seeds[0] != 7 || s.Ended.Before(s.Started) {
		t.Errorf("first ended as %+v", s)
	}
}

func TestAtMostOnePostIsPendingAndTheLastWordArrives(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	b.posts <- func() { <-hold } // the main thread is busy
	b.mu.Lock()
	b.pending++
	b.mu.Unlock()
	preview := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	ended := make(chan struct{})
	q := New(Config{Post: b.post, Changed: b.changed, Generate: func(_ context.Context, _ string, r pipeline.Request, say func(pipeline.Progress)) (*pipeline.Result, error) {
		defer close(ended)
		for i := 1; i <= 500; i++ {
			p := pipeline.Progress{Phase: "denoise", Step: i, Steps: 500, Bytes: int64(i)}
			if i == 3 {
				p.Preview = preview
			}
			say(p)
		}
		return picture(1), nil
	}})
	defer closeQueue(t, q)
	id := q.Submit("m", pipeline.Request{})
	<-ended
	close(hold)
	b.wait("the end", func() bool { return b.state(id) == Done })
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.most > 2 { // the blocker and ours
		t.Errorf("%d posts were pending at once", b.most)
	}
	if s := b.last[id]; s.Progress.Step != 500 || s.Progress.Bytes != 500 || s.Preview != preview {
		t.Errorf("last snapshot: step %d, %d bytes, preview kept: %v", s.Progress.Step, s.Progress.Bytes, s.Preview == preview)
	}
}

func waitForCancel(started chan<- struct{}) Generate {
	return func(ctx context.Context, _ string, _ pipeline.Request, _ func(pipeline.Progress)) (*pipeline.Result, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t)
	started := make(chan struct{}, 4)
	q := New(Config{Post: b.post, Changed: b.changed, Generate: waitForCancel(started)})
	defer closeQueue(t, q)
	if q.CancelCurrent() || q.Cancel(99) || !q.Idle() {
		t.Error("an empty queue has nothing to cancel")
	}
	running, queued, last := q.Submit("m", pipeline.Request{}), q.Submit("m", pipeline.Request{}), q.Submit("m", pipeline.Request{})
	<-started
	if !q.Cancel(queued) {
		t.Error("a waiting job can be cancelled")
	}
	if !q.CancelCurrent() {
		t.Error("a running job can be cancelled")
	}
	<-started // the last one
	if !q.Cancel(last) {
		t.Error("a running job can be cancelled by id")
	}
	b.wait("three cancelled", func() bool {
		return b.state(running) == Cancelled && b.state(queued) == Cancelled && b.state(last) == Cancelled
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.history[queued]; slices.Contains(h, Running) {
		t.Errorf("a job cancelled while waiting ran: %v", h)
	}
}

func TestCloseCancelsAllAndTakesNoMore(t *testing.T) {
	b := newBench(t)
	started := make(chan struct{}, 4)
	q := New(Config{Post: b.post, Changed: b.changed, Generate: waitForCancel(started)})
	first, second := q.Submit("m", pipeline.Request{}), q.Submit("m", pipeline.Request{})
	<-started
	closeQueue(t, q)
	if id := q.Submit("m", pipeline.Request{}); id != 0 {
		t.Errorf("a closed queue took job %d", id)
	}
	b.wait("both cancelled", func() bool { return b.state(first) == Cancelled && b.state(second) == Cancelled })
}

func TestCloseGivesUpOnAStuckJob(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{})
	q := New(Config{Generate: func(context.Context, string, pipeline.Request, func(pipeline.Progress)) (*pipeline.Result, error) {
		close(started)
		<-release
		return nil, errors.New("late")
	}})
	q.Submit("m", pipeline.Request{})
	<-started
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := q.Close(ctx); err == nil || !strings.Contains(err.Error(), "did not stop in time") {
		t.Errorf("Close = %v", err)
	}
	close(release)
	<-q.done
}

func TestFailuresAndPanicsBecomeOneSentence(t *testing.T) {
	b := newBench(t)
	var logged string
	q := New(Config{Post: b.post, Changed: b.changed, Log: func(s string) { logged = s }, Generate: func(_ context.Context, _ string, r pipeline.Request, _ func(pipeline.Progress)) (*pipeline.Result, error) {
		switch r.Prompt {
		case "panic":
			var none []int
			_ = none[r.Steps]
		case "empty":
			return &pipeline.Result{}, nil
		case "fail":
			return nil, errors.New("not enough device memory: 3 GB needed, 2 GB free; try 512 × 512")
		}
		return picture(1), nil
	}})
	defer closeQueue(t, q)
	panicked, empty := q.Submit("m", pipeline.Request{Prompt: "panic", Steps: 5}), q.Submit("m", pipeline.Request{Prompt: "empty"})
	failed, good := q.Submit("m", pipeline.Request{Prompt: "fail"}), q.Submit("m", pipeline.Request{Prompt: "good"})
	b.wait("the last", func() bool { return b.state(good) == Done })
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, want := range map[ID]string{panicked: "index out of range", empty: "no picture", failed: "3 GB needed"} {
		s := b.last[id]
		if s.State != Failed || !strings.Contains(s.Err.Error(), want) || strings.Contains(s.Err.Error(), "\n") {
			t.Errorf("job %d: %v, %v", id, s.State, s.Err)
		}
	}
	if !strings.Contains(logged, "queue_test.go") {
		t.Errorf("the log has no stack: %q", logged)
	}
}

func TestKeepRunsBeforeDone(t *testing.T) {
	b := newBench(t)
	q := New(Config{Post: b.post, Changed: b.changed,
		Generate: func(_ context.Context, _ string, r pipeline.Request, _ func(pipeline.Progress)) (*pipeline.Result, error) {
			return picture(r.Seed), nil
		},
		Keep: func(r *pipeline.Result) []Kept { return []Kept{{Path: "a.png"}, {Err: errors.New("disk full")}} },
	})
	defer closeQueue(t, q)
	id := q.Submit("m", pipeline.Request{})
	b.wait("done", func() bool { return b.state(id) == Done })
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.last[id].Kept; len(k) != 2 || k[0].Path != "a.png" || k[1].Err == nil {
		t.Errorf("kept %+v", k)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[State]string{Queued: "queued", Running: "running", Done: "done", Failed: "failed", Cancelled: "cancelled"} {
		if s.String() != want || s.Finished() != (s >= Done) {
			t.Errorf("%d is %q, finished %v", s, s, s.Finished())
		}
	}
}
