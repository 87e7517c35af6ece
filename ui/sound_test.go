package ui

import (
	"errors"
	"testing"
	"time"

	"fyne.io/fyne/v2/test"

	"atelier/app/job"
	"atelier/app/settings"
	"atelier/models/pipeline"
)

// withSound gives a window whose sound is counted, and fails with what failure holds.
func withSound(t *testing.T) (b *bench, d *doneSound, chimes chan struct{}, failure chan error) {
	t.Helper()
	b = newBench(t)
	chimes, failure = make(chan struct{}, 100), make(chan error, 100)
	b.options.Chime = func() error {
		chimes <- struct{}{}
		select {
		case err := <-failure:
			return err
		default:
			return nil
		}
	}
	b.settings = newSettingsPanel(b.shell)
	return b, b.settings.sound, chimes, failure
}

func TestSoundIsOffUntilItHasBeenHeard(t *testing.T) {
	b, d, chimes, failure := withSound(t)
	off, on := d.modes.buttons[0], d.modes.buttons[1]
	if !off.Selected || on.Selected || b.store.Get().SoundWhenDone {
		t.Error("on from the start")
	}
	failure <- errors.New("no sound device can be used; connect one and start the program again")
	test.Tap(on)
	if on.Selected {
		t.Error("on before it was heard")
	}
	b.until("the refusal", func() bool {
		return d.note.Text == "Stays off: no sound device can be used; connect one and start the program again."
	})
	if !off.Selected || on.Selected || b.store.Get().SoundWhenDone {
		t.Error("on without a device")
	}
	test.Tap(on)
	b.until("the sound", func() bool { return on.Selected })
	if off.Selected || !b.store.Get().SoundWhenDone || d.note.Text != soundText || len(chimes) != 2 {
		t.Errorf("kept %v, note %q, %d chimes", b.store.Get().SoundWhenDone, d.note.Text, len(chimes))
	}
	if again := newSettingsPanel(b.shell).sound.modes; !again.buttons[1].Selected {
		t.Error("the page forgot it")
	}
	test.Tap(on) // a preview that is overtaken by Off
	test.Tap(off)
	time.Sleep(20 * time.Millisecond)
	b.until("the preview", func() bool { return len(b.main) == 0 })
	if on.Selected || !off.Selected || b.store.Get().SoundWhenDone {
		t.Error("Off was overruled by an older preview")
	}
}

func TestSoundWhenTheQueueIsEmptyAfterALongJob(t *testing.T) {
	b, d, chimes, _ := withSound(t)
	start := time.Now()
	ended := func(state job.State, took time.Duration) job.Snapshot {
		return job.Snapshot{State: state, Started: start, Ended: start.Add(took)}
	}
	running := job.Snapshot{State: job.Running, Started: start}
	type word struct {
		jobs []job.Snapshot
		idle bool
	}
	for _, c := range []struct {
		name  string
		on    bool
		words []word
		want  int
	}{
		{"long", true, []word{{[]job.Snapshot{running}, false}, {[]job.Snapshot{ended(job.Done, 6*time.Second)}, true}, {nil, true}}, 1},
		{"long, but off", false, []word{{[]job.Snapshot{ended(job.Done, 6*time.Second)}, true}}, 0},
		{"short", true, []word{{[]job.Snapshot{ended(job.Done, 5*time.Second)}, true}}, 0},
		{"failed", true, []word{{[]job.Snapshot{ended(job.Failed, 6*time.Second)}, true}}, 1},
		{"cancelled", true, []word{{[]job.Snapshot{ended(job.Cancelled, 6*time.Second)}, true}}, 0},
		{"more waits", true, []word{{[]job.Snapshot{ended(job.Done, 6*time.Second)}, false}}, 0},
		{"long, then short", true, []word{{[]job.Snapshot{ended(job.Done, 6*time.Second)}, false}, {[]job.Snapshot{ended(job.Done, time.Second)}, true}}, 1},
		{"long, then cancelled", true, []word{{[]job.Snapshot{ended(job.Done, 6*time.Second)}, false}, {[]job.Snapshot{ended(job.Cancelled, time.Second)}, true}}, 0},
		{"twice", true, []word{{[]job.Snapshot{ended(job.Done, 6*time.Second)}, true}, {[]job.Snapshot{ended(job.Done, 7*time.Second)}, true}, {[]job.Snapshot{ended(job.Done, time.Second)}, true}}, 2},
	} {
		d.long = false
		b.store.Update(func(s *settings.Settings) { s.SoundWhenDone = c.on })
		for _, w := range c.words {
			d.changed(job.Update{Jobs: w.jobs}, w.idle)
		}
		if c.want > 0 {
			b.until("the sound", func() bool { return len(chimes) >= c.want })
		}
		time.Sleep(10 * time.Millisecond)
		if len(chimes) != c.want {
			t.Errorf("%s: %d times, want %d", c.name, len(chimes), c.want)
		}
		for len(chimes) > 0 {
			<-chimes
		}
	}
}

func TestSoundHearsTheQueue(t *testing.T) {
	b, d, chimes, _ := withSound(t)
	d.after = 0
	b.store.Update(func(s *settings.Settings) { s.SoundWhenDone = true })
	close(b.engine.ready)
	for range 3 {
		b.queue.Submit("sticker", pipeline.Request{Prompt: "a fox", Width: 64, Height: 64})
	}
	b.until("the sound", func() bool { return len(chimes) > 0 })
	if !b.queue.Idle() || len(b.engine.running) != 3 {
		t.Errorf("it sounded when %d of 3 jobs had started", len(b.engine.running))
	}
}

func TestSoundThatFailsLaterIsSaidOnThePage(t *testing.T) {
	b, d, _, failure := withSound(t)
	b.store.Update(func(s *settings.Settings) { s.SoundWhenDone = true })
	failure <- errors.New("the device has gone")
	now := time.Now()
	d.changed(job.Update{Jobs: []job.Snapshot{{State: job.Done, Started: now, Ended: now.Add(time.Minute)}}}, true)
	b.until("the word", func() bool { return d.note.Text == "Was not heard: the device has gone." })
	if !b.store.Get().SoundWhenDone {
		t.Error("the setting was changed")
	}
}
