package train

import (
	"sync"
	"time"

	"atelier/app/training"
)

// beat is the least time between two looks of the window at a run: a quick run makes many steps in it.
const beat = 120 * time.Millisecond

// feed carries a run's events to the main thread, many at a time, with at most one post under way.
type feed struct {
	post func(func())
	take func([]training.Event) // on the main thread

	mu      sync.Mutex
	waiting []training.Event
	posted  bool
}

// add takes an event from any goroutine and returns at once.
func (f *feed) add(e training.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, e)
	if !f.posted {
		f.posted = true
		time.AfterFunc(beat, func() { f.post(f.drain) })
	}
}

// drain hands over what waits. It runs on the main thread.
func (f *feed) drain() {
	f.mu.Lock()
	events := f.waiting
	f.waiting, f.posted = nil, false
	f.mu.Unlock()
	if len(events) > 0 {
		f.take(events)
	}
}
