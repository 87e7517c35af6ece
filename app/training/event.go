package training

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// What happened, in an Event.
const (
	EventData       = "data"       // the pictures were looked at
	EventStart      = "start"      // training begins or goes on
	EventStep       = "step"       // a step was made
	EventValidation = "validation" // a validation loss was measured
	EventSample     = "sample"     // a sample picture was drawn; Path is where
	EventSaved      = "saved"      // the state or a checkpoint is on the disk
	EventPaused     = "paused"     //
	EventResumed    = "resumed"    //
	EventWarning    = "warning"    // something that a person should know, and training goes on
	EventDone       = "done"       // Path is what was made
)

// Event is a moment of a run, for a progress bar, a window or a line of JSON. It is a snapshot and never written to again.
type Event struct {
	What       string  `json:"event"`
	Stage      string  `json:"stage,omitempty"` // such as "fold 1 of 5"; empty in plain runs
	Step       int     `json:"step"`
	Steps      int     `json:"steps"` // planned
	Epoch      int     `json:"epoch,omitempty"`
	Loss       float64 `json:"loss,omitempty"`
	Validation float64 `json:"validation_loss,omitempty"`
	Best       float64 `json:"best_validation_loss,omitempty"`
	Rate       float64 `json:"learning_rate,omitempty"`
	Norm       float64 `json:"gradient_norm,omitempty"`
	Speed      float64 `json:"pictures_per_second,omitempty"`
	Seconds    float64 `json:"seconds,omitempty"`      // in training, earlier sittings included
	Left       float64 `json:"seconds_left,omitempty"` // estimate; 0 while unknown
	Bytes      int64   `json:"device_bytes,omitempty"`
	Peak       int64   `json:"peak_device_bytes,omitempty"`
	Path       string  `json:"path,omitempty"`
	Message    string  `json:"message,omitempty"`
}

// TimeLeft is Left as a duration.
func (e Event) TimeLeft() time.Duration { return time.Duration(e.Left * float64(time.Second)) }

// ReadLog reads a run's log: the events of steps and validations, in order. A last line that was cut off is passed over, as are lines
// that are none of ours.
func ReadLog(path string) ([]Event, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the log %s cannot be read: %w", path, err)
	}
	defer f.Close()
	var out []Event
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return out, nil // without its end, the line was cut off
		}
		if err != nil {
			return out, fmt.Errorf("the log %s cannot be read: %w", path, err)
		}
		var e Event
		if json.Unmarshal(line, &e) == nil && e.What != "" {
			out = append(out, e)
		}
	}
}

// logFile appends to a log. What cannot be written for now waits in memory.
type logFile struct {
	path    string
	waiting []byte
	flushed time.Time
}

// logEvery is how long lines may wait.
const logEvery = time.Second

// openLog keeps of an existing log what lies up to a step: what came after it is done again.
func openLog(path string, step int) (*logFile, error) {
	events, err := ReadLog(path)
	if err != nil {
		return nil, err
	}
	events = slices.DeleteFunc(events, func(e Event) bool { return e.Step > step })
	l := &logFile{path: path}
	return l, writeFile(path, func(f *os.File) error {
		w := bufio.NewWriter(f)
		enc := json.NewEncoder(w)
		for _, e := range events {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return w.Flush()
	})
}

// add puts an event into the log, at the latest with the next flush after a second.
func (l *logFile) add(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l.waiting = append(append(l.waiting, line...), '\n')
	if time.Since(l.flushed) < logEvery {
		return nil
	}
	return l.flush()
}

// flush writes what waits. After a failure the file ends where it ended before, or in a torn line, which readers pass over.
func (l *logFile) flush() error {
	l.flushed = time.Now()
	if len(l.waiting) == 0 {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		l.flushed = l.flushed.Add(saveAgain)
		return unsaved(l.path, err)
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Write(l.waiting)
	}
	if err != nil {
		f.Truncate(end) // best effort: a reader passes over a torn line
		l.flushed = l.flushed.Add(saveAgain)
		return unsaved(l.path, err)
	}
	l.waiting = l.waiting[:0]
	return nil
}
