package images

import (
	"time"

	"atelier/app/settings"
)

const (
	trailLimit = 200
	trailBytes = 256 << 20 // of pictures and masks
	// oneAct is how close together changes of the same kind count as one: typing a word, dragging a slider.
	oneAct = 800 * time.Millisecond
)

// state is all that the form says: what is kept for the next start, and the pictures of this session.
type state struct {
	settings.Parameters
	from   *given // to begin with
	mask   *mask
	follow [settings.MostControls]*given // by ControlNets
}

// bytes is what a state's pictures take that the one before does not have.
func (s state) bytes(before state) (n int) {
	picture := func(g, was *given) {
		if g != nil && g != was {
			n += len(g.image.Pix) + 4*len(g.pixels.Data)
		}
	}
	picture(s.from, before.from)
	for i, g := range s.follow {
		picture(g, before.follow[i])
	}
	if s.mask != nil && s.mask != before.mask {
		n += len(s.mask.cover)
	}
	return n
}

// trail remembers what the form said before each thing that the person did to it.
type trail struct {
	past, future []state
	now          state
	kind         string
	at           time.Time
}

// reset forgets everything and starts from s.
func (t *trail) reset(s state) { *t = trail{now: s} }

// note takes in what the form says after a change. Changes of one kind in quick succession are one act; those without a kind
// never are.
func (t *trail) note(s state, kind string, at time.Time) {
	if s == t.now {
		return
	}
	if kind == "" || kind != t.kind || at.Sub(t.at) > oneAct || len(t.past) == 0 {
		t.past = append(t.past, t.now)
		t.past = t.past[t.over(s):]
	}
	t.now, t.kind, t.at, t.future = s, kind, at, nil
}

// over is how many of the oldest are to be forgotten before now.
func (t *trail) over(now state) int {
	bytes := 0
	for i := len(t.past) - 1; i >= 0; i-- {
		bytes += now.bytes(t.past[i])
		if bytes > trailBytes && i < len(t.past)-1 || len(t.past)-i > trailLimit {
			return i + 1
		}
		now = t.past[i]
	}
	return 0
}

// undo gives what the form said before the last thing that was done.
func (t *trail) undo() (state, bool) {
	n := len(t.past)
	if n == 0 {
		return t.now, false
	}
	t.future = append(t.future, t.now)
	t.now, t.past, t.kind = t.past[n-1], t.past[:n-1], ""
	return t.now, true
}

// redo takes an undo back.
func (t *trail) redo() (state, bool) {
	n := len(t.future)
	if n == 0 {
		return t.now, false
	}
	t.past = append(t.past, t.now)
	t.now, t.future, t.kind = t.future[n-1], t.future[:n-1], ""
	return t.now, true
}
