package training

import "path/filepath"

// Events reads the run's log: its steps, validations and samples, in order. Samples' paths are relative to the run's folder.
func (r *Run) Events() ([]Event, error) { return ReadLog(filepath.Join(r.Folder, logName)) }
