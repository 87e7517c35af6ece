package images

import (
	"time"

	"atelier/app/settings"
)

const (
	trailLimit = 200
	// oneAct is how close together changes of the same kind count as one: typing a word, dragging a slider.
	oneAct = 800 * time.Millisecond
)

// trail remembers what the form said before each thing that the person did to it.
type trail struct {
	past, future []settings.Parameters
	now          settings.Parameters
	kind         string
	at           time.Time
}

// reset forgets everything and starts from p.
func (t *trail) reset(p settings.Parameters) { *t = trail{now: p} }

// note takes in what the form says after a change. Changes of one kind in quick succession are one act; those without a kind
// never are.
func (t *trail) note(p settings.Parameters, kind string, at time.Time) {
	if p == t.now {
		return
	}
	if kind == "" || kind != t.kind || at.Sub(t.at) > oneAct || len(t.past) == 0 {
		t.past = append(t.past, t.now)
		if len(t.past) > trailLimit {
			t.past = t.past[1:]
		}
	}
	t.now, t.kind, t.at, t.future = p, kind, at, nil
}

// undo gives what the form said before the last thing that was done.
func (t *trail) undo() (settings.Parameters, bool) {
	n := len(t.past)
	if n == 0 {
		return t.now, false
	}
	t.future = append(t.future, t.now)
	t.now, t.past, t.kind = t.past[n-1], t.past[:n-1], ""
	return t.now, true
}

// redo takes an undo back.
func (t *trail) redo() (settings.Parameters, bool) {
	n := len(t.future)
	if n == 0 {
		return t.now, false
	}
	t.past = append(t.past, t.now)
	t.now, t.future, t.kind = t.future[n-1], t.future[:n-1], ""
	return t.now, true
}
