// Package job runs picture jobs one at a time and reports on them without ever making the reporting side wait.
//
// Everything a job says is folded into its latest Snapshot. Changed snapshots are handed over through a single pending
// post: while one is waiting to be run, further progress only replaces what it will carry.
package job

import (
	"image"
	"time"

	"atelier/models/pipeline"
)

// ID names a job within its queue; ids grow in the order of submission.
type ID int64

// State says where a job stands.
type State int

// A job goes from Queued to Running to one of the other three, or from Queued straight to Cancelled.
const (
	Queued State = iota
	Running
	Done
	Failed
	Cancelled
)

// String gives the state as an English word.
func (s State) String() string {
	return [...]string{"queued", "running", "done", "failed", "cancelled"}[s]
}

// Finished tells whether nothing more will happen.
func (s State) Finished() bool { return s >= Done }

// Kept says what became of one finished picture.
type Kept struct {
	Path string // where it was saved; empty if it was not
	Err  error  // why it was not; nil if it was
}

// Snapshot is one job at one moment. Nothing in it is written to again.
type Snapshot struct {
	ID       ID
	State    State
	Model    string
	Request  pipeline.Request
	Progress pipeline.Progress
	Preview  *image.NRGBA     // last picture that progress carried; nil before the first
	Result   *pipeline.Result // set when Done
	Kept     []Kept           // set when Done: one for each picture
	Err      error            // set when Failed: one sentence
	Started  time.Time        // zero while queued
	Ended    time.Time        // zero until finished
}

// Update carries every job that changed since the last one, oldest first, and how many are waiting.
type Update struct {
	Jobs    []Snapshot
	Waiting int
}
