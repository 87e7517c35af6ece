package train

import (
	"image"
	"time"

	"atelier/app/training"
	"atelier/ui/kit"
	"atelier/ui/studio"
)

// state is where a run stands.
type state int

const (
	resting   state = iota // neither running nor done
	starting               // asked to run; no step was made yet
	running                //
	pausing                // asked to pause
	paused                 //
	ending                 // asked to stop
	cancelled              // stopped, and can go on
	failed                 //
	finished               //
)

// shot is a sample picture of a run.
type shot struct {
	step    int
	label   string
	path    string
	thumb   *image.RGBA
	picture *image.NRGBA
}

// view is a run as the window shows it. It lives on the main thread.
type view struct {
	folder, name, kind string
	state              state
	stage              string // of a run in several parts
	loss               []kit.Point
	validation         []kit.Point
	rate               []kit.Point
	shots              []*shot
	last               training.Event // of a step
	waiting            string         // what the run lets go first; empty while it works
	busy               string         // what it does beside steps
	warnings           []string
	problem            string // why it failed
	outcome            *training.Outcome
	ended              time.Duration // how long the last sitting took
}

// hear takes an event in; it gives the sample picture that has to be loaded, if the event brought one.
func (v *view) hear(e training.Event) *shot {
	if e.What != studio.EventWaiting {
		v.waiting = ""
	}
	if e.Stage != v.stage {
		v.stage, v.loss, v.validation, v.rate = e.Stage, nil, nil, nil
	}
	switch e.What {
	case studio.EventWaiting:
		v.waiting = e.Message
	case training.EventData:
		v.busy = "Looking at the pictures"
	case training.EventStart:
		v.busy = "Preparing the device"
		v.last.Step, v.last.Steps = e.Step, e.Steps
	case training.EventStep:
		if v.state == starting {
			v.state = running
		}
		v.busy, v.last = "", e
		v.loss = append(v.loss, kit.Point{X: float64(e.Step), Y: e.Loss})
		v.rate = append(v.rate, kit.Point{X: float64(e.Step), Y: e.Rate})
	case training.EventValidation:
		v.validation = append(v.validation, kit.Point{X: float64(e.Step), Y: e.Validation})
	case training.EventPaused:
		v.state = paused
	case training.EventResumed:
		if v.state == paused || v.state == pausing {
			v.state = running
		}
	case training.EventWarning:
		if e.Message != "" {
			v.warnings = append(v.warnings, e.Message)
		}
	case training.EventSample:
		s := &shot{step: e.Step, label: e.Message, path: e.Path}
		v.shots = append(v.shots, s)
		return s
	}
	return nil
}
