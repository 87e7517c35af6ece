package ui

import (
	"time"

	"atelier/app/job"
	"atelier/app/settings"
	"atelier/ui/kit"
)

// soundAfter is how long a job must have run for its end to be worth a sound.
const soundAfter = 5 * time.Second

const (
	soundOff = "off"
	soundOn  = "on"

	soundText = "Two quiet notes when the queue is empty again after a job of more than 5 seconds."
)

// doneSound plays the sound when a long wait is over, and is the switch for it. It lives on the main thread.
type doneSound struct {
	shell *shell
	after time.Duration
	long  bool // a job that ran longer than after has ended since the queue was last empty
	turn  int  // counts what the switch was asked for; the word of an older preview is ignored
	modes *segments
	note  *kit.Label
}

func newDoneSound(s *shell) *doneSound {
	d := &doneSound{shell: s, after: soundAfter, note: kit.NewLine(soundText, kit.Caption, kit.Secondary, 200)}
	now := soundOff
	if s.options.Settings.Get().SoundWhenDone {
		now = soundOn
	}
	d.modes = newSegments(s.tips, []segment{
		{soundOff, "Off", "No sound."},
		{soundOn, "On", "Two quiet notes when a long wait is over. They play once now."},
	}, now, d.choose)
	return d
}

// choose switches the sound. It is on only once it has been heard to work.
func (d *doneSound) choose(id string) {
	d.turn++
	if id == soundOff {
		d.keep(false)
		d.note.Set(soundText, kit.Secondary)
		return
	}
	turn := d.turn
	d.modes.mark(soundOff)
	d.note.Set("Trying the sound device…", kit.Secondary)
	d.play(func(err error) {
		switch {
		case turn != d.turn:
		case err != nil:
			d.keep(false)
			d.note.Set("Stays off: "+err.Error()+".", kit.Loss)
		default:
			d.keep(true)
			d.modes.mark(soundOn)
			d.note.Set(soundText, kit.Secondary)
		}
	})
}

func (d *doneSound) keep(on bool) {
	d.shell.options.Settings.Update(func(c *settings.Settings) { c.SoundWhenDone = on })
}

// play plays the sound off the main thread, which opening the device would hold up, and comes back to it.
func (d *doneSound) play(done func(error)) {
	go func() {
		err := d.shell.options.Chime()
		d.shell.post(func() { done(err) })
	}()
}

// changed hears from the queue. Who cancels a job is here, and needs no call.
func (d *doneSound) changed(u job.Update, idle bool) {
	for _, j := range u.Jobs {
		switch j.State {
		case job.Done, job.Failed:
			d.long = d.long || j.Ended.Sub(j.Started) > d.after
		case job.Cancelled:
			d.long = false
		}
	}
	if !idle || !d.long {
		return
	}
	d.long = false
	if d.shell.options.Chime == nil || !d.shell.options.Settings.Get().SoundWhenDone {
		return
	}
	d.play(func(err error) {
		if err != nil {
			d.note.Set("Was not heard: "+err.Error()+".", kit.Loss)
		}
	})
}
