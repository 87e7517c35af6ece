//go:build cgo

package opengl

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
)

// tuningFile keeps which form of a launch is the faster correct one on a driver, by a key of shader source and size class.
type tuningFile struct {
	path    string // empty: kept in memory only
	driver  string
	forms   map[string]string
	changed bool
}

// tuningMutex keeps devices of one process from losing each other's verdicts.
var tuningMutex sync.Mutex

func openTuning(dir string, driver [32]byte) *tuningFile {
	t := &tuningFile{driver: hex.EncodeToString(driver[:8]), forms: map[string]string{}}
	if dir == "" {
		return t
	}
	t.path = filepath.Join(dir, "tuning.json")
	for key, form := range readTuning(t.path)[t.driver] {
		t.forms[key] = form
	}
	return t
}

// readTuning gives the verdicts by driver; a missing or damaged file holds none.
func readTuning(path string) map[string]map[string]string {
	all := map[string]map[string]string{}
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &all) != nil {
		return map[string]map[string]string{}
	}
	return all
}

func (t *tuningFile) decide(key, form string) {
	t.forms[key] = form
	t.changed = true
}

// save merges the new verdicts into the file.
func (t *tuningFile) save() {
	if !t.changed || t.path == "" {
		return
	}
	tuningMutex.Lock()
	defer tuningMutex.Unlock()
	all := readTuning(t.path)
	if all[t.driver] == nil {
		all[t.driver] = map[string]string{}
	}
	for key, form := range t.forms {
		all[t.driver][key] = form
	}
	data, err := json.MarshalIndent(all, "", " ")
	if err == nil && writeAtomically(t.path, data) == nil {
		t.changed = false
	}
}
